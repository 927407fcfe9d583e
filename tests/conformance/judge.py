"""Whose fault it is where a random program's number differs from torch's: mpmath decides.

In: a program, a point, our numbers and torch's, and the place where they differ. Out: a verdict (`verdict`); those that
begin with "bug:" are ours, with "bug?" are open, all others say why the difference is none of our bugs.

A slope is judged by differences of exact values, without any derivative rule. Three things make that possible at edges:
other inputs that the slope does not depend on become ordinary numbers where they are what is not finite (`calmed`);
comparisons, indices and the like stay as they are at the point where the two sides differ (`settled`); and where our
number is lost, the exact value of our own derivative formula says whether the formula or the arithmetic lost it.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import mpmath as mp
import numpy as np
import torch

import gradsmith as gs
from gradsmith.as_graph import to_exprs, to_graph
from gradsmith.derive.adjoint import gradient
from gradsmith.evaluate import evaluate, evaluate_mp, evaluate_torch
from gradsmith.exact import digits, mp_outputs
from gradsmith.graph import Graph
from gradsmith.passes.expand import expand
from gradsmith.trace import Expr, constant

from .random_programs import Sample, evaluated

RELATIVE = {"float64": 1e-9, "float32": 2e-3}
EPS = {"float64": 2.0**-52, "float32": 2.0**-23}
PATIENCE = 1.0  # seconds, for one number by mpmath
CALM = (0.37, 1.7, -0.61)  # what inputs become that a slope does not depend on
FAR = 1e5  # what infinity becomes where that is the same
MORE = 300  # digits to have another look with, before a number is called wrong

#: Ops that mpmath may have numbers beyond float64 in.
ARITHMETIC = frozenset({
    "abs", "add", "assemble", "broadcast_to", "clip", "floor", "floor_divide", "remainder", "take_along_axis", "concatenate", "difference_of_squares", "div", "equal", "expand_dims", "greater", "greater_equal",
    "hypot", "index", "less", "less_equal", "matmul", "max", "maximum", "mean", "min", "minimum", "mul", "neg", "not_equal", "outer",
    "prod", "reciprocal", "reshape", "sqrt", "square", "squeeze", "stack", "sub", "sum", "take", "transpose", "vector_norm", "where",
})  # fmt: skip
#: Ops without a slope, whatever their operands: mpmath's differences must not see them jump, or move.
STEADY = frozenset({"ceil", "floor", "round", "sign", "stop_gradient", "trunc"})


def by_torch(graph: Graph, leaves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The gradient of the one output by the floating-point inputs, in the dtypes of the leaves."""
    tensors = [torch.tensor(np.asarray(v), requires_grad=v.dtype.kind == "f") for v in leaves]
    floats = [t for t in tensors if t.requires_grad]
    output = evaluate_torch(graph, tensors)[graph.outputs[0]]
    if not output.requires_grad:
        return [np.zeros(t.shape) for t in floats]
    found = torch.autograd.grad(output, floats, allow_unused=True)
    return [np.zeros(t.shape) if g is None else g.numpy() for g, t in zip(found, floats, strict=True)]


def verdict(
    sample: Sample, factor: float, leaves: Sequence[np.ndarray], got: Any, want: Any, place: Any, dtype: str,
    patience: float = PATIENCE,
) -> str:  # fmt: skip
    """Whose fault a difference is: "bug …", or what else it is. Results are value and gradient, times the factor."""
    i, at = place
    if np.shape(got[i]) != np.shape(want[i]):
        return "bug: shape"
    case = Case(sample, leaves, i, at, factor if i else 1.0, dtype, patience)
    ours, theirs = float(got[i][at]), float(want[i][at])
    found = case.judged(ours, theirs, case.exact())
    return case.judged(ours, theirs, case.exact(MORE)) if found.startswith("bug") else found


def near(a: float, b: float, dtype: str) -> bool:
    return abs(a - b) <= RELATIVE[dtype] * abs(b) + 1e-300


class Case:
    """One number of one program at one point: the value (`i` = 0) or a slope, times a factor."""

    def __init__(
        self, sample: Sample, leaves: Sequence[np.ndarray], i: int, at: tuple[int, ...], factor: float, dtype: str,
        patience: float,
    ) -> None:  # fmt: skip
        self.sample, self.i, self.at, self.factor = sample, i, at, factor
        self.dtype, self.patience, self.narrow_leaves = dtype, patience, leaves
        self.graph = to_graph(sample.inputs, [sample.result])
        self.leaves = [v.astype(np.float64) if v.dtype.kind == "f" else v for v in leaves]
        floats = [k for k, x in enumerate(sample.inputs) if x.dtype == "float64"]
        self.leaf = floats[i - 1] if i else -1

    def judged(self, ours: float, theirs: float, exact: tuple[float, float] | None) -> str:
        """The verdict, given the exact number as a pair: two different ones are the two sides of a kink."""
        kink = exact is not None and not near(*exact, "float64")
        if exact is not None and kink:
            if np.isfinite(ours) and min(exact) - abs(min(exact)) * 1e-9 <= ours <= max(exact) + abs(max(exact)) * 1e-9:
                return "a kink: one of its slopes, or between"
            exact = None
        if exact is None:
            return self.untold(ours, theirs, kink)
        return self.told(ours, theirs, exact[0])

    def told(self, ours: float, theirs: float, exact: float) -> str:
        """The verdict where mpmath has a number."""
        dtype, limit = self.dtype, float(np.finfo(self.dtype).max)
        if not np.isfinite(ours):
            if not np.isfinite(theirs):
                return "neither is finite"
            if dtype == "float32" and not np.isfinite(self.narrow()):
                return "overflow in float32, as in torch's"
            if abs(exact) > limit:
                return "overflow"
            if self.formula_is(exact):
                return "overflow or underflow on the way"
            return "a pole, or outside the domain: the value is not finite" if self.nowhere() else "bug: not finite"
        if not np.isfinite(theirs):
            return "torch is not finite, we are right" if near(ours, exact, dtype) else "neither: torch is not finite"
        if exact == 0.0 and abs(ours) < 1e-14:
            return "too small for mpmath's digits"
        if near(ours, exact, dtype):
            return "torch is the worse one"
        torchs = abs(theirs - exact)
        if dtype == "float32":
            torchs = max(torchs, abs(self.narrow() - exact))
        mine = abs(ours - exact)
        if not mine > 100 * torchs:
            return "neither: ill-conditioned"
        if mine <= 100 * self.wobble():
            return "ill-conditioned"
        if mine <= 100 * self.wobble_inside():
            return "ill-conditioned on the way"
        return self.lost_below(ours, exact) or ("NaN on the plain way" if self.fills() else "bug: wrong")

    def lost_below(self, ours: float, exact: float) -> str | None:
        """Why a number may be wrong although its formula is right: what is computed on the way leaves the range."""
        if self.bounded():
            return "the bound that binary_cross_entropy's slope has, as torch's"
        if self.formula_is(exact) and abs(ours - exact) < abs(exact) and self.subnormal():
            return "overflow or underflow on the way"
        return None

    def untold(self, ours: float, theirs: float, kink: bool) -> str:
        """The verdict where mpmath has none."""
        limit = float(np.finfo(self.dtype).max)
        if not np.isfinite(ours):
            if self.dtype == "float32" and np.isfinite(theirs) and not np.isfinite(self.narrow()):
                return "overflow in float32, as in torch's"
            if not np.isfinite(theirs):
                return f"nan or inf of another kind: {ours}, torch {theirs}"
            if self.nowhere():
                return "a pole, or outside the domain: the value is not finite"
            return "bug? not finite, torch is; mpmath cannot tell"
        if not np.isfinite(theirs):
            return "torch is not finite; mpmath cannot tell"
        if abs(ours - theirs) <= 100 * self.wobble():
            return "ill-conditioned"
        if self.dtype == "float32" and near(ours, self.narrow(), self.dtype):
            return "another piece of the function by float32 rounding, as torch's"
        if self.dtype == "float32" and abs(theirs) >= limit:
            return "overflow"
        if self.fills():
            return "NaN on the plain way"
        if self.torch_fails():
            return "torch has NaN on the way"
        if self.formula_is(ours):
            return "a kink: by our formula" if kink else "bug? our formula has this number; mpmath cannot tell"
        return "bug? mpmath cannot tell"

    # --- by mpmath --------------------------------------------------------------------------------------------------

    def exact(self, more: int = 0) -> tuple[float, float] | None:
        """The number twice, or the slopes of the two sides; None where it is not finite, or takes too long."""
        scale = self.factor

        def attempt(result: Expr, leaves: Sequence[np.ndarray]) -> tuple[float, float] | None:
            graph = to_graph(self.sample.inputs, [result])
            if not affordable(graph, leaves):
                return None
            found = timed(lambda: self.sides(graph, leaves, more), self.patience)
            return found and (found[0] * scale, found[1] * scale)

        kinks = []
        for leaves in (self.leaves, *self.calmed()):
            for all_of_it in (False, True):
                found = attempt(settled(self.sample, leaves, all_of_it), leaves)
                if found and near(*found, "float64"):
                    return found
                kinks += [found] if found else []
        return kinks[0] if kinks else None

    def sides(self, graph: Graph, leaves: Sequence[np.ndarray], more: int) -> tuple[float, float]:
        """The slopes ahead and behind; of a value, itself.

        There are digits enough for cubes of the smallest input, and the step is small beside the input that moves.
        """
        sizes = [abs(float(x)) for v in leaves if v.dtype.kind == "f" for x in np.ravel(v) if x]
        spare = int(-4 * math.log10(min([*sizes, 1.0]))) + more
        exact = [np.asarray(v, dtype=object) for v in leaves]
        with mp.workdps(60 + spare):
            mp.mp.dps = 60 + spare + digits(graph, leaves)
            middle = mp_outputs(graph, exact)[0]
            if self.i == 0:
                return float(middle), float(middle)
            h = mp.mpf(10) ** -25 * min(1.0, abs(float(leaves[self.leaf][self.at])) or 1.0)
            slopes = []
            for step in (h, -h / 3):
                moved = [np.array(v, dtype=object) for v in exact]
                moved[self.leaf][self.at] = mp.mpf(moved[self.leaf][self.at]) + step
                slopes.append((mp_outputs(graph, moved)[0] - middle) / step)
            ahead, behind = slopes
            noise = mp.mpf(10) ** -(55 + spare) * (1 + abs(middle)) / h  # what the values' own rounding amounts to
            if abs(ahead - behind) > mp.mpf(10) ** -8 * max(abs(ahead), abs(behind)) + noise:
                return float(ahead), float(behind)
            if max(abs(ahead), abs(behind)) < noise:
                return 0.0, 0.0
            return (float((ahead + 3 * behind) / 4),) * 2  # type: ignore[return-value]

    def nowhere(self) -> bool:
        """Whether the value itself is not finite."""

        def finite() -> bool:
            with mp.workdps(100):
                values = evaluate_mp(self.graph, [np.asarray(v, dtype=object) for v in self.leaves])
                return bool(mp.isfinite(values[self.graph.outputs[0]][()]))

        return not (affordable(self.graph, self.leaves) and timed(finite, self.patience))

    def formula_is(self, number: float) -> bool:
        """Whether our derivative formula, without rounding and overflow, has this number."""

        def exactly() -> float:
            with mp.workdps(400):
                result = self.sample.result
                if self.i:
                    (result,) = gradient(result, [self.sample.inputs[self.leaf]])
                graph = to_graph(self.sample.inputs, [result])
                values = evaluate_mp(graph, [np.asarray(v, dtype=object) for v in self.leaves])
                return float(values[graph.outputs[0]][self.at]) * self.factor

        found = timed(exactly, 2 * self.patience)
        return found is not None and near(found, number, self.dtype)

    def calmed(self) -> list[list[np.ndarray]]:
        """The point with ordinary numbers for inputs that torch's slope does not depend on, in several ways."""
        before = self.torchs(self.leaves)
        if not np.isfinite(before):
            return []
        found = []
        for calm in CALM:
            leaves = [np.array(v) for v in self.leaves]
            for k, v in enumerate(leaves):
                for at in np.ndindex(v.shape) if v.dtype.kind == "f" else ():
                    if (k, at) != (self.leaf, self.at):
                        for other in (calm, np.copysign(FAR, v[at])) if np.isinf(v[at]) else (calm,):
                            kept, v[at] = v[at].copy(), other
                            if self.torchs(leaves) == before:
                                break
                            v[at] = kept
            found.append(leaves)
        return found

    # --- by torch ---------------------------------------------------------------------------------------------------

    def torchs(self, leaves: Sequence[np.ndarray], graph: Graph | None = None) -> float:
        graph = graph or self.graph
        if self.i:
            return float(by_torch(graph, leaves)[self.i - 1][self.at])
        return float(evaluate_torch(graph, [torch.tensor(v) for v in leaves])[graph.outputs[0]])

    def narrow(self) -> float:
        """What torch has in float32."""
        from gradsmith.passes.retype import retype
        from gradsmith.types import as_dtype

        leaves = [v.astype(np.float32) if v.dtype.kind == "f" else v for v in self.narrow_leaves]
        return self.torchs(leaves, retype(self.graph, as_dtype("float32"))) * self.factor

    def wobble(self) -> float:
        """By how much the result moves when the inputs move by a rounding error: torch's, at eight places beside."""
        generator, eps = np.random.default_rng(0), EPS[self.dtype]
        found = [
            self.torchs(
                [
                    v * (1 + 2 * eps * generator.uniform(-1, 1, v.shape)) if v.dtype.kind == "f" else v
                    for v in self.leaves
                ]
            )
            for _ in range(8)
        ]
        return spread(found) * abs(self.factor)

    def wobble_inside(self) -> float:
        """By how much the exact number moves when each number on the way is rounded another way."""
        generator, eps = np.random.default_rng(0), EPS[self.dtype]
        graph = expand(self.graph, lambda op: op.kind == "composite")
        whole = to_exprs(graph, self.sample.inputs)[graph.outputs[0]]
        found = []
        for _ in range(4):
            new: dict[int, Expr] = {}
            for e in topological(whole):
                moved = replaced(e, new)
                if e.args and e.dtype == "float64":
                    moved = moved * (1.0 + eps * generator.integers(-2, 3, e.shape))
                new[id(e)] = moved
            other = Case(
                Sample("", self.sample.inputs, new[id(whole)], (), ()), self.narrow_leaves, self.i, self.at, self.factor,
                self.dtype, self.patience,
            )  # fmt: skip
            number = other.exact()
            found.append(number[0] if number else np.nan)
        return spread([x for x in found if x == x] or [np.inf])

    def fills(self) -> bool:
        """Whether there is 0/0 on the way, which our formulas fill, or NaN in a comparison."""
        values = plain(evaluate(self.graph, self.leaves))
        return any(np.isnan(v).any() for v in values if v.dtype.kind == "f")

    def torch_fails(self) -> bool:
        """Whether torch's own functions have NaN on the way: its `i0(inf)`, which an `argmin` takes for the least."""
        values = evaluate_torch(self.graph, [torch.tensor(v) for v in self.leaves])
        return any(torch.isnan(v).any() for v in values.values() if isinstance(v, torch.Tensor))

    # --- what the arithmetic cannot hold ----------------------------------------------------------------------------

    def subnormal(self) -> bool:
        """Whether a number on the way, or its square, is so small that it has fewer digits."""
        with np.errstate(all="ignore"):
            values = [np.abs(v[v != 0]) for v in plain(evaluate(self.graph, self.leaves)) if v.dtype.kind == "f"]
        smallest = math.sqrt(float(np.finfo(self.dtype).tiny))
        return any(v.size and float(v.min()) < smallest for v in values)

    def bounded(self) -> bool:
        """Whether a probability is so near 0 or 1 that binary_cross_entropy bounds its slope."""
        values = evaluate(self.graph, self.leaves)
        xs = [values[n.args[0]] for n in self.graph.ordered() if n.op == "binary_cross_entropy"]
        return any(bool(np.any(x * (1 - x) < 1e-12)) for x in xs)


def affordable(graph: Graph, leaves: Sequence[np.ndarray]) -> bool:
    """Whether numbers are finite in float64, where more is not plain arithmetic: exp(exp(1e300)) fills the memory."""
    values = evaluate(graph, leaves)
    for n in graph.ordered():
        if n.op == "constant" or n.bodies:  # what comes out of a loop is judged where it is read
            continue
        if not np.isfinite(values[n.key]).all():
            small = n.op == "pow" and bool(np.all(np.abs(values[n.args[1]]) < 100))
            if n.op not in ARITHMETIC and not small:
                return False
        elif n.op not in ARITHMETIC and n.op != "part" and not all(np.isfinite(values[a]).all() for a in n.args):
            return False  # tanh(1e300) is none of mpmath's either
    return True


def plain(values: Mapping[int, Any]) -> Iterator[np.ndarray]:
    """The values of nodes, those of a loop's results one by one."""
    for value in values.values():
        yield from value if isinstance(value, tuple) else (value,)


def spread(numbers: Sequence[float]) -> float:
    width = float(np.ptp(numbers)) if np.all(np.isfinite(numbers)) else math.inf
    return width if np.isfinite(width) else math.inf


def timed(question: Callable[[], Any], patience: float) -> Any:
    """The answer, or None where there is none or it takes too long."""
    try:
        signal.signal(signal.SIGALRM, _timed_out)
        signal.setitimer(signal.ITIMER_REAL, patience)
        return question()
    except (ArithmeticError, ValueError, TypeError, TimeoutError, MemoryError, gs.GradsmithError):
        return None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def _timed_out(*_: Any) -> None:
    raise TimeoutError


def settled(sample: Sample, leaves: Sequence[np.ndarray], all_of_it: bool) -> Expr:
    """The piece of the function that the point lies on: what is `STEADY`, or also what is no real, is a constant."""
    values: dict[int, Any] = {}
    evaluated(sample.result, dict(zip(map(id, sample.inputs), leaves, strict=True)), values)
    by = {}
    for e in topological(sample.result):
        steady = e.op.name in STEADY or (all_of_it and e.dtype.kind in ("int", "bool"))
        if e.args and steady and np.isfinite(values[id(e)]).all():
            by[id(e)] = constant(np.asarray(values[id(e)]), e.dtype)
    return substituted(sample.result, by)


def topological(result: Expr) -> list[Expr]:
    seen: dict[int, Expr] = {}
    stack = [result]
    while stack:
        e = stack[-1]
        missing = [a for a in e.args if id(a) not in seen]
        if missing and id(e) not in seen:
            stack += missing
        else:
            seen.setdefault(id(e), e)
            stack.pop()
    return [*seen.values()]


def replaced(e: Expr, new: dict[int, Expr]) -> Expr:
    """`e` on other operands."""
    args = tuple(new[id(a)] for a in e.args)
    return e if all(a is b for a, b in zip(args, e.args, strict=True)) else Expr(e.op, args, e.params, e.type, e.origin)


def substituted(result: Expr, by: dict[int, Expr]) -> Expr:
    new = dict(by)
    for e in topological(result):
        if id(e) not in new:
            new[id(e)] = replaced(e, new)
    return new[id(result)]
