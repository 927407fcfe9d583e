"""Random programs over all ops and public functions, on inputs that include edges: what `fuzz.py` runs against torch.

In: a seed. Out: a `Sample`: a scalar expression, its symbols, and points. Every step is tried on numbers first (NumPy
evaluates each new node); one that leaves the domain or grows beyond 1e4 is tried again with operands squeezed by a tanh,
a sigmoid or the like, so that programs stay alive without a table of domains. Now and then one is kept as it is.
(`programs.py` has the smaller generator that writes source text and that hypothesis can shrink.)
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith.registry import OPS, Op
from gradsmith.trace import Expr, registry_function
from gradsmith.types import static_shape

from .random_draw import EDGES, SHAPES, Draw, Step, evaluated
from .random_loops import LOOPS

__all__ = ["INNER", "STEPS", "Sample", "evaluated", "random_sample"]


@dataclass(frozen=True)
class Sample:
    """One random program: a scalar result of the symbols `inputs`, and points (one value a symbol)."""

    seed: str
    inputs: tuple[Expr, ...]
    result: Expr
    points: tuple[tuple[np.ndarray, ...], ...]
    steps: tuple[str, ...]  # what was drawn


# --- what can be drawn ------------------------------------------------------------------------------------------------


#: Ops that stand for parts of derivatives and are no public functions: operand 0 is an order, a whole number.
ORDERED = ("besseli_over", "besselj_over", "i0e_derivative", "erfc_ratio", "polygamma", "polygamma_difference",
           "sinc_derivative")  # fmt: skip
#: Ops that programs reach through functions and conditions, not by their names.
INNER = ("input", "constant", "element", "iota", "pick", "astype", "logical_and", "logical_or", "logical_xor",
         "logical_not", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "isnan", "isinf",
         "isfinite", "signbit", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_invert", "bitwise_left_shift", "bitwise_right_shift", "where")  # fmt: skip


def _elementwise(record: Op) -> Step:
    call = registry_function(record.name)
    if record.name in ORDERED:
        orders = sorted({float(s[0]) for s in record.samples})
        only = (record.arity or 2) - 1  # their torch references take one order, so scalars
        return lambda d: call(d.one(orders), *(d.x(lambda e: e.ndim == 0) for _ in range(only)))
    if record.arity == 1:
        return lambda d: call(d.x())
    if record.arity == 2:

        def two(d: Draw) -> Expr:
            x = d.x()
            other = d.like(x)
            return call(other, x) if d.maybe() else call(x, other)

        return two

    def three(d: Draw) -> Expr:
        x = d.x()
        return call(x, d.like(x), d.like(x))

    return three


def _positive(x: Expr) -> Expr:
    return gs.abs(x) + 0.5


def _reduced(name: str) -> Step:
    def step(d: Draw) -> Expr:
        x = d.x() if d.maybe(6) else d.array()
        return getattr(gs, name)(x, axis=d.axes(x), keepdims=d.maybe(4))  # type: ignore[no-any-return]

    return step


def _spread(name: str) -> Step:
    def step(d: Draw) -> Expr:
        x = d.array()
        return getattr(gs, name)(x, axis=d.one([None, d.axis(x)]), correction=d.one([0, 0, 1, 0.5]))  # type: ignore[no-any-return]

    return step


def _along(function: Callable[..., Expr], **options: Any) -> Step:
    def step(d: Draw) -> Expr:
        x = d.array()
        return function(x, axis=d.axis(x), **options)

    return step


def _loss(name: str) -> Step:
    def step(d: Draw) -> Expr:
        x = d.array()
        return getattr(gs, name)(x, d.shaped(x.shape), reduction=d.one(["mean", "sum", "none"]))  # type: ignore[no-any-return]

    return step


def _subscript(d: Draw) -> Expr:
    x = d.array()
    n = x.shape[-1]
    i = d.dice.randrange(n)
    return x[d.one([(..., i), (..., i - n), i % x.shape[0], (..., slice(None, None, -1)), (..., slice(0, n, 2)),
                    (..., slice(1, None)) if n > 1 else (...,), (..., [i, 0, i]), (None, ...), -1,
                    (slice(None), None)])]  # fmt: skip


def _gathered(d: Draw) -> Expr:
    x = d.array()
    axis = d.axis(x)
    return gs.take(x, d.ints(x.shape[axis], d.one([(2,), (3,)])), axis=axis)


def _gathered_along(d: Draw) -> Expr:
    x = d.array()
    axis = d.axis(x) % x.ndim
    shape = (*x.shape[:axis], d.one([1, 2, 4]), *x.shape[axis + 1 :])
    return gs.take_along_axis(x, d.ints(x.shape[axis], shape), axis=axis)


def _sorted(d: Draw) -> Expr:
    x = d.array()
    axis = d.axis(x)
    match d.dice.randrange(4):
        case 0:
            return gs.take_along_axis(x, gs.argsort(x, axis=axis, descending=d.maybe()), axis=axis)
        case 1:
            best = d.one([gs.argmax, gs.argmin])
            return gs.take_along_axis(x, best(x, axis=axis, keepdims=True), axis=axis)
        case _:
            return gs.sort(x, axis=axis, descending=d.maybe())


def _searched(d: Draw) -> Expr:
    x = d.array(1)
    return gs.astype(gs.searchsorted(gs.sort(x), d.x(), side=d.one(["left", "right"])), "float64") * d.x(
        lambda e: e.ndim == 0
    )


def _product(d: Draw) -> Expr:
    x = d.array()
    y = d.x(lambda e: 1 <= e.ndim <= 2 and e.shape[-1 if e.ndim == 1 else -2] == x.shape[-1])
    return gs.matmul(x, y)


def _einsum(d: Draw) -> Expr:
    x = d.array(2)
    n, m = x.shape
    match d.dice.randrange(5):
        case 0:
            return gs.einsum("ij,ij->i", x, d.shaped((n, m)))
        case 1:
            return gs.einsum("ij,j->i", x, d.shaped((m,)))
        case 2:
            return gs.einsum("ij,kj->ik", x, x)
        case 3:
            return gs.einsum("ij->j", x)
        case _:
            return gs.einsum("ij,i,j->", x, d.shaped((n,)), d.shaped((m,)))


def _joined(d: Draw) -> Expr:
    x = d.array()
    y = d.x(lambda e: e.shape[1:] == x.shape[1:] and e.ndim == x.ndim)
    return gs.concat([x, y, x][: 2 + d.maybe()], axis=0)


def _stacked(d: Draw) -> Expr:
    x = d.x(lambda e: e.ndim < 2)
    return gs.stack([x, d.x(lambda e: e.shape == x.shape), x], axis=d.one([0, -1]))


def _in_place(d: Draw) -> Expr:
    x = d.array()
    y = gs.copy(x)
    i = d.dice.randrange(x.shape[0])
    inner = x.shape[1:]
    with_what = d.x(lambda e: e.shape in (inner, ())) if d.maybe() else d.number()
    match d.dice.randrange(5):
        case 0:
            y[i] = with_what
        case 1:
            y[i] += with_what
        case 2:
            y[::2] *= with_what
        case 3:
            view = y[i:]
            view -= with_what
        case _:
            y[:] = y[::-1] * with_what
    return y + 0.0


def _chosen(d: Draw) -> Expr:
    x = d.x()
    return gs.where(d.condition(x), x if d.maybe(3) else gs.sqrt(x) if d.maybe(3) else d.like(x), d.like(x))


def _masked(d: Draw) -> Expr:
    """Of two branches, one is only defined where it is taken."""
    x = d.x()
    risky = d.one([gs.sqrt, gs.log, gs.lgamma, gs.log2, lambda v: v**1.5, lambda v: 1 / v, lambda v: gs.sin(v) / v,
                   gs.log10, lambda v: v**-0.5, lambda v: v * gs.log(v), gs.asin, gs.acosh])  # fmt: skip
    return gs.where(d.one([x > 0, x != 0, x > 1, gs.abs(x) < 1]), risky(x), d.like(x))


def _integers(d: Draw) -> Expr:
    """Integer arithmetic that a gradient goes around."""
    x = d.x()
    n = gs.astype(gs.floor(gs.clip(x, -100.0, 100.0)), "int64")
    m = d.one([n % 3, n // 2, n & 3, n | 1, n ^ 5, ~n, -n, gs.abs(n), gs.sign(n)])
    return x * m if d.maybe() else gs.where(m > 1, x, 0.5 * x)


def _normalised(d: Draw) -> Expr:
    x = d.array(2)
    n = x.shape[-1]
    match d.dice.randrange(3):
        case 0:
            return gs.layer_norm(x, n, d.shaped((n,)), d.shaped((n,)))
        case 1:
            return gs.rms_norm(x, n, d.shaped((n,)))
        case _:
            return gs.batch_norm(x, d.shaped((n,)), _positive(d.shaped((n,))), training=d.maybe() and x.shape[0] > 1)


def _conv(d: Draw) -> Expr:
    x = d.shaped((1, 2, 5))
    return gs.conv1d(x, d.shaped((2, 2, 3)), stride=d.one([1, 2]), padding=d.one([0, 1, 2]), dilation=d.one([1, 2]))


def _conv2(d: Draw) -> Expr:
    return gs.conv2d(
        d.shaped((1, 2, 4, 4)), d.shaped((2, 1, 2, 2)), stride=d.one([1, 2]), padding=d.one([0, 1]), groups=2
    )


def _pooled(d: Draw) -> Expr:
    x = d.shaped((1, 2, 5))
    return d.one([gs.max_pool1d, gs.avg_pool1d])(x, d.one([2, 3]), stride=d.one([1, 2]), padding=d.one([0, 1]))  # type: ignore[no-any-return]


def _classified(d: Draw) -> Expr:
    x = d.array(2)
    target = d.ints(x.shape[1], (x.shape[0],), static=True)
    if d.maybe(3):
        return gs.nll_loss(gs.log_softmax(x, axis=-1), target)
    return gs.cross_entropy(x, target, label_smoothing=d.one([0.0, 0.0, 0.1]), reduction=d.one(["mean", "none"]))


def _attention(d: Draw) -> Expr:
    x = d.array(2)
    return gs.scaled_dot_product_attention(x, d.shaped(x.shape), d.shaped(x.shape), is_causal=d.maybe())


def _reshaped(d: Draw) -> Expr:
    x = d.array()
    n = x.size
    return gs.reshape(x, d.one([(-1,), (1, n), (n, 1), (2, n // 2) if n % 2 == 0 else (n,)]))


def _power(d: Draw) -> Expr:
    x = d.x()
    return d.one([lambda v: v**2, lambda v: v**3, lambda v: v**-1, lambda v: v**0.5, lambda v: _positive(v) ** d.like(v),
                  lambda v: v**-2, lambda v: v**4, lambda v: 2.0**v, lambda v: v**2.5, lambda v: v**0, lambda v: v**1,
                  lambda v: v**7, lambda v: v**-1.5])(x)  # type: ignore[no-any-return]  # fmt: skip


def _arithmetic(d: Draw) -> Expr:
    x = d.x()
    y = d.like(x)
    return d.one([lambda: x + y, lambda: x - y, lambda: x * y, lambda: y - x, lambda: x / y, lambda: y / x, lambda: -x,
                  lambda: 2 * x, lambda: x - 1.25, lambda: x * x, lambda: x + x, lambda: x - x, lambda: x / x,
                  lambda: x // 1.5, lambda: x % 1.5])()  # type: ignore[no-any-return]  # fmt: skip


def _unstable(d: Draw) -> Expr:
    """The formulas that `stabilise` knows, in the form in which people write them."""
    x = d.x()
    y = d.like(x)
    return d.one([
        lambda: gs.log(1 + gs.exp(x)), lambda: gs.log(1 + x * x), lambda: gs.exp(x) - 1, lambda: 1 / (1 + gs.exp(-x)),
        lambda: gs.log(gs.sum(gs.exp(x))), lambda: gs.log(gs.softmax(gs.stack([x, -x, 0.5 * x]), axis=0)),
        lambda: gs.log(gs.sigmoid(x)), lambda: 1 - gs.cos(x), lambda: gs.sqrt(x * x + y * y), lambda: x / (gs.exp(x) - 1),
        lambda: gs.log(gs.cosh(x)), lambda: gs.sinh(x) / x, lambda: gs.sin(x) / x, lambda: gs.tanh(x) / x,
        lambda: (gs.exp(x) - 1) / x, lambda: x * x - y * y, lambda: gs.sqrt(1 + x) - 1, lambda: gs.log(1 - gs.exp(-x * x)),
        lambda: x * gs.log(x), lambda: gs.sqrt(gs.sum(x * x)), lambda: gs.log(gs.exp(x) + gs.exp(y)), lambda: 1 - gs.tanh(x) ** 2,
        lambda: x / gs.sqrt(gs.sum(x * x)), lambda: 1 - gs.sigmoid(x), lambda: gs.exp(x) / gs.sum(gs.exp(x)),
        lambda: gs.sum(gs.abs(x - y)), lambda: gs.log(1 + x) - gs.log(1 - x), lambda: x / gs.tanh(x), lambda: gs.abs(x) ** 1.5,
        lambda: gs.exp(-x * x / 2), lambda: 1 - gs.erf(x), lambda: gs.log(1 - gs.sigmoid(x)), lambda: gs.exp(gs.log(_positive(x)) * y),
    ])()  # type: ignore[no-any-return]  # fmt: skip


def _prod_terms(d: Draw) -> Expr:
    x = d.array()
    return gs.cumulative_prod(x, axis=d.axis(x)) if d.maybe() else gs.prod(x, axis=d.axes(x))


def _square(d: Draw) -> Expr:
    x = d.x(lambda e: e.ndim == 2 and e.shape[0] == e.shape[1])
    return d.one([gs.trace, gs.diagonal, gs.tril, gs.triu, lambda v: gs.matmul(v, v), lambda v: v @ v.T])(x)  # type: ignore[no-any-return]


def _three(function: Callable[..., Expr]) -> Step:
    def step(d: Draw) -> Expr:
        x = d.x(lambda e: e.ndim == 1 and e.shape[0] == 3)
        return function(x, d.x(lambda e: e.shape == x.shape))

    return step


def _with(function: Callable[..., Any]) -> Step:
    """A function of one array and the dice."""
    return lambda d: function(d.array(), d)


#: Public functions (and forms) that need more than operands of any shape: how to draw each.
FUNCTIONS: dict[str, Step] = {
    **{name: _reduced(name) for name in ("sum", "mean", "max", "min", "prod", "logsumexp", "norm")},
    **{name: _spread(name) for name in ("var", "std")},
    **{name: _loss(name) for name in ("mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss")},
    "binary_cross_entropy": lambda d: gs.binary_cross_entropy(gs.sigmoid(x := d.array()), gs.sigmoid(d.shaped(x.shape))),
    "binary_cross_entropy_with_logits": lambda d: gs.binary_cross_entropy_with_logits(
        x := d.array(), gs.sigmoid(d.shaped(x.shape))
    ),
    "kl_div": lambda d: gs.kl_div(gs.log_softmax(x := d.array()), gs.softmax(d.shaped(x.shape)), reduction="sum"),
    "gaussian_nll_loss": lambda d: gs.gaussian_nll_loss(x := d.array(), d.shaped(x.shape), _positive(x)),
    "cosine_similarity": lambda d: gs.cosine_similarity(x := d.array(2), d.shaped(x.shape), dim=d.one([0, 1])),
    "cross_entropy": _classified,
    "scaled_dot_product_attention": _attention,
    "normalisations": _normalised,
    "conv1d": _conv, "conv2d": _conv2, "pool1d": _pooled,
    "linear": lambda d: gs.linear(x := d.array(), d.shaped((2, x.shape[-1]))),
    "embedding": lambda d: gs.embedding(d.ints((x := d.array(2)).shape[0], (3,), static=True), x),
    "cdist": lambda d: gs.cdist(x := d.array(2), x if d.maybe(4) else d.shaped(x.shape)),
    "vector_norm": _with(lambda x, d: gs.vector_norm(x, axis=d.one([None, d.axis(x)]), ord=d.one([1, 2, 2, 3, np.inf, -np.inf, 0.5]))),
    "matrix_norm": lambda d: gs.matrix_norm(d.array(2), ord=d.one(["fro", 1, np.inf])),
    "softmax": _along(gs.softmax), "log_softmax": _along(gs.log_softmax),
    "cumulative_sum": _along(gs.cumulative_sum), "cumulative_prod": _along(gs.cumulative_prod), "prods": _prod_terms,
    "cumulative_sum_initial": _along(gs.cumulative_sum, include_initial=True),
    "diff": _with(lambda x, d: gs.diff(x) if x.shape[-1] > 1 else gs.diff(x, prepend=gs.zeros(x.shape))),
    "flip": _along(gs.flip), "roll": _with(lambda x, d: gs.roll(x, d.one([1, -1, 2]), axis=d.one([None, d.axis(x)]))),
    "repeat": _with(lambda x, d: gs.repeat(x, 2, axis=d.axis(x))), "tile": _with(lambda x, d: gs.tile(x, 2)),
    "transpose": _with(lambda x, d: x.T), "reshape": _reshaped, "pad": _with(lambda x, d: gs.pad(x, 1)), "subscript": _subscript,
    "expand_dims": lambda d: gs.expand_dims(d.x(lambda e: e.ndim < 3), 0),
    "squeeze": lambda d: gs.squeeze(d.x(lambda e: 1 in e.shape)),
    "broadcast_to": lambda d: gs.broadcast_to(x := d.x(lambda e: e.ndim < 2), (2, *x.shape)),
    "moveaxis": _with(lambda x, d: gs.moveaxis(x, 0, -1)),
    "take": _gathered, "take_along_axis": _gathered_along, "sort": _sorted, "searchsorted": _searched,
    "concat": _joined, "stack": _stacked, "in_place": _in_place,
    "matmul": _product, "einsum": _einsum, "square_matrix": _square, "cross": _three(gs.cross), "vecdot": _three(gs.vecdot),
    "outer": lambda d: gs.outer(d.array(1), d.array(1)), "tensordot": lambda d: gs.tensordot(x := d.array(2), x, axes=2),
    "dot": _three(gs.dot),
    "where": _chosen, "where_masked": _masked, "integers": _integers, "power": _power, "arithmetic": _arithmetic,
    "unstable": _unstable,
    "elu": lambda d: gs.elu(d.x(), d.one([1.0, 0.5])), "celu": lambda d: gs.celu(d.x(), d.one([1.0, 2.0])),
    "selu": lambda d: gs.selu(d.x()), "leaky_relu": lambda d: gs.leaky_relu(d.x()), "relu6": lambda d: gs.relu6(d.x()),
    "hardtanh": lambda d: gs.hardtanh(d.x()), "hardsigmoid": lambda d: gs.hardsigmoid(d.x()),
    "hardswish": lambda d: gs.hardswish(d.x()), "gelu_tanh": lambda d: gs.gelu(d.x(), approximate="tanh"),
    "logsigmoid": lambda d: gs.logsigmoid(d.x()), "softplus_beta": lambda d: gs.softplus(d.x(), 2.0, 20.0),
    "stop_gradient": lambda d: gs.stop_gradient(x := d.x()) * x,
    "linspace": lambda d: gs.linspace(d.x(lambda e: e.ndim == 0), d.x(lambda e: e.ndim == 0), 3),
    "meshgrid": lambda d: gs.meshgrid(d.array(1), d.array(1))[d.dice.randrange(2)],
    "any_all": lambda d: gs.where(d.one([gs.any, gs.all])((x := d.x()) > 0), x, 0.5 * x),
    "count_nonzero": lambda d: gs.count_nonzero((x := d.array()) > 0) * x,
}  # fmt: skip

PLAIN: dict[str, Step] = {
    **{n: _elementwise(r) for n, r in OPS.items() if r.kind == "elementwise" and n not in INNER},
    **FUNCTIONS,
}
STEPS: dict[str, Step] = {**PLAIN, **LOOPS}
#: Common forms come more often than their one name in the table would bring.
WEIGHTS = {
    "arithmetic": 12, "add": 3, "mul": 4, "sub": 2, "div": 2, "where": 4, "where_masked": 3, "unstable": 8, "sum": 3,
    "power": 4, "subscript": 3, "in_place": 4, "take": 3, "sort": 3, "matmul": 3,
}  # fmt: skip
NAMES = list(PLAIN)
ODDS = [WEIGHTS.get(name, 1) for name in NAMES]


def random_sample(seed: str, prefix: str, loops: bool = False) -> Sample:
    """The program of that seed; its symbols are named `prefix_0`, `prefix_1` … With `loops`, it has one or more."""
    d = Draw(random.Random(seed), prefix, STEPS)
    scalar = d.maybe(3)  # for straight-line code: scalars only, to begin with
    for _ in range(d.one([1, 1, 2, 2, 3])):
        d.pool.append(d.floats(() if scalar else d.one(SHAPES)))
    steps: list[str] = []
    drawn = d.dice.choices(NAMES, ODDS, k=d.one([1, 1, 2, 2, 2, 3, 3, 4, 5, 8]))
    if loops:
        drawn[-1:] = d.dice.choices([*LOOPS], k=d.one([1, 1, 2]))
    for name in drawn:
        if scalar and name in FUNCTIONS and d.dice.randrange(4):
            name = d.dice.choice(["arithmetic", "unstable", "where", "where_masked", "power", "integers"])
        if d.step(name):
            steps.append(name)
    result = d.pool[-1]
    if result.ndim:
        weights = (((np.arange(result.size) * 5) % 11 - 5.5) / 4).reshape(static_shape(result.shape))
        result = d.one([lambda: gs.sum(result * weights), lambda: gs.mean(result * result), lambda: gs.sum(result)])()
    if d.maybe(3):
        result = result * d.x(lambda e: e.ndim == 0)
    return Sample(seed, tuple(d.inputs), result, (tuple(d.point), edged(d)), tuple(steps))


def edged(d: Draw) -> tuple[np.ndarray, ...]:
    """Another point: special numbers among ordinary ones, and ties."""
    few = [d.one(EDGES[:12]), d.one(EDGES)]
    found = []
    for v in d.point:
        if v.dtype.kind == "i":
            found.append(v)
            continue
        other = [d.one(few) if d.maybe() else d.one([x, x, -x, round(x), d.one(EDGES)]) for x in np.ravel(v)]
        found.append(np.array(other, dtype=np.float64).reshape(v.shape))
    return tuple(found)
