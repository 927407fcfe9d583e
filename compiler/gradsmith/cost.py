"""Operation counts: what a graph computes, by kind of operation.

In: a graph and the outputs of interest. Out: counts per kind, where an array op counts once per element computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .dims import Dim, Extent, substituted
from .errors import SpecError
from .graph import Graph, Node
from .regions import has_regions, pruned
from .registry import Region, lookup

__all__ = ["ARITHMETIC", "Cost", "count", "count_of"]

#: Kinds that a processor does in one instruction; the others are library calls.
ARITHMETIC = frozenset({"add", "sub", "mul", "div", "neg"})


@dataclass(frozen=True)
class Cost:
    """Operation counts of the value, of the gradient alone and of both together, and the ratio of both to the value.

    With named dimensions, counts are polynomials in their sizes, such as `64*n + 1`.
    """

    value: Mapping[str, Any]
    grad: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    value_and_grad: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def ratio(self) -> float:
        """All operations of value and gradient over all operations of the value.

        Of counts that depend on named dimensions there is none: say at which sizes (`cost.at(n=100).ratio`).
        """
        self._counted("ratio")
        both, value = (int(sum(counts.values())) for counts in (self.value_and_grad, self.value))
        return both / max(1, value)

    def at(self, **sizes: int) -> Cost:
        """The counts for these sizes of the named dimensions."""
        missing = sorted({name for dim in self._dims() for name in dim.names} - set(sizes))
        if missing:
            raise SpecError(f"cost.at() lacks the size of {', '.join(missing)}")

        def known(factor: Any) -> Any:
            return sizes[factor] if isinstance(factor, str) else factor

        def numbers(counts: Mapping[str, Extent]) -> Mapping[str, Extent]:
            given = {
                kind: substituted(n, lambda f: sizes[f] if isinstance(f, str) else f) for kind, n in counts.items()
            }
            return MappingProxyType(given)

        return Cost(numbers(self.value), numbers(self.grad), numbers(self.value_and_grad))

    def _dims(self) -> list[Dim]:
        counts = (*self.value.values(), *self.grad.values(), *self.value_and_grad.values())
        return [n for n in counts if isinstance(n, Dim)]

    def _counted(self, what: str) -> None:
        names = sorted({name for dim in self._dims() for name in dim.names})
        if names:
            sizes = ", ".join(f"{name}=100" for name in names)
            raise SpecError(f"cost.{what} depends on {', '.join(names)}: say at which sizes, cost.at({sizes}).{what}")

    def arithmetic(self, of: str = "grad") -> Any:
        """How many additions, subtractions, multiplications, divisions and negations `of` takes."""
        return sum(n for kind, n in getattr(self, of).items() if kind in ARITHMETIC)

    def __str__(self) -> str:
        kinds = sorted({*self.value, *self.grad, *self.value_and_grad})
        rows = [(k, *(str(c.get(k, 0)) for c in (self.value, self.grad, self.value_and_grad))) for k in kinds]
        total = ("total", *(str(sum(c.values())) for c in (self.value, self.grad, self.value_and_grad)))
        head = ("operation", "value", "grad", "value_and_grad")
        wide = [max(least, *(len(row[k]) + 2 for row in rows + [total])) for k, least in enumerate((12, 8, 8, 16))]
        lines = [f"{a:<{wide[0]}}{b:>{wide[1]}}{c:>{wide[2]}}{d:>{wide[3]}}" for a, b, c, d in [head, *rows, total]]
        return "\n".join([*lines, *([] if self._dims() else [f"value_and_grad / value = {self.ratio:.2f}"])])


def count(graph: Graph, outputs: Iterable[int]) -> dict[str, Any]:
    """Operations needed for `outputs`, by kind, in the order in which they first occur."""
    if has_regions(graph):
        graph = pruned(graph, [*outputs])
        outputs = graph.outputs
    nodes = list(graph.ordered())
    needed = set(outputs)
    for n in reversed(nodes):
        if n.key in needed:
            needed.update(n.args)
    counts: dict[str, Any] = {}
    for n in nodes:
        if n.key not in needed:
            continue
        for kind, number in count_of(graph, n).items():
            counts[kind] = counts.get(kind, 0) + number
    return {kind: number for kind, number in counts.items() if number != 0}


def count_of(graph: Graph, n: Node) -> Mapping[str, Any]:
    """Operations of one node, by kind; a loop counts as often as its body runs, at most."""
    op = lookup(n.op)
    if isinstance(op.structure, Region):
        steps, found = op.structure.steps(n.params), dict[str, Any]()
        for body in n.bodies.values():
            for kind, number in count(body, body.outputs).items():
                found[kind] = found.get(kind, 0) + number * steps
        return found
    if op.cost is None:
        return {n.op: n.type.size} if op.kind == "elementwise" else {}
    return dict(op.cost(n.type, *(graph.node(a).type for a in n.args), **n.params))
