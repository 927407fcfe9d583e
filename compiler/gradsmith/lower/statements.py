"""What both lowerings share: which nodes a function needs, how often each is read, and comments above statements."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ..dims import Extent
from ..graph import Graph, Node
from ..origin import Origin, statement_text
from ..program import Argument, Line
from ..registry import Op, lookup
from ..target import Target
from ..types import DType, broadcast_shapes
from .printing import WIDTH

__all__ = [
    "Body", "Group", "Plan", "Step", "annotated", "cotangent_owners", "is_long", "may_raise", "plan", "scalar_constant",
    "support_of", "words_of", "working_dtype",
]  # fmt: skip


@dataclass(frozen=True)
class Group:
    """One output of a function: what it is, and the nodes that hold it (its elements, in scalar code)."""

    argument: Argument
    keys: tuple[int, ...]


class Step(NamedTuple):
    """Statements that belong together, and the scalars that they name for those behind them.

    `words` are those of its lines that name values, in any order, where that is known without reading the lines.
    """

    origin: Origin
    lines: list[Line]
    made: Mapping[str, DType] = MappingProxyType({})
    words: tuple[str, ...] | None = None


_WORD = re.compile(r"(?<![\w.])[A-Za-z_]\w*")


def words_of(lines: Sequence[Line]) -> tuple[str, ...]:
    """The words of code in order, each once: not those of comments, nor letters in numbers.

    >>> words_of([Line(0, "// a comment"), Line(0, "y = exp(x) * 1e5f + x;")])
    ('y', 'exp', 'x')
    """
    code = "\n".join([text for _, text in lines if text[:2] != "//"])
    return tuple(dict.fromkeys(_WORD.findall(code)))


@dataclass
class Body:
    """A lowered function body: lines, the result in the target's notation, and the ops whose support it needs.

    Loop code tells its `lines` apart too: what is done with the arguments on `entry`, the tables and buffers that the
    `prelude` defines, and the `steps`, which may become several functions: a body that is long enough for that has no
    `lines` yet.
    """

    lines: list[Line]
    result: str = ""
    work: dict[DType, Extent] = field(default_factory=dict)
    ops: dict[tuple[str, DType], Op] = field(default_factory=dict)
    vector_ops: dict[tuple[str, DType], Op] = field(default_factory=dict)  # those written by vector kernels
    may_raise: bool = False
    entry: list[Line] = field(default_factory=list)
    prelude: list[Line] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    far: set[DType] = field(default_factory=set)  # of kernels that have told in a variable of arguments out of range
    helpers: dict[str, None] = field(default_factory=dict)  # patterns in use that have helper code, in order


@dataclass(frozen=True)
class Plan:
    """The nodes to emit in order, the operands each prints, and how often each value is read."""

    nodes: tuple[Node, ...]
    operands: Mapping[int, tuple[int, ...]]
    uses: Mapping[int, int]
    outputs: Mapping[int, str]


def plan(graph: Graph, groups: Sequence[Group], implicit_broadcast: bool) -> Plan:
    """What to emit for `groups`. With `implicit_broadcast`, operands of element-wise ops broadcast by themselves."""
    operands: dict[int, tuple[int, ...]] = {}
    uses: dict[int, int] = {}
    outputs: dict[int, str] = {}
    for group in groups:
        whole = len(group.keys) == 1 and not (group.argument.shape and graph.node(group.keys[0]).type.shape == ())
        places = [()] if whole else np.ndindex(group.argument.shape)
        for place, key in zip(places, group.keys, strict=True):
            uses[key] = uses.get(key, 0) + 1
            outputs.setdefault(key, "_".join([group.argument.name, *map(str, place)]))
    nodes: list[Node] = []
    for n in graph.backwards():
        key = n.key
        if key not in uses:
            continue
        nodes.append(n)
        operands[key] = _printed(graph, n) if implicit_broadcast else n.args
        for a in operands[key]:
            uses[a] = uses.get(a, 0) + 1
    return Plan(tuple(reversed(nodes)), operands, uses, outputs)


def is_long(body: Body, target: Target) -> bool:
    """Whether a body becomes several functions."""
    return "part" in target.syntax and sum([len(s.lines) for s in body.steps]) > target.tuning.longest_body


def working_dtype(graph: Graph, n: Node) -> DType:
    """The dtype in which `n` computes: its result's if that is a float, and else its (last) operand's."""
    dtype: DType = n.type.dtype if n.type.dtype.kind == "float" or not n.args else graph.node(n.args[-1]).type.dtype
    return dtype


def scalar_constant(graph: Graph, key: int) -> Any:
    """The number that a node is, or None."""
    value = graph.node(key).params.get("value")
    return value if isinstance(value, float | int) else None


def may_raise(graph: Graph, n: Node, target: Target) -> bool:
    """Whether the target's first cell for `n` may raise, so that the twin needs its second one."""
    op = lookup(n.op)
    return target.twin_name in op.cells and op.raises(*(scalar_constant(graph, a) for a in n.args))


def cotangent_owners(graph: Graph) -> dict[int, int]:
    """Cotangent -> the value it belongs to, for those named after it, so that `d_x_2` is the cotangent of `x_2`."""
    owners: dict[int, int] = {}
    for value, cotangent in graph.cotangents.items():
        owner, own = graph.node(value).origin, graph.node(cotangent).origin
        if owner.name and own.name == f"d_{owner.name}" and (owner.role, own.role) == ("primal", "cotangent"):
            owners.setdefault(cotangent, value)
    return owners


def _printed(graph: Graph, n: Node) -> tuple[int, ...]:
    """The operands of `n`, without the broadcasts that NumPy's own broadcasting makes needless."""
    op = lookup(n.op)
    short = tuple(graph.node(a).args[0] if graph.node(a).op == "broadcast_to" else a for a in n.args)
    if op.statements:  # assignments to places, which a number fills
        return tuple(s if graph.node(s).type.shape == () else a for s, a in zip(short, n.args, strict=True))
    if op.kind != "elementwise" or not n.type.shape:
        return n.args
    for skipped in range(len(n.args) + 1):  # keep explicit as few of the first broadcasts as the shape needs
        candidate = n.args[:skipped] + short[skipped:]
        if broadcast_shapes(*(graph.node(a).type.shape for a in candidate)) == n.type.shape:
            return candidate
    return n.args


def annotated(
    steps: Iterable[tuple[Origin, Sequence[Line]]], target: Target, before: Origin | None = None
) -> list[Line]:
    """Statements with one comment above each run that comes from the same line of the user's program.

    The first run has none if it goes on with what stands `before`. What an origin says besides is said once.
    """
    runs: list[tuple[tuple[str, int, str], list[str], Origin, list[Line]]] = []
    last: Origin | None = None
    said: set[str] = set()
    for origin, lines in steps:
        if origin is not last:
            key = (origin.path, origin.line, origin.role)
            if not runs or runs[-1][0] != key:
                runs.append((key, [], origin, []))
            if origin.rule and origin.rule not in runs[-1][1]:
                runs[-1][1].append(origin.rule)
            last = origin
        if origin.why and lines and origin.why not in said:
            said.add(origin.why)
            runs[-1][3].append(Line(0, target.comment.replace("{text}", origin.why)))
        runs[-1][3].extend(lines)
    result: list[Line] = []
    told: object = before and (before.path, before.line, before.role)
    for place, rules, origin, lines in runs:
        comment = "" if place == told else _comment(origin, rules)
        told = None
        if comment:
            result.append(Line(0, target.comment.replace("{text}", _harmless(comment))))
        result.extend(lines)
    return result


_WAYS = {"cotangent": "backward", "tangent": "forward"}


def _comment(origin: Origin, rules: Sequence[str]) -> str:
    place = f"{origin}  {statement_text(origin)}".strip() if origin.line else ""
    if origin.role == "primal":
        return place
    if not place:
        return "gradient" if origin.role == "cotangent" else "derivative"
    rules = [r for r in rules if r not in ("input", "constant")]
    named = f" ({', '.join(rules)})" if rules else ""
    text = f"{_WAYS[origin.role]}{named} of {place}"
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def _harmless(comment: str) -> str:
    """A comment that cannot end early, go on in the next line, or be read as a trigraph."""
    return comment.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?").rstrip("\\").replace("\n", " ")


def support_of(
    ops: Mapping[tuple[str, DType], Op], target: Target, *, twin: bool = False, loop: bool = False
) -> tuple[list[str], list[str]]:
    """Import lines and helper texts that the cells of `ops`, for these dtypes, need, each once."""
    imports: list[str] = []
    texts: list[str] = []
    for (_, dtype), op in ops.items():
        for text in target.support_texts(op, dtype, twin, loop=loop):
            lines = text.splitlines()
            imports += [line for line in lines if line.startswith("import ") and line not in imports]
            rest = "\n".join(line for line in lines if not line.startswith("import ")).strip("\n")
            texts += [rest] if rest and rest not in texts else []
    return imports, texts
