"""Rows: which values are computed row by row in one loop, so that a row is in the cache from its first use to its last.

In: the stored values of a function in order, and how they read each other. Out: runs of them, ordinary ones and those
that share one loop over rows, the latter as inner loops. A row is what the trailing axes of an array span. Values share
a loop over rows if each needs, of the others, nothing but the same row: element-wise results, reductions of each row
(softmax, the mean of a normalisation), sums over all rows (which add row after row, with unit stride) and over
everything (complete behind the loop). Where kernels compute what a row has, `blocks` takes some rows at a time.
Guarantee: the order of what depends on each other stays, and each sum's elements come in the order of memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from ..dims import Extent, certainly_at_most
from ..graph import Graph, Node
from ..index import Affine, Index, variable
from ..registry import Cut, Gather, Kernel, Layout, Reduction, lookup
from ..types import Shape

__all__ = [
    "Inner",
    "Role",
    "Rows",
    "collected",
    "cut_of",
    "inner_loops",
    "is_per_row",
    "is_same_row",
    "maker",
    "reads_of",
    "role_in_blocks",
    "role_in_members",
    "role_in_products",
    "rows_first",
    "stacks_of",
]

Role = Callable[[Graph, Node, Shape], "str | None"]
_Read = tuple[int, "Index | None"]  # a stored value, and which element of it (None: any)


@dataclass(frozen=True)
class Inner:
    """Nodes that share an inner loop over `shape`, the axes of a row; `()` is once a row.

    Its first `outer` axes are rows of their own: some of the nodes are reductions of each.
    """

    nodes: tuple[Node, ...]
    shape: Shape
    outer: int = 0


@dataclass(frozen=True)
class Rows:
    """One loop over the leading axes `shape`, with inner loops.

    With a `block`, it is over so many rows at a time: inner loops are over the rows of a block, and some are calls. In
    `wide` ones values have more than one element a row. Without, rows may be the `members` of stacks of matrices: then
    some inner loops are calls, and some reductions that leave axes.
    """

    shape: Shape
    inner: tuple[Inner, ...]
    block: int = 0
    wide: bool = False
    members: bool = False

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(n for unit in self.inner for n in unit.nodes)

    def role(self, graph: Graph, n: Node) -> str | None:
        """What `n` is to the loop."""
        if self.members:
            return role_in_members(graph, n, self.shape)
        if self.wide:
            return role_in_products(graph, n, self.shape, self.block)
        return (role_in_blocks if self.block else role_in_rows)(graph, n, self.shape)

    def room(self, n: Node) -> Extent:
        """The elements of what only the same row, or block of rows, reads."""
        return max(self.block, 1) * math.prod(n.type.shape[len(self.shape) :])


def is_per_row(shape: Shape, rows: Shape) -> bool:
    """Whether an array of `shape` has one element a row."""
    return shape[: len(rows)] == rows and math.prod(shape[len(rows) :]) == 1


def role_in_rows(graph: Graph, n: Node, rows: Shape) -> str | None:
    """What `n` is to a loop over `rows`: `element`, `row` (a reduction of each), `column`, `total`; None is nothing."""
    op, count = lookup(n.op), len(rows)
    if op.kind in ("elementwise", "layout"):
        return "element" if n.type.shape[:count] == rows else None
    if not isinstance(op.structure, Reduction):
        return None
    shape, axes = graph.node(n.args[0]).type.shape, tuple(n.params["axis"])
    if len(shape) <= count or shape[:count] != rows or math.prod(shape[count:]) == 1:
        return None
    if axes == tuple(range(count, len(shape))):
        return "row"
    if n.params["keepdims"]:
        return None
    if axes == tuple(range(count)):
        return "column" if op.structure.combine == "add" else None
    return "total" if axes == tuple(range(len(shape))) else None


def _role_in_shared_rows(graph: Graph, n: Node, rows: Shape) -> str | None:
    role = role_in_rows(graph, n, rows)
    return None if role == "column" else role


def cut_of(graph: Graph, n: Node) -> Cut | None:
    """How the kernel `n` can be called for blocks of rows, if it is one and can."""
    structure = lookup(n.op).structure
    if not isinstance(structure, Kernel):
        return None
    return structure.cut(*(graph.node(a).type for a in n.args), n.params)


def role_in_blocks(graph: Graph, n: Node, rows: Shape) -> str | None:
    """What `n` is to a loop over blocks of rows: `element`, `total`, or a call: `product`, or `column` (a sum)."""
    op = lookup(n.op)
    if op.kind in ("elementwise", "layout"):
        return "element" if n.type.shape and is_per_row(n.type.shape, rows) else None
    if isinstance(op.structure, Reduction):
        whole = graph.node(n.args[0]).type.shape == rows and len(n.params["axis"]) == len(rows)
        return "total" if whole and not n.params["keepdims"] else None
    role = _role_of_call(graph, n, rows)
    return role if len(n.type.shape) == 1 else None


def role_in_products(graph: Graph, n: Node, rows: Shape, block: int) -> str | None:
    """What `n` is to a loop over blocks of rows in which values may be matrices: as above, or a sum over rows.

    Rows of a factor are no longer than a block is high: for each block, the other factor or the sum is read again.
    """
    op = lookup(n.op)
    if op.kind in ("elementwise", "layout"):
        return "element" if n.type.shape[:1] == rows else None
    if not isinstance(op.structure, Reduction):
        role = _role_of_call(graph, n, rows)
        by_itself = role is None or len(n.type.shape) != 2
        return role if by_itself or certainly_at_most(graph.node(n.args[0]).type.shape[-1], block) else None
    shape, axes = graph.node(n.args[0]).type.shape, tuple(n.params["axis"])
    if shape[:1] != rows or n.params["keepdims"]:
        return None
    if axes == tuple(range(len(shape))):
        return "total"
    return "column" if axes == (0,) and op.structure.combine == "add" and math.prod(shape[1:]) != 1 else None


def _role_of_call(graph: Graph, n: Node, rows: Shape) -> str | None:
    cut = cut_of(graph, n)
    if cut is None or any(graph.node(n.args[k]).type.shape[: len(rows)] != rows for k in cut.operands):
        return None
    return "column" if cut.adds else "product"


def role_in_members(graph: Graph, n: Node, rows: Shape) -> str | None:
    """What `n` is to a loop over the matrices of stacks: `element`, `row`, `product`, `part` (a reduction of a matrix).

    A `part` that reduces the last axes is one of `rows of a member`, and shares a loop; any other is alone.
    """
    op = lookup(n.op)
    if not n.type.shape or n.type.shape[:1] != rows:
        return None
    if op.kind in ("elementwise", "layout"):
        return "element"
    if isinstance(op.structure, Kernel):
        stacks = stacks_of(graph, n)
        return "product" if stacks and all(graph.node(n.args[k]).type.shape[:1] == rows for k in stacks) else None
    if not isinstance(op.structure, Reduction) or 0 in n.params["axis"]:
        return None
    shape, axes = graph.node(n.args[0]).type.shape, tuple(n.params["axis"])
    if axes == tuple(range(1, len(shape))):
        return "row" if math.prod(shape[1:]) != 1 else None
    trailing = axes == tuple(range(axes[0], len(shape))) and math.prod(shape[axes[0] :]) != 1
    return "rows of a member" if trailing else "part"


def stacks_of(graph: Graph, n: Node) -> tuple[int, ...]:
    """The operands of which each matrix makes one of `n`, if that is a stack by a kernel."""
    structure = lookup(n.op).structure
    if not isinstance(structure, Kernel):
        return ()
    return structure.stacks(*(graph.node(a).type for a in n.args))


def rows_first(
    graph: Graph,
    tasks: Sequence[Node],
    virtual: Mapping[int, int],
    aliases: Mapping[int, int],
    least: int,
    threads: int | None = None,
) -> tuple[Sequence[Node], Rows, Sequence[Node]] | None:
    """The first loop over rows that saves passes over memory, with what comes before and behind it, or None.

    A row has at least `least` elements. From so many in all on `threads` share the loop, of which none adds to columns.
    """
    tried: set[Shape] = set()
    for n in tasks:
        rows = _rows_of(graph, n, least)
        if rows is None or rows in tried:
            continue
        tried.add(rows)
        size = math.prod(graph.node(n.args[0]).type.shape)
        alone = threads is None or (isinstance(size, int) and size < threads)
        role = role_in_rows if alone else _role_in_shared_rows
        if all(role(graph, m, rows) is None for m in tasks):
            continue
        before, shared, behind = collected(graph, tasks, rows, role, virtual, aliases)
        if _saves(graph, shared, rows):
            return before, Rows(rows, inner_loops(graph, shared, rows, role, virtual, aliases)), behind
    return None


def _rows_of(graph: Graph, n: Node, least: int) -> Shape | None:
    """The leading axes that a reduction of rows, or over rows, leaves or takes."""
    if not isinstance(lookup(n.op).structure, Reduction):
        return None
    shape, axes = graph.node(n.args[0]).type.shape, n.params["axis"]
    count = len(axes) if 0 in axes else min(axes, default=0)
    rows: Shape = shape[:count]
    long = 0 < count < len(shape) and certainly_at_most(least, math.prod(shape[count:]))
    return rows if long and math.prod(rows) != 1 and role_in_rows(graph, n, rows) is not None else None


def _saves(graph: Graph, shared: Sequence[Node], rows: Shape) -> bool:
    """Whether one loop over rows is less work: for several passes over matrices, or sums over rows."""
    roles = [role_in_rows(graph, n, rows) for n in shared]
    passes = sum(role != "element" or not is_per_row(n.type.shape, rows) for n, role in zip(shared, roles, strict=True))
    return "column" in roles or ("row" in roles and passes > 1)


def collected(
    graph: Graph,
    tasks: Sequence[Node],
    rows: Shape,
    role_of: Role,
    virtual: Mapping[int, int],
    aliases: Mapping[int, int],
) -> tuple[list[Node], list[Node], list[Node]]:
    """What comes before a loop over `rows`, in it, and behind it."""
    before: list[Node] = []
    shared: list[Node] = []
    behind: list[Node] = []
    inside: set[int] = set()  # read only by the row
    late: set[int] = set()  # complete behind the loop
    last = max(k for k, n in enumerate(tasks) if role_of(graph, n, rows) is not None)
    for k, n in enumerate(tasks):
        reads = reads_of(graph, n, virtual, aliases)
        role = role_of(graph, n, rows)
        needs_late = any(maker(graph, key) in late for key, _ in reads)
        if k > last or needs_late:
            behind.append(n)
            late.add(n.key)
        elif role is not None and all(key not in inside or is_same_row(graph, key, at, rows) for key, at in reads):
            shared.append(n)
            (late if role in ("column", "total") else inside).add(n.key)
        elif any(key in inside for key, _ in reads):
            behind.append(n)
            late.add(n.key)
        else:
            before.append(n)
    return before, shared, behind


def inner_loops(
    graph: Graph,
    shared: Sequence[Node],
    rows: Shape,
    role_of: Role,
    virtual: Mapping[int, int],
    aliases: Mapping[int, int],
    apart: Collection[str] = (),
) -> tuple[Inner, ...]:
    """Inner loops: each value in the first one where all that it reads is known.

    A call is alone, and what has a role of `apart`, too.
    """
    loops: list[tuple[Shape, list[Node]]] = []
    closed: set[int] = set()
    outer: dict[int, int] = {}  # of the loops that have rows of their own
    made: dict[int, tuple[int, Shape, bool]] = {}  # the number of its loop, its shape, whether known at its place
    for n in shared:
        role = role_of(graph, n, rows)
        element, call = role == "element", role in ("product", "part") or cut_of(graph, n) is not None
        shape = (n if element else graph.node(n.args[0])).type.shape[len(rows) :]
        shape = () if math.prod(shape) == 1 else shape
        first = 0
        for key, at in reads_of(graph, n, virtual, aliases):
            if key in made:
                number, theirs, known = made[key]
                here = known and theirs == shape and (not shape or _same_place(graph, key, at))
                first = max(first, number + (not here))
        own = n.params["axis"][0] - len(rows) if role == "rows of a member" else None
        alike = (k for k in range(first, len(loops)) if loops[k][0] == shape and k not in closed)
        number = next((k for k in alike if own is None or outer.get(k, own) == own), len(loops))
        if call or role in apart or number == len(loops):
            number = len(loops)
            loops.append((() if call else shape, []))
        closed.update({number} if call or role in apart else ())
        loops[number][1].append(n)
        outer.update({} if own is None else {number: own})
        made[n.key] = number, shape, element
    return tuple(Inner(tuple(nodes), shape, outer.get(k, 0)) for k, (shape, nodes) in enumerate(loops))


# --- which elements are read ------------------------------------------------------------------------------------------


def _axes(rank: int) -> Index:
    return tuple(variable(f"axis {k}") for k in range(rank))


def _same(at: Index, shape: Shape) -> bool:
    """Whether these subscripts are those of the loop; an axis of size 1 has one place."""
    return all(size == 1 or i == own for i, own, size in zip(at, _axes(len(at)), shape, strict=False))


def is_same_row(graph: Graph, key: int, at: Index | None, rows: Shape) -> bool:
    """Whether the element `at` of a stored value (see `reads_of`) is of the row that a loop over `rows` is at."""
    shape = graph.node(key).type.shape
    return at is not None and shape[: len(rows)] == rows and len(at) >= len(rows) and _same(at[: len(rows)], shape)


def _same_place(graph: Graph, key: int, at: Index | None) -> bool:
    shape = graph.node(key).type.shape
    return at is not None and len(at) == len(shape) and _same(at, shape)


def maker(graph: Graph, key: int) -> int:
    """What makes a stored value: itself, or the loop or branch that it is a result of."""
    n = graph.node(key)
    return n.args[0] if lookup(n.op).kind == "part" else key


def reads_of(
    graph: Graph, n: Node, virtual: Collection[int], aliases: Mapping[int, int]
) -> set[tuple[int, Index | None]]:
    """The stored values that computing an element of `n` reads, and which element of each.

    The place computed is named by its axes; that of a reduction's element by the axes of its operand.
    """
    op = lookup(n.op)
    reduction = isinstance(op.structure, Reduction)
    own = _axes(len(graph.node(n.args[0]).type.shape if reduction else n.type.shape)) if n.args else ()
    known = reduction or op.kind in ("elementwise", "layout")
    stack: list[_Read] = [(a, own) for a in n.args] if known and op.kind != "layout" else []
    if op.kind == "layout":
        stack = _sources(graph, n, own)
    elif not known:
        cut = cut_of(graph, n)
        same = cut.operands if cut is not None else stacks_of(graph, n)
        stack = [(a, _axes(len(graph.node(a).type.shape)) if k in same else None) for k, a in enumerate(n.args)]
    found: set[_Read] = set()
    seen: set[_Read] = set()
    while stack:
        key, at = read = stack.pop()
        m = graph.node(key)
        if read in seen:
            continue
        seen.add(read)
        if key in aliases:
            found.add((aliases[key], _in_other_shape(m.type.shape, graph.node(aliases[key]).type.shape, at)))
        elif key not in virtual:
            found.add((key, at))
        elif lookup(m.op).kind == "layout":
            stack += _sources(graph, m, at)
        else:
            stack += [(a, at if graph.node(a).type.shape else ()) for a in m.args]
    return found


def _sources(graph: Graph, n: Node, at: Index | None) -> list[_Read]:
    """Where the element `at` of a layout comes from."""
    structure = lookup(n.op).structure
    if at is None or isinstance(structure, Gather):
        return [(a, None) for a in n.args]
    if isinstance(structure, Layout):
        return [(n.args[0], structure.source(at, n.params, graph.node(n.args[0]).type))]
    return [(a, None if graph.node(a).type.shape else ()) for a in n.args]


def _in_other_shape(shape: Shape, base: Shape, at: Index | None) -> Index | None:
    """The place `at` of an array seen in another shape; only as many axes of it as both have in common."""
    if at is None or math.prod(shape) != math.prod(base):  # of a frame, which is larger than the state in it
        return None
    longer = [i for i, size in zip(at, shape, strict=True) if size != 1]
    if [size for size in shape if size != 1] == [size for size in base if size != 1]:
        rest = iter(longer)
        return tuple(Affine() if size == 1 else next(rest) for size in base)
    common = next((k for k, (one, other) in enumerate(zip(shape, base, strict=False)) if one != other), len(at))
    return at[: min(common, len(base))]
