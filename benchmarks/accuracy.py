"""How exact each op is, on every target and in both float widths, against mpmath.

    python benchmarks/accuracy.py            # all ops, both widths; writes accuracy.md (needs the test extras)
    python benchmarks/accuracy.py tanh beta  # some ops, on the screen

For each element-wise op the generated code of every target runs at the record's samples and finite edges and on a grid
that is logarithmic in both signs and dense beside 1 and -1. The exact value, its gradient and its second derivative
come from the record's `mp` alone: differences of it in 120 digits or more, never through our derivative rules.

The unit is one ULP: the spacing of floats at the exact result. For derivatives it is the spacing at the scale
`max(|d|, sum over k of |x[k] * (derivative of d by x[k])|)`, so that an error no
larger than that of an operand that is wrong in its last bit counts as one: the error scaled by condition. Results
below the smallest normal number have fewer digits and are listed apart. Points where the exact function has a kink, a
pole or no real value tell nothing and are left out; the conformance tests look at these.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import itertools
import math
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import torch

import gradsmith as gs
from gradsmith.derive.adjoint import gradient
from gradsmith.registry import OPS, Op
from gradsmith.trace import registry_function
from gradsmith.types import Type

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.conformance.harness import ORDERED, Library, compiled, run_python  # noqa: E402

REPORT = Path(__file__).with_name("accuracy.md")
DTYPES = ("float64", "float32")
COMPILERS = ("gcc", "clang")
LIMIT = 2.0  # what a value may be off; beyond it a line of its own says where and by how much

# What is not measured: the numbers next to a number are not a function of reals, `pick` and `astype` move values.
NOT_MEASURED = ("nextafter", "pick", "astype", "where")
# Where mpmath's formula has a value although the op has none.
INSIDE: dict[str, Callable[..., bool]] = {
    # beyond 1e-12, torch's slope is bounded, and so is ours; of a target that is no probability the logarithms cancel
    "binary_cross_entropy": lambda x, t: 1e-12 <= x <= 1.0 - 1e-12 and 0.0 <= t <= 1.0,
    "beta": lambda a, b: all(x > 0.0 or x != math.floor(x) for x in (a, b)),  # a pole over a pole
}
DIRECTION = (1.25, -0.75, 0.5)  # the second derivative is that of the gradient times this

_NEAR_ONE = [1.0 + s * 2.0**-k for k in (2, 4, 7, 11, 16, 23) for s in (-1, 1)]
_DENSE = [10.0**e for e in np.linspace(-3, 3, 49)]
_SPARSE = [1.3 * 10.0**e for e in (*range(-36, -3, 4), *range(4, 37, 4))]
_GRID = [float(np.float32(m)) for m in (*_SPARSE, *_DENSE, *_NEAR_ONE)]
_COARSE = [float(np.float32(m)) for m in (0.01, 0.3, 0.9, 2.5, 7.0, 30.0, 300.0)]
_EXTREME = [float(np.float32(m)) for m in (1e-20, 1e-6, 1e5, 1e20)]


def measured() -> list[str]:
    """The ops with a result of floats of one or more floats."""
    return [
        name
        for name, record in OPS.items()
        if record.kind == "elementwise" and name not in NOT_MEASURED and record.takes in ("float", "number")
        if record.infer(*[Type((), gs.float64)] * (record.arity or 0)).dtype == gs.float64
    ]


def points(record: Op) -> list[tuple[float, ...]]:
    """Samples, finite edges and the grid; all but the first two are numbers of float32."""
    both = [s * m for m in _GRID for s in (1.0, -1.0)]
    coarse = [s * m for m in _COARSE for s in (1.0, -1.0)]
    extreme = [s * m for m in _EXTREME for s in (1.0, -1.0)]
    if record.name in ORDERED:
        rest = [()] if record.arity == 2 else [(0.25,), (2.0,)]
        grid = [(n, x, *more) for n in (1.0, 2.0, 3.0) for x in coarse for more in rest]
    elif record.arity == 1:
        grid = [(x,) for x in both]
    elif record.arity == 2:
        pairs = itertools.chain(
            itertools.product(coarse, coarse), zip(extreme, coarse, strict=False), zip(coarse, extreme, strict=False)
        )
        grid = [(x, float(np.float32(1.1 * y))) for x, y in pairs]
    else:
        grid = [(x, -1.5, 2.5) for x in both]
    own = [tuple(map(float, p)) for p in (*record.samples, *record.edges)]
    inside = INSIDE.get(record.name, lambda *xs: True)
    positive_zero = (tuple(x + 0.0 for x in p) for p in (*own, *grid))  # mpmath has no other
    return [p for p in dict.fromkeys(positive_zero) if all(map(math.isfinite, p)) and inside(*p)]


# --- the exact result -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exact:
    """A number of order 0, 1 or 2 at one point (None where it tells nothing), the scale of its error, its condition."""

    number: Any
    scale: Any
    condition: float = math.nan


class Differences:
    """Partial derivatives of `function` at `at` by nested central differences of one step, each value computed once."""

    def __init__(self, function: Callable[..., Any], at: Sequence[float], dim: Sequence[int]) -> None:
        self._function = function
        self._at = [mp.mpf(x) for x in at]
        self._steps = [(abs(x) or mp.mpf(1)) * mp.mpf(10) ** -18 for x in self._at]
        self._values: dict[tuple[int, ...], Any] = {}
        self.by = dim

    def value(self, offset: tuple[int, ...]) -> Any:
        if offset not in self._values:
            at = [x + k * h for x, k, h in zip(self._at, offset, self._steps, strict=True)]
            y = self._function(*at)
            if isinstance(y, mp.mpc) or not mp.isfinite(y):
                raise ArithmeticError("not a real number")
            self._values[offset] = mp.mpf(y)
        return self._values[offset]

    def partial(self, *by: int) -> Any:
        """The derivative by the operands `by`, each a difference over two steps."""
        total, places = mp.mpf(0), [(1, (0,) * len(self._at))]
        for k in by:
            places = [
                (sign * side, (*o[:k], o[k] + side, *o[k + 1 :])) for sign, o in places for side in (1, -1)
            ]  # a nested difference is a sum with signs
        for sign, offset in places:
            total += sign * self.value(offset)
        for k in by:
            total /= 2 * self._steps[k]
        negligible = mp.mpf(10) ** -24 if 0 in self._at else 0  # beside 0 the step is no part of the operand
        return total if abs(total) > negligible else mp.mpf(0)

    def doubtful(self, number: Any, *by: int) -> bool:
        """Whether the digits of the values were too few for this difference."""
        largest = max(map(abs, self._values.values()))
        noise = largest * mp.mpf(10) ** (4 - mp.mp.dps)
        for k in by:
            noise /= self._steps[k]
        return bool(abs(number) < noise * mp.mpf(10) ** 20)

    def smooth(self) -> bool:
        """Whether the slopes of both sides agree, and so do those of both sides of a step."""
        zero = (0,) * len(self._at)
        for k in self.by:
            side = [tuple(s if i == k else 0 for i in range(len(zero))) for s in (-1, 1)]
            left, right = self.value(zero) - self.value(side[0]), self.value(side[1]) - self.value(zero)
            if max(abs(left), abs(right)) > mp.mpf(10) ** -6 * (abs(self.value(zero)) if self._at[k] else 1):
                return False  # a jump: no slope of a real op is so steep
            if abs(left - right) > mp.mpf(10) ** -6 * max(abs(left), abs(right)):
                if abs(self._at[k]) == 0 and abs(left + right) <= mp.mpf(10) ** -6 * abs(left):
                    return bool(abs(left) < mp.mpf(10) ** -6 * self._steps[k])  # an even function, and not |x|
                return False
        return True


def exact(record: Op, at: Sequence[float]) -> list[list[Exact]] | None:
    """The value, the gradient and the second derivative; None where the function has no real value."""
    dim = [k for k in range(len(at)) if not (k == 0 and record.name in ORDERED)]
    far = max(abs(math.log10(abs(x))) if x else 0.0 for x in at)  # how many digits x + 1 has, and 1 - cos(x) loses
    found = None
    for digits in (120, 400, 1100):
        with mp.workdps(digits + int(4 * far)):
            try:
                found, doubt = _exact(record, at, dim)
            except (ArithmeticError, ValueError, TypeError):
                return None
            if not doubt:
                break
    return found


def _exact(record: Op, at: Sequence[float], dim: Sequence[int]) -> tuple[list[list[Exact]], bool]:
    function = (
        (lambda *xs: getattr(mp, record.mp)(*xs))
        if isinstance(record.mp, str)
        else (
            lambda *xs: record.mp(mp, *xs)  # type: ignore[misc, operator]
        )
    )
    d = Differences(function, at, dim)
    value = d.value((0,) * len(at))
    result = [[Exact(value, abs(value))]]
    try:
        if not d.smooth() or set(record.slope.split(" and ")) == {"0"}:
            raise ArithmeticError("a kink")
        first = {i: d.partial(i) for i in dim}
        second = {(i, j): d.partial(i, j) for i in dim for j in dim if i <= j}
        third = {(i, j, k): d.partial(i, j, k) for i in dim for j in dim for k in dim if i <= j <= k}
    except (ArithmeticError, ValueError):
        nothing = [Exact(None, None)] * len(at)
        return [*result, nothing, nothing], value == 0
    two = lambda *ij: second[tuple(sorted(ij))]
    three = lambda *ijk: third[tuple(sorted(ijk))]
    xs = [abs(mp.mpf(x)) for x in at]
    slopes, curves = [], []
    for i in range(len(at)):
        if i not in dim:
            slopes.append(Exact(None, None))
            curves.append(Exact(None, None))
            continue
        slopes.append(Exact(first[i], max(abs(first[i]), mp.fsum(xs[k] * abs(two(i, k)) for k in dim))))
        parts = [DIRECTION[j] * two(i, j) for j in dim]
        moved = mp.fsum(xs[k] * abs(DIRECTION[j] * three(i, j, k)) for j in dim for k in dim)
        curves.append(Exact(mp.fsum(parts), max(*map(abs, parts), mp.mpf(0), moved)))
    if value:
        condition = mp.fsum(xs[k] * abs(first[k]) for k in dim) / abs(value)
        result = [[Exact(value, abs(value), float(condition))]]
    doubt = value == 0 or any(d.doubtful(first[i], i) for i in dim) or any(d.doubtful(v, *k) for k, v in second.items())
    return [*result, slopes, curves], doubt


def ulps(got: float, want: Exact, dtype: str) -> float:
    """The error in units of the spacing of floats at the scale of what is wanted."""
    info = np.finfo(dtype)
    largest = mp.mpf(float(info.max))
    if abs(want.number) > largest:
        return 0.0 if math.isinf(got) or abs(got) == float(info.max) else math.inf
    if want.scale > largest:
        return 0.0  # beyond the range on the way
    if not math.isfinite(got):
        return math.inf
    exponent = max(int(info.minexp), int(mp.floor(mp.log(want.scale, 2))) if want.scale else -2000)
    return float(abs(mp.mpf(got) - want.number) / mp.mpf(2) ** (exponent - int(info.nmant)))


# --- what is measured -------------------------------------------------------------------------------------------------


@dataclass
class Worst:
    """The largest error so far and where it was."""

    error: float = 0.0
    at: tuple[float, ...] = ()
    got: float = 0.0
    want: float = 0.0
    condition: float = math.nan

    def see(self, error: float, at: tuple[float, ...], got: float, want: Exact) -> None:
        if error > self.error:
            self.error, self.at, self.got, self.want = error, at, got, float(want.number)
            self.condition = want.condition


@dataclass
class Row:
    """One op in one width: who -> the worst errors of value, gradient and second derivative."""

    op: str
    dtype: str
    libm: str = ""
    points: int = 0
    columns: dict[str, list[Worst]] = field(default_factory=dict)
    tiny: dict[str, Worst] = field(default_factory=dict)  # of values below the smallest normal number

    def worst(self, who: str) -> list[Worst]:
        return self.columns.setdefault(who, [Worst(), Worst(), Worst()])

    def see(self, who: str, wanted: Any, got: Any, at: tuple[float, ...]) -> None:
        """Compare the numbers of all orders at one point."""
        smallest = float(np.finfo(self.dtype).tiny)
        for order, (wants, numbers) in enumerate(zip(wanted, got, strict=False)):
            for want, number in zip(wants, numbers, strict=True):
                if want.number is None:
                    continue
                if want.number == 0 or want.scale >= smallest:
                    worst = self.worst(who)[order]
                elif order == 0:
                    worst = self.tiny.setdefault(who, Worst())
                else:
                    continue
                worst.see(ulps(float(number), want, self.dtype), at, float(number), want)


def programs(name: str, dtype: str) -> dict[str, Any]:
    """The op on scalars with its gradient, and the second derivative."""
    record = OPS[name]
    xs = [gs.symbol(f"x{i}") for i in range(record.arity or 0)]
    y = registry_function(name)(*xs)
    total = None
    for slope, weight in zip(gradient(y, xs), DIRECTION, strict=False):
        total = slope * weight if total is None else total + slope * weight
    options: dict[str, Any] = {"dtype": dtype}
    return {
        "first": compiled(y, xs, f"{name}_{dtype}_first", derivatives=("value_and_grad",), **options),
        "second": compiled(total, xs, f"{name}_{dtype}_second", derivatives=("grad",), **options),
    }


def torch_results(record: Op, at: Sequence[tuple[float, ...]], dtype: str) -> list[np.ndarray]:
    """Value, gradient and second derivative of all points at once: arrays of shape (parts, points)."""
    columns = [
        torch.tensor([p[i] for p in at] if len(at) > 1 else at[0][i], dtype=getattr(torch, dtype), requires_grad=True)
        for i in range(len(at[0]))
    ]
    value = getattr(torch, record.torch)(*columns) if isinstance(record.torch, str) else record.torch(torch, *columns)  # type: ignore[misc]
    options: dict[str, Any] = {"create_graph": True, "allow_unused": True, "materialize_grads": True}
    nothing = [torch.zeros_like(c) for c in columns]
    slopes = torch.autograd.grad(value.sum(), columns, **options) if value.requires_grad else nothing
    total = sum((g * w).sum() for g, w in zip(slopes, DIRECTION, strict=False))
    curves = torch.autograd.grad(total, columns, **options) if total.requires_grad else nothing
    return [np.array([np.atleast_1d(part.numpy(force=True)) for part in parts]) for parts in ([value], slopes, curves)]


def libm_name(record: Op) -> str:
    """The function of <math.h> that the C cell is, where it is one."""
    cell = record.cells.get("c")
    found = re.fullmatch(r"([a-z]\w*)\(\{0\}(, \{1\})?\)", cell) if isinstance(cell, str) else None
    return found[1] if found and not found[1].startswith("gs_") else ""


def libm(name: str, arity: int, dtype: str) -> Callable[..., float]:
    """The function as the C library of this machine has it."""
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    function = getattr(library, name + ("f" if dtype == "float32" else ""))
    kind = ctypes.c_float if dtype == "float32" else ctypes.c_double
    function.restype, function.argtypes = kind, [kind] * arity
    return function  # type: ignore[no-any-return]


def measure(names: Sequence[str]) -> list[Row]:
    """All rows, those of float64 first."""
    references = {}
    for name in names:
        start = time.perf_counter()
        at = points(OPS[name])
        references[name] = {p: found for p in at if (found := exact(OPS[name], p)) is not None}
        if (took := time.perf_counter() - start) > 5:
            print(f"  {name}: {len(at)} exact points took {took:.0f} s", file=sys.stderr)
    rows = []
    for dtype in DTYPES:
        built = {f"{n}_{kind}": p for n in names for kind, p in programs(n, dtype).items()}
        functions = {key: p.compiled["c"] for key, p in built.items()}
        with tempfile.TemporaryDirectory() as folder:
            libraries = {c: Library(functions, c, Path(folder)) for c in COMPILERS}
        for name in names:
            runs: dict[str, Any] = {
                target: [run_python(built[f"{name}_{kind}"].compiled[target]) for kind in ("first", "second")]
                for target in ("python", "numpy")
                if target in built[f"{name}_first"].compiled
            }
            runs |= {c: [library[f"{name}_{kind}"] for kind in ("first", "second")] for c, library in libraries.items()}
            rows.append(row(OPS[name], dtype, references[name], runs))
    return rows


def row(record: Op, dtype: str, references: dict[tuple[float, ...], Any], runs: dict[str, Any]) -> Row:
    """One op in one width on every target, and torch and the C library beside it."""
    found = Row(record.name, dtype, libm_name(record))
    with np.errstate(over="ignore"):
        at = [p for p in references if all(float(np.dtype(dtype).type(x)) == x for x in p)]
    found.points = len(at)
    for who, (first, second) in runs.items():
        for p in at:
            value, *slopes = first("value_and_grad", p)
            found.see(who, references[p], [[value], slopes, second("grad", p)], p)
    if at:
        groups = [[p] for p in at] if record.name in ORDERED else [at]  # torch's orders are Python's ints
        for group in groups:
            results = torch_results(record, group, dtype)
            for k, p in enumerate(group):
                found.see("torch", references[p], [part[:, k] for part in results], p)
    if found.libm:
        function = libm(found.libm, record.arity or 0, dtype)
        for p in at:
            found.see("libm", references[p][:1], [[function(*p)]], p)
    return found


# --- the report -------------------------------------------------------------------------------------------------------


def shown(error: float) -> str:
    """Two digits, as few characters as they need."""
    return (
        "∞"
        if math.isinf(error)
        else f"{error:.1f}"
        if error < 99.95
        else f"{error:.1e}".replace("e+0", "e").replace("e+", "e")
    )


def report(rows: Sequence[Row]) -> Iterator[str]:
    yield "# How exact each op is\n"
    yield (
        "Written by `python benchmarks/accuracy.py`, whose head says what is measured. A cell has the worst error in\n"
        "ULP of value / gradient / second derivative over all points; those of derivatives are scaled by condition.\n"
        "∞: a number was expected and an infinity or NaN came, or the other way round. `libm` is the function of the\n"
        "C library that C's code calls directly, with its own error.\n"
    )
    versions = f"NumPy {np.__version__}, torch {torch.__version__}, mpmath {mp.__version__}"
    yield f"Measured on {platform.machine()}, {' '.join(platform.libc_ver())}, {versions}.\n"
    for dtype in DTYPES:
        mine = [r for r in rows if r.dtype == dtype]
        whos = [w for w in ("python", "numpy", "gcc", "clang") if any(w in r.columns for r in mine)]
        yield f"## {dtype}\n"
        yield from summary(mine, whos)
        heads = [{"gcc": "C, gcc", "clang": "C, clang"}.get(w, w) for w in whos]
        yield "| op | points | " + " | ".join(heads) + " | torch | libm |"
        yield "|---|---:|" + "---|" * (len(whos) + 2)
        for r in mine:
            cells = [
                " / ".join(shown(w.error) for w in r.columns[who]) if who in r.columns else ""
                for who in (*whos, "torch")
            ]
            library = f"`{r.libm}` {shown(r.columns['libm'][0].error)}" if "libm" in r.columns else ""
            yield f"| {r.op} | {r.points} | " + " | ".join(cells) + f" | {library} |"
        yield ""
        yield from outliers(mine, whos)


def summary(rows: Sequence[Row], whos: Sequence[str]) -> Iterator[str]:
    """How many ops are within the limit."""
    for i, (quantity, limit) in enumerate((("value", LIMIT), ("gradient", 16.0), ("second derivative", 16.0))):
        worst = {r.op: max(r.columns[w][i].error for w in whos if w in r.columns) for r in rows}
        theirs = {r.op: r.columns["torch"][i].error for r in rows if "torch" in r.columns}
        within = sum(e <= limit for e in worst.values())
        yield (
            f"- {quantity}: within {limit:g} ULP on every target for {within} of {len(worst)} ops "
            f"(torch: {sum(e <= limit for e in theirs.values())})"
        )
    yield ""


def outliers(rows: Sequence[Row], whos: Sequence[str]) -> Iterator[str]:
    """The values that are off by more than the limit, each op at its worst point."""
    lists = {
        f"Values off by more than {LIMIT:g} ULP, each op at its worst point": lambda row, who: row.columns[who][0],
        "The same below the smallest normal number": lambda row, who: row.tiny.get(who, Worst()),
    }
    for head, pick in lists.items():
        found = []
        for r in rows:
            mine = {who: pick(r, who) for who in (*whos, "torch", "libm") if who in r.columns}
            over = [who for who in whos if who in mine and mine[who].error > LIMIT]
            if over:
                found.append((r.op, over, max((mine[who] for who in over), key=lambda w: w.error), mine))
        if not found:
            continue
        yield f"{head}. The condition is that of the value: near a root it is large.\n"
        yield "| op | targets | ULP | condition | at | ours | exact | torch's worst | libm's worst |"
        yield "|---|---|---:|---:|---|---|---|---:|---:|"
        for op, over, w, mine in sorted(found, key=lambda f: -f[2].error):
            at = ", ".join(map(repr, w.at))
            beside = [shown(mine[who].error) if who in mine else "" for who in ("torch", "libm")]
            condition = "" if math.isnan(w.condition) else f"{w.condition:.2g}"
            cells = [op, ", ".join(over), shown(w.error), condition, at, repr(w.got), repr(w.want), *beside]
            yield "| " + " | ".join(cells) + " |"
        yield ""


def main() -> None:
    chosen = sys.argv[1:]
    text = "\n".join(report(measure(chosen or measured())))
    if chosen:
        print(text)
        return
    REPORT.write_text(text.rstrip() + "\n", encoding="utf-8")
    print(f"wrote {REPORT}")


if __name__ == "__main__":
    main()
