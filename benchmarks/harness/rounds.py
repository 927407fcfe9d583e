"""All entries of a workload take turns: one slice of time each a round, many rounds, medians.

In: a workload. Out: `Result` for each entry. Guaranteed: whoever is wrong, missing, or not built in time has no time;
ratios are medians over rounds of the quotient within a round, so that what slows the machine for a while cancels.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Any

from .machine import threads, variables
from .records import Family, Workload
from .verdict import verdict
from .worker import serve

__all__ = ["Effort", "Entries", "Result", "measure", "ratio"]

REFERENCE = "reference"

#: Seconds that follow the time of an entry of several threads: OpenMP's threads wait awake for 4 to 8 ms after a call,
#: and the next entry had half of a core meanwhile (a call of 150 us took 260).
REST = 0.05


@dataclass(frozen=True)
class Effort:
    """How long is waited and measured: seconds, except `rounds`."""

    rounds: int
    slice: float
    patience: float  # for the build and the first calls of one entry
    builds: int = 1  # rounds of what is built, which takes seconds


@dataclass(frozen=True)
class Result:
    """The seconds of a call in each round, of CPU time or by the clock as its family says, or why there are none."""

    times: tuple[float, ...] = ()
    why: str = ""

    @property
    def seconds(self) -> float | None:
        return median(self.times) if self.times else None


def ratio(ours: Result | None, theirs: Result | None) -> float | None:
    """The median over rounds of ours divided by theirs."""
    if ours is None or theirs is None or not ours.times or not theirs.times:
        return None
    return median(a / b for a, b in zip(ours.times, theirs.times, strict=True))


class Entries:
    """The processes of one family, started when first asked, replaced when they died; `several` have threads."""

    def __init__(
        self,
        family: str,
        several: Mapping[str, int] = MappingProxyType({}),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.family, self.several, self.environment = family, several, environment
        self.context = multiprocessing.get_context("spawn")
        self.running: dict[str, Any] = {}

    def __enter__(self) -> Entries:
        return self

    def __exit__(self, *_: object) -> None:
        for entry in list(self.running):
            self.end(entry)

    def end(self, entry: str) -> None:
        process, pipe = self.running.pop(entry)
        pipe.close()
        process.kill()
        process.join()

    def ask(self, entry: str, word: str, workload: str, number: float, patience: float) -> tuple[bool, Any]:
        """What `entry` answers; (False, why) if it fails, dies or needs more than `patience` seconds of CPU time."""
        if entry not in self.running:
            here, there = self.context.Pipe()
            process = self.context.Process(target=serve, args=(there, self.family, entry), daemon=True)
            with threads(self.several.get(entry, 1)), variables(self.environment):
                process.start()
            there.close()
            self.running[entry] = process, here
        pipe = self.running[entry][1]
        try:
            pipe.send((word, workload, number))
            if waited(pipe, self.running[entry][0].pid, patience):
                return pipe.recv()
            why = f"not built in {patience:.0f} s"
        except (EOFError, OSError):
            why = "its process died"
        self.end(entry)
        return False, why


def waited(pipe: Any, pid: int, patience: float) -> bool:
    """Whether something came before the process had `patience` seconds of CPU time, or five times that by the clock."""
    began, clock = spent(pid), time.monotonic()
    while not pipe.poll(0.2):
        if spent(pid) - began > patience or time.monotonic() - clock > 5 * patience:
            return False
    return True


def spent(pid: int) -> float:
    """CPU seconds of a process and of those it has waited for; the clock's where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return time.monotonic()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def measure(
    entries: Entries, family: Family, workload: Workload, effort: Effort, say: Callable[[str], None]
) -> Mapping[str, Result]:
    """The results of all entries of a workload."""
    say("reference")
    ok, want = entries.ask(REFERENCE, "reference", workload.name, 0, 300.0)
    if not ok:
        raise RuntimeError(f"{family.name}, {workload.name}: the reference failed: {want}")
    found: dict[str, Result] = {}
    numbers: dict[str, int] = {}
    for entry in workload.entries:
        say(f"build {entry}")
        ok, answer = entries.ask(entry, "build", workload.name, 0, effort.patience)
        unasked = ok and entry in family.yardsticks
        why = "" if unasked else verdict(answer, want, workload.dtype) if ok else answer
        if not why:
            ok, number = entries.ask(entry, "calibrate", workload.name, effort.slice, effort.patience)
            if ok:
                numbers[entry] = number
            else:
                why = number
        if why:
            found[entry] = Result(why=why)
    times: dict[str, list[float]] = {entry: [] for entry in numbers}
    for k in range(effort.rounds):
        say(f"round {k + 1}")
        for entry in list(numbers):
            ok, seconds = entries.ask(entry, "time", workload.name, numbers[entry], 60.0 + effort.patience)
            time.sleep(REST if entry in family.threads else 0.0)
            if ok:
                times[entry].append(seconds)
            else:
                del numbers[entry]
                found[entry] = Result(why=seconds)
    found |= {entry: Result(tuple(s / workload.calls for s in times[entry])) for entry in numbers}
    return {entry: found[entry] for entry in workload.entries}
