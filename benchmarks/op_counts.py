"""Operation counts of value and gradient: gradsmith beside CasADi's SX and heyoka.

    pip install -e '.[bench]'
    python benchmarks/op_counts.py

Prints a table, and writes `op_counts.md` where both other libraries are installed. What is counted, the same for all:
one for each addition, subtraction, multiplication, division and negation, and one for each call of a function (sin,
exp, sqrt, …); a square is a multiplication, a reciprocal a division. A choice counts a comparison, a selection and both
sides, of which straight-line code computes one. Loads, stores, inputs and constants count nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from programs import PROGRAMS, Program
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

import gradsmith as gs

REPORT = Path(__file__).with_name("op_counts.md")
KINDS = ("value", "grad", "value_and_grad")
#: All else is calls.
GROUPS = {
    "+ −": ("add", "sub"), "×": ("mul",), "÷": ("div",), "neg": ("neg",), "choices": ("compare", "select"),
}  # fmt: skip

Count = Mapping[str, int]


@dataclass(frozen=True)
class Counts:
    """Operations by kind, of the value, of the gradient and of both in one function."""

    value: Count
    grad: Count
    value_and_grad: Count

    def total(self, kind: str) -> int:
        return sum(getattr(self, kind).values())

    def groups(self) -> str:
        """Value and gradient, split by `GROUPS`, and calls."""
        left = Counter(self.value_and_grad)
        parts = [sum(left.pop(k, 0) for k in kinds) for kinds in GROUPS.values()]
        return " / ".join(map(str, [*parts, sum(left.values())]))


# --- gradsmith ------------------------------------------------------------------------------------------------------


def by_gradsmith(target: str, *, arrays: bool = False) -> Callable[[Program], Counts | None]:
    def count(p: Program) -> Counts | None:
        if arrays and p.array is None:
            return None
        f = compiled(p, target, arrays=arrays)
        return Counts(f.cost.value, f.cost.grad, f.cost.value_and_grad)

    return count


def compiled(p: Program, target: str, *, arrays: bool = False) -> gs.CompiledFunction:
    """The program by gradsmith, of scalars or of arrays."""
    options: dict[str, Any] = {"name": "f", "target": target, "selftest": False}
    if arrays:
        assert p.array is not None
        vectors = [gs.symbol(name, (n,)) for name, n in p.sizes.items()]
        return gs.compile(p.array(gs, *vectors), args=vectors, wrt=p.wrt, **options)
    names = {name: [f"{name}{i}" for i in range(n)] for name, n in p.sizes.items()}
    scalars = [[gs.symbol(s) for s in several] for several in names.values()]
    wrt = [s for name in p.wrt for s in names[name]]
    return gs.compile(p.function(gs, *scalars), args=[x for several in scalars for x in several], wrt=wrt, **options)


# --- CasADi ---------------------------------------------------------------------------------------------------------


def by_casadi(p: Program) -> Counts:
    import casadi as ca

    kinds = {getattr(ca, f"OP_{name.upper()}"): name for name in ("add", "sub", "mul", "div", "neg")}
    kinds |= {getattr(ca, f"OP_{name.upper()}"): name for name in ("sin", "cos", "exp", "log", "sqrt", "erf", "tanh")}
    kinds |= {ca.OP_SQ: "mul", ca.OP_TWICE: "mul", ca.OP_INV: "div"}
    free = {ca.OP_INPUT, ca.OP_OUTPUT, ca.OP_CONST}

    symbols = {name: ca.SX.sym(name, n) for name, n in p.sizes.items()}
    value = p.function(ca, *(ca.vertsplit(s) for s in symbols.values()))
    gradient = ca.gradient(value, ca.vertcat(*(symbols[name] for name in p.wrt)))

    def count(*outputs: Any) -> Count:
        f = ca.Function("f", list(symbols.values()), ca.cse(list(outputs)))
        ids = [f.instruction_id(k) for k in range(f.n_instructions())]
        return Counter(kinds[i] for i in ids if i not in free)

    return Counts(count(value), count(gradient), count(value, gradient))


# --- heyoka ---------------------------------------------------------------------------------------------------------


def by_heyoka(p: Program) -> Counts:
    import heyoka as hy

    symbols = {name: [hy.expression(f"{name}{i}") for i in range(n)] for name, n in p.sizes.items()}
    value = p.function(hy, *symbols.values())
    inputs = [x for several in symbols.values() for x in several]
    wrt = [x for name in p.wrt for x in symbols[name]]
    gradient = list(hy.diff_tensors([value], wrt, diff_order=1).gradient)  # reverse mode; hy.diff takes more

    def count(outputs: list[Any]) -> Count:
        nodes = hy.cfunc(outputs, vars=inputs).dc[len(inputs) : -len(outputs)]
        return Counter(kind for node in nodes for kind in _heyoka_kinds(str(node)))

    return Counts(count([value]), count(gradient), count([value, *gradient]))


_POWERS = {2.0: "mul", 0.5: "sqrt", -1.0: "div"}


def _heyoka_kinds(text: str) -> Iterator[str]:
    """The operations of a node of a decomposition, such as `(u_1 + u_2)`, `-u_3`, `u_4**2.0` or `combined_sin(u_5)`."""
    called = re.match(r"([a-z]\w*)\(", text)
    if called:
        yield called[1].removeprefix("combined_")
    elif "**" in text:
        yield _POWERS[float(text.split("**")[1])]
    elif text.startswith("-"):
        yield "neg"
    else:  # a sum or a product of two or more; a constant such as π alone has no operator
        yield from ({"+": "add", "-": "sub", "*": "mul", "/": "div"}[o] for o in re.findall(r" ([-+*/]) ", text))


# --- the tables -----------------------------------------------------------------------------------------------------

COLUMNS: dict[str, Callable[[Program], Counts | None]] = {
    "our Python": by_gradsmith("python"),
    "our C": by_gradsmith("c"),
    "our C of arrays": by_gradsmith("c", arrays=True),
    "CasADi SX": by_casadi,
    "heyoka": by_heyoka,
}
MISSING = "not installed"
CHOICES = (
    "A choice counts a comparison, a\nselection and both sides, of which one is computed: the slope of each `tanh`"
    " in the network is one."
)


def measured() -> dict[str, dict[str, Counts | str | None]]:
    """Program name -> column -> counts, `MISSING`, or None where there is no such form."""
    found: dict[str, dict[str, Counts | str | None]] = {}
    for p in PROGRAMS:
        row = found[p.name] = {}
        for name, count in COLUMNS.items():
            try:
                row[name] = count(p)
            except ModuleNotFoundError:
                row[name] = MISSING
    return found


def cell(counts: Counts | str | None) -> str:
    if isinstance(counts, Counts):
        return " / ".join(str(counts.total(kind)) for kind in KINDS)
    return counts or "–"


def detail(counts: Counts | str | None) -> str:
    return counts.groups() if isinstance(counts, Counts) else counts or "–"


def excess(row: Mapping[str, Counts | str | None]) -> str:
    """Value and gradient together: our largest count beside the best of the others."""
    totals = {name: c.total("value_and_grad") for name, c in row.items() if isinstance(c, Counts)}
    ours = [n for name, n in totals.items() if name.startswith("our")]
    others = [n for name, n in totals.items() if not name.startswith("our")]
    return f"{100 * (max(ours) / min(others) - 1):+.1f} %" if others else "–"


def markdown(title: str, rows: list[list[str]]) -> str:
    head, *body = rows
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return f"## {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    found = measured()
    totals = [["value / gradient / both", *COLUMNS, "ours beside the best"]]
    totals += [[name, *map(cell, row.values()), excess(row)] for name, row in found.items()]
    details = [[" / ".join([*GROUPS, "calls"]), *COLUMNS]]
    details += [[name, *map(detail, row.values())] for name, row in found.items()]
    titles = ("Operations", "Operations of value and gradient together, by kind")
    for title, rows in zip(titles, (totals, details), strict=True):
        table = Table(*rows[0], title=title, box=SIMPLE)
        for line in rows[1:]:
            table.add_row(*line)
        Console(width=140).print(table)
    if any(c == MISSING for row in found.values() for c in row.values()):
        print(f"{REPORT.name} is left as it is: pip install -e '.[bench]' installs what it compares with")
        return
    versions = ", ".join(f"{name} {version(name)}" for name in ("casadi", "heyoka"))
    tables = "\n".join(markdown(t, rows) for t, rows in zip(titles, (totals, details), strict=True))
    head = f"# Operation counts\n\nWritten by `op_counts.py` ({versions}). {CHOICES}\n"
    REPORT.write_text(f"{head}\n{tables}", encoding="utf-8")


if __name__ == "__main__":
    main()
