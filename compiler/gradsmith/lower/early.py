"""Early: parts of element-wise expressions that are computed as soon as their operands are there, in fewer arrays.

In: a schedule. Out: values that are computed in place so far, and should be stored in the loop that makes the last of
their operands. The sum `k1 + 2*k2 + 2*k3 + k4` behind the loops that make its terms keeps four arrays until then; with
`k1 + 2*k2` stored in the loop that makes `k2`, and so on, there is one. The order of operations is as it was, and so
are the results, to the last bit. Of the expressions that fewer arrays would be kept for, those are taken that need no
more loads and stores.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from ..graph import Graph, Node
from ..registry import lookup

if TYPE_CHECKING:
    from .fusion import Units
    from .statements import Plan

__all__ = ["computed_early"]

_BEFORE = -1  # when arguments and constants are there


def computed_early(graph: Graph, planned: Plan, units: Units, kept: Collection[int]) -> frozenset[int]:
    """The values to store early; those in `kept` are read in ways that element-wise values cannot be."""
    if not any(n.type.shape for n in graph.sorts):
        return frozenset()
    when = {n.key: number for number, unit in enumerate(units.order) for n in unit.nodes}
    users: dict[int, list[int]] = {}
    for n in planned.nodes:
        if lookup(n.op).kind == "part":
            when[n.key] = when[n.args[0]]
        for a in n.args:
            users.setdefault(a, []).append(n.key)
    finding = _Finding(graph, units, when, users, {})
    for n in reversed(planned.nodes):  # what is computed in place is computed with its last reader
        times = (finding.computed.get(m, _BEFORE) for m in users.get(n.key, ()))
        finding.computed[n.key] = when[n.key] if n.key in when else max(times, default=_BEFORE)
    found: dict[int, None] = {}
    for n in planned.nodes:
        if n.key in units.virtual and n.key not in kept and n.type.shape and n.type.dtype.kind == "float":
            inside = finding.inside(n, found)
            moment = finding.gain(n, inside) if inside is not None else None
            if inside is not None and moment is not None:
                found[n.key] = None
                when[n.key] = moment
                finding.computed.update(dict.fromkeys([n.key, *inside[0]], moment))
    return frozenset(found)


class _Finding:
    """What is computed when: `when` the stored values, and `computed` all."""

    def __init__(
        self,
        graph: Graph,
        units: Units,
        when: dict[int, int],
        users: Mapping[int, list[int]],
        computed: dict[int, int],
    ) -> None:
        self.graph, self.units, self.when, self.users, self.computed = graph, units, when, users, computed

    def inside(self, n: Node, found: Collection[int]) -> tuple[list[int], list[int]] | None:
        """What is computed in place with `n`, and what is stored that it reads; None if that is not element-wise."""
        virtual: list[int] = []
        stored: dict[int, None] = {}
        stack = [n]
        while stack:
            m = stack.pop()
            if lookup(m.op).kind != "elementwise":
                return None
            for a in map(self.graph.node, m.args):
                if a.key not in self.units.virtual or a.key in found:
                    if a.key in self.units.aliases or a.type.shape not in ((), n.type.shape):
                        return None
                    stored[a.key] = None
                elif a.op == "broadcast_to" and self._is_number(a.args[0]):
                    stored[a.args[0]] = None
                elif len(self.users[a.key]) == 1 and lookup(a.op).kind == "elementwise":
                    virtual.append(a.key)
                    stack.append(a)
                else:
                    return None
        return virtual, [*stored]

    def _is_number(self, key: int) -> bool:
        return not self.graph.node(key).type.shape and key not in self.units.virtual

    def gain(self, n: Node, inside: tuple[list[int], list[int]]) -> int | None:
        """The loop that should compute `n`, if that saves memory and costs nothing."""
        virtual, stored = inside
        if len(self.users.get(n.key, ())) != 1:
            return None
        arrays = [key for key in stored if self.graph.node(key).type.shape]
        moment = max((self.when.get(key, _BEFORE) for key in arrays), default=_BEFORE)
        scalars = [self.when.get(key, _BEFORE) for key in stored if key not in arrays]
        if moment == _BEFORE or moment >= self.computed[n.key] or max(scalars, default=_BEFORE) >= moment:
            return None
        unit = self.units.order[moment]
        if not unit.shared or unit.shape != n.type.shape:
            return None
        own = {n.key, *virtual}
        others = {key: [self.computed[m] for m in self.users[key] if m not in own] for key in arrays}
        freed = [k for k in arrays if k in self.when and all(time <= moment for time in others[k])]
        unstored = sum(self.when[k] == moment and all(time == moment for time in others[k]) for k in freed)
        loads = sum(self.when.get(k) != moment and moment not in others[k] for k in arrays)
        spared = sum(self.computed[n.key] not in others[k] for k in arrays)
        return moment if len(freed) > 1 and 1 - unstored + loads + 1 - spared <= 0 else None
