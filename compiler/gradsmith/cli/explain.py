"""`gradsmith explain`: work out a gradient at a point."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from .app import app
from .options import Args, At, Debug, Name, Source
from .source import compiled, read_point
from .terminal import progress

__all__ = ["explain"]


class Style(StrEnum):
    """How an explanation is written."""

    text = "text"
    markdown = "markdown"
    latex = "latex"


@app.command()
def explain(
    source: Source,
    at: At = None,
    style: Annotated[Style, typer.Option("--style", "-s", help="How it is written.")] = Style.text,
    args: Args = None,
    name: Name = None,
    debug: Debug = False,
) -> None:
    """Work out a gradient at a point, step by step, with the chain rule spelled out.

    \b
    Examples:
      gradsmith explain "x*y + y + tanh(x)" --at x=2 --at y=3
      gradsmith explain "a*b + c" --at a=2,b=-3,c=10 --style latex
      gradsmith explain "sum(W @ x)" --args W=2x2,x=2 --at "W=\\[\\[1,2],\\[3,4]]" --at "x=\\[1,-1]"
    """
    point = read_point(at)
    function = compiled(source, args, target="numpy", name=name, selftest=False)
    with progress():
        text = function.explain(style.value, **point)
    print(text)
