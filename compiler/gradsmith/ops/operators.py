"""Python's operators, the array attributes and NumPy's functions on `Expr`, bound to the ops they mean."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import TraceError
from ..trace import Expr
from . import (
    arithmetic,
    contraction,
    creation,
    cumulative,
    einstein,
    elementary,
    floating,
    indexing,
    inverse_hyperbolic,
    layout,
    linalg,
    linear_algebra,
    logarithms,
    logic,
    manipulation,
    plane,
    reduction,
    rounding,
    selection,
    statistics,
)

_BINARY: dict[str, Callable[[Any, Any], Expr]] = {
    "add": arithmetic.add,
    "sub": arithmetic.subtract,
    "mul": arithmetic.multiply,
    "truediv": arithmetic.divide,
    "pow": arithmetic.power,
    "matmul": contraction.matmul,
    "and": selection.logical_and,
    "or": selection.logical_or,
    "xor": selection.logical_xor,
}
_COMPARISONS: dict[str, Callable[[Any, Any], Expr]] = {
    "lt": selection.less,
    "le": selection.less_equal,
    "gt": selection.greater,
    "ge": selection.greater_equal,
    "eq": selection.equal,
    "ne": selection.not_equal,
}
_UNARY: dict[str, Callable[[Any], Expr]] = {
    "neg": arithmetic.negative,
    "abs": arithmetic.absolute,
    "invert": selection.logical_not,
}
_METHODS: dict[str, Callable[..., Expr]] = {
    name: getattr(reduction, name) for name in ("sum", "mean", "prod", "max", "min")
}


def _forward(function: Callable[[Any, Any], Expr]) -> Callable[[Expr, Any], Any]:
    def operator(self: Expr, other: Any) -> Any:
        return function(self, other)

    return operator


def _reflected(function: Callable[[Any, Any], Expr]) -> Callable[[Expr, Any], Any]:
    def operator(self: Expr, other: Any) -> Any:
        if function is arithmetic.add and type(other) is int and other == 0:
            return self  # the start of Python's own sum(); an int 0 has no sign that could matter
        return function(other, self)

    return operator


def _unary(function: Callable[[Any], Expr]) -> Callable[[Expr], Any]:
    def operator(self: Expr) -> Any:
        return function(self)

    return operator


def _reshape(self: Expr, *shape: Any) -> Expr:
    """`x.reshape(2, 3)` or `x.reshape((2, 3))`."""
    return layout.reshape(self, shape[0] if len(shape) == 1 else shape)


def _transpose(self: Expr, *axes: Any) -> Expr:
    """`x.transpose()`, `x.transpose(1, 0)` or `x.transpose((1, 0))`."""
    order: Sequence[int] | None = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None
    return layout.transpose(self, order)


# --- NumPy's functions: np.tanh(x) is gs.tanh(x) --------------------------------------------------------------------

_NUMPY: dict[str, Callable[..., Expr]] = {
    name: getattr(module, name)
    for module in (
        arithmetic, contraction, creation, cumulative, einstein, elementary, floating, inverse_hyperbolic, layout,
        linear_algebra, logarithms, logic, manipulation, plane, reduction, rounding, selection, statistics,
    )
    for name in module.__all__
}  # fmt: skip
_OTHER_NAMES = {
    "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan", "arctan2": "atan2",
    "arctanh": "atanh", "bitwise_and": "logical_and", "bitwise_or": "logical_or", "bitwise_xor": "logical_xor",
    "invert": "logical_not", "fabs": "absolute", "rint": "round",
}  # fmt: skip


_LINALG: dict[str, Callable[..., Expr]] = {name: getattr(linalg, name) for name in linalg.__all__}


def _counterpart(
    name: str,
    arguments: Sequence[Any],
    options: Mapping[str, Any],
    functions: Mapping[str, Callable[..., Expr]] = _NUMPY,
) -> Expr:
    """The op that `np.name` means, on these arguments; `TraceError` where there is none, or not with these options."""
    function = functions.get(_OTHER_NAMES.get(name, name))
    if function is None:
        raise TraceError(f"np.{name} has no counterpart on traced values: compose it from gs.* functions")
    signature = inspect.signature(function)
    try:
        signature.bind(*arguments, **options)
    except TypeError as error:
        plain = signature.replace(
            parameters=[p.replace(annotation=p.empty) for p in signature.parameters.values()],
            return_annotation=signature.empty,
        )
        raise TraceError(f"np.{name} on traced values: {error}; it is gs.{function.__name__}{plain}") from None
    return function(*arguments, **options)


def _array_ufunc(self: Expr, ufunc: Any, method: str, *arguments: Any, **options: Any) -> Expr:
    if method != "__call__" or options:
        call = f"np.{ufunc.__name__}" + (f".{method}" if method != "__call__" else f"({', '.join(options)}=)")
        raise TraceError(f"{call} has no counterpart on traced values: compose it from gs.* functions")
    return _counterpart(ufunc.__name__, arguments, {})


def _array_function(self: Expr, function: Any, types: Any, arguments: Sequence[Any], options: Any) -> Expr:
    functions = _LINALG if function.__module__ == "numpy.linalg" else _NUMPY  # two differ: diagonal and trace
    return _counterpart(function.__name__, arguments, options, functions)


# --- all of it bound to the class -------------------------------------------------------------------------------------

for _name, _function in (_BINARY | _COMPARISONS).items():
    setattr(Expr, f"__{_name}__", _forward(_function))
for _name, _function in _BINARY.items():
    setattr(Expr, f"__r{_name}__", _reflected(_function))
for _name, _single in _UNARY.items():
    setattr(Expr, f"__{_name}__", _unary(_single))
for _name, _method in _METHODS.items():
    setattr(Expr, _name, _method)
_ATTRIBUTES: dict[str, Any] = {
    "__pos__": lambda self: self,
    "__getitem__": indexing.getitem,
    "reshape": _reshape,
    "transpose": _transpose,
    "T": property(layout.transpose),
    "mT": property(contraction.matrix_transpose),
    "__array_ufunc__": _array_ufunc,
    "__array_function__": _array_function,
}
for _name, _attribute in _ATTRIBUTES.items():
    setattr(Expr, _name, _attribute)
