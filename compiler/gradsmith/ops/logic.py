"""Logic over axes and between booleans: all, any, count_nonzero, bitwise_*. (logical_* are in `selection`.)"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..registry import Params
from ..trace import Expr, as_expr, op
from ..types import BOOL, Type, normalize_axes
from ._declare import Traced, no_gradient
from .reduction import _count, _infer, _options, sum
from .selection import equal, logical_and, logical_not, logical_or, logical_xor, not_equal, where

__all__ = ["all", "any", "bitwise_and", "bitwise_invert", "bitwise_or", "bitwise_xor", "count_nonzero"]

Axes = tuple[int, ...]


def _quantifier(name: str, function: Any, expand: Callable[..., Expr], doc: str) -> Traced:
    """The record of a reduction of booleans, which targets without a cell count."""

    def cell(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
        return f"np.{name}({', '.join([args[0], *_options(params, types[0])])})"

    matrix = np.array([[0.3, 0.0, 2.0], [0.9, 0.0, -0.7]])
    return op(
        name, arity=1, kind="composite", takes="bool", expand=expand, vjp=no_gradient, cells={"numpy": cell},
        infer=lambda x, axis, keepdims: Type(_infer(x, axis, keepdims).shape, BOOL),
        evaluate=lambda x, axis, keepdims: function(x, axis=axis, keepdims=keepdims),
        torch=lambda torch, x, axis, keepdims: getattr(torch, name)(x, dim=axis, keepdim=keepdims) if axis else x,
        cost=lambda y, x, **_: {"compare": x.size},
        symbol=name, slope="0", doc=doc,
        samples=[
            (matrix, {"axis": (0, 1), "keepdims": False}),
            (matrix, {"axis": (1,), "keepdims": True}),
            (matrix, {"axis": (0,), "keepdims": False}),
        ],
    )  # fmt: skip


_all = _quantifier(
    "all",
    np.all,
    lambda x, axis, keepdims: equal(sum(where(x, 1.0, 0.0), axis, keepdims), float(_count(x, axis))),
    "Whether all elements hold, over axes.",
)
_any = _quantifier(
    "any",
    np.any,
    lambda x, axis, keepdims: not_equal(sum(where(x, 1.0, 0.0), axis, keepdims), 0.0),
    "Whether at least one element holds, over axes.",
)


def all(x: Any, /, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Expr:
    """Whether all elements hold (are not 0), as booleans; True for no elements.

    `axis`: an int, several, or None for all. `keepdims`: keep reduced axes with size 1.

    >>> import gradsmith as gs
    >>> x = gs.symbol("x", 2)
    >>> gs.compile(gs.where(gs.all(x > 0.0), gs.sum(x), 0.0)).value_and_grad([1.0, 2.0])
    (3.0, [1.0, 1.0])
    """
    x = as_expr(x)
    return _all(x, axis=normalize_axes(axis, x.ndim, "all"), keepdims=bool(keepdims))


def any(x: Any, /, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Expr:
    """Whether at least one element holds (is not 0), as booleans; False for no elements.

    `axis`: an int, several, or None for all. `keepdims`: keep reduced axes with size 1.

    >>> import gradsmith as gs
    >>> x = gs.symbol("x", 2)
    >>> gs.compile(gs.where(gs.any(x > 1.5), gs.sum(x), 0.0))([1.0, 2.0])
    3.0
    """
    x = as_expr(x)
    return _any(x, axis=normalize_axes(axis, x.ndim, "any"), keepdims=bool(keepdims))


def count_nonzero(x: Any, /, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Expr:
    """How many elements hold (are not 0). No gradient flows.

    `axis`: an int, several, or None for all. `keepdims`: keep reduced axes with size 1.

    >>> import gradsmith as gs
    >>> gs.compile(gs.count_nonzero(gs.symbol("x", 3)))([1.0, 0.0, -2.0])
    2.0
    """
    return sum(where(as_expr(x), 1.0, 0.0), axis, keepdims)


def _of_booleans(name: str, function: Callable[..., Expr], *xs: Any) -> Expr:
    operands = [as_expr(x) for x in xs]
    for x in operands:
        if x.type.dtype.kind != "bool":
            raise ShapeError(f"{name}: takes booleans, not {x.type}: compare first, such as x != 0.0")
    return function(*operands)


def bitwise_and(x1: Any, x2: Any, /) -> Expr:
    """Where both hold, of booleans.

    >>> import gradsmith as gs
    >>> x = gs.symbol("x")
    >>> gs.bitwise_and(x > 0.0, x < 1.0)
    <gs.Expr logical_and: bool>
    """
    return _of_booleans("bitwise_and", logical_and, x1, x2)


def bitwise_or(x1: Any, x2: Any, /) -> Expr:
    """Where at least one holds, of booleans.

    >>> import gradsmith as gs
    >>> x = gs.symbol("x")
    >>> gs.bitwise_or(x < 0.0, x > 1.0)
    <gs.Expr logical_or: bool>
    """
    return _of_booleans("bitwise_or", logical_or, x1, x2)


def bitwise_xor(x1: Any, x2: Any, /) -> Expr:
    """Where exactly one holds, of booleans.

    >>> import gradsmith as gs
    >>> x = gs.symbol("x")
    >>> gs.bitwise_xor(x > 0.0, x > 1.0)
    <gs.Expr logical_xor: bool>
    """
    return _of_booleans("bitwise_xor", logical_xor, x1, x2)


def bitwise_invert(x: Any, /) -> Expr:
    """Where it does not hold, of booleans.

    >>> import gradsmith as gs
    >>> gs.bitwise_invert(gs.symbol("x") > 0.0)
    <gs.Expr logical_not: bool>
    """
    return _of_booleans("bitwise_invert", logical_not, x)
