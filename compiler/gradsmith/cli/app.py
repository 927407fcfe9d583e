"""The program itself: its help, its version, and what its exit status says."""

from __future__ import annotations

from typing import Annotated

import typer

from .._version import __version__
from .options import Debug

__all__ = ["FAULT", "INTERRUPTED", "MISMATCH", "USER_ERROR", "app"]


MISMATCH, USER_ERROR, FAULT, INTERRUPTED = 1, 2, 3, 130

app = typer.Typer(
    name="gradsmith",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
    help="""Turn a formula or a Python function into source code for its value and its gradient.

    \b
    Examples:
      gradsmith compile "x*y + y + tanh(x)"
      gradsmith compile model.py:loss --args W=64x32,b=32,x=64 --wrt W,b -t c -o out
      gradsmith check "x*y + y + tanh(x)" -t c
      gradsmith explain "x*y + y + tanh(x)" --at x=2 --at y=3
      gradsmith graph "a*b + a" --at a=2 --at b=3 -o graph.svg

    Exit status: 0 done, 1 a check found a mismatch, 2 an error, 3 a fault of gradsmith, 130 Ctrl-C.""",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"gradsmith {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Debug = False,
) -> None:
    """The options that stand before a command; the help text is that of `app`."""
