"""Arguments whose derivative is zero because only piecewise constant ops read them, and which ops these are.

In: a graph and some of its inputs. Out: for each input that reaches an output, but through no op that has a slope, the
ops that stopped it. What only `stop_gradient` stops was meant. An input that reaches no output at all is none of these.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import compress

from ..graph import Graph, Node
from ..origin import Origin, described
from ..passes.expand import expand_underivable
from ..regions import with_inner
from ..registry import Op, lookup
from ..trace import recording, symbol
from ..types import DType, Type

__all__ = ["Slopes", "Stop", "slopes", "told"]


@dataclass(frozen=True)
class Stop:
    """What a derivative ends at: an op at a place, what it is in words, and whether zero is the right derivative."""

    op: str
    origin: Origin
    what: str
    right: bool = True


@dataclass(frozen=True)
class Slopes:
    """The inputs (keys) that some result has a slope by, and what stopped it for those that are read without one."""

    moving: frozenset[int]
    stopped: Mapping[int, tuple[Stop, ...]]

    def told(self, names: Mapping[int, str], groups: Sequence[Sequence[int]]) -> list[str]:
        """For each group of inputs without any slope, because of what is in `stopped`: that, in words."""
        found = []
        for group in groups:
            flat = [k for k in group if k in self.stopped]
            if flat and not self.moving.intersection(group):
                stops = dict.fromkeys(stop for k in flat for stop in self.stopped[k])
                found.append(told(list(dict.fromkeys(names[k] for k in flat)), list(stops)))
        return found


def slopes(graph: Graph, wrt: Sequence[int]) -> Slopes:
    """Which of the inputs `wrt` (keys) have a slope.

    Of what is a derivative itself, none counts as stopped: the next one of a function with kinks is rightly zero.
    """
    places = {key: i for i, key in enumerate(graph.inputs)}
    numbers = [places[k] for k in wrt]
    graph = expand_underivable(graph)
    keys = [graph.inputs[i] for i in numbers]
    sloped = _backwards(graph, graph.outputs, True)
    if sloped.issuperset(keys):
        return Slopes(frozenset(wrt), {})
    stopped, read = {}, _backwards(graph, graph.outputs, False)
    if any(n.origin.derived for n in with_inner(graph)):
        read = set()
    for key, mine in zip(wrt, keys, strict=True):
        if mine in read and mine not in sloped:
            stops = tuple(dict.fromkeys(s for s in _stops(graph, {mine}, graph.outputs) if s.op != "stop_gradient"))
            if stops:
                stopped[key] = stops
    return Slopes(frozenset(k for k, mine in zip(wrt, keys, strict=True) if mine in sloped), stopped)


def told(names: Sequence[str], stops: Sequence[Stop]) -> str:
    """The finding in words, with the remedy: what stopped the derivative by `names`, and whether zero is right."""
    by = " and ".join(map(repr, names))
    each = "; ".join(f"{s.op} ({s.what})" + (f" {described(s.origin)}" if s.origin.line else "") for s in stops[:3])
    more = f"; and {len(stops) - 3} more" if len(stops) > 3 else ""
    if all(s.right for s in stops):
        right = (
            "the result is constant between jumps, so zero is right wherever there is a derivative, but says nothing "
            f"of the jumps: if you mean it, write gs.stop_gradient({names[0]}) there; else use a smooth form (gs.tanh, "
            "gs.sigmoid, gs.softmax), or give your own rule by gs.custom_derivative (a straight-through estimator)"
        )
    else:
        right = (
            "the result does change with it, so zero is wrong: pass what the function closes over as an argument, and "
            "let the rule return its share (None for none); gs.stop_gradient says that zero is meant"
        )
    return f"the derivative by {by} is zero everywhere, because results read it only through {each}{more}: {right}"


# --- where a slope passes ---------------------------------------------------------------------------------------------


def _backwards(graph: Graph, ends: Collection[int], slopes: bool) -> set[int]:
    """The nodes from which one of the nodes `ends` is reached; with `slopes`, only through ops that have one."""
    found = {k for k in ends if not slopes or graph.node(k).type.dtype.kind == "float"}
    results: dict[int, set[int]] = {}
    for n in graph.backwards():
        key = n.key
        if key in results:
            found.add(key)
            found.update(n.args[k] for k in _operands(n, results[key], slopes))
        elif key in found and lookup(n.op).kind == "part":
            results.setdefault(n.args[0], set()).add(n.params["index"])
        elif key in found:
            found.update(compress(n.args, _passes(graph, n)) if slopes else n.args)
    return found


def _operands(n: Node, results: set[int], slopes: bool) -> set[int]:
    """Numbers of the operands of a loop or a branch that its results with the numbers `results` are reached from."""
    return _REGIONS[n.op](n, results, slopes)


def _inputs(body: Graph, outputs: Collection[int], slopes: bool) -> set[int]:
    found = _backwards(body, [body.outputs[k] for k in outputs], slopes)
    return {k for k, key in enumerate(body.inputs) if key in found}


def _around(body: Graph, consts: int, carries: int, outputs: set[int], slopes: bool) -> set[int]:
    """The inputs of a loop's body that its outputs are reached from in any number of steps."""
    while True:
        found = _inputs(body, outputs, slopes)
        more = outputs | {k - consts for k in found if consts <= k < consts + carries}
        if more == outputs:
            return found | {k + consts for k in outputs if k < carries}
        outputs = more


def _scan(n: Node, results: set[int], slopes: bool) -> set[int]:
    counted = int(n.params["counted"])
    found = _around(n.params["body"], n.params["consts"], n.params["carries"], results, slopes)
    return {k + counted for k in found} | (set() if slopes or not counted else {0})


def _while(n: Node, results: set[int], slopes: bool) -> set[int]:
    consts, test = n.params["consts"], n.params["test"]
    carries, extra = len(n.args) - consts, int(n.params["bound"] is not None)
    outputs = {k if k < carries else k - extra for k in results if not (extra and k == carries)}
    if slopes:
        return _around(n.params["body"], consts, carries, outputs, True)
    tested = _inputs(test, [0], False)
    outputs |= {k - consts for k in tested if k >= consts}
    return tested | _around(n.params["body"], consts, carries, outputs, False)


def _cond(n: Node, results: set[int], slopes: bool) -> set[int]:
    found = set[int]().union(*(_inputs(n.params[side], results, slopes) for side in ("then", "otherwise")))
    return {k + 1 for k in found} | (set() if slopes else {0})


_REGIONS: Mapping[str, Callable[[Node, set[int], bool], set[int]]] = {
    "scan": _scan, "while_loop": _while, "cond": _cond,
}  # fmt: skip


def _passes(graph: Graph, n: Node) -> tuple[bool, ...]:
    """For each operand, whether the op has a slope by it."""
    op = lookup(n.op)
    if op.kind == "elementwise" and not n.params:
        return _element(op, n.type.dtype, *[graph.node(a).type.dtype for a in n.args])
    return _by_rule(op, [graph.node(a).type for a in n.args], n.type, n.params)


@cache
def _element(op: Op, result: DType, *dtypes: DType) -> tuple[bool, ...]:
    return _by_rule(op, [Type((), d) for d in dtypes], Type((), result), {})


def _by_rule(op: Op, types: Sequence[Type], result: Type, params: Mapping[str, object]) -> tuple[bool, ...]:
    if result.dtype.kind != "float":
        return (False,) * len(types)
    if op.vjp is None or op.linear or op.kind in ("layout", "assembly", "contraction", "reduction", "scan"):
        return tuple(t.dtype.kind == "float" for t in types)
    with recording():
        g, y, *xs = [symbol(f"v{i}", t.shape, t.dtype) for i, t in enumerate((result, result, *types))]
        shares = op.vjp(g, y, *xs, **params)
    return tuple(s is not None and t.dtype.kind == "float" for s, t in zip(shares, types, strict=True))


# --- what stops it ----------------------------------------------------------------------------------------------------


def _stops(graph: Graph, starts: set[int], ends: Collection[int]) -> list[Stop]:
    """The ops that read what changes with `starts`, on the way to `ends`, and have no slope by it."""
    read, moving, found = _backwards(graph, ends, False), set(starts), list[Stop]()
    for n in graph.ordered():
        op = lookup(n.op)
        if n.key not in read or n.key in starts or not any(a in moving for a in n.args):
            continue
        if n.bodies:
            moving.add(n.key)
        elif op.kind == "part":
            region = graph.node(n.args[0])
            given = {k for k, a in enumerate(region.args) if a in moving}
            if given & _operands(region, {n.params["index"]}, True):
                moving.add(n.key)
            elif given & _operands(region, {n.params["index"]}, False):
                found += _inside(region, given) or [Stop(region.op, region.origin, "its condition or its inside")]
        elif any(passes and a in moving for a, passes in zip(n.args, _passes(graph, n), strict=True)):
            moving.add(n.key)
        else:
            found.append(_stop(n))
    return found


def _inside(region: Node, given: set[int]) -> list[Stop]:
    """What stops it in the bodies of a loop or a branch."""
    skipped = 1 if region.op == "cond" else int(region.params.get("counted", False))
    if region.op == "cond" and 0 in given:
        return [Stop("cond", region.origin, "its condition")]
    found: list[Stop] = []
    for body in region.bodies.values():
        starts = {body.inputs[k - skipped] for k in given if k >= skipped}
        found += _stops(body, starts, body.outputs)
    return found


def _stop(n: Node) -> Stop:
    if n.op == "custom":
        name = n.params["rule"].name
        return Stop(name, n.origin, "its own derivative rule does not reach what it closes over", right=False)
    kind = n.type.dtype.kind
    what = {"bool": "a condition", "int": "an integer"}.get(kind, "piecewise constant")
    return Stop(n.op, n.origin, what)
