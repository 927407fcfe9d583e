"""What the functions of a program cost, counted on the graphs that they are written from."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from ..cost import Cost, counts
from ..derive.derivatives import KINDS
from .lowering import Part

__all__ = ["cost"]


def cost(parts: Sequence[Part]) -> Cost:
    """Operation counts of all kinds that the graphs of `parts` can give, asked for or not."""
    found = {}
    for part in parts:
        keys = {group: [k for g in groups for k in g.keys] for group, groups in part.keys().items()}
        kinds = [
            kind
            for kind in KINDS.values()
            if kind.family == part.kinds[0].family and all(group in keys for group in kind.groups)
        ]
        wanted = [[k for group in kind.groups for k in keys[group]] for kind in kinds]
        found.update({k.name: MappingProxyType(c) for k, c in zip(kinds, counts(part.graph, wanted), strict=True)})
    return Cost(**found)
