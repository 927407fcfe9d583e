"""Jacobians, Hessians and gradients of the examples' models: beside CasADi, torch and JAX; lines and memory of loops.

    pip install -e '.[bench,test]' jax
    OMP_NUM_THREADS=1 python benchmarks/derivatives.py

Prints tables, and writes `derivatives.md` where all other libraries are installed. Needs a C compiler. Times are those
of the process on the CPU, not of the clock on the wall: the smallest of several runs, each of many calls.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np
import twins
from twins import example

import gradsmith as gs
from gradsmith_runtime.build import DEFAULT_FLAGS, find_compiler

REPORT = Path(__file__).with_name("derivatives.md")
RUNS, SECONDS = 9, 0.05  # how often a time is taken, and for about how long each

Table = tuple[str, list[str], list[list[str]]]


def least_time(call: Callable[[], Any]) -> float:
    """Seconds of CPU time that `call` takes: the smallest mean of several runs."""
    call()
    began = time.process_time()
    call()
    number = max(1, int(SECONDS / max(time.process_time() - began, 1e-7)))
    found = []
    for _ in range(RUNS):
        began = time.process_time()
        for _ in range(number):
            call()
        found.append((time.process_time() - began) / number)
    return min(found)


def micro(seconds: float) -> str:
    return f"{1e6 * seconds:,.1f}"


# --- C beside C -------------------------------------------------------------------------------------------------------


def build(source: Path) -> tuple[ctypes.CDLL, float]:
    """The library of a C file by the flags of gradsmith's own builds, and the CPU seconds of the compiler."""
    library = source.with_suffix(".so")
    before = os.times()
    command = [*find_compiler().command, *DEFAULT_FLAGS, "-fPIC", "-shared", str(source), "-o", str(library), "-lm"]
    subprocess.run(command, check=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return ctypes.CDLL(str(library)), spent


def our_c(
    f: gs.CompiledFunction, kind: str, arguments: Sequence[Any], folder: Path
) -> tuple[Any, list[np.ndarray], float]:
    """A call of the generated C function on these arrays, its results, and the seconds of its build."""
    f.save(folder)
    library, spent = build(folder / f"{f.name}.c")
    emitted = next(e for e in f._program.functions if e.kind == kind)
    given = [np.ascontiguousarray(a, float) for a in arguments]
    results = [np.zeros(out.size) for out in emitted.outputs]
    work = [np.zeros(w.size) for w in emitted.work]
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*given, *results, *work)]
    function = getattr(library, emitted.name)
    function.restype = None
    keep = (given, work)
    return (lambda: (function(*pointers), keep)[0]), results, spent


def casadi_c(inputs: Sequence[Any], output: Any, arguments: Sequence[Any], folder: Path) -> tuple[Any, Any, float, int]:
    """The same of CasADi's C code, and how many operations it has."""
    import casadi as ca

    f = ca.Function("casadi_f", list(inputs), ca.cse([output]))
    free = {ca.OP_INPUT, ca.OP_OUTPUT, ca.OP_CONST}
    operations = sum(f.instruction_id(k) not in free for k in range(f.n_instructions()))
    here = os.getcwd()
    os.chdir(folder)
    try:
        f.generate("casadi_f.c")
    finally:
        os.chdir(here)
    library, spent = build(folder / "casadi_f.c")
    given = [np.ascontiguousarray(a, float).ravel() for a in arguments]
    result = np.zeros(f.nnz_out(0))
    read = (ctypes.c_void_p * max(len(given), f.sz_arg()))(*(a.ctypes.data for a in given))
    write = (ctypes.c_void_p * max(1, f.sz_res()))(result.ctypes.data)
    integers, work = np.zeros(f.sz_iw() + 1, np.int64), np.zeros(f.sz_w() + 1)
    iw, w = ctypes.c_void_p(integers.ctypes.data), ctypes.c_void_p(work.ctypes.data)
    keep = (given, integers, work)
    return (lambda: (library.casadi_f(read, write, iw, w, 0), keep)[0]), (f, result), spent, operations


def beside_casadi() -> Table:
    import casadi as ca

    rng = np.random.default_rng(0)
    rows = []

    def row(name: str, f: Any, kind: str, ours: Sequence[Any], inputs: Any, output: Any, theirs: Sequence[Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            call, results, built = our_c(f, kind, ours, Path(folder))
            other, (_, result), other_built, operations = casadi_c(inputs, output, theirs, Path(folder))
            time_ours, time_other = least_time(call), least_time(other)
            mine, all_theirs = np.sort(np.concatenate(results)), np.sort(result)
            mine = mine[mine != 0]
            all_theirs = all_theirs[all_theirs != 0]
            assert len(mine) == len(all_theirs), (name, len(mine), len(all_theirs))
            np.testing.assert_allclose(mine, all_theirs, rtol=1e-7, atol=1e-7 * np.abs(mine).max())
            size = len((Path(folder) / f"{f.name}.c").read_text().splitlines())
            other_size = len((Path(folder) / "casadi_f.c").read_text().splitlines())
        count = f.cost.total(kind)
        rows.append(
            [
                name,
                str(len(result)),
                f"{count:,}",
                f"{operations:,}",
                f"{count / operations:.2f}",
                micro(time_ours),
                micro(time_other),
                f"{time_ours / time_other:.2f}",
                f"{size:,} / {other_size:,}",
                f"{built:.1f} / {other_built:.1f}",
            ]
        )
        print(rows[-1], flush=True)

    options = {"target": "c", "sparse": "csc", "selftest": False}
    m = example("11_bundle_adjustment")
    cameras, points, i, j = m.scene(rng)
    observed = rng.normal(size=(len(i), 2))
    f = gs.compile(
        m.residuals_of(i, j),
        args=(cameras, points, observed),
        wrt=("cameras", "points"),
        derivatives="jacobian",
        **options,
    )
    z, other, residuals = twins.bundle_adjustment_casadi(len(cameras), len(points), i, j)
    unknowns = np.concatenate([cameras.ravel(), points.ravel()])
    where = ([z, other], ca.jacobian(residuals, z), [unknowns, observed])
    row("bundle adjustment, Jacobian 480 x 234", f, "jacobian", [cameras, points, observed], *where)

    m = example("15_quadrotor")
    x, u = rng.normal(0.0, 0.3, (m.HORIZON + 1, 12)), rng.normal(m.HOVER, 0.3, (m.HORIZON + 1, 4))
    now, multipliers = rng.normal(size=12), rng.normal(size=x.shape)
    z, start, equations = twins.defects_casadi(m.HORIZON)
    both = {"wrt": ("x", "u"), **options}
    unknowns = np.concatenate([x.ravel(), u.ravel()])
    f = gs.compile(m.defects, args=(x, u, now), derivatives="jacobian", **both)
    where = ([z, start], ca.jacobian(equations, z), [unknowns, now])
    row("quadrotor, Jacobian 156 x 208", f, "jacobian", [x, u, now], *where)
    f = gs.compile(m.force, args=(x, u, x), derivatives="hessian", **both)
    v = ca.SX.sym("v", equations.shape[0])
    hessian, _ = ca.hessian(ca.dot(v, equations), z)
    where = ([z, start, v], hessian, [unknowns, np.zeros(12), multipliers])
    row("quadrotor, Hessian 208 x 208", f, "hessian", [x, u, multipliers], *where)

    x = rng.normal(size=1000)
    f = gs.compile(example("09_rosenbrock").rosenbrock, args=(x,), derivatives="hessian", triangle="lower", **options)
    z, value = twins.rosenbrock_casadi(1000)
    hessian, _ = ca.hessian(value, z)
    row("Rosenbrock-1000, lower half of the Hessian", f, "hessian", [x], [z], ca.tril(hessian), [x])
    heads = ["model", "nonzeros", "operations", "CasADi's", "ratio", "µs", "CasADi's", "ratio"]
    return (
        "Sparse Jacobians and Hessians in C, beside CasADi's C",
        [*heads, "lines, ours / CasADi's", "s of C compiler, ours / CasADi's"],
        rows,
    )


# --- gradients, beside torch and JAX ----------------------------------------------------------------------------------


def gradients() -> Table:
    import jax
    import torch

    jax.config.update("jax_enable_x64", True)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    rows = []
    tensor = lambda a: torch.tensor(a, dtype=torch.float64)

    def row(name: str, model: Any, p: Any, data: Sequence[Any], in_torch: Any, in_jax: Any) -> None:
        ours = {t: gs.compile(model, args=(p, *data), wrt=0, target=t, selftest=False) for t in ("numpy", "c")}
        leaves = p if isinstance(p, dict) else {"p": p}
        whole = lambda d: d if isinstance(p, dict) else d["p"]
        twin, fixed = {n: tensor(a).requires_grad_() for n, a in leaves.items()}, [tensor(d) for d in data]

        def by_torch() -> Any:
            return torch.autograd.grad(in_torch(whole(twin), *fixed), list(twin.values()))

        jitted = jax.jit(jax.value_and_grad(in_jax))
        arrays = jax.tree.map(jax.numpy.asarray, (p, *data))
        by_jax = lambda: jax.block_until_ready(jitted(*arrays))
        calls = {t: (lambda f=f: f.value_and_grad(p, *data)) for t, f in ours.items()}
        _, gradient = calls["c"]()
        gradient = gradient if isinstance(p, dict) else {"p": gradient}
        for n, wanted in zip(leaves, by_torch(), strict=True):
            np.testing.assert_allclose(gradient[n], wanted.numpy(), rtol=1e-7, atol=1e-10)
        for got, wanted in zip(jax.tree.leaves(by_jax()[1]), jax.tree.leaves(gradient), strict=True):
            np.testing.assert_allclose(got, np.asarray(wanted), rtol=1e-7, atol=1e-10)
        times = [least_time(call) for call in (calls["c"], calls["numpy"], by_torch, by_jax)]
        ratios = [f"{times[0] / t:.2f}" for t in times[2:]]
        lines = [str(len(ours[t].source.splitlines())) for t in ("c", "numpy")]
        rows.append([name, *map(micro, times), *ratios, " / ".join(lines)])
        print(rows[-1], flush=True)

    m = example("10_gaussian_mixture")
    x, _, _ = m.sample(rng)
    p = {n: rng.normal(size=a.shape) for n, a in m.start(x, rng).items()}
    row(
        "Gaussian mixture, 500 points",
        m.log_likelihood,
        p,
        [x],
        twins.gaussian_mixture_torch,
        twins.gaussian_mixture_jax,
    )
    m = example("12_lstm")
    p, (xs, y) = m.parameters(rng, hidden=32), m.additions(rng, 50, 16)
    row("LSTM, 50 steps, batch 16, 32 cells", m.loss, p, [xs, y], twins.lstm_torch, twins.lstm_jax)
    m = example("13_van_der_pol")
    y = rng.normal(size=m.SAMPLES)
    fixed = {"steps": m.STEPS, "h": m.H}
    row(
        "Van der Pol, 1,500 steps of order 4",
        m.misfit,
        m.TRUE,
        [y],
        lambda p, y: twins.van_der_pol_torch(p, y, **fixed),
        lambda p, y: twins.van_der_pol_jax(p, y, **fixed),
    )
    heads = ["model", "our C, µs", "our NumPy", "torch", "JAX, jitted", "our C / torch", "our C / JAX"]
    return ("Value and gradient, called from Python", [*heads, "lines of C / NumPy"], rows)


# --- loops ------------------------------------------------------------------------------------------------------------


def oscillator(steps: int, checkpoint: Any = None) -> Callable[..., Any]:
    """The square of where Van der Pol's oscillator is after `steps` steps."""
    m = example("13_van_der_pol")

    def final(p: Any) -> Any:
        mu, omega, x = p
        step = lambda state, _: (m.runge_kutta(mu, omega, *state, m.H), None)
        (x, _), _ = gs.scan(step, (x, 0.0), None, length=steps, checkpoint=checkpoint)
        return x**2

    return final


def lines() -> Table:
    rows = []
    for steps in (10, 100, 1000, 10_000):
        found = [f"{steps:,}"]
        began = time.process_time()
        for target in ("python", "numpy", "c"):
            f = gs.compile(oscillator(steps), args=((3,),), target=target, selftest=False, name="f")
            found.append(str(len(f.source.splitlines())))
        found.append(f"{time.process_time() - began:.2f}")
        with tempfile.TemporaryDirectory() as folder:
            f.save(folder)
            found.append(f"{build(Path(folder) / 'f.c')[1]:.2f}")
        rows.append(found)
        print(found, flush=True)
    heads = ["steps", "lines of Python", "of NumPy", "of C", "s of gradsmith, all three", "s of the C compiler"]
    return ("Lines of value and gradient of a scan, against its steps", heads, rows)


def checkpoints(steps: int = 10_000) -> Table:
    rows, first = [], 0.0
    for checkpoint in (None, 10, "sqrt", 1000, (500, 25)):
        f = gs.compile(
            oscillator(steps, checkpoint), args=((3,),), target="c", selftest=False, derivatives="grad", name="f"
        )
        with tempfile.TemporaryDirectory() as folder:
            call, _, _ = our_c(f, "grad", [example("13_van_der_pol").TRUE], Path(folder))
            seconds = least_time(call)
        first = first or seconds
        found = [str(checkpoint), f"{f.workspace['grad'] / 1000:,.1f}", f"{f.cost.total('grad'):,}"]
        rows.append([*found, micro(seconds), f"{seconds / first:.2f}", str(len(f.source.splitlines()))])
        print(rows[-1], flush=True)
    heads = ["checkpoint", "workspace in kB", "operations", "µs", "beside none", "lines of C"]
    return (f"Gradient of {steps:,} steps in C: workspace against checkpoints", heads, rows)


# --- the report -------------------------------------------------------------------------------------------------------


def markdown(table: Table) -> str:
    title, heads, rows = table
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join([f"## {title}\n", *("| " + " | ".join(row) + " |" for row in (heads, rule, *rows)), ""])


def main() -> None:
    versions, missing = [], []
    for library in ("casadi", "torch", "jax"):
        try:
            versions.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            missing.append(library)
    tables = [lines(), checkpoints()]
    tables += [] if "casadi" in missing else [beside_casadi()]
    tables += [] if {"torch", "jax"} & {*missing} else [gradients()]
    text = "\n".join(map(markdown, tables))
    print(text)
    if missing:
        print(f"Not written: {', '.join(missing)} not installed.", file=sys.stderr)
        return
    REPORT.write_text(
        f"# Derivatives\n\nWritten by `derivatives.py` ({', '.join(versions)}).\n\n{text}", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
