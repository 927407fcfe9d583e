"""A graph for many elements at once: the same values, with a first axis more where they differ between elements.

In: a graph that computes something of one element, and values for its inputs, each for all elements or the same for
all. Out: the outputs for all elements. Guarantees: what is the same for all elements is computed once and as before;
element-wise ops, layouts, reductions, scans and products stay one op, by the kind of the op or by the `batch` of its
record; what has no rule is computed by a loop over the elements, with the same results.

Where elements part ways (see batched_regions.py), both ways are computed and one is chosen. What is chosen against must
do no harm: there, integers that say where to read or to write are 0, and loops do not start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ..as_graph import to_graph
from ..errors import GraphError
from ..graph import Graph, Node
from ..ops import any as any_
from ..ops import reshape, where
from ..ops._batch import lifted, spread
from ..ops.control import parts
from ..registry import Gather, Op, Params, Scatter, lookup
from ..trace import Expr, Recording, _record, apply, constant, next_serial, symbol
from ..types import Bundle, Type

__all__ = ["Batch", "Rule", "Value", "Values", "element_type", "lifted_type", "needs_mask"]


class Value(NamedTuple):
    """A value for all elements: with a first axis for them if it is `mapped`, else the same for all."""

    x: Expr
    mapped: bool


Values = Value | list[Value]  # a list holds the results of a loop or of a branch

#: How a loop or a branch, and its operands, become one for all elements: its results.
Rule = Callable[["Batch", Node, Sequence[Value]], list[Value]]


def lifted_type(type: Type, size: Any) -> Type:
    """The type of `size` values of a type."""
    if isinstance(type, Bundle):
        return Bundle(types=tuple(lifted_type(t, size) for t in type.types))
    return Type((size, *type.shape), type.dtype)


def element_type(v: Value) -> Type:
    """The type that a value has for one element."""
    return Type(v.x.shape[1:], v.x.dtype) if v.mapped else v.x.type


def _as_it_is(op: Op, xs: Sequence[Expr], mapped: Sequence[bool], size: Any, params: Params) -> Expr:
    return apply(op, xs, params)  # operands of one shape broadcast to those with the axis in front


#: Rules for ops without one of their own.
_BY_KIND: Mapping[str, Callable[..., Expr]] = {
    "elementwise": _as_it_is,
    "part": _as_it_is,
    **dict.fromkeys(("layout", "assembly", "reduction", "scan"), lifted),
}


@dataclass(frozen=True)
class Batch:
    """How many elements there are, the rules for loops and branches, and which elements go this way (None: all)."""

    size: Any
    state: Recording
    regions: Mapping[str, Rule]
    active: Value | None = None

    # --- a graph, node by node ----------------------------------------------------------------------------------------

    def outputs(self, graph: Graph, inputs: Sequence[Value]) -> list[Value]:
        """The outputs of `graph`, from its inputs. It runs inside `recording() as state`."""
        known: dict[int, Values] = dict(zip(graph.inputs, inputs, strict=True))
        for n in graph.ordered():
            if n.key in known:
                continue
            newest, self.state.origin = next_serial(), n.origin.unnamed()
            found = known[n.key] = self._node(n, [known[a] for a in n.args])
            if isinstance(found, Value) and found.x.serial > newest and n.origin.name is not None:
                found.x.origin = n.origin  # values keep the names that the user gave them
        return [_one(known[key]) for key in graph.outputs]

    def _node(self, n: Node, given: Sequence[Values]) -> Values:
        op = lookup(n.op)
        if given and isinstance(given[0], list):
            return given[0][n.params["index"]]  # the part of a loop or a branch
        args = self._guarded(op, [_one(v) for v in given])
        xs, mapped = [v.x for v in args], [v.mapped for v in args]
        if n.op in self.regions and (any(mapped) or self.masks(*n.bodies.values())):
            return self.regions[n.op](self, n, args)
        if not any(mapped):
            return Value(_record(op, tuple(xs), n.params, n.type, self.state.origin), False)
        found = self._together(op, xs, mapped, n)
        return self._looped(n, args) if found is None else Value(found, True)

    def _together(self, op: Op, xs: Sequence[Expr], mapped: Sequence[bool], n: Node) -> Expr | None:
        """The op on all elements at once; None where there is no rule."""
        rule = op.batch or _BY_KIND.get(op.kind)
        found: Expr | None = None if rule is None else rule(op, xs, mapped, self.size, n.params)
        if found is None:  # an expansion would lose the derivative rule of the op
            return None if op.expand is None or op.vjp is not None else self._expanded(op, xs, mapped, n)
        if found.type == lifted_type(n.type, self.size):
            return found
        if op.batch is not None:
            raise GraphError(f"vmap: batch= of {op.name!r} gives {found.type} for {self.size} elements of {n.type}")
        return None

    def _expanded(self, op: Op, xs: Sequence[Expr], mapped: Sequence[bool], n: Node) -> Expr:
        given = [Value(x, m) for x, m in zip(xs, mapped, strict=True)]
        types = [element_type(v) for v in given]
        symbols = [symbol(f"x{k}", t.shape, t.dtype) for k, t in enumerate(types)]
        (found,) = self.outputs(to_graph(symbols, [op.expand(*symbols, **n.params)]), given)  # type: ignore[misc]
        return self.spread(found).x

    def _looped(self, n: Node, args: Sequence[Value]) -> Values:
        """The op on one element after the other: a scan without carried state."""
        order = sorted(range(len(args)), key=lambda k: args[k].mapped)
        body = Graph()
        keys = {k: body.add("input", (), {"name": f"x {k}"}, element_type(args[k])) for k in order}
        body.graph["inputs"] = tuple(keys.values())
        result = body.add(n.op, [keys[k] for k in range(len(args))], n.params, n.type, n.origin)
        several = isinstance(n.type, Bundle)
        types = n.type.types if isinstance(n.type, Bundle) else ()
        found = [body.add("part", (result,), {"index": k}, t) for k, t in enumerate(types)] if several else [result]
        body.graph["outputs"] = tuple(found)
        loop = apply(
            lookup("scan"),
            [args[k].x for k in order],
            {
                "body": body, "consts": sum(not v.mapped for v in args), "carries": 0, "length": self.size,
                "counted": False, "reverse": False, "checkpoint": False,
            },
        )  # fmt: skip
        results = [Value(x, True) for x in parts(loop)]
        return results if several else results[0]

    # --- what rules are made of ---------------------------------------------------------------------------------------

    def spread(self, v: Value) -> Value:
        """The value, with the axis of the elements."""
        return v if v.mapped else Value(spread(v.x, self.size), True)

    def chosen(self, condition: Value, a: Value, b: Value) -> Value:
        """`a` for the elements where `condition` holds, else `b`."""
        if not (condition.mapped or a.mapped or b.mapped):
            return Value(where(condition.x, a.x, b.x), False)
        ndim = len(element_type(a).shape)
        test = reshape(condition.x, (self.size, *(1,) * ndim)) if condition.mapped and ndim else condition.x
        return self.spread(Value(where(test, a.x, b.x), condition.mapped or a.mapped or b.mapped))

    def masks(self, *bodies: Graph) -> bool:
        """Whether `bodies` must know which elements are active."""
        return self.active is not None and any(needs_mask(body) for body in bodies)

    def within(self, active: Value | None, state: Recording | None = None) -> Batch:
        """The same elements, of which those that are `active` go on."""
        return replace(self, active=active, state=state or self.state)

    def _guarded(self, op: Op, args: Sequence[Value]) -> Sequence[Value]:
        """Operands with which the op does no harm for elements that are not active."""
        if self.active is None or not isinstance(op.structure, Gather | Scatter):
            return args
        x, places = args
        here = self.active
        if here.mapped and not places.mapped:
            here = Value(any_(here.x), False)
        return [x, self.chosen(here, places, Value(constant(0, places.x.dtype), False))]


def _one(v: Values) -> Value:
    assert isinstance(v, Value), "the results of a region are read by `part`"
    return v


def needs_mask(graph: Graph) -> bool:
    """Whether something in `graph` could do harm for an element that does not go there."""
    return any(
        isinstance(lookup(n.op).structure, Gather | Scatter)
        or "test" in n.bodies  # a loop that might not end
        or any(needs_mask(body) for body in n.bodies.values())
        for n in graph.ordered()
    )
