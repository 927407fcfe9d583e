"""Elements: the text of one element of a value, wherever the value is: in a variable, in memory, or computed in place.

In: a graph, what `fusion` decided, and where inputs are. Out: texts for the loops of `structures` and `loops`; lines
that give a name to what must have one go to the lines of the loop being written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Set

from ..cost import count_of
from ..dims import Dim, Extent, atom
from ..graph import Graph, Node
from ..index import Affine, Index, flatten, variable
from ..program import Line
from ..registry import NEAR, Assembly, Counter, Gather, Layout, Length, Parts, Scatter, lookup
from ..target import Target
from ..types import DType, Type
from .fusion import shape_of
from .naming import Names
from .nests import lines_of
from .printing import Printer, Template, Text, around
from .statements import cotangent_owners, may_raise, working_dtype
from .subscripts import Subscripts

__all__ = ["Elements"]

_QUICK = {"add", "sub", "mul", "neg", "abs"}


class Elements:
    """Where each value of one function is, and how its elements are written."""

    def __init__(
        self,
        graph: Graph,
        target: Target,
        names: Names,
        subscripts: Subscripts,
        twin: bool,
    ) -> None:
        self.graph, self.target, self.names, self.subscripts = graph, target, names, subscripts
        self.printer = Printer(target)
        self._template = self.printer.template
        self.scalars: dict[int, Text] = {}
        self.buffers: dict[int, str] = {}
        self.bases: dict[int, Affine] = {}  # where in its buffer a value begins, if not at the beginning
        #: values that are parts of an array in memory, but not one block of it: that array, and the part's number
        self.parts: dict[int, tuple[int, int]] = {}
        self._parts: dict[int, Parts] = {}
        #: values of the function around a body that are nowhere in memory, by how their elements are computed
        self.around: dict[int, Callable[[Index, list[Line], int], Text]] = {}
        self.locals: dict[int, Text] = {}  # values of the loop being written
        self.shared: Set[int] = frozenset()  # values of which the loop being written reads an element more than once
        self.read: dict[str, Text] = {}  # elements that it has read, and their names
        self.once: frozenset[int] = frozenset()  # values that have a name wherever they are computed
        self.again: Set[int] = frozenset()  # values in memory that what is being written computes again
        self._named: dict[tuple[int, int, Index], tuple[list[Line], Text]] = {}  # which, by lines and place
        self.far: set[str] = set()  # of the loop being written: the variables that tell of arguments out of range
        self._cells: dict[int, str] = {}
        self._plain: dict[tuple[str, DType] | None, str] = {}  # of ops on scalars, whose cells are nothing but text
        self._templates: dict[tuple[str, DType], Template] = {}  # of those that are alike
        self._assigns: dict[DType, tuple[str, str, str] | None] = {}
        self._twin = twin
        self._owners: Mapping[int, int] = cotangent_owners(graph)
        #: names of run-time indices; the list of lines is kept so that its id stays its own
        self._places: dict[tuple[int, str, Extent], tuple[list[Line], str]] = {}

    # --- words --------------------------------------------------------------------------------------------------

    def wish(self, n: Node) -> str | None:
        """`d_` and the name of the value that `n` is the cotangent of, or the user's name."""
        owner = self._owners.get(n.key)
        if owner is None:
            return n.origin.name
        name = self.buffers.get(owner) or self.scalars.get(owner, Text("")).text
        return f"d_{name}" if name.isidentifier() else n.origin.name

    def type(self, n: Node) -> str:
        """The target's word for the element type of `n`."""
        return self.target.types[n.type.dtype.name]

    def assign(self, n: Node, name: str, value: str) -> str:
        """The statement that gives a value to the new variable `name`."""
        dtype = n.type.dtype
        if dtype not in self._assigns:
            self._assigns[dtype] = around(self.target.syntax["assign"], "name", "value", type=self.type(n))
        pieces = self._assigns[dtype]
        if pieces is None:
            return self.target.syntax["assign"].format(type=self.type(n), name=name, value=value)
        before, between, behind = pieces
        return f"{before}{name}{between}{value}{behind}"

    def cell(self, n: Node) -> str:
        """How the target writes `n`, on operands `{0}`, `{1}` …"""
        type, plain = n.type, None
        if not type.shape and not self._twin:  # alike wherever it stands
            dtype = type.dtype if type.dtype.kind == "float" else working_dtype(self.graph, n)
            plain = n.op, dtype
            if plain in self._plain:
                return self._plain[plain]
        if n.key in self._cells:
            return self._cells[n.key]
        op, dtype = lookup(n.op), working_dtype(self.graph, n)
        twin = self._twin and may_raise(self.graph, n, self.target)
        loop = self.target.in_loop(n.type)
        if loop and self.target.vector(op, dtype).endswith(NEAR):
            self.far.add(self.target.syntax[f"far_name.{dtype.name}"])
        cell = self.target.cell(op, dtype, twin, loop=loop)
        if callable(cell):
            plain = None
            cell = cell([f"{{{i}}}" for i in range(len(n.args))], n.params, [self.graph.node(a).type for a in n.args])
        if not loop:  # which would not hear of `far` again
            self._cells[n.key] = cell or ""
            if plain is not None:
                self._plain[plain] = cell or ""
        return cell or ""

    def is_alike(self, n: Node) -> bool:
        """Whether all scalars of the op and the type of `n` have its cell."""
        return n.type.dtype.kind == "float" and (n.op, n.type.dtype) in self._plain

    def cell_of(self, name: str, dtype: DType) -> str:
        """How the target combines two elements by the op `name`."""
        cell = self.target.cell(lookup(name), dtype)
        assert isinstance(cell, str)
        return cell

    def stored(self, n: Node, value: Text) -> Text:
        """`value` in the type that it has in memory, where that is another."""
        kind = f"{n.type.dtype.name}[]"
        if kind not in self.target.types:
            return value
        return Text(self.target.syntax["cast"].format(type=self.target.types[kind], value=value.text))

    def set(self, name: str, value: Text, lines: list[Line], depth: int) -> None:
        """The statement that changes the variable or the element `name`."""
        lines += lines_of(self.target.syntax["set"].format(name=name, value=value.text), depth)

    def place(self, key: int, index: Index) -> str:
        """Element `index` of a value in memory, as what is assigned to."""
        return self.at(key, self.offset(key, index))

    def offset(self, key: int, index: Index) -> Affine:
        """How far behind its beginning element `index` of a value in memory lies."""
        if key not in self.parts:
            return flatten(index, shape_of(self.graph, key))
        whole, part = self.parts[key]
        n = self.graph.node(whole)
        structure = lookup(n.op).structure
        assert isinstance(structure, Assembly)
        return flatten(structure.place(part, index, n.params, self.parts_of(n)), n.type.shape)

    def parts_of(self, n: Node) -> Parts:
        """The types of the parts of an assembly."""
        if n.key not in self._parts:
            self._parts[n.key] = Parts(self.graph.node(a).type for a in n.args)
        return self._parts[n.key]

    def at(self, key: int, offset: Affine) -> str:
        """The element at `offset` of a value in memory."""
        return f"{self.buffers[key]}[{self.subscripts.text(self.bases.get(key, Affine()) + offset)}]"

    def start(self, key: int, offset: Affine = Affine()) -> Text:  # noqa: B008 - it is frozen
        """Where a value in memory begins, or its rest, for a call: a pointer, or a copy where there are none."""
        base, name = self.bases.get(key, Affine()) + offset, self.buffers[key]
        if base == Affine():
            return Text(name)
        start, end = (self.subscripts.text(place) for place in (base, base + self.graph.node(key).type.size))
        pattern = "pointer" if "pointer" in self.target.syntax else "slice"
        return Text(self.target.syntax[pattern].format(name=name, start=start, end=end))

    # --- values -------------------------------------------------------------------------------------------------

    def element(self, key: int, index: Index, flat: bool, lines: list[Line], depth: int) -> Text:
        """The text of element `index` of a value; what must have a name first goes to `lines`."""
        if key in self.locals:
            return self.locals[key]
        if key in self.scalars:
            return self.scalars[key]
        shape = shape_of(self.graph, key)
        if not shape:
            index, flat = (), False  # a scalar that is broadcast does not move with the loop
        if key in self.again:
            return self._once(self.graph.node(key), index, lines, depth)
        if key in self.buffers:
            read = self.at(key, index[0] if flat else self.offset(key, index))
            if key in self.shared and read not in self.read:
                self.read[read] = Text(self.names.fresh(None))
                lines += lines_of(self.assign(self.graph.node(key), self.read[read].text, read), depth)
            return self.read.get(read, Text(read))
        if key in self.around:
            return self.around[key](index, lines, depth)
        n = self.graph.node(key)
        if key in self.once:
            return self._once(n, index, lines, depth)
        value = self.compute(n, index, flat, lines, depth)
        if n.origin.name is None or lookup(n.op).kind != "elementwise":
            return value
        name = self.names.fresh(self.wish(n))  # fused into its reader, yet the user knows it by this name
        lines += lines_of(self.assign(n, name, value.text), depth)
        return Text(name)

    def _once(self, n: Node, index: Index, lines: list[Line], depth: int) -> Text:
        """The name of an element that is computed once in these lines."""
        at = (id(lines), n.key, index)
        if at not in self._named:
            value = self.compute(n, index, False, lines, depth)
            name = Text(self.names.fresh(self.wish(n)))
            lines += lines_of(self.assign(n, name.text, value.text), depth)
            self._named[at] = lines, name
        return self._named[at][1]

    def compute(self, n: Node, index: Index, flat: bool, lines: list[Line], depth: int) -> Text:
        """The text that computes element `index` of `n` from its operands."""
        op = lookup(n.op)
        if op.kind == "elementwise":
            known, inner, element = self.scalars, self.locals, self.element
            operands = [
                known[a] if a in known and a not in inner else element(a, index, flat, lines, depth) for a in n.args
            ]
            template = self._template_of(n)
            if template.repeats:
                self._name(template.repeats, operands, working_dtype(self.graph, n), lines, depth)
            return template.filled(operands)
        if isinstance(op.structure, Counter):
            cell = self.target.syntax["counter"].format(type=self.type(n))
            return self.fill(cell, [Text(self.subscripts.text(index[0]))], n.type.dtype, lines, depth)
        if isinstance(op.structure, Length):
            cell = self.target.syntax["counter"].format(type=self.type(n))
            return self.fill(cell, [Text(atom(n.params["dim"]))], n.type.dtype, lines, depth)
        if op.kind == "layout":
            a = n.args[0]
            if isinstance(op.structure, Gather):
                index, flat = self.gathered(n, op.structure, index, lines, depth), False
            elif isinstance(op.structure, Layout) and not flat:
                index = op.structure.source(index, n.params, self.graph.node(a).type)
            elif op.structure is None:
                index = tuple(Affine() for _ in shape_of(self.graph, a))  # one element in another shape
            return self.element(a, index, flat, lines, depth)
        operands = [self.element(a, index, flat, lines, depth) for a in n.args]
        return self.fill(self.cell(n), operands, working_dtype(self.graph, n), lines, depth)

    def scalar(self, n: Node, lines: list[Line]) -> Text:
        """The same in a function of scalars alone, where what is in no variable yet is computed in place."""
        known, node = self.scalars, self.graph.node
        operands = [known[a] if a in known else self.scalar(node(a), lines) for a in n.args]
        template = self._template_of(n)
        if template.repeats:
            self._name(template.repeats, operands, working_dtype(self.graph, n), lines, 0)
        return template.filled(operands)

    def _template_of(self, n: Node) -> Template:
        """The cell of an element-wise op, taken apart."""
        type = n.type
        if type.shape:
            return self._template(self.cell(n))
        template = self._templates.get((n.op, type.dtype))
        if template is None:
            template = self._template(self.cell(n))
            if self.is_alike(n):
                self._templates[n.op, type.dtype] = template
        return template

    def computed(self, keys: Iterable[int]) -> Iterator[Node]:
        """What is computed for an element of these values, down to what is stored or a number."""
        stack = [*keys]
        while stack:
            m = self.graph.node(stack.pop())
            places: tuple[Mapping[int, object], ...] = (self.buffers, self.scalars, self.locals)
            if any(m.key in place for place in places) or (not m.args and not m.type.shape):
                continue
            yield m
            stack += m.args

    def is_moved(self, n: Node) -> bool:
        """Whether an element of `n` is one of its operand, whose place is known when the code is written."""
        op = lookup(n.op)
        return op.kind == "layout" and not isinstance(op.structure, Gather) and n.key not in self.around

    def weight(self, n: Node) -> float:
        """How many additions and multiplications an element of the reduction `n` takes; inf where there are others."""
        count = 0.0
        for m in self.computed(n.args):
            if lookup(m.op).kind == "elementwise":
                count += 1 if {*count_of(self.graph, m)} <= _QUICK else math.inf
            elif not self.is_moved(m):
                return math.inf
        return count

    def gathered(self, n: Node, structure: Gather | Scatter, index: Index, lines: list[Line], depth: int) -> Index:
        """The place in the array gathered from, or scattered to, for element `index` of the other one."""
        x = Type(n.params["shape"]) if isinstance(structure, Scatter) else self.graph.node(n.args[0]).type
        indices = self.graph.node(n.args[1])
        read = self.element(indices.key, structure.where(index, n.params, x, indices.type), False, lines, depth)
        size = x.shape[n.params["axis"]]
        key = (id(lines), read.text, size)
        if key not in self._places:
            word = self.target.types.get(indices.type.dtype.name, "")
            text = self.target.syntax["size_as"].format(type=word, size=atom(size)) if isinstance(size, Dim) else size
            cell = self.target.syntax["place"].format(size=text)
            counted = self.fill(cell, [read], indices.type.dtype, lines, depth)
            self._places[key] = lines, self.names.fresh(None, "at_")
            lines += lines_of(self.assign(indices, self._places[key][1], counted.text), depth)
            if size == 1 and "unused" in self.target.syntax:  # every place is the first
                lines += lines_of(self.target.syntax["unused"].format(name=self._places[key][1]), depth)
        _, name = self._places[key]
        return structure.source(index, variable(name), n.params, x, indices.type)

    def fill(self, cell: str, operands: list[Text], dtype: DType, lines: list[Line], depth: int) -> Text:
        """The operands, all of `dtype`, in their places; what a cell prints twice gets a name first."""
        template = self._template(cell)
        self._name(template.repeats, operands, dtype, lines, depth)
        return template.filled(operands)

    def _name(self, numbers: Iterable[int], operands: list[Text], dtype: DType, lines: list[Line], depth: int) -> None:
        """Give names to the operands with these numbers that have none."""
        for i in numbers:
            if not operands[i].text.replace(".", "").isidentifier() and not _is_number(operands[i].text):
                local = self.names.fresh(None)
                type = self.target.types[dtype.name]
                text = self.target.syntax["assign"].format(type=type, name=local, value=operands[i].text)
                lines += lines_of(text, depth)
                operands[i] = Text(local)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
