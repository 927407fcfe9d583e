"""Normals: erfc and Gaussians of x/sqrt(2) as the normal distribution's own functions.

In: an expression, and a target. Out: `npdf(x)` for the Gaussian of x/sqrt(2), and `ndtr(x)` for `erfc(-x/sqrt(2))/2`
where it is a vector kernel: no division, a shorter kernel, and one exponential for both; elsewhere `erfc(x*sqrt(.5))`.
Guarantee: equal for real numbers; what is left out are the roundings of x/sqrt(2), which erfc and the Gaussian make x*x
times as large, and of constants whose product is 1. `x*sqrt(1/2)` is as near as `x/sqrt(2)`: both constants are off by
the same part of themselves.
"""

from __future__ import annotations

import math

import numpy as np

from ..ops.special_error import erf, erfc, ndtr, npdf
from ..registry import lookup
from ..target import Target
from ..trace import Expr
from .rewrite import About, Rule
from .simplify import number

__all__ = ["INVERSE_ROOTS", "ROOTS", "by_normals", "of_one_scale"]

_ROOT_HALF = math.sqrt(0.5)
#: By the bits of a number: sqrt(2), and what users write for sqrt(1/2).
ROOTS: dict[int, tuple[float, ...]] = {64: (math.sqrt(2.0),), 32: (float(np.float32(math.sqrt(2.0))),)}
INVERSE_ROOTS: dict[int, tuple[float, ...]] = {
    64: (_ROOT_HALF, 1.0 / math.sqrt(2.0)),
    32: (float(np.float32(_ROOT_HALF)),),
}
_MODERATE = 2.0**100  # beyond it, the next power of two may be none, in float32 too
_NPDF_TO_GAUSSIAN = math.sqrt(2.0 * math.pi)


def by_normals(target: Target) -> tuple[Rule, ...]:
    """The rule for `target`; none where the order of operations is kept."""
    if target.strict:
        return ()
    kernels, density = bool(target.vector(lookup("ndtr"))), target.writes(lookup("npdf"))
    ops = {"mul", "erf", "erfc", *(["gaussian"] if density else [])}
    return (About(ops, lambda e: _normal(e, kernels and target.in_loop(e.type))),)


def _normal(e: Expr, kernel: bool) -> Expr | None:
    if e.type.dtype.kind != "float":
        return None
    if e.op.name == "mul":
        return (_half_of_twice(*e.args) or _half_of_twice(*e.args[::-1])) if kernel else None
    x, negative = _of_root_2(e.args[0])
    if x is None:
        return None
    if e.op.name == "gaussian":
        return _NPDF_TO_GAUSSIAN * npdf(x)  # exp(-(x/sqrt(2))^2)
    if e.op.name == "erfc" and kernel:
        return 2.0 * ndtr(x if negative else -x)
    if kernel or e.args[0].op.name == "mul":
        return None
    return (erf if e.op.name == "erf" else erfc)(x * (-_ROOT_HALF if negative else _ROOT_HALF))


def of_one_scale(target: Target) -> tuple[Rule, ...]:
    """The rule `c*(a*npdf(x)) -> a*npdf(x)` for c = 1 but for rounding, in cotangents that are regrouped.

    So the slope of erf(x/sqrt(2))/2 ends, of whose constants 1/sqrt(pi), sqrt(2*pi) and 1/sqrt(2) the product is 1;
    where two of them are added, c is 2, and so for all powers of two.
    """
    return () if target.strict else (lambda e: _unscaled(e) if e.origin.derived else None,)


def _unscaled(e: Expr) -> Expr | None:
    """Of a product, the constant comes first, and each further factor on the right."""
    if e.type.dtype.kind != "float" or e.op.name != "mul":
        return None
    others: list[Expr] = []
    scale, first = number(e.args[0]), e.args[1]
    if scale is None and "npdf" in (e.args[0].op.name, e.args[1].op.name):
        e, others = (e.args[0], [e.args[1]]) if e.args[1].op.name == "npdf" else (e.args[1], [e.args[0]])
        if e.op.name == "mul":
            scale, first = number(e.args[0]), e.args[1]
    near = 1e-15 if e.type.dtype.bits == 64 else 3e-7
    if scale is None or not 1.0 / _MODERATE < abs(scale) < _MODERATE:
        return None
    if "npdf" not in (first.op.name, *(o.op.name for o in others)):
        return None
    power = 2.0 ** round(math.log2(abs(scale)))
    if abs(abs(scale) / power - 1.0) > near or abs(scale) == power != 1.0:
        return None
    product = first * others[0] if others else first
    if power != 1.0:
        product = power * product
    return product if scale > 0.0 else -product


def _half_of_twice(half: Expr, twice: Expr) -> Expr | None:
    """`0.5*(2*ndtr(x)) -> ndtr(x)`, exactly."""
    if number(half) != 0.5 or twice.op.name != "mul" or number(twice.args[0]) != 2.0:
        return None
    return twice.args[1] if twice.args[1].op.name == "ndtr" else None


def _of_root_2(e: Expr) -> tuple[Expr | None, bool]:
    """`x` of `x/sqrt(2)` in any of its spellings, or None; and whether its sign is changed."""
    negative = False
    while e.op.name == "neg":
        e, negative = e.args[0], not negative
    bits = e.type.dtype.bits
    readings = [(e.args[0], e.args[1], ROOTS[bits])] if e.op.name == "div" else []
    readings += [(x, c, INVERSE_ROOTS[bits]) for x, c in (e.args, e.args[::-1])] if e.op.name == "mul" else []
    for x, c, wanted in readings:
        factor = number(c)
        if factor is not None and abs(factor) in wanted:
            negative = negative != (factor < 0.0)
            return (x.args[0], not negative) if x.op.name == "neg" else (x, negative)
    return None, negative
