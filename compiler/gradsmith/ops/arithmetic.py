"""Arithmetic: + - * / ** and their one-operand relatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError
from ..trace import Expr, as_expr
from ..types import BOOL
from ._declare import Traced, both_widths, cells, elementwise, infix
from ._vector import simd
from .elementary import log
from .lazy import gs
from .selection import equal, logical_and, where

_PYTHON_DIV = """\
def _div(x, y):
    if y != 0.0:
        return x / y
    if x == 0.0 or x != x:
        return math.nan
    return math.copysign(math.inf, x) * math.copysign(1.0, y)
"""
# Compilers know better: pow(2.0, x) becomes exp2(x), and pow(x, 2.0) a product.
_C_POW = """\
#ifndef GS_POW@F
#define GS_POW@F
static @real gs_pow@f(@real x, @real y)
{
    const volatile @real base = x;
    const volatile @real exponent = y;
    return pow@f(base, exponent);
}
#endif"""
_PYTHON_POW = """\
def _pow(x, y):
    try:
        return math.pow(x, y)
    except OverflowError:
        return -math.inf if x < 0.0 and math.fmod(y, 2.0) != 0.0 else math.inf
    except ValueError:  # 0**-1 or (-1)**0.5
        if x != 0.0:
            return math.nan
        return math.copysign(math.inf, x) if abs(math.fmod(y, 2.0)) == 1.0 else math.inf
"""

__all__ = [
    "abs",
    "absolute",
    "add",
    "divide",
    "multiply",
    "negative",
    "pow",
    "power",
    "reciprocal",
    "sign",
    "square",
    "subtract",
]

#: C's own sign has no meaning before the least integer, which what is no number becomes; NumPy's is that integer again.
_C_NEGATIVE = {"c.int64": "(int64_t)(0 - (uint64_t)({0}))", "c.int32": "(int32_t)(0 - (uint32_t)({0}))"}
_C_ABS = {name: f"{{0}} < 0 ? {text} : {{0}}" for name, text in _C_NEGATIVE.items()}

_PAIRS = [(0.7, 1.3), (-2.5, 0.4), (3.0, -1.5), (-0.3, -4.0)]
_PAIR_EDGES = [(0.0, 1.0), (-0.0, 2.0), (1e-300, 3.0), (1e300, 0.5), (np.inf, 2.0), (-np.inf, 1.0), (np.nan, 1.0)]
_ONES = [(0.7,), (-2.5,), (3.0,), (-0.3,)]
_ONE_EDGES = [(0.0,), (-0.0,), (1e-300,), (1e300,), (np.inf,), (-np.inf,), (np.nan,)]

add = elementwise(
    "add",
    2,
    takes="number",
    commutative=True,
    tame=True,
    doc="Sum of `x` and `y`, element by element.",
    symbol="+",
    slope="1 and 1",
    vjp=lambda g, y, a, b: (g, g),
    cells=infix("{0} + {1}") | {"c.reduction": "+"},
    evaluate=np.add,
    mp=lambda mp, a, b: a + b,
    sympy=lambda sp, a, b: a + b,
    torch="add",
    samples=_PAIRS,
    edges=_PAIR_EDGES,
)
subtract = elementwise(
    "sub",
    2,
    takes="number",
    tame=True,
    doc="Difference of `x` and `y`, element by element.",
    symbol="-",
    slope="1 and -1",
    vjp=lambda g, y, a, b: (g, -g),
    cells=infix("{0} - {1}"),
    evaluate=np.subtract,
    mp=lambda mp, a, b: a - b,
    sympy=lambda sp, a, b: a - b,
    torch="sub",
    samples=_PAIRS,
    edges=_PAIR_EDGES,
)
multiply = elementwise(
    "mul",
    2,
    takes="number",
    commutative=True,
    doc="Product of `x` and `y`, element by element.",
    symbol="×",
    slope="y and x",
    vjp=lambda g, y, a, b: (g * b, g * a),
    cells=infix("{0} * {1}") | {"c.reduction": "*"},
    evaluate=np.multiply,
    mp=lambda mp, a, b: a * b,
    sympy=lambda sp, a, b: a * b,
    torch="mul",
    samples=_PAIRS,
    edges=_PAIR_EDGES,
)


def _divide_vjp(g: Expr, y: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    ga = g / b
    return ga, -(ga * y)  # d(a/b)/db = -(a/b)/b; a/(b*b) would overflow beyond |b| = 1e154


divide = elementwise(
    "div",
    2,
    doc="Quotient of `x` and `y`, element by element; IEEE infinities and NaN where `y` is 0.",
    symbol="÷",
    slope="1/y and -(x/y)/y",
    vjp=_divide_vjp,
    cells=infix("{0} / {1}") | {"python.ieee": "_div({0}, {1})"},
    support={"python.ieee": _PYTHON_DIV},
    raises=lambda a, b: not b,
    evaluate=np.divide,
    mp=lambda mp, a, b: a / b,
    sympy=lambda sp, a, b: a / b,
    torch="div",
    samples=_PAIRS,
    edges=[*_PAIR_EDGES, (1.0, 0.0), (-1.0, 0.0), (0.0, 0.0), (1.0, np.inf)],
    edge_notes={"y = 0": "inf with the sign of x*y, or NaN for 0/0"},
)
negative = elementwise(
    "neg",
    1,
    takes="number",
    tame=True,
    doc="The value with its sign changed.",
    symbol="−",
    slope="-1",
    vjp=lambda g, y, x: (-g,),
    cells=infix("-{0}") | _C_NEGATIVE,
    evaluate=np.negative,
    mp=lambda mp, x: -x,
    sympy=lambda sp, x: -x,
    torch="neg",
    samples=_ONES,
    edges=_ONE_EDGES,
)
absolute = elementwise(
    "abs",
    1,
    takes="number",
    tame=True,
    doc="Absolute value.",
    symbol="abs",
    slope="sign(x)",
    flat=lambda y, x: equal(x, 0.0),
    vjp=lambda g, y, x: (g * sign(x),),
    cells=cells("abs({0})", "np.abs({0})", "fabs({0})") | _C_ABS,
    evaluate=np.abs,
    mp="fabs",
    sympy="Abs",
    torch="abs",
    samples=_ONES,
    edges=_ONE_EDGES,
    edge_notes={"x = 0": "slope 0, as torch"},
)
sign: Traced = elementwise(
    "sign",
    1,
    takes="number",
    tame=True,
    doc="-1, 0 or 1 by the sign of the value.",
    symbol="sign",
    slope="0",
    vjp=lambda g, y, x: (None,),
    cells=cells(
        "1.0 if {0} > 0.0 else -1.0 if {0} < 0.0 else {0}",
        "np.sign({0})",
        "{0} > 0.0 ? 1.0 : {0} < 0.0 ? -1.0 : {0}",
    )
    | {"python.int": "({0} > 0) - ({0} < 0)", "c.int": "({0} > 0) - ({0} < 0)"},
    evaluate=np.sign,
    mp="sign",
    sympy="sign",
    torch="sign",
    samples=_ONES,
    edges=[e for e in _ONE_EDGES if e[0] == e[0]],
    edge_notes={"x = 0": "value 0, slope 0"},
)


def _power_vjp(g: Expr, y: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr | None]:
    value = b.params["value"] if b.op.name == "constant" else 0.0
    if value.all() if isinstance(value, np.ndarray) else value:  # which is known not to be 0, and has no slope
        return g * (b * a ** (b - 1.0)), None
    base = where(equal(b, 0.0), 0.0, g * (b * a ** (b - 1.0)))  # the slope of x**0 is 0 also at x = 0
    exponent = where(logical_and(equal(a, 0.0), b >= 0.0), 0.0, g * (y * log(a)))
    return base, exponent


_power = elementwise(
    "pow",
    2,
    doc="`x` to the power `y`, element by element; NaN for a negative base with a fractional exponent.",
    symbol="^",
    slope="y*x^(y-1) and x^y*log(x)",
    domain="x > 0, or y an integer and x != 0, or x = 0 and y >= 0",
    vjp=_power_vjp,
    **simd(
        "pow",
        {
            "cells": cells("math.pow({0}, {1})", "{0}**{1}", "pow({0}, {1})")
            | {"python.ieee": "_pow({0}, {1})", "c.strict": "gs_pow({0}, {1})"},
            "support": {"python.ieee": _PYTHON_POW}
            | {key.replace("c", "c.strict"): text for key, text in both_widths(_C_POW).items()},
        },
        arity=2,
        libmvec=True,
    ),
    evaluate=np.power,
    mp=lambda mp, a, b: mp.power(a, b),
    sympy=lambda sp, a, b: a**b,
    torch="pow",
    samples=[(0.7, 1.3), (2.5, -0.4), (3.0, 2.0), (1.5, 0.5)],
    edges=[(2.0, 0.0), (0.0, 1.0), (0.0, 2.0), (0.0, 0.0), (1.0, np.inf), (4.0, -1.0), (-2.0, 3.0), (-2.0, 2.0)],
    edge_notes={"x**0": "value 1 and slope 0 for every x", "x = 0, y >= 0": "no gradient to y"},
)


def power(x1: Any, x2: Any, /) -> Expr:
    """`x1` to the power `x2`, element by element; NaN for a negative base with a fractional exponent.

    An integer to the power of an int is the integer that multiplications give. Integers as exponents of integers must
    be known while tracing and not negative: a fraction would be no integer.

    >>> import gradsmith as gs
    >>> gs.compile(gs.power(gs.symbol("n", (), "int64"), 3))(-2)
    -8
    """
    if isinstance(x1, Expr) and x1.dtype.kind == "float":  # as most are
        return _power(x1, x2)
    base, exponent = as_expr(x1), as_expr(x2)
    if base.dtype.kind == "float" or exponent.dtype.kind == "float":
        return _power(x1, x2)
    count = exponent.params.get("value") if exponent.shape == () else None
    if exponent.op.name != "constant" or count is None or count < 0:
        seen = f"of {exponent.type}" if count is None else count
        raise DTypeError(
            f"power: an integer to the power {seen} need not be an integer: convert the base by "
            "gs.astype(x, gs.float64), or give the exponent as an int that is not negative"
        )
    return _repeated_product(base + 0 if base.dtype == BOOL else base, int(count))


power.op = _power.op  # type: ignore[attr-defined]


def _repeated_product(x: Expr, count: int) -> Expr:
    """`x` to the power `count`, by squaring (Knuth, The Art of Computer Programming 2, 4.6.3)."""
    result: Expr | None = None
    while count:
        if count % 2:
            result = x if result is None else result * x
        count //= 2
        x = square(x) if count else x
    return gs.ones_like(x) if result is None else result


square = elementwise(
    "square",
    1,
    takes="number",
    doc="The value times itself.",
    symbol="²",
    slope="2*x",
    vjp=lambda g, y, x: (g * (2.0 * x),),
    cells=cells("{0} * {0}", "{0}**2", "{0} * {0}") | {"numpy.strict": "{0} * {0}"},
    evaluate=np.square,
    mp=lambda mp, x: x * x,
    sympy=lambda sp, x: x**2,
    torch="square",
    samples=_ONES,
    edges=_ONE_EDGES,
    cost=lambda y, *_: {"mul": y.size},
)
reciprocal = elementwise(
    "reciprocal",
    1,
    doc="One over the value.",
    symbol="1/x",
    slope="-(1/x)^2",
    vjp=lambda g, y, x: (-(g * y * y),),
    cells=infix("1.0 / {0}") | {"python.ieee": "_div(1.0, {0})"},
    support={"python.ieee": _PYTHON_DIV},
    evaluate=np.reciprocal,
    mp=lambda mp, x: 1 / x,
    sympy=lambda sp, x: 1 / x,
    torch="reciprocal",
    samples=_ONES,
    edges=_ONE_EDGES,
    cost=lambda y, *_: {"div": y.size},
    edge_notes={"x = 0": "inf with the sign of x, slope -inf"},
)

abs, pow = absolute, power  # the array API's names
