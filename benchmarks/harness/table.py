"""Results as Markdown: one table of ratios and one of times a family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .aims import Figure, Reason, paragraph
from .records import Family
from .rounds import Result, ratio

__all__ = ["figures", "layout", "next_peer", "tables"]

Results = Mapping[str, Result]

PEER = "gradsmith / best peer"


def next_peer(family: Family, row: str, results: Results) -> Figure | None:
    """The peer that is fastest beside what does the same work here, and the ratio of the two."""
    usual = family.pairs[0][0]  # where nothing is written into
    beside = {p: ratio(results.get(ours, results.get(usual)), results.get(p)) for p, ours in family.peers.items()}
    value, peer = max(((r, peer) for peer, r in beside.items() if r is not None), default=(None, ""))
    if value is None:
        return None
    ours = {entry: ratio(results[entry], results[peer]) for entry in results if entry not in family.peers}
    others = {entry: times_as_long(r) for entry, r in ours.items() if r is not None}
    return Figure(row, PEER, round(value, 2), f"{times_as_long(value)} ({peer})", others)


def title(family: Family, pair: tuple[str, str]) -> str:
    return family.titles.get(pair, " / ".join(pair))


def figures(family: Family, found: Mapping[str, Results]) -> list[Figure]:
    """All ratios that there are."""
    every = []
    for name, results in found.items():
        for pair in family.pairs:
            value = ratio(*(results.get(entry) for entry in pair))
            if value is not None:
                every.append(Figure(name, title(family, pair), round(value, 2), times_as_long(value)))
        every += [figure] if (figure := next_peer(family, name, results)) is not None else []
    return every


def shown(result: Result | None, family: Family) -> str:
    if result is None:
        return ""
    if result.seconds is None:
        return result.why.replace("|", "/")
    time = result.seconds / family.seconds
    return digits(1 / time if family.per_second else time)


def digits(value: float) -> str:
    """Three significant digits.

    >>> digits(1234.5), digits(12.345), digits(0.012345)
    ('1,234', '12.3', '0.0123')
    """
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}"


def times_as_long(value: float) -> str:
    return f"{value:.2f}"


def layout(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    ruler = ["---"] + ["---:"] * (len(header) - 1)
    return ["| " + " | ".join(row) + " |" for row in (header, ruler, *rows)]


def tables(family: Family, found: Mapping[str, Results], reasons: Sequence[Reason] = ()) -> list[str]:
    """A heading, the ratios, the times, and what misses its aim; `found` has each workload's results by its name."""
    fullest_first = sorted(found.values(), key=len, reverse=True)
    columns = list(dict.fromkeys(entry for results in fullest_first for entry in results))
    ratios = [title(family, pair) for pair in family.pairs if {*pair} <= {*columns}]
    ratios += [PEER] if family.peers else []
    every = figures(family, found)
    cells = {(figure.row, figure.column): figure.shown for figure in every}
    return [
        f"## {family.title}",
        "",
        family.says,
        "",
        *layout(["ratio", *ratios], [[name, *(cells.get((name, column), "") for column in ratios)] for name in found]),
        "",
        *layout(
            [family.unit, *columns],
            [[name, *(shown(results.get(c), family) for c in columns)] for name, results in found.items()],
        ),
        "",
        *paragraph(family.name, family.aims, every, reasons),
    ]
