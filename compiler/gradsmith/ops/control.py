"""Structured control flow: loops and branches that stay loops and branches in the derivative and in the output.

`scan`, `while_loop` and `cond` are regions: nodes whose params hold graphs, the bodies. A body is closed: what it uses
from outside comes in as operands, before the carried state and the elements of this step. A region has several results
(its type is a `Bundle`); `part` nodes read them one by one. `fori_loop` and `map` are written with `scan`.

What a body computes without its own inputs is computed once, outside of the loop.
"""

from __future__ import annotations

import builtins
import inspect
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import trace
from ..as_graph import closed
from ..dims import Dim, Extent, at_least_zero, falls
from ..errors import DTypeError, GraphError, ShapeError, SpecError
from ..graph import Graph
from ..pytree import Tree, flatten, leaf_names, parameter_names
from ..registry import Params, Region
from ..trace import Expr, as_expr, op, registry_function, symbol
from ..types import BOOL, INT64, Bundle, DType, Type, promote
from ._declare import Traced, free
from .conversion import astype
from .indexing import section
from .joining import concatenate
from .layout import reshape

__all__ = ["cond", "fori_loop", "map", "scan", "while_loop"]

_LONGEST = 1_000_000  # steps of a loop that is interpreted

# --- the records ----------------------------------------------------------------------------------------------------


def _result_type(bundle: Type, index: int) -> Type:
    if not isinstance(bundle, Bundle) or not 0 <= index < len(bundle.types):
        raise GraphError(f"result {index} of {bundle} does not exist")
    return bundle.types[index]


part: Traced = op(
    "part",
    arity=1,
    kind="part",
    takes="any",
    infer=_result_type,
    evaluate=lambda bundle, index: bundle[index],
    torch=lambda torch, bundle, index: bundle[index],
    cost=free,
    symbol="part",
    doc="One result of a loop or of a branch.",
)


def parts(region: Expr) -> list[Expr]:
    """All results of a region."""
    assert isinstance(region.type, Bundle)
    return [part(region, index=k) for k in range(len(region.type.types))]


def _fits(what: str, body: Graph, types: Sequence[Type]) -> None:
    wanted = [body.node(k).type for k in body.inputs]
    if wanted != [*types]:
        raise GraphError(
            f"the {what} takes {', '.join(builtins.map(str, wanted))}, not {', '.join(builtins.map(str, types))}"
        )


def _output_types(body: Graph) -> list[Type]:
    return [body.node(k).type for k in body.outputs]


def _stacked(length: int, types: Sequence[Type]) -> list[Type]:
    return [Type((length, *t.shape), t.dtype) for t in types]


def _scan_infer(
    *types: Type, body: Graph, consts: int, carries: int, length: int, counted: bool, reverse: bool, checkpoint: bool
) -> Type:
    operands = types[int(counted) :]
    if counted and types[0] != Type((), INT64):
        raise GraphError(f"a number of steps is an int64 scalar, not {types[0]}")
    xs = operands[consts + carries :]
    if any(x.shape[:1] != (length,) for x in xs):
        raise GraphError(f"what a scan of {length} steps goes along has that length, not {xs}")
    _fits("body", body, [*operands[: consts + carries], *(Type(x.shape[1:], x.dtype) for x in xs)])
    state, ys = _output_types(body)[:carries], _output_types(body)[carries:]
    if state != [*operands[consts : consts + carries]]:
        raise GraphError("the carried state changes its type")
    return Bundle(types=(*state, *_stacked(length, ys)))


def _scan_run(interpret: Any, numbers: Any, args: Sequence[Any], params: Params) -> tuple[Any, ...]:
    length, consts, carries, body = (params[k] for k in ("length", "consts", "carries", "body"))
    operands = args[int(params["counted"]) :]
    steps = min(max(int(args[0]), 0), length) if params["counted"] else length
    outer, state, xs = operands[:consts], operands[consts : consts + carries], operands[consts + carries :]
    rows: dict[int, Sequence[Any]] = {}
    for i in reversed(range(steps)) if params["reverse"] else range(steps):
        found = interpret(body, [*outer, *state, *(x[i] for x in xs)])
        state, rows[i] = found[:carries], found[carries:]
    return *state, *_stack(numbers, body, carries, length, [rows[i] for i in range(steps)])


def _stack(numbers: Any, body: Graph, carries: int, length: int, rows: Sequence[Sequence[Any]]) -> list[Any]:
    """The steps' results along a first axis, with zeros for the steps that were not taken."""
    types = _output_types(body)[carries:]
    return [numbers.stacked([row[k] for row in rows], t, length) for k, t in enumerate(types)]


def _while_infer(*types: Type, test: Graph, body: Graph, consts: int, bound: int | None) -> Type:
    _fits("test", test, types)
    _fits("body", body, types)
    if _output_types(test) != [Type((), BOOL)]:
        raise GraphError("the test of a while loop is one boolean scalar")
    carries = len(types) - consts
    state, ys = _output_types(body)[:carries], _output_types(body)[carries:]
    if state != [*types[consts:]]:
        raise GraphError("the carried state changes its type")
    if bound is None and ys:
        raise GraphError("a loop without a bound stacks nothing")
    return Bundle(types=(*state, *([] if bound is None else [Type((), INT64), *_stacked(bound, ys)])))


def _while_run(interpret: Any, numbers: Any, args: Sequence[Any], params: Params) -> tuple[Any, ...]:
    consts, body, bound = (params[k] for k in ("consts", "body", "bound"))
    outer, state = args[:consts], args[consts:]
    carries, rows, steps = len(state), [], 0
    while (bound is None or steps < bound) and bool(interpret(params["test"], [*outer, *state])[0]):
        found = interpret(body, [*outer, *state])
        state, steps = found[:carries], steps + 1
        if bound is not None:
            rows.append(found[carries:])
        elif steps > _LONGEST:
            raise ArithmeticError(f"a while loop took more than {_LONGEST} steps")
    if bound is None:
        return tuple(state)
    return *state, numbers.integer(steps), *_stack(numbers, body, carries, bound, rows)


def _cond_infer(*types: Type, then: Graph, otherwise: Graph) -> Type:
    if types[0] != Type((), BOOL):
        raise GraphError(f"the condition of a branch is one boolean scalar, not {types[0]}")
    _fits("branch", then, types[1:])
    _fits("other branch", otherwise, types[1:])
    if _output_types(then) != _output_types(otherwise):
        raise GraphError("the branches have results of different types")
    return Bundle(types=tuple(_output_types(then)))


def _cond_run(interpret: Any, numbers: Any, args: Sequence[Any], params: Params) -> tuple[Any, ...]:
    return tuple(interpret(params["then" if bool(args[0]) else "otherwise"], args[1:]))


def _inside(*_: Any, **__: Any) -> Any:
    raise GraphError("a loop or branch is evaluated by the interpreter, which knows its bodies")


_scan: Traced = op(
    "scan",
    arity=None,
    kind="region",
    takes="any",
    infer=_scan_infer,
    evaluate=_inside,
    structure=Region(_scan_run, lambda params: params["length"]),
    symbol="for",
    slope="the body's derivatives, from the last step to the first",
    doc="A loop over the first axis of arrays, with carried state.",
)
_while: Traced = op(
    "while_loop",
    arity=None,
    kind="region",
    takes="any",
    infer=_while_infer,
    evaluate=_inside,
    structure=Region(_while_run, lambda params: int(params["bound"] or 1)),
    symbol="while",
    slope="the body's derivatives, from the last step to the first, if the loop has a bound",
    doc="A loop that goes on while a condition on its carried state holds.",
)
_cond: Traced = op(
    "cond",
    arity=None,
    kind="region",
    takes="any",
    infer=_cond_infer,
    evaluate=_inside,
    structure=Region(_cond_run, lambda params: 1),
    symbol="if",
    slope="the derivatives of the branch that is taken",
    doc="One of two functions, chosen at run time; the other one is not computed.",
)

# --- tracing bodies -------------------------------------------------------------------------------------------------


def _is_leaf(value: Any) -> bool:
    return isinstance(value, Expr | np.ndarray)


class _State:
    """Carried state: its leaves as expressions, and the symbols that stand for them in the body."""

    def __init__(self, value: Any, name: str, where: str) -> None:
        self.given, self.paths, self.tree = flatten(value, _is_leaf, where)
        self.where = where
        self.settled = False  # whether Python's own numbers have their dtype
        self.leaves = [as_expr(v) for v in self.given]
        self.inner = [f"{name}{path.removeprefix(where)}" for path in self.paths]

    def symbols(self, taken: dict[str, int]) -> list[Expr]:
        names = leaf_names(self.inner, taken)
        return [symbol(n, x.shape, x.dtype) for n, x in zip(names, self.leaves, strict=True)]

    def matched(self, op: str, result: Any) -> tuple[list[Expr], bool]:
        """The leaves of a new state, and whether they fit; Python's own numbers take the dtype of the new state."""
        leaves = _leaves_like(self.tree, result)
        if leaves is None:
            tree = flatten(result, _is_leaf, self.where)[2]
            raise SpecError(
                f"{op}: the carried state is {_structure(self.tree)}, and the body returns {_structure(tree)}: it must "
                "return a state of the same structure"
            )
        new, fits = [as_expr(v) for v in leaves], True
        for k, (given, old, now) in enumerate(zip(self.given, self.leaves, new, strict=True)):
            weak = isinstance(given, bool | int | float) and not isinstance(given, np.generic)
            widens = old.dtype != now.dtype and promote(old.dtype, now.dtype).kind == now.dtype.kind
            if weak and not self.settled and old.shape == now.shape and widens:
                self.leaves[k], fits = trace.constant(given, now.dtype), False
            elif old.type != now.type:
                _changed(op, self.paths[k], old.type, now.type)
        self.settled = True
        return new, fits


def _leaves_like(tree: Tree, value: Any) -> list[Any] | None:
    """The leaves of `value`, if it has the structure `tree` (entries of a dict may come in another order)."""
    try:
        leaves = tree.flatten(value, "")
    except SpecError:
        return None
    return leaves if all(flatten(leaf, _is_leaf)[2].kind is None for leaf in leaves) else None


def _structure(tree: Tree) -> str:
    return f"{tree}" + (f" ({tree.size} leaves)" if tree.kind is not None else "")


def _changed(op: str, path: str, old: Type, new: Type) -> None:
    remedy = (
        f"start from that shape, or make the body return {old}"
        if old.shape != new.shape
        else f"start from {new.dtype} (gs.astype, or 0.0 in place of 0), or convert what the body returns"
    )
    error = ShapeError if old.shape != new.shape else DTypeError
    raise error(f"{op}: the carried state {path} is {old}, but the body makes it {new}: {remedy}")


def _named(results: Sequence[Expr], body: Graph, names: Sequence[str | None]) -> list[Expr]:
    """Results that are known by the names that they have in the body."""
    for x, name in zip(results, names, strict=False):
        if name and x.origin.name is None:
            x.origin = replace(x.origin, name=name)
    return [*results]


# --- what users call ------------------------------------------------------------------------------------------------


def scan(
    f: Callable[[Any, Any], Any],
    init: Any,
    xs: Any = None,
    length: Extent | None = None,
    reverse: bool = False,
    *,
    checkpoint: str | int | Sequence[int] | None = None,
) -> tuple[Any, Any]:
    """A loop with carried state over the first axis of arrays: `carry, y = f(carry, x)` for each x of `xs`.

    The generated code is a loop, whose length does not show in the number of its lines, and so is its derivative.

    Parameters
    ----------
    f: takes the carried state and one element, and returns the new state and a result. It is traced once.
    init: the state at the start, any pytree; `f` must return one of the same structure, shapes and dtypes.
    xs: a pytree of arrays with the same first axis, or None with `length=`.
    reverse: whether to go from the last element to the first; results stay in the order of `xs`.
    checkpoint: reverse mode keeps the state of each step. With an int n it keeps that of every n-th step only and
        computes the others again; "sqrt" chooses n such that memory grows with the square root of the length. With
        several numbers, as (100, 10), segments are checkpointed themselves: L levels keep about (L + 1) n**(1/(L+1))
        states of n steps if they are even, and compute each step at most L times more.

    Returns
    -------
    The state after the last step, and the results of all steps along a new first axis.

    Errors: `ShapeError` or `DTypeError` for a state that changes its type and for arrays of different lengths;
    `SpecError` where the length is not known.

    >>> import gradsmith as gs
    >>> def decay(x, us):
    ...     return gs.scan(lambda h, u: (0.5 * h + u, h), x, us)
    >>> f = gs.compile(decay, args=((), (3,)), target="numpy")
    >>> last, all_of_them = f(8.0, [0.0, 1.0, 2.0])
    >>> float(last), all_of_them.tolist()
    (3.5, [8.0, 4.0, 3.0])
    """
    elements, paths, tree = flatten(xs, _is_leaf, "xs")
    arrays = [_counted(as_expr(x)) for x in elements]
    steps = _length(arrays, paths, length)
    return _checkpointed(f, init, tree, arrays, paths, steps, reverse, _segments(checkpoint, steps))


def _counted(x: Expr) -> Expr:
    """`gs.arange` as a loop needs it: counted, not a table as long as the loop."""
    value = x.params.get("value")
    if not isinstance(value, np.ndarray) or value.dtype.kind != "i" or value.ndim != 1 or len(value) < 2:
        return x
    first, step = int(value[0]), int(value[1]) - int(value[0])
    if not np.array_equal(value, first + step * np.arange(len(value))):
        return x
    counted = registry_function("iota")(size=len(value)) * step + first
    return astype(counted, x.dtype)


def _length(arrays: Sequence[Expr], paths: Sequence[str], length: Extent | None) -> Extent:
    if length is not None and (isinstance(length, bool) or not hasattr(length, "__index__")):
        raise SpecError(f"scan: length={length!r} is no int and no size: it must be known while tracing")
    found: list[tuple[str, Extent]] = [] if length is None else [("length", _whole(length))]
    for x, path in zip(arrays, paths, strict=True):
        if not x.shape:
            raise ShapeError(f"scan: {path} is a scalar ({x.type}), and a scan goes along the first axis of arrays")
        found.append((path, x.shape[0]))
    if not found:
        raise SpecError("scan: there are no xs, so the number of steps is needed: length=")
    if any(size != found[0][1] for _, size in found):
        sizes = ", ".join(f"{path} {size}" for path, size in found)
        raise ShapeError(f"scan: the lengths differ: {sizes}; all xs need the same first axis")
    if falls(found[0][1]):
        raise SpecError(f"scan: length={length!r} is negative")
    return found[0][1]


def _whole(value: Any) -> Extent:
    """An int, or a size."""
    return value if isinstance(value, Dim) else int(value.__index__())


def _traced_scan(
    f: Callable[[Any, Any], Any],
    init: Any,
    tree: Tree,
    arrays: Sequence[Expr],
    paths: Sequence[str],
    steps: Extent,
    reverse: bool,
    checkpoint: bool,
) -> tuple[Any, Any]:
    state_name, x_name = parameter_names(f, ("carry", "x"))
    state = _State(init, state_name, "init")
    fits = False
    while not fits:
        taken: dict[str, int] = {}
        carry = state.symbols(taken)
        names = leaf_names([f"{x_name}{p.removeprefix('xs')}" for p in paths], taken)
        element = [symbol(n, x.shape[1:], x.dtype) for n, x in zip(names, arrays, strict=True)]
        result = f(state.tree.unflatten(carry), tree.unflatten(element))
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise SpecError(f"scan: the body returns {_kind(result)}; it must return the pair (carry, y)")
        new, fits = state.matched("scan", result[0])
    leaves, _, results = flatten(result[1], _is_leaf)
    body, outside = closed([*carry, *element], [*new, *(as_expr(v) for v in leaves)])
    region = _scan(
        *outside, *state.leaves, *arrays, body=body, consts=len(outside), carries=len(carry), length=steps,
        counted=False, reverse=bool(reverse), checkpoint=checkpoint,
    )  # fmt: skip
    found = _named(parts(region), body, [x.name for x in carry])
    return state.tree.unflatten(found[: len(carry)]), results.unflatten(found[len(carry) :])


def _kind(value: Any) -> str:
    return f"{len(value)} values" if isinstance(value, tuple | list) else f"{value!r}"


def _segments(checkpoint: str | int | Sequence[int] | None, steps: Extent) -> tuple[int, ...]:
    """How many steps go from one stored state to the next, level by level: the longest segments first."""
    if checkpoint is None:
        return ()
    if checkpoint == "sqrt" and isinstance(steps, Dim):
        raise SpecError(f'checkpoint="sqrt" needs a number of steps, and {steps} is none yet: give an int')
    if checkpoint == "sqrt":
        return (math.isqrt(steps),) if steps > 3 else ()
    levels = tuple(checkpoint) if isinstance(checkpoint, tuple | list) else (checkpoint,)
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in levels):
        raise SpecError(
            f'checkpoint={checkpoint!r}: give "sqrt", the number of steps between two stored states, or several such '
            "numbers, the largest first"
        )
    if any(inner >= outer for outer, inner in itertools.pairwise(levels)):
        raise SpecError(f"checkpoint={checkpoint!r}: segments of a level are shorter than those of the level before")
    return tuple(n for n in levels if n > 1)


def _checkpointed(
    f: Any, init: Any, tree: Tree, arrays: Sequence[Expr], paths: Sequence[str], steps: Extent, reverse: bool,
    segments: tuple[int, ...],
) -> tuple[Any, Any]:  # fmt: skip
    """A scan over segments, whose body is a scan: reverse mode keeps the states between segments only.

    Segments are made of segments of the next level.
    """
    while segments and not isinstance(steps, Dim) and segments[0] >= steps:
        segments = segments[1:]
    if not segments:
        return _traced_scan(f, init, tree, arrays, paths, steps, reverse, False)
    segment, *inner = segments
    count = steps // segment
    whole, rest = count * segment, steps - count * segment
    places_of = ((rest, whole), (0, rest)) if reverse else ((0, whole), (whole, rest))
    main, tail = ([section(x, 0, start, size) for x in arrays] for start, size in places_of)
    folded = [reshape(x, (count, segment, *x.shape[1:])) for x in main]
    places = [f"xs[{k}]" for k in range(len(arrays))] if tree.kind is not None else ["xs"]

    def run(state: Any, xs: Sequence[Expr], length: Extent) -> tuple[Any, Any]:
        return _checkpointed(f, state, tree, xs, places, length, reverse, tuple(inner))

    def outer(state: Any, xs: Any) -> tuple[Any, Any]:
        return run(state, xs, segment)

    each = Tree("list", tuple(range(len(arrays))), (Tree(),) * len(arrays))
    inner_paths = [f"xs[{k}]" for k in range(len(arrays))]
    state, ys = _traced_scan(outer, init, each, folded, inner_paths, count, reverse, True)
    leaves, _, results = flatten(ys, _is_leaf)
    stacked = [reshape(y, (count * segment, *y.shape[2:])) for y in leaves]
    if rest != 0:
        state, more = run(state, tail, rest)
        others, _, _ = flatten(more, _is_leaf)
        pairs = zip(others, stacked, strict=True) if reverse else zip(stacked, others, strict=True)
        stacked = [concatenate(pair) for pair in pairs]
    return state, results.unflatten(stacked)


def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """`f` of each element along the first axis of `xs` (a pytree of arrays), one after the other in a loop.

    >>> import gradsmith as gs
    >>> squares = gs.compile(lambda x: gs.map(lambda e: e * e, x), args=((3,),), target="numpy")
    >>> squares([1.0, 2.0, 3.0]).tolist()
    [1.0, 4.0, 9.0]
    """
    (name,) = parameter_names(f, ("x",))

    def step(_: tuple[()], x: Any) -> tuple[tuple[()], Any]:
        return (), f(x)

    step.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in ("carry", name)]
    )
    return scan(step, (), xs)[1]


def fori_loop(
    lower: Any,
    upper: Any,
    body_fun: Callable[[Any, Any], Any],
    init_val: Any,
    *,
    checkpoint: str | int | Sequence[int] | None = None,
) -> Any:
    """The state after `val = body_fun(i, val)` for each i from `lower` up to, but without, `upper`.

    With ints it is a `scan` and has a derivative in reverse mode; bounds that are traced make it a `while_loop`.

    >>> import gradsmith as gs
    >>> power = gs.compile(lambda x: gs.fori_loop(0, 5, lambda i, y: y * x, 1.0), target="numpy")
    >>> float(power(2.0)), float(power.grad(2.0))
    (32.0, 80.0)
    """
    i_name, state_name = parameter_names(body_fun, ("i", "val"))
    order = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in (state_name, i_name)]
    if isinstance(lower, Expr) or isinstance(upper, Expr):
        for bound in (lower, upper):
            if isinstance(bound, Expr) and (bound.dtype.kind != "int" or bound.shape != ()):
                raise SpecError(
                    f"fori_loop: the bound {bound.name or bound.op.name} is {bound.type}, and a loop counts integers: "
                    "convert it by gs.astype(…, gs.int64)"
                )
        begin, end = (astype(v, INT64) for v in (lower, upper))

        def go_on(state: Any) -> Any:
            return state[0] < end

        def go(state: Any) -> Any:
            return state[0] + 1, body_fun(state[0], state[1])

        return while_loop(go_on, go, (begin, init_val))[1]
    for bound in (lower, upper):
        if isinstance(bound, bool) or not hasattr(bound, "__index__"):
            raise SpecError(f"fori_loop: the bound {bound!r} is neither an int nor a traced integer")
    first, last = _whole(lower), _whole(upper)

    def step(state: Any, i: Expr) -> tuple[Any, None]:
        return body_fun(i + first if first != 0 else i, state), None

    if checkpoint is not None:  # numbers in segments would be a table as long as the loop

        def go_round(state: Any, _: None) -> tuple[Any, None]:
            return (state[0] + 1, body_fun(state[0], state[1])), None

        begun = (astype(first, INT64), init_val)
        return scan(go_round, begun, None, at_least_zero(last - first), checkpoint=checkpoint)[0][1]
    step.__signature__ = inspect.Signature(order)  # type: ignore[attr-defined]
    return scan(step, init_val, registry_function("iota")(size=at_least_zero(last - first)), checkpoint=checkpoint)[0]


def while_loop(
    cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any, *, bound: int | None = None
) -> Any:
    """The state after `val = body_fun(val)` for as long as `cond_fun(val)` holds.

    With `bound`, the loop ends after that many steps at the latest. Reverse mode needs it: the states of all steps are
    kept, in memory that is planned while compiling.

    >>> import gradsmith as gs
    >>> def root(x):
    ...     return gs.while_loop(lambda y: gs.abs(y * y - x) > 1e-12, lambda y: 0.5 * (y + x / y), x, bound=50)
    >>> f = gs.compile(root, target="numpy")
    >>> round(float(f(2.0)), 6), round(float(f.grad(2.0)), 6)
    (1.414214, 0.353553)
    """
    if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int) or bound < 0):
        raise SpecError(f"while_loop: bound={bound!r}: give the largest number of steps, an int")
    (name,) = parameter_names(body_fun, ("val",))
    state = _State(init_val, name, "init_val")
    fits = False
    while not fits:
        carry = state.symbols({})
        new, fits = state.matched("while_loop", body_fun(state.tree.unflatten(carry)))
    answer = as_expr(cond_fun(state.tree.unflatten(carry)))
    if answer.type != Type((), BOOL):
        raise ShapeError(
            f"while_loop: cond_fun returns {answer.type}; it must return one boolean: compare, and reduce by gs.all or "
            "gs.any"
        )
    both, outside = closed(carry, [answer, *new])
    test, body = both.rooted(both.outputs[:1]), both.rooted(both.outputs[1:])
    region = _while(*outside, *state.leaves, test=test, body=body, consts=len(outside), bound=bound)
    return state.tree.unflatten(_named(parts(region)[: len(carry)], body, [x.name for x in carry]))


def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """`true_fun(*operands)` where `pred` (one boolean) holds, else `false_fun(*operands)`: only one is computed.

    Its derivative is that of the branch that is taken. Both must return the same structure, shapes and dtypes.

    >>> import gradsmith as gs
    >>> f = gs.compile(lambda x: gs.cond(x > 0.0, gs.sqrt, lambda x: x * x, x), target="numpy")
    >>> float(f(4.0)), float(f(-3.0)), float(f.grad(-3.0))
    (2.0, 9.0, -6.0)
    """
    for side, function in (("true_fun", true_fun), ("false_fun", false_fun)):
        if not callable(function):
            raise SpecError(
                f"cond: {side} is {_kind(function)}, and a branch is a function of the operands: write lambda: …, or "
                "gs.where to choose between values"
            )
    test = as_expr(pred)
    if test.shape != ():
        raise ShapeError(f"cond: the condition is {test.type}; it must be one boolean (gs.where chooses by element)")
    if test.dtype != BOOL:
        test = test != 0
    leaves, paths, tree = flatten([*operands], _is_leaf, "operands")
    given = [as_expr(v) for v in leaves]
    symbols = [symbol(n, x.shape, x.dtype) for n, x in zip(leaf_names(paths, {}), given, strict=True)]
    since = trace.next_serial()
    inner = tree.unflatten(symbols)
    yes, names, shape = flatten(true_fun(*inner), _is_leaf, "result")
    other = false_fun(*inner)
    no = _leaves_like(shape, other)
    if no is None:
        raise SpecError(
            f"cond: true_fun returns {_structure(shape)} and false_fun {_structure(flatten(other, _is_leaf)[2])}: both "
            "branches must return the same structure"
        )
    pairs = [_agreed(path, as_expr(a), as_expr(b), a, b) for path, a, b in zip(names, yes, no, strict=True)]
    both, outside = closed(symbols, [*(a for a, _ in pairs), *(b for _, b in pairs)], since)
    then, otherwise = both.rooted(both.outputs[: len(pairs)]), both.rooted(both.outputs[len(pairs) :])
    return shape.unflatten(parts(_cond(test, *outside, *given, then=then, otherwise=otherwise)))


def _agreed(path: str, yes: Expr, no: Expr, a: Any, b: Any) -> tuple[Expr, Expr]:
    """Results of the two branches, where Python's own numbers take the dtype of the other one."""

    def weak(v: Any) -> bool:
        return isinstance(v, bool | int | float) and not isinstance(v, np.generic)

    if yes.shape == no.shape and yes.dtype != no.dtype and (weak(a) or weak(b)):
        common: DType = (
            no.dtype if weak(a) and not weak(b) else yes.dtype if not weak(a) else promote(yes.dtype, no.dtype)
        )
        if promote(yes.dtype, no.dtype).kind == common.kind:
            yes, no = (trace.constant(v, common) if weak(v) else e for v, e in ((a, yes), (b, no)))
    if yes.type != no.type:
        error = ShapeError if yes.shape != no.shape else DTypeError
        raise error(
            f"cond: true_fun's {path} is {yes.type} and false_fun's is {no.type}: both branches must return the same "
            "type (gs.broadcast_to, gs.astype)"
        )
    return yes, no
