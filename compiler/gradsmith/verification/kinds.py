"""References for kinds of derivatives besides the gradient: matrices of first and second derivatives by three routes.

In: a traced graph and a kind's groups. Out: a function from flat inputs (arguments, then seeds) to the flat outputs of
that kind. torch differentiates the graph by autograd, row by row; mpmath takes differences with 50 digits; "finite"
takes extrapolated differences in float64. What a route cannot tell is masked. All that a kind returns is a matrix, or a
matrix times the seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..as_graph import to_exprs, to_graph
from ..derive.derivatives import Kind
from ..evaluate import evaluate, evaluate_torch, import_torch
from ..exact import operations
from ..graph import Graph
from ..types import Type, static_shape
from .differences import mixed_all, quotient, widened

__all__ = ["reference"]

Array = NDArray[np.float64]
_EXACT_BUDGET = 300_000  # mpmath operations of one check; what is beyond it is left out


@dataclass(frozen=True)
class _Route:
    """Matrices of derivatives of all float output elements by the elements of the inputs `by`, at a point."""

    first: Callable[[Graph, Sequence[Any], Sequence[int]], Array]
    second: Callable[[Graph, Sequence[Any], Sequence[int]], Array]


def reference(route: str, graph: Graph, by: Sequence[int], kind: Kind, points: int) -> Callable[..., list[Any]]:
    """The reference of the functions of a `kind`, for `points` calls."""
    matrices, wide = _ROUTES[route](points), widened(graph)

    def called(*leaves: Any) -> list[Any]:
        count = len(graph.inputs)
        point, seeds = list(leaves[:count]), [np.ravel(np.asarray(s, dtype=np.float64)) for s in leaves[count:]]
        case = _Case(wide, point, by, np.concatenate(seeds) if seeds else np.zeros(0), matrices)
        return [array for group in kind.groups for array in _GROUPS[group](case)]

    return called


@dataclass(frozen=True)
class _Case:
    """One call: a graph, the point, which inputs count, and the seeds as one vector."""

    graph: Graph
    point: Sequence[Any]
    by: Sequence[int]
    seed: Array
    matrices: _Route

    def inputs(self) -> list[Type]:
        return [self.graph.node(self.graph.inputs[i]).type for i in self.by]

    def outputs(self) -> list[Type]:
        return [self.graph.node(k).type for k in self.graph.outputs]

    def first(self) -> Array:
        return self.matrices.first(self.graph, self.point, self.by)

    def second(self) -> Array:
        return self.matrices.second(self.graph, self.point, self.by)

    def by_output(self, found: Array) -> list[Array]:
        """The parts of an array whose first axis has the float elements; zeros for what is an integer."""
        parts, at = [], 0
        for t in self.outputs():
            real = t.dtype.kind == "float"
            parts.append(found[at : at + t.size] if real else np.zeros((t.size, *found.shape[1:])))
            at += t.size if real else 0
        return parts


def _parts(found: Array, types: Sequence[Type], axis: int) -> list[Array]:
    return np.split(found, np.cumsum([t.size for t in types])[:-1], axis=axis)


def _shaped(found: Array, *types: Type) -> Any:
    shape = tuple(size for t in types for size in static_shape(t.shape))
    return np.ma.masked_invalid(np.reshape(found, shape))


def _values(case: _Case) -> list[Any]:
    values = evaluate(case.graph, case.point)
    return [values[k] for k in case.graph.outputs]


def _tangents(case: _Case) -> list[Any]:
    return [_shaped(p, t) for p, t in zip(case.by_output(case.first() @ case.seed), case.outputs(), strict=True)]


def _cotangents(case: _Case) -> list[Any]:
    types = case.inputs()
    return [_shaped(p, t) for p, t in zip(_parts(case.seed @ case.first(), types, 0), types, strict=True)]


def _jacobian(case: _Case) -> list[Any]:
    types = case.inputs()
    return [
        _shaped(block, t, x)
        for rows, t in zip(case.by_output(case.first()), case.outputs(), strict=True)
        for block, x in zip(_parts(rows, types, 1), types, strict=True)
    ]


def _hessian(case: _Case) -> list[Any]:
    types = case.inputs()
    return [
        _shaped(block, t, x, z)
        for planes, t in zip(case.by_output(case.second()), case.outputs(), strict=True)
        for rows, x in zip(_parts(planes, types, 1), types, strict=True)
        for block, z in zip(_parts(rows, types, 2), types, strict=True)
    ]


def _product(case: _Case) -> list[Any]:
    types = case.inputs()
    return [_shaped(p, t) for p, t in zip(_parts(case.second()[0] @ case.seed, types, 0), types, strict=True)]


_GROUPS: Mapping[str, Callable[[_Case], list[Any]]] = {
    "values": _values,
    "tangents": _tangents,
    "cotangents": _cotangents,
    "jacobian": _jacobian,
    "hessian": _hessian,
    "product": _product,
}


# --- torch ------------------------------------------------------------------------------------------------------------


def _torch(points: int) -> _Route:
    torch = import_torch()

    def computed(graph: Graph, point: Sequence[Any], by: Sequence[int]) -> tuple[Any, list[Any]]:
        dtypes = [graph.node(k).type.dtype.name for k in graph.inputs]
        tensors = [
            torch.tensor(np.asarray(v, dtype=d), requires_grad=i in by)
            for i, (v, d) in enumerate(zip(point, dtypes, strict=True))
        ]
        values = evaluate_torch(graph, tensors)
        outputs = [values[k].reshape(-1) for k in graph.outputs if graph.node(k).type.dtype.kind == "float"]
        return (torch.cat(outputs) if outputs else torch.zeros(0)), [tensors[i] for i in by]

    def slopes(output: Any, tensors: Sequence[Any], create: bool) -> Any:
        found: Sequence[Any] = [None] * len(tensors)
        if output.requires_grad:
            found = torch.autograd.grad(output, tensors, allow_unused=True, retain_graph=True, create_graph=create)
        filled = [torch.zeros_like(t) if g is None else g for g, t in zip(found, tensors, strict=True)]
        return torch.cat([g.reshape(-1) for g in filled])

    def first(graph: Graph, point: Sequence[Any], by: Sequence[int]) -> Array:
        outputs, tensors = computed(graph, point, by)
        rows = [slopes(y, tensors, False).detach().numpy() for y in outputs]
        return np.array(rows, dtype=np.float64).reshape(len(rows), sum(t.numel() for t in tensors))

    def second(graph: Graph, point: Sequence[Any], by: Sequence[int]) -> Array:
        outputs, tensors = computed(graph, point, by)
        size = sum(t.numel() for t in tensors)
        planes = [[slopes(s, tensors, False).detach().numpy() for s in slopes(y, tensors, True)] for y in outputs]
        return np.array(planes, dtype=np.float64).reshape(len(planes), size, size)

    return _Route(first, second)


# --- differences ------------------------------------------------------------------------------------------------------


def _units(graph: Graph, by: Sequence[int]) -> list[list[Array]]:
    """For each element of the inputs `by`, the direction in which it alone moves."""
    shapes = [static_shape(graph.node(k).type.shape) for k in graph.inputs]
    found = []
    for i in by:
        for at in np.ndindex(shapes[i]):
            direction = [np.zeros(s) for s in shapes]
            direction[i][at] = 1.0
            found.append(direction)
    return found


def _float_outputs(graph: Graph) -> Graph:
    """`graph` in float64, with the float outputs only."""
    wide = widened(graph)
    exprs = to_exprs(wide)
    kept = [exprs[k] for k in wide.outputs if exprs[k].dtype.kind == "float"]
    return to_graph([exprs[k] for k in wide.inputs], kept)


def _mpmath(points: int) -> _Route:
    left = [_EXACT_BUDGET]

    def slopes(graph: Graph, point: Sequence[Any], directions: Sequence[Sequence[Any]], size: int) -> Array:
        left[0] -= 2 ** (len(directions) + 1) * operations(graph)
        return mixed_all(graph, point, directions) if left[0] > 0 else np.full(size, np.nan)

    def first(graph: Graph, point: Sequence[Any], by: Sequence[int]) -> Array:
        wide = _float_outputs(graph)
        size = sum(wide.node(k).type.size for k in wide.outputs)
        columns = [slopes(wide, point, [u], size) for u in _units(graph, by)]
        return np.stack(columns, axis=-1) if columns else np.zeros((size, 0))

    def second(graph: Graph, point: Sequence[Any], by: Sequence[int]) -> Array:
        wide, units = _float_outputs(graph), _units(graph, by)
        size = sum(wide.node(k).type.size for k in wide.outputs)
        smooth = first(graph, point, by) * 0.0  # NaN beside a kink, where differences of the second order mislead
        found = np.zeros((size, len(units), len(units)))
        for i, u in enumerate(units):
            for j in range(i + 1):
                found[:, i, j] = found[:, j, i] = slopes(wide, point, [u, units[j]], size) + smooth[:, i] + smooth[:, j]
        return found

    return _Route(first, second)


def _finite(points: int) -> _Route:
    def along(graph: Graph, point: Sequence[Any], direction: Sequence[Array]) -> Array:
        def values(t: float) -> Array:
            moved = [np.asarray(x) + t * d if np.any(d) else x for x, d in zip(point, direction, strict=True)]
            found = evaluate(graph, moved)
            return np.concatenate([np.ravel(found[k]).astype(np.float64) for k in graph.outputs])

        sizes = [float(np.max(np.abs(np.asarray(x) * d), initial=0.0)) for x, d in zip(point, direction, strict=True)]
        return quotient(values, max(1.0, *sizes))

    def first(graph: Graph, point: Sequence[Any], by: Sequence[int]) -> Array:
        wide = _float_outputs(graph)
        columns = [along(wide, point, u) for u in _units(graph, by)]
        size = sum(wide.node(k).type.size for k in wide.outputs)
        return np.stack(columns, axis=-1) if columns else np.zeros((size, 0))

    def second(graph: Graph, point: Sequence[Any], by: Sequence[int]) -> Array:
        # the Hessian by polarisation: differences of differences have too few digits at a kink, and say so by NaN
        wide, units = _float_outputs(graph), _units(graph, by)
        size = sum(wide.node(k).type.size for k in wide.outputs)
        found = np.zeros((size, len(units), len(units)))
        for i, u in enumerate(units):

            def slope(t: float, u: Sequence[Array] = u) -> Array:
                moved = [np.asarray(x) + t * d if np.any(d) else x for x, d in zip(point, u, strict=True)]
                return np.ravel(first(graph, moved, by))

            found[:, i] = quotient(slope, 1.0, rtol=1e-5, atol=1e-6).reshape(size, len(units))
        return found

    return _Route(first, second)


_ROUTES: Mapping[str, Callable[[int], _Route]] = {"torch": _torch, "mpmath": _mpmath, "finite": _finite}
