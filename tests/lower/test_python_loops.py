"""Python's loops: what they compute is tested beside the other targets (`harness.LOOPS`); here is what is theirs alone."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.function import CompiledFunction

from ..conformance.harness import python_loops


def loops(source: Any, args: Any = None, **options: Any) -> CompiledFunction:
    """`source` in Python, as loops whatever its size."""
    f = gs.compile(source, args=args, target=python_loops(), **({"selftest": False} | options))
    assert f.target == "python"
    return f


def model(params, x):
    h = gs.tanh(params["W"] @ x + params["b"])
    return gs.sum(h * h) + gs.logsumexp(h)


@pytest.mark.parametrize("strict", [False, True])
def test_lines_do_not_depend_on_the_length(strict: bool) -> None:
    def f(x, k):
        y = gs.cumulative_sum(gs.exp(-x) * gs.asarray(np.linspace(0.0, 1.0, 3))[k])
        return gs.sum(gs.sort(y) * x) + gs.max(y)

    files = [gs.compile(f, args=((n,), gs.spec((), "int64")), strict=strict).source for n in (1_000, 100_000)]
    counts = [text.count("\n") for text in files]
    assert counts[0] == counts[1] < 400


def test_a_long_program_is_written_as_loops_and_a_short_one_is_not() -> None:
    sources = [gs.compile(lambda x: gs.sum(gs.sin(x) * x), args=((n,),), selftest=False).source for n in (100, 10_000)]
    assert "for " not in sources[0]
    assert "for i in range(10000):" in sources[1]


def test_scalars_stay_straight_however_many() -> None:
    x = gs.symbol("x")
    e = x
    for _ in range(2_500):
        e = gs.sin(e) + x
    assert "for " not in gs.compile(e, selftest=False).source


@pytest.mark.parametrize("n", [3, 60])
def test_the_file_tests_itself_and_imports_nothing(n: int, tmp_path: Path) -> None:
    args = ({"W": (n, n), "b": (n,)}, (n,))
    f = loops(model, args, selftest=True)
    (path,) = f.save(tmp_path)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "points agree" in done.stdout
    wrong = re.sub(r"(?m)^( +d_x\[.*)$", r"\1 + 1.0", f.source)
    assert wrong != f.source
    path.write_text(wrong)
    assert subprocess.run([sys.executable, "-I", "-S", str(path)], capture_output=True, check=False).returncode != 0


def test_check_and_pytrees() -> None:
    f = loops(model, ({"W": (3, 2), "b": (3,)}, (2,)))
    assert f.check(n=4, order=2).ok
    value, (d_params, d_x) = f.value_and_grad({"W": np.ones((3, 2)), "b": [0.0, 1.0, 2.0]}, [0.5, 0.25])
    want = gs.compile(model, args=({"W": (3, 2), "b": (3,)}, (2,)), selftest=False).value_and_grad(
        {"W": np.ones((3, 2)), "b": [0.0, 1.0, 2.0]}, [0.5, 0.25]
    )
    assert value == pytest.approx(want[0], rel=1e-14)
    np.testing.assert_allclose(d_params["W"], want[1][0]["W"], rtol=1e-13)
    np.testing.assert_allclose(d_params["b"], want[1][0]["b"], rtol=1e-13)
    np.testing.assert_allclose(d_x, want[1][1], rtol=1e-13)
    assert type(d_x) is list
    assert all(type(v) is float for v in d_x)


@pytest.mark.parametrize(
    ("function", "point"),
    [
        (lambda x: gs.exp(x), [1000.0, -1000.0, 1.0]),
        (lambda x: 1.0 / x, [0.0, -0.0, math.inf]),
        (lambda x: gs.log(x), [0.0, -1.0, math.nan]),
        (lambda x: x ** x[0], [-0.5, 2.0, 0.0]),
        (lambda x: gs.sqrt(x) / (x - x), [-1.0, 4.0, 0.0]),
        (lambda x: gs.cumulative_prod(gs.sinh(x)), [800.0, -800.0, 0.0]),
        (lambda x: gs.astype(x, gs.int64), [math.nan, math.inf, 2.5]),
        (lambda x: gs.floor(x), [math.nan, -math.inf, -0.5]),
    ],
)
def test_nothing_raises_where_ieee_arithmetic_has_an_answer(function: Any, point: list[float]) -> None:
    f = loops(function, ((3,),), derivatives=("value",))
    g = gs.compile(function, args=((3,),), target="numpy", derivatives=("value",), selftest=False)
    np.testing.assert_allclose(f(point), g(point), rtol=1e-14)
    total = loops(lambda x: gs.sum(gs.astype(function(x), gs.float64)), ((3,),))
    assert not math.isinf(total.cost.ratio)
    total.value_and_grad(point)


def test_nan_sorts_last_and_equal_elements_keep_their_order() -> None:
    x = [2.0, math.nan, 1.0, 2.0, -math.inf]
    for descending in (False, True):
        f = loops(lambda v, d=descending: gs.argsort(v, descending=d), ((5,),))
        assert f(x) == ([0, 3, 2, 4, 1] if descending else [4, 2, 0, 3, 1])
    rows = loops(lambda v: gs.argsort(v, axis=0), (gs.spec((3, 2), "int64"),))
    assert rows([[3, 1], [1, 1], [2, 0]]) == [[1, 2], [2, 0], [0, 1]]


def test_run_time_indices_wrap_and_those_out_of_range_raise() -> None:
    f = loops(lambda x, k: x[k] * 2.0, ((3, 2), gs.spec((), "int64")), derivatives=("value",))
    x = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert f(x, -1) == [10.0, 12.0]
    for k in (3, -4):
        with pytest.raises(IndexError):
            f(x, k)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 2), (1,), (1, 1), (1, 3), (2, 1, 2)])
def test_empty_axes_and_axes_of_one(shape: tuple[int, ...]) -> None:
    def f(x):
        return {
            "twice": x * 2.0,
            "sum": gs.sum(x, axis=0),
            "total": gs.sum(x),
            "t": gs.permute_dims(x, [*range(x.ndim)][::-1]),
        }

    x = np.arange(1.0, 1.0 + math.prod(shape)).reshape(shape)
    got = loops(f, (shape,))(x)
    assert got["twice"] == (2.0 * x).tolist()
    assert got["sum"] == x.sum(axis=0).tolist()
    assert got["total"] == x.sum()
    assert got["t"] == x.T.tolist()
    assert np.shape(loops(lambda x: gs.sum(x * x), (shape,)).grad(x)) == np.shape(x.tolist())


def test_results_share_no_memory_with_arguments_or_each_other() -> None:
    f = loops(lambda x: (x, x, gs.reshape(x, (4,))), ((2, 2),), derivatives=("value",))
    x = [[1.0, 2.0], [3.0, 4.0]]
    a, b, c = f(x)
    assert a == b == x
    assert c == [1.0, 2.0, 3.0, 4.0]
    a[0][0] = c[0] = 9.0
    assert x[0][0] == b[0][0] == 1.0
    assert f.module._flat(x, (2, 2)) is not x
    one = loops(lambda x: x, ((2,),), derivatives=("value",))
    row = [1.0, 2.0]
    assert one.module is not None
    assert next(iter(one._functions.values()))(row) is not row


def test_integers_and_booleans() -> None:
    def f(n, flags):
        return (
            n * n - 7,
            n // 2,
            (n > 1) & flags,
            gs.sum(n),
            gs.any(flags),
            gs.where(flags, n, 0),
            gs.max(n),
            gs.cumulative_sum(n),
        )

    n, flags = [3, -4, 0], [True, False, True]
    got = loops(f, (gs.spec((3,), "int64"), gs.spec((3,), "bool")))(n, flags)
    assert got == ([2, 9, -7], [1, -2, 0], [True, False, False], -1, True, [3, 0, 0], 3, [3, -1, -1])
    assert [type(part[0]) for part in (got[0], got[2])] == [int, bool]
    big = loops(lambda n: n * n, (gs.spec((1,), "int64"),))
    assert big([2**31]) == [2**62]


def test_constants_are_tables_of_the_file_each_once() -> None:
    table = np.arange(12.0).reshape(3, 4)
    f = loops(lambda x: gs.sum(gs.exp(x * table)[[2, 0, 1, 2]] * x), ((4,),))
    lines = [line for line in f.source.splitlines() if line.startswith(("TABLE_", "INDEX_", "table"))]
    assert len(lines) == len({line.split(" = ")[1] for line in lines}) >= 2
    x = np.array([0.1, -0.2, 0.3, 0.0])
    assert f(x) == pytest.approx(float(np.sum(np.exp(x * table)[[2, 0, 1, 2]] * x)), rel=1e-14)


def test_names_that_the_file_uses_are_left_to_it() -> None:
    def f(_flat, _nested, i, TABLE_1):
        return _flat * 2.0 + gs.sum(_nested * np.array([1.0, 2.0])) * i[0] * TABLE_1

    got = loops(f, ((2, 2), (2,), (2,), ()), derivatives=("value",))(
        [[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0], [2.0, 0.0], 0.5
    )
    assert got == [[5.0, 7.0], [9.0, 11.0]]


def test_a_misshapen_list_is_an_error_of_the_file_itself() -> None:
    f = loops(lambda x: gs.sum(gs.exp(x)), ((2, 3),))
    function = f._functions["value"]
    for wrong in ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0, 3.0]]):
        with pytest.raises(ValueError, match=r"should have shape \(2, 3\)"):
            function(wrong)


def test_strict_loops_equal_c_to_the_last_bit() -> None:
    def f(x):
        return gs.sum(gs.exp(x) @ gs.sin(x).T) + gs.prod(x[0] + 1.5) / gs.sum(x)

    point = np.linspace(-0.9, 0.7, 12).reshape(3, 4)
    results = [
        gs.compile(f, args=((3, 4),), target=t, strict=True, selftest=False).value_and_grad(point)
        for t in (python_loops(), "python", "numpy", "c")
    ]
    for value, slopes in results[1:]:
        assert value == results[0][0]
        assert np.array_equal(slopes, results[0][1])
