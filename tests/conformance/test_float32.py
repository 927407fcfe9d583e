"""float32 is float32: in the text, in the object code, in every intermediate value; and files of integers beside it.

All programs are built together, a few compiler runs in all: a run costs more than the code in it.
"""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.function import CompiledFunction
from gradsmith.target import load_target

from .harness import COMPILERS, Library, Run, as_tensor, disagreement, torch_value_and_grad, widened
from .sample_programs import PROGRAMS as SAMPLES
from .sample_programs import compile_program

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wdouble-promotion", "-Werror"]
LANGUAGES = {
    "gcc": ["gcc", "-std=c99"],
    "clang": ["clang", "-std=c99"],
    "g++": ["g++", "-std=c++11", "-x", "c++"],
    "clang++": ["clang++", "-std=c++11", "-x", "c++"],
}
EPS = float(np.finfo(np.float32).eps)

x, y = gs.symbols("x y")
v, W, image = gs.symbol("v", (5,)), gs.symbol("W", (3, 5)), gs.symbol("image", (1, 2, 6, 6))
kernel = gs.symbol("kernel", (3, 2, 3, 3))
n, picks, flags = gs.symbol("n", (), "int64"), gs.symbol("picks", (4,), "int32"), gs.symbol("flags", (5,), "bool")
single, singles = gs.symbol("s", (), "float32"), gs.symbol("S", (5,), "float32")

#: Besides the sample programs: name -> expression, arguments.
FLOATS: dict[str, tuple[Any, list[gs.Expr]]] = {
    "special": (
        gs.erf(x) * gs.lgamma(y + 1.5) + gs.digamma(y + 2.0) * gs.erfinv(x * 0.1) + gs.i0(x) * gs.j0(y) + gs.expm1(x),
        [x, y],
    ),
    "losses": (
        gs.cross_entropy(W, [0, 2, 4]) + gs.huber_loss(v, 0.5) + gs.mean(gs.gelu(v)) + gs.sum(gs.softplus(W)),
        [W, v],
    ),
    "layers": (
        gs.sum(gs.tanh(gs.conv2d(image, kernel, padding=1)) ** 2) + gs.sum(gs.max_pool2d(image, 2)),
        [image, kernel],
    ),
    "scans": (
        gs.sum(gs.cumulative_sum(v) ** 2) + gs.sum(gs.cumulative_prod(v)) + gs.var(v) + gs.linalg.vector_norm(v),
        [v],
    ),
    "sorted": (gs.sum(gs.sort(v) * np.arange(5.0, dtype=np.float32)) + gs.sum(gs.sort(W, axis=0)[1] ** 2), [v, W]),
    "rounded": (gs.sum(v * gs.floor(v * 3.0) + gs.round(v) + v % 0.7 + gs.trunc(v) // 0.3) + gs.sign(x) * x**5, [v, x]),
}
#: Programs with integers, booleans, or two widths of floats.
MIXED: dict[str, tuple[Any, list[gs.Expr]]] = {
    "indices": (gs.sum(gs.take(v, picks) ** 2) * n + gs.sum(gs.where(flags, v, 0.5 * v)), [v, picks, n, flags]),
    "integers": (x * gs.astype((n * 7 // 3) % 5 + (n & 6) - (n << 2) + n**3 + abs(-n) + gs.sign(n), gs.float64), [x, n]),
    "tested": (gs.sum(v * gs.where(gs.isnan(picks[0]) | gs.signbit(n) | ~gs.isfinite(n), gs.argmax(picks), 2)), [v, picks, n]),
    "counted": (gs.sum(v * gs.argsort(v)) + gs.argmax(v) * gs.count_nonzero(v > 0.5) + gs.sum(gs.cumulative_sum(picks)) * x, [v, picks, x]),
    "two widths": (gs.sum(gs.tanh(singles) * v) + single * x + gs.sum(gs.astype(v, gs.float32) ** 2) * 0.5, [singles, v, single, x]),
    "two workspaces": (
        gs.sum(gs.softmax(gs.sort(v)) * gs.sort(gs.cumulative_sum(singles))) + gs.sum(gs.sort(gs.cumulative_sum(picks)) * x),
        [v, singles, picks, x],
    ),
}  # fmt: skip


def compiled(target: str) -> dict[str, CompiledFunction]:
    """All programs in float32, by the name of their function."""
    found = {f"f_{key}": compile_program(key, target, name=f"f_{key}", dtype="float32") for key in SAMPLES}
    for key, (value, inputs) in FLOATS.items():
        found[f"f_{key}"] = gs.compile(value, args=inputs, target=target, name=f"f_{key}", dtype="float32")
    return found


def mixed(target: str) -> dict[str, CompiledFunction]:
    names = {key: "m_" + key.replace(" ", "_") for key in MIXED}
    return {
        names[k]: gs.compile(value, args=inputs, target=target, name=names[k]) for k, (value, inputs) in MIXED.items()
    }


@pytest.fixture(scope="module")
def in_c() -> dict[str, CompiledFunction]:
    return compiled("c")


@pytest.fixture(scope="module")
def in_numpy() -> dict[str, CompiledFunction]:
    return compiled("numpy")


@pytest.fixture(scope="module")
def mixed_in_c() -> dict[str, CompiledFunction]:
    return mixed("c")


def run(folder: Path, *command: object) -> str:
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def unit(folder: Path, functions: Mapping[str, CompiledFunction], *, tested: bool) -> tuple[Path, int]:
    """One file that includes them all, with their self-tests or without, and how many self-tests there are."""
    lines: list[str] = []
    mains: list[str] = []
    for name, f in functions.items():
        f.save(folder)
        if tested and "_SELFTEST" in f.files[f"{name}.c"].split("#include <math.h>")[1]:
            lines += [f"#define {name.upper()}_SELFTEST", f"int main_{name}(void);", f"#define main main_{name}"]
            mains.append(f"main_{name}()")
        lines += [f'#include "{name}.c"', "#undef main"]
    if tested:
        lines.append(f"int main(void) {{ return {' | '.join(mains)}; }}")
    path = folder / ("tested.c" if tested else "all.c")
    path.write_text("\n".join(lines) + "\n")
    return path, len(mains)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_compiler_warns(language: str, in_c: Any, mixed_in_c: Any, tmp_path: Path) -> None:
    if not shutil.which(language):
        pytest.skip(f"{language} is not installed")
    for tested in (False, True):
        path, _ = unit(tmp_path, in_c | mixed_in_c, tested=tested)
        optimised = language == "gcc" and not tested  # only gcc has warnings that its optimiser finds
        options = ["-O2", "-c", "-o", "out.o"] if optimised else ["-fsyntax-only"]
        run(tmp_path, *LANGUAGES[language], *WARNINGS, *options, path)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_self_tests_run_clean_under_sanitizers(compiler: str, in_c: Any, mixed_in_c: Any, tmp_path: Path) -> None:
    path, count = unit(tmp_path, in_c | mixed_in_c, tested=True)
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    run(tmp_path, compiler, "-std=c99", "-O0", *sanitize, path, "-o", "program", "-lm")
    assert run(tmp_path, tmp_path / "program").count("points agree") == count >= len(in_c) + len(mixed_in_c) - 2


# --- no double anywhere -----------------------------------------------------------------------------------------------

#: Arithmetic and comparison of doubles, and conversions from and to them. Moves and logic know no width.
_DOUBLE = re.compile(
    r"v?((add|sub|mul|div|sqrt|max|min|round|rcp|u?comi|cmp\w*|hadd|dp)[sp]d|cvt\w*[sp]d\w*|fn?m(add|sub)\w*[sp]d"
    r"|f(add|sub|mul|div|ld|st|stp|com\w*)[lt]?)"
)
_FUNCTIONS = {w for w in load_target("c").reserved if re.fullmatch(r"[a-z]+[0-9]?[0-9a-z]*", w)}


@pytest.mark.skipif(not shutil.which("objdump"), reason="objdump reads the object code")
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_no_double_instruction_in_the_object_code(compiler: str, level: str, in_c: Any, tmp_path: Path) -> None:
    path, _ = unit(tmp_path, in_c, tested=False)
    run(tmp_path, compiler, "-std=c99", level, "-c", path, "-o", "all.o")
    if "x86-64" not in run(tmp_path, "objdump", "-f", "all.o"):
        pytest.skip("the patterns are of x86-64")
    seen = re.findall(r"^\s+[0-9a-f]+:\s+(\w+)", run(tmp_path, "objdump", "-d", "--no-show-raw-insn", "all.o"), re.M)
    assert {"mulss", "divss"} <= set(seen), "what looks for instructions finds none"
    assert not {word for word in seen if _DOUBLE.fullmatch(word)}
    called = {line.split()[-1] for line in run(tmp_path, "nm", "-u", "all.o").splitlines()}
    assert {"expf", "tanhf"} <= called
    assert not called & _FUNCTIONS


def test_the_search_for_doubles_finds_them(tmp_path: Path) -> None:
    (tmp_path / "wide.c").write_text("#include <math.h>\nfloat f(float x) { return x * 0.1 + sin(x); }\n")
    run(tmp_path, "gcc", "-c", "-O1", "wide.c", "-o", "wide.o")
    seen = re.findall(r"^\s+[0-9a-f]+:\s+(\w+)", run(tmp_path, "objdump", "-d", "--no-show-raw-insn", "wide.o"), re.M)
    assert {w for w in seen if _DOUBLE.fullmatch(w)} >= {"cvtss2sd", "mulsd", "addsd", "cvtsd2ss"}
    assert {line.split()[-1] for line in run(tmp_path, "nm", "-u", "wide.o").splitlines()} & _FUNCTIONS == {"sin"}


def test_literals_and_names_carry_their_type(in_c: Any) -> None:
    for name, f in in_c.items():
        code = f.files[f"{name}.c"].split(f"#ifdef {name.upper()}_SELFTEST")[0] + f.files[f"{name}.h"]
        code = re.sub(r"//[^\n]*|/\*.*?\*/", "", code, flags=re.S)
        assert not re.findall(r"\bdouble\b|HUGE_VAL\b", code), name
        assert not re.findall(r"(?<![\w.])(?:\d+\.\d*|\.\d+|\d+(?=e))(?:e[-+]?\d+)?(?![\w.])", code), name


# --- NumPy ------------------------------------------------------------------------------------------------------------


class _Watched(ast.NodeTransformer):
    """Every value that the code computes goes through `_seen`."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.BinOp | ast.UnaryOp | ast.Call | ast.IfExp | ast.Compare):
            return ast.copy_location(ast.Call(ast.Name("_seen", ast.Load()), [node], []), node)
        return node


def watched(f: CompiledFunction, kinds: tuple[str, ...]) -> tuple[dict[str, Any], set[str]]:
    """The functions of a NumPy file, and the dtypes of all that they compute, which fill up as they run."""
    tree = ast.parse(f.source)
    tree.body = [node for node in tree.body if not isinstance(node, ast.If)]  # __main__
    written = {getattr(f._program, kind).name for kind in kinds}
    dtypes: set[str] = set()

    def seen(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            dtypes.add(value.dtype.name)
        return value

    space: dict[str, Any] = {"_seen": seen}
    for node in tree.body:
        if getattr(node, "name", "") in written:  # helpers such as erf may compute in double, as math does
            _Watched().visit(node)
    exec(compile(ast.fix_missing_locations(tree), f.name, "exec"), space)
    return {kind: space[getattr(f._program, kind).name] for kind in kinds}, dtypes


def point(f: CompiledFunction, seed: int) -> list[Any]:
    """Numbers for all arguments, in their dtypes; integers are small, and indices into everything."""
    rng = np.random.default_rng(seed)
    found = []
    for a in f.inputs:
        if a.dtype.startswith("float"):
            found.append(rng.uniform(0.2, 0.9, a.shape).astype(a.dtype))
        else:
            found.append(rng.integers(0, 2 if a.dtype == "bool" else 4, a.shape).astype(a.dtype))
    return found


def results(tree: Any) -> list[Any]:
    return [leaf for part in tree for leaf in results(part)] if isinstance(tree, tuple) else [tree]


def test_numpy_computes_in_float32_throughout(in_numpy: Any) -> None:
    for name, f in in_numpy.items():
        functions, dtypes = watched(f, ("value", "grad", "value_and_grad"))
        for function in functions.values():
            for result in results(function(*point(f, 1))):
                assert np.asarray(result).dtype == np.float32, name
        assert "float32" in dtypes, name
        assert not {d for d in dtypes if d.startswith(("float", "complex")) and d != "float32"}, name


def test_numpy_and_c_take_other_dtypes_and_return_float32(in_numpy: Any) -> None:
    f = in_numpy["f_scalar"]
    for leaf in (0.5, np.float64(0.5), np.float32(0.5), 1, True, np.int64(1)):
        value, slopes = f.value_and_grad(leaf, leaf)
        assert {np.asarray(r).dtype.name for r in (value, *slopes)} == {"float32"}


# --- values -----------------------------------------------------------------------------------------------------------

#: f32 has 7 digits; the worst programs add tens of rounded terms or divide by small ones.
TOLERANCE = 64 * EPS


def flat(f: CompiledFunction) -> Run:
    """How to call a function of pytrees on flat leaves."""
    return lambda kind, leaves: [np.asarray(r) for r in f._flat(kind, leaves)]


@pytest.fixture(scope="module")
def runners(in_c: Any, in_numpy: Any, mixed_in_c: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """name -> (graph, inputs to differentiate by, ways to run it)."""
    folder = tmp_path_factory.mktemp("float32")
    libraries = [Library(in_c | mixed_in_c, c, folder / c) for c in COMPILERS]
    numpy = in_numpy | mixed("numpy")
    return {
        name: (f, [flat(numpy[name]), *(library[name] for library in libraries)])
        for name, f in (in_c | mixed_in_c).items()
    }


@pytest.mark.parametrize("name", [f"f_{k}" for k in (*SAMPLES, *FLOATS)] + ["m_" + k.replace(" ", "_") for k in MIXED])
def test_value_and_gradient_equal_torch(name: str, runners: Any) -> None:
    f, runs = runners[name]
    wrt = [f.graph.inputs.index(k) for k in f._wrt.keys]
    for seed in (1, 2):
        leaves = point(f, seed)
        for one in runs:
            got = one("value_and_grad", leaves)
            for result, expected in zip(got[1:], [f.inputs[i].dtype for i in wrt], strict=True):
                assert result.dtype == expected
            wide = [np.asarray(g, np.float64) for g in got]
            assert disagreement(widened(f.graph), leaves, wrt, wide) <= TOLERANCE


def test_float32_torch_is_no_nearer(runners: Any) -> None:
    """Torch's own float32 is as far from its float64 as ours: the tolerance hides nothing."""
    f, runs = runners["f_network"]
    leaves = point(f, 3)
    narrow = torch_value_and_grad(f.graph, leaves)
    assert as_tensor(f.graph, f.graph.inputs[0], leaves[0]).dtype.itemsize == 4
    wide = torch_value_and_grad(widened(f.graph), leaves)
    ours = runs[1]("value_and_grad", leaves)
    for a, b, want in zip(ours, narrow, wide, strict=False):
        assert np.max(np.abs(a - want)) <= 4 * np.max(np.abs(b - want)) + 8 * EPS * np.max(np.abs(want))


# --- refusals and files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("narrow", ["float16", "bfloat16", np.float16, "half"])
@pytest.mark.parametrize(
    "use",
    [
        lambda d: gs.compile(x * y, dtype=d),
        lambda d: gs.spec((2,), d),
        lambda d: gs.symbol("a", (), d),
        lambda d: gs.astype(x, d),
        lambda d: x.astype(d),
        lambda d: gs.zeros(3, dtype=d),
        lambda d: gs.result_type(x, d),
    ],
)
def test_sixteen_bits_are_refused(use: Callable[[Any], object], narrow: Any) -> None:
    with pytest.raises(gs.DTypeError, match=r"16-bit arithmetic: compute in float32"):
        use(narrow)


def test_data_of_sixteen_bits_is_refused() -> None:
    for use in (
        lambda: x * np.float16(2.0),
        lambda: v + np.ones(5, np.float16),
        lambda: gs.compile(lambda a: a * 2, args=[np.ones(3, np.float16)]),
    ):
        with pytest.raises(gs.DTypeError, match=r"'float16' is not supported.*compute in float32"):
            use()


def test_pythons_floats_are_no_float32() -> None:
    for make in (lambda: gs.compile(x * y, dtype="float32"), lambda: gs.compile(single * 2)):
        with pytest.raises(gs.TargetError, match=r'has no float32.*use target="numpy" or target="c"'):
            make()


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_self_tests_see_a_wrong_number(target: str, tmp_path: Path) -> None:
    f = gs.compile(gs.sum(gs.tanh(v) * 1.25) + x * 1.25, args=[v, x], target=target, dtype="float32")
    path = tmp_path / next(name for name in f.files if not name.endswith(".h"))
    for text, code in ((f.source, 0), (f.source.replace("1.25", "1.2501"), 1)):
        f.save(tmp_path)
        path.write_text(text)
        command = [sys.executable, str(path)]
        if target == "c":
            command = [str(tmp_path / "program")]
            run(tmp_path, "gcc", "-DF_SELFTEST", path, "-o", command[0], "-lm")
        assert subprocess.run(command, capture_output=True, check=False).returncode == code


def test_the_header_says_what_each_workspace_holds(mixed_in_c: Any) -> None:
    header = mixed_in_c["m_two_workspaces"].files["m_two_workspaces.h"]
    assert "#include <stdint.h>" in header
    for name, type in (("work", "double"), ("work_f32", "float"), ("work_i64", "int64_t")):
        macro = f"M_TWO_WORKSPACES_{name.upper()}"
        assert f"// `{name}` points to {macro} {type}s that the caller owns" in header
        assert int(header.split(f"#define {macro} ")[1].split()[0]) > 0
        assert f"{type} *GS_RESTRICT {name}" in header
