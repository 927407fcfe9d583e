"""The numbers that depend on the machine: one table, with how each was measured.

In: nothing. Out: `Tuning`, which `compile(tuning=...)` takes and which travels with the target to whatever writes code.
Guarantee: no value changes a result beyond rounding, and none is read from anywhere else. The measurements were taken
on two cores of an AMD EPYC (Zen 3, AVX2), gcc 12; the scripts that repeat them stand in `benchmarks/`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from .errors import SpecError

__all__ = ["Tuning"]


@dataclass(frozen=True)
class Tuning:
    """The constants of generated code that a machine decides.

    Each is a positive integer; leave one out to keep what was measured.

    >>> import gradsmith as gs
    >>> gs.Tuning(stack_work=1024).stack_work
    1024
    """

    #: Numbers of workspace that a call from Python keeps on the C stack; more lie on the heap, which costs an
    #: allocation (about 60 ns) a call. 32 KiB of doubles is safe on threads with the smallest usual stacks.
    stack_work: int = 4096
    #: Numbers that a call touches (inputs, outputs, workspace) from which on it lets other Python threads run:
    #: giving the lock back and taking it again costs some 50 ns, reading so many numbers some 5,000.
    release_gil: int = 16384
    #: Elements of one array that straight-line code takes apart; longer arrays are refused there.
    straight_elements: int = 20_000

    #: Elements of an array from which on its exp, log, sin … are our vector kernels: four doubles are one vector, whose
    #: kernel takes about as long as two calls of the C library (benchmarks/vector_functions.py).
    vector_elements: int = 4

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise SpecError(f"Tuning({field.name}={value!r}): give a positive integer")
