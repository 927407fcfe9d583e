"""Short forms for the records of element-wise ops, and the cells that most targets share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..registry import Cell
from ..trace import Expr, as_expr, op
from ..types import BOOL, DType, Type, same_shape
from .lazy import gs

#: A function that traces an op. Records that refer to themselves in a derivative rule declare it for the type checker.
Traced = Callable[..., Expr]

__all__ = [
    "Traced",
    "both_widths",
    "cells",
    "condition",
    "dtype_option",
    "elementwise",
    "free",
    "function",
    "guarded",
    "infix",
    "integers_stay",
    "no_gradient",
    "numpy_name",
]


def elementwise(name: str, arity: int, **fields: Any) -> Callable[..., Expr]:
    """An op on equal shapes (tracing has broadcast already) whose result has the dtype of its (last) operand."""
    return op(name, arity=arity, kind="elementwise", infer=same_shape, **fields)


def condition(name: str, arity: int, **fields: Any) -> Callable[..., Expr]:
    """An element-wise op with a boolean result, through which no gradient flows."""
    return op(name, arity=arity, kind="elementwise", infer=_same_shape_bool, vjp=no_gradient, **fields)


def _same_shape_bool(*types: Type) -> Type:
    return Type(same_shape(*types).shape, BOOL)


def no_gradient(_g: Expr, _y: Expr, *xs: Expr, **_params: Any) -> tuple[None, ...]:
    """The derivative rule of a piecewise constant op: structurally no gradient, which is not a numeric zero."""
    return (None,) * len(xs)


def infix(text: str) -> dict[str, Cell]:
    """One operator notation for all targets."""
    return {"python": text, "numpy": text, "c": text}


def function(python: str, numpy: str | None = None, c: str | None = None) -> dict[str, Cell]:
    """Cells of a one-operand function: `math.python`, `np.numpy`, `c`, the same name unless given."""
    return {
        "python": f"math.{python}({{0}})",
        "numpy": f"np.{numpy or python}({{0}})",
        "c": f"{c or python}({{0}})",
    }


def guarded(
    name: str, overflow: str = "math.nan", domain: str = "math.nan", *, numpy: str | None = None
) -> dict[str, Any]:
    """Cells of `math.name`, with a Python twin that returns what IEEE says where `math` raises.

    `overflow` and `domain` are the twin's results on OverflowError and ValueError, in terms of `x`; "none" where `math`
    raises no ValueError.
    """
    cell, handlers = f"_{name}({{0}})", ""
    if overflow != "math.nan":
        handlers += f"    except OverflowError:\n        return {overflow}\n"
    if domain != "none":
        handlers += f"    except ValueError:\n        return {domain}\n"
    text = f"def _{name}(x):\n    try:\n        return math.{name}(x)\n{handlers}"
    return {"cells": function(name, numpy) | {"python.ieee": cell}, "support": {"python.ieee": text}}


def integers_stay(traced: Traced) -> Traced:
    """`traced`, a rounding to integers, which leaves those that are integers as they are (and booleans count)."""

    def call(x: Any) -> Expr:
        value = as_expr(x)
        if value.dtype.kind == "float":
            return traced(x)
        same: Expr = gs.copy(value if value.dtype.kind == "int" else value + 0)
        return same

    call.__name__ = call.__qualname__ = traced.__name__
    call.__doc__ = traced.__doc__
    call.op = traced.op  # type: ignore[attr-defined]
    return call


def cells(python: Cell, numpy: Cell, c: Cell) -> dict[str, Cell]:
    """Cells that differ by target."""
    return {"python": python, "numpy": numpy, "c": c}


def dtype_option(x: Type) -> str:
    """The `dtype=` that a NumPy call needs for arrays like `x`: none for float64, which is NumPy's default."""
    return "" if x.dtype == "float64" else f", dtype=np.{numpy_name(x.dtype)}"


def numpy_name(dtype: DType) -> str:
    """The name of NumPy's scalar type."""
    return "bool_" if dtype == BOOL else dtype.name


def free(*_: Any, **__: Any) -> dict[str, int]:
    """The cost of an op that moves values and computes none."""
    return {}


def both_widths(text: str) -> dict[str, str]:
    """C support text for both widths: `@real` is double or float, `@f` (`@F` in guards) ends the names of float."""
    return {
        "c": text.replace("@real", "double").replace("@f", "").replace("@F", ""),
        "c.float32": text.replace("@real", "float").replace("@f", "f").replace("@F", "F"),
    }
