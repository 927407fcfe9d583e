"""Powers: a power with a small constant exponent is multiplications and a square root, instead of a call of `pow`.

The laws, which `simplify` applies: `x**3 -> square(x)*x`, `x**-2 -> 1/square(x)`, `x**1.5 -> x*sqrt(x)`.

A product of n factors is rounded n - 1 times, a reciprocal once more, and `pow` about once. So the user's own powers
are multiplied out to x**4 and x**-3, which are off by less than 2 ULP (measured); those of the chain rule (the slope of
x**9 has x**8) to x**16, where the error stays below what one ULP in `x` makes of a power. The square root is that of
torch and NumPy: x**0.5 of -0.0 is -0.0, and of -inf NaN.
"""

from __future__ import annotations

import math

from ..ops import broadcast_to, reciprocal, sqrt, square
from ..trace import Expr, constant

__all__ = ["multiplied_out"]

_LARGEST, _LARGEST_DERIVED = 4, 16  # roundings, and one


def multiplied_out(e: Expr, x: Expr, exponent: float) -> Expr | None:
    """`x**exponent` without `pow`, or None where that is less accurate."""
    n = abs(exponent)
    if (
        n + (exponent < 0) > (_LARGEST_DERIVED if e.origin.derived else _LARGEST)
        or 2 * n != math.floor(2 * n)
        or (n % 1 and n > 2)
    ):
        return None
    if n == 0:
        return broadcast_to(constant(1.0, e.dtype), e.shape)  # also for x = 0, inf and NaN
    power = sqrt(x) if n % 1 else None
    factor = x
    for bit in range(int(n).bit_length()):
        factor = factor if bit == 0 else square(factor)
        if int(n) >> bit & 1:
            power = factor if power is None else factor * power
    assert power is not None
    return power if exponent > 0 else reciprocal(power)
