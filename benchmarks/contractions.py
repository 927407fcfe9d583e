"""Products of matrices: the C that we emit beside OpenBLAS on one thread, and the peak of multiply-adds.

`python benchmarks/contractions.py` is `speed.py contractions`: it takes the same options.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from harness.aims import Aim
from harness.blas import best_kernels, blas
from harness.flags import march_option
from harness.native import REAL, library, peak, pointers
from harness.records import Build, Family, Ready, Workload, in_type, placed

__all__ = ["FAMILY", "FORMS", "PRODUCTS", "Product"]


@dataclass(frozen=True)
class Product:
    """`several` products of m rows, k terms and n columns; of a matrix with a vector, if there are no columns."""

    m: int
    k: int
    n: int = 0
    several: int = 1

    @property
    def name(self) -> str:
        sizes = f"{self.m} x {self.k} x {self.n}" if self.n else f"{self.m} x {self.k}, vector"
        return sizes if self.several == 1 else f"{self.several} of {sizes}"

    @property
    def operations(self) -> float:
        return 2.0 * self.several * self.m * self.k * max(1, self.n)

    @property
    def repeats(self) -> int:
        """How many times one call from Python computes it, which hides what that call takes."""
        return max(1, int(2e7 / self.operations))


PRODUCTS = [
    *(Product(n, n, n) for n in (4, 8, 13, 16, 32, 48, 64, 256, 512, 1024)),
    Product(64, 784, 128),
    *(Product(n, n, n, several=100) for n in (4, 16)),
    Product(64, 64),
    Product(1000, 500),
]

#: Which factors are stored transposed.
FORMS = {"A B": (False, False), "Aᵀ B": (True, False), "A Bᵀ": (False, True)}

CALL = "void {name}(const {real} *a, const {real} *b, {real} *y{work});"

#: Ours, from Python once for many; it stands in a file of its own, as calls do, so that none of them can be spared.
LOOP = """\
{call}

void run(int repeats, const {real} *a, const {real} *b, {real} *y, {real} *work) {{
    (void)work;
    for (int i = 0; i < repeats; ++i) {{
        {name}(a, b, y{work});
    }}
}}
"""

#: CBLAS by a pointer: row after row is 101, as stored 111, transposed 112.
BLAS_LOOP = """\
#include <stdint.h>
typedef {integer} size;
typedef const {real} *from;
typedef void gemm(int, int, int, size, size, size, {real}, from, size, from, size, {real}, {real} *, size);
typedef void gemv(int, int, size, size, {real}, from, size, from, size, {real}, {real} *, size);

void run(int repeats, const {real} *a, const {real} *b, {real} *y, void *function) {{
    {kind} *call = ({kind} *)function;
    for (int i = 0; i < repeats; ++i) {{
        for (long j = 0; j < {several}; ++j) {{
            call({arguments});
        }}
    }}
}}
"""


def stored(form: str, arguments: Sequence[Any]) -> list[np.ndarray]:
    """The factors as this form has them in memory."""
    return [placed(np.swapaxes(a, -1, -2)) if t else a for a, t in zip(arguments, FORMS[form], strict=True)]


def result(product: Product, dtype: str) -> np.ndarray:
    shape = (product.m, product.n) if product.n else (product.m,)
    return placed(np.full((product.several, *shape) if product.several > 1 else shape, np.nan, dtype))


def gradsmith(product: Product, dtype: str, form: str, arguments: Sequence[Any]) -> Ready:
    """The function of the emitted C itself, without the call from Python."""
    import gradsmith as gs

    given = stored(form, arguments)

    def function(a: Any, b: Any) -> Any:
        a, b = (gs.swapaxes(x, -1, -2) if t else x for x, t in zip((a, b), FORMS[form], strict=True))
        return a @ b

    f = gs.compile(
        function, args=tuple(x.shape for x in given), name="f", target="c", dtype=dtype, derivatives="value",
        selftest=False, **march_option(),
    )  # fmt: skip
    room = f.workspace["value"] // np.dtype(dtype).itemsize
    y, work = result(product, dtype), np.zeros(max(1, room), dtype)
    real = REAL[dtype]
    call = CALL.format(name="f", real=real, work=f", {real} *work" if room else "")
    loop = LOOP.format(call=call, name="f", real=real, work=", work" if room else "")
    run = library({**f.files, "loop.c": loop}).run
    return Ready(run, (product.repeats, *pointers([*given, y, work])), lambda _: [y])


def openblas(product: Product, dtype: str, form: str, arguments: Sequence[Any]) -> Ready:
    given, y = stored(form, arguments), result(product, dtype)
    (m, k, n), (ta, tb) = (product.m, product.k, product.n), FORMS[form]
    kind = "gemm" if n else "gemv"
    order = {False: 111, True: 112}
    if n:
        turned = f"101, {order[ta]}, {order[tb]}, {m}, {n}, {k}"
        places = [
            f"a + {m * k} * j, {m if ta else k}",
            f"b + {k * n} * j, {k if tb else n}",
            f"0, y + {m * n} * j, {n}",
        ]
    else:
        rows, columns = given[0].shape
        turned, places = f"101, {order[ta]}, {rows}, {columns}", [f"a, {columns}", "b, 1", "0, y, 1"]
    found = blas()
    text = BLAS_LOOP.format(
        integer=found.integer, real=REAL[dtype], kind=kind, several=product.several,
        arguments=", ".join([turned, "1", *places]),
    )  # fmt: skip
    function = ctypes.c_void_p(found.address(f"cblas_{'d' if dtype == 'float64' else 's'}{kind}"))
    return Ready(library({"loop.c": text}).run, (product.repeats, *pointers([*given, y]), function), lambda _: [y])


def draw(product: Product, rng: np.random.Generator) -> Sequence[Any]:
    several = (product.several,) if product.several > 1 else ()
    right = (product.k, product.n) if product.n else (product.k,)
    return [rng.normal(size=(*several, product.m, product.k)), rng.normal(size=(*several, *right))]


def reference(*arguments: Any) -> list[Any]:
    import torch

    a, b = (torch.tensor(x, dtype=torch.float64) for x in arguments)
    return [(a @ b).numpy()]


def workload(product: Product, dtype: str) -> Workload:
    entries: dict[str, Build] = {}
    for form in list(FORMS)[: 3 if product.n else 2]:
        entries[form] = functools.partial(gradsmith, product, dtype, form)
        entries[f"OpenBLAS, {form}"] = functools.partial(openblas, product, dtype, form)
    operations = product.operations * product.repeats
    entries["peak"] = lambda _: peak(dtype, operations)
    return Workload(
        in_type(product.name, dtype), functools.partial(draw, product), reference, entries, dtype, calls=operations
    )


AGAINST = {(form, f"OpenBLAS, {form}"): f"{form} / OpenBLAS" for form in FORMS}
SHARES = {("peak", form): f"{form}, share of the peak" for form in FORMS}
LARGE = r"^(256|512|1024) x"

FAMILY = Family(
    name="contractions",
    title="Products of matrices",
    says="Rows x terms x columns, C called from C, factors as they are or stored transposed; A x and Aᵀ x stand in the"
    " columns of A B and Aᵀ B. OpenBLAS is NumPy's own, with its kernels for AVX-512 where the processor has it. The"
    " peak is that of fused multiply-adds of registers, taken by turns with the rest.",
    unit="GFLOP/s",
    seconds=1e-9,
    workloads=[workload(product, dtype) for dtype in ("float64", "float32") for product in PRODUCTS],
    pairs=[*AGAINST, *SHARES],
    peers={},
    aims=[
        *(Aim(title, most=1.0, rows=r"^(\d|[1-5]\d|6[0-4]) x|^\d+ of") for title in AGAINST.values()),
        *(Aim(title, least=0.7, rows=LARGE) for title in SHARES.values()),
    ],
    titles={**AGAINST, **SHARES},
    yardsticks=("peak",),
    per_second=True,
    environment=best_kernels(),
)


if __name__ == "__main__":
    from speed import main

    main(["contractions", *sys.argv[1:]])
