"""Prove the prover: a rule of loops that is broken on purpose gives a wrong number in one of the test programs.

A mutant is one function of the compiler with a piece of its text exchanged.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith import regions
from gradsmith.derive import adjoint_regions, tangent_regions
from gradsmith.lower import loop_regions, straight_regions
from gradsmith.ops import control

from .harness import LOOPS, Run, run_python
from .loop_programs import PROGRAMS, compiled, point, reference, wanted

#: What is broken: the function, the text that goes, the text that comes, the target and the program that
#: show it.
MUTANTS: dict[str, tuple[Callable[..., Any], str, str, str, str]] = {
    "the cotangent of the state is dropped": (
        adjoint_regions._loop_back, "found[k] if k in found else zeros(types[k])", "zeros(types[k])", "numpy", "product",
    ),
    "the way back runs forwards": (adjoint_regions._scan_loop, 'not p["reverse"]', 'p["reverse"]', "numpy", "gradient inside"),
    "a while loop's way back runs forwards": (
        adjoint_regions._while_loop, "p[\"bound\"], True, True, False", "p[\"bound\"], True, False, False", "numpy", "while, every step its own",
    ),
    "a while loop's way back takes all steps": (
        adjoint_regions._loop_back, "counted=loop.counted", "counted=loop.counted and loop.length > 30", "numpy", "while",
    ),
    "constants do not collect": (adjoint_regions._extended, "total + x for", "x for", "numpy", "gathered"),
    "elements receive nothing": (adjoint_regions._loop_back, "((plan.xs, len(init)), ", "(((), len(init)), ", "numpy", "map"),
    "results of steps have no cotangent": (
        adjoint_regions._loop_back, "found[number] if number in found else", "", "numpy", "map",
    ),
    "a stored state is that of another step": (
        adjoint_regions._loop_back, "part(region, index=k) for k in plan.stored",
        "gs.roll(part(region, index=k), 1, axis=0) for k in plan.stored", "numpy", "rnn",
    ),
    "the sides of a branch are exchanged on the way back": (
        adjoint_regions._branch_back, "then=then, otherwise=otherwise", "then=otherwise, otherwise=then", "numpy", "branch",
    ),
    "the sides of a branch are exchanged in forward mode": (
        tangent_regions._cond, "then=bodies[0], otherwise=bodies[1]", "then=bodies[1], otherwise=bodies[0]", "numpy", "forward branch",
    ),
    "elements have no tangent": (
        tangent_regions._loop, "_tangent(inner[k], tangents[before + k])", "_tangent(inner[k], None)", "numpy", "forward nested",
    ),
    "the tail of a checkpointed loop is first": (
        control._checkpointed, "((0, whole), (whole, rest))", "((0, whole), (0, rest))", "numpy", "checkpoint 3",
    ),
    "the results of a checkpointed loop are joined the wrong way": (
        control._checkpointed, "if reverse else zip(stacked, others", "if not reverse else zip(stacked, others", "numpy", "checkpoint 3 backwards",
    ),
    "pruning forgets what a state depends on": (
        regions._needed_state, "if more == kept", "if True", "numpy", "gathered",
    ),
    "NumPy: one step too few": (straight_regions._scan, 'str(p["length"])', 'str(p["length"] - 1)', "numpy", "product"),
    "NumPy: the state changes too early": (
        straight_regions._scan, "lines += _deeper(_assigned(writer, state, values[:carries]))",
        "for a, b in zip(state, values[:carries]): lines += _deeper(_assigned(writer, [a], [b]))", "numpy", "shifted arrays",
    ),
    "NumPy: the sides of a branch are exchanged": (
        straight_regions._cond, '"then"), ("else:", "otherwise")', '"otherwise"), ("else:", "then")', "numpy", "branch",
    ),
    "loops: one step too few": (loop_regions._Scan.lines, 'str(p["length"])', 'str(p["length"] - 1)', LOOPS, "product"),
    "loops: backwards is forwards": (
        loop_regions._Scan.lines, '"for_down" if p["reverse"] else "for"', '"for"', LOOPS, "shifted scalars",
    ),
    "loops: a while loop takes one step less": (
        loop_regions._While.lines, "Text(str(self.bound))", "Text('1')", LOOPS, "while, every step its own",
    ),
    "loops: an element is that of the first step": (
        loop_regions.WrittenRegion.stacked, "variable(step) * math.prod(shape)", "Affine()", LOOPS, "map",
    ),
    "loops: the sides of a branch are exchanged": (
        loop_regions._Cond.lines, "child.lines() for child in self.writers", "child.lines() for child in self.writers[::-1]", LOOPS, "branch",
    ),
    "loops: the state starts anywhere": (loop_regions.WrittenRegion.begun, "if (buffers", "if True or (buffers", LOOPS, "product"),
}  # fmt: skip


def mutated(function: Callable[..., Any], old: str, new: str) -> Any:
    """The code of a function after a change of its text."""
    text = textwrap.dedent(inspect.getsource(function))
    assert text.count(old) == 1, f"{function.__qualname__} has {text.count(old)} times {old!r}"
    scope = {**function.__globals__, "gs": gs}
    exec(compile("from __future__ import annotations\n" + text.replace(old, new), "<mutant>", "exec"), scope)
    return scope[function.__name__].__code__


def differs(name: str, target: str) -> bool:
    """Whether a program is wrong, or is not compiled at all."""
    at = point(PROGRAMS[name][1])
    try:
        f = compiled(name, (target,), derivatives=("value_and_grad",)).compiled[target]
        run: Run = run_python(f)
        got, expected = run("value_and_grad", at), wanted(reference(name), at)
    except Exception:
        return True
    return any(
        not np.allclose(np.reshape(a, b.shape), b, rtol=1e-9, atol=1e-9) for a, b in zip(got, expected, strict=True)
    )


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_rule_is_seen(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, old, new, target, program = MUTANTS[mutant]
    assert not differs(program, target)
    monkeypatch.setitem(function.__globals__, "gs", gs)
    monkeypatch.setattr(function, "__code__", mutated(function, old, new))
    assert differs(program, target)
