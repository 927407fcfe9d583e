"""What the tests of plain NumPy code share: a program run on arrays is the reference of the same program traced.

Each program is a function of arrays that knows nothing of gradsmith. NumPy itself is the reference of the values, and
central differences of NumPy's values are the reference of the gradients. Programs share one C library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gradsmith as gs

from .harness import COMPILERS, Program, Runners, joint, weights

__all__ = ["Table", "agree", "numbers", "slopes"]

Function = Callable[..., Any]
Table = Mapping[str, tuple[Function, Sequence[tuple[int, ...]]]]


def numbers(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Distinct numbers in [0.3, 2.7], in no order."""
    size = int(np.prod(shape, dtype=int))
    return (0.3 + (np.arange(size) * 0.6180339887498949 + 0.37 * seed) % 1.0 * 2.4).reshape(shape)


def scalar(function: Function) -> Function:
    """`function`, with what it returns (arrays, tuples or lists of them) contracted to one number."""

    def total(*args: Any) -> Any:
        found = function(*args)
        parts = found if isinstance(found, tuple | list) else [found]
        return sum(np.sum(part * weights(np.shape(part), k)) for k, part in enumerate(parts))

    return total


def slopes(function: Function, point: Sequence[np.ndarray], step: float = 1e-6) -> list[np.ndarray]:
    """Central differences of NumPy's values."""
    found = []
    for i, x in enumerate(point):
        g = np.zeros(x.shape)
        for place in np.ndindex(x.shape):
            sides = []
            for h in (step, -step):
                moved = [p.copy() for p in point]
                moved[i][place] += h
                sides.append(float(function(*moved)))
            g[place] = (sides[0] - sides[1]) / (2 * step)
        found.append(g)
    return found


def agree(table: Table, folder: Path) -> None:
    """Every program's value and gradient, on every target, against NumPy; all that differ are listed."""
    programs: dict[str, Program] = {}
    functions: dict[str, Function] = {}
    for k, (label, (function, shapes)) in enumerate(table.items()):
        xs = [gs.symbol(f"x{i}", shape) for i, shape in enumerate(shapes)]
        functions[label] = scalar(function)
        programs[label] = joint(functions[label](*xs), xs, f"p{k}")
    runners = Runners(programs, folder, COMPILERS[:1])
    problems = []
    for label, (_, shapes) in table.items():
        point = [numbers(shape, i) for i, shape in enumerate(shapes)]
        with np.errstate(all="ignore"):
            value = float(functions[label](*[p.copy() for p in point]))
            want = slopes(functions[label], point)
        for target, run in runners.all(label):
            got, *gradient = run("value_and_grad", point)
            if not abs(float(got) - value) <= 1e-12 * max(1.0, abs(value)):
                problems.append(f"{label}, {target}: {float(got)}, NumPy has {value}")
            for i, (a, b) in enumerate(zip(gradient, want, strict=True)):
                if a.shape != b.shape or not np.allclose(a, b, rtol=1e-6, atol=1e-7 * max(1.0, abs(value))):
                    problems.append(f"{label}, {target}, gradient {i}: {a.tolist()}, differences have {b.tolist()}")
    assert not problems, "\n".join(problems)
