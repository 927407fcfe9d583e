"""Rules for ops on many elements at once: the op on operands that have an axis more in front, as `vmap` needs it.

A rule is `rule(op, xs, mapped, size, params)`. Those of the operands `xs` for which `mapped` holds have all `size`
elements along a new first axis; the others are the same for every element. The result has that axis; it is None where
the rule does not serve these operands (`vmap` then maps the op's expansion, or the op by a loop).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..registry import Op, Params
from ..trace import Expr, apply
from .lazy import gs

__all__ = ["lifted", "lifted_params", "moved", "spread"]


def moved(x: Expr, source: int, target: int) -> Expr:
    """`x` with one axis at another place."""
    order = [k for k in range(x.ndim) if k != source]
    order.insert(target, source)
    return x if source == target else gs.permute_dims(x, order)


def spread(x: Expr, size: Any) -> Expr:
    """`size` times the same value, along a new first axis."""
    return gs.broadcast_to(x, (size, *x.shape))  # type: ignore[no-any-return]


def _key(key: Sequence[Any], size: Any) -> tuple[Any, ...]:
    return ((0, 1, size), *key)


def _axis(axis: Any, size: Any) -> Any:
    return tuple(a + 1 for a in axis) if isinstance(axis, tuple) else axis + 1


#: What a param becomes when all operands and the result have an axis more in front; others stay. Axes in params count
#: from the front, and what counts from the end (the sizes of windows, say) does not see the new axis.
_LIFTED: Mapping[str, Callable[[Any, Any], Any]] = {
    "axis": _axis,
    "axes": lambda axes, size: (0, *_axis(axes, size)),
    "shape": lambda shape, size: (size, *shape),
    "key": _key,
    "keys": lambda keys, size: tuple(_key(key, size) for key in keys),
}


def lifted_params(params: Params, size: Any) -> dict[str, Any]:
    """`params` of an op whose operands and result have an axis of `size` more in front."""
    return {name: _LIFTED[name](value, size) if name in _LIFTED else value for name, value in params.items()}


def lifted(op: Op, xs: Sequence[Expr], mapped: Sequence[bool], size: Any, params: Params) -> Expr:
    """The op itself, on operands that all have the new axis, with params that count one axis more."""
    return apply(
        op, [x if m else spread(x, size) for x, m in zip(xs, mapped, strict=True)], lifted_params(params, size)
    )
