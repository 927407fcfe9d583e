"""Python's operators, the array attributes and NumPy's functions on `Expr`, bound to the ops they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..trace import Expr
from . import arithmetic, contraction, conversion, layout, logic, memory, namespace, rounding, selection
from .dispatch import array_function, array_ufunc, called
from .lazy import counterpart
from .masked import Masked, elementwise
from .numpy_functions import DELEGATED, METHODS

_BINARY: dict[str, Callable[[Any, Any], Expr]] = {
    "add": arithmetic.add,
    "sub": arithmetic.subtract,
    "mul": arithmetic.multiply,
    "truediv": arithmetic.divide,
    "pow": arithmetic.power,
    "matmul": contraction.matmul,
    "floordiv": rounding.floor_divide,
    "mod": rounding.remainder,
    "and": logic.bitwise_and,
    "or": logic.bitwise_or,
    "xor": logic.bitwise_xor,
    "lshift": logic.bitwise_left_shift,
    "rshift": logic.bitwise_right_shift,
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
    "invert": logic.bitwise_invert,
}


def _reflected(function: Callable[[Any, Any], Expr]) -> Callable[[Expr, Any], Any]:
    def operator(self: Expr, other: Any) -> Any:
        if function is arithmetic.add and type(other) is int and other == 0:
            return memory.fresh(self)  # the start of Python's own sum(); an int 0 has no sign that could matter
        return function(other, self)

    return operator


def _reshape(self: Expr, *shape: Any) -> Expr:
    """`x.reshape(2, 3)` or `x.reshape((2, 3))`."""
    return layout.reshape(self, shape[0] if len(shape) == 1 else shape)


def _transpose(self: Expr, *axes: Any) -> Expr:
    """`x.transpose()`, `x.transpose(1, 0)` or `x.transpose((1, 0))`."""
    order: Sequence[int] | None = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None
    return layout.transpose(self, order)


def _round(self: Expr, ndigits: int | None = None) -> Any:
    """`round(x)` and `round(x, 2)`: traced, so a float stays one."""
    return METHODS["round"](self, 0 if ndigits is None else ndigits)


def _delegated(name: str) -> Callable[..., Any]:
    def method(self: Expr, *arguments: Any, **options: Any) -> Any:
        function = counterpart(name)
        if function is None:
            raise AttributeError(f"a traced value has no method {name!r}")
        return called(name, function)(self, *arguments, **options)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"`gs.{name}` of this array."
    return method


# --- all of it bound to the class -------------------------------------------------------------------------------------

for _name, _function in (_BINARY | _COMPARISONS).items():
    setattr(Expr, f"__{_name}__", _function)
    setattr(Masked, f"__{_name}__", elementwise(_function))
for _name, _function in _BINARY.items():
    setattr(Expr, f"__r{_name}__", _reflected(_function))
    setattr(Expr, f"__i{_name}__", memory.in_place(_function))
    setattr(Masked, f"__r{_name}__", _reflected(elementwise(_function)))
for _name, _single in _UNARY.items():
    setattr(Expr, f"__{_name}__", _single)
    setattr(Masked, f"__{_name}__", elementwise(_single))
for _name, _method in METHODS.items():
    setattr(Expr, _name, called(_name, _method))
for _name in ("sum", "mean", "prod", "max", "min"):
    setattr(Masked, _name, called(_name, METHODS[_name]))
for _name in DELEGATED:
    setattr(Expr, _name, _delegated(_name))
_ATTRIBUTES: dict[str, Any] = {
    "__pos__": memory.fresh,
    "__getitem__": memory.getitem,
    "__setitem__": memory.setitem,
    "__copy__": memory.copy,
    "__round__": _round,
    "__deepcopy__": lambda self, _: memory.copy(self),
    "__array_ufunc__": array_ufunc,
    "__array_function__": array_function,
    "__array_namespace__": namespace.namespace_of,
    "at": property(memory.At),
    "device": property(lambda self: "cpu"),
    "to_device": namespace.to_device,
    "present": memory.present,
    "reshape": _reshape,
    "astype": conversion.astype,
    "transpose": _transpose,
    "T": property(layout.transpose),
    "mT": property(contraction.matrix_transpose),
    "flat": property(layout.ravel),
    "real": property(lambda self: self),
}
for _name, _attribute in _ATTRIBUTES.items():
    setattr(Expr, _name, _attribute)
for _name in ("__array_ufunc__", "__array_function__"):
    setattr(Masked, _name, _ATTRIBUTES[_name])
