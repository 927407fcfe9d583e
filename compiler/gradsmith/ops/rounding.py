"""Rounding to integers, and the division that goes with it: ceil, trunc, round, floor_divide, remainder.

(`floor` is in `selection`.) Floats stay floats, and integers stay integers; between their jumps the results are
constant, so no gradient flows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..trace import Expr
from ..types import Type
from ._declare import Traced, both_widths, cells, elementwise, integers_stay, no_gradient

__all__ = ["ceil", "floor_divide", "remainder", "round", "trunc"]

_SAMPLES = [(0.7,), (-2.4,), (3.0,), (2.6,)]
_EDGES = [(0.0,), (-0.0,), (-0.3,), (0.5,), (-0.5,), (1.5,), (2.5,), (-3.5,), (np.inf,), (-np.inf,), (np.nan,),
          (1e300,), (4503599627370497.5,)]  # fmt: skip


def _rounding(name: str, python: str, numpy: str, c: str, evaluate: Any, torch: str, **fields: Any) -> Traced:
    cell = f"math.copysign({python}({{0}}), {{0}})"  # an int has no -0
    twin = f"def _{name}(x):\n    return math.copysign({python}(x), x) if math.isfinite(x) else x\n"
    rounded = elementwise(
        name,
        1,
        tame=True,
        symbol=name,
        slope="0",
        vjp=no_gradient,
        cells=cells(cell, f"np.{numpy}({{0}})", f"{c}({{0}})") | {"python.ieee": f"_{name}({{0}})"},
        support={"python.ieee": twin},
        evaluate=evaluate,
        torch=torch,
        samples=_SAMPLES,
        edges=_EDGES,
        **{"edge_notes": {"every x": "slope 0"}, **fields},
    )
    return integers_stay(rounded)


ceil = _rounding(
    "ceil", "math.ceil", "ceil", "ceil", np.ceil, "ceil", mp="ceil", sympy="ceiling",
    doc="The smallest integer not below the value, as a float; integers stay as they are.",
)  # fmt: skip
trunc = _rounding(
    "trunc", "math.trunc", "trunc", "trunc", np.trunc, "trunc",
    mp=lambda mp, x: mp.floor(x) if x >= 0 else mp.ceil(x), sympy=lambda sp, x: sp.sign(x) * sp.floor(sp.Abs(x)),
    doc="The value without its fraction: the nearest integer towards 0, as a float; integers stay as they are.",
)  # fmt: skip
round = _rounding(
    "round", "round", "round", "rint", np.round, "round", mp="nint",
    edge_notes={"every x": "slope 0", "x halfway": "the even neighbour"},
    doc="The nearest integer, as a float, and of two equally near ones the even one; integers stay as they are.",
)  # fmt: skip

_PAIRS = [(7.3, 2.5), (-7.3, 2.5), (7.3, -2.5), (-7.3, -2.5)]
_PAIR_EDGES = [(6.0, 2.0), (-6.0, 2.0), (0.0, 3.0), (0.0, -3.0), (0.3, 0.1), (1.0, 0.1), (1e300, 7.0), (5.0, 0.0),
               (-5.0, 0.0), (0.0, 0.0), (5.0, np.inf), (-5.0, np.inf), (np.inf, 2.0), (np.nan, 1.0)]  # fmt: skip

_PYTHON_REMAINDER = "def _remainder(x, y):\n    return x % y if y != 0.0 else math.nan\n"
_PYTHON_FLOOR_DIVIDE = """\
def _floor_divide(x, y):
    if y != 0.0:
        return x // y
    if x == 0.0 or x != x:
        return math.nan
    return math.copysign(math.inf, x) * math.copysign(1.0, y)
"""
# fmod is exact; its result has the sign of x, and moves by y where Python's rule asks for the sign of y.
_C_REMAINDER = """\
#ifndef GS_REMAINDER@F
#define GS_REMAINDER@F
static @real gs_remainder@f(@real x, @real y)
{
    const @real r = fmod@f(x, y);
    if (r == 0) {
        return copysign@f(0, y);
    }
    return (r < 0) != (y < 0) ? r + y : r;
}
#endif"""
# (x - fmod(x, y))/y is an integer up to the rounding of the quotient, which rint takes away.
_C_FLOOR_DIVIDE = """\
#ifndef GS_FLOOR_DIVIDE@F
#define GS_FLOOR_DIVIDE@F
static @real gs_floor_divide@f(@real x, @real y)
{
    const @real r = fmod@f(x, y);
    @real q = (x - r) / y;
    if (y == 0) {
        return x / y;
    }
    if (r != 0 && (r < 0) != (y < 0)) {
        q -= 1;
    }
    return q == 0 ? copysign@f(0, x / y) : rint@f(q);
}
#endif"""


# C's own division drops the fraction, and is undefined for a divisor of 0 and for the least number over -1.
_C_INT_REMAINDER = """\
#ifndef GS_REMAINDER_@T
#define GS_REMAINDER_@T
static @t gs_remainder_@t(@t x, @t y)
{
    const @t r = y == 0 || y == -1 ? 0 : x % y;
    return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}
#endif"""
_C_INT_FLOOR_DIVIDE = """\
#ifndef GS_FLOOR_DIVIDE_@T
#define GS_FLOOR_DIVIDE_@T
static @t gs_floor_divide_@t(@t x, @t y)
{
    if (y == 0) {
        return 0;
    }
    if (y == -1) {
        return x == @L ? x : -x;
    }
    return x / y - (x % y != 0 && (x < 0) != (y < 0) ? 1 : 0);
}
#endif"""


def _both_integers(text: str) -> dict[str, str]:
    """The support text for int64 and int32."""
    return {
        f"c.{dtype}": text.replace("@T", c.upper()).replace("@t", c).replace("@L", least)
        for dtype, c, least in (("int64", "int64_t", "INT64_MIN"), ("int32", "int32_t", "INT32_MIN"))
    }


def _integer_cells(name: str, operator: str) -> dict[str, Any]:
    cells = {f"c.{dtype}": f"gs_{name}_{dtype}_t({{0}}, {{1}})" for dtype in ("int64", "int32")}
    return cells | {"python.ieee": lambda a, p, t: _ieee(name, operator, a, t)}


def _ieee(name: str, operator: str, args: Sequence[str], types: Sequence[Type]) -> str:
    """Python's twin: division by 0 gives NaN or an infinity, and 0 between integers, as NumPy has it."""
    if types[0].dtype.kind == "int":
        return f"({args[0]} {operator} {args[1]} if {args[1]} != 0 else 0)"
    return f"_{name}({args[0]}, {args[1]})"


def _remainder_vjp(g: Expr, y: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
    return g, -(g * floor_divide(a, b))


remainder = elementwise(
    "remainder",
    2,
    doc="What is left of `x` after `floor_divide(x, y)` times `y`; it has the sign of `y`, as Python's `%`.",
    symbol="mod",
    slope="1 and -floor_divide(x, y)",
    domain="y != 0",
    vjp=_remainder_vjp,
    cells=cells("{0} % {1}", "np.remainder({0}, {1})", "gs_remainder({0}, {1})") | _integer_cells("remainder", "%"),
    takes="number",
    support={"python.ieee": _PYTHON_REMAINDER} | both_widths(_C_REMAINDER) | _both_integers(_C_INT_REMAINDER),
    raises=lambda a, b: not b,
    evaluate=np.remainder,
    mp=lambda mp, a, b: a % b,
    sympy="Mod",
    torch="remainder",
    samples=_PAIRS,
    edges=_PAIR_EDGES,
    edge_notes={
        "x a multiple of y": "0, with the slopes of the right side",
        "y = 0": "NaN",
        "y infinite": "x, or y where the signs differ",
    },
)
floor_divide: Traced = elementwise(
    "floor_divide",
    2,
    doc="The largest integer not above `x / y`, as Python's `//`.",
    symbol="//",
    slope="0 and 0",
    vjp=no_gradient,
    cells=cells("{0} // {1}", "np.floor_divide({0}, {1})", "gs_floor_divide({0}, {1})")
    | _integer_cells("floor_divide", "//"),
    takes="number",
    support={"python.ieee": _PYTHON_FLOOR_DIVIDE} | both_widths(_C_FLOOR_DIVIDE) | _both_integers(_C_INT_FLOOR_DIVIDE),
    raises=lambda a, b: not b,
    evaluate=np.floor_divide,
    mp=lambda mp, a, b: mp.floor(a / b),
    sympy=lambda sp, a, b: sp.floor(a / b),
    torch=lambda torch, a, b: torch.div(a, b, rounding_mode="floor"),
    samples=_PAIRS,
    edges=_PAIR_EDGES,
    edge_notes={"y = 0": "inf with the sign of x*y, or NaN for 0/0", "every x, y": "slope 0"},
)
