"""Distance between floating-point numbers, counted in representable numbers (ULPs).

In: two arrays of one floating-point dtype. Out: how many representable numbers lie between each pair, as
float64. Guaranteed: exact up to 2**53, symmetric, 0 for -0.0 against 0.0, monotone across zero and across
binades.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# dtype -> the signed and unsigned integers of its width
INTEGERS: dict[np.dtype[Any], tuple[type[np.signedinteger[Any]], type[np.unsignedinteger[Any]]]] = {
    np.dtype(np.float32): (np.int32, np.uint32),
    np.dtype(np.float64): (np.int64, np.uint64),
}


def ulp_distance(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Return the number of steps of `numpy.nextafter` from `a` to `b`, element by element.

    Both arrays have the same shape and the same dtype, float32 or float64. NaNs and infinities are counted
    by their bit patterns: mask them out. The bits of a float, read as a sign-magnitude integer, order as
    the floats do (B. Dawson, "Comparing floating point numbers", 2012).

    Errors: KeyError for another dtype.

    >>> ulp_distance(np.array([1.0, 0.0, -5e-324]), np.array([1.0 + 2**-52, -0.0, 5e-324]))
    array([1., 0., 2.])
    """
    signed, unsigned = INTEGERS[a.dtype]
    lowest = np.iinfo(signed).min
    x, y = np.ascontiguousarray(a).view(signed), np.ascontiguousarray(b).view(signed)
    x, y = np.where(x < 0, lowest - x, x), np.where(y < 0, lowest - y, y)
    upper, lower = np.maximum(x, y).astype(unsigned), np.minimum(x, y).astype(unsigned)
    return (upper - lower).astype(np.float64).reshape(a.shape)  # modulo 2**width: no overflow
