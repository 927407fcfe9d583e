"""What a floating-point number is made of: its sign, its neighbours, whether it is finite."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..trace import Expr, as_expr
from ._declare import Traced, cells, condition, elementwise
from .arithmetic import sign

__all__ = ["copysign", "isfinite", "isinf", "isnan", "nextafter", "positive", "signbit"]

_ONES = [(0.7,), (-2.5,)]
_EDGES = [(0.0,), (-0.0,), (1e-310,), (np.inf,), (-np.inf,), (np.nan,)]


def _test(name: str, doc: str, mp: Any, of_reals: bool = False) -> Traced:
    """A question that math, NumPy and C answer under one name (C's are macros for every width), and all reals alike."""
    return condition(
        name,
        1,
        takes="float",
        doc=doc,
        symbol=name,
        cells=cells(f"math.{name}({{0}})", f"np.{name}({{0}})", f"{name}({{0}}) != 0"),
        evaluate=getattr(np, name),
        mp=mp,
        sympy=lambda sp, x: sp.true if of_reals else sp.false,
        torch=name,
        samples=_ONES,
        edges=_EDGES,
        cost=lambda y, *_: {"compare": y.size},
    )


isnan = _test("isnan", "Where the value is NaN, as booleans.", lambda mp, x: bool(mp.isnan(x)))
isinf = _test("isinf", "Where the value is inf or -inf, as booleans.", lambda mp, x: bool(mp.isinf(x)))
isfinite = _test(
    "isfinite",
    "Where the value is neither infinite nor NaN, as booleans.",
    lambda mp, x: bool(mp.isfinite(x)),
    of_reals=True,
)
signbit = condition(
    "signbit",
    1,
    takes="float",
    doc="Where the value is negative, -0.0 included, as booleans.",
    symbol="signbit",
    cells=cells("math.copysign(1.0, {0}) < 0.0", "np.signbit({0})", "signbit({0}) != 0"),
    evaluate=np.signbit,
    mp=lambda mp, x: bool(x < 0),
    sympy=lambda sp, x: x < 0,
    torch="signbit",
    samples=_ONES,
    edges=_EDGES,
    cost=lambda y, *_: {"compare": y.size},
)
copysign: Traced = elementwise(
    "copysign",
    2,
    tame=True,
    doc="The magnitude of `x` with the sign of `y`, element by element.",
    symbol="copysign",
    slope="sign(x)*copysign(1, y) and 0",
    vjp=lambda g, y, a, b: (g * (sign(a) * copysign(1.0, b)), None),
    cells=cells("math.copysign({0}, {1})", "np.copysign({0}, {1})", "copysign({0}, {1})"),
    evaluate=np.copysign,
    mp=lambda mp, a, b: abs(a) if b >= 0 else -abs(a),
    sympy=lambda sp, a, b: sp.Piecewise((sp.Abs(a), b >= 0), (-sp.Abs(a), True)),
    torch=lambda torch, x, y: x * (torch.sign(x) * torch.copysign(torch.ones_like(x), y)).detach(),
    samples=[(0.7, 1.3), (-2.5, 0.4), (3.0, -1.5), (-0.3, -4.0)],
    edges=[(0.0, 1.0), (-0.0, -1.0), (2.0, -0.0), (-2.0, 0.0), (np.inf, -1.0), (-1.0, np.inf)],
    edge_notes={"y = 0": "the sign bit counts: y = -0 is negative", "x = 0": "slope 0, as torch"},
)
nextafter = elementwise(
    "nextafter",
    2,
    tame=True,
    doc="The next number after `x` in the direction of `y`.",
    symbol="nextafter",
    slope="1 and 0",
    vjp=lambda g, y, a, b: (g, None),
    cells=cells("math.nextafter({0}, {1})", "np.nextafter({0}, {1})", "nextafter({0}, {1})"),
    evaluate=np.nextafter,
    mp=lambda mp, a, b: a + (mp.mpf(np.nextafter(float(a), float(b))) - mp.mpf(float(a))),  # the slope is 1
    torch=lambda torch, x, y: torch.nextafter(x.detach(), y.detach()) + (x - x.detach()),
    samples=[(0.7, 1.3), (2.5, 0.4), (-3.0, -1.5), (0.3, -4.0)],
    edges=[(0.0, 1.0), (0.0, -1.0), (1.0, 1.0), (1.0, np.inf), (-1.0, 0.0), (1e-310, 0.0), (1.0, np.nan)],
)


def positive(x: Any) -> Expr:
    """`+x`: the value itself.

    >>> import gradsmith as gs
    >>> x = gs.symbol("x")
    >>> gs.positive(x) is x
    True
    """
    return as_expr(x)
