"""Check: a generated function beside an independent reference, at random points, at edges, and at points of your own.

In: a compiled function, and where and against what to check it. Out: a `Report` with the worst errors of each output,
where they are and how well conditioned the function is there; of a mismatch it says whose fault it is: the op whose
derivative rule is wrong, the node that bears a NaN, or the generated code, if the graph itself is right.
"""

from __future__ import annotations

import functools
import itertools
import logging
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradsmith_runtime import Entry, Finding, Report, compare

from ..api import compile
from ..as_graph import to_exprs
from ..derive.adjoint import gradient
from ..derive.derivatives import KINDS
from ..errors import DerivativeError, SpecError
from ..evaluate import evaluate
from ..graph import Graph
from ..ops import sum as total
from ..passes.specialise import fitting_sizes, size_names, sizes_of
from ..registry import lookup
from ..selftest import selftest_sizes
from ..trace import Expr
from ..types import FLOAT32, FLOAT64, Type, static_shape
from .blame import Fault, disagreements, faults
from .condition import conditions
from .differences import widened
from .domain import Domain, bounds, drawn, graph_dtypes, point_leaves, typed
from .kinds import reference
from .nonfinite import birth
from .references import REFERENCES, Arbiter, Subject, choose

if TYPE_CHECKING:
    from ..function import CompiledFunction

__all__ = ["check", "hessian_product"]

_log = logging.getLogger("gradsmith")
_EXPLAINED = 8  # findings whose origin is looked for
_CAUSES = 4
_LOOSE = 100.0  # by how much differences of differences are less exact
_NO_DIGIT = 64.0  # where rounding leaves none, a condition is a guess: the result turns over within the last places
_ROUNDINGS = 4.0  # how many roundings of the inputs an error may amount to, and count as theirs


def check(
    function: CompiledFunction,
    *,
    n: int = 12,
    seed: int = 0,
    domain: Domain | None = None,
    points: Sequence[Any] = (),
    against: str | None = None,
    order: int = 1,
    rtol: float | None = None,
    atol: float | None = None,
    max_ulp: int | None = None,
    sizes: Sizes = None,
) -> Report:
    """What `CompiledFunction.check` does; see there."""
    options: dict[str, Any] = {
        "n": n, "seed": seed, "domain": domain, "points": points, "against": against, "order": order, "rtol": rtol,
        "atol": atol, "max_ulp": max_ulp,
    }  # fmt: skip
    named = size_names(function.graph)
    if not named:
        if sizes:
            raise SpecError(f"sizes={sizes!r}: {function.name} has no named dimensions")
        return _checked(function, function, "", **options)
    reports = []
    for chosen in _chosen(function, named, sizes, points):
        label = f" at {', '.join(f'{name} = {size}' for name, size in chosen.items())}"
        fitting = [p for p in points if function._sizes_of(_leaves(function, p)) == chosen]
        reports.append(_checked(function, function._at(chosen), label, **{**options, "points": fitting}))
    entries = tuple(entry for report in reports for entry in report.entries)
    return replace(reports[0], entries=entries, causes=tuple(dict.fromkeys(c for r in reports for c in r.causes)))


Sizes = Mapping[str, int] | Sequence[Mapping[str, int]] | None


def _chosen(function: CompiledFunction, named: Sequence[str], sizes: Sizes, points: Sequence[Any]) -> list[Any]:
    """The sizes at which to check: those asked for, or three small sets (one all 1); and those of the points."""
    given = [sizes] if isinstance(sizes, Mapping) else [*sizes] if sizes else []
    for one in given:
        wrong = [name for name in one if name not in named]
        if not isinstance(one, Mapping) or wrong or set(one) != set(named):
            raise SpecError(f"sizes={one!r}: give each of {', '.join(map(repr, named))} an int")
        for name, size in one.items():
            if isinstance(size, bool) or not isinstance(size, int) or size < 0:
                raise SpecError(f"sizes={one!r}: {name!r} is {size!r}, and a size is an int, 0 or more")
    if not given:
        first = selftest_sizes(function.graph)
        wishes = [{name: size + 4 for name, size in first.items()}, dict.fromkeys(first, 1)]
        given = [first, *(fitting_sizes(function.graph, wish) for wish in wishes)]
    given += [function._sizes_of(_leaves(function, point)) for point in points]
    found = [{name: one[name] for name in named} for one in given]
    return [one for k, one in enumerate(found) if one not in found[:k]]


def _leaves(function: CompiledFunction, point: Any) -> list[Any]:
    return [*point_leaves(function, point)]


def _checked(
    whole: CompiledFunction,
    function: CompiledFunction,
    label: str,
    *,
    n: int,
    seed: int,
    domain: Domain | None,
    points: Sequence[Any],
    against: str | None,
    order: int,
    rtol: float | None,
    atol: float | None,
    max_ulp: int | None,
) -> Report:
    """The report on `function`, which is `whole` at some sizes of its named dimensions."""
    for name, number in (("n", n), ("seed", seed)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 0:
            raise SpecError(f"{name}={number!r} is no count: give an int, 0 or more")
    if order not in (1, 2) or isinstance(order, bool):
        raise SpecError(f"order={order!r}: 1 checks values and gradients, 2 second derivatives too")
    subject = _subject(function)
    if order == 2 and subject.kind == "value":
        raise DerivativeError(
            f"order=2 checks the derivative of the gradient, and {function.name} was compiled without one"
        )
    graph = subject.graph
    route = REFERENCES[choose(against, graph)]
    given = [point_leaves(function, point) for point in points]
    flat = [*given, *drawn(graph, bounds(domain, function._traced), n, seed)]
    single = any(node.type.dtype == FLOAT32 for node in graph.ordered())  # a result is as exact as its narrowest part
    working = FLOAT32 if single else FLOAT64
    tolerances = route.tolerances.get(working, route.tolerances[FLOAT64])
    relative, absolute = tolerances[0] if rtol is None else rtol, tolerances[1] if atol is None else atol
    eps = float(np.finfo(working.name).eps) if graph.node(graph.outputs[0]).type.dtype.kind == "float" else 0.0

    def compared(case: _Case, points: Sequence[Any]) -> Report:
        _log.debug("comparing %s with %s", function.name, route.title)
        arbiter = Arbiter(case.subject)
        report = compare(
            case.call, route.make(case.subject, len(points), seed), points, case.inputs, case.outputs,
            arbiter=arbiter,
            slack=lambda leaves, output, at: _slack(case, leaves, output, at, eps),
            rtol=relative, atol=absolute, max_ulp=max_ulp, against=route.title,
        )  # fmt: skip
        return _explained(report, case, arbiter if route.noted else None)

    _log.debug("loading %s", function.name)
    _ = function._functions  # what stands in the way of any call is an error, not a mismatch at every point
    further = _further(function, label, flat, choose(against, graph), seed, relative, absolute, max_ulp)
    names = [a.name for a in function.inputs]
    outputs = [a.name + label for f in function._program.functions if f.kind == subject.kind for a in f.outputs]
    if not any(KINDS[f.kind].family == "gradient" for f in function._program.functions):
        return functools.reduce(_joined, further)
    report = compared(_Case(subject, _call(function, subject.kind), names, outputs, graph, subject.joint), flat)
    report = functools.reduce(_joined, further, report)
    if order == 1:
        return report
    product, directions = hessian_product(whole)
    product = product._at(whole_sizes) if (whole_sizes := _sizes_at(whole, function)) else product
    chosen = [function.inputs[i] for i in subject.by]
    generator = np.random.default_rng([seed, order])
    dtypes = graph_dtypes(product.graph)[len(names) :]
    along = [
        tuple(typed(dtype, generator.normal(size=a.shape)) for dtype, a in zip(dtypes, chosen, strict=True))
        for _ in flat
    ]
    second = compared(
        _Case(
            replace(subject, kind="hvp"),
            _call(product, "grad"),
            [*names, *directions],
            [f"d2_{a.name}{label}" for a in chosen],
            product.graph,
            product.adjoint,
        ),
        [(*p, *v) for p, v in zip(flat, along, strict=True)],
    )
    return _joined(report, second)


def _joined(report: Report, more: Report) -> Report:
    causes = tuple(dict.fromkeys((*report.causes, *more.causes)))
    return replace(report, entries=(*report.entries, *more.entries), causes=causes)


def _further(
    function: CompiledFunction,
    label: str,
    points: Sequence[Sequence[Any]],
    route: str,
    seed: int,
    rtol: float,
    atol: float,
    max_ulp: int | None,
) -> list[Report]:
    """Reports on the kinds besides value and gradient: along random tangents and cotangents, or whole matrices."""
    by = [function.graph.inputs.index(k) for k in function._wrt.keys]
    generator = np.random.default_rng([seed, 2])
    found = []
    for f in function._program.functions:
        if KINDS[f.kind].family == "gradient":
            continue
        derived = function._derived[f.kind]
        seeds = [derived.node(k).type for k in derived.inputs[len(function.inputs) :]]
        at = [(*p, *(typed(t.dtype.name, generator.normal(size=static_shape(t.shape))) for t in seeds)) for p in points]
        loose = _LOOSE if route == "finite" else 1.0
        dtypes = [a.dtype for a in f.inputs]
        found.append(
            compare(
                lambda *leaves, kind=f.kind, dtypes=dtypes: _whole(
                    function, kind, function._flat(kind, list(map(typed, dtypes, leaves)))
                ),
                reference(route, function.graph, by, KINDS[f.kind], len(points)),
                at, [a.name for a in f.inputs], [f"{f.name}: {a.name}{label}" for a in f.outputs],
                rtol=loose * rtol, atol=loose * atol, max_ulp=max_ulp, against=REFERENCES[route].title,
            )
        )  # fmt: skip
    return found


@dataclass(frozen=True)
class _Case:
    """One comparison: what is compared, the generated function, names, and the graphs the code was made from.

    `differentiated` is the graph whose gradient is compared, and `derived` computes the outputs.
    """

    subject: Subject
    call: Callable[..., Any]
    inputs: Sequence[str]
    outputs: Sequence[str]
    differentiated: Graph
    derived: Graph

    def key(self, output: int) -> int:
        """The node of `derived` that is output number `output`."""
        return self.derived.outputs[len(self.differentiated.outputs) - self.subject.values + output]


def hessian_product(function: CompiledFunction) -> tuple[CompiledFunction, list[str]]:
    """`function` differentiated once more, for its own target: the Hessian times a direction.

    The result takes the inputs of `function` and then a direction for each input it is differentiated by, whose names
    are returned too; its gradient is the product, leaf by leaf.
    """
    graph, wrt = function.graph, function._wrt.keys
    inputs = [_input(function.inputs[i].name, graph.node(k).type) for i, k in enumerate(graph.inputs)]
    taken = {a.name for a in function.inputs}
    chosen = [graph.inputs.index(k) for k in wrt]
    directions = [_input(_fresh(f"v_{inputs[i].name}", taken), inputs[i].type) for i in chosen]
    (value,) = (to_exprs(graph, inputs)[k] for k in graph.outputs)
    slopes = gradient(value, [inputs[i] for i in chosen])
    product = functools.reduce(operator.add, (total(g * v) for g, v in zip(slopes, directions, strict=True)))
    compiled = compile(
        product,
        args=[*inputs, *directions],
        wrt=[inputs[i] for i in chosen],
        name=f"{function.name}_hvp",
        target=function._target.folder,
        derivatives=("grad",),
        selftest=False,
    )
    return compiled, [str(v.name) for v in directions]


def _whole(function: CompiledFunction, kind: str, results: Sequence[Any]) -> Sequence[Any]:
    """Results in full: of sparse matrices all elements, so that a nonzero outside of their pattern shows."""
    entries = function._entries[kind]
    if all(e is None for e in entries):
        return results
    graph, triangle = function.graph, function._storage and function._storage.triangle
    inputs = [graph.node(k).type for k in function._wrt.keys]
    rows = [graph.node(k).type for k in graph.outputs] if kind == "jacobian" else inputs
    found = []
    for (y, x), data, e in zip(itertools.product(rows, inputs), results, entries, strict=True):
        assert e is not None
        full = np.zeros(e.shape)
        full[e.rows, e.columns] = data
        if triangle is not None and kind == "hessian":
            full[e.columns, e.rows] = data
        found.append(full.reshape(static_shape((*y.shape, *x.shape))))
    return found


def _input(name: str, type: Type) -> Expr:
    return Expr(lookup("input"), (), {"name": name}, type)


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _sizes_at(whole: CompiledFunction, function: CompiledFunction) -> dict[str, int]:
    return sizes_of(whole.graph, [function.graph.node(k).type.shape for k in function.graph.inputs])  # type: ignore[misc]


def _subject(function: CompiledFunction) -> Subject:
    program = function._program
    derivative = program.value_and_grad or program.grad
    if derivative is None:
        return Subject(function.graph, function.graph, (), "value")
    by = tuple(function.graph.inputs.index(k) for k in function._wrt.keys)
    return Subject(function.graph, function.adjoint, by, derivative.kind)


def _call(function: CompiledFunction, kind: str) -> Callable[..., Any]:
    """The generated function on flat leaves of its inputs' dtypes."""
    dtypes = graph_dtypes(function.graph)
    return lambda *leaves: function._flat(kind, list(map(typed, dtypes, leaves)))


def _slack(case: _Case, leaves: Sequence[Any], output: int, at: tuple[int, ...], eps: float) -> float:
    """The absolute error that rounding the inputs alone explains."""
    condition = _condition(case.subject, leaves, output, at)
    if condition is None or not np.isfinite(condition):
        return 0.0
    value = evaluate(widened(case.derived), leaves)[case.key(output)]
    relative = _ROUNDINGS * eps * condition
    return relative * (_NO_DIGIT if relative > 0.01 else 1.0) * abs(float(np.asarray(value)[at]))


def _condition(subject: Subject, leaves: Sequence[Any], output: int, at: tuple[int, ...]) -> float | None:
    found = conditions(subject, leaves)
    if found is None:
        return None
    condition = float(np.asarray(found[output])[at])
    return None if np.isnan(condition) else condition


# --- what a mismatch means --------------------------------------------------------------------------------------------


def _explained(report: Report, case: _Case, arbiter: Arbiter | None) -> Report:
    """`report` with condition numbers, origins of what is not finite, notes on the reference's errors, and causes."""
    entries = []
    for i, entry in enumerate(report.entries):
        mismatches = [
            replace(f, origin=_origin(f, i, case)) if number < _EXPLAINED and not np.isfinite(f.got) else f
            for number, f in enumerate(entry.mismatches)
        ]
        undefined = [replace(f, origin=_origin(f, i, case)) for f in entry.undefined[:1]] + [*entry.undefined[1:]]
        entries.append(
            replace(
                _measured(entry, i, case.subject, arbiter), mismatches=tuple(mismatches), undefined=tuple(undefined)
            )
        )
    return replace(report, entries=tuple(entries), causes=tuple(_causes(entries, case, report)))


def _measured(entry: Entry, output: int, subject: Subject, arbiter: Arbiter | None) -> Entry:
    """`entry` with the condition number at its worst place, and a note if the reference has the larger error there."""
    worst = entry.worst
    if worst is None or not entry.numbers or not np.isfinite(worst.got):
        return entry
    leaves = [value for _, value in worst.inputs]
    entry = replace(entry, condition=_condition(subject, leaves, output, worst.element))
    if arbiter is None or entry.mismatches or worst.got == worst.want or not np.isfinite(worst.want):
        return entry
    exact = arbiter(leaves, output, worst.element)
    if exact is None or not 2.0 * abs(worst.got - exact) < abs(worst.want - exact):
        return entry
    reason = f"the reference is the worse one: exactly, it is {exact!r}"
    return replace(entry, notes=(*entry.notes, replace(worst, reason=reason)))


def _origin(finding: Finding, output: int, case: _Case) -> str:
    """Where a value that is not finite came from, in the graph that the code was made from."""
    leaves = [value for _, value in finding.inputs]
    found = birth(case.derived, leaves, [case.key(output)], "nan" if np.isnan(finding.got) else "nonfinite")
    return str(found) if found is not None else "the graph itself, evaluated by NumPy, gives no such value here"


def _causes(entries: Sequence[Entry], case: _Case, report: Report) -> Iterator[str]:
    """Whose fault the mismatches are: of rules, of an op's own numbers, or of the code behind a graph that is right."""
    firsts = [(i, entry.mismatches[0]) for i, entry in enumerate(entries) if entry.mismatches]
    slopes = [(i, f) for i, f in firsts if i >= case.subject.values]
    if not firsts:
        return
    wrong: dict[str, Fault] = {}
    for _, finding in slopes[:_CAUSES]:
        for fault in faults(case.differentiated, [value for _, value in finding.inputs], case.subject.by):
            wrong.setdefault(fault.op, fault)
    if wrong:
        yield from map(str, wrong.values())
        return
    i, finding = firsts[0]
    leaves = [value for _, value in finding.inputs]
    value = np.asarray(evaluate(case.derived, leaves)[case.key(i)])
    if value.shape and not finding.element:
        return  # another shape: the finding says it
    with np.errstate(all="ignore"):
        agrees = np.isclose(value[finding.element], finding.want, rtol=report.rtol, atol=report.atol, equal_nan=True)
    if agrees:
        yield (
            "the graph is right here, evaluated by NumPy, and the generated code is not: the cell of an op is wrong "
            "(cells= of its record, or the target's table), or a pass"
        )
    yield from map(str, disagreements(case.differentiated, leaves))
