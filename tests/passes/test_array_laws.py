"""Laws that move elements: cotangents of slices and of what is put together, without zeros to add to."""

from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.evaluate import evaluate
from gradsmith.ops.indexing import scatter
from gradsmith.origin import Origin
from gradsmith.passes.fold import fold
from gradsmith.passes.rewrite import rewritten
from gradsmith.passes.simplify import apply_law
from gradsmith.trace import recording, registry_function
from gradsmith.verify import verify

x, y, M = gs.symbol("x", (16,)), gs.symbol("y", (15,)), gs.symbol("M", (8, 12))


def put(shape: Any, *parts: Any) -> Any:
    return scatter(*(part for part, _ in parts), shape=shape, keys=tuple(key for _, key in parts))


SLICES = {
    "two of one, shifted": (put((18,), (x, ((2, 1, 16),)), (x, ((0, 1, 16),))), ((1, 1, 16),)),
    "of two, of other lengths": (put((18,), (x, ((2, 1, 16),)), (y, ((0, 1, 15),))), ((2, 1, 15),)),
    "times one number": (put((18,), (x * 0.4, ((2, 1, 16),)), (0.4 * y, ((1, 1, 15),))), ((1, 1, 16),)),
    "less than a part": (put((18,), (x, ((2, 1, 16),)), (x, ((1, 1, 16),))), ((5, 1, 3),)),
    "of matrices": (put((10, 14), (M, ((0, 1, 8), (1, 1, 12))), (M, ((2, 1, 8), (1, 1, 12)))), ((1, 1, 8), (2, 1, 12))),
}
OTHERS = {  # many zeros beside few elements; steps; numbers; single places
    "far away": (put((99,), (x, ((80, 1, 16),))), ((0, 1, 99),)),
    "steps": (put((40,), (x, ((0, 2, 16),))), ((0, 1, 40),)),
    "a place": (put((18,), (x[0], (3,)), (x, ((0, 1, 16),))), ((0, 1, 18),)),
}


def traced(of: Any, key: Any, role: Any = "cotangent") -> Any:
    with recording() as state:
        state.origin = Origin(role=role)
        return to_graph([x, y, M], [registry_function("index")(of, key=key)])


@pytest.mark.parametrize("name", [*SLICES, *OTHERS])
def test_a_slice_of_what_was_put(name: str) -> None:
    graph = traced(*{**SLICES, **OTHERS}[name])
    changed = verify(rewritten(graph, fold, apply_law))
    assert ("scatter" in changed.text()) == (name in OTHERS)
    point = [np.random.default_rng(0).normal(size=i.shape) for i in (x, y, M)]
    want, got = (evaluate(g, point)[g.outputs[0]] for g in (graph, changed))
    np.testing.assert_allclose(got, want, rtol=1e-15, atol=1e-15)


def test_all_slices_side_by_side_are_joined() -> None:
    parts = [(y[:4], ((6, 1, 4),)), (x[:6], ((0, 1, 6),)), (x[2:4], ((10, 1, 2),))]
    graph = to_graph([x, y], [put((12,), *parts)])
    changed = verify(rewritten(graph, fold, apply_law))
    assert "concatenate" in changed.text()
    assert "scatter" not in changed.text()
    point = [np.random.default_rng(0).normal(size=i.shape) for i in (x, y)]
    want, got = (evaluate(g, point)[g.outputs[0]] for g in (graph, changed))
    np.testing.assert_array_equal(got, want)
    for lacking in (parts[:2], [*parts, (x[:1], ((0, 1, 1),))]):  # a gap, and a place that is added to twice
        text = rewritten(to_graph([x, y], [put((12,), *lacking)]), fold, apply_law).text()
        assert "concatenate" not in text
