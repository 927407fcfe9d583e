"""Nonzeros that generated code returns, as scipy's sparse arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .derive.jacobian import Entries, Storage
from .errors import MissingExtraError

__all__ = ["scipy_arrays"]


def scipy_arrays(
    what: str, storage: Storage, blocks: Sequence[Any], entries: Sequence[Entries | None]
) -> Sequence[Any]:
    """Each block of nonzeros with its places, in the format of `storage`; errors call it `what`."""
    try:
        import scipy.sparse
    except ImportError:
        raise MissingExtraError("sparse", f"{what}() with sparse={storage.format!r}") from None
    make = {"csr": scipy.sparse.csr_array, "csc": scipy.sparse.csc_array, "coo": scipy.sparse.coo_array}
    found = []
    for data, at in zip(blocks, entries, strict=True):
        assert at is not None
        places = scipy.sparse.coo_array((np.asarray(data), (at.rows, at.columns)), shape=at.shape)
        if storage.format == "coo":
            found.append(places)
            continue
        major, minor, size = at.rows, at.columns, at.shape[0]
        if storage.format == "csc":
            major, minor, size = minor, major, at.shape[1]
        starts = np.searchsorted(major, np.arange(size + 1))
        found.append(make[storage.format]((np.asarray(data), minor, starts), shape=at.shape))
    return found
