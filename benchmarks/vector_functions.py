"""Nanoseconds an element of the vector kernels, beside functions of the C library, libmvec and SLEEF: one table.

    python benchmarks/vector_functions.py [compiler]      # without SLEEF where there is no libsleefgnuabi

Each is a loop over 2,048 numbers in the first-level cache, compiled with the flags of `gradsmith_runtime` for this CPU.
The loops take turns; the table has the least of 60 rounds, in CPU time.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from gradsmith.registry import lookup
from gradsmith_runtime.build import DEFAULT_FLAGS, VECTOR_FLAGS, find_compiler

#: op -> the C library's way, with @ where float's functions have an f
SCALAR = {
    "exp": "exp@(x)",
    "expm1": "expm1@(x)",
    "log": "log@(x)",
    "log1p": "log1p@(x)",
    "sin": "sin@(x)",
    "cos": "cos@(x)",
    "tanh": "tanh@(x)",
    "sigmoid": "1/(1 + exp@(-x))",
    "erf": "erf@(x)",
    "erfc": "erfc@(x)",
    "cosh": "cosh@(x)",
    "exp2": "exp2@(x)",
    "log2": "log2@(x)",
    "log10": "log10@(x)",
    "tan": "tan@(x)",
    "asin": "asin@(x)",
    "acos": "acos@(x)",
    "atan": "atan@(x)",
    "asinh": "asinh@(x)",
    "acosh": "acosh@(x)",
    "atanh": "atanh@(x)",
    "atan2": "atan2@(x, z)",
    "hypot": "hypot@(x, z)",
    "pow": "pow@(x, z)",
    "sqrt": "sqrt@(x)",
    "1/x": "1/x",
}
FAR = ("sin", "cos", "tan")
TWO = ("pow", "atan2", "hypot")
#: op -> where its argument is, if not between 0.05 and 4.05
DOMAIN = {"asin": "xs[i]/5", "acos": "xs[i]/5", "atanh": "xs[i]/5", "acosh": "1 + xs[i]"}
_LOOP = """
void %(name)s(const %(real)s *restrict xs, const %(real)s *restrict zs, %(real)s *restrict ys) {
    %(far)s
    for (int i = 0; i < N; ++i) { const %(real)s x = %(x)s, z = zs[i]; (void)z; ys[i] = %(value)s; }
    %(end)s
}
"""


def sources() -> tuple[str, str]:
    """The program, and the loops that call the C library, which no declaration of vector functions may reach."""
    support: dict[str, None] = {}
    loops, scalars, table = [], ["#include <math.h>", "#define N 2048"], []
    for number, (op, scalar) in enumerate(SCALAR.items()):
        for real, f, bits in (("double", "", 64), ("float", "f", 32)):
            plain, x = scalar.replace("@", f), DOMAIN.get(op, "xs[i]")
            cells = {} if op in ("sqrt", "1/x") else lookup(op).support
            key = "c.simd.near" if op in FAR else "c.simd"
            end = ".float32" if f else ""
            support.update(dict.fromkeys(cells[key + end] if cells else ()))
            value = plain if not cells else f"gs_v{op}{f}(x{', z' * (op in TWO)}{', &far' * (op in FAR)})"
            far = f"uint{bits}_t far = 0;" if op in FAR else ""
            stop = "if (far >> 31) { ys[0] = 2; }" if far else ""
            loop = {"name": f"v{number}{f}", "real": real, "value": value, "far": far, "end": stop, "x": x}
            loops.append(_LOOP % loop)
            fields = {"name": f"s{number}{f}", "real": real, "value": plain, "far": "", "end": "", "x": x}
            scalars.append(_LOOP % fields)
            loops.append(f"void s{number}{f}(const {real} *, const {real} *, {real} *);")
            quick = cells.get(key.replace("simd", "fast") + end, ())
            support.update(dict.fromkeys(quick))
            short = {"name": f"q{number}{f}", "value": value.replace(f"gs_v{op}{f}(", f"gs_v{op}_fast{f}(")}
            loops.append(_LOOP % (loop | short) if quick else f"#define q{number}{f} v{number}{f}")
            glibc = lookup(op).support.get("c.libmvec" + end, ()) if cells else ()
            support.update(dict.fromkeys(glibc))
            other = f"gs_l{op}{f}(x{', z' * (op in TWO)})"
            mvec = _LOOP % {"name": f"m{number}{f}", "real": real, "value": other, "far": "", "end": "", "x": x}
            loops.append(mvec if glibc else f"#define m{number}{f} v{number}{f}")
        time = ", ".join(
            f"best[{number}][{k}] = least(best[{number}][{k}], TIME({way}{number}{f}, {end}))"
            for k, (f, end, way) in enumerate((f, e, w) for f, e in (("", "d"), ("f", "f")) for w in "vqms")
        )
        table.append(f"{time};")
    names = ", ".join(f'"{op}"' for op in SCALAR)
    declared = [text for text in support if "LIBMVEC" in text]
    first = [text for text in support if "LIBMVEC" not in text]
    program = "\n".join(
        [
            "#include <math.h>", "#include <stdio.h>", "#include <stdlib.h>", "#include <time.h>", "#define N 2048",
            *first, *declared,
            "static double xd[N], zd[N], yd[N]; static float xf[N], zf[N], yf[N];",
            "static double now(void) { struct timespec t; clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);",
            "    return 1e9*(double)t.tv_sec + (double)t.tv_nsec; }",
            "static double least(double a, double b) { return a < b ? a : b; }",
            "static double start;",
            "#define TIME(f, t) (start = now(), f(x##t, z##t, y##t), f(x##t, z##t, y##t), f(x##t, z##t, y##t), \\",
            "    f(x##t, z##t, y##t), (now() - start)/(4.0*N))",
            *loops,
            "int main(void) {",
            f"    static const char *const names[] = {{ {names} }};",
            f"    static double best[{len(SCALAR)}][8];",
            "    for (int i = 0; i < N; ++i) { xf[i] = (float)(xd[i] = 0.05 + 4.0*rand()/RAND_MAX);",
            "        zf[i] = (float)(zd[i] = 6.0*rand()/RAND_MAX - 3.0); }",
            f"    for (int i = 0; i < {len(SCALAR)}; ++i) {{ for (int k = 0; k < 8; ++k) {{ best[i][k] = 1e9; }} }}",
            "    for (int round = 0; round < 60; ++round) {", *table, "    }",
            f"    for (int i = 0; i < {len(SCALAR)}; ++i) {{ printf(\"| %s\", names[i]);",
            '        for (int k = 0; k < 8; ++k) { printf(" | %.2f", best[i][k]); } printf(" |\\n"); }',
            "    return 0; }", "",
        ]
    )  # fmt: skip
    return program, "\n".join([*scalars, ""])


def main() -> None:
    """Print the table."""
    compiler = sys.argv[1:] or list(find_compiler().command)
    flags = [flag for flag in VECTOR_FLAGS if "clang" not in compiler[0] or "vect" not in flag]
    with tempfile.TemporaryDirectory() as folder:
        for name, text in zip(("b.c", "s.c"), sources(), strict=True):
            Path(folder, name).write_text(text, encoding="utf-8")
        command = [*compiler, "-std=gnu99", *DEFAULT_FLAGS[1:], "-march=native", "-w"]
        subprocess.run([*command, "-fno-tree-vectorize", "-c", "s.c"], cwd=folder, check=True)
        found = []
        for library in ([], ["-lsleefgnuabi"]):  # which has its functions under the names that glibc's have
            built = subprocess.run(
                [*command, *flags, "b.c", "s.o", "-o", "b", *library, "-lm"], cwd=folder, check=not library
            )
            if built.returncode == 0:
                told = subprocess.run(["./b"], cwd=folder, check=True, capture_output=True, text=True).stdout
                found.append([[cell.strip() for cell in line.split("|")[1:-1]] for line in told.splitlines()])
    names = ["ours", "fast", "libmvec", *(["SLEEF"] if found[1:] else []), "libm"]
    print(f"| | float64: {' | '.join(names)} | float32: {' | '.join(names)} |\n|{'---|' * (1 + 2 * len(names))}")
    for lines in zip(*found, strict=True):
        op, *first = lines[0]
        cells = [[first[at], first[at + 1], *(line[at + 3] for line in lines), first[at + 3]] for at in (0, 4)]
        print(f"| {op} | {' | '.join(cell for width in cells for cell in width)} |")


if __name__ == "__main__":
    main()
