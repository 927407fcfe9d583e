"""Transforms: the derivatives of a function as functions, for use inside traced functions, in any nesting.

In: a Python function of pytrees of traced values (or expressions, and the symbols to differentiate by). Out: a function
(or expressions) of its derivatives. Names, argument order and the nesting of results are those of JAX's functions.

Each transform calls the function with new symbols in place of the arguments that it differentiates by, applies forward
or reverse mode to what comes back, and puts the arguments in the symbols' place. So a transform of a transform is
nothing special, and a value that the function only closes over is a constant to it.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..as_graph import between as graph_between
from ..as_graph import input_symbols, to_exprs
from ..errors import ArgumentError, DerivativeError, ShapeMismatchError
from ..pytree import Tree, flatten, parameter_names
from ..registry import lookup
from ..trace import Expr, as_expr, constant
from ..types import format_shape
from .adjoint import pulled, zeros
from .flatness import slopes
from .jacobian import Mode, dense, diagonal, second
from .tangent import pushed

__all__ = ["grad", "hessian", "hessian_diag", "hvp", "jacfwd", "jacobian", "jacrev", "jvp", "value_and_grad", "vjp"]


# --- what a transform sees of a call ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Call:
    """One call under a transform: what came back, and how arguments and results are nested."""

    transform: str
    outputs: list[Expr]
    tree: Tree  # of the outputs
    aux: Any
    symbols: list[Expr]  # that stand for the arguments differentiated by
    points: list[Expr]  # what the symbols stand for
    trees: list[Tree]  # of these arguments
    bare: bool

    def pack(self, leaves: Sequence[Any]) -> Any:
        """A leaf for each symbol, in the structure of the arguments: bare for one, else a tuple."""
        packed, at = [], 0
        for tree in self.trees:
            packed.append(tree.unflatten(leaves[at : at + tree.size]))
            at += tree.size
        return packed[0] if self.bare else tuple(packed)

    def sloped(self, together: bool = False) -> None:
        """Refuse to be silent where no result has a slope by an argument (by any, if `together`), but some reads it."""
        ends = np.cumsum([0, *([len(self.symbols)] if together else [tree.size for tree in self.trees])])
        graph, _ = graph_between(self.outputs, self.symbols)
        keys = graph.inputs[: len(self.symbols)]
        names = {k: str(x.name) for k, x in zip(keys, self.symbols, strict=True)}
        for text in slopes(graph, keys).told(names, [keys[a:b] for a, b in itertools.pairwise(ends)]):
            raise DerivativeError(f"{self.transform}: {text}")

    def scalar(self) -> None:
        """Refuse results other than one real number."""
        if self.tree.kind is None and self.outputs[0].shape == () and self.outputs[0].dtype.kind == "float":
            return
        seen = ", ".join(str(x.type) for x in self.outputs)
        raise DerivativeError(
            f"{self.transform}: the function must return one real number, but returned {seen} in "
            f"{'one leaf' if self.tree.kind is None else str(self.tree)}: reduce it first (gs.sum, gs.mean), return "
            "what is not to be differentiated as aux (has_aux=True), or use gs.jacobian or gs.vjp"
        )


def _is_leaf(value: Any) -> bool:
    return isinstance(value, Expr | np.ndarray | np.generic | bool | int | float)


def _call(
    transform: str, fun: Callable[..., Any], argnums: Any, args: Sequence[Any], named: Any, has_aux: bool = False
) -> _Call:
    """Call `fun` with new symbols in place of the arguments `argnums`."""
    bare = not isinstance(argnums, tuple | list)
    chosen = [_place(transform, n, len(args)) for n in ([argnums] if bare else argnums)]
    if len(set(chosen)) != len(chosen):
        raise DerivativeError(f"{transform}: argnums={argnums!r} names an argument twice")
    names = parameter_names(fun, len(args))
    given, symbols, points, trees = list(args), list[Expr](), list[Expr](), []
    for n in chosen:
        leaves, paths, tree = flatten(args[n], _is_leaf, names[n])
        fresh = []
        for leaf, path in zip(leaves, paths, strict=True):
            point = as_expr(leaf)
            if point.dtype.kind != "float":
                raise DerivativeError(
                    f"{transform}: {path} is {point.type}, and there is no derivative by integers and booleans: "
                    "convert it by gs.astype(x, gs.float64) (or write 2.0 for 2), or leave it out of argnums="
                )
            label = point.name or "".join(c if c.isalnum() else "_" for c in path).strip("_")
            fresh.append(Expr(lookup("input"), (), {"name": label}, point.type, point.origin))
            points.append(point)
        given[n] = tree.unflatten(fresh)
        symbols += fresh
        trees.append(tree)
    result = fun(*given, **named)
    aux = None
    if has_aux:
        if not isinstance(result, tuple) or len(result) != 2:
            raise DerivativeError(f"{transform}: with has_aux=True the function must return a pair (result, aux)")
        result, aux = result
        extra, _, aux_tree = flatten(aux, lambda v: isinstance(v, Expr))
        traced = [as_expr(v) for v in extra if isinstance(v, Expr)]
        placed = iter(_substituted(traced, symbols, points))
        aux = aux_tree.unflatten([next(placed) if isinstance(v, Expr) else v for v in extra])
    leaves, _, tree = flatten(result, _is_leaf)
    if not leaves:
        raise DerivativeError(f"{transform}: the function returned {result!r}, which holds no value")
    return _Call(transform, [as_expr(v) for v in leaves], tree, aux, symbols, points, trees, bare)


def _place(transform: str, number: Any, count: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not -count <= number < count:
        raise DerivativeError(
            f"{transform}: argnums={number!r} is no position of an argument; the call has {count} positional "
            f"argument{'' if count == 1 else 's'}, numbered from 0"
        )
    return number % count


def _substituted(outputs: Sequence[Expr], symbols: Sequence[Expr], points: Sequence[Expr]) -> list[Expr]:
    """`outputs` with `points` in the place of `symbols`."""
    graph, around = graph_between(outputs, symbols)
    exprs = to_exprs(graph, [*points, *around])
    return [exprs[k] for k in graph.outputs]


def _expression(transform: str, source: Any, wrt: Any) -> _Call | None:
    """Expressions in place of a function: `wrt` are symbols, all of the expressions' by default. None for functions."""
    leaves, _, tree = flatten(source, lambda v: isinstance(v, Expr))
    if not leaves or not all(isinstance(v, Expr) for v in leaves):
        if not callable(source):
            raise DerivativeError(
                f"{transform}: takes a function, an expression or a pytree of expressions, not {type(source).__name__}"
            )
        return None
    outputs = [as_expr(v) for v in leaves]
    known = input_symbols(outputs)
    if wrt is None:
        wrt = known[0] if len(known) == 1 else tuple(known)
    bare = not isinstance(wrt, tuple | list)
    symbols = [wrt] if bare else list(wrt)
    for s in symbols:
        if not isinstance(s, Expr) or s.op.name != "input":
            raise DerivativeError(
                f"{transform}: an expression is differentiated by symbols, not by {s!r}; it has "
                f"{', '.join(str(k.name) for k in known) or 'none'}"
            )
        if s.dtype.kind != "float":
            raise DerivativeError(f"{transform}: the symbol {s.name!r} is {s.type}: there is no derivative by it")
    if len({s.serial for s in symbols}) != len(symbols):
        raise DerivativeError(f"{transform}: a symbol is named twice")
    return _Call(transform, outputs, tree, None, symbols, symbols, [Tree()] * len(symbols), bare)


def _filled(found: Sequence[Expr | None], like: Sequence[Expr]) -> list[Expr]:
    return [zeros(x.type) if t is None else t for t, x in zip(found, like, strict=True)]


def _seeds(transform: str, what: str, tree: Tree, value: Any, like: Sequence[Expr]) -> list[Expr]:
    """Tangents or cotangents given by the user: of the structure and the types of what they belong to."""
    try:
        leaves = tree.flatten(value, what)
    except ValueError as error:
        raise ArgumentError(f"{transform}: {error}: give it the structure of what it belongs to") from None
    found = []
    for leaf, x in zip(leaves, like, strict=True):
        seed = as_expr(leaf) if not isinstance(leaf, int | float) else constant(float(leaf), x.dtype)
        if seed.op.name == "constant" and seed.dtype != x.dtype:
            seed = constant(np.asarray(seed.params["value"]), x.dtype)
        if seed.type != x.type:
            raise ShapeMismatchError(
                f"{transform}: {what} has a leaf of type {seed.type} for a value of type {x.type}: shapes and element "
                f"types must be equal; broadcast it by gs.broadcast_to(…, {format_shape(x.shape)}) or convert it by "
                "gs.astype"
            )
        found.append(seed)
    return found


# --- first order ------------------------------------------------------------------------------------------------------


def value_and_grad(fun: Any, argnums: Any = None, has_aux: bool = False) -> Any:
    """The value and the gradient of a function with one real result, as `jax.value_and_grad`.

    Returns a function of the same arguments that gives `(value, gradient)`, or `((value, aux), gradient)` with
    `has_aux`, where `fun` returns `(value, aux)`. Of an expression, it is `(value, gradient)` itself.

    Parameters
    ----------
    fun: a function of pytrees of traced values, or an expression.
    argnums: the position, or positions, of the arguments to differentiate by; 0 by default. Of an expression: the
        symbol or symbols, all by default. One gives the bare gradient, several a tuple.

    >>> import gradsmith as gs
    >>> def step(w):
    ...     value, slope = gs.value_and_grad(lambda w: gs.sum(w**2))(w)
    ...     return w - slope / value
    >>> gs.compile(step, args=((2,),))([1.0, 2.0])
    [0.6, 1.2]
    """

    def of(call: _Call) -> Any:
        call.scalar()
        seed = constant(1.0, call.outputs[0].dtype)
        values, found = pulled(call.outputs, [seed], call.symbols, call.points, stabilize=True)
        call.sloped()
        value = (values[0], call.aux) if has_aux else values[0]
        return value, call.pack(_filled(found, call.points))

    return _applied("value_and_grad", fun, argnums, has_aux, of)


def grad(fun: Any, argnums: Any = None, has_aux: bool = False) -> Any:
    """The gradient of a function with one real result, as `jax.grad`: `(gradient, aux)` with `has_aux`.

    `fun` and `argnums` are as for `value_and_grad`. Gradients nest: `gs.grad(gs.grad(f))` is the second derivative.

    >>> import gradsmith as gs
    >>> gs.compile(gs.grad(gs.grad(gs.sin)), args=[()])(2.0) == -gs.compile(gs.sin, args=[()])(2.0)
    True
    >>> x, y = gs.symbols("x y")
    >>> gs.compile(gs.grad(x * y**2, (x, y)))(3.0, 2.0)
    (4.0, 12.0)
    """

    def of(call: _Call) -> Any:
        call.scalar()
        seed = constant(1.0, call.outputs[0].dtype)
        _, found = pulled(call.outputs, [seed], call.symbols, call.points, stabilize=True)
        call.sloped()
        gradient = call.pack(_filled(found, call.points))
        return (gradient, call.aux) if has_aux else gradient

    return _applied("grad", fun, argnums, has_aux, of)


def _applied(transform: str, fun: Any, argnums: Any, has_aux: bool, of: Callable[[_Call], Any]) -> Any:
    """What `of` makes of each call of a function, or of an expression right now."""
    call = _expression(transform, fun, argnums)
    if call is not None:
        if has_aux:
            raise DerivativeError(f"{transform}: has_aux=True is for functions, which return (result, aux)")
        return of(call)

    def transformed(*args: Any, **named: Any) -> Any:
        return of(_call(transform, fun, 0 if argnums is None else argnums, args, named, has_aux))

    transformed.__name__ = transformed.__qualname__ = f"{transform}_{getattr(fun, '__name__', 'f').strip('<>')}"
    if callable(fun) and not inspect.isbuiltin(fun):
        try:
            transformed.__signature__ = inspect.signature(fun)  # type: ignore[attr-defined]
        except (TypeError, ValueError):
            pass
    return transformed


def jvp(fun: Any, primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """Forward mode, as `jax.jvp`: the result at `primals`, and how it changes along `tangents`.

    Parameters
    ----------
    fun: a function of pytrees of traced values, or an expression of the symbols `primals`.
    primals, tangents: a tuple or list each, of one entry an argument, of the same structure, shapes and element types.

    Returns `(result, tangent)`, or `(result, tangent, aux)` with `has_aux`.

    >>> import gradsmith as gs
    >>> x, v = gs.symbols("x v")
    >>> gs.compile(gs.jvp(lambda x: x**3, (x,), (v,)))(2.0, 10.0)
    (8.0, 120.0)
    """
    call, directions = _along("jvp", fun, primals, tangents, has_aux)
    values, found = pushed(call.outputs, call.symbols, directions, call.points, stabilize=True)
    call.sloped(together=True)
    both = call.tree.unflatten(values), call.tree.unflatten(_filled(found, call.outputs))
    return (*both, call.aux) if has_aux else both


def _along(transform: str, fun: Any, primals: Any, tangents: Any, has_aux: bool) -> tuple[_Call, list[Expr]]:
    for what, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, tuple | list):
            raise ArgumentError(
                f"{transform}: {what} is a tuple of one entry an argument, not {type(given).__name__}: write "
                f"{transform}(f, (x,), (v,)) for one"
            )
    if len(primals) != len(tangents):
        raise ArgumentError(f"{transform}: {len(primals)} primals and {len(tangents)} tangents: give one for each")
    call = _expression(transform, fun, tuple(primals))
    if call is None:
        call = _call(transform, fun, tuple(range(len(primals))), primals, {}, has_aux)
    directions: list[Expr] = []
    for number, (tree, tangent) in enumerate(zip(call.trees, tangents, strict=True)):
        like = call.points[len(directions) : len(directions) + tree.size]
        directions += _seeds(transform, f"tangents[{number}]", tree, tangent, like)
    return call, directions


def vjp(fun: Any, *primals: Any, has_aux: bool = False) -> Any:
    """Reverse mode, as `jax.vjp`: the result at `primals`, and a function from its cotangent to those of `primals`.

    That function takes the structure of the result, and returns a tuple of one entry an argument. `fun` may be an
    expression of the symbols `primals`. With `has_aux`, aux is a third result.

    >>> import gradsmith as gs
    >>> x, c = gs.symbols("x c", (2,))
    >>> result, back = gs.vjp(lambda x: x**2, x)
    >>> gs.compile(back(c))([3.0, 4.0], [1.0, 10.0])
    ([6.0, 80.0],)
    """
    call = _expression("vjp", fun, primals)
    if call is None:
        call = _call("vjp", fun, tuple(range(len(primals))), primals, {}, has_aux)
    settled = call
    values = _substituted(call.outputs, call.symbols, call.points)

    def back(cotangent: Any) -> Any:
        seeds = _seeds("vjp", "the cotangent", settled.tree, cotangent, settled.outputs)
        _, found = pulled(settled.outputs, seeds, settled.symbols, settled.points, stabilize=True)
        settled.sloped(together=True)
        return settled.pack(_filled(found, settled.points))

    result = call.tree.unflatten(values)
    return (result, back, call.aux) if has_aux else (result, back)


# --- Jacobian and Hessian ---------------------------------------------------------------------------------------------


def _jacobian(transform: str, mode: Mode, fun: Any, argnums: Any, has_aux: bool) -> Any:
    def of(call: _Call) -> Any:
        call.sloped()
        rows = dense(call.outputs, call.symbols, call.points, mode)
        found = call.tree.unflatten([call.pack(row) for row in rows])
        return (found, call.aux) if has_aux else found

    return _applied(transform, fun, argnums, has_aux, of)


def jacobian(fun: Any, argnums: Any = None, has_aux: bool = False) -> Any:
    """The Jacobian, as `jax.jacobian`, in forward or reverse mode, whichever takes fewer operations.

    In the place of each leaf of the result stands the structure of the arguments `argnums` (bare for one, else a
    tuple), whose leaves have the shape of the result's leaf and then that of the argument's.

    >>> import gradsmith as gs
    >>> gs.compile(gs.jacobian(lambda x: gs.stack([x[0] * x[1], x[1]])), args=((2,),))([2.0, 3.0])
    [[3.0, 2.0], [0.0, 1.0]]
    """
    return _jacobian("jacobian", "auto", fun, argnums, has_aux)


def jacfwd(fun: Any, argnums: Any = None, has_aux: bool = False) -> Any:
    """The Jacobian by forward mode, as `jax.jacfwd`; for more results than arguments. See `jacobian`."""
    return _jacobian("jacfwd", "forward", fun, argnums, has_aux)


def jacrev(fun: Any, argnums: Any = None, has_aux: bool = False) -> Any:
    """The Jacobian by reverse mode, as `jax.jacrev`; for fewer results than arguments. See `jacobian`."""
    return _jacobian("jacrev", "reverse", fun, argnums, has_aux)


def hessian(fun: Any, argnums: Any = None, has_aux: bool = False) -> Any:
    """The matrix of second derivatives, as `jax.hessian`: forward mode over reverse mode.

    The structure is that of the Jacobian of the Jacobian; see `jacobian`.

    >>> import gradsmith as gs
    >>> x, y = gs.symbols("x y")
    >>> gs.compile(gs.hessian(x**2 * y, (x, y)))(3.0, 5.0)
    ((10.0, 6.0), (6.0, 0.0))
    """

    def of(call: _Call) -> Any:
        call.sloped()
        rows = []
        for output in call.outputs:
            blocks = second(output, call.symbols, call.points)
            rows.append(call.pack([call.pack(r) for r in blocks]))
        found = call.tree.unflatten(rows)
        return (found, call.aux) if has_aux else found

    return _applied("hessian", fun, argnums, has_aux, of)


def hessian_diag(fun: Any, argnums: Any = None, has_aux: bool = False) -> Any:
    """The diagonal of the Hessian of a function with one real result: its second derivative by each element alone.

    The structure and the shapes are those of the gradient (`gs.grad`). Only what the diagonal needs is computed: a
    Hessian that is diagonal takes about as much as a gradient, and a full one as much as the whole of it.

    >>> import gradsmith as gs
    >>> x = gs.symbol("x", (2,))
    >>> gs.compile(gs.hessian_diag(x[0]**3 * x[1] + x[1]**2))([1.0, 2.0])
    [12.0, 2.0]
    """

    def of(call: _Call) -> Any:
        call.scalar()
        call.sloped()
        found = call.pack(diagonal(call.outputs[0], call.symbols, call.points))
        return (found, call.aux) if has_aux else found

    return _applied("hessian_diag", fun, argnums, has_aux, of)


def hvp(fun: Any, primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """The Hessian of a function with one real result times a vector, by forward over reverse mode.

    It never forms the Hessian: the cost is a small multiple of the gradient's. `fun`, `primals` and `tangents` are as
    for `jvp`; the result has the structure of the primals, bare for one, else a tuple. It is
    `jvp(grad(fun), primals, tangents)[1]`.

    >>> import gradsmith as gs
    >>> x, v = gs.symbols("x v", (2,))
    >>> gs.compile(gs.hvp(gs.sum(x**3), (x,), (v,)))([1.0, 2.0], [1.0, 10.0])
    [6.0, 120.0]
    """
    call, directions = _along("hvp", fun, primals, tangents, has_aux)
    call.scalar()
    seed = constant(1.0, call.outputs[0].dtype)
    _, gradient = pulled(call.outputs, [seed], call.symbols, stabilize=True)
    call.sloped(together=True)
    _, found = pushed(_filled(gradient, call.symbols), call.symbols, directions, call.points, stabilize=True)
    leaves = _filled(found, call.points)
    product = leaves[0] if len(call.trees) == 1 and call.trees[0].kind is None else call.pack(leaves)
    if len(call.trees) == 1 and call.trees[0].kind is not None:
        product = call.trees[0].unflatten(leaves)
    return (product, call.aux) if has_aux else product
