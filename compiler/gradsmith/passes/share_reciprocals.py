"""Share reciprocals: many quotients with one denominator become one reciprocal and as many products.

    a/d, b/d, c/d  ->  r = 1/d, a*r, b*r, c*r
    2*a/d, 2*b/d   ->  s = 2*r, a*s, b*s
    a/d, b/d, c/d  ->  ok ? a*r : a/d, ...      where d may be tiny, or large
    1/d, a/d       ->  r = 1/d, a*r             where 1/d is the user's own, and d never tiny

A division takes as long as four multiplications or more. In: a graph. Out: a graph with fewer divisions.

Where d is so small that its reciprocal overflows, 0*(1/d) would be NaN where 0/d is 0; where it is so large that the
reciprocal is subnormal, digits would be lost. So there is one question for all quotients, `ok ? a*r : a/d`, unless d is
never tiny. The question is asked where it is a branch (`branches`), which a processor foresees: a selection in vectors
would compute both sides.

Quotients of the chain rule are each rounded twice then, which is off by 1.5 ULP at most. The user's own are left alone
where a rounding might be noticed. They follow where numerator and denominator are sums with products in them, which
are rounded twice at least themselves, so that the bound of the error grows from 5 roundings or more by one; and where
nothing but sums and products reads them: no comparison, no step, no result of the function.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Graph, Node
from ..ops import absolute, broadcast_to, reciprocal, where
from ..ops.selection import logical_and
from ..trace import Expr, constant
from .fold import fold
from .rewrite import rewritten
from .simplify import apply_law

__all__ = ["share_reciprocals"]

_FEWEST = 3  # quotients; two take as long as a reciprocal and two products
_SMALL = 2.0**-100  # a sum of this and of something that is not negative has a reciprocal, in float32 too
_NEVER_NEGATIVE = frozenset({"abs", "cosh", "exp", "sqrt", "square"})
_SUMS = frozenset({"add", "sub", "neg"})
_ARITHMETIC = frozenset({"add", "sub", "neg", "mul", "square"})
#: Numbers of ordinary size, whose reciprocals are too, and a factor up to `_MODERATE` as well.
_ORDINARY = {"float64": (1e-280, 1e280), "float32": (1e-30, 1e30)}
_MODERATE = 256.0
_WHY = "at this size, a reciprocal neither overflows nor loses digits, so it stands for the divisions"
_MOST = 32  # terms of a sum that are looked at


def share_reciprocals(graph: Graph, branches: bool = False) -> Graph:
    """`graph` with divisions by one value turned into products with its reciprocal.

    `branches`: whether a choice between scalars computes one side only.
    """
    users = _users(graph) if branches else {}
    quotients: dict[int, list[Node]] = {}  # denominator -> the quotients
    for n in graph.ordered():
        if n.op == "div" and (n.origin.derived or (branches and _rounded_anyway(graph, n, users))):
            quotients.setdefault(_value(graph, n.args[1]).key, []).append(n)
    shared: dict[int, bool] = {}  # denominator -> whether all quotients with it ask
    denominators: dict[int, int] = {}
    inverses = _inverses(graph) if quotients else {}
    for d, found in quotients.items():
        node = graph.node(d)
        safe = _never_tiny(graph, node)
        derived = [n for n in found if n.origin.derived]
        if len(found) - len(derived) < _FEWEST:  # the user's own alone decide, as f(x) has them alone
            found = derived
        later = [n for n in derived if safe and n.key > inverses.get(d, n.key)]
        if later:
            shared[d] = False
            denominators.update(dict.fromkeys((n.key for n in later), d))
        elif _fewer(node, found) and (safe or (branches and not any(n.type.shape for n in found))):
            shared[d] = not safe or len(found) > len(derived)
            denominators.update(dict.fromkeys((n.key for n in found), d))
    if not denominators:
        return graph
    scaled = _scaled(graph, denominators)
    asked: dict[int, Expr] = {}

    def replace(n: Node, exprs: Sequence[Expr]) -> Expr:
        d = denominators[n.key]
        x = exprs[n.args[0]]
        r = exprs[inverses[d]] if n.key > inverses.get(d, n.key) else reciprocal(exprs[d])
        if n.key in scaled:
            c, k = scaled[n.key]
            product = exprs[k] * (c * r)
        else:
            product = x * (broadcast_to(r, n.type.shape) if n.type.shape != r.shape else r)
        if not shared[d]:
            return product
        if d not in asked:
            asked[d] = ok = _of_ordinary_size(exprs[d], positive=_never_negative(graph, d))
            ok.origin = ok.origin.because(_WHY)
        return where(asked[d], product, x / exprs[d])

    return rewritten(graph, fold, apply_law, replace=replace, at=denominators)


def _value(graph: Graph, key: int) -> Node:
    """The value that is repeated, if it is."""
    n = graph.node(key)
    while n.op == "broadcast_to":
        n = graph.node(n.args[0])
    return n


def _inverses(graph: Graph) -> dict[int, int]:
    """For each denominator the first `1/d` of the user's, if there is one, in the shape of the denominator."""
    found: dict[int, int] = {}
    for n in graph.ordered():
        if n.op == "div" and not n.origin.derived and graph.node(n.args[1]).type == n.type:
            one = _value(graph, n.args[0])
            if one.op == "constant" and not one.type.shape and one.params["value"] == 1.0:
                found.setdefault(n.args[1], n.key)
    return found


def _fewer(denominator: Node, quotients: Sequence[Node]) -> bool:
    """Whether there are enough quotients for each denominator; a named dimension counts as many."""
    shapes = [n.type.shape for n in (denominator, *quotients)]
    if any(not isinstance(d, int) for shape in shapes for d in shape):
        return any(shape != shapes[0] for shape in shapes[1:]) or len(quotients) >= _FEWEST
    return bool(sum(n.type.size for n in quotients) >= _FEWEST * denominator.type.size)


def _never_tiny(graph: Graph, n: Node) -> bool:
    """Whether the value is 0, or far enough from 0 for a finite reciprocal, whatever it is computed from."""
    if n.op in ("sqrt", "cosh"):
        return True  # the root of the least number is 2e-162
    if n.op == "constant" and not n.type.shape:
        return bool(_SMALL <= abs(n.params["value"]) <= 1.0 / _SMALL)
    if n.op == "add":
        sides = [_value(graph, a) for a in n.args]
        for one, other in (sides, sides[::-1]):
            if one.op == "constant" and other.op in _NEVER_NEGATIVE:
                return isinstance(one.params["value"], float) and one.params["value"] >= _SMALL
    return False


# --- behind a question ------------------------------------------------------------------------------------------------


def _users(graph: Graph) -> dict[int, list[Node]]:
    """What reads each node that a scalar quotient is."""
    found: dict[int, list[Node]] = {n.key: [] for n in graph.ordered() if n.op == "div" and not n.type.shape}
    for n in graph.ordered() if found else ():
        for a in n.args:
            if a in found:
                found[a].append(n)
    return found


def _rounded_anyway(graph: Graph, n: Node, users: dict[int, list[Node]]) -> bool:
    """Whether a quotient of the user's is one of sums with products, and only sums and products read it."""
    if n.type.shape or n.key in graph.outputs or not all(_sum_of_products(graph, a) for a in n.args):
        return False
    return all(m.origin.derived or m.op in _ARITHMETIC for m in users[n.key])


def _sum_of_products(graph: Graph, key: int) -> bool:
    n = graph.node(key)
    while n.op == "neg":
        n = graph.node(n.args[0])
    return n.op in ("add", "sub") and any(m.op in ("mul", "square") for m in _below(graph, n.key, _SUMS))


def _never_negative(graph: Graph, key: int) -> bool:
    """Whether a sum is one of terms that are not."""
    return all(
        m.op in _NEVER_NEGATIVE or (m.op == "constant" and m.params["value"] >= 0.0)
        for m in _below(graph, key, frozenset({"add"}))
    )


def _below(graph: Graph, key: int, ops: frozenset[str]) -> list[Node]:
    """The terms of a sum, itself taken apart through `ops`; a long one is not taken apart to its end."""
    found: list[Node] = []
    stack = [key]
    while stack:
        n = graph.node(stack.pop())
        if n.op in ops and len(found) + len(stack) < _MOST:
            stack += n.args
        else:
            found.append(n)
    return found


def _scaled(graph: Graph, quotients: dict[int, int]) -> dict[int, tuple[float, int]]:
    """Quotients `c*x/d` with the same number c, of which there are several: each with c and x."""
    found: dict[tuple[float, int], list[tuple[int, int]]] = {}
    for key, d in quotients.items():
        x = graph.node(graph.node(key).args[0])
        if x.op == "mul" and x.origin.derived and not x.type.shape:
            c = graph.node(x.args[0])
            if c.op == "constant" and 1.0 / _MODERATE <= abs(c.params["value"]) <= _MODERATE:
                found.setdefault((c.params["value"], d), []).append((key, x.args[1]))
    return {key: (c, x) for (c, _), same in found.items() if len(same) > 1 for key, x in same}


def _of_ordinary_size(d: Expr, positive: bool) -> Expr:
    least, most = (constant(c, d.dtype) for c in _ORDINARY[d.dtype.name])
    size = d if positive else absolute(d)
    return logical_and(size > least, size < most)
