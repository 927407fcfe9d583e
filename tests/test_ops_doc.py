"""docs/ops.md is what the records say, and each of its rows is true: every number is computed again, another way."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import sympy as sp

import gradsmith as gs
from gradsmith.registry import OPS, Op

torch = pytest.importorskip("torch")

from tests.conformance import harness  # noqa: E402
from tests.conformance.test_ops import exactly, rather  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
NAN, INF = math.nan, math.inf


def _tool() -> Any:
    spec = importlib.util.spec_from_file_location("ops_reference", ROOT / "tools/ops_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


tool = _tool()
TEXT = (ROOT / "docs/ops.md").read_text(encoding="utf-8")
SCALAR = [name for name, record in OPS.items() if tool.scalar(record)]
ARRAYS = [name for name, record in OPS.items() if not tool.scalar(record) and name not in tool.INNER]


def test_the_page_is_what_the_generator_gives() -> None:
    """In this process, whose hash seed is another one than that of the process that wrote the page."""
    remedy = "docs/ops.md is not what the records give; remedy: run `python tools/ops_reference.py` and commit it"
    assert tool.page() == TEXT, remedy


@functools.cache
def _compiled(name: str, target: str = "numpy") -> gs.CompiledFunction:
    return tool.compiled(OPS[name], target)


# --- rows ------------------------------------------------------------------------------------------------------------


def _rows(count: int) -> Iterator[list[str]]:
    """The cells of each row of the tables with `count` columns."""
    for line in TEXT.splitlines():
        if line.startswith("| ") and not line.startswith(("| op |", "| call |", "| function |")):
            cells = [cell.replace("\\|", "|") for cell in re.split(r" (?<!\\)\| ", line[2:-2])]
            if len(cells) == count:
                yield cells


def _row_of(record: Op) -> list[str]:
    """The row of a scalar op: op, formula, domain, derivative, cost, targets."""
    return next(cells for cells in _rows(6) if cells[0] == tool.names(record))


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.strip("()").split(", ")]


def _agrees(got: float, want: float) -> bool:
    """Whether a number of six digits is `want`."""
    if math.isnan(want) or math.isinf(want) or want == 0.0:
        return math.isnan(got) if math.isnan(want) else got == want
    return abs(got - want) <= 6e-6 * abs(want)


def _torch(record: Op, at: list[float]) -> tuple[float, list[float]]:
    """Value and gradient by torch."""
    xs = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in at]
    y = getattr(torch, record.torch)(*xs) if isinstance(record.torch, str) else record.torch(torch, *xs)  # type: ignore[misc]
    slopes = [torch.tensor(0.0)] * len(xs)
    if y.requires_grad:
        slopes = torch.autograd.grad(y, xs, allow_unused=True, materialize_grads=True)
    return y.item(), [g.item() for g in slopes]


@pytest.mark.parametrize("name", [n for n in SCALAR if OPS[n].edges])
def test_edges(name: str) -> None:
    """What stands there is what the NumPy code returns, and what torch does, or mpmath where torch is wrong."""
    record = OPS[name]
    line = next(line for line in TEXT.splitlines() if line.startswith(f"- `{name}`: `"))
    found = re.findall(r"`([^`]*)` → (\S+), slope (\([^)]*\)|[^;]+?)(?:;|\.(?= |$))", line)
    assert len(found) == len(record.edges)
    f = _compiled(record.name)
    for point, value, slopes in found:
        at = _numbers(point)
        here = tool.place(f, at)
        theirs, gradient = _torch(record, at)
        stated = [float(value), *_numbers(slopes)]
        for i, (text, ours, other) in enumerate(
            zip(stated, [here.value, *here.slopes], [theirs, *gradient], strict=True)
        ):
            assert _agrees(text, ours), f"{name}({point}): {text} is not {ours}"
            if not _agrees(text, other):
                exact = rather(name, min(i, 1), tuple(at), max(i - 1, 0))
                assert exact is not None, f"{name}({point}): torch says {other}"
                assert _agrees(text, float(exact)), f"{name}({point}): {text} is not {exact}"


@pytest.mark.parametrize("name", [n for n in SCALAR if OPS[n].sympy is not None])
def test_formula(name: str) -> None:
    """Read back and evaluated by SymPy at the samples, it is the op."""
    record = OPS[name]
    symbols = {n: sp.Symbol(n, real=True) for n in (*tool.operands(record), "t", "_t")}
    read = sp.sympify(_row_of(record)[1].strip("`"), locals=symbols)
    for sample in record.samples:
        at = {symbols[n]: sp.Rational(x) for n, x in zip(tool.operands(record), map(float, sample), strict=True)}
        got, want = read.subs(at).evalf(20), float(record.evaluate(*map(np.float64, sample)))
        assert float(got) == pytest.approx(want, rel=1e-9), f"{name}{sample}"


#: What a cell of the column "domain" means. (`n` is taken to be an order.)
_NO_POLE = lambda x: x > 0 or x != math.floor(x)
DOMAINS: dict[str, Callable[..., bool]] = {
    "x > 0": lambda x: x > 0,
    "x > -1": lambda x: x > -1,
    "x > 1": lambda x: x > 1,
    "x < 0": lambda x: x < 0,
    "x >= 0": lambda x: x >= 0,
    "x >= 1": lambda x: x >= 1,
    "x >= -1": lambda x: x >= -1,
    "x != 0": lambda x: x != 0,
    "-1 <= x <= 1": lambda x: -1 <= x <= 1,
    "-1 < x < 1": lambda x: -1 < x < 1,
    "0 < x < 1": lambda x: 0 < x < 1,
    "0 < x < 2": lambda x: 0 < x < 2,
    "x != -1 and x != 1": lambda x: abs(x) != 1,
    "x != 0, -1, -2, …": _NO_POLE,
    "y != 0": lambda x, y: y != 0,
    "y > 0": lambda x, y: y > 0,
    "y > 0 or x = 0": lambda x, y: y > 0 or x == 0,
    "y > -1": lambda x, y: y > -1,
    "y > -1 or x = 0": lambda x, y: y > -1 or x == 0,
    "0 <= x <= 1": lambda x, t: 0 <= x <= 1,
    "x > 0, or y an integer and x != 0, or x = 0 and y >= 0": lambda x, y: (
        x > 0 or (y == math.floor(y) if x != 0 else y >= 0)
    ),
    "none of a, b and a + b one of 0, -1, -2, …": lambda a, b: all(map(_NO_POLE, (a, b, a + b))),
    "n = 0, 1, 2, …": lambda n, x: True,
    "n = 1, 2, 3, …": lambda n, x: True,
    "n = 0, 1, 2, …, x != 0, -1, -2, …": lambda n, x: _NO_POLE(x),
    "n = 1, 2, 3, …, neither x nor x + h one of 0, -1, -2, …": lambda n, x, h: _NO_POLE(x) and _NO_POLE(x + h),
}
PROBES = (-3.0, -2.625, -2.0, -1.3125, -1.0, -0.375, 0.0, 0.3125, 1.0, 1.6875, 2.0, 3.125, 6.0)  # their sums are exact


@pytest.mark.parametrize("name", SCALAR)
def test_domain(name: str) -> None:
    """Inside the result of the NumPy code is finite, outside it is not."""
    record = OPS[name]
    text = _row_of(record)[2]
    inside = (lambda *xs: True) if text.startswith("all ") else DOMAINS[text]
    f = _compiled(record.name)
    for at in itertools.product(*((1.0, 2.0) if n == "n" else PROBES for n in tool.operands(record))):
        assert bool(np.isfinite(f(*at))) == inside(*at), f"{name}{at} = {f(*at)}, but the domain is {text!r}"


# --- derivatives -----------------------------------------------------------------------------------------------------

_NAMES: dict[str, Any] = {
    **{n: (lambda *xs, n=n: exactly(OPS[n], *xs)) for n in SCALAR},
    "pi": mp.pi,
    "sech": mp.sech,
    "σ": lambda x: 1 / (1 + mp.exp(-x)),
    "Φ": mp.ncdf,
}
#: Slopes that are words.
IN_WORDS = ("minimum", "maximum", "clip", "relu")


@pytest.mark.parametrize("name", [n for n in SCALAR if OPS[n].slope])
def test_derivative(name: str) -> None:
    """Read as a formula, with ops by their names, it is the gradient of the NumPy code at the samples."""
    record = OPS[name]
    text = re.sub(r", (computed|the sum|for x|by its|without|0 at).*", "", _row_of(record)[3].strip("`"))
    text = re.sub(r"\|(\w)\|", r"abs(\1)", text).replace("^", "**")
    parts = re.split(r",? and |, (?=polygamma_difference\()", text)
    if name in IN_WORDS:
        return
    f = _compiled(record.name)
    for sample in record.samples:
        at = list(map(float, sample))
        names = dict(zip(tool.operands(record), map(mp.mpf, at), strict=True))
        for part, slope in zip(parts, tool.place(f, at).slopes, strict=True):
            if part not in ("none", "the same in b"):
                with mp.workdps(40):
                    want = float(mp.re(eval(part, _NAMES | names)))  # the texts are ours
                assert slope == pytest.approx(want, rel=1e-11, abs=1e-300), f"{name}{at}: {part}"


# --- ties and kinks --------------------------------------------------------------------------------------------------

F = torch.nn.functional
THEIRS: dict[str, Callable[..., Any]] = {
    "leaky_relu(x)": F.leaky_relu,
    "elu(x, 2)": lambda x: F.elu(x, 2.0),
    "selu(x)": F.selu,
    "hardtanh(x)": F.hardtanh,
    "relu6(x)": F.relu6,
    "hardsigmoid(x)": F.hardsigmoid,
    "hardswish(x)": F.hardswish,
    "clip(x, -1, 1)": lambda x: torch.clip(x, -1.0, 1.0),
    "l1_loss(x, 0)": lambda x: F.l1_loss(x, torch.zeros(())),
    "where(x > 0, x, 0)": lambda x: torch.where(x > 0.0, x, 0.0),
    "max(x)": torch.amax,
    "min(x)": torch.amin,
    "prod(x)": torch.prod,
    "max_pool1d(x, 3)": lambda x: F.max_pool1d(x[None], 3)[0, 0],
    "sort(x)[0]": lambda x: torch.sort(x, stable=True)[0][0],
    "x[argmax(x)]": lambda x: x[torch.argmax(x)],
    "logsumexp(x)": lambda x: torch.logsumexp(x, 0),
    "std(x)": lambda x: torch.std(x, correction=0),
    "vector_norm(x)": torch.linalg.vector_norm,
    "vector_norm(x, ord=1)": lambda x: torch.linalg.vector_norm(x, ord=1),
    "vector_norm(x, ord=inf)": lambda x: torch.linalg.vector_norm(x, ord=math.inf),
}
#: Where torch gives NaN; the notes of these ops say so.
THEIRS_IS_NAN = {"hypot(x, y)": "hypot", "logsumexp(x)": "logsumexp"}


def test_every_kink_is_torchs() -> None:
    rows = list(_rows(6))
    kinks = [cells for cells in rows if " (along " in cells[1]]
    assert len(kinks) > 40
    for call, where, values, left, here, right in kinks:
        point, _, name = where.rstrip(")").partition(" (along ")
        at, call = _numbers(point), call.strip("`")
        record = OPS.get(call.partition("(")[0])
        if call in THEIRS:
            record = None
            x = torch.tensor(at[0], dtype=torch.float64, requires_grad=True)
            y = THEIRS[call](x)
            value, slopes = y.item(), [torch.autograd.grad(y, x)[0].item()]
            f = gs.compile(tool.PIECEWISE[call][0](gs.symbol("x")), target="numpy", selftest=False)
            k = 0
        else:
            assert record is not None
            value, slopes = _torch(record, at)
            f = _compiled(record.name)
            k = tool.operands(record).index(name)
        stated, theirs = [_numbers(values)[1], *_numbers(here)], [value, *slopes]
        if call in THEIRS_IS_NAN:
            assert any(map(math.isnan, theirs)), f"torch has a slope at {call}, {where}: take it from the table"
            assert "torch gives NaN" in str(OPS[THEIRS_IS_NAN[call]].edge_notes)
        else:
            assert stated == pytest.approx(theirs, abs=1e-5), f"{call} at {where}"
        for step, text, stated_value in ((-1, left, _numbers(values)[0]), (1, right, _numbers(values)[2])):
            beside = [x + (step * 2.0**-32 * max(1.0, abs(x)) if i == k else 0.0) for i, x in enumerate(at)]
            found = tool.place(f, beside)
            assert _numbers(text) == pytest.approx(list(found.slopes), abs=1e-5)
            assert stated_value == pytest.approx(found.value, abs=1e-5)


def test_every_tie_is_torchs() -> None:
    rows = [cells for cells in _rows(4) if cells[0].strip("`") in tool.TIES]
    assert [cells[0].strip("`") for cells in rows] == list(tool.TIES)
    for call, point, value, gradient in rows:
        call = call.strip("`")
        x = torch.tensor(_numbers(point), dtype=torch.float64, requires_grad=True)
        y = THEIRS[call](x)
        assert float(value) == y.item()
        theirs = torch.autograd.grad(y, x)[0].tolist()
        if call in THEIRS_IS_NAN:
            assert all(map(math.isnan, theirs)), f"torch has a gradient at {call}: take it from the table"
            assert "torch gives NaN" in str(OPS[THEIRS_IS_NAN[call]].edge_notes)
        else:
            assert _numbers(gradient) == theirs, call


# --- notes -----------------------------------------------------------------------------------------------------------

#: (op, where) -> points with the value and the slopes that the note means; None: not said. `ALMOST` marks a note about
#: errors, which the conformance tests and benchmarks/accuracy.py measure.
ALMOST: list[tuple[tuple[float, ...], float | None, tuple[float | None, ...]]] = []
HALVES = (0.5, 0.5)
NOTES: dict[tuple[str, str], list[tuple[tuple[float, ...], float | None, tuple[float | None, ...]]]] = {
    ("log", "x = 0"): [((0.0,), -INF, (INF,))],
    ("log", "x < 0"): [((-4.0,), NAN, (-0.25,))],
    ("log1p", "x = -1"): [((-1.0,), -INF, (INF,))],
    ("log1p", "x < -1"): [((-5.0,), NAN, (-0.25,))],
    ("sqrt", "x = 0"): [((0.0,), 0.0, (INF,))],
    ("sqrt", "x < 0"): [((-4.0,), NAN, (NAN,))],
    ("asin", "|x| = 1"): [((1.0,), None, (INF,)), ((-1.0,), None, (INF,))],
    ("asin", "|x| > 1"): [((1.5,), NAN, (NAN,)), ((-1.5,), NAN, (NAN,))],
    ("acos", "|x| = 1"): [((1.0,), 0.0, (-INF,)), ((-1.0,), None, (-INF,))],
    ("acos", "|x| > 1"): [((1.5,), NAN, (NAN,)), ((-1.5,), NAN, (NAN,))],
    ("tanh", "|x| > 373"): [((374.0,), 1.0, (0.0,)), ((-374.0,), -1.0, (0.0,))],
    ("minimum", "x = y"): [((3.0, 3.0), 3.0, HALVES)],
    ("maximum", "x = y"): [((3.0, 3.0), 3.0, HALVES)],
    ("clip", "x at a bound"): [((0.0, 0.0, 2.0), 0.0, (1.0, 0.0, 0.0)), ((2.0, 0.0, 2.0), 2.0, (1.0, 0.0, 0.0))],
    ("floor", "every x"): [((1.0,), 1.0, (0.0,)), ((1.5,), 1.0, (0.0,))],
    ("div", "y = 0"): [
        ((2.0, 0.0), INF, (None, None)), ((2.0, -0.0), -INF, (None, None)), ((-2.0, 0.0), -INF, (None, None)),
        ((0.0, 0.0), NAN, (None, None)),
    ],
    ("abs", "x = 0"): [((0.0,), 0.0, (0.0,)), ((-0.0,), 0.0, (0.0,))],
    ("sign", "x = 0"): [((0.0,), 0.0, (0.0,))],
    ("pow", "x**0"): [((0.0, 0.0), 1.0, (0.0, None)), ((-3.0, 0.0), 1.0, (0.0, None)), ((INF, 0.0), 1.0, (0.0, None))],
    ("pow", "x = 0, y >= 0"): [((0.0, 2.0), 0.0, (0.0, 0.0)), ((0.0, 0.0), 1.0, (0.0, 0.0))],
    ("reciprocal", "x = 0"): [((0.0,), INF, (-INF,)), ((-0.0,), -INF, (-INF,))],
    ("ceil", "every x"): [((1.0,), 1.0, (0.0,)), ((1.5,), 2.0, (0.0,))],
    ("trunc", "every x"): [((1.0,), 1.0, (0.0,)), ((-1.5,), -1.0, (0.0,))],
    ("round", "every x"): [((1.0,), 1.0, (0.0,)), ((1.2,), 1.0, (0.0,))],
    ("round", "x halfway"): [((0.5,), 0.0, (0.0,)), ((1.5,), 2.0, (0.0,)), ((-2.5,), -2.0, (0.0,))],
    ("remainder", "x a multiple of y"): [((6.0, 2.0), 0.0, (1.0, -3.0))],
    ("remainder", "y = 0"): [((6.0, 0.0), NAN, (None, None))],
    ("remainder", "y infinite"): [((5.0, INF), 5.0, (1.0, None)), ((-5.0, INF), INF, (1.0, None))],
    ("floor_divide", "y = 0"): [
        ((2.0, 0.0), INF, (0.0, 0.0)), ((-2.0, 0.0), -INF, (0.0, 0.0)), ((0.0, 0.0), NAN, (0.0, 0.0)),
    ],
    ("floor_divide", "every x, y"): [((7.0, 2.0), 3.0, (0.0, 0.0)), ((6.0, 2.0), 3.0, (0.0, 0.0))],
    ("relu", "x = 0"): [((0.0,), 0.0, (0.0,))],
    ("softplus", "x > 20"): [((25.0,), 25.000000000013888, (None,))],
    ("gelu", "x = -inf"): [((-INF,), 0.0, (0.0,))],
    ("gelu", "x << 0"): [((-20.0,), -5.507248237212467e-88, (None,))],
    ("silu", "x = -inf"): [((-INF,), 0.0, (0.0,))],
    ("mish", "x = -inf"): [((-INF,), 0.0, (0.0,))],
    ("softsign", "x = inf, -inf"): [((INF,), 1.0, (0.0,)), ((-INF,), -1.0, (0.0,))],
    ("tanhshrink", "|x| << 1"): [((3e-8,), 9e-24, (9e-16,))],
    ("copysign", "y = 0"): [((2.0, -0.0), -2.0, (-1.0, 0.0)), ((2.0, 0.0), 2.0, (1.0, 0.0))],
    ("copysign", "x = 0"): [((0.0, 1.0), 0.0, (0.0, 0.0))],
    ("hypot", "x = y = 0"): [((0.0, 0.0), 0.0, (0.0, 0.0))],
    ("hypot_slope", "x = y = 0"): [((0.0, 0.0), 0.0, (0.0, 0.0))],
    ("atan2", "y = 0, x < 0"): [((0.0, -1.0), math.pi, (None, None)), ((-0.0, -1.0), -math.pi, (None, None))],
    ("atan2", "x = y = 0"): [((0.0, 0.0), 0.0, (0.0, 0.0))],
    ("acosh", "x = 1"): [((1.0,), 0.0, (INF,))],
    ("acosh", "x < 1"): [((0.5,), NAN, (NAN,)), ((-1.5,), NAN, (NAN,))],
    ("atanh", "|x| > 1"): [((3.0,), NAN, (-0.125,))],
    ("logaddexp", "both inf or both -inf"): [((INF, INF), INF, HALVES), ((-INF, -INF), -INF, HALVES)],
    ("binary_cross_entropy", "x = 0, x = 1"): [((0.0, 1.0), 100.0, (None, None)), ((1.0, 0.0), 100.0, (None, None))],
    ("xlogy", "x = 0"): [((0.0, 2.0), 0.0, (math.log(2.0), 0.0)), ((0.0, -2.0), 0.0, (0.0, 0.0))],
    ("xlogy", "y < 0"): [((1.0, -2.0), NAN, (None, None))],
    ("xlog1py", "x = 0"): [((0.0, 2.0), 0.0, (math.log(3.0), 0.0)), ((0.0, -3.0), 0.0, (0.0, 0.0))],
    ("xlog1py", "y < -1"): [((1.0, -2.0), NAN, (None, None))],
    ("sinc", "x infinite"): [((INF,), 0.0, (None,)), ((-INF,), 0.0, (None,))],
    ("i0e", "x = 0"): [((0.0,), 1.0, (0.0,))],
    ("digamma", "x = 0"): [((0.0,), -INF, (None,)), ((-0.0,), INF, (None,))],
    ("digamma", "x = -1, -2, ..."): [((-1.0,), NAN, (None,)), ((-2.0,), NAN, (None,))],
    ("xlogx", "x = 0"): [((0.0,), 0.0, (0.0,))],
    **{(f"{n}_over_x", "x = 0"): [((0.0,), 1.0, (s,))] for n, s in
       (("sin", 0.0), ("tanh", 0.0), ("expm1", 0.5), ("sinh", 0.0))},
    **{(f"x_over_{n}", "x = 0"): [((0.0,), 1.0, (s,))] for n, s in
       (("sin", 0.0), ("tanh", 0.0), ("expm1", -0.5), ("sinh", 0.0))},
    **{(n, "x near a root"): ALMOST for n in ("j0", "j1", "y0", "y1")},
    ("lgamma", "x near a root below 0"): ALMOST,
    ("digamma", "x near a root below 0"): ALMOST,
    ("polygamma", "x near a root below 0"): ALMOST,
    ("gamma", "x < -18"): ALMOST,
    ("beta", "a or b below 0"): ALMOST,
}  # fmt: skip


def test_every_note_of_a_scalar_op_is_executed() -> None:
    noted = {(name, where) for name in SCALAR for where in OPS[name].edge_notes}
    assert noted == set(NOTES)
    assert all(f"*{where}*: {OPS[name].edge_notes[where]}." in TEXT for name, where in noted)


@pytest.mark.parametrize(("name", "where"), [key for key, claims in NOTES.items() if claims])
@pytest.mark.parametrize("target", ["python", "numpy"])
def test_note(name: str, where: str, target: str) -> None:
    f = _compiled(name, target)
    for at, value, slopes in NOTES[name, where]:
        found = tool.place(f, at)
        for got, want in zip((found.value, *found.slopes), (value, *slopes), strict=True):
            assert want is None or got == pytest.approx(want, rel=1e-12, abs=0.0, nan_ok=True), f"{name}{at}: {found}"


# --- ops of arrays and compositions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARRAYS)
def test_array_op(name: str) -> None:
    """The example whose cost the row gives: the NumPy code returns what torch does."""
    record = OPS[name]
    xs, y, arrays = tool.example(record)
    f = gs.compile(y, args=xs, target="numpy", derivatives=("value",), selftest=False)
    tensors = [harness.as_tensor(f.graph, k, a) for k, a in zip(f.graph.inputs, arrays, strict=True)]
    want = harness.evaluate_torch(f.graph, tensors)[f.graph.outputs[0]].detach().numpy()
    # elements of singular vectors, say, have the digits of the largest one
    atol = 1e-14 * np.abs(want).max(initial=0.0, where=np.isfinite(want)) if record.kind == "kernel" else 0.0
    np.testing.assert_allclose(np.asarray(f(*arrays), dtype=want.dtype), want, rtol=1e-13, atol=atol)
    cost = next(cells[3] for cells in _rows(5) if cells[0] == tool.names(record))
    assert cost.rpartition(": ")[2] == tool.counted(f.cost.value)


def test_every_public_function_is_on_the_page() -> None:
    for name, value in vars(gs).items():
        module = getattr(value, "__module__", None) or ""
        if (
            callable(value)
            and module.startswith("gradsmith.ops.")
            and not name.startswith("_")
            and not isinstance(value, type)
        ):
            assert f"`gs.{name}(" in TEXT or f"`gs.{name}`" in TEXT, name
