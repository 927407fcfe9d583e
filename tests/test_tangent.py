"""Forward mode: for every op, the tangent is what torch's reverse mode makes of it, and structural zeros stay None."""

from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.derive.tangent import pushed
from gradsmith.evaluate import evaluate, evaluate_torch, import_torch
from gradsmith.registry import OPS
from gradsmith.trace import registry_function, symbol
from gradsmith.types import as_dtype

DIFFERENTIABLE = [
    name
    for name, op in OPS.items()
    if op.kind != "leaf" and op.samples and op.torch and op.takes != "integers" and name != "astype"
]


def operands(name: str) -> list[tuple[list[Any], dict[str, Any]]]:
    found = []
    for sample in OPS[name].samples:
        params = sample[-1] if isinstance(sample[-1], dict) else {}
        found.append(([np.asarray(v) for v in (sample[:-1] if params else sample)], params))
    return found


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_tangents_are_the_transpose_of_cotangents(name: str) -> None:
    """<g, J t> from forward mode equals <J' g, t> from torch's reverse mode."""
    torch = import_torch()
    generator = np.random.default_rng(0)
    for xs, params in operands(name):
        wanted = OPS[name].takes
        kinds = [wanted] * len(xs) if isinstance(wanted, str) else wanted
        floats = [
            kind != "int" and kind != "bool" and (x.dtype.kind == "f" or kind != "any")
            for x, kind in zip(xs, kinds, strict=False)
        ]
        symbols = [
            symbol(f"x{i}", x.shape, float if f else as_dtype(x.dtype))
            for i, (x, f) in enumerate(zip(xs, floats, strict=False))
        ]
        y = registry_function(name)(*symbols, **params)
        by = [s for s, f in zip(symbols, floats, strict=False) if f]
        tangents = [symbol(f"t{i}", s.shape) for i, s in enumerate(by)]
        _, (found,) = pushed([y], by, tangents)
        leaves = [x.astype(s.dtype.name) for x, s in zip(xs, symbols, strict=False)]
        along = [generator.normal(size=t.shape) for t in tangents]
        graph = to_graph(symbols, [y])
        tensors = [torch.tensor(v, requires_grad=f) for v, f in zip(leaves, floats, strict=False)]
        result = evaluate_torch(graph, tensors)[graph.outputs[0]]
        if y.dtype.kind != "float" or not result.requires_grad:
            assert found is None or not np.any(
                evaluate(to_graph([*symbols, *tangents], [found]), [*leaves, *along])[-1]
            )
            continue
        g = generator.normal(size=tuple(result.shape))
        slopes = torch.autograd.grad(
            result, [t for t, f in zip(tensors, floats, strict=False) if f], torch.tensor(g), allow_unused=True
        )
        want = sum(float((s.numpy() * a).sum()) for s, a in zip(slopes, along, strict=False) if s is not None)
        if found is None:
            assert want == 0.0
            continue
        assert found.type == y.type
        joint = to_graph([*symbols, *tangents], [found])
        got = float(np.sum(g * evaluate(joint, [*leaves, *along])[joint.outputs[0]]))
        assert got == pytest.approx(want, rel=1e-6, abs=1e-9)  # torch's Bessel functions have no more digits


def test_what_does_not_move_has_no_tangent() -> None:
    x, y = gs.symbols("x y", (3,))
    _, found = pushed([x * 2.0, y * 2.0, gs.floor(x), gs.argmax(x)], [x, y], [x, None])
    assert [t is None for t in found] == [False, True, True, True]


def test_the_branch_that_is_not_taken_does_not_poison_the_tangent() -> None:
    x, t = gs.symbols("x t")
    f = gs.compile(gs.jvp(gs.where(x > 0.0, gs.sqrt(x), x * 2.0), (x,), (t,))[1], target="numpy")
    assert f(-1.0, 3.0) == 6.0
    assert f(0.0, 3.0) == 6.0
    flat = gs.compile(gs.jvp(abs(gs.sqrt(x)) * 2.0, (x,), (t,))[1], target="numpy")
    assert flat(4.0, 1.0) == 0.5


def test_conversions_keep_the_tangent() -> None:
    x, t = gs.symbols("x t")
    f = gs.compile(gs.jvp(gs.astype(x, gs.float32) * 3.0, (x,), (t,))[1], args=(x, t), target="numpy")
    assert f(2.0, 1.5) == 4.5
    _, (none,) = pushed([gs.astype(gs.astype(x, gs.int64), gs.float64)], [x], [t])
    assert none is None
