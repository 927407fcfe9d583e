"""The process of one entry: it builds, answers and times what it is told, one workload at a time.

A process each, because the peers bring LLVMs and thread pools of their own, some end the process when they fail, and
some must be ended because they do not finish. They take turns: nothing here runs unless it was asked to.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import time
import timeit
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from .records import Ready, Untried, arrays_of

__all__ = ["first_words", "least_interrupted", "seconds_of", "serve"]

T = TypeVar("T")

#: Slices by the clock that are taken at most, until there is one in which other processes let all threads run.
TRIES = 5


def first_words(error: BaseException) -> str:
    """What the table says of an error.

    >>> first_words(ModuleNotFoundError("No module named 'jax'", name="jax"))
    'not installed'
    >>> first_words(ValueError("a first line\\nand a second"))
    'ValueError: a first line'
    """
    if isinstance(error, ModuleNotFoundError):
        return "not installed"
    if isinstance(error, Untried):
        return str(error)
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}".rstrip(": ")[:60]


def timer(ready: Ready, by_clock: bool = False) -> timeit.Timer:
    """A loop of calls written out with its arguments: no unpacking, no look-up of globals."""
    names = [f"a{k}" for k in range(len(ready.arguments))]
    setup = "f = given.function" + "".join(f"\n{name} = given.arguments[{k}]" for k, name in enumerate(names))
    setup += "".join(f"\n{name} = given.keywords['{name}']" for name in ready.keywords)
    return timeit.Timer(
        f"f({', '.join([*names, *(f'{name}={name}' for name in ready.keywords)])})",
        setup,
        time.perf_counter if by_clock else time.process_time,
        {"given": ready},
    )


def seconds_of(loop: timeit.Timer, number: int) -> float:
    """Seconds of one call: the mean of `number` calls, after a tenth as many that warm the caches up."""
    loop.timeit(1 + number // 10)
    return loop.timeit(number) / number


def calibrated(loop: timeit.Timer, slice_: float) -> int:
    """How many calls fill `slice_` seconds."""
    number = 1
    while (spent := loop.timeit(number)) < slice_ / 4:
        number = max(2 * number, int(number * slice_ / 4 / max(spent, 1e-7)))
    return max(1, int(number * slice_ / spent))


def interruptions() -> int:
    """How often threads of this process had to leave a core to another process; 0 where nobody counts."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def least_interrupted(measured: Callable[[], T]) -> T:
    """What `measured()` says when other processes interrupt it least, of `TRIES` times or fewer.

    OpenMP's threads wait awake. If one has lost its core, the others wait on theirs for as long as the scheduler gives
    such slices (4 ms), and so in every call.
    """
    found: list[tuple[int, T]] = []
    while len(found) < TRIES and not (found and found[-1][0] == 0):
        before = interruptions()
        result = measured()
        found.append((interruptions() - before, result))
    return min(found, key=lambda pair: pair[0])[1]


def serve(pipe: Connection, family: str, entry: str) -> None:
    """Answer requests (word, workload, number) until there are none.

    "reference": the independent answer. "build": this entry's answer. "calibrate": calls that fill so many seconds.
    "time": seconds a call. An answer is (True, what was asked for) or (False, the error's first words).
    """
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silent, stream)
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(20_000)
    held: dict[str, Any] = {}
    while True:
        try:
            word, name, number = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((True, perform(held, family, entry, word, name, number)))
        except Exception as error:
            pipe.send((False, first_words(error)))


def perform(held: dict[str, Any], family: str, entry: str, word: str, name: str, number: float) -> Any:
    """One request; `held` is what is built, of one workload at a time."""
    of = importlib.import_module(family).FAMILY  # families are modules beside this package
    taken: Callable[[Callable[[], Any]], Any] = least_interrupted if of.by_clock else lambda measured: measured()
    if word == "calibrate":
        return taken(lambda: calibrated(held["loop"], number))
    if word == "time":
        return taken(lambda: seconds_of(held["loop"], int(number)))
    workload = next(w for w in of.workloads if w.name == name)
    if word == "reference":
        return arrays_of(workload.reference(*workload.given()))
    held.clear()
    gc.collect()
    ready = workload.entries[entry](workload.given())
    ready.answer()  # once to compile, where that happens at the first call
    answer = ready.answer()
    gc.collect()
    gc.freeze()
    held["loop"] = timer(ready, of.by_clock)
    return answer
