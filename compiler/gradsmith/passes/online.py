"""Online: products with weights whose sum or maximum is not known yet are summed up before it is.

In: kernels as `contractions` puts them. Out: a gradient such as `softmax(A x) A` from sums of `exp(z - max z) A`, which
belong to the largest z so far and are scaled when a larger one comes. So a matrix whose rows make z is read once, block
by block (see `lower.blocks`), though the weights are known behind the last row alone. Guarantee: beyond rounding the
same; what is not finite is computed from the weights themselves.
"""

from __future__ import annotations

from ..ops.products import gemv_exp_scaled, gemv_exp_sums
from ..target import Target
from ..trace import Expr
from .rewrite import Rule

__all__ = ["online"]


def online(target: Target) -> tuple[Rule, ...]:
    """The rule for a target whose loops go through blocks of rows; none for others."""
    blocks = target.writes(gemv_exp_sums.op) and not target.strict and not target.threads  # type: ignore[attr-defined]
    return (lambda e: _summed_before(e, target),) if blocks else ()


def _summed_before(e: Expr, target: Target) -> Expr | None:
    """Products w A, w = f exp(z - s), f and s of all z, and z of A's rows -> f' (exp(z - max z) A)."""
    if e.op.name != "gemv_columns" or e.args[0].ndim != 2 or e.args[1].ndim != 1:
        return None
    a, w = e.args
    row = a.shape[1] * (a.dtype.bits // 8)
    if isinstance(a.size, int) and a.size * (a.dtype.bits // 8) < target.tuning.block_least:
        return None
    if isinstance(row, int) and 4 * row > target.tuning.block_most:
        return None
    z, numbers = _exponent(w)
    if z is None or not _reaches(z, a) or not any(_reaches(number, a) for number in numbers):
        return None
    return gemv_exp_scaled(a, w, gemv_exp_sums(a, z))


def _exponent(w: Expr) -> tuple[Expr | None, list[Expr]]:
    """The z of w = f exp(z - s), and what the numbers f and s are computed from."""
    numbers: list[Expr] = []
    while w.op.name != "exp":
        rest = [a for a in w.args if not _single(a)]
        linear = w.op.name in ("mul", "neg") or (w.op.name == "div" and rest == [w.args[0]])
        chosen = w.op.name == "where" and _single(w.args[0]) and any(_zero(a) for a in w.args[1:])
        if len(rest) != 1 or not (linear or chosen):
            return None, []
        numbers += [a for a in w.args if a is not rest[0]]
        (w,) = rest
    (z,) = w.args
    while z.op.name in ("add", "sub"):
        rest = [a for a in z.args if not _single(a)]
        if len(rest) != 1 or (z.op.name == "sub" and rest[0] is not z.args[0]):
            break
        numbers += [a for a in z.args if a is not rest[0]]
        (z,) = rest
    return z, numbers


def _single(x: Expr) -> bool:
    """Whether all elements of `x` are one number."""
    return x.op.name == "broadcast_to" and x.args[0].size == 1


def _zero(x: Expr) -> bool:
    """Whether `x` is 0 everywhere."""
    return _single(x) and x.args[0].op.name == "constant" and bool(x.args[0].params["value"] == 0)


def _reaches(x: Expr, a: Expr) -> bool:
    """Whether `x` is computed from the products of all rows of `a`."""
    stack, seen = [x], dict[int, Expr]()
    while stack:
        e = stack.pop()
        if e.op.name == "gemv_rows" and e.args[0] is a:
            return True
        if id(e) not in seen:
            seen[id(e)] = e
            stack += e.args
    return False
