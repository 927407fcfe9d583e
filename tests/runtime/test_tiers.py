"""tier="auto": quick code at once, optimised code when it is ready; failures warn; the end of the process waits not."""

import contextlib
import logging
import os
import pickle
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import gradsmith as gs
from gradsmith_runtime import CompilerFailedError, SlowTierWarning

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the fake compiler is a shell script")
POINT, WANT = (2.0, 3.0), (6.0, (3.0, 2.0))


@pytest.fixture
def gate(tmp_path, monkeypatch):
    """$CC optimises only once this file is there, and then does what it says."""
    path, script = tmp_path / "gate", tmp_path / "fakecc"
    script.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *-O2*) touch {tmp_path}/started; while [ ! -e {path} ]; do sleep 0.02; done; . {path};; esac\n'
        f'exec {shutil.which("gcc") or shutil.which("cc")} "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    return path


def product(**options) -> gs.CompiledFunction:
    return gs.compile("x*y", target="c", selftest=False, tier="auto", **options)


def test_calls_go_over_to_the_optimised_build(gate, caplog):
    caplog.set_level(logging.INFO, "gradsmith")
    f = product()
    assert f.value_and_grad(*POINT) == WANT
    quick = f.module
    assert (f.tier, f.wait(0.05)) == ("quick", False)
    gate.write_text("")
    assert (f.wait(), f.tier) == (True, "optimised")
    assert f.value_and_grad(*POINT) == WANT
    assert f.module is not quick
    assert "f runs unoptimised code" in caplog.text
    assert "f runs optimised code, built in" in caplog.text
    again = product()
    assert again(*POINT) == 6.0
    assert again.tier == "optimised"  # it is in the cache


def test_a_background_build_that_fails_warns_at_the_next_call_and_the_quick_one_stays(gate, recwarn):
    f = product()
    assert f.value_and_grad(*POINT) == WANT
    gate.write_text("echo out of luck; exit 1")
    with pytest.raises(CompilerFailedError, match="out of luck"):
        f.wait()
    assert not [w for w in recwarn if w.category is SlowTierWarning]
    with pytest.warns(SlowTierWarning, match=r"(?s)f goes on with unoptimised code.*out of luck") as warned:
        assert f.value_and_grad(*POINT) == WANT
    assert warned[0].filename == __file__
    recwarn.clear()
    assert f(*POINT) == 6.0
    assert (f.tier, list(recwarn)) == ("quick", [])


#: What is shown of it: a program's own words, and what it is told on stderr.
SHOWN = """
import pathlib, sys
import gradsmith as gs
f = gs.compile("x*y", target="c", selftest=False, tier="auto")
print("before", file=sys.stderr)
assert f(2.0, 3.0) == 6.0
print("between", file=sys.stderr)
pathlib.Path(sys.argv[1]).write_text(sys.argv[2])
try:
    f.wait()
except gs.CompilerFailedError:
    pass
print("after", file=sys.stderr)
g = gs.compile("x*y", target="c", selftest=False, tier="auto")  # the optimised one is in the cache
g(2.0, 3.0), g.wait()
"""


def shown(gate, words="", terminal=True, **environment) -> str:
    """What SHOWN writes on stderr, which is a terminal or a file."""
    ours, theirs = os.openpty() if terminal else os.pipe()
    command = [sys.executable, "-c", SHOWN, str(gate), words]
    try:
        subprocess.run(command, stderr=theirs, timeout=120, check=not words, env={**os.environ, **environment})
    finally:
        os.close(theirs)
    read = b""
    with contextlib.suppress(OSError):  # how the end of a terminal is told
        while more := os.read(ours, 65536):
            read += more
    os.close(ours)
    return read.decode().replace("\r\n", "\n")


def test_a_terminal_shows_when_quick_code_runs_and_when_optimised_code(gate):
    assert re.fullmatch(
        r"before\n"
        r"gradsmith: f runs quick code \((tcc|fakecc)\) while the optimised build goes on \.\.\.\n"
        r"between\n"
        r"gradsmith: f runs optimised code after \d+\.\d s\n"
        r"after\n",
        shown(gate),
    )


def test_a_terminal_shows_that_the_optimised_build_failed(gate):
    lines = shown(gate, "exit 1").splitlines()
    assert lines[3] == "gradsmith: f stays with quick code: the optimised build failed, and the next call says why"


@pytest.mark.parametrize(("terminal", "environment"), [(False, {}), (True, {"GRADSMITH_PROGRESS": "0"})])
def test_nothing_is_shown_elsewhere_or_to_who_wants_none(gate, terminal, environment):
    assert shown(gate, terminal=terminal, **environment) == "before\nbetween\nafter\n"


def test_the_end_of_the_process_neither_waits_nor_leaves_anything(gate, cache, tmp_path):
    code = (
        "import gradsmith as gs, time, pathlib\n"
        "f = gs.compile('x*y', target='c', selftest=False, tier='auto')\n"
        "assert f(2.0, 3.0) == 6.0\n"
        f"while not pathlib.Path({str(tmp_path / 'started')!r}).exists(): time.sleep(0.01)\n"
        "print('done')\n"
    )
    since = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")
    assert time.monotonic() - since < 100  # the gate never opens
    assert list(cache.glob("tmp-*")) == []
    assert len(list(cache.glob("*/_gs_f*"))) - len(list(cache.glob("*/_gs_f.c"))) == 1  # the quick one


def test_a_compiler_that_cannot_be_found_is_an_error_of_the_call(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", "no-such-cc")
    with pytest.raises(gs.CompilerNotFoundError):
        product()(*POINT)


def test_without_a_compiler_other_code_stands_in_with_a_warning(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setitem(sys.modules, "ziglang", None)  # which may be installed
    f = product(batch=True)
    with pytest.warns(
        SlowTierWarning, match="f runs as python code, which is slower, as there is no C compiler"
    ) as warned:
        assert f.value_and_grad(*POINT) == WANT
    assert warned[0].filename == __file__
    assert (f(*POINT), f.grad(y=3.0, x=2.0), f.tier, f.wait()) == (6.0, WANT[1], "python", False)
    assert "void f(" in f.source
    with pytest.raises(gs.CompilerNotFoundError):
        f.value_batch([1.0, 2.0], 3.0)
    with pytest.raises(gs.CompilerNotFoundError):  # a stand-in is no part of a pickle
        pickle.loads(pickle.dumps(product()))(*POINT)
    g = gs.compile(lambda v: gs.sum(v * v), args=((3,),), target="c", tier="auto", derivatives=["value", "grad", "vjp"])
    with pytest.warns(SlowTierWarning, match="numpy"):
        gradient = g.grad([1.0, 2.0, 3.0])
    assert (type(gradient), gradient.tolist()) == (np.ndarray, [2.0, 4.0, 6.0])
    assert g.vjp([1.0, 2.0, 3.0])[1](2.0)[0].tolist() == [4.0, 8.0, 12.0]


def test_choices_are_listed_and_other_targets_have_one_tier():
    with pytest.raises(gs.SpecError, match=r"tier='fast': choose from 'optimised', 'auto'"):
        gs.compile("x*y", target="c", tier="fast")
    f = gs.compile("x*y", tier="auto")
    assert (f(*POINT), f.tier, f.wait()) == (6.0, "optimised", True)


def test_the_sources_of_a_build_can_be_quick_where_tcc_cannot_do_them(gate, monkeypatch, tmp_path):
    tcc = tmp_path / "tcc"
    tcc.write_text('#!/bin/sh\n[ "$1" = --version ] && exit\nexit 1\n')
    tcc.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{Path('/usr/bin')}:/bin")
    f = product()
    gate.write_text("")
    assert f.value_and_grad(*POINT) == WANT
    assert f.wait()


def test_to_ask_for_the_tier_writes_no_glue(monkeypatch):
    asked = []
    monkeypatch.setattr("gradsmith.c_builds.render_template", lambda *words: asked.append(words))
    f = gs.compile("x*x", target="c", tier="auto")
    assert f.tier == "quick"
    assert not asked
