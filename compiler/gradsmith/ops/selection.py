"""Comparisons, logic, and the choices made with them: where, minimum, maximum, clip, floor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..registry import Params
from ..trace import Expr, as_expr
from ..types import Type
from ._declare import Traced, cells, condition, elementwise, infix, integers_stay, no_gradient, numpy_name

__all__ = [
    "clip", "equal", "floor", "greater", "greater_equal", "less", "less_equal", "logical_and", "logical_not",
    "logical_or", "logical_xor", "maximum", "minimum", "not_equal", "where",
]  # fmt: skip

_PAIRS = [(0.7, 1.3), (2.5, 0.4), (-1.0, -1.5), (-0.3, 4.0)]
_TIES = [(1.0, 1.0), (0.0, 0.0), (-2.0, -2.0), (np.inf, 1.0), (1.0, -np.inf)]


def _comparison(name: str, operator: str, words: str, evaluate: Any, torch: str, sympy: str) -> Any:
    return condition(
        name,
        2,
        takes="same",
        doc=f"Where `x` {words} `y`, as booleans.",
        symbol=operator,
        cells=infix(f"{{0}} {operator} {{1}}"),
        evaluate=evaluate,
        mp=lambda mp, a, b: bool(evaluate(a, b)),
        sympy=sympy,
        torch=torch,
        samples=_PAIRS,
        edges=[*_TIES, (np.nan, 1.0)],
        cost=lambda y, *_: {"compare": y.size},
    )


less = _comparison("less", "<", "is less than", np.less, "lt", "Lt")
less_equal = _comparison("less_equal", "<=", "is at most", np.less_equal, "le", "Le")
greater = _comparison("greater", ">", "is greater than", np.greater, "gt", "Gt")
greater_equal = _comparison("greater_equal", ">=", "is at least", np.greater_equal, "ge", "Ge")
equal = _comparison("equal", "==", "equals", np.equal, "eq", "Eq")
not_equal = _comparison("not_equal", "!=", "differs from", np.not_equal, "ne", "Ne")

_LOGIC = [(True, True), (True, False), (False, True), (False, False)]
logical_and = condition(
    "logical_and",
    2,
    takes="bool",
    commutative=True,
    doc="Where both hold.",
    symbol="and",
    cells=cells("{0} and {1}", "{0} & {1}", "{0} && {1}"),
    evaluate=np.logical_and,
    mp=lambda mp, a, b: a and b,
    sympy="And",
    torch="logical_and",
    samples=_LOGIC,
    cost=lambda y, *_: {"compare": y.size},
)
logical_or = condition(
    "logical_or",
    2,
    takes="bool",
    commutative=True,
    doc="Where at least one holds.",
    symbol="or",
    cells=cells("{0} or {1}", "{0} | {1}", "{0} || {1}"),
    evaluate=np.logical_or,
    mp=lambda mp, a, b: a or b,
    sympy="Or",
    torch="logical_or",
    samples=_LOGIC,
    cost=lambda y, *_: {"compare": y.size},
)
logical_xor = condition(
    "logical_xor",
    2,
    takes="bool",
    commutative=True,
    doc="Where exactly one holds.",
    symbol="xor",
    cells=cells("{0} != {1}", "{0} ^ {1}", "{0} != {1}"),
    evaluate=np.logical_xor,
    mp=lambda mp, a, b: a != b,
    sympy="Xor",
    torch="logical_xor",
    samples=_LOGIC,
    cost=lambda y, *_: {"compare": y.size},
)
logical_not = condition(
    "logical_not",
    1,
    takes="bool",
    doc="Where it does not hold.",
    symbol="not",
    cells=cells("not {0}", "~{0}", "!{0}"),
    evaluate=np.logical_not,
    mp=lambda mp, a: not a,
    sympy="Not",
    torch="logical_not",
    samples=[(True,), (False,)],
    cost=lambda y, *_: {"compare": y.size},
)


def _where_numpy(args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
    c, x, y = args
    return f"np.where({c}, {x}, {y})" if types[0].shape else f"np.{numpy_name(types[1].dtype)}({x} if {c} else {y})"


where: Traced = elementwise(
    "where",
    3,
    tame=True,
    choice=True,
    takes=("bool", "same", "same"),
    symbol="where",
    slope="the chosen side passes it on",
    operands="condition x y",
    doc="`x` where the condition holds and `y` elsewhere: `where(condition, x, y)`.",
    vjp=lambda g, y, c, a, b: (None, where(c, g, 0.0), where(c, 0.0, g)),
    cells=cells("{1} if {0} else {2}", _where_numpy, "{0} ? {1} : {2}"),
    evaluate=np.where,
    mp=lambda mp, c, a, b: a if c else b,
    sympy=lambda sp, c, a, b: sp.Piecewise((a, c), (b, True)),
    torch="where",
    samples=[(True, 0.7, 1.3), (False, 2.5, 0.4)],
    cost=lambda y, *_: {"select": y.size},
)


def _half_at_ties(loses: Any) -> Any:
    def vjp(g: Expr, y: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr]:
        share = where(equal(a, b), 0.5 * g, g)  # NaN neither ties nor loses, and passes everything, as in torch
        return where(loses(a, b), 0.0, share), where(loses(b, a), 0.0, share)

    return vjp


minimum = elementwise(
    "minimum",
    2,
    takes="number",
    tame=True,
    doc="The smaller of `x` and `y`, element by element; NaN if either is NaN.",
    symbol="min",
    slope="1 for the smaller, 1/2 each at a tie",
    vjp=_half_at_ties(greater),
    cells=cells(
        "{0} if {0} < {1} or {0} != {0} else {1}",
        "np.minimum({0}, {1})",
        "{0} < {1} || {0} != {0} ? {0} : {1}",
    )
    | {
        "python.int": "{0} if {0} < {1} else {1}",
        "c.int": "{0} < {1} ? {0} : {1}",
        "c.reduction": "gs_min",
        "c.reduction.float32": "gs_minf",
        "numpy.strict": "np.where(({0} < {1}) | ({0} != {0}), {0}, {1})[()]",
    },
    evaluate=np.minimum,
    mp=lambda mp, a, b: min(a, b),
    sympy="Min",
    torch="minimum",
    samples=_PAIRS,
    edges=[*_TIES, (np.nan, 1.0), (1.0, np.nan)],
    edge_notes={"x = y": "each gets half of the gradient, as torch"},
    cost=lambda y, *_: {"select": y.size},
)
maximum = elementwise(
    "maximum",
    2,
    takes="number",
    tame=True,
    doc="The larger of `x` and `y`, element by element; NaN if either is NaN.",
    symbol="max",
    slope="1 for the larger, 1/2 each at a tie",
    vjp=_half_at_ties(less),
    cells=cells(
        "{0} if {0} > {1} or {0} != {0} else {1}",
        "np.maximum({0}, {1})",
        "{0} > {1} || {0} != {0} ? {0} : {1}",
    )
    | {
        "python.int": "{0} if {0} > {1} else {1}",
        "c.int": "{0} > {1} ? {0} : {1}",
        "c.reduction": "gs_max",
        "c.reduction.float32": "gs_maxf",
        "numpy.strict": "np.where(({0} > {1}) | ({0} != {0}), {0}, {1})[()]",
    },
    evaluate=np.maximum,
    mp=lambda mp, a, b: max(a, b),
    sympy="Max",
    torch="maximum",
    samples=_PAIRS,
    edges=[*_TIES, (np.nan, 1.0), (1.0, np.nan)],
    edge_notes={"x = y": "each gets half of the gradient, as torch"},
    cost=lambda y, *_: {"select": y.size},
)


def _clip_vjp(g: Expr, y: Expr, x: Expr, low: Expr, high: Expr) -> tuple[Expr, Expr, Expr]:
    return (
        where(logical_and(greater_equal(x, low), less_equal(x, high)), g, 0.0),
        where(logical_and(less(x, low), less(low, high)), g, 0.0),
        where(logical_or(greater(x, high), less(high, low)), g, 0.0),
    )


_clip = elementwise(
    "clip",
    3,
    takes="number",
    tame=True,
    symbol="clip",
    slope="1 within the bounds, 0 outside",
    operands="x min max",
    vjp=_clip_vjp,
    doc="The value, kept within bounds.",
    expand=lambda x, low, high: minimum(maximum(x, low), high),
    cells={"numpy": "np.clip({0}, {1}, {2})"},
    evaluate=lambda x, low, high: np.minimum(np.maximum(x, low), high),
    mp=lambda mp, x, a, b: min(max(x, a), b),
    sympy=lambda sp, x, a, b: sp.Min(sp.Max(x, a), b),
    torch=lambda torch, x, a, b: torch.clamp(x, a, b),
    samples=[(0.7, 0.0, 1.0), (-2.5, -1.0, 1.0), (3.0, -1.0, 2.0)],
    edges=[(0.0, 0.0, 1.0), (1.0, 0.0, 1.0), (np.inf, 0.0, 1.0), (2.0, 1.0, 0.0)],
    edge_notes={"x at a bound": "slope 1, as torch"},
    cost=lambda y, *_: {"select": 2 * y.size},
)


def clip(x: Any, min: Any = None, max: Any = None) -> Expr:
    """`x` kept within [`min`, `max`], element by element; a bound of None is no bound.

    The gradient at a bound is 1, as in torch. Shapes broadcast.

    >>> import gradsmith as gs
    >>> x = gs.symbol("x")
    >>> gs.compile(gs.clip(x, 0.0, 1.0))(1.5)
    1.0
    """
    x = as_expr(x)
    if x.dtype.kind == "int" and (min is None or max is None):
        return minimum(x, max) if max is not None else maximum(x, min) if min is not None else x
    return _clip(x, -np.inf if min is None else min, np.inf if max is None else max)


_floor = elementwise(
    "floor",
    1,
    tame=True,
    doc="The largest integer not above the value, as a float; integers stay as they are.",
    symbol="floor",
    slope="0",
    vjp=no_gradient,
    cells=cells("math.copysign(math.floor({0}), {0})", "np.floor({0})", "floor({0})") | {"python.ieee": "_floor({0})"},
    support={"python.ieee": "def _floor(x):\n    return math.copysign(math.floor(x), x) if math.isfinite(x) else x\n"},
    evaluate=np.floor,
    mp="floor",
    sympy="floor",
    torch="floor",
    samples=[(0.7,), (-2.5,), (3.0,)],
    edges=[(0.0,), (-1.0,), (np.inf,), (np.nan,), (1e300,)],
    edge_notes={"every x": "slope 0"},
)
floor = integers_stay(_floor)
