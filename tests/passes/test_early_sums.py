"""Sums that wait for other sums become sums that do not; what waits for nothing, and the user's order, stay."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate
from gradsmith.graph import Graph
from gradsmith.origin import Origin
from gradsmith.passes.early_sums import early_sums
from gradsmith.trace import recording
from gradsmith.verify import verify

A, B, v = gs.symbol("A", (4, 3)), gs.symbol("B", (4, 3)), gs.symbol("v", (4,))


def of_rows(x: Any) -> Any:
    """A number of each row that needs all of it."""
    return gs.sum(gs.exp(x), axis=1)[:, None]


LATE: dict[str, Callable[[], Any]] = {
    "a factor": lambda: gs.sum(A * of_rows(A), axis=1),
    "a divisor, negative": lambda: gs.sum(-(A / of_rows(B)), axis=1),
    "two terms": lambda: gs.sum(A * of_rows(A) - of_rows(B) * (2.0 * B), axis=1),
    "twice the same": lambda: gs.sum(A * of_rows(A) + A * of_rows(A), axis=1),
    "kept axes": lambda: gs.sum(of_rows(A) * A + B, axis=1, keepdims=True),
    "of a whole array": lambda: gs.sum(A * gs.sum(B * B) + B * gs.sum(A), axis=(0, 1)),
    "over columns": lambda: gs.sum(B * gs.sum(A, axis=0), axis=0),
}
STAYS: dict[str, Callable[[], Any]] = {
    "known at once": lambda: gs.sum(A * v[:, None] + B, axis=1),
    "another factor for each": lambda: gs.sum(A * gs.sum(B, axis=0), axis=1),
    "a term that waits as long": lambda: gs.sum(A * of_rows(A) + gs.exp(of_rows(B) * A), axis=1),
    "three terms": lambda: gs.sum(A * of_rows(A) + B * of_rows(B) + v[:, None] * gs.sin(A), axis=1),
    "under a divisor": lambda: gs.sum(of_rows(A) / B, axis=1),
}


def traced(expr: Callable[[], Any], role: str = "cotangent") -> Graph:
    with recording() as state:
        state.origin = Origin(role=role)  # type: ignore[arg-type]
        return to_graph([A, B, v], [expr()])


@pytest.mark.parametrize("expr", LATE.values(), ids=LATE)
def test_what_waits_is_split(expr: Callable[[], Any]) -> None:
    graph = traced(expr)
    changed = verify(early_sums(graph))
    assert changed is not graph
    (y,) = changed.outputs
    assert changed.node(y).op != "sum"
    point = [np.random.default_rng(k).normal(size=i.shape) for k, i in enumerate((A, B, v))]
    want, got = (evaluate(g, point)[g.outputs[0]] for g in (graph, changed))
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("expr", STAYS.values(), ids=STAYS)
def test_what_would_not_come_earlier_stays(expr: Callable[[], Any]) -> None:
    graph = traced(expr)
    assert early_sums(graph) is graph


def test_the_user_s_order_stays() -> None:
    graph = traced(LATE["two terms"], "primal")
    assert early_sums(graph) is graph


def test_a_normalisation_goes_through_a_row_four_times() -> None:
    def loss(x: Any, w: Any) -> Any:
        apart = x - gs.mean(x, axis=1)[:, None]
        return gs.sum(gs.sin(w * apart / gs.sqrt(gs.mean(apart**2, axis=1) + 1e-5)[:, None]))

    f = gs.compile(
        loss, args=((6, 32), (32,)), target="c", derivatives=("grad", "value_and_grad"), name="f", selftest=False
    )
    body = f.source.partition("\nvoid f_value_and_grad(")[2].partition("\n}\n")[0]
    assert body.count("for (ptrdiff_t j") == 4
    point = [np.random.default_rng(k).normal(size=shape) for k, shape in enumerate(((6, 32), (32,)))]
    given = [torch.tensor(a, requires_grad=True) for a in point]
    apart = given[0] - given[0].mean(1)[:, None]
    torch.sin(given[1] * apart / torch.sqrt((apart**2).mean(1) + 1e-5)[:, None]).sum().backward()
    for got, x in zip(f.grad(*point), given, strict=True):
        np.testing.assert_allclose(got, x.grad, rtol=1e-11, atol=1e-13)
