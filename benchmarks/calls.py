"""Calls from Python, one at a time: what a value and a gradient cost with everything around them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import programs
from harness import peers
from harness.aims import Aim
from harness.hand import hand
from harness.records import Build, Family, Ready, Workload, placed, untried

__all__ = ["FAMILY"]


@dataclass(frozen=True)
class Call:
    """A program (see programs.py) and its hand-written forms."""

    name: str
    function: Callable[..., Any]  # of scalars
    sizes: Sequence[int]
    wrt: Sequence[int]
    draw: Callable[[np.random.Generator], Sequence[Any]]
    file: str  # the C by hand: module and function
    method: str
    python: Callable[..., Any]  # straight-line Python by hand, with the results of `f.value_and_grad`
    array: Callable[..., Any] | None = None  # of arrays, where the program has that form
    scalars: bool = False  # numbers in, numbers out
    numba: Callable[..., Any] | None = None
    without: Sequence[str] = ()  # entries that do not finish in useful time


# --- straight-line Python by hand -------------------------------------------------------------------------------------


def seed(v):
    x, y = v
    t = math.tanh(x)
    return x * y + y + t, [y + 1.0 - t * t, x + 1.0]


def seed_of_scalars(x, y):
    t = math.tanh(x)
    return x * y + y + t, (y + 1.0 - t * t, x + 1.0)


def straight_rosenbrock(n: int) -> Callable[..., Any]:
    """The statements one after the other, as one would write them for a few numbers and generate them for many."""
    last = n - 1
    lines = ["def rosenbrock(x):", f"    {', '.join(f'x{i}' for i in range(n))} = x"]
    for i in range(last):
        lines += [f"    u{i} = x{i + 1} - x{i} * x{i}", f"    v{i} = 1.0 - x{i}"]
    squares = lambda name: " + ".join(f"{name}{i} * {name}{i}" for i in range(last))
    slopes = [f"-400.0 * x{i} * u{i} - 2.0 * v{i}" + (f" + 200.0 * u{i - 1}" if i else "") for i in range(last)]
    lines.append(f"    return 100.0 * ({squares('u')}) + {squares('v')}, [{', '.join(slopes)}, 200.0 * u{last - 1}]")
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    return names["rosenbrock"]


def rosenbrock_loop(x):
    n = len(x)
    g = np.empty(n)
    value, before = 0.0, 0.0
    for i in range(n - 1):
        u, v = x[i + 1] - x[i] * x[i], 1.0 - x[i]
        value += 100.0 * u * u + v * v
        g[i] = 200.0 * before - 400.0 * x[i] * u - 2.0 * v
        before = u
    g[n - 1] = 200.0 * before
    return value, g


def planar_arm(q, lengths):
    q0, q1, q2, q3, q4, q5 = q
    l0, l1, l2, l3, l4, l5 = lengths
    a1 = q0 + q1
    a2 = a1 + q2
    a3 = a2 + q3
    a4 = a3 + q4
    a5 = a4 + q5
    x0, x1, x2 = l0 * math.cos(q0), l1 * math.cos(a1), l2 * math.cos(a2)
    x3, x4, x5 = l3 * math.cos(a3), l4 * math.cos(a4), l5 * math.cos(a5)
    y0, y1, y2 = l0 * math.sin(q0), l1 * math.sin(a1), l2 * math.sin(a2)
    y3, y4, y5 = l3 * math.sin(a3), l4 * math.sin(a4), l5 * math.sin(a5)
    x = x0 + x1 + x2 + x3 + x4 + x5 - 1.5
    y = y0 + y1 + y2 + y3 + y4 + y5 - 2.5
    u, v = x + x, y + y
    g5 = v * x5 - u * y5
    g4 = g5 + v * x4 - u * y4
    g3 = g4 + v * x3 - u * y3
    g2 = g3 + v * x2 - u * y2
    g1 = g2 + v * x1 - u * y1
    return x * x + y * y, [g1 + v * x0 - u * y0, g1, g2, g3, g4, g5]


def straight_arm() -> Callable[..., Any]:
    """The slope of each joint by the cross product of its axis and its way to the tip; the first frames have zeros."""
    lengths = programs.SEGMENTS
    lines = ["def spatial_arm(q):", "    q0, q1, q2, q3, q4, q5, q6 = q"]
    lines += [f"    c{k}, s{k} = cos(q{k}), sin(q{k})" for k in range(7)]
    lines += ["    x0, x1, x2 = c1 * c0, c1 * s0, -s1", "    z0, z1, z2 = s1 * c0, s1 * s0, c1"]
    lines += ["    y0, y1 = -s0, c0"]
    lines += [f"    j2_{i} = {base} + {lengths[1]} * z{i}" for i, base in enumerate((-0.3, -0.2, -0.9 + lengths[0]))]
    for k in range(2, 7):
        turned, fixed, plus, minus = ("y", "z", "+", "-") if k % 2 == 0 else ("z", "y", "-", "+")
        lines += [f"    a{k}_{i} = {fixed}{i}" for i in range(3)]
        for i in range(3):
            known = k == 2 and i == 2
            here, there = (f"c{k} * x{i}", f"{minus}s{k} * x{i}") if known else (
                f"c{k} * x{i} {plus} s{k} * {turned}{i}", f"c{k} * {turned}{i} {minus} s{k} * x{i}")  # fmt: skip
            lines += [f"    x{i}, {turned}{i} = {here}, {there}"]
            lines += [f"    j{k + 1}_{i} = j{k}_{i} + {lengths[k]} * z{i}"]
    lines += [f"    u{i} = j7_{i} + j7_{i}" for i in range(3)]
    j0, j1 = (-0.3, -0.2, -0.9), (-0.3, -0.2, -0.9 + lengths[0])
    cross = lambda i, j: f"u{(i + 1) % 3} * {j((i + 2) % 3)} - u{(i + 2) % 3} * {j((i + 1) % 3)}"
    first, second = (lambda i: f"({j0[i]})"), (lambda i: f"({j1[i]})")
    slopes = [cross(2, first), f"c0 * ({cross(1, second)}) - s0 * ({cross(0, second)})"]
    slopes += [
        " + ".join(f"a{k}_{i} * ({cross(i, lambda i, k=k: f'j{k}_{i}')})" for i in range(3)) for k in range(2, 7)
    ]
    lines += [f"    return j7_0 * j7_0 + j7_1 * j7_1 + j7_2 * j7_2, [{', '.join(slopes)}]"]
    names: dict[str, Any] = {"cos": math.cos, "sin": math.sin}
    exec("\n".join(lines), names)
    return names["spatial_arm"]


def black_scholes_of_scalars(s, k, r, sigma, t):
    root = math.sqrt(t)
    spread = sigma * root
    d1 = (math.log(s / k) + (r + 0.5 * sigma * sigma) * t) / spread
    n1 = 0.5 + 0.5 * math.erf(0.7071067811865476 * d1)
    n2 = 0.5 + 0.5 * math.erf(0.7071067811865476 * (d1 - spread))
    discount = math.exp(-r * t)
    paid = k * discount * n2
    density = s * 0.3989422804014327 * math.exp(-0.5 * d1 * d1)
    vega = density * root
    return s * n1 - paid, (n1, -discount * n2, t * paid, vega, 0.5 * density * sigma / root + r * paid)


def black_scholes(price):
    s, k, r, sigma, t = price
    root = math.sqrt(t)
    spread = sigma * root
    d1 = (math.log(s / k) + (r + 0.5 * sigma * sigma) * t) / spread
    n1 = 0.5 + 0.5 * math.erf(0.7071067811865476 * d1)
    n2 = 0.5 + 0.5 * math.erf(0.7071067811865476 * (d1 - spread))
    discount = math.exp(-r * t)
    paid = k * discount * n2
    density = s * 0.3989422804014327 * math.exp(-0.5 * d1 * d1)
    vega = density * root
    return s * n1 - paid, [n1, -discount * n2, t * paid, vega, 0.5 * density * sigma / root + r * paid]


def straight_network() -> Callable[..., Any]:
    units, inputs = range(8), range(4)
    lines = ["def network(x, W, b, v, c, t):", "    x0, x1, x2, x3 = x"]
    lines += [f"    {', '.join(f'w{i}_{j}' for i in units for j in inputs)} = W"]
    lines += [f"    {', '.join(f'b{i}' for i in units)} = b", f"    {', '.join(f'v{i}' for i in units)} = v"]
    lines += [f"    h{i} = tanh(b{i} + {' + '.join(f'w{i}_{j} * x{j}' for j in inputs)})" for i in units]
    lines += [f"    e = c[0] + {' + '.join(f'v{i} * h{i}' for i in units)} - t[0]", "    s = e + e"]
    lines += [f"    d{i} = s * v{i} * (1.0 - h{i} * h{i})" for i in units]
    slopes = ", ".join(f"d{i} * x{j}" for i in units for j in inputs)
    lines += [
        f"    return e * e, ([{slopes}], [{', '.join(f'd{i}' for i in units)}], "
        f"[{', '.join(f's * h{i}' for i in units)}], [s])"
    ]
    names: dict[str, Any] = {"tanh": math.tanh}
    exec("\n".join(lines), names)
    return names["network"]


def quaternion(q, v, t):
    w, x, y, z = q
    v0, v1, v2 = v
    t0, t1, t2 = t
    ww = w * w
    s = x * x + y * y + z * z
    k = 1.0 / (ww + s)
    a = ww - s
    b = x * v0 + y * v1 + z * v2
    c0, c1, c2 = y * v2 - z * v1, z * v0 - x * v2, x * v1 - y * v0
    r0 = (a * v0 + 2.0 * (b * x + w * c0)) * k
    r1 = (a * v1 + 2.0 * (b * y + w * c1)) * k
    r2 = (a * v2 + 2.0 * (b * z + w * c2)) * k
    e0, e1, e2 = r0 - t0, r1 - t1, r2 - t2
    f = 2.0 * k
    f0, f1, f2 = f * e0, f * e1, f * e2
    fv = f0 * v0 + f1 * v1 + f2 * v2
    fu = f0 * x + f1 * y + f2 * z
    m = f0 * r0 + f1 * r1 + f2 * r2
    n = m + fv
    return (
        e0 * e0 + e1 * e1 + e2 * e2,
        (
            [
                2.0 * (w * (fv - m) + f0 * c0 + f1 * c1 + f2 * c2),
                2.0 * (b * f0 + fu * v0 - n * x + w * (v1 * f2 - v2 * f1)),
                2.0 * (b * f1 + fu * v1 - n * y + w * (v2 * f0 - v0 * f2)),
                2.0 * (b * f2 + fu * v2 - n * z + w * (v0 * f1 - v1 * f0)),
            ],
            [
                a * f0 + 2.0 * (fu * x + w * (f1 * z - f2 * y)),
                a * f1 + 2.0 * (fu * y + w * (f2 * x - f0 * z)),
                a * f2 + 2.0 * (fu * z + w * (f0 * y - f1 * x)),
            ],
        ),
    )


# --- the entries ------------------------------------------------------------------------------------------------------


def nested(result: Any) -> list[Any]:
    """(value, list, list, …) or (value, number, …) as [value, one vector]."""
    return [result[0], np.concatenate([np.ravel(g) for g in result[1:]])]


def of_elements(call: Call, m: Any) -> Callable[..., Any]:
    """A program of scalars as a function of arrays, which it takes apart."""
    return lambda *arrays: call.function(
        m, *([a[i] for i in range(n)] for a, n in zip(arrays, call.sizes, strict=True))
    )


def of_arrays(call: Call, m: Any) -> Callable[..., Any]:
    return of_elements(call, m) if call.array is None else functools.partial(call.array, m)


def entries(call: Call) -> dict[str, Build]:
    """What computes this program; each is given the arguments as vectors."""
    program = (call.function, call.sizes, call.wrt)

    def by_hand(arguments: Sequence[Any]) -> Ready:
        function = getattr(hand(call.file), call.method)
        value, slopes = np.zeros(1), [placed(np.zeros(call.sizes[k])) for k in call.wrt]
        return Ready(function, (*arguments, value, *slopes), lambda _: [value, np.concatenate(slopes)])

    def by_hand_anew(arguments: Sequence[Any]) -> Ready:
        if call.scalars:
            return Ready(getattr(hand(call.file), call.method), tuple(peers.flat(arguments).tolist()), nested)
        return Ready(getattr(hand(call.file), f"{call.method}_new"), tuple(arguments), nested)

    def python_by_hand(arguments: Sequence[Any]) -> Ready:
        lists = [peers.flat(arguments)] if call.scalars else arguments
        given = [a.tolist() for a in lists]
        return Ready(call.python, tuple(given[0] if call.scalars else given), peers.one_vector)

    def ours(target: str) -> Build:
        import gradsmith as gs

        if call.scalars:
            return functools.partial(peers.gradsmith_scalars, *program, target=target)
        return functools.partial(peers.gradsmith_arrays, of_arrays(call, gs), *program[1:], target=target)

    def into_arrays(arguments: Sequence[Any]) -> Ready:
        import gradsmith as gs

        return peers.gradsmith_arrays(of_arrays(call, gs), *program[1:], arguments, out=True)

    def numba(arguments: Sequence[Any]) -> Ready:
        return peers.numba_jit(call.numba or call.python, arguments)

    def jax(arguments: Sequence[Any]) -> Ready:
        ready = peers.jax_jit(of_arrays(call, peers.jax_functions()), call.wrt, arguments)
        return Ready(ready.function, ready.arguments, lambda r: nested(ready.read(r)))

    def torch(arguments: Sequence[Any], compiled: bool = False) -> Ready:
        import torch as library

        ready = peers.torch_function(of_arrays(call, library), call.wrt, arguments, compiled=compiled)
        return Ready(ready.function, ready.arguments, lambda r: nested(ready.read(r)))

    def pytensor(arguments: Sequence[Any]) -> Ready:
        import pytensor.tensor as library

        ready = peers.pytensor_function(of_arrays(call, library), call.wrt, arguments)
        return Ready(ready.function, ready.arguments, nested)

    def casadi(arguments: Sequence[Any], built: bool = False) -> Ready:
        f = peers.casadi_function(*program)
        return peers.casadi_buffer(peers.casadi_built(f) if built else f, arguments)

    found: dict[str, Build] = {
        "hand C": by_hand_anew,
        "hand C, out=": by_hand,
        "gradsmith C": ours("c"),
        "gradsmith C, out=": into_arrays,
        "hand Python": python_by_hand,
        "gradsmith Python": ours("python"),
        "CasADi": casadi,
        "CasADi C": functools.partial(casadi, built=True),
        "SymPy": functools.partial(peers.sympy_lambdify, *program),
        "heyoka": functools.partial(peers.heyoka_call, *program),
        "numba by hand": numba,
        "JAX": jax,
        "torch": torch,
        "torch.compile": functools.partial(torch, compiled=True),
        "PyTensor": pytensor,
    }
    if call.scalars:
        del found["gradsmith C, out="], found["hand C, out="]  # numbers are not written into
        del found["torch"], found["torch.compile"], found["PyTensor"]  # they have arrays only, as in the next row
    return {entry: untried if entry in call.without else build for entry, build in found.items()}


# --- the workloads ----------------------------------------------------------------------------------------------------


def uniform(*sizes: int, low: float = -1.0, high: float = 1.0) -> Callable[[np.random.Generator], Sequence[Any]]:
    return lambda rng: [rng.uniform(low, high, n) for n in sizes]


def option(rng: np.random.Generator) -> Sequence[Any]:
    return [rng.uniform([90.0, 90.0, 0.01, 0.1, 0.5], [110.0, 110.0, 0.05, 0.4, 2.0])]


#: Rosenbrock's function of so many numbers: whose build takes more than 40 seconds.
SLOW = {100: ("SymPy",), 1000: ("SymPy", "heyoka", "CasADi C")}
NETWORK = (4, 32, 8, 8, 1, 1)

CALLS = [
    Call("x*y + y + tanh(x), scalars", programs.seed, (2,), (0,), uniform(2), "seed", "scalars",
         seed_of_scalars, scalars=True, numba=seed),
    Call("x*y + y + tanh(x), array", programs.seed, (2,), (0,), uniform(2), "seed", "arrays", seed),
    *(
        Call(f"Rosenbrock {n}", programs.rosenbrock, (n,), (0,), uniform(n), "rosenbrock", "rosenbrock",
             straight_rosenbrock(n), programs.rosenbrock_of_arrays, numba=rosenbrock_loop,
             without=SLOW.get(n, ()))
        for n in (10, 100, 1000)
    ),
    Call("arm of 7 joints", programs.spatial_arm, (7,), (0,), uniform(7), "arms", "spatial", straight_arm(),
         without=("heyoka",)),
    Call("Black-Scholes, scalars", programs.black_scholes, (5,), (0,), option, "formulas", "black_scholes_scalars",
         black_scholes_of_scalars, scalars=True, numba=black_scholes),
    Call("Black-Scholes, array", programs.black_scholes, (5,), (0,), option, "formulas", "black_scholes",
         black_scholes),
    Call("network 4-8-1", programs.network, NETWORK, (1, 2, 3, 4), uniform(*NETWORK), "formulas", "network",
         straight_network(), programs.network_of_arrays),
    Call("quaternion rotation", programs.quaternion, (4, 3, 3), (0, 1), uniform(4, 3, 3), "formulas", "quaternion",
         quaternion),
    Call("arm of 6 links", programs.arm, (6, 6), (0,), uniform(6, 6), "arms", "planar", planar_arm),
]  # fmt: skip


def workload(call: Call) -> Workload:
    reference = lambda *arguments: peers.torch_reference(call.function, call.sizes, call.wrt, arguments)
    return Workload(call.name, call.draw, reference, entries(call))


FAMILY = Family(
    name="calls",
    title="One call from Python",
    says="Value and gradient of one point, with the call: Python's loop, arguments in, results out. `out=`: results are"
    " written into arrays that are given with the call, as CasADi (by its buffer API) and heyoka do it; all others"
    ' return new numbers, arrays or lists. "CasADi" is its virtual machine. "numba by hand" compiles the hand-written'
    " gradient: numba derives none. Python by hand gives what ours gives, the value and a tuple of gradients. Beside"
    " each peer stands what does the same work here; numbers have no `out=`.",
    unit="ns a call",
    seconds=1e-9,
    workloads=[workload(call) for call in CALLS],
    pairs=[
        ("gradsmith C", "hand C"),
        ("gradsmith C, out=", "hand C, out="),
        ("gradsmith Python", "hand Python"),
    ],
    aims=[
        Aim("gradsmith C / hand C", most=1.15),
        Aim("gradsmith C, out= / hand C, out=", most=1.15, rows="^Rosenbrock"),  # loops; the others are straight lines
        Aim("gradsmith C, out= / hand C, out=", most=1.0),
        Aim("gradsmith Python / hand Python", most=1.0),
        Aim("gradsmith / best peer", most=1.0),
    ],
    peers={
        **dict.fromkeys(("CasADi", "CasADi C", "heyoka"), "gradsmith C, out="),
        **dict.fromkeys(("SymPy", "numba by hand", "JAX", "torch", "torch.compile", "PyTensor"), "gradsmith C"),
    },
)
