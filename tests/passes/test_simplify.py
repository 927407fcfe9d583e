"""Each law, before and after; and a proof by numbers that none changes a result, at special values too."""

import itertools
import math

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate
from gradsmith.ops.indexing import scatter
from gradsmith.origin import Origin
from gradsmith.passes.simplify import simplify
from gradsmith.trace import recording
from gradsmith.verify import verify

x, y, z = gs.symbols("x y z")
v = gs.symbol("v", (3,))
M = gs.symbol("M", (2, 3))

# before, after (as expressions), how many ULP the values may differ by
LAWS = [
    (1.0 * x, x, 0),
    (x * 1.0, x, 0),
    (x * -1.0, -x, 0),
    (x * x, gs.square(x), 0),
    ((-x) * (-y), x * y, 0),
    ((-x) * y, -(x * y), 0),
    (x * (-y), -(x * y), 0),
    ((-x) * 3.0, x * -3.0, 0),
    (2.0 * (3.0 * x), 6.0 * x, 0),
    (x + (-y), x - y, 0),
    ((-x) + y, y - x, 0),
    (x + -2.0, x - 2.0, 0),
    (x - -2.0, x + 2.0, 0),
    (x + -0.0, x, 0),
    (x - (-y), x + y, 0),
    (x - 0.0, x, 0),
    (gs.negative(gs.negative(x)), x, 0),
    (-(2.0 * x), -2.0 * x, 0),
    (-(2.0 / x), -2.0 / x, 0),
    (x / 1.0, x, 0),
    (x / -1.0, -x, 0),
    ((-x) / y, -(x / y), 0),
    (x / (-y), -(x / y), 0),
    ((-x) / (-y), x / y, 0),
    (x**0.0, gs.broadcast_to(1.0, ()), 0),
    (x**1.0, x, 0),
    (x**2.0, gs.square(x), 1),
    (x**3.0, gs.square(x) * x, 2),
    (x**4.0, gs.square(gs.square(x)), 2),
    (x**-1.0, gs.reciprocal(x), 1),
    (x**-2.0, gs.reciprocal(gs.square(x)), 2),
    (gs.square(-x), gs.square(x), 0),
    (gs.where(x > y, z, z), z, 0),
    (gs.where(x > y, gs.where(x > y, x, y), z), gs.where(x > y, x, z), 0),
    (gs.where(x > y, x, gs.where(x > y, x, z)), gs.where(x > y, x, z), 0),
    (0.1 * x + 0.1 * x, 0.2 * x, 0),
    (3.0 * (5.0 * x), 15.0 * x, 2),
    (gs.cos(-x), gs.cos(x), 0),
    (gs.cosh(-x), gs.cosh(x), 0),
    (gs.absolute(-x), gs.absolute(x), 0),
    (gs.sqrt(x) ** 2.0, gs.square(gs.sqrt(x)), 1),
    (x**0.5, gs.sqrt(x), 1),
    (x**-0.5, gs.reciprocal(gs.sqrt(x)), 2),
    (x**1.5, x * gs.sqrt(x), 2),
]


def simplified(expr: gs.Expr) -> str:
    return verify(simplify(to_graph([x, y, z, v, M], [expr]))).text()


@pytest.mark.parametrize(("before", "after", "ulps"), LAWS, ids=range(len(LAWS)))
def test_law(before: gs.Expr, after: gs.Expr, ulps: int) -> None:
    assert simplified(before) == simplified(after)
    if before.op.name != "where":
        assert len(simplified(before).splitlines()) <= len(to_graph([x, y, z, v, M], [before]).text().splitlines())


SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.3, -7.25, 1e-160, 1e160, 1e308, 5e-324, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize(("before", "after", "ulps"), LAWS, ids=range(len(LAWS)))
def test_no_value_changes(before: gs.Expr, after: gs.Expr, ulps: int) -> None:
    original = to_graph([x, y, z], [before])
    changed = simplify(original)
    for a, b in itertools.product(SPECIAL, SPECIAL):
        want, got = (np.float64(evaluate(g, [a, b, 0.5])[g.outputs[0]]) for g in (original, changed))
        if np.isnan(want) or ulps == 0:
            assert np.array_equal(want, got, equal_nan=True), (a, b)
            assert np.isnan(want) or np.signbit(want) == np.signbit(got), (a, b)
        elif np.isfinite(want) and want != 0 and abs(want) > 1e-300 and np.isfinite(got):
            assert abs(got - want) <= ulps * np.spacing(abs(want)), (a, b)


@pytest.mark.parametrize(
    "kept",
    [
        x * 0.0, x + 0.0, 0.0 - x, x - x, x / x, (x + y) - y, (x * 3.0) * 0.1, gs.where(x > 0.0, x, y), x * z + y * z,
        x**5.0, x * (1.0 / y), gs.sum(x * v), gs.sin(-x), M @ gs.broadcast_to(x, (3,)), 2.0 * x + 2.0 * y,
    ],
)  # fmt: skip
def test_what_is_no_law(kept: gs.Expr) -> None:
    assert simplified(kept) == to_graph([x, y, z, v, M], [kept]).text()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (M.T.T, M),
        (gs.transpose(gs.transpose(gs.symbol("T", (2, 3, 4)), (1, 2, 0)), (2, 0, 1)), None),
        (gs.reshape(gs.reshape(M, (6,)), (3, 2)), gs.reshape(M, (3, 2))),
        (gs.reshape(gs.reshape(M, (6,)), (2, 3)), M),
        (gs.sum(gs.sum(v)), gs.sum(v)),
        (gs.squeeze(gs.expand_dims(v, 0), 0), v),
        (gs.broadcast_to(gs.broadcast_to(x, (3,)), (2, 3)), gs.broadcast_to(x, (2, 3))),
        (gs.sum(gs.broadcast_to(x, (5,))), x * 5.0),
        (gs.stack([x, y, z])[1], y),
        (gs.broadcast_to(x, (3,)) * gs.broadcast_to(y, (3,)), gs.broadcast_to(x * y, (3,))),
        (gs.tanh(gs.broadcast_to(v, (2, 3))), gs.broadcast_to(gs.tanh(v), (2, 3))),
        (
            gs.broadcast_to(v, (2, 3)) * gs.broadcast_to(x, (2, 3)),
            gs.broadcast_to(v * gs.broadcast_to(x, (3,)), (2, 3)),
        ),
        (gs.sum(gs.broadcast_to(v, (4, 3)), axis=0), v * 4.0),
        (gs.sum(gs.broadcast_to(v, (4, 3)), axis=0, keepdims=True), gs.reshape(v * 4.0, (1, 3))),
        (gs.sum(gs.broadcast_to(v, (2, 4, 3)), axis=1), gs.broadcast_to(gs.reshape(v * 4.0, (1, 3)), (2, 3))),
        (gs.sum(M.T), gs.sum(M)),
        (gs.sum(M.T, axis=1), gs.sum(M, axis=0)),
        (gs.sum(gs.reshape(M, (6,))), gs.sum(M)),
        (gs.transpose(gs.broadcast_to(x, (2, 3))), gs.broadcast_to(x, (3, 2))),
        (gs.broadcast_to(x, (2, 3))[1], gs.broadcast_to(x, (3,))),
        (M[1][2], M[1, 2]),
        (v[1:][1], v[2]),
        (v[::-1][:2], v[2:0:-1]),
        (gs.outer(v, v).T, gs.outer(v, v)),
        (gs.outer(gs.broadcast_to(x, (2,)), v), gs.broadcast_to(x * v, (2, 3))),
        (v @ M.T, M @ v),
    ],
)
def test_layout_laws(before: gs.Expr, after: gs.Expr | None) -> None:
    if after is None:
        t = before.args[0].args[0]
        assert simplify(to_graph([t], [before])).outputs == (0,)
    else:
        assert simplified(before) == simplified(after)


def test_matrix_products_of_cotangents() -> None:
    A, B = gs.symbol("A", (3, 2)), gs.symbol("B", (3, 4))
    u, w = gs.symbol("u", (2,)), gs.symbol("w", (3,))
    laws = [
        (lambda: A @ gs.outer(u, w), lambda: gs.outer(A @ u, w)),
        (lambda: gs.outer(u, w) @ B, lambda: gs.outer(u, w @ B)),
        (lambda: gs.outer(u, w) @ w, lambda: u * (w @ w)),
        (lambda: u @ gs.outer(u, w), lambda: (u @ u) * w),
        (lambda: A @ gs.broadcast_to(1.0, (2,)), lambda: gs.sum(A, axis=1)),
        (lambda: gs.broadcast_to(1.0, (3,)) @ B, lambda: gs.sum(B, axis=0)),
    ]
    for before, after in laws:
        with recording() as state:
            state.origin = Origin(role="cotangent")
            graphs = [to_graph([A, B, u, w], [side()]) for side in (before, after)]
        assert simplify(graphs[0]).text() == simplify(graphs[1]).text()
        point = [np.random.default_rng(0).normal(size=i.shape) for i in (A, B, u, w)]
        want, got = (evaluate(g, point)[g.outputs[0]] for g in (graphs[0], simplify(graphs[0])))
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_a_vector_put_together_from_scalars_is_a_stack() -> None:
    g = simplify(to_graph([x, y], [scatter(y, x, shape=(2,), keys=((1,), (0,)))]))
    assert "= stack %0 %1 axis=0" in g.text()
    twice = to_graph([x, y], [scatter(y, x, shape=(2,), keys=((1,), (1,)))])
    assert simplify(twice).text() == twice.text()


def test_a_rewritten_value_keeps_the_user_s_name() -> None:
    area = x * x
    g = simplify(to_graph([x], [area + 1.0]))
    assert [n.origin.name for n in g.ordered() if n.op == "square"] == ["area"]
