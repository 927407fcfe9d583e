"""Run the command line: every error becomes one message and an exit status."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

from ..errors import GradsmithError
from .app import FAULT, INTERRUPTED, USER_ERROR, app
from .terminal import coloured

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line on `arguments` (those of the process by default) and exit."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        app(args=words, prog_name="gradsmith")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        if "--debug" in words:
            traceback.print_exception(error)
        label = "\x1b[1;31merror:\x1b[0m" if coloured(sys.stderr) else "error:"
        expected = isinstance(error, GradsmithError | OSError)
        reason = str(error) if expected else f"gradsmith failed with {type(error).__name__}: {error}"
        remedy = "" if expected or "--debug" in words else "\nThis is a fault of gradsmith; --debug shows where."
        print(f"{label} {reason}{remedy}", file=sys.stderr)
        sys.exit(USER_ERROR if expected else FAULT)
