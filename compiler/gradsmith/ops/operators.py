"""Python's operators and the array attributes on `Expr`, bound to the ops they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..trace import Expr
from . import arithmetic, contraction, layout, reduction, selection


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
    "__getitem__": layout.getitem,
    "reshape": _reshape,
    "transpose": _transpose,
    "T": property(layout.transpose),
    "mT": property(contraction.matrix_transpose),
}
for _name, _attribute in _ATTRIBUTES.items():
    setattr(Expr, _name, _attribute)
