"""Searching and sorting: argmax, argmin, argsort, sort, searchsorted, count_nonzero's kin.

Results that are indices are int64, and no gradient flows through them; a sorted array's gradient is permuted back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from .. import dims
from ..errors import ShapeError
from ..registry import Counter, Kernel, Length, Op, Params
from ..trace import Expr, as_expr, op
from ..types import INT64, Type, format_shape, normalize_axes, static_shape
from . import reduction
from ._algorithms import Algorithm
from ._batch import lifted, moved, spread
from ._declare import Traced, free, no_gradient
from .conversion import astype
from .layout import expand_dims, permute_dims, reshape
from .manipulation import take_along_axis
from .selection import equal, less, logical_and, logical_not, logical_or, not_equal, where

__all__ = ["argmax", "argmin", "argsort", "searchsorted", "sort"]

# --- counting -------------------------------------------------------------------------------------------------------

_iota: Traced = op(
    "iota",
    arity=0,
    kind="layout",
    structure=Counter(),
    infer=lambda size: Type((size,), INT64),
    vjp=no_gradient,
    evaluate=lambda size: np.arange(size),
    cells={"numpy": lambda a, p, t: f"np.arange({p['size']})"},
    torch=lambda torch, size: torch.arange(size),
    cost=free,
    symbol="0…n",
    slope="none",
    samples=[({"size": 5},)],
    doc="The integers from 0 on.",
)


op(
    "size",
    arity=0,
    kind="layout",
    structure=Length(),
    infer=lambda dim: Type((), INT64),
    vjp=no_gradient,
    evaluate=lambda dim: np.asarray(dim.__index__()),
    cells=dict.fromkeys(("python", "numpy"), lambda a, p, t: dims.atom(p["dim"])),
    torch=lambda torch, dim: torch.as_tensor(dim),
    cost=free,
    symbol="n",
    slope="none",
    samples=[({"dim": 5},)],
    doc="The size of an axis, as a number.",
)


def along(size: Any, axis: int, ndim: int) -> Expr:
    """The position along an axis, with size 1 along the others."""
    return reshape(_iota(size=size), tuple(size if k == axis else 1 for k in range(ndim)))


# --- argmax, argmin -------------------------------------------------------------------------------------------------


def _an_element(x: Type, axis: int, keepdims: bool) -> list[tuple[Any, int]]:
    return [(x.shape[axis], 1)]


def _extreme_infer(x: Type, axis: int, keepdims: bool) -> Type:
    if x.shape[axis] == 0:
        raise ShapeError(f"shape {format_shape(x.shape)} is empty along axis {axis}, and an empty set has no extreme")
    shape = tuple(1 if k == axis else d for k, d in enumerate(x.shape) if keepdims or k != axis)
    return Type(shape, INT64)


def _extreme_expand(extreme: Any) -> Any:
    def expand(x: Expr, axis: int, keepdims: bool) -> Expr:
        size = x.shape[axis]
        best = extreme(x, axis, keepdims=True)
        here = equal(x, best)
        if x.dtype.kind == "float":
            here = logical_or(here, not_equal(x, x))  # the first NaN counts as the extreme, as in NumPy
        return reduction.min(where(here, along(size, axis, x.ndim), size), axis, keepdims=keepdims)

    return expand


def _extreme(name: str, extreme: Any, words: str) -> Any:
    record = op(
        name,
        arity=1,
        kind="composite",
        takes="number",
        infer=_extreme_infer,
        needs=_an_element,
        vjp=no_gradient,
        batch=lifted,
        expand=_extreme_expand(extreme),
        evaluate=lambda x, axis, keepdims: getattr(np, name)(x, axis=axis, keepdims=keepdims),
        cells={
            "numpy": lambda a, p, t: f"np.{name}({a[0]}, axis={p['axis']}{', keepdims=True' if p['keepdims'] else ''})"
        },
        torch=lambda torch, x, axis, keepdims: getattr(torch, name)(x, dim=axis, keepdim=keepdims),
        cost=lambda y, x, **_: {"compare": x.size},
        symbol=name,
        slope="none: it is an index",
        samples=[
            (np.array([[0.3, -1.2, 2.0], [0.9, 0.9, -0.7]]), {"axis": 1, "keepdims": False}),
            (np.array([[0.3, -1.2, 2.0], [0.9, 0.9, -0.7]]), {"axis": 0, "keepdims": True}),
        ],
        doc=f"Where the {words} element along an axis is.",
        edge_notes={"ties": "the first one"},
    )

    def function(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Expr:
        value = as_expr(x)
        if axis is None:
            flat = record(reshape(value, -1), axis=0, keepdims=False)
            return reshape(flat, (1,) * value.ndim) if keepdims else flat
        return record(value, axis=normalize_axes(axis, value.ndim, name)[0], keepdims=bool(keepdims))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""The index (int64) of the {words} element along `axis`; NaN counts as the {words}.

    The first one at ties. `axis`: None counts through the flattened array. `keepdims`: keep the axis with size 1. No
    gradient flows.
    """
    return function


argmax = _extreme("argmax", reduction.max, "largest")
argmin = _extreme("argmin", reduction.min, "smallest")

# --- sorting --------------------------------------------------------------------------------------------------------

_HEAP_SORT = """\
#ifndef {guard}
#define {guard}
/* Whether element a comes before element b, equal ones in their order, and NaN last. */
static int {name}_before(const {type} *x, int64_t a, int64_t b, int descending) {{
    if (x[a] < x[b] || x[b] < x[a]) {{
        return descending ? x[b] < x[a] : x[a] < x[b];
    }}
{nan_last}    return a < b;
}}

/* The order that sorts each of `rows` rows of n elements: heap sort of the indices (Williams 1964). */
static void {name}(const {type} *x, int64_t *order, ptrdiff_t rows, ptrdiff_t n, int descending) {{
    for (ptrdiff_t row = 0; row < rows; ++row, x += n, order += n) {{
        for (ptrdiff_t i = 0; i < n; ++i) {{
            order[i] = i;
        }}
        for (ptrdiff_t start = n / 2, end = n; end > 1;) {{
            int64_t moving;
            ptrdiff_t hole;
            if (start > 0) {{ /* build the heap */
                hole = --start;
                moving = order[hole];
            }} else {{ /* the last of the rest to its place */
                moving = order[--end];
                order[end] = order[0];
                hole = 0;
            }}
            for (ptrdiff_t child = 2 * hole + 1; child < end; child = 2 * hole + 1) {{
                if (child + 1 < end && {name}_before(x, order[child], order[child + 1], descending)) {{
                    ++child;
                }}
                if (!{name}_before(x, moving, order[child], descending)) {{
                    break;
                }}
                order[hole] = order[child];
                hole = child;
            }}
            order[hole] = moving;
        }}
    }}
}}
#endif
"""


_NAN_LAST = """\
    if ((x[a] != x[a]) != (x[b] != x[b])) {
        return x[b] != x[b];
    }
"""


#: Tuples, so that NaN comes last; Python's sort is stable, also in the second direction.
_PYTHON_ARGSORT = '''\
def _argsort(x, order, rows, size, descending):
    """The indices that sort each row of x; equal elements keep their order, NaN comes last."""
    sign = -1 if descending else 1
    for start in range(0, rows * size, size or 1):
        row = [(v != v, sign * v) for v in x[start : start + size]]
        order[start : start + size] = sorted(range(size), key=row.__getitem__)
'''


def _heap_sort(name: str, type: str) -> str:
    nan_last = "" if "int" in type else _NAN_LAST
    return _HEAP_SORT.format(name=name, type=type, guard=name.upper(), nan_last=nan_last)


def _rank_expand(x: Expr, descending: bool) -> Expr:
    """The order by counting: element i stands behind all that come before it. O(n^2), for straight-line code."""
    size = static_shape(x.shape)[-1]
    mine, other = expand_dims(x, x.ndim), expand_dims(x, x.ndim - 1)
    first = less(mine, other) if descending else less(other, mine)
    tie = equal(mine, other)
    if x.dtype.kind == "float":
        numbers = logical_and(equal(mine, mine), equal(other, other))
        nan_last = logical_and(not_equal(mine, mine), equal(other, other))
        first = logical_or(logical_and(numbers, first), nan_last)
        tie = logical_or(tie, logical_and(not_equal(mine, mine), not_equal(other, other)))
    earlier = less(along(size, 1, 2), along(size, 0, 2))
    before = logical_or(first, logical_and(tie, earlier))
    rank = reduction.sum(astype(before, INT64), axis=-1)  # (…, i): how many come before element i
    here = equal(expand_dims(rank, rank.ndim), along(size, 1, 2))  # (…, i, k): element i stands at place k
    return reduction.sum(where(here, along(size, 0, 2), 0), axis=-2)


def _argsort_numpy(x: Any, descending: bool) -> Any:
    if not descending:
        return np.argsort(x, axis=-1, kind="stable")
    return np.argsort(-np.asarray(x), axis=-1, kind="stable")


def _levels(size: Any) -> int:
    """How often a row is halved; of a size known by name it is counted as 16 times, as for 65,536 elements."""
    return 16 if isinstance(size, dims.Dim) else max(1, math.ceil(math.log2(max(2, size))))


_CELL = "{0}, {1}, {2}, {3}, {4}"
_argsort: Traced = op(
    "argsort",
    arity=1,
    kind="kernel",
    takes="number",
    structure=Kernel(lambda x, params: (math.prod(x.shape[:-1]), x.shape[-1], int(params["descending"]))),
    infer=lambda x, descending: Type(x.shape, INT64),
    vjp=no_gradient,
    batch=lifted,
    expand=_rank_expand,
    evaluate=_argsort_numpy,
    cells={
        "numpy": lambda a, p, t: f'np.argsort({"-" if p["descending"] else ""}{a[0]}, axis=-1, kind="stable")',
        "python": f"_argsort({_CELL})",
        "c": f"gs_argsort({_CELL})",
        "c.int64": f"gs_argsort_int64({_CELL})",
        "c.int32": f"gs_argsort_int32({_CELL})",
    },
    support={
        "python": _PYTHON_ARGSORT,
        "c": _heap_sort("gs_argsort", "double"),
        "c.float32": _heap_sort("gs_argsortf", "float"),
        "c.int64": _heap_sort("gs_argsort_int64", "int64_t"),
        "c.int32": _heap_sort("gs_argsort_int32", "int32_t"),
    },
    torch=lambda torch, x, descending: torch.argsort(x, dim=-1, descending=descending, stable=True),
    cost=lambda y, x, **_: {"compare": x.size * _levels(x.shape[-1])},
    symbol="argsort",
    slope="none: they are indices",
    samples=[
        (np.array([[0.3, -1.2, 2.0, 0.3, 0.1], [0.9, 0.9, -0.7, 5.0, -3.0]]), {"descending": False}),
        (np.array([0.3, -1.2, 2.0, 0.3]), {"descending": True}),
    ],
    doc="The indices that sort the last axis; equal elements keep their order.",
    edge_notes={"ties": "they keep their order, also with `descending`"},
)


def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Expr:
    """The indices (int64) that sort `x` along `axis`; equal elements always keep their order; NaN comes last.

    >>> import gradsmith as gs
    >>> gs.argsort(gs.symbol("x", (5,))).type
    Type(shape=(5,), dtype=gradsmith.int64)
    """
    value = as_expr(x)
    if not value.ndim:
        raise ShapeError("argsort: a scalar has no axis to sort along")
    (at,) = normalize_axes(axis, value.ndim, "argsort")
    order = [k for k in range(value.ndim) if k != at] + [at]
    moved = _argsort(permute_dims(value, order), descending=bool(descending))
    return permute_dims(moved, [order.index(k) for k in range(value.ndim)])


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Expr:
    """`x` sorted along `axis`; NaN comes last. The gradient goes back to where each element came from.

    >>> import gradsmith as gs
    >>> x = gs.symbol("x", (3,))
    >>> gs.compile(gs.sort(x))([3.0, 1.0, 2.0])
    [1.0, 2.0, 3.0]
    """
    return take_along_axis(x, argsort(x, axis=axis, descending=descending), axis=axis)


_SIDES = ('"left"', '"right"')
_SEARCH = Algorithm('''
def search(row, values, y: int, batch, n, m, right):
    """Where each value belongs in its sorted row, by halving: behind equal ones if `right`; NaN at the end."""
    for s in range(batch):
        for i in range(m):
            value = values[s * m + i]
            low = 0
            high = n
            while low < high:
                middle = (low + high) // 2
                here = row[s * n + middle]
                if here < value or (right == 1 and here == value) or (value != value and (right == 1 or here == here)):
                    low = middle + 1
                else:
                    high = middle
            y[s * m + i] = low
''')


def _search_infer(row: Type, values: Type, right: bool) -> Type:
    if row.ndim > 1 and values.shape[:-1] != row.shape[:-1]:
        raise ShapeError(
            f"{format_shape(row.shape)} and {format_shape(values.shape)} do not fit: as many rows are needed"
        )
    return Type(values.shape, INT64)


def _search_arguments(row: Type, values: Type, params: Params) -> tuple[Any, ...]:
    count = math.prod(row.shape[:-1])
    return (count, row.shape[-1], values.shape[-1] if row.ndim > 1 else values.size, int(params["right"]))


def _search_batch(op: Op, xs: Sequence[Expr], mapped: Sequence[bool], size: Any, params: Params) -> Expr:
    """Rows that differ are a stack, each with its own values; values alone that differ are more of them in the rows."""
    row, values = xs
    if not mapped[0] and row.ndim == 1:
        return _search(row, values, **params)
    if not mapped[0]:
        values = moved(values, 0, values.ndim - 2)
        flat = reshape(values, (*row.shape[:-1], math.prod(values.shape[-2:])))
        return moved(reshape(_search(row, flat, **params), values.shape), values.ndim - 2, 0)
    values = values if mapped[1] else spread(values, size)
    flat = values if row.ndim > 2 else reshape(values, (size, math.prod(values.shape[1:])))
    return reshape(_search(row, flat, **params), values.shape)


def _search_numpy(row: Any, values: Any, right: bool) -> Any:
    side: Literal["left", "right"] = "right" if right else "left"
    if np.ndim(row) == 1:
        return np.searchsorted(row, values, side)
    each = np.vectorize(lambda r, v: np.searchsorted(r, v, side), ["int64"], signature="(n),(m)->(m)")
    return each(row, values)


def _search_cell(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
    side = _SIDES[params["right"]]
    if types[0].ndim == 1:
        return f"np.searchsorted({args[0]}, {args[1]}, {side})"
    one = f"lambda r, v: np.searchsorted(r, v, {side})"  # which takes one row
    return f'np.vectorize({one}, ["int64"], signature="(n),(m)->(m)")({args[0]}, {args[1]})'


def _counted(row: Expr, values: Expr, right: bool) -> Expr:
    """How many elements of `row` stand before each value."""
    wanted = expand_dims(values, values.ndim)
    row = row if row.ndim == 1 else expand_dims(row, -2)
    one, other = (wanted, row) if right else (row, wanted)
    first = less(one, other)
    if row.dtype.kind == values.dtype.kind == "float":  # NaN comes last, as sort leaves it
        first = logical_or(first, logical_and(not_equal(other, other), equal(one, one)))
    below = logical_not(first) if right else first
    return reduction.sum(astype(below, INT64), axis=-1)


_search: Traced = op(
    "searchsorted",
    arity=2,
    kind="kernel",
    structure=Kernel(_search_arguments),
    infer=_search_infer,
    vjp=no_gradient,
    batch=_search_batch,
    expand=_counted,
    evaluate=_search_numpy,
    cells=_SEARCH.cells(numpy=_search_cell),
    support=_SEARCH.support(),
    torch=lambda torch, row, values, right: torch.searchsorted(
        row.detach().contiguous(), values.detach().contiguous(), right=right
    ),
    cost=lambda y, row, values, right: {"compare": values.size * _levels(row.shape[-1])},
    symbol="search",
    slope="none: they are indices",
    operands="row x",
    samples=[
        (np.array([-1.0, 0.3, 0.3, 2.0]), np.array([0.3, -2.0, 5.0, 1.0]), {"right": False}),
        (np.array([-1.0, 0.3, 0.3, 2.0]), np.array([[0.3, -2.0], [5.0, -1.0]]), {"right": True}),
        (
            np.array([[-1.0, 0.3, 0.3, 2.0], [-3.0, -2.0, 0.0, 1.0]]),
            np.array([[0.3, -2.0, 9.0], [-2.0, -1.0, 0.0]]),
            {"right": False},
        ),
    ],
    edge_notes={"NaN": "it belongs at the end"},
    doc="Where each element belongs in a sorted vector, or in its row of a stack of them.",
)


def searchsorted(x1: Any, x2: Any, /, *, side: Literal["left", "right"] = "left", sorter: Any = None) -> Expr:
    """For each element of `x2`, the index (int64) before which it belongs in the sorted vector `x1`.

    `side` says on which side of equal elements. `sorter`: indices that sort `x1`, if it is not sorted. NaN belongs at
    the end. No gradient flows.

    >>> import gradsmith as gs
    >>> gs.compile(gs.searchsorted(gs.symbol("x", 3), gs.symbol("v", 2)))([1.0, 2.0, 3.0], [2.0, 9.0])
    [1, 3]
    """
    row, values = as_expr(x1), as_expr(x2)
    if row.ndim != 1:
        raise ShapeError(f"searchsorted: x1 must be a vector, not of shape {format_shape(row.shape)}")
    if side not in ("left", "right"):
        raise ShapeError(f"searchsorted: side={side!r}; choose 'left' or 'right'")
    if sorter is not None:
        row = take_along_axis(row, sorter, axis=0)
    right = side == "right"
    if "float" not in (row.dtype.kind, values.dtype.kind):
        return _counted(row, values, right)
    return _search(row, values, right=right) if values.ndim else _search(row, reshape(values, (1,)), right=right)[0]
