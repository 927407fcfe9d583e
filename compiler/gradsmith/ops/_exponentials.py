"""C texts of `exp(z - max z) A` in one pass over blocks of rows, and of what makes the wanted product of it.

In: nothing. Out: `SUMS` and `SCALED`, each a table of texts by target and width as in `_tiles`, with our vector kernel
of exp where loops have it. The sums so far belong to the largest `z` so far, and are scaled when a larger one comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ._registers import widths
from ._tiles import COLUMNS
from ._vector import simd

__all__ = ["SCALED", "SUMS"]

_SUMS = """\
#ifndef GS_EXP_SUMS@F
#define GS_EXP_SUMS@F
static void gs_exp_sums@f(const @real *a, const @real *z, @real *y, @real *kept, ptrdiff_t k, ptrdiff_t n, int add) {
    /* y[j] is the sum of exp(z[p] - most) a[p*n + j] over all k rows, where most = kept[0] is the largest z. With
       `add`, so are those before, if there were some (kept[1]): their sums are scaled if z has become larger. */
    for (ptrdiff_t j = 0; j < (add ? 0 : n); ++j) {
        y[j] = 0;
    }
    kept[1] = add ? kept[1] : 0;
    for (ptrdiff_t p = 0; p < k; p += 16) {
        const ptrdiff_t rows = k - p < 16 ? k - p : 16;
        @real weights[16], most = z[p];
        for (ptrdiff_t i = 1; i < rows; ++i) {
            most = z[p + i] > most ? z[p + i] : most;
        }
        if (!(kept[1] > 0)) {
            kept[0] = most;
            kept[1] = 1;
        } else if (most > kept[0]) {
            const @real scale = exp@f(kept[0] - most);
            for (ptrdiff_t j = 0; j < n; ++j) {
                y[j] *= scale;
            }
            kept[0] = most;
        }
        const @real shift = kept[0] < -GS_LARGEST@F ? 0 : kept[0];
        for (ptrdiff_t i = 0; i < rows; ++i) {
            weights[i] = @exp@f(z[p + i] - shift);
        }
        gs_columns@f(a + p * n, weights, y, 1, rows, n, 0, 0, 1);
    }
}
#endif
"""

_SCALED = """\
#ifndef GS_EXP_SCALED@F
#define GS_EXP_SCALED@F
static void gs_exp_scaled@f(const @real *a, const @real *w, const @real *sums, @real *y, ptrdiff_t k, ptrdiff_t n) {
    /* y = w A for weights w[p] = f exp(z[p]), from the sums of exp(z[p] - most) a[p*n + j], which may lie in y: where z
       is largest, so is the weight (or least, if f < 0), and they are scaled by it. What is not finite then is computed
       from A again. */
    @real most[16], least[16];
    for (int i = 0; i < 16; ++i) {
        most[i] = least[i] = k > 0 ? w[0] : 0;
    }
    for (ptrdiff_t p = 0; p < k; p += 16) {
        const ptrdiff_t rows = k - p < 16 ? k - p : 16;
        for (ptrdiff_t i = 0; i < rows; ++i) {
            most[i] = w[p + i] > most[i] ? w[p + i] : most[i];
            least[i] = w[p + i] < least[i] ? w[p + i] : least[i];
        }
    }
    for (int i = 1; i < 16; ++i) {
        most[0] = most[i] > most[0] ? most[i] : most[0];
        least[0] = least[i] < least[0] ? least[i] : least[0];
    }
    const @real scale = most[0] > -least[0] ? most[0] : least[0];
    int finite = k > 0;
    for (ptrdiff_t j = 0; j < n; ++j) {
        y[j] = scale * sums[j];
        finite &= y[j] - y[j] == 0;
    }
    if (!finite) {
        gs_columns@f(a, w, y, 1, k, n, 0, 0, 0);
    }
}
#endif
"""

_LARGEST = """\
#ifndef GS_LARGEST@F
#define GS_LARGEST@F @largest
#endif
"""

_MOST = {"c": "1.7976931348623157e308", "c.float32": "3.4028234663852886e38f"}


class _ByExp(Mapping[str, tuple[str, ...]]):
    """Texts that call `exp`: the C library's, or in loops our kernel, whose text is written when it is asked for."""

    _kernel: Mapping[str, tuple[str, ...]] = simd("exp")["support"]

    def __init__(self, *texts: str) -> None:
        self._texts = texts

    def __getitem__(self, key: str) -> tuple[str, ...]:
        width, vector = "c.float32" if key.endswith(".float32") else "c", key.startswith("c.simd")
        exp, largest = "gs_vexp" if vector else "exp", _MOST[width]
        own = [text.replace("@exp", exp).replace("@largest", largest) for text in self._texts]
        return (*(self._kernel[key] if vector else ()), *COLUMNS[width], *widths(*own)[width])

    def __iter__(self) -> Iterator[str]:
        return iter(("c", "c.float32", "c.simd", "c.simd.float32"))

    def __len__(self) -> int:
        return 4


SUMS = _ByExp(_LARGEST, _SUMS)
SCALED = {key: (*COLUMNS[key], *widths(_SCALED)[key]) for key in ("c", "c.float32")}
