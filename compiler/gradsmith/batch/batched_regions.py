"""Loops and branches for many elements at once.

In: a loop or a branch of a graph that is batched, with its operands. Out: one that does the same for all elements, and
its results. What is carried has the axis of the elements as soon as any step gives it one.

A branch whose condition is the same for all elements stays a branch; else both are computed, and `where` chooses. A
while loop whose test differs runs while it holds for any element, and those that have finished keep their state. A scan
whose number of steps differs takes the most steps, likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..as_graph import to_graph
from ..graph import Graph, Node
from ..ops import any as any_
from ..ops import astype, less, logical_and
from ..ops import max as max_
from ..ops._batch import moved
from ..ops.control import parts
from ..origin import Origin
from ..registry import lookup
from ..trace import Expr, apply, constant, recording, registry_function
from ..types import BOOL, INT64, Type
from .batched import Batch, Rule, Value, lifted_type

__all__ = ["REGIONS"]

_ACTIVE, _GOING, _COUNT = "which are active", "which go on", "steps of each"  # inputs of bodies besides their own


def _given(body: Graph) -> list[Node]:
    return [body.node(k) for k in body.inputs]


def _more(body: Graph, name: str, type: Type) -> Node:
    """An input that `body` gets in addition: a node with a name that none of its inputs has."""
    taken = {n.params["name"] for n in _given(body)}
    number = next(k for k in range(1, len(taken) + 2) if f"{name} {k}" not in taken)
    return Node(-1, "input", (), {"name": f"{name} {number}"}, type, Origin())


def _body(
    batch: Batch,
    inputs: Sequence[Node],
    mapped: Sequence[bool],
    make: Callable[[Batch, list[Value]], list[Value]],
    wanted: Sequence[bool] = (),
) -> tuple[Graph, list[bool]]:
    """The graph of what `make` computes from inputs of which some are mapped, and which of its outputs are mapped.

    Outputs that are `wanted` mapped are.
    """
    with recording() as state:
        given = []
        for n, m in zip(inputs, mapped, strict=True):
            type = lifted_type(n.type, batch.size) if m else n.type
            given.append(Value(Expr(lookup("input"), (), n.params, type, n.origin), m))
        found = make(batch.within(None, state), given)
        found = [batch.spread(v) if k < len(wanted) and wanted[k] else v for k, v in enumerate(found)]
        return to_graph([v.x for v in given], [v.x for v in found]), [v.mapped for v in found]


def _settled(carried: Sequence[bool], step: Callable[[list[bool]], list[bool]]) -> list[bool]:
    """Which carries are mapped, given which are at the start and which are after a step."""
    flags = [*carried]
    while True:
        after = [a or b for a, b in zip(flags, step(flags), strict=True)]
        if after == flags:
            return flags
        flags = after


def _along(v: Value) -> Expr:
    """What a scan goes along: the steps first, then the elements."""
    return moved(v.x, 1, 0) if v.mapped else v.x


def _stacked(x: Expr, mapped: bool) -> Value:
    return Value(moved(x, 1, 0) if mapped else x, mapped)


def _scan(batch: Batch, n: Node, args: Sequence[Value]) -> list[Value]:
    p = n.params
    body, counted, consts, carries = p["body"], int(p["counted"]), p["consts"], p["carries"]
    count, operands = args[:counted], args[counted:]
    outer, state, xs = operands[:consts], operands[consts : consts + carries], operands[consts + carries :]
    masks = [batch.active] if batch.masks(body) and batch.active is not None else []
    several = [v for v in count if v.mapped]  # the steps differ between elements
    inputs = _given(body)
    extra = [_more(body, _ACTIVE, Type((), BOOL))] * len(masks) + [_more(body, _COUNT, Type((), INT64))] * len(several)
    place = [_more(body, "step", Type((), INT64))] * len(several)
    lead = len(extra)

    def step(inner: Batch, given: list[Value]) -> list[Value]:
        values = given[lead : lead + len(inputs)]
        on = Value(less(given[-1].x, given[lead - 1].x), True) if several else None
        active = given[0] if masks else None
        if on is not None:
            active = on if active is None else _both(active, on)
        found = inner.within(active).outputs(body, values)
        if on is None:
            return found
        old = values[consts : consts + carries]
        zeros = [_zero(v) for v in found[carries:]]
        return [inner.chosen(on, new, other) for new, other in zip(found, [*old, *zeros], strict=True)]

    def traced(flags: Sequence[bool], wanted: Sequence[bool] = ()) -> tuple[Graph, list[bool]]:
        mapped = [
            *(v.mapped for v in [*masks, *several]), *(v.mapped for v in outer), *flags, *(v.mapped for v in xs),
            *(False for _ in several),
        ]  # fmt: skip
        return _body(batch, [*extra, *inputs, *place], mapped, step, wanted)

    flags = _settled([v.mapped for v in state], lambda flags: traced(flags)[1][:carries])
    new, found = traced(flags, flags)
    steps = [max_(v.x) if v.mapped and batch.size else constant(0) if v.mapped else v.x for v in count]
    start = [(batch.spread(v) if m else v).x for v, m in zip(state, flags, strict=True)]
    numbers = [registry_function("iota")(size=p["length"]) for _ in several]
    region = apply(
        lookup("scan"),
        [*steps, *(v.x for v in [*masks, *several, *outer]), *start, *(_along(v) for v in xs), *numbers],
        {**p, "body": new, "consts": consts + lead},
    )
    results = parts(region)
    return [
        *(Value(x, m) for x, m in zip(results[:carries], flags, strict=True)),
        *(_stacked(x, m) for x, m in zip(results[carries:], found[carries:], strict=True)),
    ]


def _zero(v: Value) -> Value:
    return Value(constant(False if v.x.dtype == BOOL else 0, v.x.dtype), False)


def _both(a: Value, b: Value) -> Value:
    return Value(logical_and(a.x, b.x), a.mapped or b.mapped)


def _while(batch: Batch, n: Node, args: Sequence[Value]) -> list[Value]:
    p = n.params
    body, test, consts, bound = p["body"], p["test"], p["consts"], p["bound"]
    outer, state = args[:consts], args[consts:]
    carries = len(state)

    def flagged(graph: Graph, flags: Sequence[bool]) -> list[bool]:
        mapped = [*(v.mapped for v in outer), *flags]
        return _body(batch, _given(graph), mapped, lambda inner, values: inner.outputs(graph, values))[1]

    flags = _settled([v.mapped for v in state], lambda flags: flagged(body, flags)[:carries])
    if batch.active is not None or flagged(test, flags)[0]:
        return _while_any(batch, n, outer, state)
    mapped = [*(v.mapped for v in outer), *flags]
    goes_on, _ = _body(batch, _given(test), mapped, lambda inner, values: inner.outputs(test, values))
    new, found = _body(batch, _given(body), mapped, lambda inner, values: inner.outputs(body, values), flags)
    start = [(batch.spread(v) if m else v).x for v, m in zip(state, flags, strict=True)]
    results = parts(apply(lookup("while_loop"), [*(v.x for v in outer), *start], {**p, "test": goes_on, "body": new}))
    extra = int(bound is not None)
    return [
        *(Value(x, m) for x, m in zip(results, [*flags, *[False] * extra], strict=False)),
        *(_stacked(x, m) for x, m in zip(results[carries + extra :], found[carries:], strict=True)),
    ]


def _while_any(batch: Batch, n: Node, outer: Sequence[Value], state: Sequence[Value]) -> list[Value]:
    """The loop runs while the test holds for any element. Which do go on is carried, as is how often each has."""
    p = n.params
    body, test, consts, bound = p["body"], p["test"], p["consts"], p["bound"]
    carries, counts = len(state), int(bound is not None)
    on = _more(body, _GOING, Type((), BOOL))
    inputs = [*_given(body), *[_more(body, _COUNT, Type((), INT64))] * counts, on]
    mapped = [*(v.mapped for v in outer), *[True] * (carries + counts + 1)]

    def tested(inner: Batch, values: Sequence[Value], going: Value | None) -> Value:
        (answer,) = inner.within(going).outputs(test, values)
        return inner.spread(answer if going is None else _both(going, answer))

    def step(inner: Batch, given: list[Value]) -> list[Value]:
        values, count, going = given[: consts + carries], given[consts + carries : -1], given[-1]
        found = inner.within(going).outputs(body, values)
        new = [inner.chosen(going, a, b) for a, b in zip(found, values[consts:], strict=False)]
        taken = [Value(v.x + astype(going.x, INT64), True) for v in count]
        ys = [inner.chosen(going, y, _zero(y)) for y in found[carries:]]
        return [*new, *taken, tested(inner, [*values[:consts], *new], going), *ys]

    start = [batch.spread(v) for v in state]
    none = [batch.spread(Value(constant(0), False)) for _ in range(counts)]
    first = tested(batch, [*outer, *start], batch.active)
    new, _ = _body(batch, inputs, mapped, step)
    again, _ = _body(batch, inputs, mapped, lambda inner, given: [Value(any_(given[-1].x), False)])
    operands = [v.x for v in [*outer, *start, *none, first]]
    results = parts(apply(lookup("while_loop"), operands, {**p, "test": again, "body": new}))
    stacked = results[
        carries + counts + 1 + counts :
    ]  # behind the state, the numbers of steps, and how many there were
    return [*(Value(x, True) for x in results[: carries + counts]), *(_stacked(x, True) for x in stacked)]


def _cond(batch: Batch, n: Node, args: Sequence[Value]) -> list[Value]:
    test, operands = args[0], args[1:]
    then, otherwise = n.params["then"], n.params["otherwise"]
    if test.mapped:
        yes, no = test, Value(~test.x, True)
        if batch.active is not None:
            yes, no = _both(batch.active, yes), _both(batch.active, no)
        a, b = (batch.within(way).outputs(body, operands) for way, body in ((yes, then), (no, otherwise)))
        return [batch.chosen(test, x, y) for x, y in zip(a, b, strict=True)]
    masks = [batch.active] if batch.masks(then, otherwise) and batch.active is not None else []
    mapped = [*(v.mapped for v in masks), *(v.mapped for v in operands)]

    def branch(body: Graph, wanted: Sequence[bool] = ()) -> tuple[Graph, list[bool]]:
        def make(inner: Batch, given: list[Value]) -> list[Value]:
            return inner.within(given[0] if masks else None).outputs(body, given[len(masks) :])

        extra = [_more(body, _ACTIVE, Type((), BOOL)) for _ in masks]
        return _body(batch, [*extra, *_given(body)], mapped, make, wanted)

    wanted = [a or b for a, b in zip(branch(then)[1], branch(otherwise)[1], strict=True)]
    bodies: dict[str, Any] = {"then": branch(then, wanted)[0], "otherwise": branch(otherwise, wanted)[0]}
    results = parts(apply(lookup("cond"), [test.x, *(v.x for v in [*masks, *operands])], bodies))
    return [Value(x, m) for x, m in zip(results, wanted, strict=True)]


REGIONS: Mapping[str, Rule] = {"scan": _scan, "while_loop": _while, "cond": _cond}
