"""Write docs/ops.md from the op table: formula, domain, edges, derivative, cost and targets of every op.

Run from the repository's root: `python tools/ops_reference.py`. What the page says comes from the records, and from
running the code that is generated for them; tests/test_ops_doc.py executes each row once more and compares.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import sympy as sp

import gradsmith as gs
from gradsmith.ops.correlations import CORRELATIONS
from gradsmith.ops.lapack import LAPACK
from gradsmith.ops.products import PRODUCTS
from gradsmith.registry import OPS, Op
from gradsmith.trace import registry_function
from gradsmith.types import Type

PAGE = Path(__file__).parents[1] / "docs/ops.md"
TARGETS = ("python", "numpy", "c")
INNER = (
    *("input", "constant", "element", "pick", "custom"),  # leaves, how scalar code reads arrays, and a function's rule
    *("lu", "lu_solve"),  # what solve and its kin are made of
    *(row.call.op.name for row in LAPACK.values()),  # the same by a library
    *(row.op.name for row in (*PRODUCTS, *CORRELATIONS)),  # matmul by kernels
    *("part", "scan", "while_loop", "cond"),  # whose bodies are graphs
)

HEAD = """\
# The ops

Written by `python tools/ops_reference.py` from the records of the op table, and from running the code that is generated
for them; the tests execute each row. Do not edit: change the record.

How to read it:

- **formula**: SymPy's text of the op in terms of its operands, `x` and `y` unless it says otherwise.
- **domain**: where the result is a finite real number (overflow aside).
- **derivative**: the slope by each operand. No slope: no gradient flows, structurally.
- **cost**: what the value takes, then what value and gradient take together, in the Python target.
- **targets**: a target that is named has the op as it is. *Expanded*: as a composition of other ops. *Loops*: as loops.
  *Unrolled*: element by element.
- Below each table: what the generated code gives at the edges, six digits of it, the slopes in the order of the
  operands; then the notes of the record.
"""


# --- what a record says ----------------------------------------------------------------------------------------------


def operands(record: Op) -> tuple[str, ...]:
    """The names of the operands, as the formula and the slope have them."""
    return tuple(record.operands.split()) or ("x", "y", "z")[: record.arity or 0]


def home(record: Op) -> str:
    """The module of the family."""
    families = {name: module for name, module in sys.modules.items() if name.startswith("gradsmith.ops.")}
    for name, module in families.items():
        if not set(public_names(record)).isdisjoint(getattr(module, "__all__", ())):
            return name
    rules = [record.vjp, record.torch, record.mp, record.evaluate, record.expand, record.infer]
    modules = [getattr(f, "__module__", None) for f in rules]
    return next(m for m in modules if m in families and not m.rpartition(".")[2].startswith("_"))


def public_names(record: Op) -> list[str]:
    """What the op is called in `gs`, its own name first."""
    names = [name for name, value in vars(gs).items() if getattr(value, "op", None) is record]
    wrapper = getattr(gs, record.name, None)
    if not names and getattr(wrapper, "__module__", "").startswith("gradsmith.ops"):
        names = [record.name]
    return sorted(names, key=lambda name: (name != record.name, name))


def formula(record: Op) -> str:
    """The op in SymPy's text; empty where it has none."""
    if record.sympy is None:
        return ""
    real = record.takes not in ("bool", "integers")
    xs = [sp.Symbol(name, real=True) if real else sp.Symbol(name) for name in operands(record)]
    if record.name == "where":
        xs[0] = sp.Symbol(operands(record)[0])
    return str(getattr(sp, record.sympy)(*xs) if isinstance(record.sympy, str) else record.sympy(sp, *xs))


def scalar(record: Op) -> bool:
    """Whether the op is one of numbers: floats in, one float out."""
    if record.kind != "elementwise" or record.name in INNER or record.takes not in ("float", "number"):
        return False
    return bool(record.infer(*[Type((), gs.float64)] * (record.arity or 0)).dtype == gs.float64)


# --- the domain ------------------------------------------------------------------------------------------------------

_BOUNDS = (-1.0, 0.0, 1.0, 2.0)
_BETWEEN = (-2.5, -0.5, 0.5, 1.5, 2.5)
_POLES = (-2.0, -3.0)
ORDERS = (1.0, 2.0, 3.0)


def domain(record: Op) -> str:
    """Where the result is a finite real number, as a condition on the operands."""
    if record.domain:
        return record.domain
    names = operands(record)
    orders = ["n = 0, 1, 2, …" if finite(record, (0.0, 2.5, *[1.5] * (len(names) - 2))) else "n = 1, 2, 3, …"] * (
        names[0] == "n"
    )
    real = [k for k, name in enumerate(names) if name != "n"]
    probes = [*_BOUNDS, *_BETWEEN, *_POLES]
    found = []
    for k in real:
        good = {}
        for x in probes:
            at = [1.0 if name == "n" else 0.3 for name in names]
            at[k] = x
            good[x] = finite(record, tuple(at))
        found.append(interval(good, names[k]))
    conditions = [*orders, *(c for c in found if c)]
    return ", ".join(conditions) if conditions else "all " + ", ".join(names)


def interval(good: Mapping[float, bool], name: str) -> str:
    """The condition that holds at the probes that are good; empty where all are."""
    if all(good.values()):
        return ""
    bad = [x for x, ok in good.items() if not ok]
    if sorted(bad) == sorted([-1.0, 0.0, *_POLES]):
        return f"{name} != 0, -1, -2, …"
    if len(bad) <= 2 and all(x in _BOUNDS for x in bad):
        return " and ".join(f"{name} != {x:g}" for x in bad)
    inside = [x for x in sorted(good) if good[x]]
    low, high = inside[0], inside[-1]
    if not all(good[x] for x in good if low <= x <= high):
        raise ValueError(f"{name} is good at {inside}: state the domain in the record")
    below = "" if low == min(good) else f"{low:g} <= " if low in _BOUNDS else f"{_lower(low):g} < "
    above = "" if high == max(good) else f" <= {high:g}" if high in _BOUNDS else f" < {_upper(high):g}"
    if below and not above:
        return f"{name} {'>=' if '=' in below else '>'} {below.split()[0]}"
    return f"{below}{name}{above}"


def _lower(x: float) -> float:
    return max(b for b in _BOUNDS if b < x)


def _upper(x: float) -> float:
    return min(b for b in _BOUNDS if b > x)


def finite(record: Op, at: Sequence[float]) -> bool:
    """Whether mpmath comes to a finite real number."""
    try:
        xs = [mp.mpf(x) for x in at]
        y = getattr(mp, record.mp)(*xs) if isinstance(record.mp, str) else record.mp(mp, *xs)  # type: ignore[misc]
    except (ArithmeticError, ValueError, TypeError):
        return False
    return not isinstance(y, mp.mpc) and bool(mp.isfinite(y))


# --- running the generated code --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """What the generated code gives at one point: the value, and the slope by each operand."""

    at: tuple[float, ...]
    value: float
    slopes: tuple[float, ...]


def compiled(record: Op, target: str = "python") -> gs.CompiledFunction:
    """The op on scalars."""
    xs = [gs.symbol(name) for name in operands(record)]
    return gs.compile(registry_function(record.name)(*xs), args=xs, name="f", target=target, selftest=False)


def place(f: gs.CompiledFunction, at: Sequence[float]) -> Place:
    """The function at a point."""
    value, slopes = f.value_and_grad(*at)
    slopes = slopes if isinstance(slopes, tuple) else (slopes,)
    return Place(tuple(at), float(value), tuple(map(float, slopes)))


def cost(f: gs.CompiledFunction) -> str:
    """What the value takes; what value and gradient take."""
    return f"{counted(f.cost.value)}; {counted(f.cost.value_and_grad)}"


def counted(count: Mapping[str, int]) -> str:
    """`2 mul, exp`: in alphabetical order, without ones."""
    return ", ".join(f"{n} {kind}" if n > 1 else kind for kind, n in sorted(count.items())) or "nothing"


def targets(record: Op) -> str:
    """How each target has the op."""
    groups: dict[str, list[str]] = {"": [], "expanded: ": [], "loops: ": [], "unrolled: ": []}
    for target in TARGETS:
        if target in record.cells or target in record.statements:
            how = ""
        elif record.kind == "layout" or (record.structure is not None and record.kind != "kernel"):
            how = {"python": "unrolled: ", "numpy": "", "c": "loops: "}[target]
        else:
            how = "expanded: "
        groups[how].append(target)
    return "; ".join(how + ", ".join(names) for how, names in groups.items() if names)


def number(x: float) -> str:
    """Six digits, the same on every machine."""
    return "NaN" if math.isnan(x) else f"{x:.6g}"


def exactly(x: float) -> str:
    """All digits of a point."""
    return "NaN" if math.isnan(x) else repr(x).removesuffix(".0")


def numbers(xs: Sequence[float]) -> str:
    """A number, or several in parentheses."""
    return number(xs[0]) if len(xs) == 1 else "(" + ", ".join(map(number, xs)) + ")"


# --- kinks -----------------------------------------------------------------------------------------------------------

_STEP = 2.0**-30
#: Functions of one number that are compositions, and where their slopes jump.
PIECEWISE: dict[str, tuple[Callable[[Any], gs.Expr], tuple[float, ...]]] = {
    "leaky_relu(x)": (lambda x: gs.leaky_relu(x), (0.0,)),
    "elu(x, 2)": (lambda x: gs.elu(x, 2.0), (0.0,)),
    "selu(x)": (lambda x: gs.selu(x), (0.0,)),
    "hardtanh(x)": (lambda x: gs.hardtanh(x), (-1.0, 1.0)),
    "relu6(x)": (lambda x: gs.relu6(x), (0.0, 6.0)),
    "hardsigmoid(x)": (lambda x: gs.hardsigmoid(x), (-3.0, 3.0)),
    "hardswish(x)": (lambda x: gs.hardswish(x), (-3.0, 3.0)),
    "clip(x, -1, 1)": (lambda x: gs.clip(x, -1.0, 1.0), (-1.0, 1.0)),
    "l1_loss(x, 0)": (lambda x: gs.l1_loss(x, 0.0), (0.0,)),
    "where(x > 0, x, 0)": (lambda x: gs.where(x > 0.0, x, 0.0), (0.0,)),
}  # fmt: skip
#: Functions of arrays, and points where elements tie or the slope has no limit.
TIES: dict[str, tuple[Callable[[Any], gs.Expr], tuple[float, ...]]] = {
    "max(x)": (lambda x: gs.max(x), (1.0, 3.0, 3.0)),
    "min(x)": (lambda x: gs.min(x), (1.0, 1.0, 3.0)),
    "prod(x)": (lambda x: gs.prod(x), (0.0, 2.0, 3.0)),
    "max_pool1d(x, 3)": (lambda x: gs.max_pool1d(gs.reshape(x, (1, 1, 3)), 3)[0, 0, 0], (3.0, 1.0, 3.0)),
    "sort(x)[0]": (lambda x: gs.sort(x)[0], (1.0, 3.0, 1.0)),
    "x[argmax(x)]": (lambda x: gs.take(x, gs.argmax(x)), (3.0, 1.0, 3.0)),
    "vector_norm(x)": (lambda x: gs.vector_norm(x), (0.0, 0.0, 0.0)),
    "vector_norm(x, ord=1)": (lambda x: gs.vector_norm(x, ord=1), (0.0, 2.0, -3.0)),
    "vector_norm(x, ord=inf)": (lambda x: gs.vector_norm(x, ord=gs.inf), (3.0, 2.0, -3.0)),
    "std(x)": (lambda x: gs.std(x), (2.0, 2.0, 2.0)),
    "logsumexp(x)": (lambda x: gs.logsumexp(x), (-math.inf, -math.inf, -math.inf)),
}


@dataclass(frozen=True)
class Kink:
    """A point where the slope, or the value, jumps along an operand: what there is on its left, there, on its right."""

    call: str
    name: str
    left: Place
    here: Place
    right: Place


def kinks() -> Iterator[Kink]:
    """All kinks and jumps at the edges and samples of the records, and those of the compositions."""
    for record in OPS.values():
        if scalar(record):
            f = compiled(record)
            points = dict.fromkeys(tuple(float(x) + 0.0 for x in p) for p in (*record.edges, *record.samples))
            call = f"{record.name}({', '.join(operands(record))})"
            found = [k for at in points if (k := kink(call, f, at, operands(record))) is not None]
            yield from found[:4]
    for call, (function, points) in PIECEWISE.items():
        x = gs.symbol("x")
        f = gs.compile(function(x), args=[x], name="f", selftest=False)
        for at in points:
            found_here = kink(call, f, (at,), ("x",))
            assert found_here is not None, f"{call} is smooth at {at}"
            yield found_here


def kink(call: str, f: gs.CompiledFunction, at: Sequence[float], names: Sequence[str]) -> Kink | None:
    """The jump at the point along the first operand that has one."""
    if not all(x == 0.0 or 1e-3 < abs(x) < 1e3 for x in at):
        return None
    for k, x in enumerate(at):
        if names[k] == "n":
            continue
        step = _STEP * max(1.0, abs(x))
        left, here, right = (place(f, [*at[:k], x + s, *at[k + 1 :]]) for s in (-step, 0.0, step))
        ends = [left.value, *left.slopes, right.value, *right.slopes]
        bounded = all(map(math.isfinite, ends)) and max(map(abs, ends)) < 1e4  # else it is a pole
        if bounded and not all(map(_near, (left.value, *left.slopes), (right.value, *right.slopes))):
            return Kink(call, names[k], left, here, right)
    return None


def near(x: float) -> float:
    """The limit that a number beside a kink stands for."""
    return round(x, 6) + 0.0


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-4 * max(1.0, abs(a), abs(b))


# --- the page --------------------------------------------------------------------------------------------------------


def page() -> str:
    """All of docs/ops.md."""
    return "\n".join([HEAD, *kinks_and_ties(), *families(), *compositions()])


def kinks_and_ties() -> Iterator[str]:
    """The points where a slope is a choice."""
    yield "## Ties and kinks\n"
    yield (
        "Where a slope jumps, or the function itself does, ours is torch's, except where the notes of the op differ.\n"
        "Left and right are the limits along the operand that is named; slopes are by all operands.\n"
    )
    yield "| op | at | value: left, there, right | slope: left | there | right |"
    yield "|---|---|---|---|---|---|"
    for k in kinks():
        where = ", ".join(map(number, k.here.at))
        values = ", ".join(number(near(p.value)) for p in (k.left, k.here, k.right))
        slopes = " | ".join(numbers([near(s) for s in p.slopes]) for p in (k.left, k.here, k.right))
        yield f"| `{k.call}` | {where} (along {k.name}) | {values} | {slopes} |"
    yield "\nElements of an array that tie:\n"
    yield "| call | x | value | gradient |"
    yield "|---|---|---|---|"
    for call, (function, at) in TIES.items():
        x = gs.symbol("x", (len(at),))
        value, slopes = gs.compile(function(x), args=[x], target="numpy", selftest=False).value_and_grad(np.array(at))
        yield f"| `{call}` | {numbers(at)} | {number(float(value))} | {numbers(slopes.tolist())} |"
    yield ""


def families() -> Iterator[str]:
    """One section a module: a table of its ops, then their edges and notes."""
    modules: dict[str, list[Op]] = {}
    for record in OPS.values():
        if record.name not in INNER:
            modules.setdefault(home(record), []).append(record)
    for module, records in modules.items():
        yield f"## {title(module)}\n"
        numbers_, others = [r for r in records if scalar(r)], [r for r in records if not scalar(r)]
        if numbers_:
            built = {r.name: compiled(r) for r in numbers_}
            yield "| op | formula | domain | derivative | cost | targets |"
            yield "|---|---|---|---|---|---|"
            for r in numbers_:
                text = [f"`{formula(r)}`" if formula(r) else brief(r), domain(r), derivative(r)]
                yield row(names(r), *text, cost(built[r.name]), targets(r))
            yield ""
            for r in numbers_:
                yield from edges(r, built[r.name])
            yield ""
        if others:
            yield "| op | what it is | derivative | cost | targets |"
            yield "|---|---|---|---|---|"
            for r in others:
                yield row(names(r), brief(r), derivative(r), example_cost(r), targets(r))
            yield ""
            for r in others:
                if r.edge_notes:
                    yield f"- `{r.name}`: " + notes(r)
            if any(r.edge_notes for r in others):
                yield ""


def title(module: str) -> str:
    """The first words of the module's docstring."""
    line = (sys.modules[module].__doc__ or "").splitlines()[0]
    return line.split(":")[0].split(",")[0].rstrip(".")


def row(*cells: str) -> str:
    """A line of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def names(record: Op) -> str:
    """`gs.pow`, `gs.power`; an op without a public name by its own."""
    public = public_names(record)
    return ", ".join(f"`gs.{name}`" for name in public) if public else f"`{record.name}` (internal)"


def brief(record: Op) -> str:
    """The record's line."""
    return record.doc


def derivative(record: Op) -> str:
    """The slope in words."""
    return f"`{record.slope}`" if record.slope else "that of its expansion" if record.vjp is None else ""


def edges(record: Op, f: gs.CompiledFunction) -> Iterator[str]:
    """One line: each edge with the value and the slope that the generated code gives, and the notes."""
    parts = []
    for edge in record.edges:
        found = place(f, [float(x) for x in edge])
        slopes = f", slope {numbers(found.slopes)}"
        at = ", ".join(map(exactly, found.at))
        parts.append(f"`{at}` → {number(found.value)}{slopes}")
    if parts or record.edge_notes:
        yield f"- `{record.name}`: " + " ".join(filter(None, ["; ".join(parts) + "." * bool(parts), notes(record)]))


def notes(record: Op) -> str:
    """The notes of the record, as sentences."""
    return " ".join(f"*{where}*: {what}." for where, what in record.edge_notes.items())


def example(record: Op) -> tuple[list[gs.Expr], gs.Expr, list[np.ndarray]]:
    """The first sample of an op of arrays: symbols, the op applied to them, and the numbers."""
    sample = record.samples[0]
    params = sample[-1] if isinstance(sample[-1], dict) else {}
    arrays = [np.asarray(x) for x in (sample[:-1] if params else sample)]
    kinds = [x.dtype.name if x.dtype.kind in "ib" and record.takes != "float" else "float64" for x in arrays]
    xs = [gs.symbol(f"x{i}", x.shape, kind) for i, (x, kind) in enumerate(zip(arrays, kinds, strict=True))]
    return xs, registry_function(record.name)(*xs, **params), [x.astype(k) for x, k in zip(arrays, kinds, strict=True)]


def example_cost(record: Op) -> str:
    """What the value takes at the first sample."""
    xs, y, arrays = example(record)
    f = gs.compile(y, args=xs, target="numpy", derivatives=("value",), selftest=False)
    shapes = ", ".join("scalar" if not a.shape else "×".join(map(str, a.shape)) for a in arrays)
    return f"{shapes}: {counted(f.cost.value)}" if shapes else counted(f.cost.value)


def compositions() -> Iterator[str]:
    """Public functions that have no record."""
    yield "## Compositions\n"
    yield "These have no record of their own: they are made of the ops above, and their derivatives follow.\n"
    yield "| function | what it gives |"
    yield "|---|---|"
    for name, function in sorted(vars(gs).items()):
        if composition(name, function):
            line = (inspect.getdoc(function) or "").splitlines()[0]
            yield row(f"`gs.{name}{signature(function)}`", line)
    yield ""


def composition(name: str, function: Any) -> bool:
    """Whether a member of `gs` is a function of arrays without a record."""
    module = getattr(function, "__module__", None) or ""
    if name.startswith("_") or isinstance(function, type) or not callable(function) or hasattr(function, "op"):
        return False
    return module.startswith("gradsmith.ops.") and (name not in OPS or name in INNER)


def signature(function: Callable[..., Any]) -> str:
    """The parameters without their types."""
    found = inspect.signature(function)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in found.parameters.values()]
    return str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
