"""Conversion between element types, and the promotion rules of the array API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..registry import Params
from ..trace import Expr, as_expr, constant, op
from ..types import DTYPES, DType, Type, as_dtype
from ._declare import Traced, free, numpy_name

__all__ = ["astype"]

_C_TYPES = {"float64": "double", "float32": "float", "int64": "int64_t", "int32": "int32_t"}


def _python(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
    return f"{params['dtype'].kind}({args[0]})"


def _numpy(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
    name = numpy_name(params["dtype"])
    return f"{args[0]}.astype(np.{name})" if types[0].shape else f"np.{name}({args[0]})"


def _c(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
    if params["dtype"] == "bool":
        return f"{args[0]} != 0"
    return f"({_C_TYPES[params['dtype']]})({args[0]})"


def _torch(torch: Any, x: Any, dtype: DType) -> Any:
    return x.to(getattr(torch, dtype.name))


def _mp(mp: Any, x: Any, dtype: DType) -> Any:
    if dtype.kind == "float":
        return mp.mpf(x)
    return x != 0 if dtype.kind == "bool" else int(x)


_astype: Traced = op(
    "astype",
    arity=1,
    kind="elementwise",
    takes="any",
    tame=True,
    infer=lambda x, dtype: Type(x.shape, dtype),
    vjp=lambda g, y, x, dtype: (_astype(g, dtype=x.dtype) if y.dtype.kind == x.dtype.kind == "float" else None,),
    cells={"python": _python, "numpy": _numpy, "c": _c},
    evaluate=lambda x, dtype: np.asarray(x).astype(dtype.name),
    torch=_torch,
    mp=_mp,
    sympy=lambda sp, x, dtype: x,
    cost=free,
    symbol="astype",
    slope="1 between floats, none from or to integers",
    samples=[(value, {"dtype": dtype}) for value in (2.0, -1.0, 0.0) for dtype in DTYPES.values()],
    doc="The value in another element type.",
)


def astype(x: Any, dtype: Any, /, *, copy: bool = True) -> Expr:
    """`x` with elements of type `dtype`; a float becomes an integer by dropping its fraction.

    The gradient passes between floats; there is none through integers and booleans. `copy` changes nothing here: a
    traced value is never shared with another.

    >>> import gradsmith as gs
    >>> gs.astype(gs.symbol("x", (3,)), gs.float32).dtype
    gradsmith.float32
    """
    value, wanted = as_expr(x), as_dtype(dtype)
    if value.dtype == wanted:
        return value
    if value.op.name == "constant":
        return constant(np.asarray(value.params["value"]), wanted)
    return _astype(value, dtype=wanted)
