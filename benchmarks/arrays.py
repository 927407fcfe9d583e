"""Functions of arrays with all their gradients: loops, products and reductions, in both widths."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from harness import peers
from harness.aims import Aim
from harness.flags import march_option
from harness.hand import hand
from harness.records import Build, Family, Ready, Workload, in_type, placed, untried

__all__ = ["FAMILY"]

#: In the order of the table; which of them a model is given to stands with the model.
PEERS = ("JAX", "torch", "torch.compile", "PyTensor", "CasADi", "CasADi C")


@dataclass(frozen=True)
class Model:
    """A loss of arrays: one text for every library whose functions `m` has."""

    name: str
    loss: Callable[..., Any]  # (m, *arrays)
    draw: Callable[[np.random.Generator], Sequence[Any]]
    wrt: Sequence[int]
    file: str  # the C by hand
    method: str
    peers: Sequence[str] = ("JAX", "torch")
    slow: Sequence[str] = ()  # those that take a minute to build: in double precision only
    without: Sequence[str] = ()  # those that do not finish in useful time


# --- the functions that libraries name differently --------------------------------------------------------------------


def lower(d: int) -> list[int]:
    """Places below the diagonal of a matrix of d rows, row after row."""
    return [row * d + column for row in range(d) for column in range(row)]


def gradsmith_functions() -> Any:
    import gradsmith as gs

    def repeat(step: Callable[[Any], Any], times: int, state: Any) -> Any:
        return gs.fori_loop(0, times, lambda _, s: step(s), state)

    def scan(step: Callable[[Any, Any], Any], state: Any, xs: Any) -> Any:
        return gs.scan(lambda s, x: (step(s, x), None), state, xs)[0]

    def factor(below: Any, diagonal: Any, k: int, d: int) -> Any:
        full = gs.reshape(gs.zeros((k, d * d)).at[:, lower(d)].set(below), (k, d, d))
        return full + diagonal[:, :, None] * gs.eye(d)

    named = {"repeat": repeat, "scan": scan, "lower_factor": factor, "zeros": lambda shape, like: gs.zeros(shape)}
    return SimpleNamespace(**{**vars(gs), **named})


def jax_functions() -> Any:
    import jax

    def repeat(step: Callable[[Any], Any], times: int, state: Any) -> Any:
        return jax.lax.scan(lambda s, _: (step(s), None), state, None, length=times)[0]

    def scan(step: Callable[[Any, Any], Any], state: Any, xs: Any) -> Any:
        return jax.lax.scan(lambda s, x: (step(s, x), None), state, xs)[0]

    def conv2d(x: Any, w: Any, b: Any) -> Any:
        return jax.lax.conv(x, w, (1, 1), "VALID") + b[None, :, None, None]

    def factor(below: Any, diagonal: Any, k: int, d: int) -> Any:
        full = jax.numpy.zeros((k, d * d), below.dtype).at[:, np.array(lower(d))].set(below).reshape(k, d, d)
        return full + diagonal[:, :, None] * jax.numpy.eye(d, dtype=below.dtype)

    m = peers.jax_functions()
    named = {"repeat": repeat, "scan": scan, "conv2d": conv2d, "lower_factor": factor}
    named |= {"log_softmax": jax.nn.log_softmax}
    return SimpleNamespace(**{**vars(m), **named, "zeros": lambda shape, like: jax.numpy.zeros(shape, like.dtype)})


def torch_functions() -> Any:
    import torch

    def repeat(step: Callable[[Any], Any], times: int, state: Any) -> Any:
        for _ in range(times):
            state = step(state)
        return state

    def scan(step: Callable[[Any, Any], Any], state: Any, xs: Any) -> Any:
        for x in xs:
            state = step(state, x)
        return state

    def factor(below: Any, diagonal: Any, k: int, d: int) -> Any:
        full = torch.zeros(k, d * d).index_put((torch.arange(k)[:, None], torch.tensor(lower(d))), below)
        return full.reshape(k, d, d) + torch.diag_embed(diagonal)

    named = {
        "repeat": repeat,
        "scan": scan,
        "lower_factor": factor,
        "zeros": lambda shape, like: torch.zeros(shape, dtype=like.dtype),
        "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
        "conv2d": torch.nn.functional.conv2d,
        "log_softmax": lambda x, axis: torch.log_softmax(x, axis),
        "softmax": lambda x, axis: torch.softmax(x, axis),
        "logsumexp": lambda x, axis=0: torch.logsumexp(x, axis),
    }
    return SimpleNamespace(**{**vars(torch), **named})


def pytensor_functions() -> Any:
    import pytensor as library
    import pytensor.tensor as pt

    def repeat(step: Callable[[Any], Any], times: int, state: Any) -> Any:
        return library.scan(step, outputs_info=[state], n_steps=times, return_updates=False)[-1]

    def scan(step: Callable[[Any, Any], Any], state: Any, xs: Any) -> Any:
        turned = lambda x, *s: list(step(s, x))
        return [s[-1] for s in library.scan(turned, sequences=[xs], outputs_info=[*state], return_updates=False)]

    def factor(below: Any, diagonal: Any, *_: Any) -> Any:
        k, d = diagonal.type.shape  # mu.shape is an expression
        full = pt.zeros((k, d * d), below.dtype)[:, np.array(lower(d))].set(below).reshape((k, d, d))
        return full + diagonal[:, :, None] * pt.eye(d, dtype=below.dtype)

    named = {
        "repeat": repeat,
        "scan": scan,
        "lower_factor": factor,
        "zeros": lambda shape, like: pt.zeros(shape, like.dtype),
        "concat": lambda parts: pt.concatenate(parts),
        "log_softmax": lambda x, axis: pt.special.log_softmax(x, axis=axis),
        "relu": lambda x: pt.maximum(x, 0),
        "softmax": lambda x, axis: pt.special.softmax(x, axis=axis),
        "logsumexp": lambda x, axis=None: pt.logsumexp(x, axis=axis),
    }
    return SimpleNamespace(**{**vars(pt), **named})


# --- the models -------------------------------------------------------------------------------------------------------


def two_layers(m: Any, x: Any, t: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    return m.mean((m.relu(x @ W1 + b1) @ W2 + b2 - t) ** 2)


def logistic(m: Any, w: Any, X: Any, y: Any) -> Any:
    z = X @ w
    return m.mean(m.softplus(z) - y * z)


def least_squares(m: Any, x: Any, A: Any, b: Any) -> Any:
    return 0.5 * m.sum((A @ x - b) ** 2)


def logsumexp_affine(m: Any, x: Any, b: Any, A: Any) -> Any:
    return m.logsumexp(A @ x + b, axis=0)


def mixture(m: Any, x: Any, alpha: Any, mu: Any, log_diagonal: Any, below: Any) -> Any:
    """See examples/10_gaussian_mixture.py; each library has its own way to write the factors by index."""
    k, d = mu.shape
    factor = m.lower_factor(below, m.exp(log_diagonal), k, d)
    apart = x[:, None, :] - mu
    white = m.einsum("kij,nki->nkj", factor, apart)
    of_component = m.log_softmax(alpha, axis=0) + m.sum(log_diagonal, axis=1) - 0.5 * m.sum(white**2, axis=2)
    return m.mean(m.logsumexp(of_component, axis=1)) - 0.5 * d * math.log(2 * math.pi)


def heat(m: Any, u: Any, t: Any) -> Any:
    """50 steps of Runge and Kutta for the heat equation between ends of temperature 0."""
    rate = 0.4
    nothing = m.zeros((1,), u)

    def slope(u: Any) -> Any:
        wide = m.concat([nothing, u, nothing])
        return rate * (wide[:-2] - 2.0 * u + wide[2:])

    def step(u: Any) -> Any:
        k1 = slope(u)
        k2 = slope(u + 0.5 * k1)
        k3 = slope(u + 0.5 * k2)
        k4 = slope(u + k3)
        return u + (k1 + 2.0 * k2 + 2.0 * k3 + k4) / 6.0

    return m.mean((m.repeat(step, 50, u) - t) ** 2)


def attention(m: Any, x: Any, t: Any, Wq: Any, Wk: Any, Wv: Any, Wo: Any) -> Any:
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    return m.mean((m.softmax(0.125 * (q @ k.T), axis=1) @ v @ Wo - t) ** 2)


def convolution(m: Any, x: Any, w: Any, b: Any, t: Any) -> Any:
    return m.mean((m.relu(m.conv2d(x, w, b)) - t) ** 2)


def layer_norm(m: Any, x: Any, t: Any, g: Any, b: Any) -> Any:
    apart = x - m.mean(x, axis=1)[:, None]
    over = 1.0 / m.sqrt(m.mean(apart**2, axis=1) + 1e-5)
    return m.mean((g * (apart * over[:, None]) + b - t) ** 2)


def lstm(m: Any, xs: Any, y: Any, U: Any, W: Any, b: Any, v: Any) -> Any:
    hidden = U.shape[0]

    def step(state: Any, x: Any) -> Any:
        h, c = state
        gates = x @ W + h @ U + b
        i, f, o = (m.sigmoid(gates[:, k * hidden : (k + 1) * hidden]) for k in range(3))
        c = f * c + i * m.tanh(gates[:, 3 * hidden :])
        return o * m.tanh(c), c

    nothing = m.zeros((xs.shape[1], hidden), xs)
    h, _ = m.scan(step, (nothing, nothing), xs)
    return m.mean((h @ v - y) ** 2)


# --- the entries ------------------------------------------------------------------------------------------------------


def by_hand(model: Model, dtype: str, arguments: Sequence[Any]) -> Ready:
    results = [np.zeros(1, dtype), *(placed(np.zeros_like(arguments[k])) for k in model.wrt)]
    return Ready(getattr(hand(model.file, dtype), model.method), (*arguments, *results), lambda _: results)


def gradsmith(model: Model, dtype: str, arguments: Sequence[Any], out: bool = False) -> Ready:
    """out: whether the results are written into arrays that are given with the call, as the C by hand does it."""
    import gradsmith as gs

    f = gs.compile(
        functools.partial(model.loss, gradsmith_functions()),
        args=tuple(a.shape for a in arguments),
        wrt=tuple(model.wrt),
        target="c",
        dtype=dtype,
        name="f",
        selftest=False,
        derivatives="value_and_grad",
        **march_option(),
    )
    place = (np.empty((), dtype), tuple(placed(arguments[k]) for k in model.wrt))
    return Ready(f.value_and_grad, tuple(arguments), lambda r: [r[0], *r[1]], {"out": place} if out else {})


def jax(model: Model, dtype: str, arguments: Sequence[Any]) -> Ready:
    return peers.jax_jit(functools.partial(model.loss, jax_functions()), model.wrt, arguments, dtype)


def torch(model: Model, dtype: str, arguments: Sequence[Any], compiled: bool = False) -> Ready:
    return peers.torch_function(functools.partial(model.loss, torch_functions()), model.wrt, arguments, dtype, compiled)


def torch_reference(model: Model, *arguments: Any) -> list[Any]:
    ready = torch(model, "float64", [np.asarray(a, float) for a in arguments])
    return [np.asarray(a) for a in ready.read(ready.function(*ready.arguments))]


def pytensor(model: Model, dtype: str, arguments: Sequence[Any]) -> Ready:
    return peers.pytensor_function(functools.partial(model.loss, pytensor_functions()), model.wrt, arguments, dtype)


def casadi(model: Model, dtype: str, arguments: Sequence[Any], built: bool = False) -> Ready:
    """CasADi has matrices of doubles by columns, and these models one by one."""
    import casadi as ca

    if dtype != "float64":
        raise TypeError("no float32")
    f = CASADI[model.method](ca, arguments, model.wrt)
    ready = peers.casadi_buffer(peers.casadi_built(f) if built else f, [a.ravel(order="F") for a in arguments])
    return ready


def casadi_affine(ca: Any, loss: Callable[..., Any], arguments: Sequence[Any], wrt: Sequence[int]) -> Any:
    given = [ca.MX.sym(f"x{k}", *a.shape) for k, a in enumerate(arguments)]
    value = loss(ca, *given)
    return ca.Function("f", given, [value, *(ca.gradient(value, given[k]) for k in wrt)])


def casadi_heat(ca: Any, arguments: Sequence[Any], wrt: Sequence[int]) -> Any:
    u = ca.SX.sym("u", 128)

    def slope(u: Any) -> Any:
        return 0.4 * (ca.vertcat(0, u[:-1]) - 2.0 * u + ca.vertcat(u[1:], 0))

    k1 = slope(u)
    k2 = slope(u + 0.5 * k1)
    k3 = slope(u + 0.5 * k2)
    k4 = slope(u + k3)
    step = ca.Function("step", [u], [u + (k1 + 2 * k2 + 2 * k3 + k4) / 6])
    start = ca.MX.sym("start", 128)
    goal = ca.MX.sym("goal", 128)
    value = ca.sumsqr(step.fold(50)(start) - goal) / 128
    return ca.Function("f", [start, goal], [value, ca.gradient(value, start)])


CASADI: dict[str, Callable[..., Any]] = {
    "least_squares": lambda ca, a, w: casadi_affine(ca, lambda ca, x, A, b: 0.5 * ca.sumsqr(A @ x - b), a, w),
    "logistic": lambda ca, a, w: casadi_affine(
        ca, lambda ca, x, A, y: ca.sum1(ca.log1p(ca.exp(A @ x)) - y * (A @ x)) / len(a[2]), a, w
    ),
    "logsumexp_affine": lambda ca, a, w: casadi_affine(ca, lambda ca, x, b, A: ca.logsumexp(A @ x + b), a, w),
    "heat": casadi_heat,
}

BUILDS: dict[str, Callable[..., Ready]] = {
    "hand C, out=": by_hand,
    "gradsmith C": gradsmith,
    "gradsmith C, out=": functools.partial(gradsmith, out=True),
    "JAX": jax,
    "torch": torch,
    "torch.compile": functools.partial(torch, compiled=True),
    "PyTensor": pytensor,
    "CasADi": casadi,
    "CasADi C": functools.partial(casadi, built=True),
}


def normal(*shapes: tuple[int, ...], scale: float = 1.0) -> Callable[[np.random.Generator], Sequence[Any]]:
    """Standard normal; matrices of weights by the root of their inputs, so that sums stay of size one."""
    return lambda rng: [scale * rng.normal(size=s) / (math.sqrt(s[0]) if len(s) == 2 else 1.0) for s in shapes]


def network_arrays(rng: np.random.Generator) -> Sequence[Any]:
    x, t = rng.normal(size=(64, 784)), rng.normal(size=(64, 10))
    return [x, t, *normal((784, 128), (128,), (128, 10), (10,))(rng)]


def rows_and_labels(rng: np.random.Generator) -> Sequence[Any]:
    return [0.1 * rng.normal(size=500), rng.normal(size=(1000, 500)), rng.integers(0, 2, 1000).astype(float)]


def rows_and_goals(rng: np.random.Generator) -> Sequence[Any]:
    return [0.1 * rng.normal(size=500), rng.normal(size=(1000, 500)), rng.normal(size=1000)]


def square_map(rng: np.random.Generator) -> Sequence[Any]:
    return [0.1 * rng.normal(size=1000), rng.normal(size=1000), rng.normal(size=(1000, 1000))]


def points_and_components(n: int, d: int, k: int) -> Callable[[np.random.Generator], Sequence[Any]]:
    def draw(rng: np.random.Generator) -> Sequence[Any]:
        below = rng.normal(size=(k, d * (d - 1) // 2)) / d
        return [
            rng.normal(size=(n, d)),
            rng.normal(size=k),
            rng.normal(size=(k, d)),
            0.3 * rng.normal(size=(k, d)),
            below,
        ]

    return draw


def sequence(rng: np.random.Generator) -> Sequence[Any]:
    xs, y = rng.normal(size=(20, 8, 8)), rng.normal(size=8)
    return [xs, y, *normal((32, 128), (8, 128))(rng), 0.1 * rng.normal(size=128), rng.normal(size=32)]


def picture(rng: np.random.Generator) -> Sequence[Any]:
    shapes = ((1, 8, 28, 28), (8, 8, 3, 3), (8,), (1, 8, 26, 26))
    x, w, b, t = (rng.normal(size=s) for s in shapes)
    return [x, w / math.sqrt(72), 0.1 * b, t]


def normed(rng: np.random.Generator) -> Sequence[Any]:
    return [
        rng.normal(size=(128, 256)),
        rng.normal(size=(128, 256)),
        1 + 0.1 * rng.normal(size=256),
        rng.normal(size=256),
    ]


def attended(rng: np.random.Generator) -> Sequence[Any]:
    return [rng.normal(size=(128, 64)), rng.normal(size=(128, 64)), *normal(*[(64, 64)] * 4)(rng)]


MOST = ("JAX", "torch", "torch.compile", "PyTensor")
MODELS = [
    Model("two layers 64x784-128-10", two_layers, network_arrays, (2, 3, 4, 5), "networks", "two_layers", MOST),
    Model("logistic regression 1000x500", logistic, rows_and_labels, (0,), "linear", "logistic", (*MOST, "CasADi")),
    Model("least squares 1000x500", least_squares, rows_and_goals, (0,), "linear", "least_squares", (*MOST, "CasADi")),
    Model("logsumexp of A x + b, 1000", logsumexp_affine, square_map, (0, 1), "linear", "logsumexp_affine",
          (*MOST, "CasADi")),
    Model("Gaussian mixture d=10 k=25 n=1000", mixture, points_and_components(1000, 10, 25), (1, 2, 3, 4), "models",
          "mixture", MOST, slow=("PyTensor",)),
    Model("Gaussian mixture d=64 k=100 n=1000", mixture, points_and_components(1000, 64, 100), (1, 2, 3, 4), "models",
          "mixture", MOST, slow=("PyTensor",)),
    Model("heat equation, 128 cells, 50 steps", heat, lambda rng: [rng.normal(size=128), rng.normal(size=128)], (0,),
          "models", "heat", (*MOST, "CasADi", "CasADi C"), slow=("PyTensor",), without=("torch.compile",)),
    Model("attention 128x64", attention, attended, (2, 3, 4, 5), "networks", "attention", MOST),
    Model("convolution 3x3 of 28x28x8", convolution, picture, (0, 1, 2), "networks", "convolution",
          ("JAX", "torch", "torch.compile")),
    Model("layer norm 128x256", layer_norm, normed, (0, 2, 3), "networks", "layer_norm", MOST),
    Model("LSTM, 20 steps", lstm, sequence, (2, 3, 4, 5), "networks", "lstm", MOST,
          slow=("PyTensor",)),
]  # fmt: skip


def workload(model: Model, dtype: str) -> Workload:
    single = dtype == "float32"
    left_out = {*model.slow, "CasADi", "CasADi C"} if single else set()
    chosen = ("hand C, out=", "gradsmith C", "gradsmith C, out=", *(set(model.peers) - left_out))
    entries: dict[str, Build] = {
        entry: untried if entry in model.without else functools.partial(build, model, dtype)
        for entry, build in BUILDS.items()
        if entry in chosen
    }
    name = in_type(model.name, dtype)
    return Workload(name, model.draw, functools.partial(torch_reference, model), entries, dtype)


FAMILY = Family(
    name="arrays",
    title="Functions of arrays",
    says="Value and all gradients, with the call from Python. The hand-written C and CasADi write into arrays that are"
    " given to them, as gradsmith does with `out=`; all others return new arrays. Beside each peer stands what"
    " does the same work here.",
    unit="µs a call",
    seconds=1e-6,
    workloads=[workload(model, dtype) for model in MODELS for dtype in ("float64", "float32")],
    pairs=[("gradsmith C, out=", "hand C, out="), ("gradsmith C", "hand C, out=")],
    aims=[
        Aim("gradsmith C, out= / hand C, out=", most=1.0),
        Aim("gradsmith C / hand C, out=", most=1.0),
        Aim("gradsmith / best peer", most=1.0),
    ],
    peers={peer: "gradsmith C, out=" if peer.startswith("CasADi") else "gradsmith C" for peer in PEERS},
)
