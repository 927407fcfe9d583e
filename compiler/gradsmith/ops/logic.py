"""Logic over axes and between booleans: all, any, count_nonzero, bitwise_*. (logical_* are in `selection`.)"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..registry import Params
from ..trace import Expr, as_expr, op
from ..types import BOOL, INT32, INT64, Type, normalize_axes
from ._batch import lifted
from ._declare import Traced, infix, no_gradient
from .reduction import _count, _infer, _options, sum
from .selection import equal, logical_and, logical_not, logical_or, logical_xor, not_equal

__all__ = [
    "all", "any", "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift",
    "bitwise_xor", "count_nonzero",
]  # fmt: skip

Axes = tuple[int, ...]


def _quantifier(name: str, function: Any, expand: Callable[..., Expr], doc: str) -> Traced:
    """The record of a reduction of booleans, which targets without a cell count."""

    def cell(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
        return f"np.{name}({', '.join([args[0], *_options(params, types[0])])})"

    matrix = np.array([[0.3, 0.0, 2.0], [0.9, 0.0, -0.7]])
    return op(
        name, arity=1, kind="composite", takes="bool", expand=expand, vjp=no_gradient, batch=lifted,
        cells={"numpy": cell},
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
    lambda x, axis, keepdims: equal(sum(x, axis, keepdims), _count(x, axis)),
    "Whether all elements hold, over axes.",
)
_any = _quantifier(
    "any",
    np.any,
    lambda x, axis, keepdims: not_equal(sum(x, axis, keepdims), 0),
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
    2
    """
    return sum(not_equal(x, 0), axis, keepdims)


def _bitwise(name: str, symbol: str, logical: Callable[..., Expr], words: str, arity: int) -> Callable[..., Expr]:
    """The record for integers, and the public function, which takes booleans as well."""
    function = getattr(np, {"bitwise_invert": "invert"}.get(name, name))
    cell = f"{{0}} {symbol} {{1}}" if arity == 2 else f"{symbol}{{0}}"
    record = op(
        name,
        arity=arity,
        kind="elementwise",
        takes="integers",
        commutative=arity == 2,
        infer=lambda *types: types[0],
        vjp=no_gradient,
        cells=infix(cell) | {"c": cell.replace("{0}", "({0})").replace("{1}", "({1})")},  # as C's compilers ask for
        evaluate=function,
        mp=lambda mp, *xs: int(function(*(np.int64(x) for x in xs))),
        torch=name.replace("invert", "not"),
        symbol=symbol,
        slope="none: integers",
        samples=[tuple(np.array([12, -7, 5])[k:][:2] for k in range(arity))],
        doc=f"{words}, bit by bit.",
    )

    def call(*xs: Any) -> Expr:
        operands = [as_expr(x) for x in xs]
        if builtins.all(x.dtype == BOOL for x in operands):
            return logical(*operands)
        return record(*operands)

    return call


_and = _bitwise("bitwise_and", "&", logical_and, "Where both hold", 2)
_or = _bitwise("bitwise_or", "|", logical_or, "Where at least one holds", 2)
_xor = _bitwise("bitwise_xor", "^", logical_xor, "Where exactly one holds", 2)
_invert = _bitwise("bitwise_invert", "~", logical_not, "Where it does not hold", 1)


def bitwise_and(x1: Any, x2: Any, /) -> Expr:
    """Where both hold: of booleans, or bit by bit of integers.

    >>> import gradsmith as gs
    >>> gs.compile(gs.bitwise_and(gs.symbol("n", (), "int64"), 6))(12)
    4
    """
    return _and(x1, x2)


def bitwise_or(x1: Any, x2: Any, /) -> Expr:
    """Where at least one holds: of booleans, or bit by bit of integers.

    >>> import gradsmith as gs
    >>> gs.compile(gs.bitwise_or(gs.symbol("n", (), "int64"), 1))(12)
    13
    """
    return _or(x1, x2)


def bitwise_xor(x1: Any, x2: Any, /) -> Expr:
    """Where exactly one holds: of booleans, or bit by bit of integers.

    >>> import gradsmith as gs
    >>> gs.compile(gs.bitwise_xor(gs.symbol("n", (), "int64"), 6))(12)
    10
    """
    return _xor(x1, x2)


def bitwise_invert(x: Any, /) -> Expr:
    """Where it does not hold: of booleans, or bit by bit of integers.

    >>> import gradsmith as gs
    >>> gs.compile(gs.bitwise_invert(gs.symbol("n", (), "int64")))(12)
    -13
    """
    return _invert(x)


# C leaves shifts by negative counts, shifts by the width or more, and left shifts of negative numbers undefined.
_C_SHIFT = """\
#ifndef GS_@NAME_@T
#define GS_@NAME_@T
static @t gs_@name_@t(@t x, @t count)
{
    return count < 0 || count >= @bits ? @beyond : @shifted;
}
#endif"""


def _shift(name: str, operator: str, beyond: str, shifted: str, doc: str) -> Traced:
    """The record of a shift; `beyond` is the result for counts that reach beyond the width."""
    support = {}
    for key, dtype in (("c", INT64), ("c.int32", INT32)):
        text = _C_SHIFT.replace("@NAME", name.upper()).replace("@name", name).replace("@bits", str(dtype.bits))
        text = text.replace("@beyond", beyond).replace("@shifted", shifted)
        support[key] = text.replace("@T", f"{dtype.name}_T".upper()).replace("@t", f"{dtype.name}_t")
    function = getattr(np, name)
    return op(
        f"bitwise_{name}",
        arity=2,
        kind="elementwise",
        takes="integers",
        infer=lambda x, count: x,
        vjp=no_gradient,
        cells={
            "python": f"{{0}} {operator} {{1}}",
            "numpy": f"np.{name}({{0}}, {{1}})",
            "c": f"gs_{name}_int64_t({{0}}, {{1}})",
            "c.int32": f"gs_{name}_int32_t({{0}}, {{1}})",
        },
        support=support,
        evaluate=function,
        mp=lambda mp, x, count: int(function(np.int64(x), np.int64(count))),
        torch=f"bitwise_{name}",
        symbol=operator,
        slope="none: integers",
        samples=[(np.array([12, -7, 5]), np.array([3, 1, 0]))],
        doc=doc,
    )


_left_shift = _shift(
    "left_shift", "<<", "0", "(@t)((u@t)x << count)",
    "The bits of `x` moved up by `y` places, which are not negative; zeros come in below.",
)  # fmt: skip
_right_shift = _shift(
    "right_shift", ">>", "-(x < 0)", "x < 0 ? ~(~x >> count) : x >> count",
    "The bits of `x` moved down by `y` places, which are not negative; the sign comes in above.",
)  # fmt: skip


def bitwise_left_shift(x1: Any, x2: Any, /) -> Expr:
    """The bits of the integers `x1` moved up by `x2` places: `x1 * 2**x2`.

    >>> import gradsmith as gs
    >>> gs.compile(gs.bitwise_left_shift(gs.symbol("n", (), "int64"), 3))(5)
    40
    """
    return _left_shift(x1, x2)


def bitwise_right_shift(x1: Any, x2: Any, /) -> Expr:
    """The bits of the integers `x1` moved down by `x2` places: `x1 // 2**x2`.

    >>> import gradsmith as gs
    >>> gs.compile(gs.bitwise_right_shift(gs.symbol("n", (), "int64"), 1))(-5)
    -3
    """
    return _right_shift(x1, x2)
