"""Results as Markdown: one table of ratios and one of times a family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .records import Family
from .rounds import Result, ratio

__all__ = ["next_peer", "tables"]

Results = Mapping[str, Result]


def next_peer(family: Family, results: Results) -> str:
    """The peer that is fastest beside what does the same work here, and the ratio of the two."""
    usual = family.pairs[0][0]  # where nothing is written into
    beside = {p: ratio(results.get(ours, results.get(usual)), results.get(p)) for p, ours in family.peers.items()}
    value, peer = max(((r, peer) for peer, r in beside.items() if r is not None), default=(None, ""))
    return f"{times_as_long(value)} ({peer})" if peer else ""


def shown(result: Result | None, unit: float) -> str:
    if result is None:
        return ""
    if result.seconds is None:
        return result.why.replace("|", "/")
    return digits(result.seconds / unit)


def digits(value: float) -> str:
    """Three significant digits.

    >>> digits(1234.5), digits(12.345), digits(0.012345)
    ('1,234', '12.3', '0.0123')
    """
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}"


def times_as_long(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def layout(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    ruler = ["---"] + ["---:"] * (len(header) - 1)
    return ["| " + " | ".join(row) + " |" for row in (header, ruler, *rows)]


def tables(family: Family, found: Mapping[str, Results]) -> list[str]:
    """A heading, the ratios, and the times; `found` has the results of each workload by its name."""
    fullest_first = sorted(found.values(), key=len, reverse=True)
    columns = list(dict.fromkeys(entry for results in fullest_first for entry in results))
    pairs = [(a, b) for a, b in family.pairs if a in columns and b in columns]
    ratios, times = [], []
    for name, results in found.items():
        measured = [times_as_long(ratio(results.get(a), results.get(b))) for a, b in pairs]
        ratios.append([name, *measured, next_peer(family, results)])
        times.append([name, *(shown(results.get(c), family.seconds) for c in columns)])
    return [
        f"## {family.title}",
        "",
        family.says,
        "",
        *layout(["ratio", *(f"{a} / {b}" for a, b in pairs), "gradsmith / best peer"], ratios),
        "",
        *layout([family.unit, *columns], times),
        "",
    ]
