"""Where a run took place, and how it was built: what every table of times has to say."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gradsmith_runtime import find_compiler

from .blas import kernels
from .flags import FLAGS

__all__ = ["LIBRARIES", "cores", "facts", "one_thread", "threads", "variables"]

LIBRARIES = ("numpy", "torch", "jax", "casadi", "heyoka", "drjit", "pytensor", "numba", "sympy")

#: One thread for everybody: read by OpenMP, the BLASes, XLA, numba, and PyTensor when they are imported.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_ENABLE_X64": "1",
    "JAX_PLATFORMS": "cpu",
}


#: Where the cores stand that were ours before the run was bound to one of them.
CORES = "GRADSMITH_BENCH_CORES"


def cores() -> list[int]:
    """The cores that this run may use."""
    known = os.environ.get(CORES)
    if known:
        return [int(core) for core in known.split(",")]
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [*range(os.cpu_count() or 1)]


@contextmanager
def variables(more: Mapping[str, str]) -> Iterator[None]:
    """Have these in the environment of processes that are started meanwhile."""
    kept = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        for name in more.keys() - kept.keys():
            del os.environ[name]
        os.environ.update(kept)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let processes that are started meanwhile run `count` threads on as many cores; 1 leaves all as it is."""
    if count == 1:
        yield
        return
    kept = dict(os.environ)
    os.environ.update(dict.fromkeys((name for name in ONE_THREAD if name.endswith("_THREADS")), str(count)))
    os.environ.pop("XLA_FLAGS", None)
    bound = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
    if bound is not None:
        os.sched_setaffinity(0, cores()[-count:])
    try:
        yield
    finally:
        os.environ.update(kept)
        if bound is not None:
            os.sched_setaffinity(0, bound)


def one_thread(cpu: int | None = None) -> int | None:
    """Bind this process and those it starts to one core, the last by default, and to one thread; the core's number."""
    os.environ.update(ONE_THREAD, **{CORES: ",".join(map(str, cores()))})
    if not hasattr(os, "sched_setaffinity"):
        return None
    cpu = max(os.sched_getaffinity(0)) if cpu is None else cpu
    os.sched_setaffinity(0, {cpu})
    return cpu


def processor() -> str:
    """The processor's own name, and which vector units it has."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    lines = dict(line.split("\t", 1) for line in text.split("\n\n")[0].splitlines() if "\t" in line)
    found = {key.strip(): value.lstrip("\t: ").strip() for key, value in lines.items()}
    units = [unit for unit in ("avx2", "fma", "avx512f") if unit in found.get("flags", "").split()]
    return f"{found.get('model name', platform.machine())} ({', '.join(units) or 'no wide vectors'})"


def installed(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} not installed"


def facts(pinned: int | None) -> list[str]:
    """Lines that say on what the times were taken."""
    compiler = find_compiler()
    return [
        f"{os.cpu_count()} cores, {processor()}; one core, one thread" + ("" if pinned is None else ", pinned"),
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        f"{compiler.version.splitlines()[0]}: `{' '.join((*compiler.shown, *FLAGS))}` for all C",
        ", ".join([*map(installed, LIBRARIES), kernels()]),
    ]
