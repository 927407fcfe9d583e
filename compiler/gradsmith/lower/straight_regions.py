"""Loops and branches in straight-line code: statements around those of the bodies (Python's syntax, NumPy's arrays).

In: a region node, and the texts of its operands. Out: lines, and names for its results. Carried state is a variable
that each step assigns anew; results of steps go to arrays made before the loop.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..graph import Graph, Node
from ..ops._declare import dtype_option, numpy_name
from ..program import Line
from ..registry import lookup
from ..types import Type, format_shape
from .printing import ATOM, WIDTH, Text, wrapped
from .statements import Group, Plan, annotated, plan

if TYPE_CHECKING:
    from .straight import Writer

__all__ = ["stack_name", "written_region"]

#: A name, or a number (with NumPy's type).
_SIMPLE = re.compile(r"[A-Za-z_]\w*|-?[\d.]+(e[-+]?\d+)?|np\.\w+\(-?[\d.]+(e[-+]?\d+)?\)")


def written_region(writer: Writer, graph: Graph, planned: Plan, n: Node, texts: dict[int, Text]) -> list[Line]:
    """The lines of region `n`; `texts` gets the names of its results."""
    found = {m.params["index"]: m for m in planned.nodes if lookup(m.op).kind == "part" and m.args[0] == n.key}
    operands = [_operand(writer, graph, a, texts[a]) for a in n.args]
    lines: list[Line]
    results, lines = _RULES[n.op](writer, n, operands, {k: _wish(planned, m) for k, m in found.items()})
    for k, m in found.items():
        texts[m.key] = Text(results[k])
    return lines


def _wish(planned: Plan, n: Node) -> str | None:
    return n.origin.name or planned.outputs.get(n.key)


def _operand(writer: Writer, graph: Graph, key: int, text: Text) -> Text:
    """A number is given its dtype, so that NumPy computes in the body and not Python."""
    n = graph.node(key)
    if n.op == "constant" and not n.type.shape and "typed" in writer.target.literals:
        return Text(writer.target.literals["typed"].format(value=text.text, dtype=numpy_name(n.type.dtype)))
    return text


def _run(writer: Writer, body: Graph, inputs: Sequence[Text], outputs: Sequence[int]) -> tuple[list[Line], list[Text]]:
    """The statements of a body, and the texts of its outputs."""
    planned = _body_plan(body, outputs)
    texts = dict(zip(body.inputs, inputs, strict=True))
    statements, _ = writer.statements(body, planned, texts, {})
    lines = annotated([(s.origin, list(s.lines)) for s in statements], writer.target)
    typed = [_operand(writer, body, body.outputs[k], texts[body.outputs[k]]) for k in outputs]
    return lines, typed


def _body_plan(body: Graph, outputs: Sequence[int]) -> Plan:
    found = plan(body, [Group(_NOWHERE, (body.outputs[k],)) for k in outputs], implicit_broadcast=True)
    return Plan(found.nodes, found.operands, found.uses, {})


class _Nowhere:
    """The place of a body's output, which has no name of its own."""

    name, shape = "", ()


_NOWHERE: Any = _Nowhere()


def _deeper(lines: Sequence[Line], by: int = 1) -> list[Line]:
    return [Line(line.depth + by, line.text) for line in lines]


def _statement(text: str, depth: int = 0) -> list[Line]:
    return [Line(depth, part) for part in wrapped(text, WIDTH, 4 + 4 * depth)]


def _assigned(writer: Writer, names: Sequence[str], values: Sequence[Text]) -> list[Line]:
    """All at once, as the old values may be needed for the new ones."""
    pairs = [(name, value.text) for name, value in zip(names, values, strict=True) if name != value.text]
    if not pairs:
        return []
    left, right = ", ".join(name for name, _ in pairs), ", ".join(value for _, value in pairs)
    return _statement(f"{left} = {right}")


def _empty(name: str, length: int, type: Type, maker: str) -> list[Line]:
    return _statement(f"{name} = np.{maker}({format_shape((length, *type.shape))}{dtype_option(type)})")


def _body_types(body: Graph) -> list[Type]:
    return [body.node(k).type for k in body.outputs]


def stack_name(body: Graph, output: int) -> str:
    """The name of what all steps make of an output: after the name of what one makes."""
    n = body.node(body.outputs[output])
    name = n.params["name"].split()[0] if n.op == "input" else n.origin.name
    return f"{name}_steps" if name else "ys"


def _input_names(body: Graph, places: Sequence[int]) -> list[str]:
    return [str(body.node(body.inputs[k]).params["name"]).split()[0] for k in places]


def _held(writer: Writer, given: Sequence[Text], kept: str = "") -> tuple[list[Line], list[Text]]:
    """What every step reads is computed once, before the loop; all but names, numbers and `kept` get a name."""
    lines: list[Line] = []
    texts = []
    for text in given:
        if not (_SIMPLE.fullmatch(text.text) or text.text == kept):
            name = writer.names.fresh(None)
            lines += _statement(f"{name} = {text.text}")
            text = Text(name)
        texts.append(text)
    return lines, texts


def _scan(writer: Writer, n: Node, operands: Sequence[Text], wishes: Mapping[int, str | None]) -> Any:
    p, body, names = n.params, n.params["body"], writer.names
    consts, carries, counted = p["consts"], p["carries"], int(p["counted"])
    outer = list(operands[counted : counted + consts])
    init = operands[counted + consts : counted + consts + carries]
    xs = list(operands[counted + consts + carries :])
    inner = _input_names(body, range(consts, len(body.inputs)))
    state = [names.fresh(wishes.get(k) or inner[k]) for k in range(carries)]
    types = _body_types(body)
    ys = [names.fresh(wishes.get(k) or stack_name(body, k)) for k in range(carries, len(types))]
    step = names.fresh("step")
    steps = f"min(max(int({operands[0].text}), 0), {p['length']})" if counted else str(p["length"])
    places = f"np.arange({p['length']})"
    lines, held = _held(writer, [*outer, *xs], places)
    outer, xs = held[:consts], held[consts:]
    lines += [line for name, value in zip(state, init, strict=True) for line in _assigned(writer, [name], [value])]
    for name, type in zip(ys, types[carries:], strict=True):
        lines += _empty(name, p["length"], type, "zeros" if counted else "empty")
    head = f"for {step} in reversed(range({steps})):" if p["reverse"] else f"for {step} in range({steps}):"
    lines += _statement(head)
    elements = [names.fresh(name) for name in inner[carries:]]
    for name, x in zip(elements, xs, strict=True):
        value = f"np.int64({step})" if x.text == places else f"{x.text}[{step}]"
        lines += _statement(f"{name} = {value}", 1)
    inside, values = _run(writer, body, [*outer, *map(Text, state), *map(Text, elements)], range(len(types)))
    lines += _deeper(inside)
    for name, result in zip(ys, values[carries:], strict=True):
        lines += _statement(f"{name}[{step}] = {result.text}", 1)
    lines += _deeper(_assigned(writer, state, values[:carries]))
    if not (elements or inside or values):
        lines += _statement("pass", 1)
    return [*state, *ys], lines


def _atom(text: Text) -> str:
    return text.text if text.level >= ATOM else f"({text.text})"


def _while(writer: Writer, n: Node, operands: Sequence[Text], wishes: Mapping[int, str | None]) -> Any:
    p, body, names = n.params, n.params["body"], writer.names
    consts, bound = p["consts"], p["bound"]
    outer, init = list(operands[:consts]), operands[consts:]
    carries, types = len(init), _body_types(body)
    inner = _input_names(body, range(consts, len(body.inputs)))
    state = [names.fresh(wishes.get(k) or inner[k]) for k in range(carries)]
    lines, outer = _held(writer, outer)
    lines += [line for name, value in zip(state, init, strict=True) for line in _assigned(writer, [name], [value])]
    results, counter = [*state], ""
    if bound is not None:
        counter = names.fresh("steps")
        results += [
            counter,
            *(names.fresh(wishes.get(k + 1) or stack_name(body, k)) for k in range(carries, len(types))),
        ]
        lines += _statement(f"{counter} = 0")
        for name, type in zip(results[carries + 1 :], types[carries:], strict=True):
            lines += _empty(name, bound, type, "zeros")
    carried = [*outer, *map(Text, state)]
    testing, (test,) = _run(writer, p["test"], carried, [0])
    condition = test.text if not counter else f"{counter} < {bound} and {_atom(test)}"
    if testing:
        lines += [*_statement("while True:"), *_deeper(testing)]
        lines += [*_statement(f"if not ({condition}):", 1), *_statement("break", 2)]
    else:
        lines += _statement(f"while {condition}:")
    inside, values = _run(writer, body, carried, range(len(types)))
    lines += _deeper(inside)
    for name, value in zip(results[carries + 1 :], values[carries:], strict=True):
        lines += _statement(f"{name}[{counter}] = {value.text}", 1)
    lines += _deeper(_assigned(writer, state, values[:carries]))
    if counter:
        lines += _statement(f"{counter} += 1", 1)
    elif not inside and not values:
        lines += _statement("pass", 1)
    return results, lines


def _cond(writer: Writer, n: Node, operands: Sequence[Text], wishes: Mapping[int, str | None]) -> Any:
    types = _body_types(n.params["then"])
    results = [writer.names.fresh(wishes.get(k)) for k in range(len(types))]
    lines: list[Line] = []
    for head, name in ((f"if {operands[0].text}:", "then"), ("else:", "otherwise")):
        inside, values = _run(writer, n.params[name], operands[1:], range(len(types)))
        lines += _statement(head)
        lines += _deeper([*inside, *_assigned(writer, results, values)]) or _statement("pass", 1)
    return results, lines


_RULES: Mapping[str, Any] = {"scan": _scan, "while_loop": _while, "cond": _cond}
