"""Pieces of C that are timed where a call from Python would take longer than they do, and the peak beside them."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import PIPE, run
from typing import Any

import numpy as np

from gradsmith_runtime import find_compiler

from .flags import FLAGS
from .records import Ready

__all__ = ["REAL", "library", "peak", "pointers"]

REAL = {"float64": "double", "float32": "float"}


def library(sources: Mapping[str, str], more: Sequence[str] = ()) -> ctypes.CDLL:
    """A shared library of these files, by the compiler and the flags of all other C."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in sources.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        files = [name for name in sources if name.endswith(".c")]
        command = [*find_compiler().command, *FLAGS, *more, "-fPIC", "-shared", *files, "-o", "all.so", "-lm"]
        ended = run(command, cwd=folder, stderr=PIPE, text=True, check=False)
        if ended.returncode:
            raise RuntimeError(ended.stderr)
        return ctypes.CDLL(str(Path(folder, "all.so")))


def pointers(arrays: Sequence[np.ndarray]) -> list[Any]:
    return [a.ctypes.data_as(ctypes.c_void_p) for a in arrays]


#: Sums that wait for themselves alone: more than a processor has multiply-adds under way, less than registers.
CHAINS = 12

PEAK = """\
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
typedef {real} vector __attribute__((vector_size(BYTES)));

void run(long operations, {real} *result) {{
    vector factor, term, {sums};
    for (int i = 0; i < (int)(BYTES / sizeof({real})); ++i) {{
        factor[i] = result[i];
        term[i] = result[i + 1];
    }}
    {first}
    for (long i = operations / (2L * {chains} * (long)(BYTES / sizeof({real}))); i >= 0; --i) {{
        {steps}
    }}
    *(vector *)result = {total};
}}
"""


def peak(dtype: str, operations: float) -> Ready:
    """So many multiplications and additions, by fused multiply-adds of registers and nothing else."""
    names = [f"s{k}" for k in range(CHAINS)]
    text = PEAK.format(
        real=REAL[dtype],
        chains=CHAINS,
        sums=", ".join(names),
        first=" ".join(f"{name} = term * {k}.0f;" for k, name in enumerate(names)),
        steps=" ".join(f"{name} = {name} * factor + term;" for name in names),
        total=" + ".join(names),
    )
    run = library({"peak.c": text}, ["-ffp-contract=fast"]).run
    room = np.full(256, 0.5, dtype)  # sums stay finite
    room = room[(-room.ctypes.data % 64) // room.itemsize :]
    return Ready(run, (ctypes.c_long(int(operations)), *pointers([room])), lambda _: [])
