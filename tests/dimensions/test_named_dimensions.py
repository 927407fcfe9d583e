"""Named dimensions: one generated function for every size, on every target, against torch at several sizes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.passes.specialise import size_names, specialised

from ..conformance.harness import COMPILERS, torch_value_and_grad
from .programs import PROGRAMS, leaves, second_order

SIZES = (1, 2, 7, 64)
pytestmark = pytest.mark.usefixtures("quick_builds")
TARGETS = ("numpy", "python", "c")
STRICT_C = [
    "-std=c99",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wshadow",
    "-Wconversion",
    "-Wdouble-promotion",
    "-Wvla",
    "-Wdeclaration-after-statement",
    "-Wno-declaration-after-statement",
    "-Wundef",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Werror",
]
STRICT_CXX = [
    "-x",
    "c++",
    "-std=c++11",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wshadow",
    "-Wconversion",
    "-Wdouble-promotion",
    "-Werror",
]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O0"]


def compiled(name: str, target: str, order: int = 1, **options: Any) -> gs.CompiledFunction:
    program = PROGRAMS[name]
    source = program.function if order == 1 else second_order(program)
    options = {"selftest": False} | options
    return gs.compile(source, args=program.args, wrt=program.wrt, target=target, name=f"f_{name}", **options)


def worst(f: gs.CompiledFunction, name: str, n: int) -> float:
    """How far value and gradient are from torch's, over the largest of each."""
    program = PROGRAMS[name]
    xs, sizes = leaves(program, n)
    graph = specialised(f.graph, {k: sizes[k] for k in size_names(f.graph)})
    want = torch_value_and_grad(graph, xs, program.wrt)
    value, slopes = f.value_and_grad(*xs)
    error = 0.0
    for got, there in zip([value, *slopes], want, strict=True):
        assert np.shape(got) == there.shape or 0 in there.shape
        scale = max(1.0, float(np.max(np.abs(there), initial=0.0)))
        error = max(error, float(np.max(np.abs(np.reshape(got, there.shape) - there), initial=0.0)) / scale)
    return error


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_value_and_gradient_equal_torch_at_every_size(name: str, target: str) -> None:
    f = compiled(name, target)
    before = dict(f.files)
    for n in SIZES + ((0,) if PROGRAMS[name].empty else ()):
        assert worst(f, name, n) < 1e-11, n
    assert f.files == before


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "name", ["linear_regression", "gaussian_mixture", "recurrence", "contracted_inside", "products"]
)
def test_second_order_equals_torch(name: str, target: str) -> None:
    f = compiled(name, target, order=2)
    for n in (1, 2, 7):
        assert worst(f, name, n) < 1e-10, n


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "moving_differences", "recurrence"])
def test_targets_agree_to_the_last_bit_where_strict(name: str) -> None:
    functions = [compiled(name, t, strict=True) for t in TARGETS]
    for n in (2, 7):
        xs, _ = leaves(PROGRAMS[name], n)
        results = []
        for f in functions:
            value, slopes = f.value_and_grad(*xs)
            results.append([np.asarray(v).tobytes() for v in (value, *slopes)])
        assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("target", ["numpy", "c"])
@pytest.mark.parametrize("name", ["linear_regression", "gaussian_mixture", "cumulative", "slices"])
def test_float32(name: str, target: str) -> None:
    f = compiled(name, target, dtype="float32")
    for n in (1, 7):
        xs, _ = leaves(PROGRAMS[name], n)
        value, slopes = f.value_and_grad(*(np.asarray(x, dtype=np.float32) for x in xs))
        assert all(s.dtype == np.float32 for s in slopes if np.ndim(s))
        wide = compiled(name, "numpy").value_and_grad(*xs)
        np.testing.assert_allclose(value, wide[0], rtol=2e-4, atol=2e-4)
        for got, want in zip(slopes, wide[1], strict=True):
            np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-3)


# --- the files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROGRAMS)
def test_c_files_compile_without_warnings_and_test_themselves(name: str, tmp_path: Path) -> None:
    f = compiled(name, "c", selftest=True)
    f.save(tmp_path)
    source = f"f_{name}.c"
    for compiler in COMPILERS:
        quiet = [a for a in STRICT_C if a != "-Wdeclaration-after-statement"]
        subprocess.run([compiler, *quiet, "-fsyntax-only", source], cwd=tmp_path, check=True)
    if shutil.which("g++"):
        subprocess.run(["g++", *STRICT_CXX, "-fsyntax-only", source], cwd=tmp_path, check=True)
    macro = f"-DF_{name.upper()}_SELFTEST"
    subprocess.run([COMPILERS[0], "-std=c99", *SANITIZERS, macro, source, "-o", "t", "-lm"], cwd=tmp_path, check=True)
    done = subprocess.run(["./t"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "points agree" in done.stdout


@pytest.mark.parametrize("target", ["numpy", "python"])
@pytest.mark.parametrize("name", ["linear_regression", "recurrence", "two_names", "numbers"])
def test_python_files_test_themselves(name: str, target: str, tmp_path: Path) -> None:
    (path,) = compiled(name, target, selftest=True).save(tmp_path)
    subprocess.run([sys.executable, "-W", "error", str(path)], check=True, capture_output=True)


def test_sizes_come_first_and_the_workspace_has_a_size_function() -> None:
    f = compiled("linear_regression", "c")
    header = f.files["f_linear_regression.h"]
    assert "size_t f_linear_regression_work_size(ptrdiff_t n);" in header
    assert "void f_linear_regression(ptrdiff_t n, const double *GS_RESTRICT x" in header
    assert "_WORK " not in header
    assert "malloc" not in f.source


def test_a_workspace_is_as_large_as_it_says(tmp_path: Path) -> None:
    """Called from C with exactly the workspace that the size function asks for, under the address sanitizer."""
    f = compiled("moving_differences", "c")
    f.save(tmp_path)
    (tmp_path / "main.c").write_text(
        """
        #include <stdlib.h>
        #include "f_moving_differences.h"
        int main(void) {
            for (ptrdiff_t n = 0; n < 9; ++n) {
                double *x = calloc((size_t)n + 1, sizeof *x), *d_x = calloc((size_t)n + 1, sizeof *x), value;
                double *work = malloc(f_moving_differences_work_size(n) * sizeof *work);
                f_moving_differences_value_and_grad(n, x, &value, d_x, work);
                free(x); free(d_x); free(work);
            }
            return 0;
        }
        """
    )
    command = [COMPILERS[0], "-std=c99", *SANITIZERS, "main.c", "f_moving_differences.c", "-o", "t", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    subprocess.run(["./t"], cwd=tmp_path, check=True)


def test_names_that_are_taken_give_way() -> None:
    def f(n, x):
        return n * gs.sum(x * x) / x.shape[0]

    for target in TARGETS:
        g = gs.compile(f, args=((), ("n",)), target=target, selftest=False)
        assert g(2.0, np.array([1.0, 3.0])) == 10.0
    g = gs.compile(lambda x: gs.sum(x), args=(("while",),), target="c", selftest=False)
    assert g(np.ones(4)) == 4.0


def test_results_have_the_sizes_of_a_call() -> None:
    def f(x, y):
        return x[1:], gs.concatenate([x, y]), gs.reshape(gs.outer(x, y), (-1,))

    for target in TARGETS:
        g = gs.compile(f, args=(("n",), ("m",)), target=target, selftest=False)
        for n, m in ((0, 3), (1, 1), (4, 2)):
            x, y = np.arange(float(n)), np.arange(float(m)) - 5.0
            want = (x[1:], np.concatenate([x, y]), np.outer(x, y).ravel())
            for got, there in zip(g(x, y), want, strict=True):
                np.testing.assert_array_equal(np.asarray(got), there)


# --- check, cost, debug, explain ------------------------------------------------------------------------------------------


def test_check_picks_sizes_or_takes_them() -> None:
    f = compiled("linear_regression", "c")
    report = f.check(n=2)
    assert report.ok
    assert next(e.name for e in report.entries) == "value at n = 3"
    assert {e.name.split(" at ")[1] for e in report.entries} == {"n = 3", "n = 7", "n = 1"}
    at_one = f.check(n=2, sizes={"n": 1}, order=2)
    assert at_one.ok
    assert {e.name.split(" at ")[1] for e in at_one.entries} == {"n = 1"}


def test_check_sees_a_wrong_function() -> None:
    f = compiled("slices", "numpy")
    wrong = compiled("slices", "numpy")
    wrong.__dict__["_functions"] = {k: (lambda *a, g=g: np.multiply(g(*a), 2.0)) for k, g in f._functions.items()}
    assert not wrong._at({"n": 3}).check(n=2, against="finite").ok


def test_cost_is_a_polynomial() -> None:
    f = gs.compile(lambda x, w: gs.sum((x @ w) ** 2), args=(("n", 64), (64,)), target="numpy", selftest=False)
    n = gs.Dim("n")
    assert f.cost.value["mul"] == 65 * n
    assert f.cost.at(n=10).value["mul"] == 650
    assert f.cost.at(n=10).ratio > 1.0
    assert "65*n" in str(f.cost)
    with pytest.raises(gs.SpecError, match=r"cost\.at\(n=100\)"):
        _ = f.cost.ratio
    with pytest.raises(gs.SpecError, match="lacks the size of n"):
        f.cost.at(m=3)


def test_debug_and_explain_take_the_sizes_of_the_point() -> None:
    f = gs.compile(lambda x: gs.mean(gs.log(x)), args=(("n",),), target="numpy", selftest=False)
    _, slope = f.debug()(np.array([1.0, 2.0]))
    np.testing.assert_allclose(slope, [0.5, 0.25])
    with pytest.raises(gs.NonFiniteError):
        f.debug()(np.array([1.0, 0.0, 3.0]))
    assert "mean" in f.explain(x=np.array([1.0, 2.0]))


# --- errors -----------------------------------------------------------------------------------------------------------------


def _residuals(x: Any, w: Any) -> Any:
    return {"all": gs.tanh(x @ w), "steps": gs.cumsum(x[1:, 0] * w[0])}


def _misfit(x: Any, w: Any) -> Any:
    r = gs.tanh(x @ w)
    return gs.sum(r[1:] * r[:-1]) / x.shape[0]


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_and_products_take_any_size(target: str) -> None:
    torch = pytest.importorskip("torch")

    def residuals(x: Any, w: Any) -> Any:
        return torch.tanh(x @ w), torch.cumsum(x[1:, 0] * w[0], 0)

    def misfit(x: Any, w: Any) -> Any:
        r = torch.tanh(x @ w)
        return torch.sum(r[1:] * r[:-1]) / x.shape[0]

    f = gs.compile(_residuals, args=(("n", 2), (2,)), target=target, derivatives=("jvp", "vjp"))
    h = gs.compile(_misfit, args=(("n", 2), (2,)), target=target, derivatives="hvp")
    for n in (1, 2, 7):
        generator = np.random.default_rng(n)
        primals, tangents = ([generator.normal(size=shape) for shape in ((n, 2), (2,))] for _ in range(2))
        given, along = (tuple(map(torch.tensor, arrays)) for arrays in (primals, tangents))
        values, slopes = torch.func.jvp(residuals, given, along)
        got, moved = f.jvp(primals, tangents)
        for name, value, slope in zip(("all", "steps"), values, slopes, strict=True):
            np.testing.assert_allclose(got[name], value.numpy(), rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(moved[name], slope.numpy(), rtol=1e-12, atol=1e-14)
        got, back = f.vjp(*primals)
        want = torch.func.vjp(residuals, *given)[1](values)
        for g, expected in zip(back(got), want, strict=True):
            np.testing.assert_allclose(g, expected.numpy(), rtol=1e-12, atol=1e-14)
        want = torch.func.jvp(torch.func.grad(misfit, argnums=(0, 1)), given, along)[1]
        for g, expected in zip(h.hvp(primals, tangents), want, strict=True):
            np.testing.assert_allclose(g, expected.numpy(), rtol=1e-11, atol=1e-13)
    assert f.check(n=2).ok
    assert h.check(n=2, sizes={"n": 4}).ok


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_that_disagree(target: str) -> None:
    f = gs.compile(_residuals, args=(("n", 2), (2,)), target=target, derivatives=("jvp", "vjp"))
    x, w = np.ones((5, 2)), np.ones(2)
    with pytest.raises(gs.ShapeMismatchError, match="argument 't_x': n is 4, but 'x' has n = 5"):
        f.jvp((x, w), (x[:4], w))
    _, back = f.vjp(x, w)
    with pytest.raises(gs.ShapeMismatchError, match=r"max\(n - 1, 0\) is 5, but 'x' has max\(n - 1, 0\) = 4"):
        back({"all": np.ones(5), "steps": np.ones(5)})


@pytest.mark.parametrize("kind", ["jacobian", "hessian"])
def test_whole_matrices_need_numbers(kind: str) -> None:
    with pytest.raises(gs.DerivativeError, match="'n' is known at run time only: give ints in args=, or use jvp"):
        gs.compile(_misfit, args=(("n", 2), (2,)), derivatives=kind)


@pytest.mark.parametrize("target", TARGETS)
def test_arguments_that_disagree(target: str) -> None:
    f = gs.compile(lambda x, y: gs.sum(x) * gs.sum(y), args=(("n",), ("n", 3)), target=target, selftest=False)
    for x, y, message in (
        (np.ones(4), np.ones((5, 3)), "argument 'y': n is 5, but 'x' has n = 4"),
        (np.ones(4), np.ones((4, 2)), "argument 'y' has shape (4, 2), expected (n, 3)"),
        (np.ones((4, 1)), np.ones((4, 3)), "argument 'x' has shape (4, 1), expected (n,)"),
    ):
        with pytest.raises(gs.ShapeMismatchError) as caught:
            f.value_and_grad(x, y)
        assert message in str(caught.value)


def test_a_numpy_file_alone_compares_sizes() -> None:
    f = gs.compile(lambda x, y: gs.sum(x) + gs.sum(y[1:]), args=(("n",), (3, "n")), target="numpy", selftest=False)
    space: dict[str, Any] = {}
    exec(f.source, space)
    assert space["f"](np.ones(4), np.ones((3, 4))) == 12.0
    for kind in ("f", "f_grad", "f_value_and_grad"):
        with pytest.raises(ValueError, match="argument 'y': n is 1, but another argument has 4"):
            space[kind](np.ones(4), np.ones((3, 1)))


@pytest.mark.parametrize("target", TARGETS)
def test_a_size_computed_from_another(target: str) -> None:
    n = gs.Dim("n")
    f = gs.compile(lambda x, y: gs.sum(x) + gs.sum(y), args=((n,), (2 * n + 1,)), target=target, selftest=False)
    assert f(np.ones(3), np.ones(7)) == 10.0
    with pytest.raises(gs.ShapeMismatchError, match=r"2\*n \+ 1 is 6, but 'x' has 2\*n \+ 1 = 7"):
        f(np.ones(3), np.ones(6))


@pytest.mark.parametrize("target", TARGETS)
def test_an_element_that_is_not_there(target: str) -> None:
    f = gs.compile(lambda x: x[2] * gs.max(x) + x[-1], args=(("n",),), target=target, selftest=False)
    assert f(np.array([1.0, 2.0, 3.0])) == 12.0
    with pytest.raises(gs.ShapeMismatchError, match="n is 2, and must be 3 or more"):
        f(np.array([1.0, 2.0]))


def refused(kind: type[Exception], text: str, function: Any, *args: Any, **options: Any) -> None:
    with pytest.raises(kind) as caught:
        gs.compile(function, args=args, **({"target": "numpy", "selftest": False} | options))
    assert text in str(caught.value)


def test_what_cannot_be_decided_says_so() -> None:
    refused(gs.ShapeError, "(n,) and (m,) do not broadcast", lambda x, y: x + y, ("n",), ("m",))
    refused(gs.ShapeError, "cannot become (7, 7)", lambda x: gs.reshape(x, (7, 7)), ("n",))
    refused(gs.ShapeError, "whether 7 divides it", lambda x: gs.reshape(x, (7, -1)), ("n",))
    refused(gs.ShapeError, "whether n > 3", lambda x: gs.sum(x) if x.shape[0] > 3 else x[0], ("n",))
    refused(gs.ShapeError, "use gs.scan", lambda x: sum(x[i] for i in range(x.shape[0])), ("n",))
    refused(gs.TraceError, "named length 'n'", lambda x: sum(v for v in x), ("n",))
    refused(gs.SpecError, "'n' is the length of no axis", lambda x: gs.sum(x), (gs.Dim("n") + 1,))
    refused(gs.ShapeError, "give an int instead of 'n'", lambda x: gs.sum(gs.unstack(x)[0]), ("n",))
    refused(
        gs.SpecError, 'checkpoint="sqrt" needs a number of steps',
        lambda x: gs.scan(lambda c, u: (c + u, None), 0.0, x, checkpoint="sqrt")[0], ("n",),
    )  # fmt: skip


def test_check_refuses_sizes_that_make_no_sense() -> None:
    f = compiled("two_names", "numpy")
    for sizes, text in (
        ({"n": 3}, "give each of 'n', 'm'"),
        ({"n": 3, "q": 2}, "give each of 'n', 'm'"),
        ({"n": 3, "m": -1}, "'m' is -1"),
    ):
        with pytest.raises(gs.SpecError) as caught:
            f.check(sizes=sizes)
        assert text in str(caught.value)
    with pytest.raises(gs.SpecError, match="no named dimensions"):
        gs.compile(gs.symbol("x")).check(sizes={"n": 3})
