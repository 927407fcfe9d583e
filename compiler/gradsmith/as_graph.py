"""Expressions as graphs, and graphs as expressions.

In: `Expr` objects, or a `Graph`. Out: the `Graph` of all that outputs need, or of a part of it (`closed`, `between`);
its nodes as `Expr` objects again. Guarantees: nothing recurses; equal expressions become one node; keys follow the
order in which expressions were made, so that a graph does not depend on how it was walked.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from . import registry
from .errors import SpecError
from .graph import Graph, Node, intern_key, new_tuple
from .trace import _DOUBLE, _SERIAL, Expr, _recording, as_expr, next_serial

__all__ = ["between", "closed", "input_symbols", "reachable", "symbols_among", "to_exprs", "to_graph"]


def to_graph(
    inputs: Sequence[Expr],
    outputs: Sequence[Expr],
    cotangents: Sequence[tuple[Expr, Expr]] = (),
    *,
    since: int | None = None,
    needed: Mapping[int, Expr] | None = None,
) -> Graph:
    """The graph that computes `outputs` from `inputs`; what no output needs is left out.

    `cotangents` pairs primal values with their cotangents; pairs of which either is not needed are dropped. `since`
    says that no two expressions made from that serial on are equal, as those of one recording are, so that none has to
    be looked for. `needed` is what is `reachable` from the outputs, where that is known.
    """
    outputs = [as_expr(x) for x in outputs]
    found = None if since is None else _made_since(since, inputs, outputs, cotangents)
    nodes, ends = _looked_for(inputs, outputs, cotangents, needed) if found is None else found
    ops = [n[1] for n in nodes]
    own = len({x.serial for x in inputs})
    if "input" in ops[own:]:
        name = nodes[ops.index("input", own)].params["name"]
        raise SpecError(f"the result uses the symbol {name!r}, which is not among the arguments: make it one of them")
    graph = Graph.of(nodes)
    graph.graph.update(ends)
    return graph


#: The nodes of a graph, and what it says of its keys: inputs, outputs and cotangents.
_Parts = tuple[list[Node], dict[str, Any]]


def _made_since(
    since: int, inputs: Sequence[Expr], outputs: Sequence[Expr], cotangents: Sequence[tuple[Expr, Expr]]
) -> _Parts | None:
    """What a graph is made of, by how much later than `since` each expression was made.

    An expression is made behind its operands, so one walk from the last to the first finds all that are needed. What is
    known of them stands in lists, the last one first: a tenth of the memory of dictionaries, and nothing to sort.
    None where what is older than `since` is needed, or an input is named twice.
    """
    end = next_serial()
    made: list[Expr | None] = [None] * (end - since + 1)  # by how long before `end`: what is older has no place
    try:
        for x in (*inputs, *outputs):
            made[end - x.serial] = x
        for last in made:  # which meets what it has put behind itself
            if last is not None:
                for a in last.args:
                    made[end - a.serial] = a
        for x in inputs:  # which come first, needed or not
            if made[end - x.serial] is None:
                return None
            made[end - x.serial] = None
        ordered = [*inputs, *[x for x in reversed(made) if x is not None]]
        keys = [-1] * len(made)
        for key, x in enumerate(ordered):
            keys[end - x.serial] = key
        pairs = {keys[end - p.serial]: keys[end - c.serial] for p, c in cotangents if keys[end - c.serial] >= 0}
    except IndexError:
        return None
    pairs.pop(-1, None)  # cotangents of what nothing needs
    nodes = [
        new_tuple(
            Node,
            (
                key,
                x.op.name,
                (keys[end - x.args[0].serial], keys[end - x.args[1].serial])
                if len(x.args) == 2  # as most have
                else tuple([keys[end - a.serial] for a in x.args]),
                x.params,
                x.type,
                x.origin,
            ),
        )
        for key, x in enumerate(ordered)
    ]
    ends = [tuple([keys[end - x.serial] for x in some]) for some in (inputs, outputs)]
    return nodes, {"inputs": ends[0], "outputs": ends[1], "cotangents": pairs}


def _looked_for(
    inputs: Sequence[Expr],
    outputs: Sequence[Expr],
    cotangents: Sequence[tuple[Expr, Expr]],
    needed: Mapping[int, Expr] | None,
) -> _Parts:
    """The same for any expressions, where those that are equal have one node."""
    needed = reachable(outputs) if needed is None else needed
    given = {x.serial: x for x in inputs}
    keys, nodes = _interned([*given.values(), *[needed[s] for s in sorted(needed) if s not in given]])
    pairs = {keys[p.serial]: keys[c.serial] for p, c in cotangents if p.serial in keys and c.serial in keys}
    ends = [tuple([keys[x.serial] for x in some]) for some in (inputs, outputs)]
    return nodes, {"inputs": ends[0], "outputs": ends[1], "cotangents": pairs}


def _interned(ordered: Sequence[Expr]) -> tuple[dict[int, int], list[Node]]:
    """The keys, by serial, and the nodes of these expressions; those that are equal have one node."""
    keys: dict[int, int] = {}
    nodes = list[Node]()
    known: dict[object, int] = {}
    for x in ordered:
        op, params, args = x.op, x.params, tuple([keys[a.serial] for a in x.args])
        if args and not params:  # its type follows
            alike: object = (op, *sorted(args)) if op.commutative else (op, *args)
        elif op.name == "constant" and params["value"].__class__ is float:
            alike = _DOUBLE(params["value"]), x.type.shape, x.type.dtype
        else:
            alike = intern_key(op.name, args, params, x.type, op.commutative)
        key = keys[x.serial] = known.setdefault(alike, len(nodes))
        if key == len(nodes):
            nodes.append(new_tuple(Node, (key, op.name, args, params, x.type, x.origin)))
        else:
            nodes[key] = nodes[key].renamed(x.origin)
    return keys, nodes


def closed(inputs: Sequence[Expr], outputs: Sequence[Expr], since: int | None = None) -> tuple[Graph, list[Expr]]:
    """The graph that computes `outputs` from `inputs`, and the values from outside that it uses, its first inputs.

    `inputs` may be any expressions. From outside comes what does not depend on them; with `since`, only what was made
    before that serial. Scalar constants, and scalars spread out to arrays, are written where they are used.
    """
    outputs = [as_expr(x) for x in outputs]
    given = {x.serial for x in inputs}
    inner = set(given)
    for e in sorted(reachable(outputs).values(), key=_SERIAL):
        if any(a.serial in inner for a in e.args):
            inner.add(e.serial)

    def comes_in(e: Expr) -> bool:
        if e.op.name == "broadcast_to" and e.args[0].shape == ():
            return False  # a scalar is shorter to pass
        if e.serial in inner or (e.op.name == "constant" and e.shape == ()):
            return False
        return since is None or e.serial < since or e.op.name == "input"  # a symbol stands for something outside

    found: dict[int, Expr] = {}
    stack = [*outputs]
    while stack:
        e = stack.pop()
        if e.serial not in found:
            found[e.serial] = e
            stack += () if e.serial in given or comes_in(e) else e.args
    ordered = sorted(found.values(), key=_SERIAL)
    outside = [e for e in ordered if e.serial not in inner and comes_in(e)]
    graph, keys, taken = Graph(), dict[int, int](), dict[str, int]()
    for x in (*inputs, *outside):
        keys[x.serial] = _input(graph, x, taken)
    graph.graph["inputs"] = tuple(keys[x.serial] for x in (*outside, *inputs))
    for e in ordered:
        if e.serial not in keys:
            args = [keys[a.serial] for a in e.args]
            keys[e.serial] = graph.add(e.op.name, args, e.params, e.type, e.origin, commutative=e.op.commutative)
    graph.graph["outputs"] = tuple(keys[x.serial] for x in outputs)
    return graph, outside


def between(outputs: Sequence[Expr], inputs: Sequence[Expr]) -> tuple[Graph, list[Expr]]:
    """The graph of what depends on `inputs` on the way to `outputs`, and the other values that it reads.

    These follow `inputs` as inputs of the graph, whatever they are computed from; constants stand in the graph.
    """
    needed = sorted(reachable(outputs).values(), key=_SERIAL)
    graph, keys, active = Graph(), dict[int, int](), {x.serial for x in inputs}
    taken: dict[str, int] = {}
    for x in inputs:
        keys[x.serial] = _input(graph, x, taken)
    around: list[Expr] = []
    read = {x.serial for x in outputs}
    for x in needed:
        if x.serial not in active and any(a.serial in active for a in x.args):
            active.add(x.serial)
            read.update(a.serial for a in x.args)
    for x in needed:
        if x.serial in keys or (x.serial not in active and x.serial not in read):
            continue
        if x.serial in active or x.op.name == "constant":
            args = [keys[a.serial] for a in x.args]
            keys[x.serial] = graph.add(x.op.name, args, x.params, x.type, x.origin, commutative=x.op.commutative)
        else:
            keys[x.serial] = _input(graph, x, taken)
            around.append(x)
    graph.graph["inputs"] = tuple(keys[x.serial] for x in (*inputs, *around))
    graph.graph["outputs"] = tuple(keys[x.serial] for x in outputs)
    graph.graph["cotangents"] = {}
    return graph, around


def _input(graph: Graph, x: Expr, taken: dict[str, int]) -> int:
    """An input node for `x`, whose name no other has: nodes of one name would be one."""
    wish = (x.name or x.op.name).split()[0]  # without the number of an earlier input
    number = taken[wish] = taken.get(wish, 0) + 1
    params = {"name": wish if number == 1 else f"{wish} {number}"}  # no identifier, so never a name of another value
    return graph.add("input", (), params, x.type, x.origin)


def reachable(outputs: Sequence[Expr]) -> dict[int, Expr]:
    """All that `outputs` are made of, by serial."""
    found = {x.serial: x for x in outputs}
    stack = list(found.values())
    while stack:
        for a in stack.pop().args:
            serial = a.serial
            if serial not in found:
                found[serial] = a
                stack.append(a)
    return found


def input_symbols(outputs: Sequence[Expr]) -> list[Expr]:
    """The symbols that `outputs` depend on, in the order in which they were made."""
    return symbols_among(reachable([as_expr(x) for x in outputs]))


def symbols_among(needed: Mapping[int, Expr]) -> list[Expr]:
    """The symbols among what is `reachable`, in the order in which they were made."""
    return sorted([x for x in needed.values() if x.op.name == "input"], key=_SERIAL)


def to_exprs(
    graph: Graph,
    inputs: Sequence[Expr] | None = None,
    replace: Callable[[Node, Sequence[Expr]], Expr | None] | None = None,
    at: Container[int] | None = None,
    settled: bool = False,
) -> list[Expr]:
    """The nodes of `graph` as expressions, indexed by key; inside `recording(rewrite)`, each one is offered to it.

    `inputs` are the expressions to use for the graph's inputs; new symbols otherwise. `replace` may give another
    expression for a node, made of those of the nodes before it; it is asked `at` these keys, or at all.
    `settled` says that `rewrite` has nothing to say of any node of the graph, so that only what is new is offered.
    """
    state = _recording.get()
    exprs: list[Expr] = []
    given = dict(zip(graph.inputs, inputs, strict=True)) if inputs is not None else {}
    lookup = registry.lookup
    moved: set[int] = set()  # what is made of other expressions than in `graph`
    newest = -1
    for n in graph.ordered():
        key, name, operands, params, type, origin = n
        named = origin.name is not None
        if named:
            newest = next_serial()
        if name == "input":
            exprs.append(given[key] if key in given else Expr(lookup(name), (), params, type, origin))
            continue
        x = None
        if replace is not None and (at is None or key in at):
            if state is not None:
                state.origin = origin.unnamed() if named else origin
            x = replace(n, exprs)
        if x is None:
            if len(operands) == 2:
                first, second = operands
                args: tuple[Expr, ...] = (exprs[first], exprs[second])
            else:
                args = tuple([exprs[a] for a in operands])
            if state is None:
                x = Expr(lookup(name), args, params, type, origin)
            elif settled and (not moved or moved.isdisjoint(operands)):
                x = state.record(lookup(name), args, params, type, origin, True)
                if x.args is not args:
                    moved.add(key)
            else:
                state.origin = origin.unnamed() if named else origin
                x = state.record(lookup(name), args, params, type, origin)
                if settled:
                    moved.add(key)
        elif settled:
            moved.add(key)
        if named and x.serial > newest:
            x.origin = origin  # a rewritten value keeps the user's name
        exprs.append(x)
    return exprs
