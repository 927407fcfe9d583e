"""Straight-line lowering: one statement for each value worth a name, for scalar code and for array (NumPy) code.

In: a graph (scalarised first, for targets without arrays) and the outputs wanted. Out: a `Body`. A value gets a
statement when the user named it, when it is read twice, or when its expression grows long; all else is written in
place, so the result reads as a person would have written it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np

from ..graph import Graph, Node, freeze_key
from ..ops._declare import dtype_option, numpy_name
from ..origin import Origin
from ..program import Argument, Line
from ..regions import with_inner
from ..registry import Cell, lookup
from ..target import Target
from ..types import BOOL, FLOAT64, INT64, DType, Shape, format_shape
from .branches import Path, Piece, Statement, arranged, paths
from .naming import Names
from .printing import WIDTH, Printer, Text, wrapped
from .sizes import Sizes
from .statements import (
    Body,
    Group,
    Plan,
    annotated,
    cotangent_owners,
    may_raise,
    plan,
    scalar_constant,
    working_dtype,
)
from .straight_regions import written_region

__all__ = ["straight"]

_CALL = re.compile(r"[._]\w*\(")  # of a function that costs something
_NO_READS: frozenset[int] = frozenset()
_INLINE = 60  # characters: longer operands get a statement of their own


class Tables:
    """Array constants, which stand at the top of the file, once for all of its functions."""

    def __init__(self, graphs: Sequence[Graph], names: Names, target: Target) -> None:
        self._printer, self._target = Printer(target), target
        self._used: dict[object, Node] = {}
        self._names: dict[object, str] = {}
        for n in (n for graph in graphs for n in with_inner(graph)):
            key = _table_key(n)
            if key is not None and key not in self._names:
                self._names[key] = names.fresh(n.origin.name, "TABLE_")

    def name(self, n: Node) -> str:
        """The name of a table, which is printed from now on."""
        key = _table_key(n)
        self._used.setdefault(key, n)
        return self._names[key]

    def lines(self) -> list[str]:
        """The definitions of the tables in use."""
        found: list[str] = []
        for key, name in self._names.items():
            if key not in self._used:
                continue
            n = self._used[key]
            value = n.params["value"]
            pattern = "table" if value.size else "empty_table"  # brackets alone cannot say (0, 4)
            shape = format_shape(value.shape)
            text = self._target.syntax[pattern].format(
                name=name, value=_nested(value, n.type.dtype, self._printer), shape=shape, option=dtype_option(n.type)
            )
            found += wrapped(text, WIDTH, 0)
        return found


def _table_key(n: Node) -> object:
    """What tells an array constant from others; None for what is none."""
    value = n.params.get("value")
    return (freeze_key(value), n.type.dtype.name) if isinstance(value, np.ndarray) else None


def straight(
    graph: Graph,
    groups: Sequence[Group],
    inputs: Sequence[Argument],
    sizes: Sizes,
    target: Target,
    names: Names,
    tables: Tables | None,
    *,
    twin: bool = False,
) -> Body:
    """The body that computes `groups`; `twin` uses the target's second set of cells."""
    planned = plan(graph, groups, implicit_broadcast=target.lowering == "array")
    body = Body([])
    texts: dict[int, Text] = {key: Text(a.name) for key, a in zip(graph.inputs, inputs, strict=True)}
    taken_apart = _take_apart(graph, planned, inputs, target, names, texts)
    writer = Writer(target, names, tables, twin, body)
    choices = any(lookup(n.op).choice for n in graph.sorts)
    when = paths(graph, planned) if choices and "if" in target.syntax else {}
    statements, pieces = writer.statements(graph, planned, texts, when)
    conditions = {k: pieces.get(k, Piece(texts[k])) for path in when.values() for k, _ in path}

    def heads(condition: Text, then: bool, otherwise: bool) -> list[str]:
        if not then:
            condition = writer.printer.fill(str(target.cell(lookup("logical_not"))), [condition])
        return [target.syntax["if"].format(condition=condition.text), target.syntax["else"]][: then + otherwise]

    steps = arranged(statements, conditions, heads, lambda steps, before: annotated(steps, target, before))
    body.result = _result(graph, groups, texts, target)
    agree = sizes.agreeing(inputs, body)
    inside = sizes.before([*agree, *annotated([(Origin(), taken_apart), *steps], target)], body)
    body.lines = _entry(inputs, planned, graph, sizes, target) + inside
    return body


class Writer:
    """The state of writing one function: the names taken, the tables in use, and what support the code needs."""

    def __init__(self, target: Target, names: Names, tables: Tables | None, twin: bool, body: Body) -> None:
        self.target, self.names, self.tables, self.twin, self.body = target, names, tables, twin, body
        self.printer = Printer(target)

    def statements(
        self, graph: Graph, planned: Plan, texts: dict[int, Text], when: Mapping[int, Path]
    ) -> tuple[list[Statement], dict[int, Piece]]:
        """The statements of a graph whose inputs have `texts`, and the pieces that are written in place."""
        target, names, printer = self.target, self.names, self.printer
        cells = _cells(graph, planned, target, self.twin)
        spelled_out = _repeated(planned, cells, printer)
        owners = cotangent_owners(graph)
        statements: list[Statement] = []
        pieces: dict[int, Piece] = {}
        split: set[int] = set()  # conditions on which something costly is computed: their choices are made there, too
        for n in planned.nodes:
            if n.key in texts:
                continue
            op = lookup(n.op)
            if n.op == "constant":
                texts[n.key] = self.constant(n)
                continue
            if op.kind == "region":
                written = written_region(self, graph, planned, n, texts)
                statements.append(Statement(n.key, n.origin, tuple(written), frozenset()))
                continue
            raises = may_raise(graph, n, target)
            self.body.may_raise = self.body.may_raise or raises
            if raises or not self.twin:  # the twin's own support is for what may raise
                self.body.ops[op.name, working_dtype(graph, n)] = op
            operands = [texts[a] for a in planned.operands[n.key]]
            if "typed" in target.literals:
                for i in _untyped(graph, n, planned.operands[n.key]):
                    operands[i] = typed(operands[i], graph.node(planned.operands[n.key][i]).type.dtype, target)
            if target.name in op.statements:
                name = names.fresh(_wish(n, planned, texts.get(owners.get(n.key, -1))))
                types = [graph.node(a).type for a in planned.operands[n.key]]
                own = op.statements[target.name](name, [t.text for t in operands], n.params, types)
                statements.append(Statement(n.key, n.origin, tuple(_lines(own)), frozenset()))
                texts[n.key] = Text(name)
                continue
            text = printer.fill(cells[n.key], operands)
            if not when:  # all stand one behind the other
                if _inline(n, planned, text, spelled_out):
                    texts[n.key] = text
                else:
                    name = names.fresh(_wish(n, planned, texts.get(owners.get(n.key, -1))))
                    texts[n.key] = Text(name)
                    statements.append(Statement(n.key, n.origin, _assigned(target, name, text), _NO_READS))
                continue
            parts = [pieces[a] if a in pieces else Piece(texts[a]) for a in planned.operands[n.key]]
            reads = frozenset().union(*[p.reads for p in parts])
            costly = raises or _calls(cells[n.key]) or any(p.costly for p in parts)
            chosen = bool(op.choice) and n.args[0] in split
            if not chosen and _inline(n, planned, text, spelled_out):
                texts[n.key] = text
                pieces[n.key] = Piece(text, reads, costly)
            else:
                name = names.fresh(_wish(n, planned, texts.get(owners.get(n.key, -1))))
                texts[n.key] = Text(name)
                pieces[n.key] = Piece(texts[n.key], frozenset({n.key}))
                lines = _assigned(target, name, text)
                s = Statement(n.key, n.origin, lines, reads, when.get(n.key, ()), costly)
                if op.choice and when:
                    sides = tuple((_assigned(target, name, p.text), p.reads) for p in parts[1:])
                    s = s._replace(condition=n.args[0], sides=sides)
                if costly:
                    split.update(condition for condition, _ in s.path)
                statements.append(s)
        return statements, pieces

    def constant(self, n: Node) -> Text:
        value = n.params["value"]
        if self.tables is not None and isinstance(value, np.ndarray):
            return Text(self.tables.name(n))
        return self.printer.number(value, n.type.dtype)


def _assigned(target: Target, name: str, text: Text) -> tuple[Line, ...]:
    return tuple(_lines([target.syntax["assign"].format(name=name, value=text.text)]))


@lru_cache(maxsize=4096)
def _calls(cell: str) -> bool:
    """Whether a cell calls a function that costs something."""
    return _CALL.search(cell) is not None


def _cells(graph: Graph, planned: Plan, target: Target, twin: bool) -> dict[int, str]:
    found: dict[int, str] = {}
    for n in planned.nodes:
        op = lookup(n.op)
        cell: Cell | None = target.cell(op, working_dtype(graph, n), twin and may_raise(graph, n, target))
        if cell is None:
            continue
        if isinstance(cell, str):
            found[n.key] = cell
        else:
            places = [f"{{{i}}}" for i in range(len(n.args))]
            found[n.key] = cell(places, n.params, [graph.node(a).type for a in n.args])
    return found


def _untyped(graph: Graph, n: Node, operands: Sequence[int]) -> list[int]:
    """The operands that must be written with their dtype, because no other operand brings that of the result.

    If all are literals, one is enough for NumPy, and not Python, to compute. `np.where(c, 1.0, 0.0)` is float64, and
    float32 if its literals are. In a function of ours a literal may meet others: Python's would raise where they are
    divided by 0, and tell nothing of the dtype. Its first operand may be an order, which is no such number.
    """
    if operands and not all(scalar_constant(graph, a) is not None for a in operands) and _is_ours(n):
        return [i for i, a in enumerate(operands) if i > 0 and scalar_constant(graph, a) is not None]
    if operands and all(scalar_constant(graph, a) is not None for a in operands):
        return [0]
    if n.type.dtype in (FLOAT64, INT64, BOOL):
        return []
    own = [i for i, a in enumerate(operands) if graph.node(a).type.dtype == n.type.dtype]
    return own if all(scalar_constant(graph, operands[i]) is not None for i in own) else []


def _is_ours(n: Node) -> bool:
    """Whether NumPy computes `n` by a support function."""
    op = lookup(n.op)
    return op.kind == "elementwise" and str(op.cells.get("numpy", "")).startswith("_")


def typed(text: Text, dtype: DType, target: Target) -> Text:
    return Text(target.literals["typed"].format(value=text.text, dtype=numpy_name(dtype)))


def _repeated(planned: Plan, cells: dict[int, str], printer: Printer) -> set[int]:
    """Values that a cell prints more than once: they need a name."""
    return {planned.operands[n.key][i] for n in planned.nodes if n.key in cells for i in printer.repeats(cells[n.key])}


def _inline(n: Node, planned: Plan, text: Text, spelled_out: set[int]) -> bool:
    return (
        planned.uses[n.key] == 1
        and n.key not in planned.outputs
        and n.key not in spelled_out
        and n.origin.name is None
        and len(text.text) <= _INLINE
    )


def _wish(n: Node, planned: Plan, owner: Text | None) -> str | None:
    """The output's name, `d_` and the name of the value it is the cotangent of, or the user's name."""
    output = planned.outputs.get(n.key)
    if output is not None and (n.origin.name is None or n.origin.derived):
        return output
    return f"d_{owner.text}" if owner is not None and owner.text.isidentifier() else n.origin.name


def _nested(value: np.ndarray, dtype: DType, printer: Printer) -> str:
    if value.ndim == 0:
        return printer.number(value.item(), dtype).text
    return f"[{', '.join(_nested(v, dtype, printer) for v in value)}]"


def _take_apart(
    graph: Graph, planned: Plan, inputs: Sequence[Argument], target: Target, names: Names, texts: dict[int, Text]
) -> list[Line]:
    """Statements that give the elements of array arguments names (scalar code)."""
    wanted: dict[int, dict[tuple[int, ...], int]] = {}
    for n in planned.nodes:
        if n.op == "element":
            wanted.setdefault(n.args[0], {})[n.params["place"]] = n.key
    lines: list[str] = []
    for key, argument in zip(graph.inputs, inputs, strict=True):
        if key in wanted:
            for place in np.ndindex(argument.shape):
                if place in wanted[key]:
                    name = names.fresh("_".join([argument.name, *map(str, place)]))
                    texts[wanted[key][place]] = Text(name)

            def name_of(place: tuple[int, ...], elements: dict[tuple[int, ...], int] = wanted[key]) -> str:
                return texts[elements[place]].text if place in elements else target.syntax["ignored"]

            pattern = _packed(argument.shape, name_of)
            lines.append(target.syntax["unpack"].format(pattern=pattern, name=argument.name))
    return _lines(lines)


def _packed(shape: Shape, element: Callable[[tuple[int, ...]], str], place: tuple[int, ...] = ()) -> str:
    """Nested brackets around the elements of an array, as both Python and JavaScript write them."""
    if len(place) == len(shape):
        return element(place)
    return f"[{', '.join(_packed(shape, element, (*place, i)) for i in range(int(shape[len(place)])))}]"


def _entry(inputs: Sequence[Argument], planned: Plan, graph: Graph, sizes: Sizes, target: Target) -> list[Line]:
    """Conversions of the arguments at the top of the function, where the target's manifest asks for them."""
    read = {n.key for n in planned.nodes} | {graph.inputs[size.input] for size in sizes.given}
    lines = []
    for key, a in zip(graph.inputs, inputs, strict=True):
        pattern = target.syntax.get("scalar_entry" if a.is_scalar else "array_entry", "")
        if pattern and key in read:
            lines.append(pattern.format(name=a.name, dtype=numpy_name(graph.node(key).type.dtype)))
    return _lines(lines)


def _result(graph: Graph, groups: Sequence[Group], texts: dict[int, Text], target: Target) -> str:
    """All outputs in the target's notation: the value, the gradient, or the value and the gradient."""
    shown: list[str] = []
    returned: set[int] = set()
    for group in groups:
        if len(group.keys) == 1 and target.lowering == "array":
            (key,) = group.keys
            n = graph.node(key)
            fresh = n.op == "broadcast_to" and graph.node(n.args[0]).type.shape == ()
            shared = key in returned or (lookup(n.op).kind in ("leaf", "layout", "part") and not fresh)
            pattern = "{value}" if not n.type.shape or not shared else target.syntax["copy"]
            bare = scalar_constant(graph, key) is not None and n.type.dtype not in (FLOAT64, INT64, BOOL)
            text = typed(texts[key], n.type.dtype, target) if bare else texts[key]
            shown.append(pattern.format(value=text.text))
            returned.add(key)
        else:
            pieces = iter(texts[k].text for k in group.keys)
            shown.append(_packed(group.argument.shape, lambda _, pieces=pieces: next(pieces)))  # type: ignore[misc]
    return "\n".join(shown)


def _lines(statements: Sequence[str]) -> list[Line]:
    return [Line(0, part) for s in statements for part in wrapped(s, WIDTH, 4)]
