"""Operation counts: what a graph computes, by kind of operation.

In: a graph and the outputs of interest. Out: counts per kind of operation, where an array op counts once per element
computed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from .dims import Dim, substituted
from .errors import SpecError
from .graph import Graph, Node
from .regions import has_regions, pruned
from .registry import Region, lookup

__all__ = ["ARITHMETIC", "Cost", "count", "count_of", "counts"]

#: Kinds that a processor does in one instruction; the others are library calls.
ARITHMETIC = frozenset({"add", "sub", "mul", "div", "neg"})


def _none() -> Mapping[str, Any]:
    return MappingProxyType({})


def _unpickled(*counts: Mapping[str, Any]) -> Cost:
    return Cost(*map(MappingProxyType, counts))


@dataclass(frozen=True)
class Cost:
    """Operation counts of each kind of function, and the ratio of value and gradient together to the value.

    Empty counts are of kinds that were not asked for. With named dimensions, counts are polynomials in their sizes,
    such as `64*n + 1`.
    """

    value: Mapping[str, Any] = field(default_factory=_none)
    grad: Mapping[str, Any] = field(default_factory=_none)
    value_and_grad: Mapping[str, Any] = field(default_factory=_none)
    jvp: Mapping[str, Any] = field(default_factory=_none)
    vjp: Mapping[str, Any] = field(default_factory=_none)
    jacobian: Mapping[str, Any] = field(default_factory=_none)
    hessian: Mapping[str, Any] = field(default_factory=_none)
    hvp: Mapping[str, Any] = field(default_factory=_none)

    def __reduce__(self) -> Any:  # of mappings that can be changed, which pickles know
        return _unpickled, tuple(dict(getattr(self, f.name)) for f in fields(self))

    @property
    def ratio(self) -> float:
        """All operations of value and gradient over all operations of the value.

        Of counts that depend on named dimensions there is none: say at which sizes (`cost.at(n=100).ratio`).
        """
        self._counted("ratio")
        return float(self.total("value_and_grad") / max(1, self.total("value")))

    def at(self, **sizes: int) -> Cost:
        """The counts for these sizes of the named dimensions."""
        missing = sorted({name for dim in self._dims() for name in dim.names} - set(sizes))
        if missing:
            raise SpecError(f"cost.at() lacks the size of {', '.join(missing)}")

        def known(factor: Any) -> Any:
            return sizes[factor] if isinstance(factor, str) else factor

        return Cost(
            **{
                f.name: MappingProxyType({kind: substituted(n, known) for kind, n in getattr(self, f.name).items()})
                for f in fields(self)
            }
        )

    def _dims(self, *of: str) -> list[Dim]:
        counts = (getattr(self, name) for name in of or [f.name for f in fields(self)])
        return [n for found in counts for n in found.values() if isinstance(n, Dim)]

    def _counted(self, what: str) -> None:
        names = sorted({name for dim in self._dims("value", "value_and_grad") for name in dim.names})
        if names:
            sizes = ", ".join(f"{name}=100" for name in names)
            raise SpecError(f"cost.{what} depends on {', '.join(names)}: say at which sizes, cost.at({sizes}).{what}")

    def total(self, of: str) -> Any:
        """How many operations `of` takes, of all kinds."""
        return sum(getattr(self, of).values())

    def arithmetic(self, of: str = "grad") -> Any:
        """How many additions, subtractions, multiplications, divisions and negations `of` takes."""
        return sum(n for kind, n in getattr(self, of).items() if kind in ARITHMETIC)

    def __str__(self) -> str:
        usual = ("value", "grad", "value_and_grad")
        asked = [f.name for f in fields(self) if getattr(self, f.name)]
        gradient = bool(self.grad or self.value_and_grad) or all(name in usual for name in asked)
        shown = [f.name for f in fields(self) if f.name in asked or (gradient and f.name in usual)]
        kinds = sorted({kind for name in shown for kind in getattr(self, name)})
        rows = [(kind, *(str(getattr(self, name).get(kind, 0)) for name in shown)) for kind in kinds]
        total = ("total", *(str(self.total(name)) for name in shown))
        table = [("operation", *shown), *rows, total]
        least = [12, *(max(8, len(name) + 2) for name in shown)]
        widths = [max(w, *(len(row[k]) + 2 for row in table)) for k, w in enumerate(least)]
        lines = [
            f"{row[0]:<{widths[0]}}" + "".join(f"{text:>{w}}" for text, w in zip(row[1:], widths[1:], strict=True))
            for row in table
        ]
        if gradient and not self._dims("value", "value_and_grad"):
            lines.append(f"value_and_grad / value = {self.ratio:.2f}")
        return "\n".join(lines)


def count(graph: Graph, outputs: Sequence[int]) -> dict[str, Any]:
    """Operations needed for `outputs`, by kind, in the order in which they first occur."""
    return counts(graph, [outputs])[0]


def counts(graph: Graph, wanted: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Operations needed for each of several sets of outputs, by kind, in the order in which they first occur."""
    kinds = _alike(graph)
    if kinds is None:
        return [_count(graph, outputs) for outputs in wanted]
    masks: dict[int, int] = {}  # for which of them a node is needed, a bit for each
    for i, outputs in enumerate(wanted):
        for key in outputs:
            masks[key] = masks.get(key, 0) | 1 << i
    found: list[tuple[str, int]] = []
    for key, op, args, _, _, _ in graph.backwards():
        mask = masks.get(key, 0)
        if mask:
            found.append((op, mask))
            for a in args:
                masks[a] = masks.get(a, 0) | mask
    found.reverse()
    results: list[dict[str, Any]] = [{} for _ in wanted]
    for (op, mask), times in Counter(found).items():
        for kind, number in kinds[op].items():
            for i, result in enumerate(results):
                if number and mask >> i & 1:
                    result[kind] = result.get(kind, 0) + number * times
    return results


def _alike(graph: Graph) -> dict[str, Mapping[str, Any]] | None:
    """What each op costs, in a graph of scalars of one type, where all nodes of an op cost the same; else None."""
    sorts = graph.sorts
    if len({n.type for n in sorts}) > 1 or any(n.type.shape or n.bodies for n in sorts):
        return None
    if any(n.params and lookup(n.op).kind != "leaf" for n in sorts):
        return None
    return {n.op: count_of(graph, n) for n in sorts}


def _count(graph: Graph, outputs: Iterable[int]) -> dict[str, Any]:
    if has_regions(graph):
        graph = pruned(graph, [*outputs])
        outputs = graph.outputs
    needed, nodes = set(outputs), list[Node]()
    for n in graph.backwards():
        if n.key in needed:
            needed.update(n.args)
            nodes.append(n)
    found: dict[str, Any] = {}
    for n in reversed(nodes):
        for kind, number in count_of(graph, n).items():
            found[kind] = found.get(kind, 0) + number
    return {kind: number for kind, number in found.items() if number != 0}


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
