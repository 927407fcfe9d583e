"""In place, and in results that are written later: what lies there, what must not, and the bits of arrays apart."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.lower import storage
from gradsmith.lower.in_place import InPlace

ROWS, LONG = 6, 24
SMALL = gs.Tuning(block_least=1, block_bytes=16 * 8 * 8, blocked_bytes=1, blocked_rows=2, line_least=1, row_elements=4)
Program = tuple[Callable[..., Any], tuple[tuple[int, ...], ...], dict[str, Any]]


def exponents(x: Any, b: Any) -> Any:
    return gs.logsumexp(gs.sin(x) + b)


def turned(x: Any, b: Any) -> Any:
    """What is read from behind cannot be written over from the front."""
    z = gs.exp(gs.sin(x))
    return {"y": gs.tanh(z[::-1] * b) + z, "sum": gs.sum(z)}


def read_again(x: Any, b: Any) -> Any:
    """Read in the same loop behind the one that takes its place, and at another place by none."""
    z = gs.exp(gs.sin(x) * b)
    s = gs.sum(z)
    return {"y": z / s, "product": gs.sum(z * b * s), "z": z * z[0]}


def normed(x: Any, g: Any) -> Any:
    apart = x - gs.mean(x, axis=1)[:, None]
    over = 1.0 / gs.sqrt(gs.mean(apart**2, axis=1) + 1e-5)
    return gs.sum((g * (apart * over[:, None])) ** 3)


def soft(x: Any, g: Any) -> Any:
    """The weights are a whole array, and the rows of the gradient are computed from them."""
    p = gs.softmax(x * g, axis=1)
    return gs.sum(p**2 * x) * gs.sum(p[::-1] * x)


def neighbours(x: Any, g: Any) -> Any:
    """Rows that others read, and rows read from behind."""
    y = gs.exp(gs.sin(x) * gs.sum(x, axis=1)[:, None])
    return {"y": y * gs.sum(y, axis=1)[:, None] + y[:, ::-1], "next": y[1:] * gs.sum(y[:-1], axis=1)[:, None] * g}


def other_rows(x: Any, W: Any) -> Any:
    """A whole array of which the loop over rows that would write over it reads other rows."""
    y = x @ W
    return y * gs.sum(y[::-1] * x, axis=1)[:, None]


def weighted(A: Any, x: Any, b: Any) -> Any:
    return gs.logsumexp(A @ x + b, 0)


def squares(A: Any, x: Any, b: Any) -> Any:
    return gs.sum((A @ x - b) ** 2)


def steps(x: Any, W: Any) -> Any:
    """Memory of the steps, as a whole, in a result that is written behind the loop."""
    last = gs.fori_loop(0, 3, lambda _, s: gs.tanh(gs.sin(s)[::-1] @ W) + s[::-1], x)
    return gs.sum(last**2)


def layers(x: Any, W: Any, V: Any) -> Any:
    return gs.sum((gs.relu(x @ W) @ V) ** 2)


def same_twice(x: Any, b: Any) -> Any:
    z = gs.exp(gs.sin(x))[::-1] * b
    return {"y": z, "again": z, "x": x, "sum": gs.sum(gs.cos(z)[::-1] * z)}


VECTORS, MATRIX = ((48,), (48,)), ((ROWS, LONG), (LONG,))
SYSTEM = ((37, 16), (16,), (37,))
PROGRAMS: dict[str, Program] = {
    "exponents": (exponents, VECTORS, {}),
    "turned": (turned, VECTORS, {"derivatives": "value"}),
    "read again": (read_again, VECTORS, {"derivatives": "value"}),
    "same twice": (same_twice, VECTORS, {"derivatives": "value"}),
    "normed": (normed, MATRIX, {}),
    "normed, threads": (normed, MATRIX, {"threads": "openmp", "tuning": gs.Tuning(thread_elements=1, row_elements=4)}),
    "normed, strict": (normed, MATRIX, {"strict": True}),
    "soft": (soft, MATRIX, {}),
    "neighbours": (neighbours, MATRIX, {"derivatives": "value"}),
    "other rows": (other_rows, ((ROWS, LONG), (LONG, LONG)), {"derivatives": "value"}),
    "weighted": (weighted, SYSTEM, {"wrt": (1, 2), "tuning": SMALL}),
    "squares": (squares, SYSTEM, {"wrt": (1,), "tuning": SMALL}),
    "steps": (steps, ((LONG,), (LONG, LONG)), {}),
    "layers": (layers, ((8, 300), (300, 20), (20, 5)), {"wrt": (1, 2)}),
}  # fmt: skip


def compiled(name: str, **more: Any) -> Any:
    program, shapes, options = PROGRAMS[name]
    options = {"derivatives": "value_and_grad", "selftest": False, "name": "f", **options, **more}
    return gs.compile(program, args=shapes, target="c", **options)


def results(name: str, f: Any) -> list[np.ndarray]:
    _, shapes, options = PROGRAMS[name]
    rng = np.random.default_rng(0)
    point = [rng.normal(size=shape).astype(options.get("dtype", "float64")) for shape in shapes]
    found = f(*point) if options.get("derivatives") == "value" else f.value_and_grad(*point)
    flat: list[np.ndarray] = []

    def take(part: Any) -> None:
        for inner in part.values() if isinstance(part, dict) else part if isinstance(part, tuple) else ():
            take(inner)
        if not isinstance(part, dict | tuple):
            flat.append(np.asarray(part))

    take(found)
    return flat


def bytes_of(f: Any) -> int:
    return max(f.workspace.values())


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_same_bits_as_with_arrays_apart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    together = compiled(name)
    with monkeypatch.context() as alone:
        alone.setattr(storage, "in_place", lambda *given: InPlace())
        alone.setattr(storage.Storage, "_results_free", lambda *given: {})
        apart = compiled(name)
    assert bytes_of(together) <= bytes_of(apart)
    for one, other in zip(results(name, together), results(name, apart), strict=True):
        np.testing.assert_array_equal(one, other)
    assert together.check().ok


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("exponents", 2), ("normed", 0), ("weighted", 3), ("squares", 8)],
)
def test_no_more_than_by_hand(name: str, numbers: int) -> None:
    assert bytes_of(compiled(name)) <= 8 * numbers


def test_a_function_without_a_workspace_has_no_parameter_for_it() -> None:
    assert re.search(r"\bwork\b", compiled("normed").files["f.h"]) is None


def test_what_does_not_need_to_lies_in_no_result() -> None:
    """What is between two products has room in the slope by W, but for what makes that slope; little has in that by V."""
    assert bytes_of(compiled("layers")) == 8 * 8 * 20
    assert "= d_W" in compiled("layers").source
    assert "= d_V" not in compiled("layers", wrt=(2,)).source


def test_what_is_read_from_behind_stays_apart() -> None:
    f = compiled("turned")
    assert bytes_of(f) == 8 * 48


def test_sizes_known_by_name() -> None:
    """An array of a named size has room in a result of that size, whatever it is."""
    f = gs.compile(exponents, args=(("n",), ("n",)), target="c", derivatives="value_and_grad", selftest=False, name="f")
    assert "#define F_WORK 2" in f.files["f.h"]
    rng = np.random.default_rng(1)
    for n in (1, 5, 48):
        x, b = rng.normal(size=n), rng.normal(size=n)
        value, (d_x, d_b) = f.value_and_grad(x, b)
        z = np.sin(x) + b
        np.testing.assert_allclose(value, np.log(np.sum(np.exp(z))), rtol=1e-14)
        np.testing.assert_allclose(d_b, np.exp(z - value), rtol=1e-13)
        np.testing.assert_allclose(d_x, np.exp(z - value) * np.cos(x), rtol=1e-13)


def test_a_result_of_another_type_holds_nothing() -> None:
    def program(x: Any) -> Any:
        z = gs.exp(gs.sin(x))[::-1]
        return {"y": gs.astype(gs.tanh(z[::-1] * z), "float32"), "sum": gs.sum(z[::-1] * z)}

    f = gs.compile(program, args=((40,),), target="c", derivatives="value", selftest=False, name="f")
    x = np.random.default_rng(0).normal(size=40)
    z = np.exp(np.sin(x))[::-1]
    found = f(x)
    np.testing.assert_allclose(found["y"], np.tanh(z[::-1] * z).astype(np.float32), rtol=1e-6)
    np.testing.assert_allclose(found["sum"], np.sum(z[::-1] * z), rtol=1e-14)


def test_each_point_of_a_batch_has_its_own() -> None:
    """Points whose results are not compact; the function of one point computes in them."""
    f = gs.compile(
        exponents, args=VECTORS, target="c", batch=True, derivatives="value_and_grad", selftest=False, name="f",
        tuning=gs.Tuning(batch_statements=1),
    )  # fmt: skip
    rng = np.random.default_rng(2)
    x, b = rng.normal(size=(7, 48)), rng.normal(size=(7, 48))
    value, slopes = f.value_and_grad_batch(x, b)
    for k in range(7):
        one, own = f.value_and_grad(x[k], b[k])
        np.testing.assert_array_equal(value[k], one)
        for got, want in zip(slopes, own, strict=True):
            np.testing.assert_array_equal(got[k], want)
