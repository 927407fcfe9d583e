"""Storage: what the way back through a loop keeps of each step, and what it computes again.

In: the expressions of one step back, and which of the body's values are known before it. Out: values of the step that
are stored. State is stored, and so are slopes and results that take a call, a sum or a loop to compute; cheap
arithmetic on them is done again. Of all ways to do so, the one with the fewest numbers stored is taken: a cut of least
size through the values between what cannot be had again cheaply and what the way back reads. So `a*b` is stored where
nothing else reads `a` or `b`, and `grouped` writes the products of the chain rule so that there are such values:

    (g*a)*b    ->  g*(a*b)        for a cotangent g
    g*a + g*b  ->  g*(a + b)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import networkx as nx

from ..trace import Expr

__all__ = ["below", "costly", "dependent", "grouped", "to_store"]

_CALL = re.compile(r"\w\(")
_MOST_VALUES = 400  # of a body, for which the least cut is looked for: that takes more than linear time


def below(outputs: Sequence[Expr]) -> list[Expr]:
    """All that `outputs` are computed from, and they themselves, in the order in which they were made."""
    found = {x.serial: x for x in outputs}
    stack = [*found.values()]
    while stack:
        for a in stack.pop().args:
            if a.serial not in found:
                found[a.serial] = a
                stack.append(a)
    return sorted(found.values(), key=lambda e: e.serial)


def dependent(outputs: Sequence[Expr], roots: Iterable[Expr]) -> set[int]:
    """What of all that `outputs` are computed from depends on `roots`, by serial."""
    found = {x.serial for x in roots}
    for e in below(outputs):
        if any(a.serial in found for a in e.args):
            found.add(e.serial)
    return found


def costly(e: Expr) -> bool:
    """Whether a value is worth its place in memory: the result of a call, of a sum, or of a loop."""
    if e.op.kind == "elementwise":
        cell = e.op.cells.get("c", "f(x)")  # what has none is made of others
        return e.dtype.kind == "float" and _CALL.search(str(cell)) is not None
    return e.op.kind not in ("leaf", "layout", "assembly", "region")


# --- products ---------------------------------------------------------------------------------------------------------


def grouped(outputs: Sequence[Expr], backward: AbstractSet[int], varying: AbstractSet[int]) -> list[Expr]:
    """`outputs` with what is known of each product before the way back multiplied, and added up, first."""
    made = below(outputs)
    uses = Counter(a.serial for e in made for a in e.args) + Counter(x.serial for x in outputs)
    new: dict[int, Expr] = {}
    known: dict[int, tuple[Expr, Expr]] = {}  # a product: the cotangent in it, and what is known before

    def alone(x: Expr) -> tuple[Expr, Expr] | None:
        """The cotangent and the factor of a product that nothing else reads."""
        return known.get(x.serial) if uses[x.serial] == 1 else None

    for e in made:
        args = [new[a.serial] for a in e.args]
        found = e if all(a is b for a, b in zip(args, e.args, strict=True)) else e.op_call(*args, **e.params)
        if e.op.name == "mul" and e.serial in backward:
            for (g, x), (given, factor) in ((e.args, args), (e.args[::-1], args[::-1])):
                if g.serial not in backward or x.serial in backward or x.shape != e.shape:
                    continue
                inside = alone(g)
                if inside is not None:
                    given, factor = inside[0], inside[1] * factor
                    found = given * factor
                elif x.serial not in varying:
                    continue  # a number beside a cotangent
                known[e.serial] = given, factor
                break
        elif e.op.name == "add" and e.serial in backward:
            one, other = (alone(a) for a in e.args)
            if one is not None and other is not None and one[0] is other[0]:
                known[e.serial] = one[0], one[1] + other[1]
                found = one[0] * known[e.serial][1]
        if found is not e:
            found.origin = e.origin
        new[e.serial] = found
    return [new[x.serial] for x in outputs]


# --- the least cut ----------------------------------------------------------------------------------------------------


def to_store(
    outputs: Sequence[Expr],
    state: Sequence[Expr],
    varying: AbstractSet[int],
    backward: AbstractSet[int],
    also: Sequence[Expr],
    states_only: bool,
) -> list[Expr]:
    """What `outputs`, of a step back, read of the step and cannot have cheaply; and `also`, which is stored anyway.

    `varying` differs from step to step, and `backward` depends on cotangents. With `states_only`, nothing but `state`
    is stored.
    """
    stored = {x.serial: x for x in also}
    states = {x.serial for x in state}
    seen, read = _read(outputs, varying, backward)
    needed = {k for k in seen if k in states or (not states_only and costly(seen[k]))}
    sizes = {k: e.size for k, e in seen.items()}
    if states_only or len(seen) > _MOST_VALUES or not all(isinstance(size, int) for size in sizes.values()):
        stored.update(_first(read, seen, needed))
    else:
        stored.update({k: seen[k] for k in _least_cut(seen, read, needed, stored)})
    return sorted(stored.values(), key=lambda e: e.serial)


def _read(
    outputs: Sequence[Expr], varying: AbstractSet[int], backward: AbstractSet[int]
) -> tuple[dict[int, Expr], list[int]]:
    """The values of the step that `outputs` depend on, by serial, and those that the way back itself reads."""
    seen: dict[int, Expr] = {}
    read: dict[int, None] = {}
    made = below(outputs)
    ends = {x.serial for x in outputs}
    for e in made:
        if e.serial in varying and e.serial not in backward:
            seen[e.serial] = e
            if e.serial in ends:
                read[e.serial] = None
        elif e.serial in backward:
            read.update(dict.fromkeys(a.serial for a in e.args if a.serial in varying and a.serial not in backward))
    return seen, [*read]


def _first(read: Sequence[int], seen: Mapping[int, Expr], needed: AbstractSet[int]) -> dict[int, Expr]:
    """The first values on the way down that are worth being stored."""
    found: dict[int, Expr] = {}
    stack, done = [*read], set[int]()
    while stack:
        k = stack.pop()
        if k in done:
            continue
        done.add(k)
        if k in needed:
            found[k] = seen[k]
        else:
            stack += [a.serial for a in seen[k].args if a.serial in seen]
    return found


def _least_cut(
    seen: Mapping[int, Expr],
    read: Sequence[int],
    needed: AbstractSet[int],
    stored: Mapping[int, Expr],
) -> list[int]:
    """The values with the fewest numbers between what is `needed` and what is `read`; the first of them, if several."""
    flow = nx.DiGraph()
    flow.add_nodes_from(["start", "end"])
    for k, e in seen.items():
        room = 0 if k in stored else e.size if e.dtype.kind == "float" or k in needed else None
        flow.add_edge((k, 0), (k, 1), **({} if room is None else {"capacity": room}))
        if k in needed:
            flow.add_edge("start", (k, 0))
        flow.add_edges_from(((a.serial, 1), (k, 0)) for a in e.args if a.serial in seen)
    flow.add_edges_from(((k, 1), "end") for k in read)
    residual = nx.algorithms.flow.edmonds_karp(flow, "start", "end")
    reached: set[object] = {"start"}
    stack: list[object] = ["start"]
    while stack:
        for v, edge in residual[stack.pop()].items():
            if v not in reached and edge["flow"] < edge["capacity"]:
                reached.add(v)
                stack.append(v)
    return [k for k in seen if (k, 0) in reached and (k, 1) not in reached and k not in stored]
