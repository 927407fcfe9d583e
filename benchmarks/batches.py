"""The same function at many points: what a point costs when a vector of them is computed at a time."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import programs
from harness import peers
from harness.aims import Aim
from harness.flags import march_option
from harness.hand import hand
from harness.records import Build, Family, Ready, Workload, placed

__all__ = ["FAMILY", "POINTS"]

POINTS = 100_000


@dataclass(frozen=True)
class Batch:
    """A program of `inputs` scalars, of which the first or last some are differentiated by."""

    name: str
    function: Callable[..., Any]  # (m, list) -> a scalar, or a list of residuals
    inputs: int
    wrt: range
    low: Sequence[float]
    high: Sequence[float]
    method: str  # in hand/batches.c
    numba: Callable[..., Any] | None = None
    outputs: int = 0  # 0: a scalar; else that many residuals, with their Jacobian


def outputs(batch: Batch, m: Any, rows: Sequence[Any]) -> list[Any]:
    found = batch.function(m, list(rows))
    return list(found) if batch.outputs else [found]


# --- hand-written loops for numba -------------------------------------------------------------------------------------


def seed_loop(x, value, g):
    for i in range(x.shape[1]):
        a, b = x[0, i], x[1, i]
        t = math.tanh(a)
        value[i] = a * b + b + t
        g[0, i] = b + 1.0 - t * t
        g[1, i] = a + 1.0


def rosenbrock_loop(x, value, g):
    for i in range(x.shape[1]):
        total, before = 0.0, 0.0
        for k in range(9):
            a = x[k, i]
            u, v = x[k + 1, i] - a * a, 1.0 - a
            total += 100.0 * u * u + v * v
            g[k, i] = 200.0 * before - 400.0 * a * u - 2.0 * v
            before = u
        g[9, i] = 200.0 * before
        value[i] = total


def black_scholes_loop(x, value, g):
    for i in range(x.shape[1]):
        s, k, r, sigma, t = x[0, i], x[1, i], x[2, i], x[3, i], x[4, i]
        root = math.sqrt(t)
        spread = sigma * root
        d1 = (math.log(s / k) + (r + 0.5 * sigma * sigma) * t) / spread
        n1 = 0.5 + 0.5 * math.erf(0.7071067811865476 * d1)
        n2 = 0.5 + 0.5 * math.erf(0.7071067811865476 * (d1 - spread))
        discount = math.exp(-r * t)
        paid = k * discount * n2
        density = s * 0.3989422804014327 * math.exp(-0.5 * d1 * d1)
        value[i] = s * n1 - paid
        g[0, i] = n1
        g[1, i] = -discount * n2
        g[2, i] = t * paid
        g[3, i] = density * root
        g[4, i] = 0.5 * density * sigma / root + r * paid


# --- the entries: each gets x (inputs, points) and gives values (rows, points) and slopes (rows, points) --------------


def results_of(batch: Batch, points: int) -> tuple[np.ndarray, np.ndarray]:
    rows = max(1, batch.outputs)
    return placed(np.zeros((rows, points))), placed(np.zeros((rows * len(batch.wrt), points)))


def reference(batch: Batch, x: np.ndarray) -> list[np.ndarray]:
    import torch

    rows = [torch.tensor(row, requires_grad=k in batch.wrt) for k, row in enumerate(x)]
    values = outputs(batch, torch, rows)
    wrt = [rows[k] for k in batch.wrt]
    # what a residual does not depend on has slope zero
    slopes = [
        torch.autograd.grad(v.sum(), wrt, retain_graph=True, allow_unused=True, materialize_grads=True) for v in values
    ]
    return [np.stack([v.detach().numpy() for v in values]), np.stack([g.numpy() for row in slopes for g in row])]


def by_hand(batch: Batch, arguments: Sequence[Any]) -> Ready:
    results = results_of(batch, arguments[0].shape[1])
    return Ready(getattr(hand("batches"), batch.method), (arguments[0], *results), lambda _: results)


def gradsmith(batch: Batch, arguments: Sequence[Any], **more: Any) -> Ready:
    """Rows in, rows out; by `vmap` as long as there is no `batch=`. `more`: options of `compile`."""
    import gradsmith as gs

    (x,) = arguments
    points = x.shape[1]
    batched = "batch" in inspect.signature(gs.compile).parameters
    options: dict[str, Any] = {"target": "c", "name": "f", "selftest": False, **march_option(), **more}
    if batched and not batch.outputs:
        symbols = [gs.symbol(f"x{k}") for k in range(batch.inputs)]
        wrt = tuple(symbols[k] for k in batch.wrt)
        f = gs.compile(
            batch.function(gs, symbols), args=symbols, wrt=wrt, derivatives="value_and_grad", batch=True, **options
        )
        values, slopes = results_of(batch, points)
        place = {"out": (values[0], tuple(slopes))}
        return Ready(f.value_and_grad_batch, tuple(x), lambda r: [r[0], np.stack(r[1])], place)

    def function(p: Any) -> Any:
        found = outputs(batch, gs, [p[k] for k in range(batch.inputs)])
        return gs.stack(found) if batch.outputs else found[0]

    def both(p: Any) -> Any:
        if batch.outputs:
            return function(p), gs.jacrev(function)(p)[:, batch.wrt.start : batch.wrt.stop]
        value, slopes = gs.value_and_grad(function)(p)
        return value, slopes[batch.wrt.start : batch.wrt.stop]

    rows = lambda r: [np.moveaxis(np.asarray(a), 0, -1).reshape(-1, points) for a in r]
    if batched:
        f = gs.compile(both, args=((batch.inputs,),), derivatives="value", batch=True, **options)
        values, slopes = results_of(batch, points)
        place = (values.T, np.moveaxis(slopes.reshape(batch.outputs, -1, points), -1, 0))
        return Ready(f.value_batch, (x.T,), rows, {"out": place})
    f = gs.compile(gs.vmap(both, in_axes=1, out_axes=0), args=(x.shape,), derivatives="value", **options)
    return Ready(f, (x,), rows)


def casadi(batch: Batch, arguments: Sequence[Any]) -> Ready:
    """Generated C of a loop over the points, each of which lies together, as CasADi has it."""
    import casadi as ca

    (x,) = arguments
    p = ca.SX.sym("p", batch.inputs)
    values = ca.vertcat(*outputs(batch, ca, ca.vertsplit(p)))
    slopes = ca.densify(
        ca.jacobian(values, p)[:, list(batch.wrt)]
    ).T  # by columns: one row of the Jacobian after another
    f = ca.Function("f", [p], ca.cse([values, ca.vec(slopes)])).map(x.shape[1])
    ready = peers.casadi_buffer(peers.casadi_built(f), [np.ascontiguousarray(x.T)])
    back = lambda r: [a.reshape(x.shape[1], -1).T for a in r]
    return Ready(ready.function, ready.arguments, lambda r: back(ready.read(r)))


def heyoka(batch: Batch, arguments: Sequence[Any]) -> Ready:
    import heyoka as hy

    (x,) = arguments
    symbols = [hy.expression(f"x{k}") for k in range(batch.inputs)]
    values = outputs(batch, hy, symbols)
    tensors = hy.diff_tensors(values, diff_args=[symbols[k] for k in batch.wrt], diff_order=1)
    slopes = [slope for row in np.atleast_2d(np.asarray(tensors.jacobian)) for slope in row]
    f = hy.cfunc([*values, *slopes], vars=symbols)
    results = np.zeros((len(values) + len(slopes), x.shape[1]))
    return Ready(lambda a: f(a, outputs=results), (x,), lambda _: [results[: len(values)], results[len(values) :]])


def numba(batch: Batch, arguments: Sequence[Any]) -> Ready:
    import numba

    (x,) = arguments
    values, slopes = results_of(batch, x.shape[1])
    given = (x, values[0], slopes)
    return Ready(numba.njit(batch.numba), given, lambda _: [values, slopes])


def jax(batch: Batch, arguments: Sequence[Any]) -> Ready:
    """vmap of value and gradient, or of residual and Jacobian, jitted."""
    import jax

    m = peers.jax_functions()
    x = jax.numpy.asarray(arguments[0])

    def at(p: Any) -> Any:
        found = outputs(batch, m, [p[k] for k in range(batch.inputs)])
        return jax.numpy.stack(found) if batch.outputs else found[0]

    def both(p: Any) -> Any:
        if batch.outputs:
            return at(p), jax.jacrev(at)(p)[:, batch.wrt.start : batch.wrt.stop].ravel()
        value, slopes = jax.value_and_grad(at)(p)
        return value, slopes[batch.wrt.start : batch.wrt.stop]

    f = jax.jit(jax.vmap(both, in_axes=1, out_axes=-1))
    return Ready(lambda a: jax.block_until_ready(f(a)), (x,), lambda r: [np.atleast_2d(r[0]), r[1]])


def torch_compile(batch: Batch, arguments: Sequence[Any]) -> Ready:
    """The rows as long vectors, and the sum of the values back to them."""
    import torch

    torch.set_num_threads(1)
    rows = [torch.tensor(row, requires_grad=k in batch.wrt) for k, row in enumerate(arguments[0])]
    wrt = [rows[k] for k in batch.wrt]
    function = peers.torch_compiled(lambda *given: tuple(outputs(batch, torch, given)))
    ones = torch.ones_like(rows[0])

    def call() -> Any:
        values = function(*rows)
        keep = len(values) > 1
        return values, [
            torch.autograd.grad(v, wrt, ones, retain_graph=keep, allow_unused=True, materialize_grads=True)
            for v in values
        ]

    return Ready(call, (), lambda r: [[v.detach().numpy() for v in r[0]], [g.numpy() for row in r[1] for g in row]])


def drjit(batch: Batch, arguments: Sequence[Any]) -> Ready:
    """One kernel for values and slopes, traced once and then called frozen; LLVM, one thread."""
    import drjit as dr
    from drjit.llvm.ad import Float64

    dr.set_thread_count(1)
    plain = [Float64(row) for row in arguments[0]]

    @dr.freeze
    def call(rows: Any) -> Any:
        rows = [Float64(row) for row in rows]
        for k in batch.wrt:
            dr.enable_grad(rows[k])
        values = outputs(batch, dr, rows)
        slopes = []
        for v in values:
            for k in batch.wrt:
                dr.set_grad(rows[k], 0)
            dr.backward(v, flags=dr.ADFlag.ClearInterior)
            slopes += [dr.grad(rows[k]) for k in batch.wrt]
        return [dr.detach(v) for v in values], slopes

    def run() -> Any:
        results = call(plain)
        dr.eval(results)
        dr.sync_thread()
        return results

    points = arguments[0].shape[1]
    full = lambda a: np.broadcast_to(np.asarray(a), points)
    return Ready(run, (), lambda r: [[full(v) for v in r[0]], [full(g) for g in r[1]]])


BUILDS: dict[str, Callable[[Batch, Sequence[Any]], Ready]] = {
    "hand C": by_hand,
    "gradsmith C": gradsmith,
    "gradsmith C, fast_math": functools.partial(gradsmith, fast_math=True),
    "Dr.Jit": drjit,
    "torch.compile": torch_compile,
    "heyoka": heyoka,
    "JAX": jax,
    "CasADi C": casadi,
    "numba by hand": numba,
}

OPTION = ([90.0, 90.0, 0.01, 0.1, 0.5], [110.0, 110.0, 0.05, 0.4, 2.0])
CAMERA = [(0.1, 0.6)] * 3 + [(-0.5, 0.5)] * 3 + [(0.8, 1.2)] + [(-0.1, 0.1)] * 4 + [(-1.0, 1.0)] * 2 + [(4.0, 6.0)]
CAMERA += [(0.5, 1.5)] + [(-0.5, 0.5)] * 2

BATCHES = [
    Batch("x*y + y + tanh(x)", programs.seed, 2, range(2), [-3.0] * 2, [3.0] * 2, "seed", seed_loop),
    Batch("Rosenbrock 10", programs.rosenbrock, 10, range(10), [-1.0] * 10, [1.0] * 10, "rosenbrock", rosenbrock_loop),
    Batch("arm of 7 joints", programs.spatial_arm, 7, range(7), [-3.0] * 7, [3.0] * 7, "spatial"),
    Batch("Black-Scholes", programs.black_scholes, 5, range(5), *OPTION, "black_scholes", black_scholes_loop),
    Batch(
        "network 4-8-1",
        lambda m, p: programs.network(m, p[:4], p[4:36], p[36:44], p[44:52], p[52:53], p[53:]),
        54,
        range(4, 53),
        [-1.0] * 54,
        [1.0] * 54,
        "network",
    ),
    Batch(
        "bundle adjustment, 2 x 15 Jacobian",
        programs.bundle,
        17,
        range(15),
        [low for low, _ in CAMERA],
        [high for _, high in CAMERA],
        "bundle",
        outputs=2,
    ),
]


def workload(batch: Batch) -> Workload:
    draw = lambda rng: [
        rng.uniform(np.array(batch.low)[:, None], np.array(batch.high)[:, None], (batch.inputs, POINTS))
    ]
    builds = {name: b for name, b in BUILDS.items() if name != "numba by hand" or batch.numba is not None}
    entries: dict[str, Build] = {name: functools.partial(build, batch) for name, build in builds.items()}
    return Workload(batch.name, draw, functools.partial(reference, batch), entries, calls=POINTS)


FAMILY = Family(
    name="batches",
    title="Many points at once",
    says=f"Value and gradient at {POINTS:,} points, components in rows (CasADi's C: points in rows); each point of the"
    " network has weights of its own. The time is that of the whole call by the number of points. Code by hand fuses"
    " products and sums, and its functions err by up to 4 ULP: so do ours with fast_math=True.",
    unit="ns a point",
    seconds=1e-9,
    workloads=[workload(batch) for batch in BATCHES],
    pairs=[("gradsmith C", "hand C"), ("gradsmith C, fast_math", "hand C")],
    aims=[
        Aim("gradsmith C / hand C", most=1.1),
        Aim("gradsmith C, fast_math / hand C", most=1.1),
        Aim("gradsmith / best peer", most=1.0),
    ],
    peers=dict.fromkeys(("Dr.Jit", "torch.compile", "heyoka", "JAX", "CasADi C", "numba by hand"), "gradsmith C"),
)
