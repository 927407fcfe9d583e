"""Forward mode of loops and branches: one loop that carries values and their tangents side by side.

In: a region node and the tangents of its operands. Out: a region that computes the results and their tangents, and
where each of them is among its results. Bodies are differentiated by the ordinary forward mode. A loop without a bound
is nothing special here: nothing is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..as_graph import closed, to_exprs
from ..graph import Graph, Node
from ..regions import depends
from ..registry import lookup
from ..trace import Expr, Recording, recording, registry_function
from .adjoint_regions import zeros

__all__ = ["Forward", "forward"]

#: `push(graph, values, seeds, state)`: values and tangents of all nodes (see tangent.py).
Push = Callable[[Graph, Sequence[Expr], Mapping[int, Expr], Recording], Any]


@dataclass(frozen=True)
class Forward:
    """A region that computes tangents as well: where the results are among its own, and where their tangents."""

    region: Expr
    values: Mapping[int, int]
    tangents: Mapping[int, int]


def forward(n: Node, values: Sequence[Expr], tangents: Sequence[Expr | None], push: Push) -> Forward:
    """The region of values and tangents, given the tangents of the operands of `n`."""
    operands = [values[a] for a in n.args]
    return _RULES[n.op](n, operands, tangents, push)


def _symbols(body: Graph) -> list[Expr]:
    return [Expr(lookup("input"), (), body.node(k).params, body.node(k).type) for k in body.inputs]


def _tangent_symbol(x: Expr) -> Expr:
    return Expr(lookup("input"), (), {"name": f"t_{str(x.name).split()[0]}"}, x.type)


def _carried(body: Graph, consts: int, carries: int, given: set[int]) -> set[int]:
    """Numbers of the body's inputs that have a tangent, once the state has gone round."""
    while True:
        more = given | {
            consts + k
            for k in range(carries)
            if body.node(body.outputs[k]).type.dtype.kind == "float" and depends(body, [k]) & given
        }
        if more == given:
            return given
        given = more


def _pushed(
    body: Graph, symbols: Sequence[Expr], seeds: Mapping[int, Expr], state: Recording, push: Push
) -> tuple[list[Expr], list[Expr | None]]:
    """The outputs of a body and their tangents."""
    found = push(body, to_exprs(body, symbols), {body.inputs[k]: t for k, t in seeds.items()}, state)
    return [found.values[k] for k in body.outputs], [found.tangents.get(k) for k in body.outputs]


def _loop(
    n: Node, operands: Sequence[Expr], tangents: Sequence[Expr | None], push: Push, body: Graph, before: int,
    consts: int, carries: int, between: int,
) -> Forward:  # fmt: skip
    """What scans and while loops have in common."""
    inner = operands[before:]
    active = _carried(body, consts, carries, {k for k, t in enumerate(tangents[before:]) if t is not None})
    with recording() as state:
        symbols = _symbols(body)
        seeds = {k: _tangent_symbol(symbols[k]) for k in sorted(active)}
        outputs, moved = _pushed(body, symbols, seeds, state, push)
        state_tangents = [k for k in range(carries) if consts + k in active]
        stacked = [k for k in range(carries, len(outputs)) if moved[k] is not None]
        results = outputs[:carries]
        results += [_tangent(outputs[k], moved[k]) for k in state_tangents]
        results += [*outputs[carries:], *(_tangent(outputs[k], moved[k]) for k in stacked)]
        groups = (range(consts), range(consts, consts + carries), range(consts + carries, len(symbols)))
        inputs = [x for g in groups for x in (*(symbols[k] for k in g), *(seeds[k] for k in g if k in active))]
        tests = to_exprs(n.params["test"], symbols) if "test" in n.params else []
        answers = [tests[k] for k in n.params["test"].outputs] if tests else []
        both, outside = closed(inputs, [*answers, *results])
    given = [
        x
        for g in groups
        for x in (*(inner[k] for k in g), *(_tangent(inner[k], tangents[before + k]) for k in g if k in active))
    ]
    params = {
        **n.params,
        "body": both.rooted(both.outputs[len(answers) :]),
        "consts": len(outside) + consts + sum(k < consts for k in active),
    }
    if answers:
        params["test"] = both.rooted(both.outputs[: len(answers)])
    else:
        params["carries"] = carries + len(state_tangents)
    region = registry_function(n.op)(*operands[:before], *outside, *given, **params)
    final = carries + len(state_tangents)
    places = {k: k for k in range(carries)} | {carries + k: final + k for k in range(between)}
    places |= {k + between: k + between + len(state_tangents) for k in range(carries, len(outputs))}
    found = {k: carries + i for i, k in enumerate(state_tangents)}
    found |= {k + between: final + between + len(outputs) - carries + i for i, k in enumerate(stacked)}
    return Forward(region, places, found)


def _tangent(x: Expr, tangent: Expr | None) -> Expr:
    return zeros(x.type) if tangent is None else tangent


def _scan(n: Node, operands: Sequence[Expr], tangents: Sequence[Expr | None], push: Push) -> Forward:
    p = n.params
    return _loop(n, operands, tangents, push, p["body"], int(p["counted"]), p["consts"], p["carries"], 0)


def _while(n: Node, operands: Sequence[Expr], tangents: Sequence[Expr | None], push: Push) -> Forward:
    p = n.params
    carries = len(operands) - p["consts"]
    return _loop(n, operands, tangents, push, p["body"], 0, p["consts"], carries, int(p["bound"] is not None))


def _cond(n: Node, operands: Sequence[Expr], tangents: Sequence[Expr | None], push: Push) -> Forward:
    active = {k - 1: t for k, t in enumerate(tangents) if t is not None}
    with recording() as state:
        symbols = _symbols(n.params["then"])
        seeds = {k: _tangent_symbol(symbols[k]) for k in active}
        sides = [_pushed(body, symbols, seeds, state, push) for body in n.bodies.values()]
        outputs, _ = sides[0]
        with_tangent = [k for k in range(len(outputs)) if any(side[1][k] is not None for side in sides)]
        results = [
            [*values, *(_tangent(values[k], tangents_of[k]) for k in with_tangent)] for values, tangents_of in sides
        ]
        both, outside = closed([*symbols, *seeds.values()], [*results[0], *results[1]])
    bodies = [both.rooted(both.outputs[at : at + len(results[0])]) for at in (0, len(results[0]))]
    region = registry_function("cond")(
        operands[0], *outside, *operands[1:], *active.values(), then=bodies[0], otherwise=bodies[1]
    )
    own = {k: k for k in range(len(outputs))}
    return Forward(region, own, {k: len(outputs) + i for i, k in enumerate(with_tangent)})


_RULES: Mapping[str, Callable[..., Forward]] = {"scan": _scan, "while_loop": _while, "cond": _cond}
