"""The command line: every command, its exit status, what goes to stdout and what to stderr."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import gradsmith
from gradsmith.cli import main
from gradsmith.function import CompiledFunction
from gradsmith.registry import OPS

ROOT = Path(__file__).parents[1]
ANSI = re.compile(r"\x1b\[")

MODEL = '''\
from dataclasses import dataclass
import helper
import gradsmith as gs

print("the model is imported")

@dataclass
class Point:
    x: float
    y: float

def loss(W, b, x):
    """A small loss."""
    h1 = gs.tanh(W @ x + b)
    return gs.sum(h1**2) * helper.SCALE

def tree(p, x, power=2):
    return p["w"] * x**power + p["l"][0]

def branches(x):
    if x > 0:
        return x
    return -x

def wrong(x):
    return x.nothing

def misfit(W, x):
    return W @ x

x, y = gs.symbols("x y")
energy = x*y + y**2
'''


@dataclass(frozen=True)
class Result:
    """What one run of the command line did."""

    status: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in this process."""
    for variable in ("NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS"):
        monkeypatch.delenv(variable, raising=False)

    def call(*words: str | Path) -> Result:
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Result(int(caught.value.code or 0), out, err)

    return call


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "helper.py").write_text("SCALE = 2.0\n")
    (folder / "model.py").write_text(MODEL)
    yield folder / "model.py"
    sys.modules.pop("helper", None)


def program(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a program of its own."""
    path = os.pathsep.join(map(str, (ROOT / "compiler", ROOT / "runtime")))
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS")}
    environment |= {"PYTHONPATH": path, **variables}
    command = [sys.executable, "-m", "gradsmith", *map(str, words)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, timeout=120, check=False)


# --- help and lists ---------------------------------------------------------------------------------------------------


def test_version_and_help(run: Run):
    assert run("--version") == Result(0, f"gradsmith {gradsmith.__version__}\n", "")
    shown = run("--help")
    assert shown.status == 0
    for command in ("compile", "check", "explain", "graph", "targets", "ops"):
        assert re.search(rf"^\W*{command} ", shown.out, re.MULTILINE)
        page = run(command, "--help")
        assert page.status == 0
        assert "--debug" in page.out
        if command not in ("targets", "ops"):
            assert re.search(rf'gradsmith {command} "', page.out), "an example"
    assert run("compile", "-h").out == run("compile", "--help").out


def test_targets(run: Run):
    lines = [line.split("\t") for line in run("targets").out.splitlines()]
    assert lines[0][0] == "target"
    assert [row[:2] for row in lines[1:]] == [["c", "yes"], ["numpy", "yes"], ["python", "yes"]]
    assert "C99" in lines[1][2]


def test_ops(run: Run):
    lines = [line.split("\t") for line in run("ops").out.splitlines()]
    assert {len(row) for row in lines} == {5}
    rows = {row[0]: row[1:] for row in lines[1:]}
    assert set(rows) == {op.name for op in OPS.values() if op.kind != "leaf"}
    assert rows["tanh"][:3] == ["1", OPS["tanh"].doc.splitlines()[0], "c numpy python"]
    assert rows["add"][3] == "1 and 1"
    assert rows["concatenate"][0] == "any"


# --- compile ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
def test_compile_prints_the_source(run: Run, target: str):
    done = run("compile", "x*y + y + tanh(x)", "--target", target)
    f = gradsmith.compile("x*y + y + tanh(x)", target=target)
    assert done == Result(0, f.source, "")
    assert not ANSI.search(done.out)


def test_compile_options(run: Run):
    done = run("compile", "x*y", "--wrt", "y", "--name", "area", "-d", "value,grad", "--no-selftest")
    f = gradsmith.compile("x*y", wrt="y", name="area", derivatives=("value", "grad"), selftest=False)
    assert done.out == f.source
    assert "value_and_grad" not in done.out
    several = run("compile", "x*y*z", "-w", "z, x").out
    assert several == gradsmith.compile("x*y*z", wrt=("z", "x")).source


def test_compile_stable_forms(run: Run):
    done = run("compile", "log(1 + exp(x))", "-v")
    assert "log1p" in done.out
    assert "log(1 + exp(x)) -> softplus(x)" in done.err
    done = run("compile", "log(1 + exp(x))", "--no-stabilize", "-v")
    assert "log1p" not in done.out
    assert "no formula was rewritten" in done.err
    assert "* 0.25" in run("compile", "(x*y)/4 + x", "--fast-math", "-d", "value", "--no-selftest").out


def test_compile_strict(run: Run):
    """Tied to one order of operations: NumPy calls the C library's functions, C does not contract."""
    text = "exp(x)*y + x"
    plain, tied = (run("compile", text, "-t", "c", "--no-selftest", *more).out for more in ((), ("--strict",)))
    assert "FP_CONTRACT OFF" in tied
    assert "FP_CONTRACT" not in plain
    plain, tied = (run("compile", text, "-t", "numpy", "--no-selftest", *more).out for more in ((), ("--strict",)))
    assert "np.exp(" in plain
    assert "np.exp(" not in tied
    assert "math.exp" in tied


def test_compile_lapack(run: Run):
    options = ("-a", "W=40x40,x=40", "--no-selftest", "-t")
    plain, linked = (run("compile", "sum((W @ x)**2)", *options, "c", *more).out for more in ((), ("--lapack",)))
    assert plain == linked  # nothing to call it for
    refused = run("compile", "sum((W @ x)**2)", *options, "numpy", "--lapack")
    assert refused.status == 2
    assert "lapack=True is for C code" in refused.err


def test_compile_blas(run: Run):
    options = ("-a", "W=40x40,x=40", "--no-selftest", "-t", "c", "--blas")
    assert "cblas_dgemv(" in run("compile", "sum((W @ x)**2)", *options, "cblas").out
    refused = run("compile", "sum((W @ x)**2)", *options, "mkl")
    assert refused.status == 2
    assert "choose 'cblas', or None" in refused.err


def test_compile_shapes(run: Run):
    done = run("compile", "sum((W @ x + b)**2)", "-a", "b=3,W=3x4", "--args", "x=4", "-t", "numpy")
    assert "def f(b, W, x):" in done.out  # the order of --args
    assert "W: float64 array of shape (3, 4)" in done.out
    partly = run("compile", "s * sum(W)", "-a", "W=2x2")
    assert "def f(W, s):" in partly.out  # what has no shape is a scalar


def test_compile_writes_files(run: Run, tmp_path: Path):
    folder = tmp_path / "out" / "deep"
    done = run("compile", "x*y + tanh(x)", "-t", "c", "--name", "g", "-o", folder)
    assert done == Result(0, f"{folder / 'g.h'}\n{folder / 'g.c'}\n", "")
    f = gradsmith.compile("x*y + tanh(x)", target="c", name="g")
    assert {path.name: path.read_text() for path in folder.iterdir()} == f.files


def test_compile_a_file(run: Run, model: Path):
    done = run("compile", f"{model}:loss", "--args", "W=3x4,b=3,x=4", "--wrt", "W,b", "-t", "numpy")
    assert done.status == 0
    assert done.out.startswith('"""A small loss.\n')  # what the model prints is not in the way
    assert done.err == "the model is imported\n"
    assert "# model.py:14  h1 = gs.tanh(W @ x + b)" in done.out
    assert "d_W" in done.out
    assert str(model.parent) not in sys.path
    assert "helper" in sys.modules


def test_compile_pytrees_and_defaults(run: Run, model: Path):
    done = run("compile", f"{model}:tree", "-a", "p.w,p.l.0=2,x", "-t", "numpy")
    assert "w: p['w'], float64 scalar" in done.out
    assert "p_l_0: p['l'][0], float64 array of shape (2,)" in done.out
    done = run("compile", f"{model}:tree", "-a", "p.w,p.l.0", "--wrt", "p")
    assert "power" not in done.out.partition('"""\n')[0]


def test_compile_an_expression_of_a_file(run: Run, model: Path):
    assert "def f(x, y):" in run("compile", f"{model}:energy").out
    assert "def f(y, x):" in run("compile", f"{model}:energy", "-a", "y,x").out


def test_own_target(run: Run, tmp_path: Path):
    source = ROOT / "templates" / "python"
    folder = tmp_path / "python"
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).write_text(path.read_text())
    (folder / "module.py.j2").write_text("my own {{ name }}\n")
    assert run("compile", "x*y", "-t", folder).out == "my own f\n"


# --- check ------------------------------------------------------------------------------------------------------------


def test_check(run: Run, model: Path):
    pytest.importorskip("torch")
    done = run("check", "x*y + tanh(x)", "--points", "3", "--seed", "7")
    report = gradsmith.compile("x*y + tanh(x)").check(n=3, seed=7)
    assert done == Result(0, f"{report}\n", "")
    done = run("check", f"{model}:loss", "-a", "W=3x4,b=3,x=4", "-t", "numpy", "--rtol", "1e-8", "--atol", "1e-10")
    assert (done.status, done.out.partition(":")[0]) == (0, "ok")
    assert "rtol=1e-08, atol=1e-10" in done.out


def test_check_at_sizes(run: Run):
    arguments = ("check", "sum((x @ w)**2)", "--args", "x=nx2,w=2", "-n", "1")
    done = run(*arguments, "--sizes", "n=1", "--sizes", "n=4")
    assert done.status == 0
    assert "at n = 1" in done.out
    assert "at n = 4" in done.out
    assert "NAME=INT" in run(*arguments, "--sizes", "n=two").err


def test_check_mismatch_is_status_1(run: Run, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("torch")
    flat = CompiledFunction._flat
    monkeypatch.setattr(CompiledFunction, "_flat", lambda *args: [1.001 * v for v in flat(*args)])
    done = run("check", "x*y", "-n", "2")
    assert done.status == 1
    assert done.out.startswith("MISMATCH")
    assert done.err == ""


def test_check_has_the_options_of_the_method(run: Run):
    pytest.importorskip("torch")
    done = run("check", "log(x)/y", "--domain", "x=0:10, y=1:", "--n", "5", "--order", "2", "--against", "mpmath")
    report = gradsmith.compile("log(x)/y").check(n=5, domain={"x": (0, 10), "y": (1, None)}, order=2, against="mpmath")
    assert done == Result(0, f"{report}\n", "")
    assert "d2_y" in done.out
    assert run("check", "log(x)", "--domain", "x=:-1", "-n", "2").out.count("NaN on both sides") == 1
    assert run("check", "x*y", "--against", "finite").out.startswith("ok: 3 outputs, 42 points, against finite diff")
    assert "choose from 'optimised', 'auto'" in run("check", "x*y", "-t", "c", "--tier", "soon").err
    assert "march='a b'" in run("check", "x*y", "-t", "c", "--march", "a b").err
    built = run("check", "x*y", "-n", "1", "--against", "finite", "-t", "c", "--march", "none", "--tier", "auto")
    assert (built.status, built.err) == (0, "")


def test_check_names_a_wrong_rule(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def wrong(g: object, y: object, x: object) -> tuple[object, ...]:
        return (g * gradsmith.cos(x) * 1.0005,)  # type: ignore[operator]

    monkeypatch.setitem(OPS, "sin", replace(OPS["sin"], vjp=wrong))
    (tmp_path / "wave.py").write_text("import gradsmith as gs\ndef wave(x):\n    h = gs.sin(x)\n    return h * x\n")
    done = run("check", f"{tmp_path / 'wave.py'}:wave", "--domain", "x=1:2", "--against", "finite")
    assert done.status == 1
    assert "cause: the derivative rule of op 'sin' gives " in done.out
    assert "at wave.py:3: h = gs.sin(x)" in done.out


def test_check_without_torch(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    done = run("check", "x*y", "--against", "torch")
    assert (done.status, done.out) == (2, "")
    assert "pip install 'gradsmith[torch]'" in done.err
    done = run("check", "x*y")
    assert (done.status, done.err) == (0, "")
    assert "against mpmath" in done.out


# --- explain and graph ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["text", "markdown", "latex"])
def test_explain(run: Run, style: str):
    done = run("explain", "x*y + y + tanh(x)", "--at", "x=2", "--at", "y=3", "--style", style)
    wanted = gradsmith.compile("x*y + y + tanh(x)").explain(style, x=2.0, y=3.0)
    assert done == Result(0, wanted + "\n", "")
    assert run("explain", "x*y + y + tanh(x)", "--at", "x=2, y=3e0", "-s", style).out == done.out


def test_explain_arrays(run: Run):
    done = run("explain", "sum(W @ x)", "-a", "W=2x2,x=2", "--at", "W=[[1,2],[3,4]]", "--at", "x=[1,-1]")
    assert (done.status, done.err) == (0, "")
    assert "-2" in done.out


def test_graph(run: Run):
    graph = gradsmith.compile("a*b + a").graph
    assert run("graph", "a*b + a").out == graph.to_mermaid().rstrip("\n") + "\n"
    assert run("graph", "a*b + a", "--format", "dot").out.rstrip() == graph.to_dot().rstrip()
    point = run("graph", "a*b + a", "-f", "dot", "--at", "a=2,b=3")
    assert point.out.rstrip() == graph.to_dot(point={"a": 2.0, "b": 3.0}).rstrip()
    both = run("graph", "a*b + a", "-f", "dot", "--adjoint", "--wrt", "a").out
    assert both.rstrip() == gradsmith.compile("a*b + a", wrt="a").adjoint.to_dot().rstrip()


def test_graph_as_a_file(run: Run, tmp_path: Path):
    file = tmp_path / "graph.dot"
    assert run("graph", "a*b", "-o", file) == Result(0, f"{file}\n", "")
    assert file.read_text().startswith("digraph")
    done = run("graph", "a*b", "-o", tmp_path / "graph.svg")
    if done.status == 0:
        assert "<svg" in (tmp_path / "graph.svg").read_text()
    else:  # no Graphviz here
        assert (done.status, done.out) == (2, "")
        assert "Graphviz" in done.err


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "fragments"), [
    (("compile", "tahn(x)"), ["'tahn'", "'tanh'", "^^^^"]),
    (("compile", "__import__('os').system('echo no')"), ["error: "]),
    (("compile", "x*y", "--target", "fortran"), ["'fortran'", "c, numpy, python"]),
    (("compile", "x*y", "--wrt", "z"), ["'z'", "x, y"]),
    (("compile", "x*y", "-d", "laplacian"), ["'laplacian'", "'value', 'grad', 'value_and_grad'"]),
    (("compile", "x*y", "--name", "a b"), ["'a b'"]),
    (("compile", "W @ x", "-a", "W=3x4,x=5"), ["(3, 4) and (5,)", "W @ x"]),
    (("compile", "x*2", "-a", "z=3"), ["--args names z", "x"]),
    (("compile", "x*2", "-a", "x.a=3"), ["'x'"]),
    (("compile", "W*2", "-a", "W=3", "-d", "grad"), ["(3,)", "gs.sum"]),
    (("compile", "x", "-o", "{tmp}/project/model.py"), ["model.py"]),
    (("compile", "{model}"), ["which function", "model.py:FUNC"]),
    (("compile", "{model}:nothing"), ["no 'nothing'", "loss, tree, branches, wrong, misfit"]),
    (("compile", "{tmp}/none.py:f"), ["there is no file", "none.py"]),
    (("compile", "{model}:branches"), ["gs.where(condition, a, b)", "at model.py:21: if x > 0:"]),
    (("compile", "{model}:wrong"), ["AttributeError", "'nothing'", "at model.py:26: return x.nothing"]),
    (("compile", "{model}:misfit", "-a", "W=3x4,x=5"), ["(3, 4) and (5,)", "at model.py:29: return W @ x"]),
    (("compile", "{model}:misfit", "-a", "V=3x4"), ["names V", "W, x"]),
    (("check", "x*y", "--domain", "z=0:1"), ["domain= names 'z'", "x, y"]),
    (("check", "x*y", "--domain", "x=1:0"), ["'x'", "the lower bound must not be above the upper one"]),
    (("explain", "x*y", "--at", "x=2"), ["'y' missing"]),
    (("graph", "x*y", "--at", "z=2"), ["'z' not among them"]),
])  # fmt: skip
def test_errors_are_one_block_on_stderr(run: Run, model: Path, words: tuple[str, ...], fragments: list[str]):
    done = run(*(word.format(model=model, tmp=model.parents[1]) for word in words))
    assert (done.status, done.out) == (2, "")
    assert "Traceback" not in done.err
    message = done.err.removeprefix("the model is imported\n")
    assert message.startswith("error: ")
    for fragment in fragments:
        assert fragment in message


@pytest.mark.parametrize(("text", "fragments"), [
    ("1/0\n", ["ZeroDivisionError", "at broken.py:1: 1/0"]),
    ("def f(:\n", ["SyntaxError", "at broken.py:1: def f(:"]),
    ("import no_such_module\n", ["ModuleNotFoundError", "no_such_module"]),
    ("import sys\nsys.exit(4)\n", ["SystemExit", "at broken.py:2: sys.exit(4)"]),
])  # fmt: skip
def test_file_that_cannot_be_imported(run: Run, tmp_path: Path, text: str, fragments: list[str]):
    (tmp_path / "broken.py").write_text(text)
    done = run("compile", f"{tmp_path / 'broken.py'}:f")
    assert (done.status, done.out) == (2, "")
    for fragment in (*fragments, "broken.py raised"):
        assert fragment in done.err


@pytest.mark.parametrize("words", [
    ("compile",), ("compile", "x", "--nonsense"), ("nonsense",), ("graph", "x", "-f", "pdf"),
    ("explain", "x", "-s", "html"),
    ("compile", "x", "-a", "x=3y"), ("compile", "x", "-a", "x=3x"), ("compile", "p", "-a", "p=3,p.a=4"),
    ("explain", "x", "--at", "x"), ("explain", "x", "--at", "x=two"), ("explain", "x", "--at", "x=1", "--at", "x=2"),
    ("explain", "x", "--at", "x=[1,"), ("check", "x", "-n", "-1"),
    ("check", "x", "--domain", "x"), ("check", "x", "--domain", "x=1"), ("check", "x", "--domain", "x=a:b"),
    ("check", "x", "--domain", "x=0:1,x=2:3"), ("check", "x", "--order", "3"), ("check", "x", "--against", "jax"),
])  # fmt: skip
def test_usage_errors(run: Run, words: tuple[str, ...]):
    done = run(*words)
    assert (done.status, done.out) == (2, "")
    assert "Usage:" in done.err
    assert "Traceback" not in done.err


def test_no_command_shows_the_help(run: Run):
    done = run()
    assert "gradsmith explain" in done.out + done.err


def test_debug_shows_the_traceback(run: Run):
    for words in (("compile", "tahn(x)", "--debug"), ("--debug", "compile", "tahn(x)")):
        done = run(*words)
        assert done.status == 2
        assert "Traceback (most recent call last)" in done.err
        assert done.err.splitlines()[-3].startswith("error: unknown function 'tahn'")


def test_a_fault_of_gradsmith_is_status_3(run: Run, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr("gradsmith.api.verify", fail)
    done = run("compile", "x*y")
    assert (done.status, done.out) == (3, "")
    assert (
        done.err
        == "error: gradsmith failed with RuntimeError: inside\nThis is a fault of gradsmith; --debug shows where.\n"
    )


def test_interrupt_is_status_130(run: Run, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gradsmith.api.verify", interrupt)
    done = run("compile", "x*y")
    assert (done.status, done.out) == (130, "")
    assert "Traceback" not in done.err


# --- as a program -----------------------------------------------------------------------------------------------------


def test_program_writes_plain_text_into_a_pipe():
    done = program("compile", "x*y + y + tanh(x)", "-t", "c")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == gradsmith.compile("x*y + y + tanh(x)", target="c").source
    table = program("ops")
    assert not ANSI.search(table.stdout)
    wrong = program("compile", "x*", FORCE_COLOR="", NO_COLOR="")
    assert wrong.returncode == 2
    assert not ANSI.search(wrong.stderr)


def test_colours_by_request():
    coloured = program("compile", "x*y", FORCE_COLOR="1").stdout
    assert ANSI.search(coloured)
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == gradsmith.compile("x*y").source  # colours and nothing else
    assert not ANSI.search(program("compile", "x*y", FORCE_COLOR="1", NO_COLOR="1").stdout)
    assert ANSI.match(program("compile", "x*", FORCE_COLOR="1").stderr)


def test_generated_program_tests_itself(tmp_path: Path):
    assert program("compile", "x*y + tanh(x)", "-o", tmp_path).returncode == 0
    done = subprocess.run([sys.executable, "-I", str(tmp_path / "f.py")], capture_output=True, check=False)
    assert done.returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="no pseudo-terminals")
def test_terminal_has_colours_and_a_progress_line(tmp_path: Path):
    import pty

    (tmp_path / "slow.py").write_text("import time\ntime.sleep(1.2)\ndef f(x):\n    return x * x\n")
    path = os.pathsep.join(map(str, (ROOT / "compiler", ROOT / "runtime")))
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    environment |= {"PYTHONPATH": path, "TERM": "xterm", "COLUMNS": "100"}
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gradsmith", "compile", f"{tmp_path / 'slow.py'}:f"],
        stdin=slave, stdout=slave, stderr=slave, env=environment, close_fds=True,
    )  # fmt: skip
    os.close(slave)
    seen = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(master)
    assert process.wait(timeout=60) == 0
    text = seen.decode()
    assert "starting …" in text or "importing" in text
    assert ANSI.search(text)
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", text).replace("\r", "")
    assert "def f_value_and_grad(x):" in plain


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_ctrl_c(tmp_path: Path):
    started = tmp_path / "started"
    (tmp_path / "slow.py").write_text(f"import time, pathlib\npathlib.Path({str(started)!r}).touch()\ntime.sleep(60)\n")
    path = os.pathsep.join(map(str, (ROOT / "compiler", ROOT / "runtime")))
    process = subprocess.Popen(
        [sys.executable, "-m", "gradsmith", "compile", f"{tmp_path / 'slow.py'}:f"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, b"Traceback" in err) == (b"", False)


def test_closed_pipe_is_no_traceback():
    path = os.pathsep.join(map(str, (ROOT / "compiler", ROOT / "runtime")))
    process = subprocess.Popen(
        [sys.executable, "-m", "gradsmith", "ops"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=60)
    assert b"Traceback" not in err


def test_sparse_matrices(run: Run):
    words = ("sum((x[1:] - x[:-1]**2)**2)", "--args", "x=5", "-d", "hessian", "--sparse", "csc", "--triangle", "upper")
    done = run("compile", *words, "--no-selftest", "-t", "c")
    assert done.status == 0
    assert "_INDPTR[6] = { 0, 1, 3, 5, 7, 9 };" in done.out
    assert run("check", *words, "-n", "2").status == 0
    assert "choose from 'csr', 'csc', 'coo'" in run("compile", "x*y", "-d", "jacobian", "--sparse", "bsr").err
    assert "zero everywhere" in run("compile", "floor(x) + y", "-v").err


def test_functions_of_many_points(run: Run):
    words = ("exp(-k*x)", "--target", "c", "--no-selftest", "--batch", "x", "--reduce", "sum", "--threads", "openmp")
    done = run("compile", *words)
    assert done.status == 0
    assert "void f_grad_batch(ptrdiff_t gs_n, ptrdiff_t gs_threads, double k, const double *GS_RESTRICT x" in done.out
    assert "has no functions of many points" in run("compile", "x*y", "--batch", "all").err
