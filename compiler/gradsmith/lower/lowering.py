"""From prepared graphs to the `Program` that a target's templates print.

In: graphs, a target, and what the user called things. Out: a `Program` with one function for each derivative asked for.
Guarantee: the same inputs give the same program, in any process.
"""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from .._version import __version__
from ..derive.derivatives import GROUPS, KINDS, Kind
from ..dims import Extent, certainly_at_most
from ..graph import Graph, Node
from ..program import (
    Argument,
    Batch,
    BatchTest,
    Function,
    Line,
    PartFunction,
    Pattern,
    Program,
    SelfTest,
    Strided,
    Table,
    Work,
)
from ..regions import all_graphs, has_regions, pruned
from ..registry import Op, lookup
from ..target import Target
from ..types import FLOAT32, FLOAT64, DType, Type, format_shape
from .batches import Batching, batch, reserve
from .loops import loops
from .naming import Names
from .nests import lines_of
from .parts import in_parts, units
from .printing import WIDTH, wrapped
from .sizes import Sizes, named_sizes
from .statements import Body, Group, support_of, working_dtype
from .straight import Tables, straight
from .tables import FlatTables

__all__ = ["Part", "argument", "lower"]


@dataclass(frozen=True)
class Part:
    """A prepared graph and what the user calls its inputs and outputs: the `kinds` are functions of it.

    `groups` are the outputs that belong together, with wished-for names, in the order of the graph's outputs.
    """

    graph: Graph
    inputs: tuple[Argument, ...]
    groups: Mapping[str, tuple[Argument, ...]]
    kinds: tuple[Kind, ...]
    patterns: tuple[Pattern, ...] = ()
    lanes: Graph | None = None  # the same in straight-line code, for functions of many points

    def keys(self, graph: Graph | None = None) -> dict[str, list[Group]]:
        """Which nodes hold which output; scalar code has one node for each element."""
        graph = self.graph if graph is None else graph
        keys = iter(graph.outputs)
        scalarised = len(graph.outputs) != sum(map(len, self.groups.values())) or all(
            graph.node(k).type.shape == () for k in graph.outputs
        )
        return {
            group: [Group(a, tuple(next(keys) for _ in range(a.size if scalarised else 1))) for a in arguments]
            for group, arguments in self.groups.items()
        }


def lower(
    parts: Sequence[Part],
    target: Target,
    *,
    name: str,
    title: str,
    graph_hash: str,
    arguments: int,
    selftest: SelfTest | None,
    batching: Batching | None = None,
    contract: bool = False,
) -> Program:
    """The program of all kinds of functions in `parts`; each part's first `arguments` inputs are the user's.

    With `batching`, there is a function of many points for each of them, too. `contract`: whether C may use fused
    operations.
    """
    names = Names(target, {helper for part in parts for helper in _helper_names(part.graph, target)})
    if batching is not None:
        reserve(names, target)
    name = names.fresh(f"{name}_" if name in target.library else name)
    for macro in ("H", "WORK", "SELFTEST", "PART", "UNIT"):  # of a C header
        names.fresh(f"{name.upper()}_{macro}")
    functions_names = {k.name: names.fresh(name + k.suffix) if k.suffix else name for part in parts for k in part.kinds}
    batch_names = _batch_names(name, functions_names, names) if batching is not None else {}
    parts, sizes = _sized(_legal(parts, arguments, names, target), arguments, names, target)
    functions: list[Function] = []
    twins: list[Function] = []
    ops: dict[tuple[str, DType], Op] = {}
    twin_ops: dict[tuple[str, DType], Op] = {}
    vector_ops: dict[tuple[str, DType], Op] = {}
    main = _main_dtype([part.graph for part in parts])
    tables = Tables([part.graph for part in parts], names, target) if target.lowering == "array" else None
    flat_tables = FlatTables(target)
    helpers: dict[str, None] = {"parallel": None} if target.threads else {}
    cut: list[PartFunction] = []

    def written(part: Part, wanted: Sequence[Group], twin: bool = False, near: bool = True) -> Body:
        graph, wanted = _alone(part.graph, wanted)
        if target.lowering == "loops":
            known = flat_tables if flat_tables.of_file else FlatTables(target)
            chosen = target if near and not has_regions(graph) else replace(target, near=False)
            return loops(graph, wanted, part.inputs, sizes, chosen, names.copy(), known, main, twin=twin)
        return straight(graph, wanted, part.inputs, sizes, target, names.copy(), tables, twin=twin)

    for part, kind in [(each, kind) for each in parts for kind in each.kinds]:
        groups = part.keys()
        wanted = [g for group in kind.groups for g in groups[group]]
        body = written(part, wanted)
        own = functions_names[kind.name]
        given = _parameters(part.inputs, _outputs(part, kind), sizes, target)
        body, more = in_parts(body, own, given, sizes, target, main)
        if more and body.far:  # parts have no place to tell of arguments out of range
            body, more = in_parts(written(part, wanted, near=False), own, given, sizes, target, main)
        cut += more
        functions.append(_function(own, kind, body, part, sizes, target, main))
        ops.update(body.ops)
        vector_ops.update(body.vector_ops)
        helpers.update(body.helpers)
        if body.far:
            again = written(part, wanted, near=False)
            twins.append(
                _function(names.fresh(f"{functions_names[kind.name]}_far"), kind, again, part, sizes, target, main)
            )
            functions[-1] = _checked(functions[-1], twins[-1], body.far, sizes, target)
            ops.update(again.ops)
        if target.twin and body.may_raise:
            twin = written(part, wanted, twin=True)
            twin_name = f"_{functions_names[kind.name]}_{target.twin}"
            twins.append(_function(twin_name, kind, twin, part, sizes, target, main))
            twin_ops.update(twin.ops)
    batches: list[Batch] = []
    for (part, kind), f in zip([(each, kind) for each in parts for kind in each.kinds], functions, strict=True):
        if batching is None:
            break
        straight_groups = part.keys(part.lanes)
        wanted = [g for group in kind.groups for g in straight_groups[group]]
        batch_name = batch_names[kind.name]
        found, body = batch(f, kind, arguments, part.lanes, wanted, batching, batch_name, names, target, main)
        batches.append(found)
        ops.update(body.ops)
        vector_ops.update(body.vector_ops)
        helpers.update(body.helpers)
    imports, support = support_of(ops, target)
    _, kernels = support_of(vector_ops, target, loop=True)
    more_imports, twin_support = support_of(twin_ops, target, twin=True) if twin_ops else ([], [])
    tested = tuple(f for f in functions if KINDS[f.kind].family == "gradient")
    by_kind: Mapping[str, Function] = {f.kind: f for f in functions}
    return Program(
        name=name,
        guard=name.upper(),
        version=__version__,
        graph_hash=graph_hash,
        title=title,
        inputs=parts[0].inputs[:arguments],
        functions=tuple(functions),
        twins=tuple(twins),
        includes=_includes(parts, functions, sizes, bool(batches)),
        imports=tuple(dict.fromkeys([*imports, *more_imports])),
        support=(*(target.helpers[h] for h in helpers if h in target.helpers), *support, *kernels),
        twin_support=tuple(twin_support),
        libraries=_in_link_order(
            [
                *(target.libraries(op, dtype) for (_, dtype), op in ops.items()),
                *(target.libraries(op, dtype, loop=True) for (_, dtype), op in vector_ops.items()),
            ]
        ),
        constants=tuple(tables.lines() if tables else [line.text for line in flat_tables.lines]),
        dtype=main.name,
        strict=target.strict,
        work=_widest([w for f in functions for w in f.work], name, sizes),
        selftest=_selftest(selftest, functions, batches, arguments, sizes, target) if selftest else None,
        units=units(cut, target.tuning.unit_lines),
        patterns=tuple(_tables(name, [p for part in parts for p in part.patterns], names, target)),
        tested=tested,
        sizes=sizes.given,
        value=by_kind.get("value"),
        grad=by_kind.get("grad"),
        value_and_grad=by_kind.get("value_and_grad"),
        batches=tuple(batches),
        gathered=_memory_types(a for b in batches if b.lanes for a in b.inputs if a.each),
        scattered=_memory_types(a for b in batches if b.lanes for a in b.outputs if a.each),
        streamed=tuple(dict.fromkeys(b.streamed for b in batches if b.streams)),
        lined=_memory_types(a for b in batches for a in b.lined),
        summed=_memory_types(a for b in batches if b.lanes for a in b.sums),
        batch_work=_widest([w for b in batches for w in b.work], name, sizes),
        most_axes=max((a.argument.ndim for b in batches for a in (*b.inputs, *b.outputs)), default=0),
        threads=target.threads or (batching is not None and batching.threads),
        contract=contract and not target.strict,
    )


def _batch_names(name: str, kinds: Iterable[str], names: Names) -> dict[str, str]:
    """What the functions of many points are called; the template adds ends of its own."""
    found = {}
    for kind in kinds:
        found[kind] = names.fresh(f"{name}{KINDS[kind].suffix or '_value'}_batch")
        for end in ("block", "lanes"):
            names.fresh(f"{found[kind]}_{end}")
    return found


def _memory_types(arrays: Iterable[Strided]) -> tuple[str, ...]:
    """The element types of arrays, each once."""
    return tuple(dict.fromkeys(a.argument.ctype for a in arrays))


def _tables(name: str, patterns: Sequence[Pattern], names: Names, target: Target) -> Iterator[Table]:
    """The constants that say where nonzeros stand: `F_JACOBIAN_INDPTR` and the like."""
    for p in patterns:
        for end, values in p.arrays:
            label = names.fresh(f"{name}_{p.name}_{end}".upper())
            text = target.syntax["pattern"].format(
                name=label, size=max(1, len(values)), values=", ".join(values) or "0"
            )
            yield Table(label, max(1, len(values)), "\n".join(wrapped(text, WIDTH, 0)))


def _in_link_order(needs: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """All libraries, each before those that it calls, which stand behind it wherever both are named."""
    longest_first = sorted(needs, key=len, reverse=True)
    return tuple(dict.fromkeys(name for names in longest_first for name in names))


def _includes(parts: Sequence[Part], functions: Sequence[Function], sizes: Sizes, strided: bool) -> tuple[str, ...]:
    """The headers that the words of a C header come from."""
    integers = any(n.type.dtype.kind == "int" for part in parts for each in all_graphs(part.graph) for n in each.sorts)
    integers = integers or any(w.ctype.endswith("_t") for f in functions for w in f.work)
    lengths = strided or bool(sizes.given) or any(part.patterns for part in parts)
    return ("stdint.h",) * integers + ("stddef.h",) * lengths


def _alone(graph: Graph, wanted: Sequence[Group]) -> tuple[Graph, Sequence[Group]]:
    """`graph` whose loops compute what is `wanted` alone: a value needs nothing that only its gradient reads."""
    if not has_regions(graph):
        return graph, wanted
    cut = pruned(graph, [key for g in wanted for key in g.keys])
    keys = iter(cut.outputs)
    return cut, [replace(g, keys=tuple(next(keys) for _ in g.keys)) for g in wanted]


def _legal(parts: Sequence[Part], arguments: int, names: Names, target: Target) -> list[Part]:
    """The parts with names that the target allows, all different where outputs are parameters too."""
    if not target.returns:
        for end in ("", "_bool", "_f32", "_i32", "_i64"):
            names.fresh(f"work{end}")
    own = parts[0].inputs[:arguments]
    inputs = tuple(_named(a, names.fresh(a.name)) for a in own)
    renamed = {old.name: new.name for old, new in zip(own, inputs, strict=True)}
    seeds = [[_named(a, names.fresh(a.name)) for a in part.inputs[arguments:]] for part in parts]
    outputs: dict[tuple[str, str], str] = {}  # the same output of several functions has one name

    def named(group: str, a: Argument) -> Argument:
        wish = _renamed(a, renamed) if GROUPS[group].by == ("argument",) else a
        if target.lowering != "loops":
            return wish
        if (group, a.name) not in outputs:
            outputs[group, a.name] = names.fresh(wish.name)
        return _named(a, outputs[group, a.name])

    return [
        replace(
            part,
            inputs=(*inputs, *more),
            groups={group: tuple(named(group, a) for a in found) for group, found in part.groups.items()},
        )
        for part, more in zip(parts, seeds, strict=True)
    ]


def _sized(parts: Sequence[Part], arguments: int, names: Names, target: Target) -> tuple[list[Part], Sizes]:
    """The parts in the code's names for sizes, which are the same in all functions of a file."""
    graphs, sizes = named_sizes([part.graph for part in parts], parts[0].inputs[:arguments], names, target)
    found = [
        replace(
            part,
            graph=graph,
            inputs=tuple(map(sizes.of, part.inputs)),
            groups={group: tuple(map(sizes.of, same)) for group, same in part.groups.items()},
        )
        for part, graph in zip(parts, graphs, strict=True)
    ]
    return found, sizes


def _renamed(output: Argument, renamed: Mapping[str, str]) -> Argument:
    prefix, _, of = output.name.partition("_")
    return _named(output, f"{prefix}_{renamed.get(of, of)}")


def _named(a: Argument, name: str) -> Argument:
    """The argument under that name."""
    return a if a.name == name else replace(a, name=name)


_DEFINED = re.compile(r"^(?:def |static .*?)(\w+)\(|^(\w+) = ", re.MULTILINE)


def _helper_names(graph: Graph, target: Target) -> set[str]:
    """The names that the support texts of the graph's ops define at the top of the file."""
    ops = dict.fromkeys((n.op, working_dtype(each, n)) for each in all_graphs(graph) for n in _that_differ(each))
    texts = [t for op, dtype in ops for twin in (False, True) for t in target.support_texts(lookup(op), dtype, twin)]
    texts += [
        t
        for op, dtype in ops
        if target.vector(lookup(op), dtype)
        for t in target.support_texts(lookup(op), dtype, loop=True)
    ]
    texts += target.helpers.values()
    return {a or b for text in texts for a, b in _DEFINED.findall(text)}


def _that_differ(graph: Graph) -> Iterable[Node]:
    """Nodes of all ops with all dtypes that they work in, which those of real numbers tell by their type."""
    sorts = graph.sorts
    return sorts if all(n.type.dtype.kind == "float" for n in sorts) else graph.ordered()


def _main_dtype(graphs: Sequence[Graph]) -> DType:
    """The floating-point type of a file: float64 where there is any."""
    found = {n.type.dtype for graph in graphs for each in all_graphs(graph) for n in each.sorts}
    return FLOAT32 if FLOAT32 in found and FLOAT64 not in found else FLOAT64


def _works(body: Body, target: Target, main: DType) -> tuple[Work, ...]:
    """One workspace for each element type; the file's own type has the plain names."""
    works = []
    for dtype, size in sorted(body.work.items(), key=lambda item: item[0] is not main):
        end = "" if dtype == main else f"_{dtype.short}"
        works.append(Work(f"work{end}", f"WORK{end.upper()}", target.types[dtype.name], size))
    return tuple(works)


def _widest(works: Sequence[Work], function: str, sizes: Sizes) -> tuple[Work, ...]:
    """Of several functions' workspaces, the largest of each kind, and how large that is."""
    kinds: dict[str, list[Work]] = {}
    for work in works:
        kinds.setdefault(work.name, []).append(work)
    found = []
    for name, same in sorted(kinds.items()):
        if all(isinstance(w.size, int) for w in same):
            found.append(max(same, key=lambda w: w.size))
            continue
        choices = tuple(dict.fromkeys(str(w.size) for w in same if not any(_contains(v.size, w.size) for v in same)))
        before = (*sizes.unused(choices), *sizes.definitions(choices))
        found.append(replace(same[0], choices=choices, before=before, function=f"{function}_{name}_size"))
    return tuple(found)


def _contains(larger: Extent, smaller: Extent) -> bool:
    return larger != smaller and certainly_at_most(smaller, larger)


def _function(name: str, kind: Kind, body: Body, part: Part, sizes: Sizes, target: Target, main: DType) -> Function:
    outputs, works = _outputs(part, kind), _works(body, target, main)
    lengths = [str(d) for a in (*part.inputs, *outputs) for d in (*a.shape, a.size)] + [str(w.size) for w in works]
    return Function(
        name=name,
        kind=kind.name,
        doc=_doc(kind, part),
        inputs=part.inputs,
        outputs=tuple(outputs),
        signature=_head(name, part.inputs, sizes, outputs, works, target),
        body=tuple(body.lines or sizes.whole(body)),
        result=_result(body, [len(part.groups[group]) for group in kind.groups], target),
        work=works,
        returns_tuple=len(outputs) > 1,
        groups=tuple(len(part.groups[group]) for group in kind.groups),
        agreements=sizes.agreements(part.inputs),
        shape_sizes=sizes.definitions(lengths),
    )


def _outputs(part: Part, kind: Kind) -> list[Argument]:
    return [a for group in kind.groups for a in part.groups[group]]


def _checked(f: Function, far: Function, dtypes: AbstractSet[DType], sizes: Sizes, target: Target) -> Function:
    """`f`, which is followed by `far` with the same arguments if one of its kernels saw an argument out of range.

    Functions only read their inputs, and write all of their outputs and workspace: so they may run again.
    """
    syntax = target.syntax
    names = [s.name for s in sizes.given] + [a.name for a in (*f.inputs, *f.outputs)] + [w.name for w in far.work]
    widths = sorted(dtypes)
    first = [Line(0, syntax[f"far.{dtype.name}"]) for dtype in widths]
    condition = " || ".join(syntax[f"is_far.{dtype.name}"] for dtype in widths)
    call = syntax["call"].format(value=f"{far.name}({', '.join(names)})")
    last = [Line(0, syntax["if"].format(condition=condition)), *lines_of(call, 1), Line(0, syntax["end"])]
    return replace(f, body=(*first, *f.body, *last))


def _doc(kind: Kind, part: Part) -> str:
    texts = []
    for group in kind.groups:
        found = part.groups[group]
        if group != "values":
            texts.append(f"{GROUPS[group].title}: {_listed(found)}")
        else:
            texts.append(f"the value {_shape(found[0])}" if len(found) == 1 else f"the values {_listed(found)}")
    text = " and ".join(texts)
    return "\n".join(textwrap.wrap(f"{text[0].upper()}{text[1:]}.", WIDTH - 10))


def _listed(arguments: Sequence[Argument]) -> str:
    """`d_x, d_y (scalars)`, or each with its shape."""
    if len(arguments) > 1 and all(a.is_scalar for a in arguments):
        return ", ".join(a.name for a in arguments) + " (scalars)"
    return ", ".join(f"{a.name} {_shape(a)}" for a in arguments)


def _shape(a: Argument) -> str:
    return format_shape(a.shape) if a.shape else "(scalar)"


def _head(
    name: str,
    inputs: Sequence[Argument],
    sizes: Sizes,
    outputs: Sequence[Argument],
    works: Sequence[Work],
    target: Target,
) -> str:
    """The line that names the function and its parameters, cut where it grows long."""
    texts = [*_parameters(inputs, outputs, sizes, target).values()]
    if not target.returns:
        texts += [target.syntax["workspace"].format(name=w.name, type=w.ctype) for w in works]
    head = target.syntax["signature"].format(name=name, parameters=", ".join(texts))
    first, *rest = wrapped(head, WIDTH, 4)
    return "\n".join([first, *(f"    {line}" for line in rest)])  # deeper than the body that follows


def _parameters(
    inputs: Sequence[Argument], outputs: Sequence[Argument], sizes: Sizes, target: Target
) -> dict[str, str]:
    """The parameters of a function but for workspace, by name, in their order."""
    syntax = target.syntax
    found = {s.name: syntax["size_input"].format(name=s.name) for s in sizes.given if "size_input" in syntax}
    for a in inputs:
        found[a.name] = syntax["scalar_input" if a.is_scalar else "array_input"].format(name=a.name, type=a.ctype)
    if not target.returns:
        found.update({a.name: syntax["output"].format(name=a.name, type=a.ctype) for a in outputs})
    return found


def _selftest(
    selftest: SelfTest,
    functions: Sequence[Function],
    batches: Sequence[Batch],
    arguments: int,
    sizes: Sizes,
    target: Target,
) -> SelfTest:
    checked = {check.kind for check in selftest.checks}
    functions = [f for f in functions if f.kind in checked or KINDS[f.kind].family == "gradient"]
    concrete = tuple(sizes.at(selftest.sizes, f) for f in functions)
    calls = {f.kind: _call(f, tuple(selftest.sizes.values())) for f in functions}
    by_kind = {f.kind: f for f in concrete}
    checks = []
    for check in selftest.checks:
        f = by_kind[check.kind]
        before = selftest.values if "values" in KINDS[f.kind].groups else 0
        checks.append(replace(check, name=f.name, seeds=f.inputs[arguments:], before=before))
    return replace(
        selftest,
        calls=calls,
        by_place=target.lowering == "scalar",
        functions=concrete,
        inputs=concrete[0].inputs[:arguments],
        checks=tuple(checks),
        seeds=max((_numbers(check.seeds) for check in checks), default=0),
        valued=any("values" in KINDS[f.kind].groups for f in functions),
        most=max(_numbers(f.outputs) for f in concrete),
        batches=tuple(_batch_test(b) for b in batches if b.function.kind in by_kind),
    )


def _batch_test(b: Batch) -> BatchTest:
    """More than one block of straight-line code, for the points left over; else a few points."""
    texts = [f"{b.name}(POINTS", *(["2"] if b.threads else [])]
    for prefix, pointed, arrays in (("gs_in_", False, b.inputs), ("gs_out_", True, b.outputs)):
        for a in arrays:
            bare = a.argument.is_scalar and not a.each and not pointed
            texts.append(f"{'*' if bare else ''}{prefix}{a.argument.name}")
            if a.each:
                texts += [str(a.argument.size), *(str(axis.step) for axis in a.axes)]
    texts += [f"gs_{w.name}" for w in b.work]
    return BatchTest(b.name, b.function.kind, b, b.block + 3 if b.lanes else 3, f"{', '.join(texts)});")


def _numbers(arguments: Sequence[Argument]) -> int:
    """How many numbers arguments of known shapes have together."""
    return sum(math.prod(a.fixed_shape) for a in arguments)


def _call(f: Function, sizes: Sequence[int]) -> str:
    """The statement by which a C self-test calls `f`."""
    texts = [*map(str, sizes)]
    texts += [f"{'*' if a.is_scalar else ''}gs_in_{a.name}" for a in f.inputs]
    texts += [f"gs_out_{a.name}" for a in f.outputs] + [f"gs_{w.name}" for w in f.work]
    return f"{f.name}({', '.join(texts)});"


def _result(body: Body, groups: Sequence[int], target: Target) -> str:
    """`value`, `d_x`, `(d_x, d_y)`, or `value, (d_x, d_y)` in the target's brackets."""
    if not target.returns:
        return ""
    texts = body.result.split("\n")
    ends = list(itertools.accumulate(groups))
    packed = [_tuple(texts[end - size : end], target) for size, end in zip(groups, ends, strict=True)]
    whole = packed if len(groups) > 1 else texts
    text = texts[0] if len(texts) == 1 else target.syntax["results"].format(values=", ".join(whole))
    return "\n".join(wrapped(text, WIDTH, 12))


def _tuple(texts: Sequence[str], target: Target) -> str:
    if len(texts) < 2:
        return "".join(texts)
    return target.syntax["tuple"].format(values=", ".join(texts))


_FORMATS = {"float64": "d", "float32": "f", "int64": "q", "int32": "i", "bool": "?"}


def argument(name: str, type: Type, about: str, target: Target, *, memory: bool) -> Argument:
    """An `Argument` record: its size, and its element type in the target's words (`memory`: behind a pointer)."""
    shape, dtype = type.shape, type.dtype.name
    words = target.types.get(dtype, dtype)
    words = target.types.get(f"{dtype}[]", words) if memory else words
    return Argument(name, shape, math.prod(shape), about, dtype, words, _FORMATS[dtype], format_shape(shape))
