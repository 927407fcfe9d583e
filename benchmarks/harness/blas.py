"""OpenBLAS, as C calls it: NumPy's own, or else the system's, with the kernels that this machine can run."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .records import Untried

__all__ = ["Blas", "best_kernels", "blas", "kernels"]

#: How functions are called in builds of OpenBLAS: before and behind their names, and the type of sizes.
NAMES = (("scipy_", "64_", "int64_t"), ("", "64_", "int64_t"), ("scipy_", "", "int"), ("", "", "int"))


@dataclass(frozen=True)
class Blas:
    """One OpenBLAS in this process."""

    library: ctypes.CDLL
    before: str
    behind: str
    integer: str

    def address(self, name: str) -> int:
        """Where the function is."""
        found = ctypes.cast(self.library[f"{self.before}{name}{self.behind}"], ctypes.c_void_p).value
        assert found is not None
        return found

    def text(self, name: str) -> str:
        """What a function without arguments says."""
        function = self.library[f"{self.before}{name}{self.behind}"]
        function.restype = ctypes.c_char_p
        return str(function().decode())


def files() -> Iterator[str]:
    package = Path(np.__path__[0])
    yield from map(str, [*package.parent.glob("numpy.libs/*openblas*"), *package.glob(".dylibs/*openblas*")])
    system = ctypes.util.find_library("openblas")
    yield from [system] if system else []


@lru_cache(maxsize=1)
def blas() -> Blas:
    """The one that is there. Errors: `Untried`, "not installed"."""
    for file in files():
        library = ctypes.CDLL(file)
        for before, behind, integer in NAMES:
            if hasattr(library, f"{before}cblas_dgemm{behind}"):
                return Blas(library, before, behind, integer)
    raise Untried("not installed")


def kernels() -> str:
    """Its version, and what it is told of the processor."""
    try:
        version = " ".join(blas().text("openblas_get_config").split()[:2])
    except (Untried, AttributeError):
        return "OpenBLAS not installed"
    return " ".join([version, *(f"({name}={value})" for name, value in best_kernels().items())])


def best_kernels() -> Mapping[str, str]:
    """What OpenBLAS has to find in the environment: it takes AMD's processors with AVX-512 for some without."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    return {"OPENBLAS_CORETYPE": "SkylakeX"} if "AuthenticAMD" in text and " avx512f" in text else {}
