"""Compile generated C into a CPython extension module and import it.

In: the texts of the .c and .h files. Out: the imported module. Guaranteed: no shell is involved; results
are IEEE (no contraction, no fast maths); equal inputs (texts, flags, compiler, Python ABI) compile once per
user; different builds of the same module name live side by side in one process. The environment's CFLAGS
are not read.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from types import ModuleType

from .cache import cache_key, cached
from .errors import ArgumentError, CompilerFailedError, CompilerNotFoundError, LibraryNotFoundError

_log = logging.getLogger("gradsmith")
CANDIDATES = ("cc", "gcc", "clang")
# -fno-math-errno only drops the errno side effect of libm, never a result.
DEFAULT_FLAGS = ("-std=c99", "-O2", "-ffp-contract=off", "-fno-math-errno")
# What loops become vector code by. -fno-trapping-math only drops exception flags, never a result; -O3 gives the same
# loops and takes up to seven times as long, as it unrolls them. GS_OPENMP_SIMD says that OpenMP's `simd` is understood.
VECTOR_FLAGS = (
    "-fno-trapping-math", "-ftree-loop-vectorize", "-fvect-cost-model=dynamic", "-funswitch-loops", "-fopenmp-simd",
    "-DGS_OPENMP_SIMD",
)  # fmt: skip
# Hidden symbols bind inside the module: a user's `gamma` or `y0` cannot be replaced by libm's.
SHARED_FLAGS = ("-fPIC", "-shared", "-fvisibility=hidden")
PLATFORM_FLAGS = {"darwin": ("-undefined", "dynamic_lookup")}
OPENMP = "-fopenmp"
LAYOUT = "1"  # part of every key: raise it when the way of building changes


@dataclass(frozen=True)
class Compiler:
    """A C compiler: its argument list, how to print that, and what it says to --version."""

    command: tuple[str, ...]
    shown: tuple[str, ...]
    version: str

    @property
    def identity(self) -> str:
        """The resolved path, its arguments and its version: what tells compilers apart."""
        return "\n".join((os.path.realpath(self.command[0]), *self.command[1:], self.version))


def find_compiler() -> Compiler:
    """Return the C compiler: $CC (it may carry arguments) if set, else the first of cc, gcc, clang on PATH.

    Errors: `CompilerNotFoundError` if there is none, or $CC names a program that does not exist (a compiler
    the user asked for is never silently replaced); `CompilerFailedError` if it cannot tell its version.
    """
    wanted = shlex.split(os.environ.get("CC", ""))
    searched = [f"$CC = {shlex.join(wanted)}"] if wanted else ["$CC (not set)", *CANDIDATES]
    for words in [wanted] if wanted else [[name] for name in CANDIDATES]:
        path = shutil.which(words[0])
        if path is not None:
            command = (os.path.abspath(path), *words[1:])
            shown = (os.path.basename(path), *words[1:])
            status, version = _run([*command, "--version"])
            if status != 0:
                raise CompilerFailedError("--version", [*shown, "--version"], version)
            return Compiler(command, shown, version)
    raise CompilerNotFoundError(searched)


def build_extension(
    sources: Mapping[str, str],
    name: str,
    *,
    flags: Sequence[str] = DEFAULT_FLAGS,
    libraries: Sequence[str] = (),
    compiler: Compiler | None = None,
    optional: Sequence[str] = (),
    openmp: bool = False,
) -> ModuleType:
    """Compile `sources` (file name -> text, .c and .h) into the extension module `name` and import it.

    One of the .c files must define ``PyInit_<name>``. All files lie in one folder, so ``#include "f.h"``
    works. The module is not entered in `sys.modules`; each call gives a fresh module object with its own
    state. It is linked with `libraries`, in that order. Those of the `optional` flags that the compiler does not
    take are left out. With `openmp`, it may run in several threads; where the
    compiler has no OpenMP, a `RuntimeWarning` says so, and it runs in one.

    Errors: `ArgumentError` for a bad module or file name; `CompilerNotFoundError`; `LibraryNotFoundError`;
    `CompilerFailedError` with the compiler's own words; `CacheError`; ImportError if the result has no
    ``PyInit_<name>``.
    """
    _check_names(sources, name)
    compiler = find_compiler() if compiler is None else compiler
    if openmp and has_openmp(compiler):
        flags = [*flags, OPENMP]
    elif openmp:
        warnings.warn(
            f"{compiler.shown[0]} cannot compile with {OPENMP}, so {name.removeprefix('_gs_')} runs in one thread: "
            "install the compiler's OpenMP library (libomp-dev for clang), or set CC to a compiler that has it",
            RuntimeWarning,
            stacklevel=2,
        )
    suffix = str(sysconfig.get_config_var("EXT_SUFFIX"))
    host = cpu_identity() if any("native" in flag for flag in (*flags, *optional)) else ""  # -march=native: this CPU
    texts = [part for file in sorted(sources) for part in (file, sources[file])]
    linked = [f"-l{library}" for library in libraries]
    options = [*flags, *optional, *linked]
    key = cache_key([LAYOUT, name, suffix, host, compiler.identity, str(len(options)), *options, *texts])
    return _import(
        name,
        cached(key, name + suffix, lambda folder: _compile(folder, sources, name, flags, linked, compiler, optional)),
    )


@lru_cache(maxsize=32)
def has_openmp(compiler: Compiler) -> bool:
    """Whether the compiler has OpenMP: a program that includes its header can be linked."""
    with tempfile.TemporaryDirectory() as folder:
        text = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
        Path(folder, "probe.c").write_text(text, encoding="utf-8")
        return _run([*compiler.command, OPENMP, "probe.c", "-o", "probe"], Path(folder))[0] == 0


def _check_names(sources: Mapping[str, str], name: str) -> None:
    if not (name.isascii() and name.isidentifier()):
        raise ArgumentError(f"module name {name!r} is not an ASCII identifier")
    if not any(file.endswith(".c") for file in sources):
        raise ArgumentError(f"module {name}: no .c file among {', '.join(sources) or 'no sources at all'}")
    for file in sources:
        if Path(file).name != file or not file.endswith((".c", ".h")) or file.startswith("-"):
            raise ArgumentError(f"module {name}: {file!r} is not a plain .c or .h file name")


def _compile(
    folder: Path,
    sources: Mapping[str, str],
    name: str,
    flags: Sequence[str],
    linked: Sequence[str],
    compiler: Compiler,
    optional: Sequence[str] = (),
) -> None:
    """Write the sources into `folder` and compile them there, so that messages carry bare file names."""
    for file, text in sources.items():
        (folder / file).write_text(text, encoding="utf-8", newline="\n")
    includes = {sysconfig.get_path(kind): "<python include>" for kind in ("include", "platinclude")}
    arguments = [*flags, *optional, *SHARED_FLAGS, *PLATFORM_FLAGS.get(sys.platform, ())]
    arguments += [word for path in includes for word in ("-isystem", path)]
    arguments += [file for file in sorted(sources) if file.endswith(".c")]
    arguments += ["-o", name + str(sysconfig.get_config_var("EXT_SUFFIX")), *linked, "-lm"]
    _log.debug("building %s with %s", name, compiler.shown[0])
    status, output = _run([*compiler.command, *arguments], folder)
    if status != 0 and optional:
        known = [flag for flag in optional if _understands(compiler, flag, folder)]
        if len(known) < len(optional):
            _compile(folder, sources, name, [*flags, *known], linked, compiler)
            return
    if status != 0:
        missing = [word for word in linked if not _links(compiler, word, folder)]
        if missing:
            raise LibraryNotFoundError(name, missing)
        for path, label in {str(folder) + os.sep: "", **includes}.items():
            output = output.replace(path, label)
        shown = [*compiler.shown, *(includes.get(word, word) for word in arguments)]
        raise CompilerFailedError(name, shown, output or f"exit status {status}, no output")


def _links(compiler: Compiler, library: str, folder: Path) -> bool:
    """Whether a program can be linked with `library`, a word such as -lblas."""
    (folder / "empty.c").write_text("int main(void) { return 0; }\n", encoding="utf-8")
    return _run([*compiler.command, "empty.c", "-o", "empty", library], folder)[0] == 0


def _understands(compiler: Compiler, flag: str, folder: Path) -> bool:
    """Whether a compiler takes `flag`."""
    (folder / "empty.c").write_text("int main(void) { return 0; }\n", encoding="utf-8")
    return _run([*compiler.command, flag, "-c", "empty.c", "-o", "empty.o"], folder)[0] == 0


@functools.lru_cache(maxsize=1)
def cpu_identity() -> str:
    """What -march=native depends on: the CPU's model and its instruction sets, as the system lists them."""
    here = "\n".join((platform.machine(), platform.processor()))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:  # no Linux
        return f"{here}\n{platform.node()}"
    told = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU ", "isa", "uarch")
    return "\n".join((here, *(line for line in lines if line.startswith(told))))


def _run(command: Sequence[str], folder: Path | None = None) -> tuple[int, str]:
    """Run a command and return its exit status and everything it printed, in the C locale."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:  # found on PATH, yet not a program this machine can run
        return 126, f"cannot be run: {error.strerror}"
    return done.returncode, done.stdout


def _import(name: str, path: Path) -> ModuleType:
    """Import an extension from its own path.

    Each build has a path of its own (it contains the key), so dlopen keeps builds of one name apart, and
    multi-phase initialisation makes a new module for each call.
    """
    loader = ExtensionFileLoader(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    assert spec is not None, "spec_from_file_location returns None only without a loader"
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
