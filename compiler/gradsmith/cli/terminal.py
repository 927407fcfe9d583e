"""The terminal: colours, tables, and a line that says what is being done."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

__all__ = ["coloured", "highlighted", "progress", "table"]


def coloured(stream: TextIO) -> bool:
    """Whether to write colours: on a terminal, unless NO_COLOR is set; anywhere if FORCE_COLOR is (no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")


def highlighted(text: str, file: str) -> str:
    """Source code with the colours of a terminal (pygments comes with rich)."""
    from pygments import highlight
    from pygments.formatters import TerminalFormatter
    from pygments.lexers import find_lexer_class_for_filename
    from pygments.lexers.special import TextLexer

    lexer = find_lexer_class_for_filename(file) or TextLexer
    return str(highlight(text, lexer(stripnl=False), TerminalFormatter()))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table to look at on a terminal; elsewhere lines of fields with tabs between, for cut and awk."""
    if not sys.stdout.isatty():
        print("\n".join("\t".join(row) for row in [head, *rows]))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*head, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for row in rows:
        table.add_row(*map(escape, row))
    Console(highlight=False).print(table)


class _Stages(logging.Handler):
    """Shows what the compiler logs as the line of a spinner."""

    def __init__(self, update: Callable[[str], object]) -> None:
        super().__init__(logging.DEBUG)
        self._update = update

    def emit(self, record: logging.LogRecord) -> None:
        self._update(f"{record.getMessage()} …")


@contextlib.contextmanager
def progress() -> Iterator[None]:
    """A line on stderr that says what is being done, on a terminal, from half a second on."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    from rich.console import Console

    status = Console(stderr=True).status("starting …")
    timer = threading.Timer(0.5, status.start)
    timer.daemon = True
    logger, handler = logging.getLogger("gradsmith"), _Stages(status.update)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()
        logger.removeHandler(handler)
        logger.setLevel(level)
