"""Compile generated C into a CPython extension module and import it.

In: the texts of the .c and .h files. Out: the imported module. Guaranteed: no shell is involved; results
are IEEE (no contraction, no fast maths); equal inputs (texts, flags, compiler, Python ABI) compile once per
user; different builds of the same module name live side by side in one process; a build that fails, hangs or
is interrupted leaves nothing behind. The environment's CFLAGS are not read.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import shlex
import shutil
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from types import ModuleType

from .cache import cache_directory, cache_key, cached, forget, is_cached
from .errors import ArgumentError, CacheError, CompilerFailedError, CompilerNotFoundError, LibraryNotFoundError
from .notices import outside
from .processes import Ended, Stop, run_all

_log = logging.getLogger("gradsmith")
CANDIDATES = ("cc", "gcc", "clang")
# By default, zig takes just this processor, though the cache may be shared, and adds checks to unoptimised code.
ZIG = ("-m", "ziglang", "cc", "-mcpu=baseline", "-fno-sanitize=undefined")
# -fno-math-errno only drops the errno side effect of libm, never a result.
DEFAULT_FLAGS = ("-std=c99", "-O2", "-ffp-contract=off", "-fno-math-errno")
QUICK_FLAGS = ("-std=c99", "-O0", "-ffp-contract=off", "-fno-math-errno")
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
NUMPY = "-DGSMOD_NUMPY"
NEEDED = {OPENMP: "#include <omp.h>\n", NUMPY: "#include <Python.h>\n#include <numpy/arrayobject.h>\n"}
LAYOUT = "2"  # part of every key: raise it when the way of building changes
TIMEOUT = "GRADSMITH_COMPILER_TIMEOUT"  # seconds that one run of a compiler may take
LONGEST = 3600.0  # the same, if the environment does not say: a compiler that hangs must not hang us for ever
FULL = ("No space left on device", "Disk quota exceeded")  # what compilers say of a full disk, ...
ROOM = 1 << 20  # ... if there is room for what they say: bytes that they need for a small function


@dataclass(frozen=True)
class Compiler:
    """A C compiler: its argument list, how to print that, and what it says to --version."""

    command: tuple[str, ...]
    shown: tuple[str, ...]
    version: str

    @property
    def name(self) -> str:
        """What messages call it: the program, or the module that Python runs."""
        return " ".join(self.shown[2:4]) if self.shown[1:2] == ("-m",) else self.shown[0]

    @property
    def identity(self) -> str:
        """The resolved path, its arguments and its version: what tells compilers apart."""
        return "\n".join((os.path.realpath(self.command[0]), *self.command[1:], self.version))


def find_compiler() -> Compiler:
    """Return the C compiler: $CC (it may carry arguments) if set, else the first of cc, gcc, clang on PATH, else zig's.

    That is `zig cc` from the package ziglang, which the extra `zig` installs where there is no compiler.

    Errors: `CompilerNotFoundError` if there is none, or $CC names a program that does not exist (a compiler
    the user asked for is never silently replaced); `CompilerFailedError` if it cannot tell its version.
    """
    wanted = shlex.split(os.environ.get("CC", ""))
    searched = [f"$CC = {shlex.join(wanted)}"] if wanted else ["$CC (not set)", *CANDIDATES, "ziglang"]
    candidates = [[name] for name in CANDIDATES]
    if importlib.util.find_spec("ziglang") is not None:
        candidates.append([sys.executable, *ZIG])
    for words in [wanted] if wanted else candidates:
        path = shutil.which(words[0])
        if path is not None:
            command = (os.path.abspath(path), *words[1:])
            shown = (os.path.basename(path), *words[1:])
            (ended,) = run_all([[*command, "--version"]], timeout=_timeout())
            if ended.status != 0:
                raise CompilerFailedError("--version", [*shown, "--version"], ended.output)
            return Compiler(command, shown, ended.output)
    raise CompilerNotFoundError(searched)


def quick_compiler() -> tuple[Compiler, tuple[str, ...]]:
    """The compiler that is done soonest, and its flags: tcc where it is installed, else `find_compiler` without -O."""
    path = shutil.which("tcc")
    if path is not None:
        (ended,) = run_all([[path, "--version"]], timeout=_timeout())
        if ended.status == 0:
            return Compiler((path,), ("tcc",), ended.output), QUICK_FLAGS
    return find_compiler(), QUICK_FLAGS


@dataclass(frozen=True)
class BuildOptions:
    """How an extension module is built.

    flags: what the compiler is told.
    optional: flags too, of which those are left out that the compiler does not take; if ``-fopenmp`` is among them, a
        `RuntimeWarning` says that what could run in several threads runs in one.
    libraries: what the module is linked with, in this order.
    numpy: the headers of the installed NumPy are on the path and the macro GSMOD_NUMPY is defined, if there are such
        headers and the compiler can read them (tcc cannot, as they include <complex.h>).
    compiler: None for the one that `find_compiler` finds.
    units: files that are compiled once for each of their lists of options, such as ``["-DF_UNIT=2"]``, of which each
        leaves another part of the file; as many compilers run at once as there are processors.

    >>> BuildOptions(libraries=("blas",)).libraries
    ('blas',)
    """

    flags: Sequence[str] = DEFAULT_FLAGS
    optional: Sequence[str] = ()
    libraries: Sequence[str] = ()
    numpy: bool = False
    compiler: Compiler | None = None
    units: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)


DEFAULT_OPTIONS = BuildOptions()


def build_extension(
    sources: Mapping[str, str], name: str, options: BuildOptions = DEFAULT_OPTIONS, *, stop: Stop | None = None
) -> ModuleType:
    """Compile `sources` (file name -> text, .c and .h) into the extension module `name` and import it.

    One of the .c files must define ``PyInit_<name>``. All files lie in one folder, so ``#include "f.h"``
    works. The module is not entered in `sys.modules`; each call gives a fresh module object with its own
    state. Another thread breaks the build off by `stop`.

    Errors: `ArgumentError` for a bad module or file name; `CompilerNotFoundError`; `LibraryNotFoundError`;
    `CompilerFailedError` with the compiler's own words, which says so too if it was killed, or took longer than
    $GRADSMITH_COMPILER_TIMEOUT seconds (3600); `CacheError`; ImportError if the result has no ``PyInit_<name>``.
    """
    _check_names(sources, name)
    key, build = _planned(sources, name, options, stop)
    path = cached(key, build.artefact, build.into)
    try:
        return _import(name, path)
    except ImportError as error:
        if f"PyInit_{name}" in str(error):
            raise
        forget(key)  # not the next call's fault
        problem = f"ended well, but what it wrote cannot be loaded: {error}".replace(str(path), path.name)
        shown = [*build.compiler.shown, *build.flags, *build.linked]
        raise CompilerFailedError(name, shown, problem) from None


def is_built(sources: Mapping[str, str], name: str, options: BuildOptions = DEFAULT_OPTIONS) -> bool:
    """Whether `build_extension` of the same arguments finds its result in the cache."""
    key, build = _planned(sources, name, options, None)
    return is_cached(key, build.artefact)


def _planned(sources: Mapping[str, str], name: str, options: BuildOptions, stop: Stop | None) -> tuple[str, _Build]:
    """What is built, and its key in the cache."""
    compiler = find_compiler() if options.compiler is None else options.compiler
    suffix = str(sysconfig.get_config_var("EXT_SUFFIX"))
    flags, optional = tuple(options.flags), tuple(options.optional)
    host = cpu_identity() if any("native" in flag for flag in (*flags, *optional)) else ""  # -march=native: this CPU
    texts = [part for file in sorted(sources) for part in (file, sources[file])]
    linked = tuple(f"-l{library}" for library in options.libraries)
    parts = [shlex.join([file, *more]) for file, each in sorted(options.units.items()) for more in each]
    includes = {sysconfig.get_path(kind): "<python include>" for kind in ("include", "platinclude")}
    headers = _numpy_headers() if options.numpy else None
    # an extension that knows numpy's structs belongs to one version of them, wherever that is installed
    words = [*flags, *optional, *linked, *parts, *([f"numpy {headers[1]}"] if headers else [])]
    if headers:
        includes[headers[0]] = "<numpy include>"
        optional = (*optional, NUMPY)
    key = cache_key([LAYOUT, name, suffix, host, compiler.identity, str(len(words)), *words, *texts])
    return key, _Build(sources, name, name + suffix, flags, optional, linked, includes, compiler, options.units, stop)


def _numpy_headers() -> tuple[str, str] | None:
    """The folder of NumPy's C headers and its version; None without them (some distributions leave them out)."""
    try:
        import numpy as np
    except ImportError:
        return None
    folder = np.get_include()
    return (folder, np.__version__) if Path(folder, "numpy", "arrayobject.h").is_file() else None


@lru_cache(maxsize=1)
def cpu_identity() -> str:
    """What -march=native depends on: the CPU's model and its instruction sets, as the system lists them."""
    here = "\n".join((platform.machine(), platform.processor()))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:  # no Linux
        return f"{here}\n{platform.node()}"
    told = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU ", "isa", "uarch")
    return "\n".join((here, *(line for line in lines if line.startswith(told))))


def _check_names(sources: Mapping[str, str], name: str) -> None:
    if not (name.isascii() and name.isidentifier()):
        raise ArgumentError(f"module name {name!r} is not an ASCII identifier")
    if not any(file.endswith(".c") for file in sources):
        raise ArgumentError(f"module {name}: no .c file among {', '.join(sources) or 'no sources at all'}")
    for file in sources:
        if Path(file).name != file or not file.endswith((".c", ".h")) or file.startswith("-"):
            raise ArgumentError(f"module {name}: {file!r} is not a plain .c or .h file name")


@dataclass(frozen=True)
class _Build:
    """One way from sources to the shared library `artefact`."""

    sources: Mapping[str, str]
    name: str
    artefact: str
    flags: tuple[str, ...]
    optional: tuple[str, ...]
    linked: tuple[str, ...]
    includes: Mapping[str, str]  # folders, and how messages call them
    compiler: Compiler
    units: Mapping[str, Sequence[Sequence[str]]]
    stop: Stop | None

    def into(self, folder: Path) -> None:
        """Write the sources into `folder` and compile them there, so that messages carry bare file names."""
        for file, text in self.sources.items():
            (folder / file).write_text(text, encoding="utf-8", newline="\n")
        _log.debug("building %s with %s", self.name, self.compiler.name)
        flags = (*self.flags, *self.optional)
        failed = self._run(self._commands(flags), folder)
        unknown = self._refused(self.optional, folder) if failed else []
        if unknown:
            if OPENMP in unknown:
                name = self.name.removeprefix("_gs_")
                warnings.warn(
                    f"{self.compiler.name} cannot compile with {OPENMP}, so {name} runs in one thread: install the "
                    "compiler's OpenMP library (libomp-dev for clang), or set CC to a compiler that has it",
                    RuntimeWarning,
                    stacklevel=outside(),
                )
            flags = tuple(flag for flag in flags if flag not in unknown)
            failed = self._run(self._commands(flags), folder)
        if failed:
            missing = self._refused(self.linked, folder)
            if missing:
                raise LibraryNotFoundError(self.name, missing)
            raise self._failure(failed, folder)
        if not (folder / self.artefact).is_file():
            raise self._failure(Ended(self._link(flags), 0, f"ended well, but wrote no {self.artefact}"), folder)

    def _commands(self, flags: Sequence[str]) -> list[list[Sequence[str]]]:
        """Commands in stages: those of a stage may run at once."""
        files = [file for file in sorted(self.sources) if file.endswith(".c")]
        if not self.units:
            return [[self._link(flags, files)]]
        wanted = [(file, more) for file in files for more in self.units.get(file, ((),))]
        arguments = [*flags, "-fPIC", "-fvisibility=hidden", *self._includes()]
        objects = [f"{number}.o" for number in range(len(wanted))]
        compiled = [
            (*self.compiler.command, *arguments, *more, "-c", file, "-o", made)
            for (file, more), made in zip(wanted, objects, strict=True)
        ]
        return [[*compiled], [self._link(flags, objects)]]

    def _link(self, flags: Sequence[str], files: Sequence[str] = ()) -> tuple[str, ...]:
        arguments = [*flags, *SHARED_FLAGS, *PLATFORM_FLAGS.get(sys.platform, ()), *self._includes(), *files]
        return (*self.compiler.command, *arguments, "-o", self.artefact, *self.linked, "-lm")

    def _run(self, stages: Sequence[Sequence[Sequence[str]]], folder: Path) -> Ended | None:
        """The first command that failed, if one did."""
        for stage in stages:

            def told(done: int, stage: Sequence[object] = stage) -> None:
                if len(stage) > 1:
                    _log.debug("compiled %d of %d parts of %s", done, len(stage), self.name)

            for ended in run_all(stage, folder, timeout=_timeout(), stop=self.stop, told=told):
                if ended.status != 0:
                    self._expect_room(ended, folder)
                    return ended
        return None

    def _expect_room(self, ended: Ended, folder: Path) -> None:
        """That a command did not fail for want of it, in the cache or where compilers keep temporary files."""
        said = next((words for words in FULL if words in ended.output), "")
        temporary = tempfile.gettempdir()
        if said or min(shutil.disk_usage(place).free for place in (folder, temporary)) < ROOM:
            problem = f"or {temporary}, where compilers keep temporary files, is full ({said or FULL[0]})"
            remedy = "make room, or set GRADSMITH_CACHE_DIR and TMPDIR to directories that have it"
            raise CacheError(str(cache_directory()), problem, remedy) from self._failure(ended, folder)

    def _refused(self, words: Sequence[str], folder: Path) -> list[str]:
        """Those that it does not take; none where it takes nothing at all, on a full disk, say."""
        found = [word for word in words if not self._takes(word, folder)]
        return found if found and self._takes("", folder) else []

    def _takes(self, word: str, folder: Path) -> bool:
        """Whether a program can be built with a flag (and what it needs is there), or a library; "": at all."""
        needed = NEEDED.get(word, "")
        (folder / "probe.c").write_text(f"{needed}int main(void) {{ return 0; }}\n", encoding="utf-8")
        includes = self._includes() if word == NUMPY else []
        words = [word, *includes, *(["-c"] if includes else [])] if word else []
        command = [*self.compiler.command, "probe.c", "-o", "probe", *words]
        return run_all([command], folder, timeout=_timeout(), stop=self.stop)[0].status == 0

    def _includes(self) -> list[str]:
        return [word for path in self.includes for word in ("-isystem", path)]

    def _failure(self, ended: Ended, folder: Path) -> CompilerFailedError:
        output = ended.output
        for path, label in {str(folder) + os.sep: "", **self.includes}.items():
            output = output.replace(path, label)
        arguments = ended.command[len(self.compiler.command) :]
        shown = [*self.compiler.shown, *(self.includes.get(word, word) for word in arguments)]
        return CompilerFailedError(self.name, shown, output or f"exit status {ended.status}, no output")


def _timeout() -> float:
    text = os.environ.get(TIMEOUT, "")
    try:
        seconds = float(text) if text else LONGEST
    except ValueError:
        seconds = 0.0
    if not seconds > 0.0:
        raise ArgumentError(f"${TIMEOUT} = {text!r}: give a number of seconds")
    return seconds


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
