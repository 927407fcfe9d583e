"""Time gradsmith's code beside hand-written C and other libraries; write docs/benchmarks.md.

    pip install -e '.[bench,torch]'
    python benchmarks/speed.py                         # all: about ten minutes
    python benchmarks/speed.py --quick                 # short rounds: the same tables, coarser
    python benchmarks/speed.py calls --only Rosenbrock # some, on the screen only

Needs Linux or macOS, a C compiler, and torch, which gives the reference answers. What is not installed is left out.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from harness.flags import choose_march
from harness.machine import cores, facts, one_thread
from harness.records import Family
from harness.rounds import Effort, Entries, measure
from harness.table import tables
from reasons import REASONS

REPORT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
FAMILIES = ("calls", "batches", "arrays", "contractions", "convolutions", "compile_time", "threads")
FULL = Effort(rounds=21, slice=0.01, patience=80.0, builds=3)
QUICK = Effort(rounds=5, slice=0.005, patience=20.0, builds=1)

OPENING = """\
# Benchmarks

Written by `make bench` ([benchmarks/speed.py](../benchmarks/speed.py)); do not edit. How it is measured, and why so, is
in [decision 0023](decisions/0023-how-we-measure.md). In short: every entry answers first, and one whose value or
gradient differs from torch's in double precision is called wrong and has no time. Then all take turns on one core with
one thread (but where C compilers run, and in the last table). A time is the median over the rounds of CPU time a call;
a ratio is the median of the ratios within the rounds, less than 1 where gradsmith is faster. "hand" is C as an expert
writes it, in [benchmarks/hand](../benchmarks/hand), built with the same compiler and the same flags as gradsmith's C.
Where a figure misses what it is to be, it is named under its table, with the reason if there is one.
"""


def run(name: str, wanted: re.Pattern[str], effort: Effort, long: bool) -> list[str]:
    """The tables of one family, or of what has no calls to time and a way of its own."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)
        say = lambda doing: bar.update(task, description=doing)
        module = import_module(name)
        if not hasattr(module, "FAMILY"):
            return module.section(wanted, effort.builds, long, REASONS, say)
        family: Family = module.FAMILY
        chosen = [w for w in family.workloads if wanted.search(w.name)]
        if not chosen or max(family.threads.values(), default=1) > len(cores()):
            return []
        bar.update(task, total=len(chosen))
        found = {}
        with Entries(family.name, family.threads, family.environment) as entries:
            for workload in chosen:
                said = lambda doing, name=workload.name: say(f"{name}: {doing}")
                found[workload.name] = measure(entries, family, workload, effort, said)
                bar.advance(task)
    return tables(family, found, REASONS)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", metavar="family", help=f"of {', '.join(FAMILIES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="short rounds")
    parser.add_argument("--only", default="", metavar="REGEX", help="workloads whose names match")
    parser.add_argument("--long", action="store_true", help="compile_time: Python's texts as well")
    parser.add_argument("--march", default="native", help="for all C, gradsmith's too; empty: the compiler's default")
    parser.add_argument("-o", "--output", type=Path, help="where the tables go besides the screen")
    given = parser.parse_args(arguments)
    if unknown := set(given.families) - set(FAMILIES):
        parser.error(f"no family {', '.join(sorted(unknown))}: choose from {', '.join(FAMILIES)}")
    began = time.monotonic()
    pinned = one_thread()
    choose_march(given.march)
    effort = QUICK if given.quick else FULL
    body: list[str] = []
    for name in given.families or FAMILIES:
        found = run(name, re.compile(given.only), effort, given.long)
        print("\n".join(found), flush=True)  # at once: a run that is cut short has shown something
        body += found
    spent = (
        f"- {effort.rounds} rounds of {1000 * effort.slice:.0f} ms an entry; {time.monotonic() - began:.0f} s in all"
    )
    text = "\n".join([OPENING, *(f"- {fact}" for fact in facts(pinned)), spent, "", *body]).rstrip() + "\n"
    output = given.output or (None if given.families or given.only else REPORT)
    if output is not None:
        output.write_text(text, encoding="utf-8", newline="\n")
        print(f"written: {output.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
