"""Conversion between element types, and the promotion rules of the array API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DTypeError
from ..registry import Params
from ..trace import Expr, as_expr, constant, op
from ..types import DTYPES, DType, Type, as_dtype, promote
from ._declare import Traced, free, numpy_name
from .lazy import gs

__all__ = ["astype", "can_cast", "finfo", "iinfo", "isdtype", "result_type"]

_C_TYPES = {"float64": "double", "float32": "float", "int64": "int64_t", "int32": "int32_t"}


#: Outside the range of int64 there is no right answer; NumPy's and torch's on x86 is this one, and nothing raises.
_PYTHON_INT = "def _int(x):\n    return int(x) if -(2.0**63) <= x < 2.0**63 else -(2**63)\n"


def _python(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
    return f"{params['dtype'].kind}({args[0]})"


def _python_ieee(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
    whole = params["dtype"].kind == "int" and types[0].dtype.kind == "float"
    return f"_int({args[0]})" if whole else _python(args, params, types)


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
    linear=True,
    infer=lambda x, dtype: Type(x.shape, dtype),
    vjp=lambda g, y, x, dtype: (_astype(g, dtype=x.dtype) if y.dtype.kind == x.dtype.kind == "float" else None,),
    cells={"python": _python, "python.ieee": _python_ieee, "numpy": _numpy, "c": _c},
    support={"python.ieee": _PYTHON_INT},
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


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Expr:
    """`x` with elements of type `dtype`; a float becomes an integer by dropping its fraction.

    The gradient passes between floats; there is none through integers and booleans. The result shares no memory with
    `x`, whatever `copy`
    says; there is one device.

    >>> import gradsmith as gs
    >>> gs.astype(gs.symbol("x", (3,)), gs.float32).dtype
    gradsmith.float32
    """
    value, wanted = as_expr(x), as_dtype(dtype)
    if value.dtype == wanted:
        copied: Expr = gs.copy(value)
        return copied
    if value.op.name == "constant":
        return constant(np.asarray(value.params["value"]), wanted)
    return _astype(value, dtype=wanted)


def _kind(value: Any) -> DType:
    """The dtype of a traced value or a number, or the dtype that `value` names."""
    return as_expr(value).dtype if isinstance(value, Expr | bool | int | float | np.ndarray) else as_dtype(value)


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype of a computation with these operands: traced values, numbers, arrays or dtypes.

    Python's numbers decide the kind only, as in arithmetic.

    >>> import gradsmith as gs
    >>> gs.result_type(gs.float32, gs.int64), gs.result_type(gs.symbol("x", (), "float32"), 1.5)
    (gradsmith.float32, gradsmith.float32)
    """
    if not arrays_and_dtypes:
        raise DTypeError("result_type: needs at least one operand")
    strong = [_kind(v) for v in arrays_and_dtypes if not isinstance(v, bool | int | float)]
    weak = [_kind(v) for v in arrays_and_dtypes if isinstance(v, bool | int | float)]
    if strong and promote(*strong, *weak).kind == promote(*strong).kind:
        return promote(*strong)
    return promote(*strong, *weak)


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether promotion can turn `from_` (a traced value or a dtype) into `to`.

    >>> can_cast("float32", "float64"), can_cast("float64", "float32")
    (True, False)
    """
    source, wanted = _kind(from_), as_dtype(to)
    return source == wanted or (source.kind == wanted.kind and source.bits < wanted.bits)


#: The kinds of dtypes that the array API knows, as ours.
KINDS: Mapping[str, tuple[str, ...]] = {
    "bool": ("bool",),
    "signed integer": ("int",),
    "unsigned integer": (),
    "integral": ("int",),
    "real floating": ("float",),
    "complex floating": (),
    "numeric": ("int", "float"),
}


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether `dtype` is of a kind: a dtype, a name such as "real floating" or "integral", or a tuple of these.

    >>> isdtype("float32", "real floating"), isdtype("int32", ("bool", "real floating"))
    (True, False)
    """
    found = as_dtype(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(found, each) for each in kind)
    if isinstance(kind, str) and kind in KINDS and not isinstance(kind, DType):
        return found.kind in KINDS[kind]
    return found == as_dtype(kind)


@dataclass(frozen=True)
class FloatInfo:
    """Limits of a floating-point type, under NumPy's names."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


@dataclass(frozen=True)
class IntInfo:
    """Limits of an integer type, under NumPy's names."""

    bits: int
    max: int
    min: int
    dtype: DType


def finfo(type: Any, /) -> FloatInfo:
    """Limits of a floating-point dtype, or of that of a traced value.

    >>> finfo("float32").eps
    1.1920928955078125e-07
    """
    dtype = _kind(type)
    if dtype.kind != "float":
        raise DTypeError(f"finfo: {dtype} is no floating-point type; for integers there is gs.iinfo")
    found = np.finfo(dtype.name)
    eps, most, least, smallest = map(float, (found.eps, found.max, found.min, found.smallest_normal))
    return FloatInfo(dtype.bits, eps, most, least, smallest, dtype)


def iinfo(type: Any, /) -> IntInfo:
    """Limits of an integer dtype, or of that of a traced value.

    >>> iinfo("int32").max
    2147483647
    """
    dtype = _kind(type)
    if dtype.kind != "int":
        raise DTypeError(f"iinfo: {dtype} is no integer type; for floats there is gs.finfo")
    found = np.iinfo(dtype.name)
    return IntInfo(dtype.bits, int(found.max), int(found.min), dtype)
