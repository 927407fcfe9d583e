"""References: three routes to the numbers a generated function should give, none of which runs generated code.

In: what is checked (a `Subject`). Out: a function from flat inputs to the flat outputs wanted; numbers that a route
cannot tell are masked. torch evaluates the traced graph and differentiates it by autograd; mpmath evaluates it with 50
digits, and differences there give the derivatives; "finite" evaluates it by NumPy in float64, with differences.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SpecError, UnsupportedError
from ..evaluate import evaluate, evaluate_mp, evaluate_torch, import_torch
from ..exact import DIGITS, digits, operations
from ..graph import Graph
from ..ops._declare import no_gradient
from ..regions import with_inner
from ..registry import lookup
from .differences import mixed, quotient, widened

__all__ = ["REFERENCES", "Arbiter", "Reference", "Route", "Subject", "choose"]

Reference = Callable[..., list[Any]]
_EXACT_BUDGET = 300_000  # mpmath operations of one check; what is beyond it is left out
_BUDGET = 1_000_000  # node evaluations by NumPy, likewise
_EVALUATIONS = 16  # that one slope takes, about
_DIFFERENCED = 64  # elements of one gradient that are compared with differences at one point, at most


@dataclass(frozen=True)
class Subject:
    """What is compared: `kind` of outputs of a graph.

    `graph` computes the values and `joint` the gradient by the inputs numbered `by` too. Of the kinds "value", "grad"
    and "value_and_grad", inputs are the graph's. Of the kind "hvp", a direction for each input of `by` follows them,
    and the outputs are the Hessian times this direction.
    """

    graph: Graph
    joint: Graph
    by: tuple[int, ...]
    kind: str

    @property
    def values(self) -> int:
        """How many of the outputs are values."""
        return len(self.graph.outputs) if self.kind.startswith("value") else 0

    def split(self, leaves: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The point, and the direction (empty, except for a Hessian) as one array for each input."""
        count = len(self.graph.inputs)
        point = list(leaves[:count])
        if self.kind != "hvp":
            return point, []
        direction = [np.zeros(np.shape(v)) for v in point]
        for i, v in zip(self.by, leaves[count:], strict=True):
            direction[i] = np.asarray(v, dtype=np.float64)
        return point, direction


# --- torch ------------------------------------------------------------------------------------------------------------


def _torch(subject: Subject, points: int, seed: int) -> Reference:
    torch = import_torch()
    graph, by = subject.graph, subject.by
    dtypes = [graph.node(k).type.dtype.name for k in graph.inputs]

    def slopes(output: Any, tensors: Sequence[Any], **options: Any) -> list[Any]:
        if not output.requires_grad:
            return [torch.zeros_like(t) for t in tensors]
        found = torch.autograd.grad(output, tensors, allow_unused=True, **options)
        return [torch.zeros_like(t) if g is None else g for g, t in zip(found, tensors, strict=True)]

    def reference(*leaves: Any) -> list[Any]:
        point, direction = subject.split(leaves)
        tensors = [
            torch.tensor(np.asarray(v, dtype=dtype), requires_grad=i in by)
            for i, (v, dtype) in enumerate(zip(point, dtypes, strict=True))
        ]
        computed = evaluate_torch(graph, tensors)
        outputs = [computed[k] for k in graph.outputs]
        wanted = outputs[: subject.values]
        chosen = [tensors[i] for i in by]
        if direction:
            gradient = slopes(outputs[0], chosen, create_graph=True)
            along = [torch.tensor(np.asarray(direction[i], dtype=dtypes[i])) for i in by]
            wanted = slopes(sum((g * v).sum() for g, v in zip(gradient, along, strict=True)), chosen)
        elif subject.kind != "value":
            wanted = [*wanted, *slopes(outputs[0], chosen)]
        return [t.detach().numpy() for t in wanted]

    return reference


# --- mpmath -----------------------------------------------------------------------------------------------------------


def _mpmath(subject: Subject, points: int, seed: int) -> Reference:
    import mpmath as mp

    graph = widened(subject.graph)
    generator = np.random.default_rng(seed)
    # where rounding turns a comparison or a floor, float64 is on another piece of the function than the exact numbers
    steps = [n.key for n in graph.ordered() if lookup(n.op).vjp is no_gradient and n.args]
    evaluations = 4 if subject.kind != "hvp" else 16
    affordable = max(1, _EXACT_BUDGET // max(1, points * evaluations * operations(graph)))

    def reference(*leaves: Any) -> list[Any]:
        point, direction = subject.split(leaves)
        plain = evaluate(graph, point)
        with mp.workdps(DIGITS):
            mp.mp.dps = _working_digits(graph, point)
            exact = evaluate_mp(graph, point)
            wanted = [_known(exact[k], plain[k]) for k in graph.outputs][: subject.values]
        if any(np.any(plain[k] != exact[k]) for k in steps):
            slopes = [] if subject.kind == "value" else [point[i] for i in subject.by]
            return [np.ma.MaskedArray(np.full(np.shape(v), np.nan), True) for v in (*wanted, *slopes)]
        if subject.kind == "value":
            return wanted
        places = [(i, at) for i in subject.by for at in np.ndindex(np.shape(point[i]))]
        chosen = generator.choice(len(places), size=min(affordable, len(places)), replace=False)
        found = {i: np.full(np.shape(point[i]), np.nan) for i in subject.by}
        for number in sorted(int(c) for c in chosen):
            i, at = places[number]
            found[i][at] = _exact_slope(graph, point, direction, _unit(point, i, at))
        return [*wanted, *(np.ma.masked_invalid(found[i]) for i in subject.by)]

    return reference


def _exact_slope(graph: Graph, point: Sequence[Any], direction: Sequence[Any], unit: Sequence[Any]) -> float:
    """The slope along `unit`, or with a direction, the second derivative along both; NaN at a kink in either."""
    if not direction:
        return mixed(graph, point, [unit])
    smooth = np.isfinite(mixed(graph, point, [unit])) and np.isfinite(mixed(graph, point, [direction]))
    return mixed(graph, point, [unit, direction]) if smooth else float("nan")


def _working_digits(graph: Graph, point: Sequence[Any]) -> int:
    try:
        return digits(graph, point)
    except (ArithmeticError, ValueError):
        return DIGITS


def _known(precise: Any, plain: Any) -> Any:
    """The exact numbers; where there is none, IEEE's infinity or NaN, and masked where NumPy has a finite number."""
    exact = np.array([float(v) for v in np.ravel(precise)]).reshape(np.shape(precise))
    settled = np.isfinite(exact) | ~np.isfinite(plain)
    return np.ma.MaskedArray(np.where(np.isnan(exact), plain, exact), ~settled)


def _unit(point: Sequence[Any], leaf: int, at: tuple[int, ...]) -> list[Any]:
    """The direction in which one element of one input moves."""
    direction = [np.zeros(np.shape(v)) for v in point]
    direction[leaf][at] = 1.0
    return direction


class Arbiter:
    """Single numbers by mpmath, for a judge between two others; None where it cannot tell, or its budget is spent."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.graph = subject, widened(subject.graph)
        self.left = 4 * _EXACT_BUDGET

    def __call__(self, leaves: Sequence[Any], output: int, at: tuple[int, ...]) -> float | None:
        point, direction = self.subject.split(leaves)
        cost = (16 if direction else 4) * operations(self.graph)
        if cost > min(self.left, _EXACT_BUDGET // 8):
            return None
        self.left -= cost
        number = output - self.subject.values
        found = self._value(point, output, at) if number < 0 else self._slope(point, direction, number, at)
        return found if np.isfinite(found) else None

    def _slope(self, point: Sequence[Any], direction: Sequence[Any], number: int, at: tuple[int, ...]) -> float:
        return _exact_slope(self.graph, point, direction, _unit(point, self.subject.by[number], at))

    def _value(self, point: Sequence[Any], output: int, at: tuple[int, ...]) -> float:
        import mpmath as mp

        with mp.workdps(DIGITS):
            mp.mp.dps = _working_digits(self.graph, point)
            return float(evaluate_mp(self.graph, point)[self.graph.outputs[output]][at])


# --- differences ------------------------------------------------------------------------------------------------------


def _finite(subject: Subject, points: int, seed: int) -> Reference:
    graph, joint = widened(subject.graph), widened(subject.joint)
    generator = np.random.default_rng(seed)
    slopes = _BUDGET // max(1, points * len(subject.by) * _EVALUATIONS * len(graph))
    differenced = min(max(1, slopes), _DIFFERENCED)

    def moved(point: Sequence[Any], direction: Sequence[Any], t: float) -> list[Any]:
        return [np.asarray(x, dtype=np.float64) + t * np.asarray(d) for x, d in zip(point, direction, strict=True)]

    def reference(*leaves: Any) -> list[Any]:
        point, direction = subject.split(leaves)
        if direction:  # of the gradient, which the first order has compared already
            shapes = [np.shape(point[i]) for i in subject.by]

            def along(direction: Sequence[Any]) -> Any:
                def both(t: float) -> Any:
                    values = evaluate(joint, moved(point, direction, t))
                    return np.concatenate([np.ravel(values[k]) for k in joint.outputs])

                slope, *product = quotient(both, _scale(point, direction))
                return np.array(product) + 0.0 * slope  # NaN, too, where the value itself jumps

            product = along(direction)
            other = [generator.normal(size=np.shape(d)) * (np.asarray(d) != 0) for d in direction]
            rest = [np.asarray(d) - u for d, u in zip(direction, other, strict=True)]
            # where no Hessian is, at a tie of two branches, the derivatives along directions do not add up
            linear = np.isclose(product, along(other) + along(rest), rtol=1e-5, atol=1e-7)
            ends = np.cumsum([int(np.prod(s)) for s in shapes])[:-1]
            parts = np.split(np.where(linear, product, np.nan), ends)
            return [np.ma.masked_invalid(p.reshape(s)) for p, s in zip(parts, shapes, strict=True)]
        values = evaluate(graph, point)
        wanted: list[Any] = [values[k] for k in graph.outputs][: subject.values]
        if subject.kind == "value":
            return wanted
        for i in subject.by:
            slope = np.full(np.shape(point[i]), np.nan)
            places = list(np.ndindex(slope.shape))
            for number in generator.permutation(len(places))[:differenced]:
                unit = _unit(point, i, places[number])

                def value(t: float, unit: Sequence[Any] = unit) -> Any:
                    return evaluate(graph, moved(point, unit, t))[graph.outputs[0]]

                size = abs(float(np.asarray(point[i])[places[number]]))
                scales = (1.0, size) if 0.0 < size < 0.1 else (max(1.0, size),)
                slope[places[number]] = quotient(value, *scales)
            wanted.append(np.ma.masked_invalid(slope))
        return wanted

    return reference


def _scale(point: Sequence[Any], direction: Sequence[Any]) -> float:
    """The first step's length: 1 for numbers up to 1, in proportion beyond."""
    moving = (np.abs(x) * (np.asarray(d) != 0) for x, d in zip(point, direction, strict=True))
    sizes = [float(np.max(x, initial=0.0)) for x in moving]
    return max(1.0, *sizes) if np.isfinite(sizes).all() else 1.0


# --- the choice -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Route:
    """One reference: how it is made, what a report calls it, and its relative and absolute tolerance by output dtype.

    `noted` says whether a larger error of the reference itself is worth a note: differences always have one.
    """

    make: Callable[[Subject, int, int], Reference]
    title: str
    tolerances: Mapping[str, tuple[float, float]]
    noted: bool = True


_ACCURATE = {"float64": (1e-9, 1e-12), "float32": (1e-4, 1e-6)}

REFERENCES: dict[str, Route] = {
    "torch": Route(_torch, "torch", _ACCURATE),
    "mpmath": Route(_mpmath, f"mpmath ({DIGITS} digits)", _ACCURATE),
    "finite": Route(
        _finite, "finite differences in float64", {"float64": (1e-6, 1e-8), "float32": (1e-4, 1e-6)}, noted=False
    ),
}  # fmt: skip


def choose(against: str | None, graph: Graph) -> str:
    """The reference named, or by default the first of torch, mpmath and differences that can evaluate the graph."""
    if against is not None and against not in REFERENCES:
        raise SpecError(f"against={against!r}: choose from {', '.join(map(repr, REFERENCES))}")
    ops = {n.op: lookup(n.op) for n in with_inner(graph)}.values()
    lacking = {
        "torch": [op.name for op in ops if op.kind not in ("leaf", "region") and op.torch is None],
        "mpmath": [op.name for op in ops if op.kind == "elementwise" and op.mp is None],
        "finite": [],
    }
    fields = {"torch": "torch=", "mpmath": "mp="}
    if against is not None and lacking[against]:
        able = [repr(name) for name in REFERENCES if not lacking[name]]
        raise UnsupportedError(
            f"op {lacking[against][0]!r} has no {fields[against]} reference: give its record one, or check with "
            f"against={' or '.join(able)}"
        )
    if against is not None:
        return against
    usable = [name for name in REFERENCES if not lacking[name]]
    if usable[0] == "torch" and importlib.util.find_spec("torch") is None:
        usable = usable[1:]
    return usable[0]
