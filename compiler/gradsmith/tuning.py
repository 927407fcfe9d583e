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
    #: Most points that a batch function takes at a time. From 32 to 256, Rosenbrock's gradient (n = 10) took the same
    #: 5.1 to 5.6 ns a point; the seed expression 8.4 with 32 and 7.1 with 128.
    batch_points: int = 128
    #: Bytes of a block's arguments and results, for which fewer points are taken at a time: they lie on the C stack
    #: where they are not read and written in place, and should stay in the first cache (32 KiB). For a network of
    #: 54 numbers a point, rows took 82, 78, 78 and 93 ns with 12, 24, 48 and 96 KiB (the better of two noisy runs).
    batch_bytes: int = 24_576
    #: Statements of one point, beyond which a batch function is not one vectorised loop but calls the function of one
    #: point. Not measured: chosen as for Python's straight-line code, to bound what C compilers take for one loop.
    batch_statements: int = 2_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise SpecError(f"Tuning({field.name}={value!r}): give a positive integer")
