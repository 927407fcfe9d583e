"""build_extension: finding a compiler, building once, saying what went wrong."""

import importlib.util
import multiprocessing
import pickle
import shutil
import sys
import sysconfig

import pytest

import gradsmith_runtime.build as build_module
from gradsmith_runtime import (
    ArgumentError,
    BuildOptions,
    CompilerFailedError,
    CompilerNotFoundError,
    LibraryNotFoundError,
    build_extension,
    find_compiler,
)

MODULE = """\
#include <Python.h>
static PyObject *answer(PyObject *self, PyObject *unused)
{
    (void)self; (void)unused;
    return PyLong_FromLong(ANSWER);
}
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {NULL, NULL, 0, NULL}};
static PyModuleDef_Slot slots[] = {
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_gs_f", NULL, 0, methods, slots, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit__gs_f(void) { return PyModuleDef_Init(&definition); }
"""


def sources(answer: int) -> dict[str, str]:
    return {"f.c": f'#include "f.h"\n{MODULE}', "f.h": f"#define ANSWER {answer}\n"}


@pytest.fixture
def compilations(monkeypatch):
    """The command lines that were run, but for --version."""
    commands = []
    run_all = build_module.run_all

    def record(given, *args, **options):
        commands.extend(command for command in given if "--version" not in command)
        return run_all(given, *args, **options)

    monkeypatch.setattr(build_module, "run_all", record)
    return commands


def test_builds_of_one_name_live_side_by_side():
    one, two = build_extension(sources(1), "_gs_f"), build_extension(sources(2), "_gs_f")
    assert (one.answer(), two.answer()) == (1, 2)
    assert one.__name__ == two.__name__ == "_gs_f"
    assert one.__file__ != two.__file__
    assert "_gs_f" not in sys.modules


def test_a_second_build_is_a_hit_and_a_module_of_its_own(compilations):
    one, two = build_extension(sources(1), "_gs_f"), build_extension(sources(1), "_gs_f")
    assert len(compilations) == 1
    assert one is not two
    assert one.__file__ == two.__file__
    one.mark = "only here"
    assert not hasattr(two, "mark")


@pytest.mark.parametrize("change", ["header", "flags", "compiler", "layout"])
def test_whatever_changes_the_result_changes_the_key(change, compilations, monkeypatch):
    build_extension(sources(1), "_gs_f")
    options = {}
    if change == "flags":
        options["flags"] = (*build_module.DEFAULT_FLAGS, "-O1")
    if change == "compiler":
        monkeypatch.setenv("CC", "clang")
    if change == "layout":
        monkeypatch.setattr(build_module, "LAYOUT", "0")
    build_extension(sources(2 if change == "header" else 1), "_gs_f", BuildOptions(**options))
    assert len(compilations) == 2


def test_a_truncated_artefact_is_rebuilt(compilations):
    path = build_extension(sources(5), "_gs_f").__file__
    with open(path, "rb") as file:
        half = file.read()[:4000]
    shutil.move(path, path + ".mapped")  # this process still maps the old file
    with open(path, "wb") as file:
        file.write(half)
    assert build_extension(sources(5), "_gs_f").answer() == 5
    assert len(compilations) == 2


def _answer(number: int) -> int:
    return build_extension(sources(number), "_gs_f").answer()


def test_two_processes_build_at_once(cache):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_answer, [7, 7, 8, 7, 8, 7], chunksize=1) == [7, 7, 8, 7, 8, 7]
    assert len(list(cache.glob("*/_gs_f*.so"))) == 2
    assert list(cache.glob("tmp-*")) == []


def test_the_compilers_own_words_are_shown_without_paths(cache):
    with pytest.raises(CompilerFailedError) as caught:
        build_extension({"f.c": "int f(void)\n{\n    return nonsense;\n}\n"}, "_gs_f")
    message = str(caught.value)
    assert message.startswith("the C compiler failed on _gs_f:\n$ cc -std=c99 -O2 ")
    assert "f.c:3:12: error: " in message
    assert "nonsense" in message
    assert str(cache) not in message
    assert sys.prefix not in message
    assert "'<python include>'" in message
    assert str(pickle.loads(pickle.dumps(caught.value))) == message
    assert [path for path in cache.iterdir() if path.suffix != ".lock"] == []


def test_a_library_that_is_missing_is_named_with_the_remedy(cache):
    with pytest.raises(LibraryNotFoundError) as caught:
        build_extension(sources(1), "_gs_f", BuildOptions(libraries=("gs_no_such_library", "m")))
    message = str(caught.value)
    assert message.startswith("_gs_f calls functions of -lgs_no_such_library, which the linker does not find.")
    assert "liblapack-dev" in message
    assert "compile without lapack=True" in message
    assert str(pickle.loads(pickle.dumps(caught.value))) == message
    message = str(LibraryNotFoundError("_gs_f", ["-lsleefgnuabi"]))
    assert "libsleef-dev" in message
    assert message.endswith('compile without simd="sleef"')
    with pytest.raises(CompilerFailedError):  # another error is no missing library
        build_extension({"f.c": "nonsense"}, "_gs_f", BuildOptions(libraries=("m",)))


def test_a_conflict_with_pythons_headers_shows_no_path_either():
    with pytest.raises(CompilerFailedError) as caught:
        build_extension({"f.c": "#include <Python.h>\nint PyLong_AsLong;\n"}, "_gs_f")
    assert "<python include>/longobject.h" in caught.value.output
    assert sysconfig.get_path("include") not in str(caught.value)


def test_long_compiler_output_is_cut_in_the_message_only():
    with pytest.raises(CompilerFailedError) as caught:
        build_extension({"f.c": "".join(f"int f{i} = x{i};\n" for i in range(100))}, "_gs_f")
    assert len(str(caught.value).splitlines()) < 50
    assert "more lines in .output" in str(caught.value)
    assert "x99" in caught.value.output


def test_no_compiler_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CompilerNotFoundError) as caught:
        build_extension(sources(1), "_gs_f")
    assert caught.value.searched == ("$CC (not set)", "cc", "gcc", "clang", "ziglang")
    assert "pip install 'gradsmith[zig]'" in str(caught.value)
    assert '"python" and "numpy"' in str(caught.value)


def test_cc_is_obeyed_with_its_arguments(monkeypatch):
    monkeypatch.setenv("CC", "clang -Wall -DNAME='a b'")
    compiler = find_compiler()
    assert compiler.command == (shutil.which("clang"), "-Wall", "-DNAME=a b")
    assert "clang" in compiler.version


def test_messages_call_a_compiler_by_its_name():
    named = {("gcc",): "gcc", ("clang", "-Wall"): "clang", ("python3", *build_module.ZIG): "ziglang cc"}
    for shown, name in named.items():
        assert build_module.Compiler(shown, shown, "").name == name


def test_cc_is_never_silently_replaced(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    with pytest.raises(CompilerNotFoundError, match=r"\$CC = no-such-compiler -m64"):
        find_compiler()


def test_a_compiler_that_is_no_program(tmp_path, monkeypatch):
    fake = tmp_path / "cc"
    fake.write_text("not a program")
    fake.chmod(0o755)
    monkeypatch.setenv("CC", str(fake))
    with pytest.raises(CompilerFailedError, match="cannot be run"):
        find_compiler()


@pytest.mark.parametrize(
    ("files", "name", "words"),
    [
        ({"f.c": ""}, "a-b", "not an ASCII identifier"),
        ({"f.h": ""}, "f", "no .c file"),
        ({"../f.c": ""}, "f", "not a plain"),
        ({"f.c": "", "-x.c": ""}, "f", "not a plain"),
        ({"f.c": "", "f.py": ""}, "f", "not a plain"),
    ],
)
def test_names_that_cannot_be_built_are_refused(files, name, words):
    with pytest.raises(ArgumentError, match=words):
        build_extension(files, name)


def test_flags_keep_ieee_results():
    """Contraction would turn x*x - x*x into a rounding error; fast maths would drop the NaN."""
    assert "-ffp-contract=off" in build_module.DEFAULT_FLAGS
    assert not any("fast" in flag for flag in build_module.DEFAULT_FLAGS)
