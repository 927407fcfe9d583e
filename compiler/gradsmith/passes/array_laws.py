"""Array laws: what moves elements, adds them up or multiplies matrices, with less work or in fewer steps.

In: a node and its operands. Out: its replacement, or None. `simplify` applies the table. A law that only moves
elements holds to the last bit, and so does one that adds the same numbers in the same order; a sum promises no order.
Where a law multiplies in another order, as `A @ outer(u, w) -> outer(A @ u, w)` does, it is for cotangents alone, whose
order is ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from ..dims import Extent, certainly_at_most
from ..ops import broadcast_to, concatenate, expand_dims, matmul, outer, reshape, stack, transpose
from ..ops import sum as sum_
from ..trace import Expr, constant
from ..types import broadcast_shapes

__all__ = ["ARRAY_LAWS", "of_broadcasts", "of_filled"]

Law = Callable[..., Expr | None]

_FEW = 4  # elements for each zero that is put beside them


def filling(e: Expr) -> Expr | None:
    """The scalar with which `e` is filled, if it is."""
    return e.args[0] if e.op.name == "broadcast_to" and e.args[0].shape == () else None


def _ours(e: Expr) -> bool:
    return e.origin.derived


# --- broadcasting ---------------------------------------------------------------------------------------------------


def of_broadcasts(e: Expr, *args: Expr) -> Expr | None:
    """f(broadcast(a), broadcast(b)) -> broadcast(f(a, b)): fewer elements to compute."""
    if e.op.kind != "elementwise" or not e.shape or any(a.op.name != "broadcast_to" for a in args):
        return None
    inner = broadcast_shapes(*(a.args[0].shape for a in args))
    if inner == e.shape:
        return None
    return broadcast_to(e.op_call(*(a.args[0] for a in args), **e.params), e.shape)


def of_filled(e: Expr, *args: Expr) -> Expr | None:
    """move(broadcast(scalar)) -> broadcast(scalar), for whatever moves elements."""
    scalar = filling(args[0]) if args and e.op.kind == "layout" and e.op.name != "broadcast_to" else None
    return None if scalar is None else broadcast_to(scalar, e.shape) if e.shape else scalar


# --- sums -----------------------------------------------------------------------------------------------------------


def _sum_of_broadcast(e: Expr, x: Expr) -> Expr | None:
    """The sum of n copies -> n times the value, where the sum runs over copies only."""
    if x.op.name != "broadcast_to":
        return None
    inner, axes = x.args[0], e.params["axis"]
    aligned = (1,) * (x.ndim - inner.ndim) + inner.shape
    if any(aligned[i] != 1 for i in axes):
        return None
    copies = math.prod(x.shape[i] for i in axes)
    scaled = inner if copies == 1 else inner * copies
    shape = tuple(d for i, d in enumerate(aligned) if i not in axes or e.params["keepdims"])
    return broadcast_to(reshape(scaled, shape) if inner.shape else scaled, e.shape) if e.shape else reshape(scaled, ())


def _sum_of_moved(e: Expr, x: Expr) -> Expr | None:
    """The sum of elements before they are transposed, or reshaped where all are added."""
    if e.params["keepdims"]:
        return None
    if x.op.name == "reshape" and e.shape == () and x.args[0].shape:
        return sum_(x.args[0])
    if x.op.name == "transpose":
        order = x.params["axes"]
        kept = [order[i] for i in range(x.ndim) if i not in e.params["axis"]]
        return sum_(x.args[0], [order[i] for i in e.params["axis"]]) if kept == sorted(kept) else None
    return None


# --- matrices -------------------------------------------------------------------------------------------------------


def _outer_with_filled(e: Expr, a: Expr, b: Expr) -> Expr | None:
    """outer(s*ones, b) -> the row s*b, repeated; outer(a, s*ones) likewise."""
    s = filling(a)
    if s is not None:
        return broadcast_to(s * b, e.shape)
    s = filling(b)
    return None if s is None else broadcast_to(expand_dims(a * s, 1), e.shape)


def _matmul_with_filled(e: Expr, a: Expr, b: Expr) -> Expr | None:
    """A @ (s*ones) -> s*sum(A, -1), repeated; (s*ones) @ B likewise. In cotangents."""
    if not _ours(e) or max(a.ndim, b.ndim) > 2:
        return None
    s = filling(b)
    if s is not None:
        row = s * sum_(a, -1)
        return broadcast_to(expand_dims(row, -1) if b.ndim == 2 else row, e.shape)
    s = filling(a)
    return None if s is None else broadcast_to(s * sum_(b, 0), e.shape)


def _matmul_with_outer(e: Expr, a: Expr, b: Expr) -> Expr | None:
    """A @ outer(u, w) -> outer(A @ u, w); outer(u, w) @ B -> outer(u, w @ B), or u*(w @ b). In cotangents."""
    if not _ours(e) or max(a.ndim, b.ndim) > 2:
        return None
    if b.op.name == "outer":
        u, w = b.args
        return matmul(a, u) * w if a.ndim == 1 else outer(matmul(a, u), w)
    if a.op.name == "outer":
        u, w = a.args
        return u * matmul(w, b) if b.ndim == 1 else outer(u, matmul(w, b))
    return None


def _iota_along(e: Expr, axis: int) -> bool:
    """Whether a matrix holds the number of its row (axis 0) or column (axis 1)."""
    inner = e.args[0] if e.op.name == "broadcast_to" else e
    if inner.op.name == "reshape" and axis == 0:
        return inner.shape == (e.shape[0], 1) and inner.args[0].op.name == "iota"
    return inner.op.name == "iota" and axis == 1


def _diagonal(e: Expr) -> Expr | float | None:
    """The diagonal of a matrix that is written as seeds of all elements are: `where(j == i, 1, 0)`, times columns."""
    if e.ndim != 2 or e.shape[0] != e.shape[1]:
        return None
    if e.op.name == "mul":
        for table, factor in (e.args, e.args[::-1]):
            if factor.op.name == "broadcast_to" and factor.args[0].shape == e.shape[1:]:
                inner = _diagonal(table)
                return (
                    None
                    if inner is None
                    else factor.args[0] * inner
                    if not isinstance(inner, float)
                    else factor.args[0]
                )
        return None
    if e.op.name != "where" or e.args[0].op.name != "equal":
        return None
    filled = [x.args[0] if x.op.name == "broadcast_to" else x for x in e.args[1:]]
    if [x.op.name == "constant" and x.shape == () and float(x.params["value"]) for x in filled] != [1.0, 0.0]:
        return None
    return 1.0 if all(_iota_along(x, axis) for x, axis in zip(e.args[0].args, (1, 0), strict=True)) else None


def _matmul_with_diagonal(e: Expr, a: Expr, b: Expr) -> Expr | None:
    """diag(v) @ B -> v*B, row by row: the first product of all sweeps of a full Jacobian."""
    v = _diagonal(a) if _ours(e) and b.ndim == 2 and e.shape == b.shape else None
    return None if v is None else b if isinstance(v, float) else expand_dims(v, 1) * b


def _matmul_with_transpose(e: Expr, a: Expr, b: Expr) -> Expr | None:
    """With a vector on the left, v @ A.T -> A @ v."""
    return matmul(b.args[0], a) if a.ndim == 1 and b.ndim == 2 and b.op.name == "transpose" else None


def _transpose_of_product(e: Expr, x: Expr) -> Expr | None:
    """outer(a, b).T -> outer(b, a)"""
    return outer(*x.args[::-1]) if x.op.name == "outer" else None


# --- moving ---------------------------------------------------------------------------------------------------------


def _part_of_stack(e: Expr, x: Expr) -> Expr | None:
    key = e.params["key"]
    if x.op.name != "stack" or x.params["axis"] != 0 or not isinstance(key[0], int):
        return None
    part = x.args[key[0]]
    return part if len(key) == 1 else e.op_call(part, key=key[1:])


def _index_of_index(e: Expr, x: Expr) -> Expr | None:
    """x[2:8][1] -> x[3], for ints and slices."""
    if x.op.name != "index" or any(not isinstance(k, int | tuple) for k in (*x.params["key"], *e.params["key"])):
        return None
    later = iter(e.params["key"])
    return e.op_call(
        x.args[0], key=tuple(k if isinstance(k, int) else _of_slice(k, next(later)) for k in x.params["key"])
    )


def _index_of_scatter(e: Expr, x: Expr) -> Expr | None:
    """(a put at 2:9 + b put at 0:7)[1:8] -> sums of slices of a and b between zeros, which take no memory to add in.

    Such is the cotangent of `u` in `wide = concat([0, u, 0]); wide[:-2] + wide[2:]`. Zeros may be few beside elements.
    """
    if x.op.name != "scatter" or not _ours(e) or e.dtype.kind != "float":
        return None
    scale, parts = _common_factor(x.args)
    edges: dict[int, list[list[int]]] = {}  # of each part: how many zeros it needs before and behind, along each axis
    shifts: list[list[int]] = []
    for part, key in zip(parts, x.params["keys"], strict=True):
        shift: list[int] = []
        around = edges.setdefault(part.serial, [[0, 0] for _ in range(e.ndim)])
        if part.ndim != e.ndim:
            return None
        for axis, (theirs, ours) in enumerate(zip(key, e.params["key"], strict=True)):
            if not isinstance(theirs, tuple) or not isinstance(ours, tuple) or theirs[1] != 1 or ours[1] != 1:
                return None
            first, last = ours[0] - theirs[0], ours[0] + ours[2] - theirs[0] - theirs[2]
            if not isinstance(first, int) or not isinstance(last, int):
                return None
            shift.append(first)
            around[axis][0] = max(around[axis][0], -first)
            around[axis][1] = max(around[axis][1], last)
        shifts.append(shift)
    wide: dict[int, Expr] = {}
    for part in parts:
        if part.serial not in wide:
            wide[part.serial] = part
            for axis, (before, behind) in enumerate(edges[part.serial]):
                if not certainly_at_most((before + behind) * _FEW, part.shape[axis]):
                    return None
                wide[part.serial] = _between_zeros(wide[part.serial], axis, before, behind)
    terms = []
    for part, shift in zip(parts, shifts, strict=True):
        places = zip(edges[part.serial], shift, e.shape, strict=True)
        key = tuple((before + first, 1, count) for (before, _), first, count in places)
        whole = key == tuple((0, 1, size) for size in wide[part.serial].shape)
        terms.append(wide[part.serial] if whole else e.op_call(wide[part.serial], key=key))
    total = reduce(lambda a, b: a + b, terms)
    return total if scale is None else total * scale


def _common_factor(parts: Sequence[Expr]) -> tuple[float | None, list[Expr]]:
    """The number that all parts are multiplied by, and what is multiplied: to be done once, behind the sum."""
    found = [_factored(part) for part in parts]
    factors = {pair[0] for pair in found if pair is not None}
    if len(factors) != 1 or None in found:
        return None, [*parts]
    return factors.pop(), [pair[1] for pair in found if pair is not None]


def _factored(x: Expr) -> tuple[float, Expr] | None:
    for c, rest in (x.args, x.args[::-1]) if x.op.name == "mul" else ():
        scalar = filling(c) if c.shape else c
        if scalar is not None and scalar.op.name == "constant" and rest.shape == x.shape:
            value = float(scalar.params["value"])
            return (value, rest) if math.isfinite(value) else None
    return None


def _between_zeros(x: Expr, axis: int, before: int, behind: int) -> Expr:
    """`x` with zeros at both ends of an axis."""
    zero = constant(0.0, x.dtype)
    shapes = [(*x.shape[:axis], count, *x.shape[axis + 1 :]) for count in (before, behind)]
    left, right = ([broadcast_to(zero, shape)] if shape[axis] else [] for shape in shapes)
    return concatenate([*left, x, *right], axis) if left or right else x


def _of_slice(first: tuple[int, int, int], then: Any) -> Any:
    start, step, _ = first
    if isinstance(then, int):
        return start + step * then
    return start + step * then[0], step * then[1], then[2]


def _scatter_of_all(e: Expr, *parts: Expr) -> Expr | None:
    """Scalars put at every place of a vector once -> stack, which is one step."""
    places = [k[0] for k in e.params["keys"]] if e.ndim == 1 else []
    if any(not isinstance(p, int) for p in places) or sorted(places) != list(range(len(places))):
        return None
    if (len(places),) != e.shape or not places:
        return None
    return stack([part for _, part in sorted(zip(places, parts, strict=True), key=lambda pair: pair[0])])


def _scatter_of_slices(e: Expr, *parts: Expr) -> Expr | None:
    """Slices that lie side by side and are all of an array -> concatenate, which adds nothing to zeros."""
    whole = tuple((0, 1, size) for size in e.shape)
    for axis in range(e.ndim):
        ours = sorted(
            zip(e.params["keys"], range(len(parts)), strict=True),
            key=lambda pair: pair[0][axis][0] if _is_slice(pair[0], axis) else -1,
        )
        end: Extent = 0
        for key, _ in ours:
            if not _is_slice(key, axis) or key[:axis] + key[axis + 1 :] != whole[:axis] + whole[axis + 1 :]:
                break
            if key[axis][0] != end:
                break
            end = end + key[axis][2]
        else:
            if len(ours) > 1 and end == e.shape[axis]:
                return concatenate([parts[k] for _, k in ours], axis)
    return None


def _is_slice(key: Any, axis: int) -> bool:
    """Whether a key takes neighbours along an axis, from a place that is known by number."""
    return (
        all(isinstance(k, tuple) for k in key)
        and key[axis][1] == 1
        and all(isinstance(size, int) for size in key[axis])
    )


def _inverse_of(name: str) -> Law:
    return lambda e, x: x.args[0] if x.op.name == name and x.args[0].shape == e.shape else None


def _same_shape(e: Expr, x: Expr) -> Expr | None:
    return x if x.shape == e.shape else None


ARRAY_LAWS: dict[str, tuple[Law, ...]] = {
    "broadcast_to": (
        _same_shape,  # to the same shape -> x
        lambda e, x: broadcast_to(x.args[0], e.shape) if x.op.name == "broadcast_to" else None,  # twice -> once
    ),
    "reshape": (
        _same_shape,  # to the same shape -> x
        lambda e, x: reshape(x.args[0], e.shape) if x.op.name == "reshape" else None,  # twice -> once
        lambda e, x: broadcast_to(x, e.shape) if x.shape == () else None,  # of a scalar -> broadcast
    ),
    "transpose": (
        lambda e, x: (
            transpose(x.args[0], [x.params["axes"][a] for a in e.params["axes"]]) if x.op.name == "transpose" else None
        ),  # twice -> once, or nothing
        _transpose_of_product,  # outer(a, b).T -> outer(b, a)
    ),
    "expand_dims": (
        _inverse_of("squeeze"),
        lambda e, x: broadcast_to(x, e.shape) if x.shape == () else None,  # of a scalar -> broadcast
    ),
    "squeeze": (_inverse_of("expand_dims"),),
    "sum": (
        lambda e, x: x if not e.params["axis"] else None,  # over no axis -> x
        _sum_of_broadcast,  # n copies of x -> n*x
        _sum_of_moved,  # sum(x.T) -> sum(x)
    ),
    "matmul": (
        _matmul_with_filled,  # A @ (s*ones) -> s*sum(A, -1)
        _matmul_with_outer,  # A @ outer(u, w) -> outer(A @ u, w)
        _matmul_with_diagonal,  # diag(v) @ B -> v*B
        _matmul_with_transpose,  # v @ A.T -> A @ v
    ),
    "outer": (_outer_with_filled,),  # outer(s*ones, b) -> s*b, repeated
    "index": (
        _part_of_stack,  # stack(a, b, …)[i] -> the i-th
        _index_of_index,  # x[2:8][1] -> x[3]
        _index_of_scatter,  # (a put at 2:9)[1:8] -> slices of a between zeros
    ),
    "scatter": (
        _scatter_of_all,  # all elements, one by one -> stack
        _scatter_of_slices,  # all slices, side by side -> concatenate
    ),
}
