"""What a loop costs: code that does not depend on the number of steps, memory, and operations."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

from .loop_programs import RNN, nested, rnn

TARGETS = ("python", "numpy", "c")


def long(program: str, steps: int, target: str, derivatives: tuple[str, ...]) -> gs.CompiledFunction:
    """A loop of so many steps."""

    def f(h: Any, us: Any, W: Any) -> Any:
        if program == "rnn":
            return rnn(h, us, W)
        if program == "nested":
            return gs.scan(lambda c, i: (nested(c, W) + us[i, 0], None), h[0], gs.arange(steps))[0]
        return gs.while_loop(lambda y: y < 3.0, lambda y: y * 1.5 + us[0, 0] ** 2, h[0], bound=steps)

    shapes = ((3,), (steps, 3), (3, 3) if program == "rnn" else (4, 3))
    return gs.compile(f, args=shapes, target=target, selftest=False, derivatives=derivatives)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("program", ["rnn", "nested", "while"])
def test_code_does_not_depend_on_the_length(program: str, target: str) -> None:
    """The text is the same but for numbers of two digits and more, which are sizes and places in memory, and a digest.

    Both lengths are beyond those from which on arrays of all steps are summed and placed as long ones are, and fill
    whole vectors in each strand of a sum.
    """
    texts = [
        re.sub(r"\b(\d\d+|[0-9a-f]{16})\b", "N", long(program, steps, target, ("value_and_grad", "hvp")).source).split()
        for steps in (4_000, 8_000)
    ]
    assert texts[0] == texts[1]


def test_c_does_not_take_longer_to_build(tmp_path: Path) -> None:
    """What the compiler makes of it is as long, too."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    counts = []
    for steps in (100, 10_000):
        f = long("rnn", steps, "c", ("value_and_grad",))
        f.save(tmp_path)
        command = ["gcc", "-std=c99", "-O2", "-S", f"{f.name}.c", "-o", "out.s"]
        subprocess.run(command, cwd=tmp_path, check=True)
        counts.append(len((tmp_path / "out.s").read_text().splitlines()))
    assert abs(counts[1] - counts[0]) < 0.02 * counts[0]


def test_memory_grows_with_the_square_root_of_the_length_under_checkpoints() -> None:
    def work(checkpoint: Any, steps: int) -> int:
        f = gs.compile(
            lambda h, us, W: rnn(h, us, W, checkpoint=checkpoint),
            args=((3,), (steps, 3), (3, 3)), target="c", derivatives=("grad",), wrt="W", selftest=False,
        )  # fmt: skip
        return sum(w.size for w in f._program.work)

    whole = [work(None, n) for n in (1600, 6400)]
    root = [work("sqrt", n) for n in (1600, 6400)]
    assert whole[1] > 3.9 * whole[0]
    # ys and their cotangents, one number a step each, are results of all steps
    states = [a - b * n for a, b, n in zip(root, (2, 2), (1600, 6400), strict=True)]
    assert states[1] < 2.2 * states[0]
    assert root[1] < whole[1] / 2.0


def test_what_only_a_gradient_reads_is_stored_by_its_function_alone() -> None:
    f = gs.compile(rnn, args=RNN, target="c", selftest=False)
    by_kind = {g.kind: sum(w.size for w in g.work) for g in f._program.functions}
    assert by_kind["value"] < 20 < by_kind["grad"]


READERS = {
    "by the step": lambda i, t: t[i],
    "computed": lambda i, t: t[(7 * i) % 100],
    "always the same": lambda i, t: t[3],
    "two of them": lambda i, t: t[i] * t[i + 1],
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("reader", READERS)
def test_reading_an_element_a_step_does_not_cost_the_whole_array(reader: str, target: str) -> None:
    def operations(size: int) -> int:
        f = gs.compile(
            lambda x, t: gs.fori_loop(0, 50, lambda i, c: gs.sin(c) + READERS[reader](i, t) * x, 0.0),
            args=((), (size,)), target=target, derivatives=("value_and_grad",), selftest=False,
        )  # fmt: skip
        return f.cost.total("value_and_grad")

    assert operations(4000) <= operations(100) + 4000  # once, not in each of 50 steps


@pytest.mark.parametrize(
    ("levels", "counts"), [((), (4096,)), ((64,), (64, 64)), ((256, 16), (16,) * 3), ((512, 64, 8), (8,) * 4)]
)
def test_levels_of_checkpoints_keep_little_and_compute_each_step_once_more_for_each(
    levels: tuple[int, ...], counts: tuple[int, ...]
) -> None:
    """n steps in segments of segments: the sum of the numbers of segments is kept, and each level goes through all n."""
    steps = 4096

    def model(x: Any, checkpoint: Any) -> Any:
        return gs.sum(gs.fori_loop(0, steps, lambda i, x: gs.sin(x) * 0.5, x, checkpoint=checkpoint))

    f = gs.compile(lambda x: model(x, levels), args=((3,),), target="c", derivatives=("grad",), selftest=False)
    kept = sum(w.size for w in f._program.work) / 3
    assert sum(counts) <= kept <= 1.5 * sum(counts) + 8
    assert f.cost.grad["sin"] == 3 * steps * len(counts)
    assert f.cost.grad["cos"] == 3 * steps


def test_uneven_levels_have_the_same_gradient() -> None:
    def gradient(checkpoint: Any) -> Any:
        f = gs.compile(
            lambda h, us, W: rnn(h, us, W, checkpoint=checkpoint), args=((3,), (23, 3), (3, 3)), target="numpy",
            derivatives=("grad",), wrt="W", selftest=False,
        )  # fmt: skip
        at = [np.random.default_rng(k).normal(size=s) for k, s in enumerate(((3,), (23, 3), (3, 3)))]
        return f.grad(*at)

    for levels in ((9, 2), (10, 4, 3), (30, 5)):
        np.testing.assert_allclose(gradient(levels), gradient(None), rtol=1e-12)


def test_what_steps_of_numpy_code_read_is_computed_before_them() -> None:
    def rollout(k: gs.Expr, x: gs.Expr) -> gs.Expr:
        last, xs = gs.scan(lambda x, _: (x - 0.01 * k * x, x), x, None, length=1000)
        return gs.sum(xs**2) + last

    f = gs.compile(rollout, args=((), ()), target="numpy", derivatives="grad", selftest=False)
    assert "[step" in f.source
    assert ")[step" not in f.source  # (2.0 * xs)[step] would take a thousand products in each of the steps
