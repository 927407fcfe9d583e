"""Every op, on every target: value, gradient and second derivative equal torch's, at the record's samples and edges.

The second derivative of scalars, that is: of arrays it is one graph for all targets, which take turns at writing it. And
value and gradient of one target are those of the others to a few units in the last place (docs/contract.md), also at
random points around the samples.

The ops are discovered in the op table. A record without samples or without a torch reference fails the suite.
Where our derivative is better than torch's, the reference is the exact one: two tables below say where and why, and a
test holds them to be true.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.derive.adjoint import gradient
from gradsmith.graph import Graph
from gradsmith.ops.correlations import CORRELATIONS
from gradsmith.ops.lapack import LAPACK
from gradsmith.ops.products import PRODUCTS
from gradsmith.registry import OPS, Op
from gradsmith.trace import registry_function

from . import harness
from .harness import Program, Reference, Runners, compiled, contracted, distance

NOT_ALONE = {
    "input",
    "constant",
    "element",
    "iota",
    "size",
    "pick",
    "custom",
    "astype",
    *(row.call.op.name for row in LAPACK.values()),  # the same by a library: test_lapack
    *(row.op.name for row in PRODUCTS),  # matmul by kernels: test_contractions
    *(row.op.name for row in CORRELATIONS),  # conv by kernels: test_convolutions
    *("lu", "lu_solve"),  # how `solve` and others are written without a library; no derivative goes through them
    *("scan", "while_loop", "cond", "part"),  # their bodies are graphs: test_control
}  # leaves, how scalar code reads arrays, see test_dtypes
NAMES = [name for name, op in OPS.items() if name not in NOT_ALONE and op.takes != "integers"]  # those: test_dtypes
ELEMENTWISE = [name for name in NAMES if OPS[name].kind == "elementwise"]
# Where torch's own values lose digits or are compositions that do: the reference is mpmath wherever it is finite.
SPECIAL = [name for name in ELEMENTWISE if getattr(OPS[name].vjp, "__module__", "").startswith("gradsmith.ops.special")]
OURS = {*SPECIAL, *(n for n in ELEMENTWISE if getattr(OPS[n].vjp, "__module__", "") == "gradsmith.ops.stable")}
ORDERED = {
    "besseli_over",
    "besselj_over",
    "i0e_derivative",
    "erfc_ratio",
    "polygamma",
    "polygamma_difference",
    "sinc_derivative",
}  # by operand 0
STRUCTURAL = [name for name in NAMES if OPS[name].kind != "elementwise"]

DTYPES = ("float64", "float32")
# Tolerances, in units of eps*|want|.
VALUE = 2  # library functions of two makers differ by that much
SERIES = 5  # of a function that is a series of its own; test_special.py and test_stabilise.py have a limit for each
SUM = 4  # of the elements of an array
SLOPE = 16

# Ops whose derivatives keep their digits where torch's cancel: there the reference is 500-digit arithmetic.
MORE_ACCURATE = {
    "atanh_slope": "torch takes 1 - x*x, which cancels near 1",
    "tanhshrink": "torch takes x - tanh(x), which cancels near 0",
    "sigmoid": "torch multiplies y*(1 - y), which is 0 for large x",
    "sigmoid_slope": "torch's composition cancels near 0",
    "expm1": "torch adds y + 1, which is 0 for x << 0",
    "asinh": "torch squares x, which overflows beyond 1e154",
    "acosh": "torch takes x*x - 1, which cancels near 1 and overflows beyond 1e154",
    "atan2": "torch adds squares, which overflow beyond 1e154 and underflow below 1e-162",
    "hypot": "torch's curvature is 1 - (x/h)**2, which cancels where y is small",
    "hypot_slope": "torch composes it, which cancels where y is small",
    "logaddexp": "torch's curvature is NaN where exp(x - y) overflows",
}
# (op, order, operands) where torch's gradient (order 1) or second derivative (order 2) is NaN, or 0 for NaN: ours, and why.
DIFFERENT = {
    ("logit", 2, (0.0,)): ((-np.inf,), "1/(1 - x)^2 - 1/x^2; torch computes inf - inf"),
    ("logit", 2, (1.0,)): ((np.inf,), "1/(1 - x)^2 - 1/x^2; torch computes inf - inf"),
    ("acosh", 1, (-1.0,)): ((np.nan,), "outside the domain; torch differentiates sqrt(x*x - 1)"),
    ("acosh", 2, (-1.0,)): ((np.nan,), "outside the domain; torch differentiates sqrt(x*x - 1)"),
    ("acosh", 1, (-np.inf,)): ((np.nan,), "outside the domain; torch differentiates sqrt(x*x - 1)"),
    ("atan2", 2, (0.0, 0.0)): ((0.0, 0.0), "no direction, so nothing flows; torch divides 0 by 0"),
    ("hypot", 1, (0.0, 0.0)): ((0.0, 0.0), "the subgradient of a norm; torch divides 0 by 0"),
    ("hypot", 2, (0.0, 0.0)): ((0.0, 0.0), "the subgradient of a norm; torch divides 0 by 0"),
    ("logaddexp", 1, (np.inf, np.inf)): ((0.5, 0.5), "equal operands share; torch computes inf - inf"),
    ("logaddexp", 1, (-np.inf, -np.inf)): ((0.5, 0.5), "equal operands share; torch computes inf - inf"),
    ("logaddexp", 2, (np.inf, np.inf)): ((0.0, 0.0), "equal operands share; torch computes inf - inf"),
    ("logaddexp", 2, (-np.inf, -np.inf)): ((0.0, 0.0), "equal operands share; torch computes inf - inf"),
    ("logaddexp", 2, (np.inf, 1.0)): ((0.0, 0.0), "flat there; torch computes inf*0"),
    ("logaddexp", 2, (-np.inf, 1.0)): ((0.0, 0.0), "flat there; torch computes inf*0"),
    ("abs", 1, (np.nan,)): ((np.nan,), "torch gives NaN the slope 0"),
    ("softplus", 2, (-np.inf,)): ((0.0,), "the curvature vanishes there; torch computes inf*0"),
    ("div", 2, (-1.0, 0.0)): ((np.inf, np.inf), "1/y**3 outweighs 1/y**2; torch computes inf - inf"),
    ("arcslope", 1, (1.0,)): ((np.inf,), "torch composes it, and gets inf*0"),
    ("arcslope", 1, (-1.0,)): ((-np.inf,), "torch composes it, and gets inf*0"),
    ("arcslope", 2, (1.0,)): ((np.inf,), "torch composes it, and gets inf*0"),
    ("arcslope", 2, (-1.0,)): ((np.inf,), "torch composes it, and gets inf*0"),
    ("pow", 2, (0.0, 1.0)): ((0.0, 1.25), "0**y is flat in y; torch takes log(0)"),
    ("pow", 2, (0.0, 2.0)): ((2.5, 0.0), "0**y is flat in y; torch takes log(0)"),
    ("pow", 2, (0.0, 0.0)): ((0.0, 0.0), "0**y is flat in y; torch takes log(0)"),
}
ONE = 8  # what targets may differ by, in units of eps*|result|
WIDER = {
    "dd_sin_over_x": 16,  # a point around one of its samples lies near a root of its slope
    "dd_tanh_over_x": 128,  # its sample lies beside a root of its slope
    "mish": 16,  # a point around one of its samples, too
    **dict.fromkeys(("svd", "svdvals", "pinv"), 64),  # LAPACK's iteration and ours
}
SECOND = (1.25, -0.75, 0.5)  # what the gradients are multiplied by before the second derivative is taken


@dataclass(frozen=True)
class Case:
    """Points of one op that share shapes and parameters."""

    shapes: tuple[tuple[int, ...], ...]
    params: dict[str, Any]
    points: list[list[np.ndarray]] = field(default_factory=list)


def cases(record: Op, dtype: str) -> list[Case]:
    found: dict[object, Case] = {}
    for sample in [*record.samples, *record.edges]:
        params = sample[-1] if sample and isinstance(sample[-1], dict) else {}
        with np.errstate(over="ignore", under="ignore"):
            operands = [x if indices(x) else np.asarray(x, dtype=dtype) for x in (sample[:-1] if params else sample)]
        if not all(itertools.starmap(holds, zip(operands, sample, strict=False))):
            continue  # beyond the range of float32
        shapes = tuple(x.shape for x in operands)
        found.setdefault((shapes, repr(params)), Case(shapes, params)).points.append(operands)
    return list(found.values())


def holds(operand: np.ndarray, given: Any) -> bool:
    """Whether rounding has made no 0 and no infinity of another number."""
    exact = np.asarray(given, dtype=np.float64)
    return bool(np.all((operand == 0) == (exact == 0)) and np.all(np.isinf(operand) == np.isinf(exact)))


def indices(operand: Any) -> bool:
    return isinstance(operand, np.ndarray) and operand.dtype.kind == "i"


def applied(record: Op, xs: Sequence[gs.Expr], params: dict[str, Any]) -> gs.Expr:
    """The op on symbols; a condition chooses between two planes, so that the derivative shows the choice."""
    y = registry_function(record.name)(*xs, **params)
    return gs.where(y, 2.0 * xs[0] - xs[-1], 0.5 * xs[0] + 3.0 * xs[-1]) if y.dtype == "bool" else y


def around(name: str, case: Case) -> list[list[Any]]:
    """Eight random points around each sample of a case."""
    generator = np.random.default_rng(1)
    return [
        [
            x
            if indices(x) or (k == 0 and name in ORDERED)
            else x * generator.uniform(0.6, 1.4, () if name == "searchsorted" else x.shape)  # stays sorted
            for k, x in enumerate(point)
        ]
        for point in case.points[: len(OPS[name].samples)]
        for _ in range(8)
    ]


@dataclass(frozen=True)
class Trial:
    """One case as programs: the op's result, a scalar made of it with its gradient, and the second derivative.

    Where that scalar is the result itself, the result has no program.
    """

    case: Case
    name: str
    first: np.ndarray
    second: list[np.ndarray]
    programs: dict[str, Program]
    dtype: str
    graph: Graph
    parts: bool  # whether value and gradient have functions of their own, too

    @classmethod
    def of(
        cls,
        record: Op,
        case: Case,
        name: str,
        first: np.ndarray | None,
        second: list[np.ndarray] | None,
        dtype: str,
        parts: bool = True,
    ) -> Trial:
        kinds = ["int64" if indices(x) else "float64" for x in case.points[0]]
        xs = [gs.symbol(f"x{i}", *described) for i, described in enumerate(zip(case.shapes, kinds, strict=True))]
        y = applied(record, xs, case.params)
        first = harness.weights(y.shape) if first is None else first
        scalar = contracted(y, first)
        slopes = gradient(scalar, [x for x in xs if x.dtype == "float64"])
        second = [harness.weights(g.shape, i + 1) for i, g in enumerate(slopes)] if second is None else second
        total = contracted(slopes[0], second[0])
        for g, w in zip(slopes[1:], second[1:], strict=True):
            total = total + contracted(g, w)
        turn = harness.one_of(
            (*harness.TARGETS, harness.LOOPS) if dtype == "float64" else ("numpy", "c"), NAMES.index(record.name)
        )
        programs = {
            f"{name}_first": (compiled if parts else harness.joint)(scalar, xs, f"{name}_first", dtype=dtype),
            f"{name}_second": compiled(
                total, xs, f"{name}_second", derivatives=("grad",), dtype=dtype,
                targets=turn if any(case.shapes) else harness.TARGETS,
            ),
        }  # fmt: skip
        if y.shape or first != 1.0:
            programs[f"{name}_result"] = compiled(y, xs, f"{name}_result", derivatives=("value",), dtype=dtype)
        return cls(case, name, first, second, programs, dtype, to_graph(xs, [y]), parts)

    def torch(self, point: Sequence[np.ndarray]) -> Reference:
        return harness.ask_torch(self.graph, point, self.first, self.second)

    def results(self, runners: Runners, point: Sequence[np.ndarray]) -> Iterator[tuple[str, np.ndarray, Any, Any, Any]]:
        """For each target: its name, the op's result, the scalar, its gradient, and (or none) the second derivative."""
        second = dict(runners.all(f"{self.name}_second"))
        result = dict(runners.all(f"{self.name}_result")) if f"{self.name}_result" in runners else {}
        for target, first in runners.all(f"{self.name}_first"):
            value, *slopes = first("value_and_grad", point)
            parts = [*first("value", point), *first("grad", point)] if self.parts else [value, *slopes]
            for alone, together in zip(parts, [value, *slopes], strict=True):
                assert distance(alone, together) == 0, f"{self.name}, {target}: {alone} alone, {together} together"
            seconds = second[target]("grad", point) if target in second else None
            yield target, result[target]("value", point)[0] if result else value, value, slopes, seconds

    def apart(self, op: str, runners: Runners) -> list[str]:
        """Where value and gradient of the targets differ too much from those of the first."""
        problems = []
        limit = WIDER.get(op, ONE)
        for point in [*self.case.points, *around(op, self.case)]:
            scale = max(1.0, *(np.abs(x).max(initial=0.0) for x in point)) if any(self.case.shapes) else 0.0
            (_, run), *others = runners.all(f"{self.name}_first")
            value, *slopes = run("value_and_grad", point)
            for target, other in others:
                there, *slopes_there = other("value_and_grad", point)
                errors = [distance(there, value, np.maximum(np.abs(value), scale))]
                errors += [
                    distance(b, a, np.abs(a).max(initial=0.0)) for a, b in zip(slopes, slopes_there, strict=True)
                ]
                if max(errors) > limit:
                    problems.append(f"{op} of {point}: {target} is {errors} eps from python")
        return problems


@functools.cache
def alone(name: str, dtype: str = "float64") -> Trial:
    """An element-wise op of scalars."""
    (case,) = cases(OPS[name], dtype)
    seconds = [np.array(w) for w in SECOND[: len(case.shapes)]]
    return Trial.of(OPS[name], case, f"{name}_{dtype}", np.array(1.0), seconds, dtype)


def test_every_record_can_be_tested() -> None:
    assert len(NAMES) >= 60
    for name in NAMES:
        assert OPS[name].samples, f"op {name!r} has no samples, so nothing tests it"
        assert OPS[name].torch is not None, f"op {name!r} has no torch= reference, so nothing tests it"
    for name in ELEMENTWISE:
        assert OPS[name].mp is not None, f"op {name!r} has no mp= reference, so self-tests cannot be exact"


GROUP = 8  # ops that share a library: starting a compiler and a linker costs as much as what they do for three
Built = Callable[[str], tuple[list[Trial], Runners]]


def built(
    names: Sequence[str], trials: Callable[[str], list[Trial]], folder: Path
) -> tuple[dict[str, list[Trial]], Runners]:
    """The trials of some ops, in one C library for each compiler."""
    found = {name: trials(name) for name in names}
    return found, Runners({key: p for ts in found.values() for t in ts for key, p in t.programs.items()}, folder)


@pytest.fixture(scope="module")
def in_group(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The trials of an op, which are built together with those of its neighbours."""

    @functools.cache
    def group(kind: str, number: int) -> tuple[dict[str, list[Trial]], Runners]:
        every, trials = KINDS[kind]
        return built(every[number * GROUP :][:GROUP], trials, tmp_path_factory.mktemp(kind))

    def of(name: str) -> tuple[list[Trial], Runners]:
        kind = "elementwise" if name in ELEMENTWISE else "structural"
        found, runners = group(kind, KINDS[kind][0].index(name) // GROUP)
        return found[name], runners

    return of


def scalars_and_arrays(name: str) -> list[Trial]:
    """Of both dtypes, the trial of scalars and that of an array of the same points."""
    return [t for dtype in DTYPES for t in (alone(name, dtype), as_array(name, alone(name, dtype)))]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name: str, in_group: Built) -> None:
    """On scalars, all of it equals torch; on an array of the same points, each element equals the scalar."""
    trials, runners = in_group(name)
    pairs = zip(trials[::2], trials[1::2], strict=True)
    problems = [p for pair in pairs for p in elementwise_problems(name, *pair, runners)]
    problems += trials[0].apart(name, runners)
    assert not problems, "\n".join(problems)


SIGNS = (1.0, -2.0, 0.5, -0.25, 4.0)  # they scale without rounding


def as_array(name: str, scalar: Trial) -> Trial:
    """All points of a scalar trial as one array."""
    points = scalar.case.points
    columns = [np.array([p[i] for p in points]) for i in range(len(scalar.case.shapes))]
    signs = np.array([SIGNS[k % 5] for k in range(len(points))])
    flat = [np.full(len(points), float(w)) for w in scalar.second]
    case = Case(tuple(c.shape for c in columns), {}, [columns])
    return Trial.of(OPS[name], case, f"{scalar.name}_array", signs, flat, scalar.dtype, parts=False)


def elementwise_problems(name: str, scalar: Trial, array: Trial, runners: Runners) -> list[str]:
    problems: list[str] = []
    dtype = scalar.dtype
    together = {target: found for target, *found in array.results(runners, array.case.points[0])}
    for k, point in enumerate(scalar.case.points):
        operands = tuple(float(x) for x in point)
        reference = scalar.torch(point)
        for target, _, value, slopes, seconds in scalar.results(runners, point):
            where = f"{name}{operands}, {target} {dtype}"
            exact = rather(name, 0, operands, 0)
            wanted = reference.value if exact is None else exact
            limit = SERIES if name in OURS else VALUE
            problems += differs(f"{where}, value", value, wanted, limit, dtype=dtype)
            for order, got, want in ((1, slopes, reference.gradient), (2, seconds, reference.second)):
                for i, (a, b) in enumerate(zip(got, want, strict=True)):
                    exact = rather(name, order, operands, i)
                    wanted = b if exact is None else exact
                    steep = 3 * SLOPE if name in OURS else SLOPE
                    problems += differs(f"{where}, order {order}, operand {i}", a, wanted, steep, dtype=dtype)
            many, _, many_slopes, many_seconds = together[target]
            problems += differs(f"{where}, value in an array", many[k], value, VALUE, dtype=dtype)
            alone = [*slopes, *(seconds if many_seconds is not None else ())]
            for i, (a, b) in enumerate(zip([*many_slopes, *(many_seconds or ())], alone, strict=True)):
                wanted = array.first[k] * np.asarray(b, dtype=np.float64)
                problems += differs(f"{where}, derivative {i} in an array", a[k], wanted, SLOPE, dtype=dtype)
    return problems


def structural(name: str) -> list[Trial]:
    """All cases of an op, of both dtypes."""
    return [
        Trial.of(OPS[name], c, f"{name}_{i}_{dtype}", None, None, dtype)
        for dtype in DTYPES
        for i, c in enumerate(cases(OPS[name], dtype))
    ]


KINDS = {"elementwise": (ELEMENTWISE, scalars_and_arrays), "structural": (STRUCTURAL, structural)}


@pytest.mark.parametrize("name", STRUCTURAL)
def test_structural(name: str, in_group: Built) -> None:
    """Layouts, reductions, contractions and composites equal torch; sums may differ by their own rounding."""
    tested, runners = in_group(name)
    problems: list[str] = []
    for t in tested:
        for point in t.case.points:
            reference = t.torch(point)
            terms = max(x.size for x in [*point, reference.result]) * max(1.0, *(np.abs(x).max() for x in point)) ** 2
            for target, result, value, slopes, seconds in t.results(runners, point):
                where = f"{name} of {', '.join(str(x.tolist()) for x in point)} {t.case.params}, {target} {t.dtype}"
                problems += differs(f"{where}, result", result, reference.result, SUM, terms, t.dtype)
                problems += differs(f"{where}, value", value, reference.value, SUM, 4 * terms, t.dtype)
                for i, (a, b) in enumerate(zip(slopes, reference.gradient, strict=True)):
                    problems += differs(f"{where}, gradient {i}", a, b, SLOPE, terms, t.dtype)
                for i, (a, b) in enumerate(zip(seconds, reference.second, strict=True) if seconds is not None else ()):
                    problems += differs(f"{where}, second derivative {i}", a, b, SLOPE, terms, t.dtype)
        problems += t.apart(name, runners) if t.dtype == "float64" else []
    assert not problems, "\n".join(problems)


def differs(where: str, got: Any, want: Any, limit: float, scale: float = 0.0, dtype: str = "float64") -> list[str]:
    error = distance(got, want, scale, dtype)
    return [f"{where}: {got} is {error:.3g} eps from {want}"] if error > limit else []


def rather(name: str, order: int, operands: tuple[float, ...], i: int) -> Any:
    """The right derivative where torch's is known not to be, from the tables above; else None."""
    for (listed, at_order, at), (values, _) in DIFFERENT.items():
        if (listed, at_order) == (name, order) and distance(np.array(at), np.array(operands)) == 0:
            return np.array(values[i])
    if name in SPECIAL:
        return special(OPS[name], order, operands, i)
    if name not in MORE_ACCURATE or not all(math.isfinite(x) and x for x in operands):
        return None  # what is special at 0 and at infinity is in DIFFERENT
    return beside(OPS[name], order, operands, i)


@functools.cache
def beside(record: Op, order: int, operands: tuple[float, ...], i: int) -> Any:
    """What mpmath comes to, or None at a pole."""
    try:
        with mp.workdps(50):
            exact = exactly(record, *map(mp.mpf, operands))  # fails at a pole, where differences would go across
        if order:
            exact = exact_derivative(record, order, *operands, by=i)
    except ZeroDivisionError:
        return None
    return None if isinstance(exact, mp.mpc) else np.array(float(exact))


@functools.cache
def special(record: Op, order: int, operands: tuple[float, ...], i: int) -> Any:
    """What mpmath comes to for order 0, 1 and 2, by operand `i`; None where it is not finite, or is two-sided."""
    if not all(map(math.isfinite, operands)):
        return None
    smallest = min(abs(x) for x in operands if x) if any(operands) else 1.0
    more = int(max(0.0, -3.3 * math.log10(smallest)))
    found = None
    for digits, noise in ((200, 1e-60), (450, 0.0)):  # the second takes thrice the time, and only zeros need it
        found = by_differences(record, order, operands, i, digits + more)
        if found is None or abs(found) > noise:
            break
    return found


def by_differences(record: Op, order: int, operands: tuple[float, ...], i: int, digits: int) -> Any:
    """A second difference of step h loses 2*log10(h) digits, here 80 and what a small operand takes."""
    with mp.workdps(digits):
        at = [mp.mpf(x) for x in operands]
        steps = [(abs(x) or mp.mpf(1)) * mp.mpf(10) ** -40 for x in at]
        places = [k for k in range(len(at)) if not (k == 0 and record.name in ORDERED)]
        try:
            found = here = exactly(record, *at)
            if order == 0 or not mp.isfinite(here):
                pass
            elif i not in places:
                found = mp.mpf(0)
            elif order == 1:
                found = partial(record, at, steps, [i])
            else:
                found = mp.fsum(SECOND[k] * partial(record, at, steps, [i, k]) for k in places)
        except (ArithmeticError, ValueError):
            return None
        return np.array(float(found)) if mp.isfinite(found) and not isinstance(found, mp.mpc) else None


def partial(record: Op, at: list[Any], steps: list[Any], by: list[int]) -> Any:
    """A partial derivative by central differences; raises where the values beside the point are not real."""
    if not by:
        y = exactly(record, *at)
        if isinstance(y, mp.mpc):
            raise ArithmeticError("the point is at the end of the domain")
        return y
    k, *rest = by
    sides = ([*at[:k], at[k] + h, *at[k + 1 :]] for h in (steps[k], -steps[k]))
    up, down = (partial(record, side, steps, rest) for side in sides)
    return (up - down) / (2 * steps[k])


def exact_derivative(record: Op, order: int, *operands: float, by: int = 0) -> Any:
    """A partial derivative, or one of the gradient times `SECOND`, by central differences with 500 digits."""
    with mp.workdps(500):
        at = [mp.mpf(x) for x in operands]
        steps = [(abs(x) or mp.mpf(1)) * mp.mpf(10) ** -40 for x in at]

        def slope(function: Any, i: int) -> Any:
            def difference(*xs: Any) -> Any:
                up, down = ([*xs[:i], xs[i] + h, *xs[i + 1 :]] for h in (steps[i], -steps[i]))
                return (function(*up) - function(*down)) / (2 * steps[i])

            return difference

        function: Any = functools.partial(exactly, record)
        if order == 2:
            partials = [slope(function, i) for i in range(len(at))]
            function = lambda *xs: sum(w * p(*xs) for w, p in zip(SECOND, partials, strict=False))
        return slope(function, by)(*at)


def exactly(record: Op, *xs: Any) -> Any:
    return getattr(mp, record.mp)(*xs) if isinstance(record.mp, str) else record.mp(mp, *xs)  # type: ignore[misc]


def test_the_tables_of_differences_are_true() -> None:
    """Each entry is a sample or an edge of its op, and torch does differ there."""
    for (name, order, operands), (values, _) in DIFFERENT.items():
        t = alone(name)
        point, *_ = [p for p in t.case.points if distance(np.array(p), np.array(operands)) == 0]
        reference = t.torch(point)
        found = (reference.gradient, reference.second)[order - 1]
        assert any(distance(a, np.array(b)) > SLOPE for a, b in zip(found, values, strict=True)), (name, operands)
    for name in MORE_ACCURATE:
        t = alone(name)
        assert any(worse_in_torch(name, t, p) for p in t.case.points), name


def worse_in_torch(name: str, t: Trial, point: list[np.ndarray]) -> bool:
    """Whether torch's value, gradient or second derivative is off at this point."""
    reference, operands = t.torch(point), tuple(map(float, point))
    for order, found, limit in (
        (0, [reference.value], VALUE),
        (1, reference.gradient, SLOPE),
        (2, reference.second, SLOPE),
    ):
        for i, theirs in enumerate(found):
            right = rather(name, order, operands, i)
            if right is not None and distance(theirs, right) > limit:
                return True
    return False


GRID = [m * s for m in (1e-50, 1e-20, 1e-9, 1e-3, 0.3, 0.7, 0.999, 1 - 1e-9, 1 + 1e-9, 1.5, 2.0, 5.0, 19.0, 21.0,
                        40.0, 100.0, 300.0, 355.0, 700.0, 1e4, 1e8) for s in (1.0, -1.0)]  # fmt: skip
SMOOTH = [n for n in ELEMENTWISE if OPS[n].arity == 1 and OPS[n].slope not in ("", "0") and n not in SPECIAL]


@pytest.mark.parametrize("name", SMOOTH)
def test_accuracy_over_the_whole_range(name: str) -> None:
    """Value and slope of each function of one number against 500-digit arithmetic, from 1e-50 to 1e8."""
    record = OPS[name]
    f = alone(name).programs[f"{name}_float64_first"].compiled["numpy"]
    for x in GRID:
        try:
            with mp.workdps(500):
                wanted = [exactly(record, mp.mpf(x)), exact_derivative(record, 1, x)]
        except (ArithmeticError, ValueError):
            continue
        if any(isinstance(w, mp.mpc) for w in wanted):
            continue
        value, slope = f.value_and_grad(x)
        assert distance(np.array(value), np.array(float(wanted[0]))) <= (SERIES if name in OURS else VALUE), (
            f"{name}({x}) = {value}"
        )
        assert distance(np.array(slope), np.array(float(wanted[1]))) <= 2 * SLOPE, f"{name}'({x}) = {slope}"
