"""Operation counts: what a graph computes, by kind of operation.

In: a graph and the outputs of interest. Out: counts per kind, where an array op counts once per element computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .graph import Graph, Node
from .regions import has_regions, pruned
from .registry import Region, lookup

__all__ = ["ARITHMETIC", "Cost", "count", "count_of"]

#: Kinds that a processor does in one instruction; the others are library calls.
ARITHMETIC = frozenset({"add", "sub", "mul", "div", "neg"})


@dataclass(frozen=True)
class Cost:
    """Operation counts of the value, of the gradient alone and of both together, and the ratio of both to the value."""

    value: Mapping[str, int]
    grad: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    value_and_grad: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def ratio(self) -> float:
        """All operations of value and gradient over all operations of the value."""
        return sum(self.value_and_grad.values()) / max(1, sum(self.value.values()))

    def arithmetic(self, of: str = "grad") -> int:
        """How many additions, subtractions, multiplications, divisions and negations `of` takes."""
        return sum(n for kind, n in getattr(self, of).items() if kind in ARITHMETIC)

    def __str__(self) -> str:
        kinds = sorted({*self.value, *self.grad, *self.value_and_grad})
        rows = [(k, *(str(c.get(k, 0)) for c in (self.value, self.grad, self.value_and_grad))) for k in kinds]
        total = ("total", *(str(sum(c.values())) for c in (self.value, self.grad, self.value_and_grad)))
        head = ("operation", "value", "grad", "value_and_grad")
        lines = [f"{a:<12}{b:>8}{c:>8}{d:>16}" for a, b, c, d in [head, *rows, total]]
        return "\n".join([*lines, f"value_and_grad / value = {self.ratio:.2f}"])


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
    return {kind: number for kind, number in counts.items() if number != 0}


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
