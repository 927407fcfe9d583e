"""The command line: `gradsmith compile`, `check`, `explain`, `graph`, `targets`, `ops`, one file a command.

In: a formula as text (parsed, never evaluated), or a function in a Python file. Out: on stdout what was asked for and
nothing else; on stderr errors and, on a terminal, a progress line. Exit status: 0 done, 1 `check` found a mismatch,
2 an error the user can mend, 3 a fault of gradsmith, 130 Ctrl-C.

Modules that take long to load are imported where they are needed, so that `--help` does not wait for them.
"""

from . import compile, check, explain, graph, lists  # isort: skip  (in the order in which the help shows the commands)
from .app import app as app
from .entry import main as main
