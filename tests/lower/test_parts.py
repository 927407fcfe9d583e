"""Long functions in parts: the same bits, few values across cuts, files that compile whole and in units."""

import random
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.lower.parts import cuts
from gradsmith.lower.statements import Step
from gradsmith.origin import Origin
from gradsmith.program import Line
from gradsmith.types import FLOAT64

SMALL = gs.Tuning(longest_body=1, part_lines=4, unit_lines=40)


def network(n: int) -> tuple[list[gs.Expr], gs.Expr]:
    """A scalar program of `n` operations on values of any age."""
    chosen = random.Random(7)
    xs = list(gs.symbols("x0 x1 x2 x3 x4"))
    values = [*xs]
    for _ in range(n):
        a, b = values[-1 - min(len(values) - 1, int(chosen.expovariate(0.1)))], chosen.choice(values)
        values.append(chosen.choice([a * b, a + b, gs.sin(a) * 0.5, gs.tanh(a) - b]))
    return xs, gs.tanh(values[-1]) + values[n // 2]


def mixed(x: Any, y: Any, a: Any) -> Any:
    """Scalars of all types, arrays, support functions, tables, a loop: what may cross a cut, and what parts define."""
    c = x > y
    b = a @ a.T
    s = gs.sum(gs.exp(b * 0.1) * np.linspace(0.0, 1.0, 4)) * gs.where(c, gs.sin(x), y)
    i = gs.argmax(a[0])
    q = gs.scan(lambda state, row: (state * 0.9 + gs.sum(row), state), s, a)[0]
    k = gs.linalg.cholesky(b + 10.0 * gs.eye(4))
    return gs.where(c, q, s) + a[0][i] + gs.sum(k * np.linspace(0.0, 1.0, 4)) + gs.where(c, gs.tanh(q), q * y)


def sized(x: Any) -> Any:
    """Named sizes, on which the workspace and what parts are given depend."""
    t = gs.sin(gs.sum(x[1:] * x[:-1]))
    u = gs.sum(gs.flip(x) * t)
    return u * t + t * gs.mean(x)


@pytest.mark.parametrize(
    ("case", "dtype"), [("scalars", "float64"), ("mixed", "float64"), ("mixed", "float32"), ("sized", "float64")]
)
def test_parts_compute_the_same_bits(case: str, dtype: str) -> None:
    source: Any
    xs, out = network(300)
    source, args, point = {
        "scalars": (out, xs, [0.1, -0.4, 0.7, 0.3, -0.9]),
        "mixed": (mixed, ((), (), (4, 3)), [0.3, 0.4, np.linspace(-1.0, 2.0, 12).reshape(4, 3).astype(dtype)]),
        "sized": (sized, (("n",),), [np.linspace(-1.0, 1.5, 9).astype(dtype)]),
    }[case]
    options: dict[str, Any] = {"args": args, "target": "c", "dtype": dtype, "selftest": False}
    whole, cut = gs.compile(source, **options), gs.compile(source, **options, tuning=SMALL)
    assert "_part_" not in whole.source
    assert cut.source.count("_part_") > 20
    assert cut.source.count("_UNIT ==") > 2
    for got, want in zip(flat(cut.value_and_grad(*point)), flat(whole.value_and_grad(*point)), strict=True):
        np.testing.assert_array_equal(got, want)


def flat(found: Any) -> list[Any]:
    return [found] if not isinstance(found, tuple) else [leaf for each in found for leaf in flat(each)]


def test_a_file_of_parts_compiles_whole_and_in_units(tmp_path: Path) -> None:
    xs, out = network(100)
    f = gs.compile(out, args=xs, target="c", tuning=SMALL)
    f.save(tmp_path)
    count = f.source.count("F_UNIT ==")
    told = f"-DF_UNIT=0 to -DF_UNIT={count - 1}"
    assert told in " ".join(f.source.replace("\n *", "").split())
    gcc = ["gcc", "-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-DF_SELFTEST"]
    subprocess.run([*gcc, "f.c", "-o", "whole", "-lm"], cwd=tmp_path, check=True)
    for unit in range(count):
        subprocess.run([*gcc, f"-DF_UNIT={unit}", "-c", "f.c", "-o", f"{unit}.o"], cwd=tmp_path, check=True)
    subprocess.run(["gcc", *(f"{unit}.o" for unit in range(count)), "-o", "units", "-lm"], cwd=tmp_path, check=True)
    for program in ("whole", "units"):
        subprocess.run([tmp_path / program], check=True)


def test_units_are_built_quickly_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADSMITH_CACHE_DIR", str(tmp_path / "cache"))
    xs, out = network(100)
    f = gs.compile(out, args=xs, target="c", tuning=SMALL, selftest=False, tier="auto")
    point = [0.1, -0.4, 0.7, 0.3, -0.9]
    value, tier = f(*point), f.tier
    assert f.wait()
    assert (tier, f(*point)) == ("quick", pytest.approx(value, rel=1e-12))


def test_angles_out_of_range_are_right_in_parts() -> None:
    """Kernels of near angles tell of far ones, for which parts have no place: they call the C library."""
    v = gs.symbol("v", 40)
    loss = gs.sum(gs.sin(v) * gs.cos(v * v)) * gs.sum(gs.tanh(v) * v)
    f = gs.compile(loss, target="c", tuning=SMALL, selftest=False, derivatives="grad")
    assert "_part_2(" in f.source
    x = np.linspace(-3.0, 3.0, 40)
    x[7] = 1e22
    waves, slopes = np.sin(x) * np.cos(x * x), np.cos(x) * np.cos(x * x) - 2.0 * x * np.sin(x) * np.sin(x * x)
    rises, steps = np.tanh(x) * x, np.tanh(x) + x / np.cosh(np.clip(x, -300.0, 300.0)) ** 2
    np.testing.assert_allclose(f.grad(x), slopes * rises.sum() + waves.sum() * steps, rtol=1e-9)


def test_a_cut_lies_where_few_values_cross_it() -> None:
    """Sixteen values are summed up one after the other in two halves: between them, one value is alive."""
    steps = []
    for half in range(2):
        names = [f"v{half}_{i}" for i in range(8)]
        steps += [Step(Origin(), [Line(0, f"const double {n} = f(x);")], {n: FLOAT64}) for n in names]
        steps += [Step(Origin(), [Line(0, f"sum{half} += {n};")]) for n in names]
    assert [*cuts(steps, 14)] == [16, 32]
    assert [*cuts(steps, 100)] == [32]
    assert [*cuts([], 100)] == []
    assert [*cuts(steps, 1)] == [*range(1, 33)]
