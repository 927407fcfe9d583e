"""Zeros: products with 0 go, where what they would make NaN is NaN without them, and zeros that are added for a sign.

    c*1 + s*0  ->  c              where c = cos(a) and s = sin(a)
    (x + 0) - y*y + z*z  ->  x - y*y + z*z

`x*0` is no 0: it is NaN for an infinite x, and so is all that is computed from it. But frames of joints begin as unit
matrices, and are turned by sines and cosines: what is multiplied by 0 there is bounded unless an angle is not finite,
and then the other terms are NaN, too. Who writes such code by hand leaves the zeros out.

In: a graph of scalars (arrays stay as they are). Out: a graph without such products. Each value has a bound that holds
if its *angles* are finite: the arguments of sin and cos that it is computed from. A product of 0 and of something with
a bound is 0 then. If an angle is not finite, the product is NaN, and so is each output that depends on it; therefore it
goes only if each of these is NaN for each of its angles without it. Guarantee: outputs differ in the sign of a
zero at most; where a sign could matter, as below a fraction, products stay.

`x + 0` makes +0 of -0, which a difference of squares needs. It goes where no reader tells one from the other, as a sum
with a square, which is never -0. No result changes.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence

from ..graph import Graph, Node
from ..trace import Expr, constant
from .fold import fold
from .rewrite import rewritten, spliced
from .simplify import apply_law

__all__ = ["without_added_zeros", "without_zeros"]

_MODERATE = 2.0**100  # bounds beyond it are none, in float32 too
_MOST_ANGLES = 256
_ARITHMETIC = frozenset({"add", "sub", "mul", "neg"})  # not finite, if an operand is not
#: What is NaN where an operand is, and what has the sign of a zero at most from that of a zero among its operands.
_CONTINUOUS = frozenset(
    {*_ARITHMETIC, "square", "abs", "div", "sin", "cos", "tan", "tanh", "sinh", "cosh", "exp", "sqrt"}
)
_EVEN = frozenset({"square", "abs", "cos", "cosh", "exp"})  # which lose it
_TURNS = frozenset({"sin", "cos"})
_COMPARE = frozenset({"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"})  # -0 == 0
_DEEPEST = 6  # readers of readers that are looked at


def without_zeros(graph: Graph) -> Graph:
    """`graph` without products with 0 that nothing needs."""
    none = {key for key, value in graph.numbers.items() if value == 0.0}
    if not none or not any(n.op == "mul" and not none.isdisjoint(n.args) for n in graph.ordered()):
        return graph
    nodes = {n.key: n for n in graph.ordered()}
    angles = _angles(nodes)
    zeros = _zeros(nodes, graph.numbers, angles) if len(angles) <= _MOST_ANGLES else {}
    while zeros and (needed := _needed(graph, nodes, angles, zeros)):
        zeros = {key: depends for key, depends in zeros.items() if key not in needed}
    if not zeros:
        return graph

    def replace(n: Node, exprs: Sequence[Expr]) -> Expr | None:
        if n.key in zeros:
            return constant(0.0, n.type.dtype)
        if n.op in ("add", "sub"):
            a, b = n.args
            if b in zeros:
                return exprs[a]
            if a in zeros:
                return exprs[b] if n.op == "add" else -exprs[b]
        return None

    return rewritten(graph, fold, apply_law, replace=replace)


def _angles(nodes: Mapping[int, Node]) -> dict[int, int]:
    """The arguments of sin and cos, each with a bit of its own."""
    keys = dict.fromkeys(n.args[0] for n in nodes.values() if n.op in _TURNS and not n.type.shape)
    return {key: 1 << i for i, key in enumerate(keys)}


def _zeros(nodes: Mapping[int, Node], numbers: Mapping[int, float], angles: Mapping[int, int]) -> dict[int, int]:
    """The values that are 0 if all angles are finite, each with the angles on which it depends."""
    bounds: dict[int, tuple[float, int]] = {}  # bound and angles
    found: dict[int, int] = {}
    for key, n in nodes.items():
        if key in numbers and math.isfinite(numbers[key]):
            bounds[key] = (abs(numbers[key]), 0)
        elif n.type.shape:
            continue
        elif n.op in _TURNS:
            bounds[key] = (1.0, angles[n.args[0]])
        elif n.op in _BOUNDS and all(a in bounds for a in n.args):
            bound = _BOUNDS[n.op](*(bounds[a][0] for a in n.args))
            depends = functools.reduce(operator.or_, (bounds[a][1] for a in n.args))
            if bound < _MODERATE:
                bounds[key] = (bound, depends)
                if bound == 0.0 and depends:
                    found[key] = depends
    return found


#: The bound of a result by those of its operands, rounded as the result is.
_BOUNDS: Mapping[str, Callable[..., float]] = {
    "add": operator.add,
    "sub": operator.add,
    "mul": operator.mul,
    "neg": operator.pos,
    "square": lambda a: a * a,
    "abs": operator.pos,
}


def _needed(graph: Graph, nodes: Mapping[int, Node], angles: Mapping[int, int], zeros: Mapping[int, int]) -> set[int]:
    """Those of `zeros` without which an output might be finite where it is NaN now, or have another sign."""
    gone = dict.fromkeys(nodes, 0)  # of which angles zeros have gone
    infinite = dict.fromkeys(nodes, 0)  # which angles make it infinite or NaN if they are not finite
    undefined = dict.fromkeys(nodes, 0)  # which make it NaN
    signed: set[int] = set()  # what has the sign of a zero from one that has gone
    needed: set[int] = set()
    for key, n in nodes.items():
        if key in zeros:
            gone[key] = zeros[key]
            signed.add(key)
            continue
        for a in n.args:
            gone[key] |= gone[a]
        if n.op in _CONTINUOUS and not n.type.shape:
            for a in n.args:
                undefined[key] |= infinite[a] if n.op in _TURNS else undefined[a]
                infinite[key] |= infinite[a] if n.op in _ARITHMETIC else undefined[key]
            if n.op == "div" and n.args[1] in signed:
                needed |= _behind(key, nodes, zeros)
            elif n.op not in _EVEN and not signed.isdisjoint(n.args):
                signed.add(key)
        elif not signed.isdisjoint(n.args):
            needed |= _behind(key, nodes, zeros)
        infinite[key] |= angles.get(key, 0)
    for key in graph.outputs:
        if gone[key] & ~undefined[key]:
            needed |= {z for z in _behind(key, nodes, zeros) if zeros[z] & ~undefined[key]}
    return needed


def _behind(key: int, nodes: Mapping[int, Node], zeros: Mapping[int, int]) -> set[int]:
    """The zeros on which a value depends."""
    seen, stack = {key}, [key]
    while stack:
        for a in nodes[stack.pop()].args:
            if a not in seen:
                seen.add(a)
                stack.append(a)
    return {k for k in seen if k in zeros}


def without_added_zeros(graph: Graph) -> Graph:
    """`graph` without `x + 0` where nothing tells -0 from +0."""
    zeros = {key for key, value in graph.numbers.items() if value == 0.0 and math.copysign(1.0, value) > 0.0}
    added = {n.key: n for n in graph.ordered() if n.op == "add" and not zeros.isdisjoint(n.args)} if zeros else {}
    if not added:
        return graph
    readers: dict[int, list[Node]] = {}
    depths = dict.fromkeys(added, _DEEPEST)  # of those whose readers count
    near = depths.keys()
    for n in graph.ordered():
        if not near.isdisjoint(n.args):
            for a in near & n.args:
                readers.setdefault(a, []).append(n)
                if depths[a] > 1:
                    depths[n.key] = max(depths[a] - 1, depths.get(n.key, 0))
    for key in graph.outputs:
        readers.pop(key, None)  # whose sign is seen, whoever else reads it
    needless = {
        key: second if first in zeros else first
        for key, (_, _, (first, second), *_) in added.items()
        if _hidden(key, graph, readers, _DEEPEST)
    }
    if not needless:
        return graph
    return spliced(graph, needless, fold, apply_law)


def _hidden(key: int, graph: Graph, readers: Mapping[int, Sequence[Node]], depth: int) -> bool:
    """Whether the sign of a zero that `key` is gets lost before a result."""
    return depth > 0 and key in readers and all(_hides(n, key, graph, readers, depth) for n in readers[key])


def _hides(n: Node, key: int, graph: Graph, readers: Mapping[int, Sequence[Node]], depth: int) -> bool:
    if n.op in _EVEN or n.op in _COMPARE:
        return True
    beside = {"add": n.args, "sub": n.args[:1]}.get(n.op, ())  # only -0 + -0 and -0 - 0 are -0
    if any(a != key and graph.node(a).op in _EVEN for a in beside):
        return True
    return n.op in _ARITHMETIC and _hidden(n.key, graph, readers, depth - 1)
