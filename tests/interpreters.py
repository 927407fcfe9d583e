"""Python text in several interpreters of one process.

That process is a child: once there has been a second interpreter, Python no longer knows who holds the GIL, and torch
takes that for an error.
"""

import subprocess
import sys
from collections.abc import Sequence

#: Takes "in turn" or "at once", and texts. An interpreter comes and goes for each text; the first one runs it as well.
PROGRAM = """
import importlib, sys, threading
interpreters = importlib.import_module("_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters")
way, *texts = sys.argv[1:]
errors, start = [], threading.Barrier(len(texts) + 1 if way == "at once" else 1)

def run(text):
    start.wait()
    own = interpreters.create()
    try:
        failed = interpreters.run_string(own, text)  # raises before 3.13
        assert failed is None, failed.formatted
    except Exception as error:
        errors.append(error)
    interpreters.destroy(own)

threads = [threading.Thread(target=run, args=(text,)) for text in texts]
for thread in threads:
    thread.start()
    if way == "in turn":
        thread.join()
start.wait()
for text in texts:
    exec(text, {})
for thread in threads:
    thread.join()
for error in errors:
    raise error
"""


def in_interpreters(texts: Sequence[str], *, at_once: bool = False, then: str = "") -> None:
    """Runs each text in an interpreter of its own and in the first one; then one more text in the first."""
    command = [sys.executable, "-c", PROGRAM + then, "at once" if at_once else "in turn", *texts]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
