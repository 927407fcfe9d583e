"""Fold: an op whose operands are all constants becomes a constant, rounded once.

`%2 = mul 2.0 3.0  ->  %2 = constant 6.0`. Sums, products and the like are what the generated code would compute, to the
last bit; functions such as `exp`, which a libm may round wrongly, are rounded from 50 digits. A result that is not
finite is left to run time, where it is visible.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..registry import OPS
from ..trace import Expr, constant
from ..types import static_shape
from .rewrite import About

__all__ = ["fold"]

_LARGEST = 4096  # elements; a larger constant costs more to read than to compute
_AFFORDABLE = 256  # elements by mpmath
_DIGITS = 50
#: What IEEE 754 rounds correctly, or does not round at all.
_ROUNDED = frozenset({"add", "sub", "mul", "div", "neg", "abs", "sqrt", "square", "reciprocal", "sign", "where"})


def _fold(e: Expr) -> Expr | None:
    """The constant that `e` is, or None."""
    for a in e.args:
        name = a.op.name
        if name != "constant" and (name != "broadcast_to" or a.args[0].op.name != "constant"):
            return None
    if not e.args or e.op.kind in ("region", "part") or (e.type.shape and all(_scalar(a) for a in e.args)):
        return None
    if any(not isinstance(d, int) for d in e.shape) or e.size > _LARGEST or e.size == 0 or _repeats(e):
        return None
    with np.errstate(all="ignore"):
        value = e.op.evaluate(*(_value(a) for a in e.args), **e.params)
    return constant(_rounded(e, value), e.dtype) if np.all(np.isfinite(value)) else None


#: The rule, which has nothing to say where no operand is a constant.
fold = About(OPS, _fold, OPS)


def _rounded(e: Expr, value: Any) -> Any:
    """`value`, each element the number of its type that is nearest to the exact result."""
    if e.op.kind != "elementwise" or e.op.name in _ROUNDED or e.op.mp is None or e.dtype.kind != "float":
        return value
    if np.size(value) > _AFFORDABLE:
        return value
    import mpmath as mp

    function = getattr(mp, e.op.mp) if isinstance(e.op.mp, str) else partial(e.op.mp, mp, **e.params)

    def nearest(result: Any, *operands: Any) -> Any:
        if result == 0.0 or any(o == 0.0 and np.signbit(o) for o in operands if not isinstance(o, bool | np.bool_)):
            return result  # mpmath has no sign of zero
        exact = function(*(o if isinstance(o, bool | np.bool_) else mp.mpf(float(o)) for o in operands))
        return float(exact) if isinstance(exact, mp.mpf) and mp.isfinite(exact) else result

    with mp.workdps(_DIGITS):
        return np.vectorize(nearest, otypes=[np.float64])(value, *(_value(a) for a in e.args))[()]


def _repeats(e: Expr) -> bool:
    """Whether a constant array is only repeated, which costs nothing at run time and much as a table."""
    return e.op.name == "broadcast_to" and e.size > e.args[0].size


def _scalar(e: Expr) -> bool:
    """A scalar, also one that is broadcast: it stays a scalar, which is shorter to read."""
    return e.shape == () or (e.op.name == "broadcast_to" and e.args[0].shape == ())


def _value(e: Expr) -> Any:
    if e.op.name == "broadcast_to":
        e, shape = e.args[0], static_shape(e.shape)
        return np.broadcast_to(np.asarray(e.params["value"], e.dtype.name), shape)
    return np.asarray(e.params["value"], e.dtype.name)
