"""Patterns of sparse matrices as constants of the emitted file, under scipy's names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..derive.jacobian import Entries
from ..program import Pattern

__all__ = ["pattern"]


def pattern(name: str, entries: Entries, format: str) -> Pattern:
    """The constants that say where the nonzeros of the output `name` stand."""
    if format == "coo":
        arrays = {"rows": entries.rows, "columns": entries.columns}
    else:
        by_row = format == "csr"
        major, minor = (entries.rows, entries.columns) if by_row else (entries.columns, entries.rows)
        arrays = {"indptr": pointers(major, entries.shape[0 if by_row else 1]), "indices": minor}
    return Pattern(name, format, entries.shape, tuple((end, _texts(array)) for end, array in arrays.items()))


def pointers(major: np.ndarray, count: int) -> np.ndarray:
    """Where each row (or column) begins among the nonzeros."""
    return np.searchsorted(major, np.arange(count + 1))


def _texts(numbers: np.ndarray) -> Sequence[str]:
    return tuple(str(int(v)) for v in numbers)
