"""Every kind of derivative of random programs: what generated code gives equals torch's, or our gradient's own slopes.

Programs are those of the fuzzer (all ops), at points without edges. The reference is torch's autograd on the traced graph, in
float64; where torch has no number (the untaken side of a choice) the program is left out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate_torch
from gradsmith.function import CompiledFunction

from .harness import COMPILERS
from .random_programs import Sample, random_sample

KINDS = ("jvp", "vjp", "hvp", "jacobian", "hessian")
MANY = int(os.environ.get("GRADSMITH_RANDOM_PROGRAMS", "0")) or 12
CLANG = 3  # the seed whose C code is compiled by clang, too
LIMIT = {"float64": 1e-7, "float32": 2e-2}  # of the largest number of a result
TARGETS = [("python", "float64"), ("numpy", "float64"), ("numpy", "float32"), ("c", "float64"), ("c", "float32")]


def flat(value: Any) -> np.ndarray:
    """All numbers of a nested result."""
    if isinstance(value, tuple):
        return np.concatenate([np.zeros(0), *map(flat, value)])
    return np.ravel(value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value, dtype=float))


class Case:
    """One program, its floating-point arguments, a direction, and what torch says of each kind."""

    def __init__(self, seed: int) -> None:
        self.sample: Sample = random_sample(f"transforms {seed}", "x")
        self.point = self.sample.points[0]
        self.floats = [k for k, s in enumerate(self.sample.inputs) if s.dtype.kind == "float"]
        dice = np.random.default_rng(seed)
        self.direction = [dice.normal(size=self.point[k].shape) for k in self.floats]
        self.graph = to_graph(self.sample.inputs, [self.sample.result])

    def torch(self) -> dict[str, np.ndarray]:
        fixed = [torch.tensor(np.asarray(p)) for p in self.point]

        def f(*xs: Any) -> Any:
            given = list(fixed)
            for k, x in zip(self.floats, xs, strict=True):
                given[k] = x
            return evaluate_torch(self.graph, given)[self.graph.outputs[0]]

        at = tuple(fixed[k].requires_grad_() for k in self.floats)
        along = [torch.tensor(np.asarray(d)) for d in self.direction]
        first = gradients(f(*at), at)
        slope = sum((g * d).sum() for g, d in zip(first, along, strict=True))
        rows = []
        for g in first:
            rows += [np.concatenate([flat(r) for r in gradients(e, at)]) for e in g.reshape(-1)]
        jacobian = np.concatenate([flat(g) for g in first])
        return {
            "jvp": np.array([f(*at).item(), slope.item()]),
            "vjp": 1.5 * jacobian,
            "jacobian": jacobian,
            "hvp": np.concatenate([flat(g) for g in gradients(slope, at)]),
            "hessian": blocks(np.array(rows), [self.point[k].size for k in self.floats]),
        }

    def ours(self, f: CompiledFunction) -> dict[str, np.ndarray]:
        return {
            "jvp": flat(f.jvp(self.point, self.direction)),
            "vjp": flat(f.vjp(*self.point)[1](1.5)),
            "jacobian": flat(f.jacobian(*self.point)),
            "hvp": flat(f.hvp(self.point, self.direction)),
            "hessian": flat(f.hessian(*self.point)),
        }


def blocks(whole: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """A matrix in the order of a nested Hessian: block by block."""
    ends = np.cumsum(sizes)[:-1]
    return np.concatenate([p.ravel() for rows in np.split(whole, ends, 0) for p in np.split(rows, ends, 1)])


def gradients(value: Any, by: Sequence[Any]) -> Sequence[Any]:
    if not value.requires_grad:
        return [torch.zeros_like(x) for x in by]
    return torch.autograd.grad(value, by, create_graph=True, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("seed", range(MANY))
def test_kinds_of_random_programs(seed: int) -> None:
    case = Case(seed)
    if sum(case.point[k].size for k in case.floats) > 40:
        pytest.skip("a large Hessian")
    want = case.torch()
    if not all(np.all(np.isfinite(v)) for v in want.values()) or max(np.abs(v).max() for v in want.values()) > 1e6:
        pytest.skip("no number, or a steep one")
    for target, dtype in TARGETS:
        if target == "c" and not COMPILERS:
            continue
        compare(case, want, target, dtype)


@pytest.mark.skipif("clang" not in COMPILERS, reason="clang is not installed")
def test_kinds_compiled_by_clang(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(CLANG)
    monkeypatch.setenv("CC", "clang")
    for dtype in LIMIT:
        compare(case, case.torch(), "c", dtype)


def compare(case: Case, want: dict[str, np.ndarray], target: str, dtype: str) -> None:
    f = gs.compile(
        case.sample.result, args=list(case.sample.inputs),
        derivatives=KINDS, target=target, dtype=dtype, selftest=False, name="f",
    )  # fmt: skip
    for kind, got in case.ours(f).items():
        scale = max(1.0, *(np.abs(v).max(initial=0.0) for v in want.values()))
        error = np.abs(got - want[kind]).max(initial=0.0) / scale
        assert error < LIMIT[dtype], f"{kind} on {target}, {dtype}: off by {error:.3g}\n{case.sample.steps}"


def third_order(xp: Any, t: Any, x: Any, v: Any) -> tuple[Any, ...]:
    """Derivatives of derivatives, up to the third: `xp` computes, and `t` transforms."""

    def f(x: Any) -> Any:
        return xp.sum(xp.sin(x[1:]) * x[:-1] ** 2) + xp.exp(x[0] * x[2]) / (1.0 + x[1] ** 2)

    slope = t.grad(f)
    along = lambda x: t.jvp(slope, (x,), (v,))[1]
    return (
        t.grad(lambda x: xp.sum(along(x) * v))(x),  # reverse over forward over reverse
        t.jacrev(t.hessian(f))(x),
        t.grad(lambda x: t.vjp(slope, x)[1](v)[0][0])(x),  # reverse over reverse over reverse
        t.jvp(t.grad(lambda x: t.jvp(f, (x,), (v,))[1]), (x,), (v,))[1],  # forward over reverse over forward
    )


def descended(xp: Any, t: Any, x: Any, loop: Any) -> tuple[Any, ...]:
    """Through steps of gradient descent: a gradient in a loop's body; the Hessian of the loop is third order in `f`."""
    f = lambda y: xp.sum(xp.sin(y) ** 2 * y) + y[0] * y[1] * y[2]
    end = lambda x: xp.sum(loop(lambda y: y - 0.1 * t.grad(f)(y), x) ** 3)
    return end(x), t.grad(end)(x), t.hessian(end)(x)


def repeated(step: Any, x: Any) -> Any:
    for _ in range(3):
        x = step(x)
    return x


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
def test_nested_transforms_equal_those_of_torch_up_to_third_order(target: str) -> None:
    if target == "c" and not COMPILERS:
        pytest.skip("no C compiler")
    at, v = np.array([0.3, -0.8, 1.1]), np.array([1.0, 0.5, -2.0])
    scanned = lambda step, x: gs.scan(lambda y, _: (step(y), None), x, None, length=3)[0]

    def ours(x: Any, v: Any) -> tuple[Any, ...]:
        return (*third_order(gs, gs, x, v), *descended(gs, gs, x, scanned))

    f = gs.compile(ours, args=((3,), (3,)), target=target, derivatives="value", selftest=False, name="nested")
    x, u = torch.tensor(at), torch.tensor(v)
    want = (*third_order(torch, torch.func, x, u), *descended(torch, torch.func, x, repeated))
    for k, (got, number) in enumerate(zip(f(at, v), want, strict=True)):
        np.testing.assert_allclose(got, number.numpy(), rtol=1e-11, atol=1e-11, err_msg=f"result {k}")
