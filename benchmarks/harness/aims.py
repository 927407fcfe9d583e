"""What a table's figures are to be, and which of them are not: the paragraph under it, with a reason for each.

In: figures as the table shows them, the table's aims, and reasons. Out: lines of Markdown, none where all is as it is
to be. Guaranteed: a figure is judged as it is shown, and one that nobody has a reason for says "not explained".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Aim", "Figure", "Reason", "paragraph"]


@dataclass(frozen=True)
class Aim:
    """What the figures of one column are at most, or at least; of the rows that match, if it is not for all."""

    column: str
    most: float = float("inf")
    least: float = float("-inf")
    rows: str = ""  # a regular expression

    def met(self, value: float) -> bool:
        return self.least <= value <= self.most

    @property
    def words(self) -> str:
        """What the paragraph says of the aim.

        >>> Aim("ratio", most=1.1).words, Aim("share", least=0.7).words, Aim("seconds", most=40).words
        ('at most 1.10', 'at least 0.70', 'at most 40')
        """
        word, value = ("at most", self.most) if self.least == float("-inf") else ("at least", self.least)
        return f"{word} {value:,.0f}" if value >= 10 else f"{word} {value:.2f}"


@dataclass(frozen=True)
class Figure:
    """One cell of a table: its number as the table shows it, and what else is said beside it."""

    row: str
    column: str
    value: float
    shown: str
    others: Mapping[str, str] = field(default_factory=dict)  # the same by other entries of ours, as they are shown


@dataclass(frozen=True)
class Reason:
    """Why figures miss an aim: those of tables, columns and rows that match these regular expressions.

    rows: of a row's name and its figure as it is shown, with the peer where there is one.
    instead: an entry of ours whose figure is named beside, as it gives up what the reason says.
    decision: the file in docs/decisions that has the measurements, if there is one.
    """

    family: str
    column: str
    rows: str
    why: str
    decision: str = ""
    instead: str = ""

    def fits(self, family: str, figure: Figure) -> bool:
        parts = ((self.family, family), (self.column, figure.column), (self.rows, f"{figure.row} {figure.shown}"))
        return all(re.search(pattern, text) for pattern, text in parts)

    @property
    def words(self) -> str:
        """The reason, and where it stands."""
        if not self.decision:
            return self.why
        return f"{self.why} ([decision {int(self.decision[:4])}](decisions/{self.decision}))"


#: In the place of a reason.
UNEXPLAINED = Reason("", "", "", "not explained")


def missed(aims: Sequence[Aim], figures: Sequence[Figure]) -> list[tuple[Aim, Figure]]:
    """Figures that are not what they are to be; where several aims speak of one, the first one counts."""
    found = []
    for figure in figures:
        own = (aim for aim in aims if aim.column == figure.column and re.search(aim.rows, figure.row))
        aim = next(own, None)
        if aim is not None and not aim.met(figure.value):
            found.append((aim, figure))
    return found


def paragraph(family: str, aims: Sequence[Aim], figures: Sequence[Figure], reasons: Sequence[Reason]) -> list[str]:
    """The figures above or below their aims: a line for each column and reason."""
    lines: dict[tuple[str, Aim, Reason], list[str]] = {}
    for aim, figure in missed(aims, figures):
        reason = next((r for r in reasons if r.fits(family, figure)), UNEXPLAINED)
        title = "Above the aim" if figure.value > aim.most else "Below the aim"
        beside = figure.others.get(reason.instead, "")
        row = figure.row.replace("*", r"\*")  # two of them would make what stands between slanted
        said = f"{row} {figure.shown}" + (f", {beside} by {reason.instead}" if beside else "")
        lines.setdefault((title, aim, reason), []).append(said)
    text: list[str] = []
    for title in ("Above the aim", "Below the aim"):
        own = [
            f"- {aim.column}, {aim.words}: {'; '.join(rows)}: {reason.words}."
            for (of, aim, reason), rows in lines.items()
            if of == title
        ]
        text += [f"**{title}**", "", *own, ""] if own else []
    return text
