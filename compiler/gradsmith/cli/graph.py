"""`gradsmith graph`: draw the graph of a function."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .options import Args, At, Debug, Source, Wrt
from .source import compiled, read_point
from .terminal import progress

__all__ = ["graph"]


class Picture(StrEnum):
    """How a graph is drawn."""

    svg = "svg"
    mermaid = "mermaid"
    dot = "dot"


@app.command()
def graph(
    source: Source,
    format: Annotated[
        Picture | None,
        typer.Option(
            "--format", "-f", help="How it is drawn; by the name of FILE, or else mermaid.", show_default=False
        ),
    ] = None,
    at: At = None,
    adjoint: Annotated[bool, typer.Option("--adjoint", help="Draw the derivative too, in a second colour.")] = False,
    args: Args = None,
    wrt: Wrt = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it there and print the path.", show_default=False),
    ] = None,
    debug: Debug = False,
) -> None:
    """Draw the graph of a function: boxes for values, circles for operations; svg needs Graphviz.

    \b
    Examples:
      gradsmith graph "a*b + a" -o graph.svg
      gradsmith graph "a*b + a" --at a=2 --at b=3 --adjoint --format mermaid
      gradsmith graph model.py:energy --args q=6 --format dot | dot -Tpdf > graph.pdf
    """
    by_suffix = {".svg": Picture.svg, ".dot": Picture.dot, ".gv": Picture.dot}
    picture = format or by_suffix.get(output.suffix if output else "", Picture.mermaid)
    point = read_point(at) or None
    function = compiled(source, args, target="numpy", wrt=wrt, selftest=False)
    drawn = function.adjoint if adjoint else function.graph
    with progress():
        logging.getLogger("gradsmith").debug("drawing %d nodes", len(drawn))
        draw: Callable[..., str] = {"svg": drawn.to_svg, "mermaid": drawn.to_mermaid, "dot": drawn.to_dot}[picture]
        text = draw(point=point).rstrip("\n") + "\n"
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8", newline="\n")
        print(output)
