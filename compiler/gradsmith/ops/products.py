"""Products of matrices by kernels: what `passes.contractions` puts in the place of `matmul` in C code.

A factor may be transposed (`ta`, `tb`: the matrices are stored as columns), and one that is a single matrix stands
for all of a stack. `gemm_direct` reads both factors where they are; `gemm` copies blocks into panels, which pays where
they would not stay in a cache; `gemm_small` is written out for its sizes; `gemm_dots` is `A @ B.T` of few long rows.
`gemv_rows` is `A @ x`, `gemv_columns` is `x @ A`; both read A once, row by row. The `cblas_` records call a library
instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..dims import Extent
from ..registry import Cut, Kernel, Params
from ..trace import op
from ..types import Shape, Type
from ._declare import Traced
from ._dots import DOTS
from ._exponentials import SCALED, SUMS
from ._halves import DIRECT_HALF, PACKED_HALF
from ._registers import BYTES
from ._strips import SMALL
from ._tiles import ADDED, CBLAS_GEMM, CBLAS_GEMV, COLUMNS, DIRECT, PACKED, ROWS

__all__: list[str] = []


def sizes(a: Type, b: Type, ta: bool, tb: bool) -> tuple[Shape, Extent, Extent, Extent]:
    """Leading axes, rows, columns, and how many products each sum has."""
    rows, inner = (a.shape[-1], a.shape[-2]) if ta else (a.shape[-2], a.shape[-1])
    return a.shape[:-2] or b.shape[:-2], rows, b.shape[-2] if tb else b.shape[-1], inner


def _matrices(a: Type, b: Type, ta: bool, tb: bool, **_: Any) -> Type:
    batch, m, n, _k = sizes(a, b, ta, tb)
    return Type((*batch, m, n), a.dtype)


def _turned(x: np.ndarray, by: bool) -> np.ndarray:
    return np.swapaxes(x, -1, -2) if by else x


def _step(x: Type, axes: int) -> Extent:
    """From one matrix (or vector) to the next, in numbers; 0 where all share one."""
    return math.prod(x.shape[-axes:]) if x.ndim > axes else 0


def _cost(y: Type, a: Type, b: Type, ta: bool = False, **_: Any) -> Mapping[str, Any]:
    inner = a.shape[-2] if ta else a.shape[-1]
    return {"mul": y.size * inner, "add": y.size * (inner - 1)}


def _record(
    name: str,
    call: str,
    infer: Callable[..., Type],
    evaluate: Callable[..., Any],
    structure: Kernel,
    support: Mapping[str, tuple[str, ...]],
    places: int,
    doc: str,
    **fields: Any,
) -> Traced:
    """The record of the C function `call` with `places` parameters."""
    return op(
        name,
        kind="kernel",
        infer=infer,
        evaluate=evaluate,
        loops=True,
        structure=structure,
        cells=dict.fromkeys(
            (key for key in ("c", "c.simd") if key in support),
            f"{call}({', '.join(f'{{{i}}}' for i in range(places))})",
        ),
        support=support,
        doc=doc,
        **{"arity": 2, "cost": _cost, **fields},
    )


# --- matrices ---------------------------------------------------------------------------------------------------------


def _strided(a: Type, b: Type, params: Params) -> tuple[Any, ...]:
    """Batch, m, n, k, and the steps within and between matrices of A."""
    batch, m, n, k = sizes(a, b, params["ta"], params["tb"])
    within = (1, m) if params["ta"] else (k, 1)
    return (math.prod(batch), m, n, k, _step(a, 2), *within)


def _direct(a: Type, b: Type, params: Params) -> tuple[Any, ...]:
    return (*_strided(a, b, params), _step(b, 2))


def _anywhere(a: Type, b: Type, params: Params) -> tuple[Any, ...]:
    """The same, and the steps between and within matrices of B."""
    _, _m, n, k = sizes(a, b, params["ta"], params["tb"])
    return (*_strided(a, b, params), _step(b, 2), *((1, k) if params["tb"] else (n, 1)))


def _packed(a: Type, b: Type, params: Params) -> tuple[Any, ...]:
    return (*_anywhere(a, b, params), *params["blocks"], int(params["left"]))


def _panels(a: Type, b: Type, params: Params) -> Extent:
    """Memory for a block of each factor; an extent that is known by name may fill a block."""
    _, m, n, k = sizes(a, b, params["ta"], params["tb"])
    rows, columns, depth = (
        min(most, size) if isinstance(size, int) else most
        for size, most in zip((m, n, k), params["blocks"], strict=True)
    )
    panel = params["panel"]  # the last one is filled up
    if rows == m and not params.get("threads"):  # one panel after the other is packed in the same place
        columns = 1
    aligned = BYTES // (a.dtype.bits // 8)
    if params.get("threads"):  # each block of rows has a place of its own
        rows = m
    total: Extent = depth * -(-columns // panel) * panel + int(params["left"]) * rows * depth + aligned
    return total


def _by_rows(a: Type, b: Type, params: Params) -> Cut | None:
    """Rows of A and of the result, where those of A lie in memory."""
    return Cut((0,)) if a.ndim == b.ndim == 2 and not params["ta"] else None


def _by_rows_or_sums(a: Type, b: Type, params: Params) -> Cut | None:
    """The same, or a sum over the rows of both factors."""
    sums = a.ndim == b.ndim == 2 and params["ta"] and not params["tb"]
    return Cut((0, 1), adds=True) if sums else None if params.get("part") else _by_rows(a, b, params)


def _stacks(a: Type, b: Type) -> tuple[int, ...]:
    """Which factors are stacks of matrices, along one axis."""
    return tuple(k for k, x in enumerate((a, b)) if x.ndim == 3) if max(a.ndim, b.ndim) == 3 else ()


def _product(a: Any, b: Any, ta: bool, tb: bool, **_: Any) -> Any:
    return np.matmul(_turned(a, ta), _turned(b, tb))


_PARTS = {"": 0, "lower": -1, "upper": 1}  # the triangle that is wanted: elsewhere it may be that nothing is added


def _part(params: Params) -> int:
    return _PARTS[params.get("part", "")]


gemm_direct: Traced = _record(
    "gemm_direct", "gs_gemm_direct", _matrices, _product,
    Kernel(_direct, cut=_by_rows, stacks=_stacks), DIRECT, 11,
    "Matrix product of matrices that the caches hold.",
)  # fmt: skip
gemm: Traced = _record(
    "gemm", "gs_gemm", _matrices, _product,
    Kernel(
        lambda a, b, params: (*_packed(a, b, params), _part(params), 0, 0), _panels,
        cut=_by_rows_or_sums, stacks=_stacks,
    ),
    PACKED, 21, "Matrix product in blocks, of which copies are made, or a triangle of it.",
)  # fmt: skip
gemm_small: Traced = _record(
    "gemm_small", "gs_small", _matrices, _product,
    Kernel(_anywhere, cut=_by_rows, short=True), SMALL, 13,
    "Matrix product of few columns and terms, written out for its sizes.",
)  # fmt: skip
gemm_dots: Traced = _record(
    "gemm_dots", "gs_dots", lambda a, b, **_: _matrices(a, b, False, True),
    lambda a, b, **_: _product(a, b, False, True),
    Kernel(
        lambda a, b, params: (
            *_strided(a, b, {"ta": False, "tb": True})[:4], _step(a, 2), _step(b, 2), _part(params),
        ),
        stacks=_stacks,
    ),
    DOTS, 10, "A Bᵀ of few long rows, or a triangle of it: each element is the product of two of them.",
)  # fmt: skip

#: Which factor is triangular: what lies on the other side of its diagonal is 0.
_HALVES = {"": 0, "left upper": 1, "left lower": -1, "right upper": 2, "right lower": -2}


def _by_rows_of_left(a: Type, b: Type, params: Params) -> Cut | None:
    """Rows, unless it matters which they are."""
    return _by_rows(a, b, params) if params.get("half", "").startswith("right") else None


gemm_direct_half: Traced = _record(
    "gemm_direct_half", "gs_gemm_direct_half", _matrices, _product,
    Kernel(
        lambda a, b, params: (*_direct(a, b, params), _part(params), _HALVES[params.get("half", "")]),
        cut=_by_rows_of_left, stacks=_stacks,
    ),
    DIRECT_HALF, 13, "The same where one is triangular, or a triangle of it.",
)  # fmt: skip
gemm_half: Traced = _record(
    "gemm_half", "gs_gemm_half", _matrices, _product,
    Kernel(
        lambda a, b, params: (*_packed(a, b, params), _HALVES[params["half"]]), _panels,
        cut=_by_rows_of_left, stacks=_stacks,
    ),
    PACKED_HALF, 19, "The same of matrices of which one is triangular.",
)  # fmt: skip


def _cost_added(y: Type, a: Type, b: Type, c: Type, ta: bool = False, **_: Any) -> Mapping[str, Any]:
    products = y.size * (a.shape[-2] if ta else a.shape[-1])
    return {"mul": products, "add": products}


gemm_add: Traced = _record(
    "gemm_add", "gs_gemm_add", lambda a, b, c, **params: _matrices(a, b, **params),
    lambda a, b, c, **params: c + _product(a, b, **params),
    Kernel(
        lambda a, b, c, params: (*_packed(a, b, params), _part(params)),
        lambda a, b, c, params: _panels(a, b, params),
        stacks=lambda a, b, c: (*_stacks(a, b), 2) if _stacks(a, b) else (),
        replaces=2,
    ),
    ADDED, 20, "The same, or a triangle of it, added to a third operand, in its memory where nothing else reads that.",
    arity=3, cost=_cost_added,
)  # fmt: skip
cblas_gemm: Traced = _record(
    "cblas_gemm", "gs_cblas_gemm", _matrices, _product,
    Kernel(
        lambda a, b, params: (
            *_strided(a, b, params)[:5], _step(b, 2), int(params["ta"]), int(params["tb"]),
        ),
        cut=_by_rows,
    ),
    CBLAS_GEMM, 11, "Matrix product by cblas_dgemm.", libraries=("blas",),
)  # fmt: skip

# --- a matrix and a vector --------------------------------------------------------------------------------------------


def _vector(a: Type, x: Type, ta: bool) -> Type:
    return Type((*(a.shape[:-2] or x.shape[:-1]), a.shape[-1] if ta else a.shape[-2]), a.dtype)


def _by_vector(a: Any, x: Any, ta: bool) -> Any:
    return np.matmul(_turned(a, ta), x[..., None])[..., 0]


def _stacked(a: Type, x: Type, params: Params) -> tuple[Any, ...]:
    batch = a.shape[:-2] or x.shape[:-1]
    return (math.prod(batch), *a.shape[-2:], _step(a, 2), _step(x, 1))


gemv_rows: Traced = _record(
    "gemv_rows", "gs_rows", _vector, _by_vector,
    Kernel(_stacked, cut=lambda a, x, params: Cut((0,)) if a.ndim == 2 and x.ndim == 1 else None), ROWS, 8,
    "Matrix times vector: each row's product.",
)  # fmt: skip
gemv_columns: Traced = _record(
    "gemv_columns", "gs_columns", _vector, _by_vector,
    Kernel(
        lambda a, x, params: (*_stacked(a, x, params), 0),
        cut=lambda a, x, params: Cut((0, 1), adds=True) if a.ndim == 2 and x.ndim == 1 else None,
    ),
    COLUMNS, 9,
    "Vector times matrix: a sum of rows.",
)  # fmt: skip
cblas_gemv: Traced = _record(
    "cblas_gemv", "gs_cblas_gemv", _vector, _by_vector,
    Kernel(lambda a, x, params: (*_stacked(a, x, params), int(params["ta"]))), CBLAS_GEMV, 9,
    "Matrix, or its transpose, times vector by cblas_dgemv.", libraries=("blas",),
)  # fmt: skip

# --- weighted by exponentials, before their sum is known --------------------------------------------------------------


def _exp_sums(a: Any, z: Any) -> Any:
    most = np.max(z)
    with np.errstate(all="ignore"):
        weights = np.exp(z - (0 if np.isneginf(most) else most))
    return weights @ a


gemv_exp_sums: Traced = _record(
    "gemv_exp_sums", "gs_exp_sums", lambda a, z: Type(a.shape[1:], a.dtype), _exp_sums,
    Kernel(
        lambda a, z, params: (*a.shape, 0), scratch=lambda a, z, params: 2, keeps=True,
        cut=lambda a, z, params: Cut((0, 1), adds=True),
    ),
    SUMS, 7, "exp(z - max(z)) A: a sum of rows.",
    cost=lambda y, a, z: {"mul": a.size, "add": a.size, "exp": z.size},
)  # fmt: skip
gemv_exp_scaled: Traced = _record(
    "gemv_exp_scaled", "gs_exp_scaled", lambda a, w, sums: Type(a.shape[1:], a.dtype),
    lambda a, w, sums: w @ a, Kernel(lambda a, w, sums, params: a.shape, replaces=2), SCALED, 6,
    "w A for w = f exp(z) with a number f, from gemv_exp_sums, in the memory of that.",
    arity=3, cost=lambda y, a, w, sums: {"mul": y.size},
)  # fmt: skip

#: All of them: each stands for `matmul`.
PRODUCTS: tuple[Traced, ...] = (
    gemm_direct, gemm, gemm_small, gemm_direct_half, gemm_half, gemm_dots, gemm_add, cblas_gemm,
    gemv_rows, gemv_columns, cblas_gemv, gemv_exp_sums, gemv_exp_scaled,
)  # fmt: skip
