"""From a prepared graph to the `Program` that a target's templates print.

In: the graph, a target, and what the user called things. Out: a `Program` with one function for each derivative asked
for. Guarantee: the same inputs give the same program, in any process.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .._version import __version__
from ..dims import Extent, certainly_at_most
from ..graph import Graph
from ..program import Argument, Function, Program, SelfTest, Work
from ..regions import has_regions, pruned
from ..registry import Op, lookup
from ..target import Target
from ..types import FLOAT32, FLOAT64, DType, Type, format_shape
from .loops import loops
from .naming import Names
from .printing import WIDTH, wrapped
from .sizes import Sizes, named_sizes
from .statements import Body, Group, support_of, with_inner, working_dtype
from .straight import Tables, straight
from .tables import FlatTables

__all__ = ["Signature", "argument", "lower"]

_SUFFIX = {"value": "", "grad": "_grad", "value_and_grad": "_value_and_grad"}


@dataclass(frozen=True)
class Signature:
    """What the user's function takes and gives: arguments, values and gradients, in order, with wished-for names."""

    inputs: tuple[Argument, ...]
    values: tuple[Argument, ...]
    gradients: tuple[Argument, ...]

    def outputs(self, kind: str) -> tuple[Argument, ...]:
        """What a function of this kind returns, flat."""
        values = self.values if kind != "grad" else ()
        return values + (self.gradients if kind != "value" else ())


def lower(
    graph: Graph,
    signature: Signature,
    target: Target,
    *,
    name: str,
    title: str,
    derivatives: Sequence[str],
    graph_hash: str,
    selftest: SelfTest | None,
) -> Program:
    """The program that computes `derivatives` of `graph`, whose outputs are the values and then the gradients."""
    names = Names(target, _helper_names(graph, target))
    name = names.fresh(f"{name}_" if name in target.library else name)
    for macro in ("H", "WORK", "SELFTEST"):  # of a C header
        names.fresh(f"{name.upper()}_{macro}")
    functions_names = {kind: names.fresh(name + _SUFFIX[kind]) if kind != "value" else name for kind in derivatives}
    signature = _legal(signature, names, target)
    graph, sizes = named_sizes(graph, signature.inputs, names, target)
    signature = Signature(*(tuple(map(sizes.of, part)) for part in vars(signature).values()))
    groups = dict(zip(("values", "gradients"), _groups(graph, signature), strict=True))
    functions: list[Function] = []
    twins: list[Function] = []
    ops: dict[tuple[str, DType], Op] = {}
    twin_ops: dict[tuple[str, DType], Op] = {}
    main = _main_dtype(graph)
    tables = Tables(graph, names, target) if target.lowering == "array" else None
    flat_tables = FlatTables(target)
    helpers: dict[str, None] = {}
    whole = graph

    def written(wanted: Sequence[Group], twin: bool = False) -> Body:
        inputs = signature.inputs
        graph, wanted = _alone(whole, wanted)
        if target.lowering == "loops":
            known = flat_tables if flat_tables.of_file else FlatTables(target)
            return loops(graph, wanted, inputs, sizes, target, names.copy(), known, main, twin=twin)
        return straight(graph, wanted, inputs, sizes, target, names.copy(), tables, twin=twin)

    for kind in derivatives:
        wanted = groups["values"] * (kind != "grad") + groups["gradients"] * (kind != "value")
        body = written(wanted)
        function = _function(functions_names[kind], kind, body, signature, sizes, target, main)
        functions.append(function)
        ops.update(body.ops)
        helpers.update(body.helpers)
        if target.twin and body.may_raise:
            twin = written(wanted, twin=True)
            twins.append(
                _function(f"_{functions_names[kind]}_{target.twin}", kind, twin, signature, sizes, target, main)
            )
            twin_ops.update(twin.ops)
    imports, support = support_of(ops, target, twin=False)
    more_imports, twin_support = support_of(twin_ops, target, twin=True) if twins else ([], [])
    by_kind: Mapping[str, Function] = {f.kind: f for f in functions}
    return Program(
        name=name,
        guard=name.upper(),
        version=__version__,
        graph_hash=graph_hash,
        title=title,
        inputs=signature.inputs,
        functions=tuple(functions),
        twins=tuple(twins),
        includes=_includes(graph, sizes),
        imports=tuple(dict.fromkeys([*imports, *more_imports])),
        support=(*(target.helpers[h] for h in helpers if h in target.helpers), *support),
        twin_support=tuple(twin_support),
        constants=tuple(tables.lines() if tables else [line.text for line in flat_tables.lines]),
        dtype=main.name,
        strict=target.strict,
        work=_widest([w for f in functions for w in f.work], name, sizes),
        selftest=_selftest(selftest, functions, sizes, target) if selftest else None,
        sizes=sizes.given,
        agreements=sizes.agreements(signature.inputs),
        shape_sizes=sizes.definitions(
            [str(a.size) for a in (*signature.inputs, *signature.values, *signature.gradients)]
            + [str(w.size) for f in functions for w in f.work]
        ),
        value=by_kind.get("value"),
        grad=by_kind.get("grad"),
        value_and_grad=by_kind.get("value_and_grad"),
    )


def _includes(graph: Graph, sizes: Sizes) -> tuple[str, ...]:
    """The headers that the words of a C header come from."""
    integers = any(n.type.dtype.kind == "int" for n in with_inner(graph))
    return (*(("stddef.h",) if sizes.given else ()), *(("stdint.h",) if integers else ()))


def _alone(graph: Graph, wanted: Sequence[Group]) -> tuple[Graph, Sequence[Group]]:
    """`graph` whose loops compute what is `wanted` alone: a value needs nothing that only its gradient reads."""
    if not has_regions(graph):
        return graph, wanted
    cut = pruned(graph, [key for g in wanted for key in g.keys])
    keys = iter(cut.outputs)
    return cut, [replace(g, keys=tuple(next(keys) for _ in g.keys)) for g in wanted]


def _legal(signature: Signature, names: Names, target: Target) -> Signature:
    """The signature with names that the target allows, all different where outputs are parameters too."""
    if not target.returns:
        for end in ("", "_bool", "_f32", "_i32", "_i64"):
            names.fresh(f"work{end}")
    inputs = tuple(replace(a, name=names.fresh(a.name)) for a in signature.inputs)
    renamed = {old.name: new.name for old, new in zip(signature.inputs, inputs, strict=True)}
    if target.lowering != "loops":
        return Signature(inputs, signature.values, tuple(_renamed(g, renamed) for g in signature.gradients))
    values = tuple(replace(a, name=names.fresh(a.name)) for a in signature.values)
    gradients = tuple(replace(a, name=names.fresh(_renamed(a, renamed).name)) for a in signature.gradients)
    return Signature(inputs, values, gradients)


def _renamed(gradient: Argument, renamed: Mapping[str, str]) -> Argument:
    return replace(
        gradient, name="d_" + renamed.get(gradient.name.removeprefix("d_"), gradient.name.removeprefix("d_"))
    )


def _groups(graph: Graph, signature: Signature) -> tuple[list[Group], list[Group]]:
    """Which nodes hold which output; scalar code has one node for each element."""
    keys = iter(graph.outputs)
    scalarised = len(graph.outputs) != len(signature.values) + len(signature.gradients) or all(
        graph.nodes[k]["shape"] == () for k in graph.outputs
    )
    found = []
    for arguments in (signature.values, signature.gradients):
        found.append([Group(a, tuple(next(keys) for _ in range(a.size if scalarised else 1))) for a in arguments])
    return found[0], found[1]


_DEFINED = re.compile(r"^(?:def |static .*?)(\w+)\(|^(\w+) = ", re.MULTILINE)


def _helper_names(graph: Graph, target: Target) -> set[str]:
    """The names that the support texts of the graph's ops define at the top of the file."""
    ops = dict.fromkeys((n.op, working_dtype(graph, n)) for n in with_inner(graph))
    texts = [t for op, dtype in ops for twin in (False, True) for t in target.support_texts(lookup(op), dtype, twin)]
    texts += target.helpers.values()
    return {a or b for text in texts for a, b in _DEFINED.findall(text)}


def _main_dtype(graph: Graph) -> DType:
    """The floating-point type of a file: float64 where there is any."""
    found = [n.type.dtype for n in with_inner(graph)]
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


def _function(
    name: str, kind: str, body: Body, signature: Signature, sizes: Sizes, target: Target, main: DType
) -> Function:
    outputs, works = signature.outputs(kind), _works(body, target, main)
    return Function(
        name=name,
        kind=kind,
        doc=_doc(kind, signature),
        inputs=signature.inputs,
        outputs=outputs,
        signature=_head(name, signature, sizes, outputs, works, target),
        body=tuple(body.lines),
        result=_result(body, kind, signature, target),
        work=works,
        returns_tuple=len(outputs) > 1,
    )


def _doc(kind: str, signature: Signature) -> str:
    values, gradients = _listed(signature.values), _listed(signature.gradients)
    if len(signature.values) == 1:
        value = f"The value {_shape(signature.values[0])}"
    else:
        value = f"The values {values}"
    texts = {
        "value": value,
        "grad": f"The gradient: {gradients}",
        "value_and_grad": f"{value} and the gradient: {gradients}",
    }
    return "\n".join(textwrap.wrap(f"{texts[kind]}.", WIDTH - 10))


def _listed(arguments: Sequence[Argument]) -> str:
    """`d_x, d_y (scalars)`, or each with its shape."""
    if len(arguments) > 1 and all(a.is_scalar for a in arguments):
        return ", ".join(a.name for a in arguments) + " (scalars)"
    return ", ".join(f"{a.name} {_shape(a)}" for a in arguments)


def _shape(a: Argument) -> str:
    return format_shape(a.shape) if a.shape else "(scalar)"


def _head(
    name: str,
    signature: Signature,
    sizes: Sizes,
    outputs: Sequence[Argument],
    works: Sequence[Work],
    target: Target,
) -> str:
    """The line that names the function and its parameters, cut where it grows long."""
    syntax = target.syntax
    texts = [syntax["size_input"].format(name=s.name) for s in sizes.given if "size_input" in syntax]
    texts += [
        syntax["scalar_input" if a.is_scalar else "array_input"].format(name=a.name, type=a.ctype)
        for a in signature.inputs
    ]
    if not target.returns:
        texts += [syntax["output"].format(name=a.name, type=a.ctype) for a in outputs]
        texts += [syntax["workspace"].format(name=w.name, type=w.ctype) for w in works]
    head = syntax["signature"].format(name=name, parameters=", ".join(texts))
    first, *rest = wrapped(head, WIDTH, 4)
    return "\n".join([first, *(f"    {line}" for line in rest)])  # deeper than the body that follows


def _selftest(selftest: SelfTest, functions: Sequence[Function], sizes: Sizes, target: Target) -> SelfTest:
    concrete = tuple(sizes.at(selftest.sizes, f) for f in functions)
    calls = {f.kind: _call(f, tuple(selftest.sizes.values())) for f in functions}
    return replace(
        selftest, calls=calls, by_place=target.lowering == "scalar", functions=concrete, inputs=concrete[0].inputs
    )


def _call(f: Function, sizes: Sequence[int]) -> str:
    """The statement by which a C self-test calls `f`."""
    texts = [*map(str, sizes)]
    texts += [f"{'*' if a.is_scalar else ''}gs_in_{a.name}" for a in f.inputs]
    texts += [f"gs_out_{a.name}" for a in f.outputs] + [f"gs_{w.name}" for w in f.work]
    return f"{f.name}({', '.join(texts)});"


def _result(body: Body, kind: str, signature: Signature, target: Target) -> str:
    """`value`, `d_x`, `(d_x, d_y)`, or `value, (d_x, d_y)` in the target's brackets."""
    if not target.returns:
        return ""
    texts = body.result.split("\n")
    count = len(signature.values) if kind != "grad" else 0
    values, gradients = _tuple(texts[:count], target), _tuple(texts[count:], target)
    both = [t for t in (values, gradients) if t]
    whole = both if len(both) == 2 else texts
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
