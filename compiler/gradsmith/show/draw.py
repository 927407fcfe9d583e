"""Draw: a graph as a picture, for Graphviz (`to_dot`, `to_svg`) and for Mermaid (`to_mermaid`).

In: a graph, and optionally a point that gives each input a value. Out: text. Guarantee: it shows all of the graph's
`Picture`, depends on the graph alone, and any name is safe in a label.

As in micrograd, a box is a value (name, number, gradient), a circle is the operation that made it, and arrows are the
flow of data. Values of the function are blue and those of its derivative orange, two colours that colour-blind people
tell apart; fills carry their own dark text and lines are mid-grey, so that the picture reads on white and on black.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import MissingExtraError
from ..graph import Graph
from .picture import Arrow, Box, picture_of

__all__ = ["to_dot", "to_mermaid", "to_svg"]

_LIMIT = 400  # nodes; a larger picture shows nothing


@dataclass(frozen=True)
class Palette:
    """The colours of one kind of node: a box's fill and border with dark text, a circle's fill with white text."""

    fill: str
    border: str
    text: str
    circle: str


# Okabe and Ito's blue and vermilion, the fills lightened, the circles darkened to carry white text
_PALETTES = {
    "primal": Palette("#dcecf7", "#0072b2", "#102a3c", "#0072b2"),
    "cotangent": Palette("#fde6d2", "#d55e00", "#3f1c00", "#b34e00"),
}
_GREY = "#808080"
_FONT = 'fontname="Helvetica,Arial,sans-serif"'


def to_dot(
    graph: Graph, *, point: Mapping[str, Any] | None = None, title: str | None = None, limit: int = _LIMIT
) -> str:
    """The graph in Graphviz's language.

    Parameters
    ----------
    graph: the graph of a function, or the joint graph of a function and its gradient.
    point: a value for each input, by name: every box then shows its value, and its gradient where there is one.
    title: a line above the picture.
    limit: the largest graph to draw, in nodes.

    Errors: `SpecError` for a graph beyond `limit` or a point that does not fit.

    >>> from gradsmith.as_graph import to_graph
    >>> from gradsmith.trace import symbols
    >>> x, y = symbols("x y")
    >>> print(to_dot(to_graph([x, y], [x * y]), point={"x": 2.0, "y": 3.0}))
    digraph gradsmith {
    ...
        n0 [label="x | data 2.0000 | grad 3.0000", tooltip="x"];
    ...
        o2 -> n2;
    ...
    """
    picture = picture_of(graph, point, title, limit)
    lines = [
        "digraph gradsmith {",
        f'  graph [rankdir=LR, bgcolor=transparent, {_FONT}, fontcolor="{_GREY}", fontsize=11];',
        "  graph [nodesep=0.2, ranksep=0.3, labelloc=t];",
        f"  node [{_FONT}, fontsize=12, height=0.35];",
        f'  edge [{_FONT}, fontsize=9, fontcolor="{_GREY}", arrowsize=0.6, labeldistance=1.4, labelangle=-30];',
    ]
    captions = [picture.title, "blue: the function, orange: its derivative" if picture.is_joint else ""]
    if any(captions):
        lines.append(f'  label="{_quoted(chr(10).join(filter(None, captions)))}";')
    constants = [f'{c.id} [label="{_quoted(c.cells[0])}"];' for c in picture.constants]
    lines += _group(f'node [shape=plain, fontcolor="{_GREY}", fontsize=11, tooltip=constant]', constants)
    for role, p in _PALETTES.items():
        boxes, circles, arrows = picture.of(role)
        box = f'shape=record, style="filled,rounded", fillcolor="{p.fill}", color="{p.border}", fontcolor="{p.text}"'
        circle = f'shape=ellipse, style=filled, fillcolor="{p.circle}", color="{p.circle}", fontcolor="#ffffff"'
        lines += _group(f"node [{box}]", [_dot_box(b) for b in boxes])
        lines += _group(
            f'node [{circle}, width=0.4, height=0.4, margin="0.05,0.02"]',
            [f'{c.id} [label="{_quoted(c.symbol)}", tooltip="{_quoted(c.about)}"];' for c in circles],
        )
        lines += _group(f'edge [color="{p.border}"]', [_dot_arrow(a) for a in arrows])
    return "\n".join([*lines, "}"]) + "\n"


def _group(defaults: str, lines: Sequence[str]) -> list[str]:
    """Statements that share their looks."""
    return ["  {", f"    {defaults};", *(f"    {line}" for line in lines), "  }"] if lines else []


def _dot_box(box: Box) -> str:
    label = " | ".join(map(_record, box.cells))
    return f'{box.id} [label="{label}", tooltip="{_quoted(box.cells[0])}"{", penwidth=2.5" if box.result else ""}];'


def _dot_arrow(arrow: Arrow) -> str:
    return f"{arrow.source} -> {arrow.target}{f' [headlabel={arrow.label}]' if arrow.label else ''};"


def to_svg(
    graph: Graph, *, point: Mapping[str, Any] | None = None, title: str | None = None, limit: int = _LIMIT
) -> str:
    """The graph as an SVG picture, `<svg …>…</svg>`, drawn by Graphviz; see `to_dot` for the parameters.

    Errors: `MissingExtraError` where the package `graphviz` or the program `dot` is missing.
    """
    source = to_dot(graph, point=point, title=title, limit=limit)
    try:
        import graphviz
    except ImportError:
        raise _missing("Python package `graphviz`") from None
    try:
        drawn = str(graphviz.Source(source).pipe(format="svg", encoding="utf-8"))
    except graphviz.ExecutableNotFound:
        raise _missing("program `dot`") from None
    return drawn[drawn.index("<svg") :].strip() + "\n"  # without prolog and doctype, it stands inside HTML as well


def _missing(what: str) -> MissingExtraError:
    return MissingExtraError(
        "draw",
        f"to_svg found no {what}: install Graphviz (https://graphviz.org/download, `apt install graphviz`, "
        "`brew install graphviz`), or use to_mermaid or to_dot, which need nothing; the Python side",
    )


def to_mermaid(
    graph: Graph, *, point: Mapping[str, Any] | None = None, title: str | None = None, limit: int = _LIMIT
) -> str:
    """The graph as a Mermaid flowchart, which GitHub, GitLab and JupyterLab draw; see `to_dot` for the parameters.

    >>> from gradsmith.as_graph import to_graph
    >>> from gradsmith.trace import symbols
    >>> x, y = symbols("x y")
    >>> print(to_mermaid(to_graph([x, y], [x * y])))
    flowchart LR
      n0["x"]:::primal
    ...
    """
    picture = picture_of(graph, point, title, limit)
    lines = [f"---\ntitle: {json.dumps(picture.title, ensure_ascii=False)}\n---"] if picture.title else []
    lines.append("flowchart LR")
    for box in picture.boxes:
        kind = f"{box.role}{'Result' if box.result else ''}"
        lines.append(f'  {box.id}["{"<br/>".join(map(_entities, box.cells))}"]:::{kind}')
    lines += [f'  {circle.id}(("{_entities(circle.symbol)}")):::{circle.role}Op' for circle in picture.circles]
    lines += [f'  {box.id}["{_entities(box.cells[0])}"]:::constant' for box in picture.constants]
    for arrow in picture.arrows:
        lines.append(f"  {arrow.source} -->{f'|{arrow.label}|' if arrow.label else ''} {arrow.target}")
    for role, p in _PALETTES.items():
        lines.append(f"  classDef {role} fill:{p.fill},stroke:{p.border},color:{p.text}")
        lines.append(f"  classDef {role}Result fill:{p.fill},stroke:{p.border},color:{p.text},stroke-width:4px")
        lines.append(f"  classDef {role}Op fill:{p.circle},stroke:{p.circle},color:#ffffff")
    lines.append(f"  classDef constant fill:none,stroke:none,color:{_GREY}")
    return "\n".join(lines) + "\n"


# --- escaping -------------------------------------------------------------------------------------------------------


def _quoted(text: str) -> str:
    """Text inside DOT's double quotes, shown as it is."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _record(text: str) -> str:
    """Text inside a field of a record, where braces, bars, angles and blanks have a meaning too."""
    return re.sub(r"([{}|<>])", r"\\\1", _quoted(text))


def _entities(text: str) -> str:
    """Text inside a quoted Mermaid label."""
    return re.sub(r'["#&<>`\\]', lambda m: f"#{ord(m[0])};", text.replace("\n", " "))
