"""Operation counts: what a graph computes, by kind of operation.

In: a graph and the outputs of interest. Out: counts per kind of operation, where an array op counts once per element
computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType

from .graph import Graph, Node
from .regions import has_regions, pruned
from .registry import Region, lookup

__all__ = ["ARITHMETIC", "Cost", "count", "count_of"]

#: Kinds that a processor does in one instruction; the others are library calls.
ARITHMETIC = frozenset({"add", "sub", "mul", "div", "neg"})


def _none() -> Mapping[str, int]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Cost:
    """Operation counts of each kind of function, and the ratio of value and gradient together to the value.

    Empty counts are of kinds that were not asked for.
    """

    value: Mapping[str, int] = field(default_factory=_none)
    grad: Mapping[str, int] = field(default_factory=_none)
    value_and_grad: Mapping[str, int] = field(default_factory=_none)
    jvp: Mapping[str, int] = field(default_factory=_none)
    vjp: Mapping[str, int] = field(default_factory=_none)
    jacobian: Mapping[str, int] = field(default_factory=_none)
    hessian: Mapping[str, int] = field(default_factory=_none)
    hvp: Mapping[str, int] = field(default_factory=_none)

    @property
    def ratio(self) -> float:
        """All operations of value and gradient over all operations of the value."""
        return sum(self.value_and_grad.values()) / max(1, sum(self.value.values()))

    def total(self, of: str) -> int:
        """How many operations `of` takes, of all kinds."""
        return sum(getattr(self, of).values())

    def arithmetic(self, of: str = "grad") -> int:
        """How many additions, subtractions, multiplications, divisions and negations `of` takes."""
        return sum(n for kind, n in getattr(self, of).items() if kind in ARITHMETIC)

    def __str__(self) -> str:
        usual = ("value", "grad", "value_and_grad")
        asked = [f.name for f in fields(self) if getattr(self, f.name)]
        gradient = bool(self.grad or self.value_and_grad) or all(name in usual for name in asked)
        shown = [f.name for f in fields(self) if f.name in asked or (gradient and f.name in usual)]
        widths = [max(8, len(name) + 2) for name in shown]
        kinds = sorted({kind for name in shown for kind in getattr(self, name)})
        rows = [(kind, *(str(getattr(self, name).get(kind, 0)) for name in shown)) for kind in kinds]
        total = ("total", *(str(self.total(name)) for name in shown))
        lines = [
            f"{row[0]:<12}" + "".join(f"{text:>{width}}" for text, width in zip(row[1:], widths, strict=True))
            for row in [("operation", *shown), *rows, total]
        ]
        return "\n".join([*lines, f"value_and_grad / value = {self.ratio:.2f}"] if gradient else lines)


def count(graph: Graph, outputs: Iterable[int]) -> dict[str, int]:
    """Operations needed for `outputs`, by kind, in the order in which they first occur."""
    if has_regions(graph):
        graph = pruned(graph, [*outputs])
        outputs = graph.outputs
    nodes = list(graph.ordered())
    needed = set(outputs)
    for n in reversed(nodes):
        if n.key in needed:
            needed.update(n.args)
    counts: dict[str, int] = {}
    for n in nodes:
        if n.key not in needed:
            continue
        for kind, number in count_of(graph, n).items():
            counts[kind] = counts.get(kind, 0) + number
    return {kind: number for kind, number in counts.items() if number}


def count_of(graph: Graph, n: Node) -> Mapping[str, int]:
    """Operations of one node, by kind; a loop counts as often as its body runs, at most."""
    op = lookup(n.op)
    if isinstance(op.structure, Region):
        steps, found = op.structure.steps(n.params), dict[str, int]()
        for body in n.bodies.values():
            for kind, number in count(body, body.outputs).items():
                found[kind] = found.get(kind, 0) + number * steps
        return found
    if op.cost is None:
        return {n.op: n.type.size} if op.kind == "elementwise" else {}
    return dict(op.cost(n.type, *(graph.node(a).type for a in n.args), **n.params))
