"""Lines on stderr for who looks at it, and warnings that point at the user's line."""

import io
import sys
import warnings
from functools import cached_property
from types import ModuleType

import pytest

from gradsmith_runtime.notices import outside, tell


class Stream(io.StringIO):
    """A stream that counts its writes."""

    def __init__(self, terminal=False):
        super().__init__()
        self.terminal, self.writes = terminal, 0

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.writes += 1
        return super().write(text)


@pytest.mark.parametrize(("terminal", "module", "wanted"), [
    (True, "io", "gradsmith: f is done\n"),
    (False, "ipykernel.iostream", "gradsmith: f is done\n"),
    (False, "io", ""),
])  # fmt: skip
def test_a_line_is_written_at_once_to_terminals_and_notebooks(monkeypatch, terminal, module, wanted):
    stream = type("Kind", (Stream,), {"__module__": module})(terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    tell("f is done")
    assert (stream.getvalue(), stream.writes) == (wanted, int(bool(wanted)))


def test_a_stream_that_takes_nothing_is_no_error(monkeypatch):
    closed = Stream(terminal=True)
    closed.close()
    gone = Stream(terminal=True)
    gone.flush = lambda: (_ for _ in ()).throw(OSError)
    for stream in (None, closed, gone):
        monkeypatch.setattr(sys, "stderr", stream)
        tell("f is done")


#: A module of ours that warns where `functools` stands between its frames.
WARNS = """
def deep():
    warnings.warn("slow", RuntimeWarning, stacklevel=outside())

class Lazy:
    @cached_property
    def found(self):
        return deep()
"""


def test_a_warning_points_at_the_line_that_called_into_our_packages():
    module = ModuleType("gradsmith.anything")
    vars(module).update(warnings=warnings, outside=outside, cached_property=cached_property)
    exec(compile(WARNS, "ours.py", "exec"), vars(module))
    for call in (module.deep, lambda: module.Lazy().found):
        with pytest.warns(RuntimeWarning) as warned:
            call()
        assert warned[0].filename == __file__
