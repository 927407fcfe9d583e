"""Custom derivatives: a function that brings its own rule, in place of the one that follows from its operations.

In: a function of pytrees of traced values, and its rule. Out: a function that is traced as one node, which the adjoint
and tangent passes ask for its rule and all else replaces by what it stands for. The rules are those of op records:
`vjp(cotangent, result, *args)` and `jvp(tangents, result, *args)`. One follows from the other by transposition, so one
is enough.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..as_graph import between, input_symbols, to_exprs, to_graph
from ..batch.batching import vmap
from ..errors import ArgumentError, DerivativeError
from ..evaluate import evaluate
from ..graph import Graph
from ..ops import concatenate, reshape
from ..ops._batch import spread
from ..ops._declare import free
from ..ops.indexing import section
from ..passes.retype import retype
from ..pytree import Tree, flatten
from ..registry import Op, Params, lookup
from ..trace import Expr, apply, as_expr, op
from ..types import FLOAT32, FLOAT64, Type
from .adjoint import pulled, zeros

__all__ = ["custom_derivative"]

Rule = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class _Custom:
    """One call: what it computes, the nesting of arguments and result, and the rule.

    The first operands are the leaves of the arguments, further ones what the function closes over.
    """

    name: str
    body: Graph
    arguments: tuple[Tree, ...]
    result: Tree
    vjp: Rule | None
    jvp: Rule | None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Custom) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(repr(self))

    def _key(self) -> object:
        return self.body.digest(), self.vjp, self.jvp

    def __repr__(self) -> str:
        return f"{self.name}:{self.body.digest()}"

    def given(self, leaves: Sequence[Any]) -> list[Any]:
        """Leaves in the structure of the arguments."""
        packed, at = [], 0
        for tree in self.arguments:
            packed.append(tree.unflatten(leaves[at : at + tree.size]))
            at += tree.size
        return packed

    @property
    def leaves(self) -> int:
        return sum(tree.size for tree in self.arguments)

    def types(self) -> list[Type]:
        return [self.body.node(k).type for k in self.body.outputs]


# --- the op: several results travel as one vector ---------------------------------------------------------------------


def _fitted(rule: _Custom, operands: Sequence[Type]) -> Graph:
    """What is computed, in the width of the operands: `compile(dtype="float32")` changes it."""
    same = [rule.body.node(k).type for k in rule.body.inputs] == list(operands)
    return rule.body if same else retype(rule.body, FLOAT32)


def _infer(*xs: Type, rule: _Custom) -> Type:
    body = _fitted(rule, xs)
    types = [body.node(k).type for k in body.outputs]
    return types[0] if len(types) == 1 else Type((sum(t.size for t in types),), types[0].dtype)


def _joined(leaves: Sequence[Expr]) -> Expr:
    return leaves[0] if len(leaves) == 1 else concatenate([reshape(v, (v.size,)) for v in leaves])


def _parts(joined: Expr, types: Sequence[Type]) -> list[Expr]:
    if len(types) == 1:
        return [joined]
    starts = itertools.accumulate((t.size for t in types), initial=0)
    return [reshape(section(joined, 0, at, t.size), t.shape) for at, t in zip(starts, types, strict=False)]


def _expand(*xs: Expr, rule: _Custom) -> Expr:
    body = _fitted(rule, [x.type for x in xs])
    exprs = to_exprs(body, xs)
    return _joined([exprs[k] for k in body.outputs])


def _evaluate(*xs: Any, rule: _Custom) -> Any:
    values = evaluate(rule.body, xs)
    found = [values[k] for k in rule.body.outputs]
    return found[0] if len(found) == 1 else np.concatenate([np.ravel(v) for v in found])


def _vjp(g: Expr, y: Expr, *xs: Expr, rule: _Custom) -> tuple[Expr | None, ...]:
    own, rest = xs[: rule.leaves], (None,) * (len(xs) - rule.leaves)
    if rule.vjp is None:
        moving = [x for x in own if x.dtype.kind == "float"]
        tangents = [Expr(lookup("input"), (), {"name": f"t{i}"}, x.type) for i, x in enumerate(moving)]
        given = iter(tangents)
        t = _jvp([next(given) if x.dtype.kind == "float" else None for x in own], y, *xs, rule=rule)
        shares = iter(pulled([t], [g], tangents, [zeros(x.type) for x in moving])[1])
        return (*(next(shares) if x.dtype.kind == "float" else None for x in own), *rest)
    types = rule.types()
    cotangent, result = (rule.result.unflatten(_parts(v, types)) for v in (g, y))
    answer = rule.vjp(cotangent, result, *rule.given(own))
    if not isinstance(answer, tuple | list) or len(answer) != len(rule.arguments):
        raise DerivativeError(
            f"the vjp of {rule.name!r} must return a tuple of one cotangent an argument ({len(rule.arguments)}; None "
            f"where no gradient flows), not {answer!r}"
        )
    found: list[Expr | None] = []
    for number, (tree, share) in enumerate(zip(rule.arguments, answer, strict=True)):
        leaves = [None] * tree.size if share is None else tree.flatten(share, f"cotangent {number} of {rule.name}")
        found += [None if v is None else as_expr(v) for v in leaves]
    _from_arguments(rule, "vjp", found, y, [g, *own])
    return (*(_checked(rule, "vjp", s, x) for s, x in zip(found, own, strict=True)), *rest)


def _checked(rule: _Custom, what: str, seen: Expr | None, x: Expr) -> Expr | None:
    if seen is None or x.dtype.kind != "float":
        return None
    if seen.shape != x.shape:
        raise DerivativeError(
            f"the {what} of {rule.name!r} gives {seen.type} for a value of type {x.type}: sum or broadcast it to that "
            "shape"
        )
    return seen


def _from_arguments(
    rule: _Custom, what: str, answer: Sequence[Expr | None], result: Expr, given: Sequence[Expr]
) -> None:
    """Refuse a rule that reads traced values other than the `result` and those `given` to it."""
    _, around = between([v for v in answer if v is not None], [result, *given])
    if not around:
        return
    # operators look into their operands, so an answer may read what a cotangent or an argument is computed from
    within = {s.serial for s in input_symbols(given)}
    names = dict.fromkeys(str(s.name) for s in input_symbols(around) if s.serial not in within)
    if names:
        raise DerivativeError(
            f"the {what} of {rule.name!r} closes over the traced {'values' if len(names) > 1 else 'value'} "
            f"{', '.join(map(repr, names))}, which no compiled derivative can reach: pass to {rule.name}() as "
            "arguments what the rule reads, and let it return a share (or None) for each"
        )


def _jvp(tangents: Sequence[Expr | None], y: Expr, *xs: Expr, rule: _Custom) -> Expr:
    own = xs[: rule.leaves]
    filled = [zeros(x.type) if t is None else t for t, x in zip(tangents[: rule.leaves], own, strict=True)]
    types = rule.types()
    answer = rule.jvp(tuple(rule.given(filled)), rule.result.unflatten(_parts(y, types)), *rule.given(own))  # type: ignore[misc]
    leaves = [as_expr(v) for v in rule.result.flatten(answer, f"the tangent of {rule.name}")]
    _from_arguments(rule, "jvp", leaves, y, [*own, *filled])
    for leaf, part in zip(leaves, _parts(y, types), strict=True):
        _checked(rule, "jvp", leaf, part)
    return _joined(leaves)


def _either(tangents: Sequence[Expr | None], y: Expr, *xs: Expr, rule: _Custom) -> Expr | None:
    """Forward mode: the function's own rule, or the transpose of its other one."""
    if rule.jvp is not None:
        return _jvp(tangents, y, *xs, rule=rule)
    u = Expr(lookup("input"), (), {"name": "u"}, y.type)
    pairs = [(s, t) for s, t in zip(_vjp(u, y, *xs, rule=rule), tangents, strict=True) if s is not None]
    moving = [(s, t) for s, t in pairs if t is not None]
    return pulled([s for s, _ in moving], [t for _, t in moving], [u], [zeros(y.type)])[1][0]


def _batch(record: Op, xs: Sequence[Expr], mapped: Sequence[bool], size: Any, params: Params) -> Expr:
    """The function for many elements, whose rule is that of one element, mapped as well."""
    rule: _Custom = params["rule"]
    whole = [x if m else spread(x, size) for x, m in zip(xs, mapped, strict=True)]
    symbols = [
        Expr(lookup("input"), (), rule.body.node(k).params, x.type)
        for k, x in zip(rule.body.inputs, whole, strict=True)
    ]

    def outputs(*leaves: Expr) -> list[Expr]:
        exprs = to_exprs(rule.body, leaves)
        return [exprs[k] for k in rule.body.outputs]

    body = to_graph(symbols, vmap(outputs)(*symbols))
    many = replace(rule, body=body, vjp=rule.vjp and vmap(rule.vjp), jvp=rule.jvp and vmap(rule.jvp))
    parts = _parts(apply(record, whole, {"rule": many}), many.types())
    return parts[0] if len(parts) == 1 else concatenate([reshape(p, (size, p.size // max(1, size))) for p in parts], 1)


_custom = op(
    "custom",
    arity=None,
    kind="composite",
    takes="any",
    infer=_infer,
    vjp=_vjp,
    jvp=_either,
    batch=_batch,
    expand=_expand,
    own_rule=True,
    evaluate=_evaluate,
    cost=free,
    symbol="custom",
    slope="the function's own rule",
    doc="A function with a derivative rule of its own.",
)


# --- the decorator ----------------------------------------------------------------------------------------------------


def custom_derivative(function: Any = None, *, vjp: Rule | None = None, jvp: Rule | None = None) -> Any:
    """Give a function of traced values its own derivative.

    Parameters
    ----------
    function: takes and returns pytrees of traced values; its results are floating-point. It may close over traced
        values, which the derivative does not reach.
    vjp: `vjp(cotangent, result, *args)` returns a tuple of one cotangent an argument, None where no gradient flows.
        Cotangent and result have the structure of what the function returns.
    jvp: `jvp(tangents, result, *args)` returns the tangent of the result, given a tuple of one tangent an argument.

    Arguments that are given by name take their parameters' places; a rule has one for each argument that is given.
    One of both is enough for forward and reverse mode; rules are traced code, so they are differentiated for higher
    orders. A rule takes what it needs from its arguments: it must not close over traced values.

    >>> import gradsmith as gs
    >>> @gs.custom_derivative(vjp=lambda g, y, x: (g,))
    ... def rounded(x):  # a straight-through estimator
    ...     return gs.round(x)
    >>> x = gs.symbol("x")
    >>> gs.compile(rounded(x) * 3.0).value_and_grad(1.7)
    (6.0, 3.0)
    """
    if vjp is None and jvp is None:
        raise DerivativeError(
            "custom_derivative: give the rule: @gs.custom_derivative(vjp=lambda cotangent, result, x: (…,)), or jvp="
        )
    if function is None:
        return functools.partial(custom_derivative, vjp=vjp, jvp=jvp)

    @functools.wraps(function)
    def called(*args: Any, **named: Any) -> Any:
        return _call(function, vjp, jvp, _positional(function, args, named) if named else args)

    return called


def _positional(function: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any]) -> Sequence[Any]:
    """All arguments in the order of the parameters, which is the order in which a rule takes them."""
    bound = inspect.signature(function).bind(*args, **named)
    if bound.kwargs:
        raise ArgumentError(
            f"{function.__name__}() has a derivative rule, which takes its arguments by position, and "
            f"{', '.join(map(repr, bound.kwargs))} has none here: give the arguments before it, too"
        )
    return bound.args


def _is_leaf(value: Any) -> bool:
    return isinstance(value, Expr | np.ndarray | np.generic | bool | int | float)


def _call(function: Callable[..., Any], vjp: Rule | None, jvp: Rule | None, args: Sequence[Any]) -> Any:
    name = getattr(function, "__name__", "function")
    points: list[Expr] = []
    trees = []
    for number, arg in enumerate(args):
        leaves, _, tree = flatten(arg, _is_leaf, f"args[{number}]")
        points += [as_expr(leaf) for leaf in leaves]
        trees.append(tree)
    symbols = [Expr(lookup("input"), (), {"name": p.name or f"x{i}"}, p.type) for i, p in enumerate(points)]
    given = iter(symbols)
    result = function(*(tree.unflatten([next(given) for _ in range(tree.size)]) for tree in trees))
    found, _, tree = flatten(result, _is_leaf)
    outputs = [as_expr(v) for v in found]
    dtypes = {v.dtype.name for v in outputs}
    if not outputs or len(dtypes) > 1 or outputs[0].dtype not in (FLOAT32, FLOAT64):
        raise DerivativeError(
            f"custom_derivative: {name}() must return floating-point values of one width, not "
            f"{', '.join(str(v.type) for v in outputs) or 'nothing'}: compute integers outside of it"
        )
    body, around = between(outputs, symbols)
    rule = _Custom(name, body, tuple(trees), tree, vjp, jvp)
    joined = _custom(*points, *around, rule=rule)
    return tree.unflatten(_parts(joined, [v.type for v in outputs]))
