"""Contractions: leave products of matrices to kernels, where that is faster than a loop.

In: `matmul` nodes, with whatever transposes and broadcasts stand before them, and a target. Out: the records of
`ops.products` that compute them without copying a transpose. Guarantee: the same products, added in another order; so
strict code keeps its loops. Products of matrices by short vectors stay loops too, and so do integers, and views that a
kernel would need a copy of where that takes as long as the product.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ..dims import Extent
from ..errors import SpecError, TargetError
from ..ops import reshape
from ..ops import sum as sum_
from ..ops._dots import LEAST
from ..ops._registers import BYTES
from ..ops._strips import MOST_TERMS
from ..ops.products import (
    cblas_gemm,
    cblas_gemv,
    gemm,
    gemm_add,
    gemm_direct,
    gemm_dots,
    gemm_small,
    gemv_columns,
    gemv_rows,
    sizes,
)
from ..target import Target
from ..trace import Expr
from ..tuning import Tuning
from .rewrite import Rule

__all__ = ["BLAS", "by_kernels", "with_blas"]

_FILLED = 0.7  # of tiles of sums, by rows that are wanted (see `Tuning.dot_rows`)

BLAS = ("cblas",)


def with_blas(target: Target, blas: str) -> Target:
    """`target`, whose code calls the library `blas` for products of matrices.

    Errors: `TargetError` for a target that cannot, `SpecError` for a strict one and for what is not in `BLAS`.
    """
    if blas not in BLAS:
        raise SpecError(f"blas={blas!r}: choose {', '.join(map(repr, BLAS))}, or None for our own kernels")
    if target.strict:
        raise SpecError(f"strict=True and blas={blas!r}: a BLAS adds in an order of its own, so leave out one of them")
    if not target.writes(cblas_gemm.op):  # type: ignore[attr-defined]
        raise TargetError(
            f'blas={blas!r} is for C code; target {target.name!r} does not call it by itself: use target="c", or leave '
            "blas out" + (" (NumPy calls the BLAS that it was built with)" if target.name == "numpy" else "")
        )
    return replace(target, blas=blas)


def by_kernels(target: Target) -> tuple[Rule, ...]:
    """The rules that call kernels; none for a target without them, and for strict code."""
    if target.strict or not target.writes(gemm.op):  # type: ignore[attr-defined]
        return ()
    return (lambda e: _called(e, target), lambda e: _summed(e, target), lambda e: _added(e, target))


def _called(e: Expr, target: Target) -> Expr | None:
    """A product of matrices -> a call of a kernel."""
    if e.op.name != "matmul" or e.dtype.kind != "float":
        return None
    (a, b), least = e.args, target.tuning.matmul_least
    if a.ndim == b.ndim == 1:
        return sum_(a * b)  # a loop that others can share
    if 0 in (*e.shape, a.shape[-1]):
        return None
    if b.ndim == 1 or (a.ndim > 1 and e.shape[-1] == 1):
        (left, turned), x = _stored(a), b if b.ndim == 1 else _without(b, b.ndim - 1)
        y = _by_vector(left, turned, x, target)
    elif a.ndim == 1 or e.shape[-2] == 1:
        (right, turned), x = _stored(b), a if a.ndim == 1 else _without(a, a.ndim - 2)
        y = _by_vector(right, not turned, x, target)
    else:
        (left, ta), (right, tb) = _stored(a), _stored(b)
        if left.ndim > 2 and right.ndim == 2 and not ta:  # one product of all rows
            left = reshape(left, (math.prod(left.shape[:-1]), left.shape[-1]))
        if _written_out(left, ta, right, tb, target):
            y = gemm_small(left, right, ta=ta, tb=tb)
        elif _many(math.prod(e.shape[-2:]) * a.shape[-1], least):
            y = _by_matrix(left, ta, right, tb, target)
        else:
            y = None
    return None if y is None else y if y.shape == e.shape else reshape(y, e.shape)


def _without(x: Expr, axis: int) -> Expr:
    """`x` without an axis of size 1."""
    if x.op.name == "expand_dims" and x.params["axis"] == (axis,):
        return x.args[0]
    return reshape(x, (*x.shape[:axis], *x.shape[axis + 1 :]))


def _many(count: Extent, least: int) -> bool:
    """Whether there are so many products; of sizes known by name there are."""
    return not isinstance(count, int) or count >= least


def _stored(x: Expr) -> tuple[Expr, bool]:
    """What is in memory for the matrices `x`, and whether it is their transpose; one matrix for a stack of copies."""
    turned = False
    while True:
        last = tuple(range(x.ndim))[-2:]
        if x.op.name == "transpose" and x.params["axes"] == (*range(x.ndim - 2), *reversed(last)):
            x, turned = x.args[0], not turned
        elif x.op.name == "broadcast_to" and x.args[0].shape == x.shape[-2:]:
            x = x.args[0]
        else:
            return x, turned


def _view(x: Expr) -> bool:
    """Whether a kernel would need a copy of `x`, which a loop could read where it is."""
    return x.op.kind == "layout" and x.op.structure is not None and x.op.name not in ("expand_dims", "squeeze")


def _by_vector(a: Expr, turned: bool, x: Expr, target: Target) -> Expr | None:
    least, along = target.tuning.matvec_least, a.shape[-1]
    if _view(a) or not _many(math.prod(a.shape[-2:]), 4 * least if turned else least):
        return None
    if not turned and isinstance(along, int) and along < 8:
        return None
    if target.blas:
        return cblas_gemv(a, x, ta=turned)
    return (gemv_columns if turned else gemv_rows)(a, x, ta=turned)


def _by_matrix(a: Expr, ta: bool, b: Expr, tb: bool, target: Target) -> Expr:
    if target.blas:
        return cblas_gemm(a, b, ta=ta, tb=tb)
    _, m, n, k = sizes(a.type, b.type, ta, tb)
    if tb and not ta and a.ndim == b.ndim == 2 and isinstance(m, int) and m <= target.tuning.rows_by_vectors:
        return gemv_rows(b, a, ta=False)  # rows of A as a stack of vectors: B is not packed
    if tb and not ta and _long_rows(a, m, n, k, target):
        return gemm_dots(a, b)
    wide = isinstance(n, int) and n * a.dtype.bits // 8 >= BYTES // 2
    if wide and not tb and _held(a, ta, m, k, target) and _small(k, n, b, target.tuning.pack_right):
        return gemm_direct(a, b, ta=ta, tb=tb)
    return gemm(a, b, ta=ta, tb=tb, **_in_blocks(a, ta, b, tb, target))


def _written_out(a: Expr, ta: bool, b: Expr, tb: bool, target: Target) -> bool:
    """Whether a product is written out: few terms a sum, and few in all, or rows that fill no vector."""
    _, m, n, k = sizes(a.type, b.type, ta, tb)
    if target.blas or not (isinstance(m, int) and isinstance(n, int) and isinstance(k, int)):
        return False
    row = n * (a.dtype.bits // 8)
    if tb and row > BYTES:  # for each of several vectors, B would be read number by number
        return False
    if m * n * k < target.tuning.matmul_least:
        return k <= MOST_TERMS
    return k <= min(MOST_TERMS, target.tuning.narrow_terms) and row < BYTES


def _long_rows(a: Expr, m: Extent, n: Extent, k: Extent, target: Target) -> bool:
    """Whether `A Bᵀ` has few rows of many vectors, whose products are summed up in registers."""
    if target.threads or not all(isinstance(size, int) for size in (m, n, k)):
        return False
    few = min(m, n) >= LEAST and max(m, n) <= target.tuning.dot_rows
    tiled = max(m, n) <= target.tuning.narrow_columns and _FILLED * -(-m // LEAST) * -(-n // LEAST) * LEAST**2 <= m * n
    return (few or (tiled and a.ndim > 2)) and k * (a.dtype.bits // 8) >= target.tuning.dot_bytes


def _in_blocks(a: Expr, ta: bool, b: Expr, tb: bool, target: Target) -> dict[str, Any]:
    """The sizes of blocks and panels of a packed product, and whether A is copied too."""
    tuning, panel = target.tuning, _panel(target, a)
    _, m, n, k = sizes(a.type, b.type, ta, tb)
    tall = math.lcm(tuning.tile_rows, tuning.tile_rows_512)  # whole tiles of whatever machine
    most = min(tuning.block_rows, _shares(m, tall, tuning)) if target.threads else tuning.block_rows
    limits = ((m, most, tall), (n, tuning.block_columns, panel), (k, tuning.block_depth, 1))
    blocks = tuple(_even(size, most, step) for size, most, step in limits)
    shared = {"threads": True} if target.threads else {}
    return {"blocks": blocks, "panel": panel, "left": not _held(a, ta, m, k, target), **shared}


def _shares(rows: Extent, tall: int, tuning: Tuning) -> int:
    """Rows of a block for which two threads, and four, wait least for the one that has most of them."""
    sizes = range(2 * tuning.thread_rows, min(tall, tuning.thread_rows) - 1, -tall)
    if not isinstance(rows, int):
        return sizes[0]
    return min(sizes, key=lambda size: sum(math.ceil(math.ceil(rows / size) / threads) * size for threads in (2, 4)))


def _panel(target: Target, x: Expr) -> int:
    """Columns of a panel, at most."""
    return target.tuning.tile_vectors * BYTES // (x.dtype.bits // 8)


def _small(rows: Extent, columns: Extent, x: Expr, most: int) -> bool:
    """Whether a matrix of this many rows and columns has at most so many bytes."""
    known = isinstance(rows, int) and isinstance(columns, int)
    return known and rows * columns * (x.dtype.bits // 8) <= most


def _held(a: Expr, ta: bool, m: Extent, k: Extent, target: Target) -> bool:
    """Whether the left factor is read as it is: the caches hold it, or its rows, some at a time, in one piece."""
    if not ta and isinstance(k, int) and k <= target.tuning.block_depth:
        return True
    return _small(m, k, a, target.tuning.pack_left // 4 if ta else target.tuning.pack_left)


def _even(size: Extent, most: int, step: int) -> int:
    """The size of blocks of at most `most`, all but alike, in whole steps."""
    even = -(-size // -(-size // most)) if isinstance(size, int) else most
    return -(-even // step) * step


def _summed(e: Expr, target: Target) -> Expr | None:
    """sum(A_sᵀ B_s) over the stack -> one product of all rows, which needs no memory for the stack."""
    if e.op.name != "sum" or not e.args[0].op.name.endswith(("gemm", "gemm_direct", "gemm_small")):
        return None
    (product,) = e.args
    a, b = product.args
    alone = product.params["ta"] and not product.params["tb"] and a.ndim == b.ndim > 2
    if not alone or e.params["axis"] != tuple(range(product.ndim - 2)) or e.params["keepdims"]:
        return None
    rows = [reshape(x, (math.prod(x.shape[:-1]), x.shape[-1])) for x in (a, b)]
    return _by_matrix(rows[0], True, rows[1], False, target)


def _added(e: Expr, target: Target) -> Expr | None:
    """A sum of what a loop carries and a product -> a product that adds to it in memory."""
    if e.op.name != "add":
        return None
    for state, product in (e.args, e.args[::-1]):
        if state.op.name != "input" or product.op.name not in ("gemm", "gemm_direct") or product.shape != e.shape:
            continue
        a, b = product.args
        ta, tb = product.params["ta"], product.params["tb"]
        panel = _panel(target, a)
        if isinstance(e.shape[-1], int) and e.shape[-1] >= 2 * panel:  # else columns that fill up a panel cost more
            return gemm_add(a, b, state, ta=ta, tb=tb, part="", **_in_blocks(a, ta, b, tb, target))
    return None
