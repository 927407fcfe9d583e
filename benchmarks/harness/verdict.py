"""Whether an answer is right: only then is its time looked at.

Each array of the answer is compared with the reference's, which was computed in double precision from the very same
numbers. The bound is a fraction of the largest element of that array, as sums of many terms lose the digits of small
elements whatever order they are added in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["BOUNDS", "verdict"]

#: Far above rounding (which grows with the length of sums), far below what a wrong sign or term makes.
BOUNDS = {"float64": 1e-9, "float32": 5e-4}


def verdict(got: Sequence[np.ndarray], want: Sequence[np.ndarray], dtype: str) -> str:
    """ "" for a right answer; else what is wrong with it.

    >>> verdict([np.array(1.0)], [np.array(1.0 + 1e-12)], "float64")
    ''
    >>> verdict([np.array([1.0, 2.0])], [np.array([1.0, -2.0])], "float64")
    'wrong (output 0 is off by 2)'
    """
    if len(got) != len(want):
        return f"wrong ({len(got)} outputs for {len(want)})"
    for k, (g, w) in enumerate(zip(got, want, strict=True)):
        if g.size != w.size:
            return f"wrong (output {k} has {g.size} elements for {w.size})"
        if not np.all(np.isfinite(g)):
            return f"wrong (output {k} is not finite)"
        scale = float(np.max(np.abs(w), initial=0.0)) or 1.0
        off = float(np.max(np.abs(g.ravel() - w.ravel()), initial=0.0)) / scale
        if off > BOUNDS[dtype]:
            return f"wrong (output {k} is off by {off:.2g})"
    return ""
