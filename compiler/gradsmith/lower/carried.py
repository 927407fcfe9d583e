"""Carried: what the state that a loop carries needs memory of its own for, and what may be computed in its place.

In: the storage of a body, or of the function around it, which has given no value memory yet. Out: values that lie where
the state does. Guarantee: old state is written over when all that reads it has done so, or does so at that place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..graph import Node
from ..index import Index
from ..registry import Kernel, lookup
from .fusion import Unit
from .loop_regions import End
from .rows import reads_of

if TYPE_CHECKING:
    from .storage import Storage

__all__ = ["begun_in_place", "is_kept", "needs_copy", "replaced_in_place"]


def is_kept(ends: Sequence[End], e: End) -> bool:
    """Whether a result is old state, which is copied before all else, so that new state may take its place."""
    return bool(e.shape) and e.carried is None and any(x.carried == e.key for x in ends)


def replaced_in_place(storage: Storage) -> None:
    """New state that may be written over the old: all that reads the old one has done so, or does at that place."""
    for e in storage.ends:
        if e.carried is None or not e.shape or e.key in storage.elements.buffers or e.key not in storage.units.reads:
            continue
        others = [x for x in storage.ends if x is not e and not is_kept(storage.ends, x)]
        late = {key for x in others for key in storage.stored_under(x.key)}
        if e.carried not in late and storage.fits(e) and _reads_only_before(storage, e.carried, e.key):
            storage.lies(e.key, e)


def _reads_only_before(storage: Storage, old: int, new: int) -> bool:
    """Whether no unit reads `old` behind the one that makes `new`, nor that one but at the place it writes."""
    behind = False
    for unit in storage.units.order:
        makes = any(n.key == new for n in unit.nodes)
        for n in unit.nodes:
            reads = storage.units.reads[n.key]
            here = makes and unit.shared and reads.get(old, False)
            here = here and (not behind or _known(storage, unit, n, old))
            here = here or (n.key == new and storage.takes_over(n, old))
            if old in reads and (behind or makes) and not here:
                return False
            behind = behind or n.key == new
        if not makes and any(m.key == new for n in unit.nodes for m in storage.writer.made(n)):
            return False
    return behind


def _known(storage: Storage, unit: Unit, n: Node, key: int) -> bool:
    """Whether all that `n` reads of `key` has been read before in the same loop: it has a name then."""
    units, before = storage.units, set[tuple[int, Index | None]]()
    for m in unit.nodes:
        reads = {pair for pair in reads_of(storage.graph, m, units.virtual, units.aliases) if pair[0] == key}
        if m.key == n.key:
            return reads <= before and all(at is not None for _, at in reads)
        before |= reads
    return False


def begun_in_place(storage: Storage) -> dict[int, int]:
    """First values of a loop's state that are computed in the memory of the state, as nothing else reads them."""
    writer, units, elements = storage.writer, storage.units, storage.elements
    found: dict[int, int] = {}
    made = {n.key for unit in units.order if unit.rows is None for n in unit.nodes if not n.bodies}
    made -= {*writer.plan.outputs, *units.joined, *(whole for whole, _ in units.joined.values())}
    for n in (n for unit in units.order for n in unit.nodes if "consts" in n.params):
        first = int(n.params.get("counted", False)) + n.params["consts"]
        carries = n.params.get("carries", len(n.args) - first)
        for m in (m for m in writer.results.get(n.key, ()) if m.type.shape and m.params["index"] < carries):
            a = n.args[first + m.params["index"]]
            kernel = isinstance(lookup(storage.graph.node(a).op).structure, Kernel)
            if a in made and writer.plan.uses[a] == 1 and not (kernel and m.key in elements.bases):
                if m.key in elements.buffers:
                    storage.lies(a, End(a, elements.buffers[m.key], m.type.shape, elements.bases.get(m.key)))
                else:
                    found[a] = m.key
    return found


def needs_copy(storage: Storage, e: End) -> bool:
    """Whether the new state has to be put aside before the old one is written over: where it reads old state."""
    states = {x.carried for x in storage.ends if x.carried is not None}
    if e.key == e.carried or (e.key in storage.elements.buffers and storage.elements.buffers[e.key] == e.name):
        return False
    return bool(states & set(storage.stored_under(e.key)))
