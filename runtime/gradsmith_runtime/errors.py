"""The errors of gradsmith that can happen while generated code is loaded, built, called or checked.

In: the facts of one failure (a directory, a command, a report). Out: an exception whose message names what
failed and the remedy. Guaranteed: every class derives from `GradsmithError` and from the built-in error a
caller would expect, keeps its facts as attributes, and survives pickling (so it crosses process
boundaries).
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .report import Report

SHOWN_LINES = 40  # of a compiler's output; the whole text stays in `CompilerFailedError.output`


class GradsmithError(Exception):
    """Base class of every error that gradsmith raises on purpose.

    >>> issubclass(CacheError, GradsmithError) and issubclass(CacheError, OSError)
    True
    """


class MissingExtraError(GradsmithError, ImportError):
    """An optional dependency is not installed; the message says which extra brings it.

    >>> print(MissingExtraError("torch", "comparing with torch"))
    comparing with torch needs the 'torch' extra: pip install 'gradsmith[torch]'
    """

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the {extra!r} extra: pip install 'gradsmith[{extra}]'")
        self.extra, self.purpose = extra, purpose

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.extra, self.purpose)


class CompilerNotFoundError(GradsmithError):
    """No C compiler was found; `searched` lists the places that were looked at, in order.

    >>> print(CompilerNotFoundError(["$CC (not set)", "cc"]))
    no C compiler found (searched: $CC (not set), cc). Install gcc or clang, set CC, or \
pip install 'gradsmith[zig]'; \
the targets "python" and "numpy" need no compiler
    """

    def __init__(self, searched: Sequence[str]) -> None:
        super().__init__(
            f"no C compiler found (searched: {', '.join(searched)}). Install gcc or clang, set CC, or "
            "pip install 'gradsmith[zig]'; "
            'the targets "python" and "numpy" need no compiler'
        )
        self.searched = tuple(searched)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.searched,)


class CompilerFailedError(GradsmithError):
    """The C compiler ended with an error; `command` and `output` are what it was told and what it said.

    >>> print(CompilerFailedError("_gs_f", ["cc", "f.c"], "f.c:1:1: error: no"))
    the C compiler failed on _gs_f:
    $ cc f.c
    f.c:1:1: error: no
    """

    def __init__(self, name: str, command: Sequence[str], output: str) -> None:
        lines = output.strip().splitlines()
        hidden = len(lines) - SHOWN_LINES
        shown = lines[:SHOWN_LINES] + ([f"... {hidden} more lines in .output"] if hidden > 0 else [])
        text = [f"the C compiler failed on {name}:", f"$ {shlex.join(command)}", *shown]
        super().__init__("\n".join(text))
        self.name, self.command, self.output = name, tuple(command), output

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.command, self.output)


_LAPACK = ("Debian, Ubuntu: liblapack-dev or libopenblas-dev; Fedora: lapack-devel", "lapack=True or blas=")
#: the linker's word for a library -> the packages that have it, and the options without which it is not called
_PACKAGES = {"-lsleefgnuabi": ("Debian, Ubuntu: libsleef-dev; Fedora: sleef-devel", 'simd="sleef"')}


class LibraryNotFoundError(GradsmithError):
    """A library that generated C calls cannot be linked; `libraries` are the linker's words for what is missing.

    >>> print(LibraryNotFoundError("_gs_f", ["-llapack", "-lblas"]))
    _gs_f calls functions of -llapack -lblas, which the linker does not find. Install them (Debian, Ubuntu: \
liblapack-dev or libopenblas-dev; Fedora: lapack-devel), name their folder in LIBRARY_PATH, or compile without \
lapack=True or blas=
    """

    def __init__(self, name: str, libraries: Sequence[str]) -> None:
        found = list(dict.fromkeys(_PACKAGES.get(library, _LAPACK) for library in libraries))
        super().__init__(
            f"{name} calls functions of {' '.join(libraries)}, which the linker does not find. Install them "
            f"({'; '.join(packages for packages, _ in found)}), name their folder in LIBRARY_PATH, or compile without "
            f"{' and '.join(option for _, option in found)}"
        )
        self.name, self.libraries = name, tuple(libraries)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.libraries)


_PRIVATE = "set GRADSMITH_CACHE_DIR to a directory that only you can write"


class CacheError(GradsmithError, OSError):
    """The cache directory cannot be used: not writable, not ours, open to others, or full.

    >>> print(CacheError("/x", "is read-only"))
    the cache directory /x is read-only; set GRADSMITH_CACHE_DIR to a directory that only you can write
    """

    def __init__(self, directory: str, problem: str, remedy: str = _PRIVATE) -> None:
        super().__init__(f"the cache directory {directory} {problem}; {remedy}")
        self.directory, self.problem, self.remedy = directory, problem, remedy

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.directory, self.problem, self.remedy)


class ArgumentError(GradsmithError, TypeError):
    """A function was called with the wrong number, names or types of arguments."""


class ShapeMismatchError(ArgumentError, ValueError):
    """An array has another shape than the function was generated for."""


class MismatchError(GradsmithError, AssertionError):
    """A generated function differs from its reference; `report` is the whole `Report`."""

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.report,)
