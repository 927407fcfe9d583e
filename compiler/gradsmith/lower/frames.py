"""Frames: the state of a loop that a step puts between constants lies between them all the time.

In: the body of a loop and the inputs that are its state. Out: for each state the array that is put together of it and
of constants, whose memory it can have. A stencil between zeros is the case: each step would copy the state between its
zeros. Guarantee: the rest of such an array is the same in every step, so that it is written once, before the loop.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..dims import Extent
from ..graph import Graph, Node
from ..registry import Assembly, lookup

__all__ = ["Frame", "frames"]


@dataclass(frozen=True)
class Frame:
    """The array `whole`, of which the state is the part number `part`, behind `ahead` elements."""

    whole: int
    part: int
    ahead: Extent


def frames(body: Graph, states: Iterable[int]) -> dict[int, Frame]:
    """The frames of those states that have one."""
    found: dict[int, Frame] = {}
    wanted = {key for key in states if body.node(key).type.shape}
    for n in body.ordered() if wanted else ():
        structure = lookup(n.op).structure
        if not isinstance(structure, Assembly) or not structure.apart or n.key in body.outputs:
            continue
        parts = [k for k, a in enumerate(n.args) if a in wanted]
        rest = [a for k, a in enumerate(n.args) if k not in parts]
        axis = n.params.get("axis")
        one_block = axis is not None and math.prod(n.type.shape[:axis]) == 1
        if len(parts) == 1 and one_block and n.args[parts[0]] not in found and all(_constant(body, a) for a in rest):
            ahead = sum((math.prod(body.node(a).type.shape) for a in n.args[: parts[0]]), start=0)
            found[n.args[parts[0]]] = Frame(n.key, parts[0], ahead)
    return found


def _constant(body: Graph, key: int) -> bool:
    """Whether a value is a constant, in whatever shape."""
    n: Node = body.node(key)
    while lookup(n.op).kind == "layout" and len(n.args) == 1:
        n = body.node(n.args[0])
    return n.op == "constant"
