"""Strict: one order of operations and one library of functions for all targets, so that results agree to the last bit.

In: a target. Out: the same target with other cells. NumPy's `exp`, `sin`, `power` … are its own, so they give way to
those of the C library, called through Python element by element; NumPy adds in pairs and multiplies matrices by BLAS,
so reductions go from the first element to the last, as C's loops do. What Python's `math` computes by an algorithm of
its own is spelled out. Guarantee: with the same C library, the targets compute the same bits of float64 from the same
graph, apart from the sign and payload of NaN.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from ..errors import TargetError
from ..graph import Graph
from ..registry import OPS, Cell, Op, Params, Reduction, lookup
from ..target import Target, load_target
from ..types import FLOAT32, FLOAT64, Type

__all__ = ["check_width", "strict", "written_by_all"]

_BUILTIN = ("python", "numpy", "c")
#: NumPy's functions that have one right result, to the last bit and to the sign of zero.
_EXACT = frozenset(
    f"np.{name}"
    for name in (
        "abs", "ceil", "copysign", "floor", "floor_divide", "isfinite", "isinf", "isnan", "nextafter", "remainder",
        "round", "signbit", "sqrt", "trunc", "where",
    )
)  # fmt: skip
_CALL = re.compile(r"([A-Za-z_][\w.]*)\(")
#: Functions of Python's `math` that are not the C library's.
_OWN = frozenset({"math.hypot"})
_EACH = '''\
import math
def _each(function, *xs):
    """`function` of the numbers at each place: NumPy's own are not the functions of the C library."""
    return np.vectorize(function, otypes=[np.float64])(*xs)[()]
'''
_FOLDED = '''\
def _folded(function, x, axes, keepdims, total):
    """All elements along `axes`, combined one after the other in the order of memory."""
    rest = [k for k in range(x.ndim) if k not in axes]
    rows = np.transpose(x, [*axes, *rest]).reshape(-1, *(x.shape[k] for k in rest))
    total = np.full(rows.shape[1:], total)
    for row in rows:
        total = function(total, row)
    return np.expand_dims(total, axes) if keepdims else total[()]
'''


def strict(target: Target) -> Target:
    """`target` with the cells of strict code.

    A record's own `target.strict` cell comes first. For NumPy's other functions, one is made from Python's.
    """
    cells: dict[str, Cell | None] = {}
    support: dict[str, str | tuple[str, ...]] = {}
    python = load_target("python")
    for op in OPS.values():
        own = f"{target.name}.strict"
        if own in op.cells:
            cells[op.name] = op.cells[own]
            support[op.name] = op.support.get(own, ())
            support[f"{op.name}.float32"] = op.support.get(f"{own}.float32", ())
        elif not _OWN.isdisjoint(_called(op.cells.get("python", ""))):
            cells[op.name] = None
        elif target.lowering == "array" and not _exact(op, target):
            made = _in_order(op, target) if isinstance(op.structure, Reduction) else _element_by_element(op, python)
            if made is not None:
                cells[f"{op.name}.float64"], support[f"{op.name}.float64"] = made
    return replace(target, cells={**cells, **target.cells}, support={**support, **target.support}, strict=True)


def written_by_all(target: Target) -> Callable[[Op], bool]:
    """Whether an op needs no expansion in any of the built-in targets, nor in `target`: those that do, all expand.

    (Kernels sort, which rounds nothing, so each target may do it in its own way.)
    """
    common = [target, *(strict(load_target(name)) for name in _BUILTIN)]
    return lambda op: all(t.writes(op) for t in (common[:1] if op.kind == "kernel" else common))


def check_width(graph: Graph, target: Target) -> None:
    """Refuse float32 for NumPy, which has the C library's functions in float64 only."""
    if target.lowering == "array" and any(n.type.dtype == FLOAT32 for n in graph.ordered()):
        raise TargetError(
            f"strict=True: target {target.name!r} has the C library's functions in float64 only, and there is float32 "
            'here: use dtype="float64", target="c", or leave strict out'
        )


def _called(cell: Cell | None) -> Sequence[str]:
    return _CALL.findall(cell) if isinstance(cell, str) else ()


def _exact(op: Op, target: Target) -> bool:
    """Whether the target's own cell has one right result. One that is no text is taken to have."""
    cell = target.cell(op)
    if isinstance(op.structure, Reduction):
        return False
    return not isinstance(cell, str) or ("**" not in cell and _EXACT.issuperset(_called(cell)))


def _element_by_element(op: Op, python: Target) -> tuple[Cell, tuple[str, ...]] | None:
    """Python's cell, the one that never raises, for each element; and what it calls."""
    cell = python.cell(op, FLOAT64, twin=True)
    if op.kind != "elementwise" or cell is None:
        return None
    twin = f"{python.name}.{python.twin}" in op.cells
    return partial(_each, cell, op.arity or 0), (_EACH, *python.support_texts(op, FLOAT64, twin))


def _each(cell: Cell, arity: int, args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
    names = "abcdefgh"[:arity]
    text = cell.format(*names) if isinstance(cell, str) else cell(names, params, types)
    name, _, rest = text.partition("(")
    function = name if rest == f"{', '.join(names)})" else f"lambda {', '.join(names)}: {text}"
    return f"_each({', '.join([function, *args])})"


def _in_order(op: Op, target: Target) -> tuple[Cell, tuple[str, ...]]:
    """A reduction that combines the elements one after the other."""
    assert isinstance(op.structure, Reduction)
    combine = lookup(op.structure.combine)
    cell = combine.cells.get(f"{target.name}.strict", combine.cells[target.name])
    assert isinstance(cell, str)
    return partial(_reduced, cell.format("a", "b"), f"{op.structure.initial!r}".replace("inf", "np.inf")), (_FOLDED,)


def _reduced(combined: str, initial: str, args: Sequence[str], params: Params, types: Sequence[Type]) -> str:
    return f"_folded(lambda a, b: {combined}, {args[0]}, {params['axis']}, {params['keepdims']}, {initial})"
