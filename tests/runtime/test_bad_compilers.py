"""Compilers that fail, are killed, hang, write garbage or lack OpenMP; full disks; Ctrl-C: clear errors, no remains."""

import errno
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from gradsmith_runtime import BuildOptions, CacheError, CompilerFailedError, build_extension

from .test_build import sources

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the fake compilers are shell scripts")
UNITS = {"f.c": [[f"-DF_UNIT={i}"] for i in range(3)]}


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Make $CC a script with the given lines, `$real` being a true compiler."""

    def write(lines: str) -> Path:
        path = tmp_path / "fakecc"
        real = shutil.which("gcc") or shutil.which("cc")
        path.write_text(f'#!/bin/sh\nreal={real}\n[ "$1" = --version ] && echo fake 1 && exit\n{lines}\n')
        path.chmod(0o755)
        monkeypatch.setenv("CC", str(path))
        return path

    return write


def remains(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.suffix != ".lock"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo internal compiler error; exit 4", "internal compiler error"),
        ("exit 3", "exit status 3, no output"),
        ("kill -KILL $$", r"was killed by signal 9 \(SIGKILL\)"),
        ("echo half; kill -SEGV $$", r"half\nwas killed by signal 11 \(SIGSEGV\)"),
        ("head -c 999 /dev/urandom; exit 1", "the C compiler failed on _gs_f"),  # no text at all
        ("exit 0", r"ended well, but wrote no _gs_f.*\.so"),
        ('for w; do [ "$p" = -o ] && echo garbage >$w; p=$w; done', "what it wrote cannot be loaded: _gs_f"),
    ],
)
def test_a_compiler_that_does_not_do_its_work_is_named_and_leaves_nothing(script, words, fake, cache, monkeypatch):
    fake(script)
    with pytest.raises(CompilerFailedError, match=words) as caught:
        build_extension(sources(1), "_gs_f")
    assert str(cache) not in str(caught.value)
    assert remains(cache) == []
    monkeypatch.delenv("CC")
    assert build_extension(sources(1), "_gs_f").answer() == 1


def test_a_compiler_that_hangs_is_killed_with_its_own_processes(fake, cache, tmp_path, monkeypatch):
    fake(f"sleep 600 & echo $! >{tmp_path}/child; wait")
    monkeypatch.setenv("GRADSMITH_COMPILER_TIMEOUT", "0.5")
    with pytest.raises(CompilerFailedError, match=r"did not end within 0\.5 s, and was killed"):
        build_extension(sources(1), "_gs_f")
    assert ended(int((tmp_path / "child").read_text()))
    assert remains(cache) == []


def ended(process: int) -> bool:
    """Whether a process ends within some seconds (a killed orphan is reaped by whoever is its parent now)."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_the_time_a_compiler_may_take_is_a_number(monkeypatch):
    monkeypatch.setenv("GRADSMITH_COMPILER_TIMEOUT", "soon")
    with pytest.raises(TypeError, match=r"\$GRADSMITH_COMPILER_TIMEOUT = 'soon': give a number of seconds"):
        build_extension(sources(1), "_gs_f")


def test_one_failure_of_several_stops_the_others(fake, cache, tmp_path):
    fake(f'case "$*" in *F_UNIT=1*) echo broken; exit 1;; *) echo $$ >>{tmp_path}/started; exec sleep 600;; esac')
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one processor runs one compiler at a time")
    with pytest.raises(CompilerFailedError, match="broken"):
        build_extension(sources(1), "_gs_f", BuildOptions(units=UNITS))
    started = tmp_path / "started"
    assert all(ended(int(line)) for line in (started.read_text().split() if started.exists() else []))
    assert remains(cache) == []


def test_units_make_one_module():
    text = "#if F_UNIT == {0}\nint part_{0}(void);\nint part_{0}(void) {{ return {0} + 1; }}\n#endif\n"
    parts = "".join(map(text.format, range(3)))
    given = sources(4)
    head = "#if F_UNIT == 0\nint part_1(void);\nint part_2(void);\n"
    given["f.c"] = head + given["f.c"].replace("ANSWER)", "ANSWER * part_1() * part_2())") + "#endif\n" + parts
    assert build_extension(given, "_gs_f", BuildOptions(units=UNITS)).answer() == 24


def test_openmp_that_is_missing_is_left_out(fake):
    fake('case "$*" in *-fopenmp*) echo no -lgomp; exit 1;; esac\nexec "$real" "$@"')
    with pytest.warns(RuntimeWarning, match="fakecc cannot compile with -fopenmp, so f runs in one thread"):
        assert build_extension(sources(6), "_gs_f", BuildOptions(optional=("-O1", "-fopenmp"))).answer() == 6
    with pytest.raises(CompilerFailedError, match="nonsense"), pytest.warns(RuntimeWarning):  # whose fault it is not
        build_extension({"f.c": "nonsense"}, "_gs_f", BuildOptions(optional=("-fopenmp",)))


def test_a_compiler_that_builds_nothing_for_now_is_no_reason_to_leave_flags_out(fake, tmp_path):
    """As on a full disk: what is built without them would stay in the cache."""
    fake(f'case "$*" in *probe*) touch {tmp_path}/probed; exit 1;; esac\n[ -e {tmp_path}/probed ] && exec "$real" "$@"\n'
         "echo no space left; exit 1")  # fmt: skip
    with pytest.raises(CompilerFailedError, match="no space left"):
        build_extension(sources(6), "_gs_f", BuildOptions(optional=("-O1",)))
    assert (tmp_path / "probed").exists()


def test_numpys_headers_that_a_compiler_cannot_read_are_left_out(fake):
    given = {**sources(7), "f.h": "#ifdef GSMOD_NUMPY\n#define ANSWER 8\n#else\n#define ANSWER 7\n#endif\n"}
    assert build_extension(given, "_gs_f", BuildOptions(numpy=True)).answer() == 8
    fake('case "$*" in *GSMOD_NUMPY*) echo no complex numbers; exit 1;; esac\nexec "$real" "$@"')
    assert build_extension(given, "_gs_f", BuildOptions(numpy=True)).answer() == 7


@pytest.mark.parametrize("where", ["write_text", "mkdir"])
def test_a_full_disk_is_named_with_the_remedy(where, cache, monkeypatch):
    def full(self, *args, **options):
        if cache in self.parents:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return original(self, *args, **options)

    original = getattr(Path, where)
    with monkeypatch.context() as patch:
        patch.setattr(Path, where, full)
        with pytest.raises(CacheError, match=r"cannot be used \(No space left on device\); set GRADSMITH_CACHE_DIR"):
            build_extension(sources(1), "_gs_f")
    assert remains(cache) == []
    assert build_extension(sources(1), "_gs_f").answer() == 1


FULL = (
    r"the cache directory .* or .*, where compilers keep temporary files, is full \({}\); "
    "make room, or set GRADSMITH_CACHE_DIR and TMPDIR to directories that have it"
)


@pytest.mark.parametrize("units", [{}, UNITS], ids=["link", "assemble"])
@pytest.mark.parametrize("words", ["No space left on device", "Disk quota exceeded"])
def test_a_compiler_that_finds_the_disk_full_is_not_the_culprit(words, units, fake, cache):
    """And no flag is left out for it."""
    fake(f'echo "$@" >>"$0.calls"; echo "/usr/bin/ld: final link failed: {words}"; exit 1')
    with pytest.raises(CacheError, match=FULL.format(words)) as caught:
        build_extension(sources(1), "_gs_f", BuildOptions(optional=("-O1",), units=units))
    assert isinstance(caught.value.__cause__, CompilerFailedError)
    assert words in caught.value.__cause__.output
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert remains(cache) == []


@pytest.mark.parametrize("full", ["cache", "temporary"])
def test_a_compiler_whose_words_find_no_room_either(full, fake, cache, monkeypatch):
    def usage(place):
        inside = cache in Path(place).parents
        return types.SimpleNamespace(free=8192 if inside == (full == "cache") else 1 << 30)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert build_extension(sources(1), "_gs_f").answer() == 1  # nobody asks as long as all is well
    fake("exit 1")
    with pytest.raises(CacheError, match=FULL.format("No space left on device")):
        build_extension(sources(2), "_gs_f")


def test_files_that_a_limit_cuts_off_are_no_artefacts(cache, tmp_path):
    """The linker's own write fails; what it began is thrown away."""
    code = (
        "import resource, signal\n"
        "from gradsmith_runtime import build_extension\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        f"build_extension({sources(1)!r}, '_gs_f')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert re.search(r"CompilerFailedError(.|\n)*File (size limit exceeded|too large)", done.stderr), done.stderr
    assert remains(cache) == []


def test_ctrl_c_stops_the_compiler_and_leaves_nothing(fake, cache, tmp_path):
    fake(f"echo $$ >{tmp_path}/started.new; mv {tmp_path}/started.new {tmp_path}/started; exec sleep 600")
    code = (
        "import signal\n"
        "from gradsmith_runtime import build_extension\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which a job in the background does not have
        "from gradsmith_runtime import BuildOptions\n"
        f"try:\n    build_extension({sources(1)!r}, '_gs_f', BuildOptions(units={{'f.c': [['-DA'], ['-DB']]}}))\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        started = tmp_path / "started"
        while not started.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == "interrupted\n"
    assert ended(int(started.read_text()))
    assert remains(cache) == []
