"""Self-tests of emitted files: they cover every kind of function, store little, and see one wrong number."""

import itertools
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.derive.derivatives import KINDS
from gradsmith.selftest import _RANGES, _numbers
from gradsmith.types import BOOL, FLOAT64, INT64, Type

from .test_c_quality import WARNINGS

v, z = gs.symbol("v", (3,)), gs.symbol("z", (60,))
FURTHER = ("jvp", "vjp", "jacobian", "hessian", "hvp")


def simulated(x: Any) -> Any:
    return gs.sum(gs.fori_loop(0, 4, lambda i, state: gs.sin(state) * x + 0.3 * state * state, x))


@gs.custom_derivative(vjp=lambda g, y, x: (2.5 * g,))
def straight_through(x: Any) -> Any:
    return gs.round(x)


SMOOTH = gs.sum(gs.sin(1.37 * v) * v[::-1] ** 3) * 0.83
CHAIN = gs.sum((z[1:] - 1.3 * z[:-1] ** 2) ** 2)
PROGRAMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "smooth": (SMOOTH, {"derivatives": tuple(KINDS)}),
    "sparse": (gs.sum((v[1:] - v[:-1] ** 2) ** 2), {"derivatives": FURTHER, "sparse": "coo", "triangle": "lower"}),
    "several": ({"a": gs.exp(v) * v[0], "b": gs.argmax(v)}, {"derivatives": FURTHER[:4]}),
    "large": (CHAIN, {"derivatives": ("grad", *FURTHER), "sparse": "csr"}),
    "loop": (simulated, {"args": ((3,),), "derivatives": FURTHER}),
    "named": (lambda x: gs.sum(gs.sin(x) * x[::-1]), {"args": (("n",),), "derivatives": ("grad", "jvp", "vjp", "hvp")}),
    "own": (straight_through(v[0]) * gs.stop_gradient(v[1]) * gs.exp(v[2]), {"derivatives": tuple(KINDS)}),
    "single": (SMOOTH, {"derivatives": FURTHER, "dtype": "float32"}),
}


def namespace(source: str) -> dict[str, Any]:
    found: dict[str, Any] = {"__name__": "emitted"}
    exec(compile(source, "emitted", "exec"), found)
    return found


def spoilt(function: Callable[..., Any], place: int) -> Callable[..., Any]:
    """`function` with a relative error of 1e-4 in the flat number `place` of what it returns."""

    def changed(*args: Any) -> Any:
        left = [place]

        def walked(x: Any) -> Any:
            if isinstance(x, list | tuple):
                return type(x)(map(walked, x))
            size, at = np.size(x), left[0]
            left[0] -= size
            if not 0 <= at < size:
                return x
            flat = np.array(x, dtype=float).ravel()
            flat[at] += 1e-4 * (1.0 + abs(flat[at])) * (100.0 if np.asarray(x).dtype == np.float32 else 1.0)
            return flat.reshape(np.shape(x)) if np.shape(x) else float(flat[0])

        return walked(function(*args))

    changed.__name__ = function.__name__
    return changed


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("target", ["python", "numpy"])
def test_every_kind_is_tested_and_every_number_seen(target: str, name: str) -> None:
    source, options = PROGRAMS[name]
    if (target, options.get("dtype")) == ("python", "float32"):
        pytest.skip("Python has no float32")
    f = gs.compile(source, target=target, name="f", **options)
    found = namespace(f.source)
    found["_selftest"]()
    for emitted in f._program.functions:
        if KINDS[emitted.kind].family == "gradient":
            continue
        sizes = dict(f._program.selftest.sizes)  # type: ignore[union-attr]
        whole = sum(int(np.prod([sizes.get(str(d), d) for d in a.shape])) for a in emitted.outputs)
        for place in sorted({0, whole // 2, whole - 1}):
            with pytest.raises(AssertionError, match=emitted.name):
                namespace_with(found, emitted.name, place)["_selftest"]()


def namespace_with(found: dict[str, Any], name: str, place: int) -> dict[str, Any]:
    """The module with one function spoilt: a copy, whose functions see it."""
    changed = dict(found)
    changed[name] = spoilt(found[name], place)
    test = found["_selftest"]
    changed["_selftest"] = type(test)(test.__code__, changed, argdefs=test.__defaults__)
    return changed


def test_little_is_stored_of_much() -> None:
    """At most 36 numbers of a kind at a point, most of them not zero, and the weighted sum of all."""
    f = gs.compile(CHAIN, target="numpy", derivatives=("hessian", "hvp"))
    selftest = f._program.selftest
    assert selftest is not None
    for number, check in enumerate(selftest.checks):
        for point in selftest.points:
            stored = point.further[number]
            assert 1 <= len(stored.numbers) == len(check.places) <= 36
            assert stored.total
            assert sum(float(n) != 0.0 for n in stored.numbers) >= len(stored.numbers) / 2
    assert len(f.source.split("def _selftest")[1]) < 6000


def test_long_loops_are_left_out_and_said_so() -> None:
    body = lambda x: gs.sum(gs.fori_loop(0, 50_000, lambda i, s: gs.sin(s) * x, x))
    f = gs.compile(body, args=((2,),), derivatives="hvp", target="c")
    assert f._program.selftest is None


LITERAL = re.compile(
    r"(?m)^([^#/\n]*? = [^#/\n]*?)(?<![\w.])(?!0\.0\b)(\d+\.\d+)(?![\w.])"
)  # of code, not of a comment


@pytest.mark.parametrize("kind", FURTHER)
def test_one_number_changed_in_the_file_makes_it_exit_1(kind: str, tmp_path: Path) -> None:
    for target, end in (("python", ".py"), ("c", ".c")):
        if target == "c" and not shutil.which("gcc"):
            continue
        f = gs.compile(SMOOTH, target=target, name=f"f_{target}", derivatives=kind)
        f.save(tmp_path)
        path = tmp_path / f"f_{target}{end}"
        right = path.read_text()
        head, body = right.split(f"_{target}_{kind}(", 1)
        wrong = head + f"_{target}_{kind}(" + LITERAL.sub(lambda m: f"{m[1]}{float(m[2]) * 1.0001!r}", body, count=1)
        assert wrong != right
        for text, code in ((right, 0), (wrong, 1)):
            path.write_text(text)
            command = [sys.executable, str(path)]
            if target == "c":
                command = [str(tmp_path / "program")]
                build = [
                    "gcc",
                    "-std=c99",
                    *WARNINGS,
                    f"-D{f.name.upper()}_SELFTEST",
                    path.name,
                    "-o",
                    "program",
                    "-lm",
                ]
                subprocess.run(build, cwd=tmp_path, check=True)
            assert subprocess.run(command, capture_output=True, check=False).returncode == code


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
def test_all_programs_test_themselves_under_sanitizers(tmp_path: Path) -> None:
    """One program of all of them: each file's `main` has a name of its own."""
    parts = []
    for name, (source, options) in PROGRAMS.items():
        gs.compile(source, target="c", name=name, **options).save(tmp_path)
        parts.append(f"int main_{name}(void);\n#define {name.upper()}_SELFTEST\n#define main main_{name}")
        parts.append(f'#include "{name}.c"\n#undef main')
    text = "\n".join([*parts, f"int main(void) {{ return {' + '.join(f'main_{name}()' for name in PROGRAMS)}; }}\n"])
    (tmp_path / "all.c").write_text(text)
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    for language in (["gcc", "-std=c99"], ["g++", "-std=c++11", "-x", "c++", "-fsyntax-only"]):
        build = [*language, *WARNINGS, *sanitize, "all.c", "-o", "program", "-lm"]
        done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    run = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("points agree") == len(PROGRAMS)


def test_indices_beyond_an_axis_are_no_point() -> None:
    """No integer but 0 fits the first array; in the second, some of those that we try."""
    short = gs.compile(lambda x, k: gs.sum(x[k] ** 2), args=((1,), gs.spec((), "int64")), target="c")
    assert short.source
    doubled = gs.compile(lambda x, k: gs.sum(x[2 * k] ** 2), args=((2,), gs.spec((), "int64")), target="c")
    assert "SELFTEST" in doubled.source


def test_arguments_that_no_memory_holds_have_no_self_test() -> None:
    f = gs.compile(lambda x: gs.sum(x * x), args=((2**40,),), target="c")
    assert "SELFTEST" not in f.source


def test_an_axis_of_one_element_that_is_read_at_run_time_places_has_no_self_test() -> None:
    """Which reads elements 0 and 1 elsewhere."""
    for size, tested in ((1, False), (2, True)):
        E, i = gs.symbol("E", (size, 3)), gs.symbol("i", (4,), dtype="int64")
        f = gs.compile(gs.sum(E[i]), args=(E, i), name="f")
        assert ('if __name__ == "__main__":' in f.source) is tested
        assert f(np.ones((size, 3)), np.zeros(4, np.int64)) == 12.0


@pytest.mark.parametrize("rounded", [False, True])
def test_numbers_are_those_that_the_file_computes(rounded: bool) -> None:
    """By one formula in the reference and in emitted code: to the last bit, for all kinds of arguments."""
    types = [Type((), FLOAT64), Type((31, 7), FLOAT64), Type((200,), INT64), Type((0,), FLOAT64), Type((), BOOL)]
    for seed, (low, high) in itertools.product((1, 2, 11), _RANGES):
        found, expected = _numbers(seed, types, low, high, rounded=rounded), list[float]()
        for k, type in enumerate(itertools.chain.from_iterable([t] * t.size for t in types)):
            value = ((k + 1) * 0.6180339887498949 + seed * 0.3) % 1.0 * (high - low) + low
            if type.dtype.kind != "float":
                value = float((k + seed) % 2 if rounded else int(value))
            expected.append(round(value, 2) if rounded else value)
        assert list(map(float.hex, found)) == list(map(float.hex, expected))
