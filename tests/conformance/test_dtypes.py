"""Integers, booleans and two widths of floats: promotion, conversion and integer arithmetic, on every target.

What NumPy says is the reference for values and dtypes, Python's for what has no dtype there, torch for gradients.
"""

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.derive.adjoint import adjoint, gradient

from .harness import COMPILERS, TARGETS, Library, Run, run_python

NAMES = ("bool", "int32", "int64", "float32", "float64")
UNBOUNDED = (
    "**8",
    "least",
    "least,",
)  # cases that leave the range of int32 or int64, which Python's integers do not have
KINDS = {"bool": "b", "int": "i", "float": "f"}

# --- promotion --------------------------------------------------------------------------------------------------------

#: The array API's table, and behind `|` what it leaves open: an integer or a boolean with a float is the float.
PROMOTION = {
    "bool": ("bool", "int32", "int64", "float32", "float64"),
    "int32": ("int32", "int32", "int64", "float32", "float64"),
    "int64": ("int64", "int64", "int64", "float32", "float64"),
    "float32": ("float32", "float32", "float32", "float32", "float64"),
    "float64": ("float64", "float64", "float64", "float64", "float64"),
}
PAIRS = [(a, b, want) for a, row in PROMOTION.items() for b, want in zip(NAMES, row, strict=True)]


@pytest.mark.parametrize(("a", "b", "want"), PAIRS)
def test_promotion_is_the_array_apis(a: str, b: str, want: str) -> None:
    x, y = gs.symbol("x", (2,), a), gs.symbol("y", (2,), b)
    sums = "int64" if want == "bool" else want  # booleans are counted
    quotients = want if want.startswith("float") else "float64"
    assert gs.result_type(a, b) == gs.result_type(x, y) == want
    assert (x + y).dtype == (x * y).dtype == (x - y).dtype == gs.maximum(x, y).dtype == sums
    assert (x // y).dtype == (x % y).dtype == sums
    assert (x / y).dtype == gs.atan2(x, y).dtype == gs.hypot(x, y).dtype == quotients
    assert gs.where(x > 0, x, y).dtype == gs.concatenate([x, y]).dtype == gs.stack([x, y]).dtype == want
    assert (x < y).dtype == (x == y).dtype == gs.logical_and(x, y).dtype == "bool"
    assert gs.can_cast(a, b) == (a == b or (a[:3] == b[:3] and want == b))


def test_promotion_of_numpy_agrees_where_the_standard_fixes_it() -> None:
    for a, b, want in PAIRS:
        if ("float" in a) == ("float" in b):
            assert np.result_type(a, b) == want


@pytest.mark.parametrize("dtype", NAMES)
def test_pythons_numbers_decide_the_kind_only(dtype: str) -> None:
    x = gs.symbol("x", (2,), dtype)
    real = "float64" if not dtype.startswith("float") else dtype
    whole = "int64" if dtype == "bool" else dtype
    assert (x * 2).dtype == (2 + x).dtype == gs.maximum(x, 1).dtype == whole
    assert (x * 2.0).dtype == (2.0 + x).dtype == gs.where(x > 0, x, 0.5).dtype == real
    assert gs.where(x > 0, x, False).dtype == dtype
    assert gs.result_type(x, 2.0) == (gs.constant(2.0) * x).dtype == real


def test_constants_meet_by_strength() -> None:
    x, n = gs.symbol("x", (2,), "float32"), gs.symbol("n", (2,), "int32")
    assert (x * gs.constant(2.0)).dtype == (x * np.float64(2.0)).dtype == "float32"
    assert (n + np.int64(2)).dtype == (n * gs.constant(2)).dtype == "int32"
    assert (x * np.ones(2)).dtype == "float64"  # an array says what it is
    assert (gs.constant(np.float32(2.0)) * 3.0).dtype == "float32"


@pytest.mark.parametrize(
    ("call", "fragments"),
    [
        (lambda n: n + 2**40, ("add", "1099511627776", "int32 (-2147483648 to 2147483647)", "gs.int64")),
        (lambda n: gs.asarray(2**31, dtype="int32"), ("2147483648", "int32")),
        (lambda n: gs.asarray(np.array([1, 2**63], np.uint64)), ("9223372036854775808", "int64")),
        (lambda n: gs.asarray(1e300, dtype="int64"), ("1e+300", "int64")),
        (lambda n: gs.asarray(2.0**63, dtype="int64"), ("9.2", "int64")),
        (lambda n: n**-1, ("power", "-1", "gs.astype(x, gs.float64)")),
        (lambda n: n**n, ("power", "i32", "gs.astype(x, gs.float64)")),
        (lambda n: 2**n, ("power", "i32")),
        (lambda n: n & 1.5, ("bitwise_and", "integers", "float64")),
        (lambda n: gs.symbol("x") << 1, ("bitwise_left_shift", "integers", "float64")),
        (lambda n: gs.symbol("v", (3,))[gs.symbol("x")], ("index", "integer", "f64")),
        (lambda n: gs.take(gs.symbol("v", (3,)), gs.symbol("x")), ("take", "integer", "f64")),
    ],
)
def test_what_an_integer_cannot_be_is_refused(call: Callable[[gs.Expr], Any], fragments: tuple[str, ...]) -> None:
    with pytest.raises((gs.DTypeError, gs.ShapeError)) as caught:
        call(gs.symbol("n", (), "int32"))
    message = str(caught.value)
    assert all(f in message for f in fragments), message
    assert "test_dtypes.py" in message


def test_dtype_functions_agree_with_numpy() -> None:
    for name in ("float32", "float64"):
        ours, theirs = gs.finfo(name), np.finfo(name)
        assert (ours.bits, ours.dtype) == (theirs.bits, name)
        for field in ("eps", "max", "min", "smallest_normal"):
            assert getattr(ours, field) == float(getattr(theirs, field))
    for name in ("int32", "int64"):
        ours, theirs = gs.iinfo(name), np.iinfo(name)
        assert (ours.bits, ours.max, ours.min, ours.dtype) == (theirs.bits, theirs.max, theirs.min, name)
    for name, kind in itertools.product(NAMES, ("bool", "signed integer", "integral", "real floating", "numeric")):
        assert gs.isdtype(name, kind) == np.isdtype(np.dtype(name), kind)
    assert gs.isdtype("int32", ("bool", "integral"))
    assert not gs.isdtype("float32", gs.float64)
    assert gs.finfo(gs.symbol("x", (), "float32")).bits == 32
    for call, word in ((lambda: gs.finfo("int32"), "gs.iinfo"), (lambda: gs.iinfo("float32"), "gs.finfo")):
        with pytest.raises(gs.DTypeError, match=word):
            call()


def test_creation_functions_and_methods_make_the_dtype_asked_for() -> None:
    x = gs.symbol("x", (2, 2))
    for dtype in NAMES:
        made = [gs.zeros(2, dtype=dtype), gs.ones(2, dtype=dtype), gs.full((2,), 1, dtype=dtype), x.astype(dtype)]
        made += [gs.zeros_like(x, dtype=dtype), gs.arange(3, dtype=dtype), gs.eye(2, dtype=dtype)]
        made += [gs.asarray(x, dtype=dtype), gs.asarray([0, 1], dtype=dtype), gs.linspace(0, 1, 2, dtype=dtype)]
        assert {e.dtype for e in made} == {dtype}
    defaults = gs.arange(3), gs.arange(3.0), gs.full((2,), True), gs.zeros(2)
    assert [e.dtype for e in defaults] == ["int64", "float64", "bool", "float64"]
    assert gs.tril(x.astype("int32")).dtype == "int32"
    n = gs.symbol("n", (3,), "int64")
    for function in (gs.floor, gs.ceil, gs.trunc, gs.round, round):
        assert [function(e).dtype for e in (n, x)] == ["int64", "float64"]
    assert gs.compile(round(gs.symbol("y"), 1))(2.34) == pytest.approx(2.3)
    assert gs.compile(round(gs.symbol("y")))(2.5) == 2.0


# --- values, against NumPy --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """An expression of inputs, numbers for them, and what NumPy makes of these."""

    value: Any
    inputs: tuple[gs.Expr, ...]
    leaves: tuple[np.ndarray, ...]
    want: np.ndarray


A, B = [-7, -1, 0, 3, 5, 12], [3, -2, 1, 4, -5, 7]
TABLE = [[3, -1, 3], [0, 5, -9]]


def made(function: Callable[..., Any], *leaves: np.ndarray, want: Any = None) -> Case:
    """The case of `function` on traced values and, unless `want` does, on NumPy's."""
    inputs = tuple(gs.symbol(f"x{i}", leaf.shape, leaf.dtype.name) for i, leaf in enumerate(leaves))
    return Case(function(*inputs), inputs, leaves, np.asarray(function(*leaves) if want is None else want))


def integer_cases(dtype: str) -> Iterator[tuple[str, Case]]:
    a, b, M = np.array(A, dtype), np.array(B, dtype), np.array(TABLE, dtype)
    p, i, v = np.array(-2, dtype), np.array([4, -1], dtype), np.arange(6) * 1.5
    info = np.iinfo(dtype)
    edge = np.array([info.min, info.min, info.max, info.min + 1], dtype)
    by = np.array([-1, 7, -1, -1], dtype)
    wrapped = np.array([info.min, info.min // 7, -info.max, info.max], dtype)
    divisor = np.array([0, 0, 2, -3, 0, 5], dtype)
    binary: dict[str, Callable[..., Any]] = {
        "+": lambda x, y: x + y, "-": lambda x, y: x - y, "*": lambda x, y: x * y, "//": lambda x, y: x // y,
        "%": lambda x, y: x % y, "divmod": lambda x, y: divmod(x, y)[0] * 100 + divmod(x, y)[1], "/": lambda x, y: x / y,
        "<": lambda x, y: x < y, "<=": lambda x, y: x <= y, ">": lambda x, y: x > y, ">=": lambda x, y: x >= y,
        "==": lambda x, y: x == y, "!=": lambda x, y: x != y,
        "&": lambda x, y: x & y, "|": lambda x, y: x | y, "^": lambda x, y: x ^ y,
        "& and +": lambda x, y: (x & y) + 2, "+ and &": lambda x, y: (x + 2) & y, "| and &": lambda x, y: (x | y) & 7,
        "& or": lambda x, y: x & 6 | y & 3 ^ x, "& <": lambda x, y: (x & y) < 3, "^ *": lambda x, y: (x ^ y) * 2,
        "// //": lambda x, y: x // (y // 2 + 9) // 2, "% %": lambda x, y: -(x % y) % 3, "// *": lambda x, y: (x // y) * 2,
        "<< +": lambda x, y: (x << 2) + y, "- <<": lambda x, y: (x - y) << (y & 3), ">>": lambda x, y: x >> (y & 3),
        "np.bitwise": lambda x, y: np.bitwise_and(x, y) - np.left_shift(np.invert(x), 1),
    }  # fmt: skip
    for name, function in binary.items():
        yield name, made(function, a, b)
    unary: dict[str, Callable[..., Any]] = {
        "neg": lambda x: -x, "pos": lambda x: +x, "abs": lambda x: -abs(x) * 2, "~": lambda x: ~(x + 1) * 2,
        "**0": lambda x: x**0, "**1": lambda x: x**1, "**2": lambda x: x**2, "**5": lambda x: x**5, "**8": lambda x: x**8,
        "0.5*": lambda x: 0.5 * x, "< 2.5": lambda x: x < 2.5, "20 //": lambda x: 20 // (x + 9), "20 %": lambda x: 20 % (x - 13),
        "big": lambda x: x + (info.max - 12), "least": lambda x: np.minimum(x, info.min), "in place": lambda x: _set(x.copy()),
        "np.clip": lambda x: np.clip(x, -2, 4), "flip": lambda x: x[::-1] - x[[0, 0, 1, -1, 2, 3]], "sqrt": lambda x: np.sqrt(x * x),
    }  # fmt: skip
    for name, function in unary.items():
        yield name, made(function, a)
    yield (
        "//0",
        made(lambda x, y: x // y, a, divisor, want=np.where(divisor == 0, 0, a // np.where(divisor, divisor, 1))),
    )
    yield "%0", made(lambda x, y: x % y, a, divisor, want=np.where(divisor == 0, 0, a % np.where(divisor, divisor, 1)))
    if dtype == "int64":
        yield (
            "literals",
            made(lambda x: x * 0 + gs.constant(2000000000) + gs.constant(2000000000), a, want=a * 0 + 4000000000),
        )
        yield "2**53 + 1", made(lambda x: x + 9007199254740993, a)
    yield "least // -1", Case(*_wrapping(edge, by), want=wrapped)
    yield "least, neg", made(lambda x: -x, edge)
    yield "least, abs", made(lambda x: abs(x), edge)
    for name in ("sign", "square", "isnan", "isfinite", "signbit", "sum", "prod", "max", "min", "mean", "var", "argmax",
                 "argmin", "sort", "argsort", "diff", "count_nonzero", "all", "any", "logical_not"):  # fmt: skip
        function = getattr(gs, name)
        reference = getattr(np, name)
        x = b if name in ("prod", "sort", "argsort") else a
        yield name, made(function, x, want=reference(x))
    for name in ("minimum", "maximum", "logical_and", "hypot", "outer"):
        yield name, made(getattr(gs, name), a, b, want=getattr(np, name)(a, b))
    for name, axis in itertools.product(("sum", "max", "argmax", "argmin", "any", "prod", "sort"), (0, 1)):
        yield (
            f"{name} {axis}",
            made(lambda x, f=name, k=axis: getattr(gs, f)(x, axis=k), M, want=getattr(np, name)(M, axis=axis)),
        )
    ranks = np.argsort(M, axis=1, kind="stable")
    yield "argsort rows", made(lambda x: gs.argsort(x, axis=1), M, want=ranks)
    yield "descending", made(lambda x: gs.argsort(x, descending=True), M, want=np.argsort(-M, axis=1, kind="stable"))
    yield "clip", made(lambda x: gs.clip(x, min=-2), a, want=np.clip(a, -2, None))
    yield "cumulative_sum", made(gs.cumulative_sum, a, want=a.cumsum(dtype="int64"))
    yield "cumulative_prod", made(gs.cumulative_prod, b, want=b.cumprod(dtype="int64"))
    yield "searchsorted", made(gs.searchsorted, a, b, want=np.searchsorted(a, b))
    yield (
        "right",
        made(lambda x, y: gs.searchsorted(x, y, side="right"), a, b, want=np.searchsorted(a, b, side="right")),
    )
    yield "where", made(lambda x, y: gs.where(x > y, x, y * 2), a, b, want=np.where(a > b, a, b * 2))
    yield "matmul", made(lambda x: x @ x.T, M)
    yield "x[i]", made(lambda x, k: x[k], v, p)
    yield "n[i]", made(lambda x, k: x[k[0]] + x[k[1]], a, i)
    yield "M[i]", made(lambda x, k: x[k], M, p)
    yield "M[:, i]", made(lambda x, k: x[:, k], M, p)
    yield "take", made(lambda x, k: gs.take(x, k), v, i, want=v[i])
    yield "take rows", made(lambda x, k: gs.take(x, k, axis=1), M, p, want=M[:, p])
    along = np.array([[2, -1], [0, 1]], dtype)
    yield (
        "along",
        made(lambda x, k: gs.take_along_axis(x, k, axis=1), M, along, want=np.take_along_axis(M, along.astype(int), 1)),
    )


def _set(x: Any) -> Any:
    x[0] = 5
    x[1:3] += 2
    return x


def _wrapping(x: np.ndarray, y: np.ndarray) -> tuple[gs.Expr, tuple[gs.Expr, ...], tuple[np.ndarray, ...]]:
    inputs = gs.symbol("x", x.shape, x.dtype.name), gs.symbol("y", y.shape, y.dtype.name)
    return inputs[0] // inputs[1], inputs, (x, y)


def conversion_cases() -> Iterator[tuple[str, Case]]:
    numbers = [-2.75, -1.0, -0.3, 0.0, 0.5, 1.0, 2.999, 1e6]
    for a, b in itertools.product(NAMES, NAMES):
        leaf = np.array(numbers).astype(a)
        yield f"{a} to {b}", made(lambda x, to=b: gs.astype(x, to), leaf, want=leaf.astype(b))
        yield f"{a} to {b} scalar", made(lambda x, to=b: x.astype(to), leaf[6])
        yield f"{a} to {b} inside", made(lambda x, to=b: (gs.astype(x, to) * 2) + 1, leaf, want=leaf.astype(b) * 2 + 1)
    wide = np.array([2.0**53 + 2, -(2.0**62), 16777217.0])
    yield "wide to int64", made(lambda x: x.astype("int64"), wide)
    yield "int64 to float64", made(lambda x: x.astype("float64"), np.array([2**53 + 1, -(2**63), 2**63 - 1]))
    yield "int64 to float32", made(lambda x: x.astype("float32"), np.array([2**24 + 1, -(2**63), 2**63 - 1]))
    flags = np.array([True, False, True])
    yield "~bool", made(lambda x: ~x, flags)
    yield "bool &", made(lambda x: x & True | ~x ^ x, flags)
    yield "sum of bool", made(gs.sum, flags, want=np.int64(2))
    yield "bool + bool", made(lambda x: x + x, flags, want=[2, 0, 2])
    yield "bool * float", made(lambda x: 1.5 * x, flags)


CASES = dict(conversion_cases())
for _dtype in ("int32", "int64"):
    CASES |= {f"{name} {_dtype}": case for name, case in integer_cases(_dtype)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[str, Run]]]:
    """Every case on every target that has its dtypes."""
    compiled: dict[str, dict[str, gs.CompiledFunction]] = {}
    for number, (key, case) in enumerate(CASES.items()):
        narrow = "float32" in {case.value.dtype, *(x.dtype for x in case.inputs)} or "float32" in key
        compiled[key] = {
            t: gs.compile(
                case.value, args=case.inputs, target=t, name=f"f{number}", selftest=False, derivatives="value"
            )
            for t in (TARGETS[1:] if narrow else TARGETS)
        }
    functions = {key: fs["c"] for key, fs in compiled.items()}
    folder = tmp_path_factory.mktemp("dtypes")
    libraries = {c: Library(functions, c, folder, "-O0") for c in COMPILERS}
    return {
        key: [(t, run_python(fs[t])) for t in ("python", "numpy") if t in fs]
        + [(c, lib[key]) for c, lib in libraries.items()]
        for key, fs in compiled.items()
    }


@pytest.mark.parametrize("key", CASES)
def test_values_and_dtypes_are_numpys(key: str, runs: dict[str, list[tuple[str, Run]]]) -> None:
    case = CASES[key]
    if not (case.want.dtype.kind == "f" or case.value.dtype == case.want.dtype.name):
        widened = case.want.astype(np.int64)  # sums in the default integer, also of int32, on any platform
        assert case.value.dtype == "int64"
        assert np.array_equal(widened, case.want)
    for target, run in runs[key]:
        if target == "python" and key.split()[0] in UNBOUNDED:
            continue
        (got,) = run("value", case.leaves)
        got = np.asarray(got)
        assert got.dtype.kind == KINDS[case.value.dtype.kind], target
        if target != "python":
            assert got.dtype == case.value.dtype.name, target
        if got.dtype.kind == "f":
            np.testing.assert_allclose(got, case.want, rtol=3e-16 if got.dtype == "float64" else 1e-7, err_msg=target)
        else:
            np.testing.assert_array_equal(got, case.want, err_msg=target)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_least_integer_has_a_negative_in_c(compiler: str, tmp_path: Path) -> None:
    """Itself, as NumPy has it, and without undefined behaviour."""
    lines, tests = ["#include <stdint.h>"], []
    for name in ("int32", "int64"):
        n = gs.symbol("n", (), name)
        f = gs.compile([-n, abs(n), -(n | 1)], args=[n], target="c", name=f"of_{name}", selftest=False)
        f.save(tmp_path)
        lines.append(f'#include "{f.name}.c"')
        least = f"{name.upper()}_MIN"
        tests += [f"    {name}_t y_{name}[3];", f"    of_{name}({least}, y_{name}, y_{name} + 1, y_{name} + 2);"]
        tests.append(
            f"    if (y_{name}[0] != {least} || y_{name}[1] != {least} || y_{name}[2] != {name.upper()}_MAX) return 1;"
        )
    (tmp_path / "all.c").write_text("\n".join([*lines, "int main(void) {", *tests, "    return 0;", "}", ""]))
    options = [
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Werror",
        "-fsanitize=undefined",
        "-fno-sanitize-recover=all",
    ]
    built = subprocess.run(
        [compiler, *options, "all.c", "-o", "all", "-lm"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / "all"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- gradients --------------------------------------------------------------------------------------------------------


def test_no_gradient_flows_through_integers_structurally() -> None:
    x, n = gs.symbol("x"), gs.symbol("n", (), "int64")
    steps = gs.floor(x).astype("int64")
    primal = to_graph([x, n], [x * (steps % n + n // 2).astype("float64")])
    joint = adjoint(primal, primal.inputs[:1])
    made_by_adjoint = [joint.node(k) for k in joint.nodes if k >= len(primal)]
    assert {node.type.dtype.kind for node in made_by_adjoint} <= {"float"}
    assert not any(joint.nodes[c]["dtype"].kind != "float" for c in joint.cotangents.values())
    assert "floor_divide" not in [node.op for node in made_by_adjoint]


@pytest.mark.parametrize("target", TARGETS)
def test_integers_choose_and_count(target: str) -> None:
    x, n = gs.symbol("x"), gs.symbol("n", (), "int64")
    f = gs.compile(gs.where(n > 2, x**2, x) * n, args=[n, x], target=target)
    assert f.value_and_grad(3, 5.0) == (75.0, 30.0)
    assert f.value_and_grad(-2, 5.0) == (-10.0, -2.0)
    for wrt in ("n", ("x", "n"), 0):
        with pytest.raises(gs.DerivativeError, match="argument 'n' is int64, and there is no derivative by integers"):
            gs.compile(x * n, args=[n, x], wrt=wrt, target=target)
    g = gs.compile((x * n).astype("int64"), args=[n, x], target=target)
    assert g.value_and_grad(3, 2.5) == (7, 0.0)


GATHERS: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[int, ...], Any]] = {
    "vector": (lambda x, i: gs.take(x, i), lambda x, i: x[i], (4,), [2, -1, 2, 0]),
    "vector, table of indices": (lambda x, i: gs.take(x, i, axis=0), lambda x, i: x[i], (4,), [[2, -1], [2, -4]]),
    "one of a vector": (lambda x, i: x[i], lambda x, i: x[i], (4,), -2),
    "rows": (lambda x, i: gs.take(x, i, axis=0), lambda x, i: x[i], (3, 2), [1, 1, -3]),
    "a row": (lambda x, i: x[i], lambda x, i: x[i], (3, 2), -1),
    "columns": (lambda x, i: gs.take(x, i, axis=1), lambda x, i: x[:, i], (2, 3), [0, -1, 0, 2]),
    "rank 3": (lambda x, i: gs.take(x, i, axis=1), lambda x, i: x[:, i], (2, 3, 2), [[0, -1], [2, 2]]),
    "along": (
        lambda x, i: gs.take_along_axis(x, i, axis=1),
        lambda x, i: torch.take_along_dim(x, i % 3, 1),
        (2, 3),
        [[2, 2, -1, 0], [1, -3, 1, 1]],
    ),
    "along rank 3": (
        lambda x, i: gs.take_along_axis(x, i, axis=0),
        lambda x, i: torch.take_along_dim(x, i % 2, 0),
        (2, 3, 2),
        [[[1, 0], [-1, -2], [0, 0]]],
    ),
    "two indices": (lambda x, i: x[i[0], i[1]], lambda x, i: x[i[0], i[1]], (3, 4), [-1, 2]),
    "sorted": (lambda x, i: gs.sort(x, axis=-1) * i, lambda x, i: torch.sort(x, stable=True)[0] * i, (3, 4), 2),
}


@pytest.mark.parametrize("target", TARGETS)
def test_gradients_through_run_time_indices_are_torchs(target: str, tmp_path: Path) -> None:
    programs: dict[str, gs.CompiledFunction] = {}
    wanted: dict[str, tuple[tuple[np.ndarray, ...], list[np.ndarray]]] = {}
    for number, (key, dtype) in enumerate(itertools.product(GATHERS, ("int64", "int32"))):
        ours, theirs, shape, where = GATHERS[key]
        point = np.sin(np.arange(np.prod(shape)) * 1.7 + 0.3).reshape(shape)
        indices = np.array(where, dtype)
        x, i = gs.symbol("x", shape), gs.symbol("i", indices.shape, dtype)
        loss = gs.sum(gs.tanh(ours(x, i)) ** 3 * 1.5)
        directional = gs.sum(gradient(loss, [x])[0] * gs.cos(x))  # its gradient is of second order
        tensor = torch.tensor(point, requires_grad=True)
        value = (torch.tanh(theirs(tensor, torch.tensor(indices.astype(np.int64)))) ** 3 * 1.5).sum()
        (first,) = torch.autograd.grad(value, tensor, create_graph=True)
        total = (first * torch.cos(tensor)).sum()
        (second,) = torch.autograd.grad(total, tensor)
        for order, expression, results in ((1, loss, (value, first)), (2, directional, (total, second))):
            name = f"{key} {dtype} {order}"
            programs[name] = gs.compile(
                expression, args=[x, i], target=target, name=f"g{number}_{order}", selftest=False
            )
            wanted[name] = (point, indices), [r.detach().numpy() for r in results]
    library = (
        Library(programs, COMPILERS[0], tmp_path) if target == "c" else {k: run_python(f) for k, f in programs.items()}
    )
    for name, (leaves, results) in wanted.items():
        for got, want in zip(library[name]("value_and_grad", leaves), results, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14, err_msg=name)


# --- networks ---------------------------------------------------------------------------------------------------------

F = torch.nn.functional
CLASS_WEIGHTS = np.array([0.5, 2.0, 1.25])
FOUR, GRID = [2, 0, 1, 2], [[2, 0], [-100, 1], [1, 1]]
#: gs function, torch's, the shape that is differentiated, run-time integers.
LAYERS: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[int, ...], Any]] = {
    "embedding": (lambda w, i: gs.embedding(i, w), lambda w, i: F.embedding(i, w), (5, 2), [[4, 0], [4, 1]]),
    "padding": (
        lambda w, i: gs.embedding(i, w, padding_idx=-1),
        lambda w, i: F.embedding(i, w, padding_idx=-1),
        (5, 2),
        [4, 0, 3],
    ),
    "one_hot": (lambda w, i: gs.one_hot(i, 3) @ w, lambda w, i: F.one_hot(i, 3).double() @ w, (3, 2), FOUR),
    "one class": (gs.cross_entropy, F.cross_entropy, (3,), 1),
    "grid": (gs.cross_entropy, F.cross_entropy, (3, 3, 2), GRID),
}
for _weight, _smooth, _reduction in itertools.product((None, CLASS_WEIGHTS), (0.0, 0.2), ("mean", "sum", "none")):
    _options: dict[str, Any] = {"label_smoothing": _smooth, "reduction": _reduction, "ignore_index": 0}
    LAYERS[f"cross_entropy {_weight} {_smooth} {_reduction}"] = (
        lambda x, t, w=_weight, o=_options: gs.cross_entropy(x, t, weight=w, **o),
        lambda x, t, w=_weight, o=_options: F.cross_entropy(x, t, weight=None if w is None else torch.tensor(w), **o),
        (4, 3),
        FOUR,
    )
for _reduction in ("mean", "none"):
    LAYERS[f"nll_loss {_reduction}"] = (
        lambda x, t, r=_reduction: gs.nll_loss(x, t, CLASS_WEIGHTS, reduction=r),
        lambda x, t, r=_reduction: F.nll_loss(x, t, torch.tensor(CLASS_WEIGHTS), reduction=r),
        (3, 3, 2),
        GRID,
    )


@pytest.mark.parametrize("target", TARGETS)
def test_networks_take_classes_at_run_time(target: str, tmp_path: Path) -> None:
    programs: dict[str, gs.CompiledFunction] = {}
    for number, (key, (ours, _, shape, integers)) in enumerate(LAYERS.items()):
        x, i = gs.symbol("x", shape), gs.symbol("i", np.shape(integers), "int64")
        loss = gs.sum(gs.sin(ours(x, i)))
        programs[key] = gs.compile(loss, args=[x, i], target=target, name=f"n{number}", selftest=False)
    library = (
        Library(programs, COMPILERS[0], tmp_path) if target == "c" else {k: run_python(f) for k, f in programs.items()}
    )
    for key, (_, theirs, shape, integers) in LAYERS.items():
        point = np.cos(np.arange(np.prod(shape)) * 1.3).reshape(shape)
        tensor = torch.tensor(point, requires_grad=True)
        value = torch.sin(theirs(tensor, torch.tensor(integers))).sum()
        value.backward()
        got, slopes = library[key]("value_and_grad", [point, np.array(integers)])
        assert abs(got - value.item()) < 1e-13 * max(1.0, abs(value.item())), key
        np.testing.assert_allclose(slopes, tensor.grad.numpy(), rtol=1e-12, atol=1e-15, err_msg=key)


def test_static_and_run_time_classes_agree() -> None:
    x, t = gs.symbol("x", (4, 3)), gs.symbol("t", (4,), "int64")
    static = gs.compile(gs.cross_entropy(x, gs.asarray(FOUR)), args=[x])  # a constant that was traced is static
    traced = gs.compile(gs.cross_entropy(x, t), args=[x, t])
    point = np.linspace(-800.0, 800.0, 12).reshape(4, 3)
    (a, da), (b, db) = static.value_and_grad(point), traced.value_and_grad(point, FOUR)
    assert a == b
    assert da == db
    with pytest.raises(IndexError):
        traced(point, [0, 1, 2, 3])


# --- arguments of the compiled function -------------------------------------------------------------------------------

FLAG, FLAGS = gs.symbol("b", (), "bool"), gs.symbol("B", (3,), "bool")
SHORT, SHORTS = gs.symbol("p", (), "int32"), gs.symbol("P", (3,), "int32")
LONG, LONGS = gs.symbol("q", (), "int64"), gs.symbol("Q", (3,), "int64")
REAL, REALS = gs.symbol("x"), gs.symbol("X", (3,))
SINGLE, SINGLES = gs.symbol("s", (), "float32"), gs.symbol("S", (3,), "float32")
DOUBLED = {e.name: e * 2 for e in (SHORT, SHORTS, LONG, LONGS, SINGLE, SINGLES)}
CHOSEN, CHOSEN_ROW = gs.where(FLAG, 1.5, 2.5), gs.where(FLAGS, 1, 2)
TAKEN: list[tuple[gs.Expr, gs.Expr, Any, Any]] = [
    *((FLAG, CHOSEN, v, 1.5) for v in (True, np.True_, np.array(True))),
    *((FLAGS, CHOSEN_ROW, v, [1, 2, 1]) for v in ([True, False, True], np.array([True, False] * 3)[:3][::-1])),
    *((e, DOUBLED[e.name], v, 6) for e in (SHORT, LONG) for v in (3, np.int8(3), np.uint64(3), np.int64(3), np.array(3))),
    *((e, DOUBLED[e.name], v, 2) for e in (SHORT, LONG) for v in (True, np.True_)),
    *((e, DOUBLED[e.name], v, [2, 4, 6]) for e in (SHORTS, LONGS) for v in (
        [1, 2, 3], (1, 2, 3), np.arange(1, 4), np.arange(1, 4, dtype=np.int8), np.arange(3, 0, -1)[::-1],
        np.arange(1, 4, dtype=">i8"), np.arange(1, 4, dtype=np.uint64), np.arange(2, 8, 1, dtype=np.int32)[::2] // 2,
        memoryview(np.arange(1, 4)),
    )),
    *((SHORT, DOUBLED["p"], v, 2 * v) for v in (2**30 - 1, -(2**30))),
    *((LONG, DOUBLED["q"], v, 2 * v) for v in (2**62 - 1, -(2**62))),
    *((SINGLE, DOUBLED["s"], v, 3.0) for v in (1.5, np.float32(1.5), np.float64(1.5), np.array(1.5))),
    *((SINGLES, DOUBLED["S"], v, [2.0, 4.0, 6.0]) for v in ([1, 2, 3], np.arange(1.0, 4.0), np.arange(1, 4, dtype="f4"))),
]  # fmt: skip
REFUSED: list[tuple[gs.Expr, Any, str]] = [
    *((FLAG, v, "argument 'b'") for v in (1, 1.0, np.int8(1), "a", None)),
    *((FLAGS, v, "argument 'B'") for v in ([1, 0, 1], np.ones(3, np.uint8), np.ones(3), b"abc", np.ones(2, bool))),
    *((e, v, "argument") for e in (SHORT, LONG) for v in (3.0, 3.5, "3", None, np.float64(3), 1j, [3])),
    *((SHORT, v, "does not fit int32") for v in (2**31, -(2**31) - 1, np.int64(2**40))),
    *((LONG, v, "does not fit int64") for v in (2**63, np.uint64(2**63))),
    *((LONG, v, "argument 'q'") for v in (10**5000, -(10**5000))),  # too many digits to be shown
    *((SHORTS, v, "does not fit int32") for v in ([1, 2, 2**31], np.array([1, 2, -(2**40)]))),
    (LONGS, np.array([1, 2, 2**63], np.uint64), "does not fit int64"),
    *((e, v, "argument") for e in (SHORTS, LONGS) for v in (np.arange(3.0), ["1", "2", "3"], [1, 2, 2**70], [1, [2], 3], [1, 2])),
    (SINGLE, np.float16(1.5), "float16"),
    (SINGLES, np.ones(3, np.float16), "float16"),
    (REAL, np.float16(1.5), "float16"),
    (REALS, np.ones(3, np.float16), "float16"),
]  # fmt: skip


@pytest.fixture(scope="module")
def of_target() -> Callable[[gs.Expr, gs.Expr, str], gs.CompiledFunction]:
    """A program of one argument, compiled once for each target."""
    known: dict[tuple[int, int, str], gs.CompiledFunction] = {}

    def find(argument: gs.Expr, result: gs.Expr, target: str) -> gs.CompiledFunction:
        key = (id(argument), id(result), target)
        if key not in known:
            options: Any = {"derivatives": "value", "selftest": False}
            known[key] = gs.compile(result, args=[argument], target=target, **options)
        return known[key]

    return find


def targets_of(argument: gs.Expr) -> tuple[str, ...]:
    return TARGETS[1:] if argument.dtype == "float32" else TARGETS


def test_arguments_that_fit_are_taken(of_target: Any) -> None:
    for argument, result, value, want in TAKEN:
        for target in targets_of(argument):
            got = np.asarray(of_target(argument, result, target)(value))
            assert np.array_equal(got, want), (target, value, got)
            assert target != "numpy" or got.dtype == result.dtype.name


def test_arguments_that_do_not_fit_are_refused(of_target: Any) -> None:
    results = {"b": CHOSEN, "B": CHOSEN_ROW, "x": REAL * 2, "X": REALS * 2} | DOUBLED
    for argument, value, fragment in REFUSED:
        for target in targets_of(argument):
            with pytest.raises((gs.ArgumentError, gs.ShapeMismatchError)) as caught:
                of_target(argument, results[str(argument.name)], target)(value)
            assert fragment in str(caught.value), (target, value)
            assert argument.name in str(caught.value), (target, value)


def test_without_numpy_the_extension_takes_buffers_of_the_type(tmp_path: Path) -> None:
    f = gs.compile(SHORTS * 2 + gs.astype(FLAGS, "int32"), args=[SHORTS, FLAGS], target="c", derivatives="value")
    code = (
        "import sys, array; sys.modules['numpy'] = None\n"
        f"sys.path.insert(0, {str(Path(f.module.__file__).parent)!r})\n"
        f"import {f.module.__name__} as m\n"
        "flags = memoryview(bytes([1, 0, 1])).cast('?')\n"
        "print(m.f(array.array('i', [1, 2, 3]), flags).tolist())\n"
        "for bad in (array.array('q', [1, 2, 3]), [1, 2, 3], array.array('f', [1, 2, 3])):\n"
        "    try: m.f(bad, flags)\n"
        "    except TypeError as error: print(error)\n"
    )
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0] == "[3, 4, 7]"
    assert len(lines) == 4
    assert all("format 'i'" in line and "numpy would convert it" in line for line in lines[1:])


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_self_tests_of_integer_programs_see_a_wrong_number(target: str, tmp_path: Path) -> None:
    n, b, x = gs.symbol("n", (3,), "int64"), gs.symbol("b", (), "bool"), gs.symbol("x", (4,))
    value = gs.sum(gs.take(x, n) ** 2) * gs.where(b, gs.sum(n // 2 + n % 3), 5) + gs.sum(n * 7)
    f = gs.compile(value, args=[n, b, x], target=target)
    for text, code in ((f.source, 0), (f.source.replace("* 7", "* 8"), 1)):
        f.save(tmp_path)
        path = tmp_path / next(name for name in f.files if not name.endswith(".h"))
        path.write_text(text)
        command = [sys.executable, str(path)]
        if target == "c":
            command = [str(tmp_path / "program")]
            subprocess.run(["gcc", "-DF_SELFTEST", str(path), "-o", command[0], "-lm"], check=True)
        assert subprocess.run(command, capture_output=True, check=False).returncode == code


PICTURED: dict[str, tuple[gs.Expr, list[gs.Expr], dict[str, Any]]] = {
    "choice": (gs.where(FLAG, REAL, REAL * LONG) + LONG // 2 % 3, [FLAG, REAL, LONG], {"b": True, "x": 2.0, "q": 5}),
    "gather": (gs.sum(gs.take(REALS, LONGS) ** 2), [REALS, LONGS], {"X": [1.0, 2.0, 3.0], "Q": [0, -1, 0]}),
    "widths": (gs.sum(gs.tanh(SINGLES) * REALS), [SINGLES, REALS], {"S": [0.1, 0.2, 0.3], "X": [1.0, 2.0, 3.0]}),
    "bits": (REAL * ((LONG & 6) + (LONG << 1) + ~LONG) + REAL.astype("int64"), [REAL, LONG], {"x": 2.5, "q": 5}),
}


@pytest.mark.parametrize("key", PICTURED)
def test_integers_and_widths_are_explained_drawn_and_checked(key: str) -> None:
    value, inputs, at = PICTURED[key]
    f = gs.compile(value, args=inputs, target="numpy")
    assert f.check(n=3).ok
    assert f.debug()(*at.values())[0] == f(*at.values())
    for style in ("text", "markdown", "latex"):
        assert "backward" in f.explain(style, **at).lower()
    for picture in (f.graph.to_dot(), f.graph.to_mermaid(), f.adjoint.to_dot()):
        assert inputs[0].name in picture
    with pytest.raises(gs.TargetError, match=r"target 'javascript' has no (int64|float32).*its types: float64, bool"):
        gs.compile(value, args=inputs, target=Path(__file__).parents[2] / "examples" / "targets" / "javascript")
