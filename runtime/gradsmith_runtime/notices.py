"""What a user is told beside results: lines about work in the background, and whose line a warning points at.

In: a message. Out: a whole line on stderr, if someone looks at that: it is a terminal, or belongs to a notebook.
Guarantee: plain text and no control characters, one write a line; trouble with stderr is nobody's trouble.
"""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["PROGRESS", "outside", "tell"]

#: The environment variable that switches lines off, with 0.
PROGRESS = "GRADSMITH_PROGRESS"
#: Packages whose lines a warning never points at: ours, and what of the standard library stands between them.
_OURS = frozenset(("gradsmith", "gradsmith_runtime", "functools"))


def tell(message: str) -> None:
    """Write it as a line of its own where someone looks."""
    stream = sys.stderr
    if os.environ.get(PROGRESS) == "0" or stream is None:
        return
    notebook = type(stream).__module__.partition(".")[0] == "ipykernel"  # which shows what it is given under the cell
    with contextlib.suppress(OSError, ValueError):  # it may be closed, or its terminal gone
        if notebook or stream.isatty():
            stream.write(f"gradsmith: {message}\n")
            stream.flush()


def outside() -> int:
    """The `stacklevel` that makes a warning of the caller's point at the line that called into our packages."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _OURS:
        frame, level = frame.f_back, level + 1
    return level
