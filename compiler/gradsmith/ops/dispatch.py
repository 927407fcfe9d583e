"""Dispatch: NumPy's functions and ufuncs, called on traced values, become gs functions.

NumPy hands every call that meets a traced value to `__array_ufunc__` or `__array_function__`. What the function means
is found by its name: in the table of `numpy_functions`, or else as the gs function of that name, or of the name the
array API has for it. Options that all NumPy functions share (`out=`, `dtype=`, `where=`, `order=`) are seen to here;
what has no meaning for traced values is an error that names the option and the remedy.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import ShapeError, TraceError
from ..trace import Expr, as_expr
from .lazy import MissingError, counterpart
from .masked import elementwise
from .memory import dtype_named, fresh, setitem, stored
from .numpy_functions import FUNCTIONS, REDUCTIONS, real_array_refused

__all__ = ["array_function", "array_ufunc", "called"]

#: NumPy's name -> the array API's.
_OTHER_NAMES = {
    "abs": "absolute", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan",
    "arctan2": "atan2", "arctanh": "atanh", "fabs": "absolute", "invert": "bitwise_invert",
    "left_shift": "bitwise_left_shift", "right_shift": "bitwise_right_shift", "rint": "round", "true_divide": "divide",
}  # fmt: skip
#: NumPy's name of a parameter -> the array API's.
_OTHER_PARAMETERS = {"a": "x", "ar": "x", "arr": "x", "m": "x", "ary": "x", "newshape": "shape", "reps": "repetitions"}
#: gs functions whose results are views, in NumPy.
_VIEWS = {
    "broadcast_to", "expand_dims", "flip", "matrix_transpose", "moveaxis", "permute_dims", "reshape", "squeeze",
    "swapaxes", "transpose", "unstack",
}  # fmt: skip
#: Options that say how the result is stored, which is not for the traced program to say; their neutral values.
_STORAGE = {
    "casting": ("same_kind", "unsafe"),
    "order": ("K", "C", "A", None),
    "subok": (True, False),
    "device": (None, "cpu"),
}


def array_ufunc(self: Any, ufunc: Any, method: str, *operands: Any, **options: Any) -> Any:
    """`ufunc(*operands)`, or its method `reduce`, `accumulate`, `outer` or `at`."""
    name = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
    if method == "at":
        return _at(name, ufunc, operands)
    if method in ("reduce", "accumulate"):
        reduction = REDUCTIONS.get(ufunc.__name__, ("", ""))[method == "accumulate"]
        if not reduction:
            raise _no_counterpart(name)
        options = {"axis": 0} | options  # unlike np.sum, which reduces all axes
        return _stored(name, lambda *xs, **kw: _by_name(reduction, xs, kw), operands, options)
    if method == "outer":
        return _stored(name, lambda a, b: _elementwise(ufunc.__name__, _beside(a, b), {}), operands, options)
    if method != "__call__":
        raise _no_counterpart(name)
    where = options.pop("where", True)
    if where is not True:
        (out,) = options.get("out", (None,))
        if out is None:
            raise TraceError(f"{name}(where=) leaves elements without a value unless out= is given: use gs.where")
        real_array_refused(f"{name}(out=)", out)
        result = as_expr(_elementwise(ufunc.__name__, operands, {}))
        setitem(out, ..., _by_name("where", (where, result, out), {}))
        return out
    return _stored(name, lambda *xs, **kw: _elementwise(ufunc.__name__, xs, kw), operands, options)


def array_function(self: Any, function: Any, types: Any, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """`function(*arguments, **options)`; `np.linalg.norm` is looked up as `linalg.norm` first."""
    name = function.__name__
    inner = (function.__module__ or "").removeprefix("numpy").strip(".")
    within = inner if inner in ("linalg", "fft") else ""
    return _stored(
        f"np.{within}{'.' * bool(within)}{name}", lambda *xs, **kw: _by_name(name, xs, kw, within), arguments, options
    )


def called(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as the method `x.name(...)` of arrays."""

    def method(self: Any, *arguments: Any, **options: Any) -> Any:
        return _stored(
            f"x.{name}", lambda *xs, **kw: _bound(function, xs, kw, f"x.{name}"), (self, *arguments), options
        )

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"`np.{name}` of this array."
    return method


# --- which function ---------------------------------------------------------------------------------------------------


def _by_name(name: str, arguments: Sequence[Any], options: Mapping[str, Any], within: str = "") -> Any:
    """What `np.name`, or `np.within.name`, means on these arguments."""
    shown = f"{within}.{name}" if within else name
    function = FUNCTIONS.get(shown)
    if function is not None:
        return _bound(function, arguments, options, f"np.{shown}")
    function = counterpart(_OTHER_NAMES.get(name, name), within)
    if function is None:
        raise _no_counterpart(f"np.{shown}")
    parameters = _signature(function).parameters
    renamed = {k if k in parameters else _OTHER_PARAMETERS.get(k, k): v for k, v in options.items()}
    first = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_ONLY][len(arguments) :]
    arguments = [*arguments, *(renamed.pop(p) for p in first if p in renamed)]
    result = _bound(function, arguments, renamed, f"np.{shown}", f"gs.{function.__name__}")
    return fresh(result, arguments) if isinstance(result, Expr) and name not in _VIEWS else result


def _elementwise(name: str, operands: Sequence[Any], options: Mapping[str, Any]) -> Any:
    return elementwise(lambda *xs: _by_name(name, xs, options))(*operands)


@functools.lru_cache(maxsize=1024)
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


def _bound(
    function: Callable[..., Any], arguments: Sequence[Any], options: Mapping[str, Any], shown: str, ours: str = ""
) -> Any:
    """`function(*arguments, **options)`; arguments that it does not have are an error that shows those it has."""
    signature = _signature(function)
    try:
        signature.bind(*arguments, **options)
    except TypeError as error:
        plain = signature.replace(
            parameters=[p.replace(annotation=p.empty) for p in signature.parameters.values()],
            return_annotation=signature.empty,
        )
        raise TraceError(f"{shown} on traced values: {error}; it is {ours or shown}{plain}") from None
    try:
        return function(*arguments, **options)
    except MissingError as missing:
        raise TraceError(
            f"{shown} has no counterpart on traced values: it needs {missing}, which does not exist"
        ) from None


def _no_counterpart(shown: str) -> TraceError:
    return TraceError(f"{shown} has no counterpart on traced values: compose it from gs.* functions")


# --- options that all functions share ---------------------------------------------------------------------------------


def _stored(name: str, function: Callable[..., Any], arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """The result of `function`, in the dtype and in the array that `dtype=` and `out=` ask for."""
    rest = dict(options)
    out, dtype = rest.pop("out", None), rest.pop("dtype", None)
    out = out[0] if isinstance(out, tuple) and len(out) == 1 else out
    if out is not None:
        real_array_refused(f"{name}(out=)", out)
    for option, neutral in _STORAGE.items():
        if option in rest and not (option == "order" and name == "np.ravel"):
            value = rest.pop(option)
            if value not in neutral:
                raise TraceError(f"{name}({option}={value!r}) has no meaning for traced values: leave {option}= out")
    if out is None and dtype is None:
        return function(*arguments, **rest)
    result = function(*arguments, **rest)
    if dtype is not None:
        result = _typed(result, dtype)
    if out is None:
        return result
    if as_expr(result).shape != out.shape:
        raise ShapeError(f"{name}(out=): the result has shape {as_expr(result).shape}, the array {out.shape}")
    setitem(out, ..., result)
    return out


def _typed(result: Any, dtype: Any) -> Any:
    return stored(result, dtype_named(dtype)) if isinstance(result, Expr) else result


def _at(name: str, ufunc: Any, operands: Sequence[Any]) -> None:
    """`np.add.at(x, key, v)`: in place, and every place counts, also one that `key` names twice."""
    x, key, *value = operands
    real_array_refused(name, x)
    updates = {"add": "add", "subtract": "subtract", "multiply": "multiply", "maximum": "max", "minimum": "min"}
    if ufunc.__name__ not in updates:
        raise _no_counterpart(name)
    setitem(x, ..., getattr(x.at[key], updates[ufunc.__name__])(*value))


def _beside(a: Any, b: Any) -> tuple[Any, Any]:
    """`a` with as many new axes behind it as `b` has: their element-wise function is the outer one."""
    left, right = as_expr(a), as_expr(b)
    return _by_name("reshape", (left, (*left.shape, *(1 for _ in right.shape))), {}), right
