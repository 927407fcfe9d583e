"""`gradsmith compile`: write source code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .app import app
from .options import Args, Batch, Debug, Derivatives, Name, Reduce, Source, Sparse, TargetName, Threads, Triangle, Wrt
from .source import compiled
from .terminal import coloured, highlighted

__all__ = ["compile_command"]


@app.command("compile")
def compile_command(
    source: Source,
    target: TargetName = "python",
    wrt: Wrt = None,
    args: Args = None,
    name: Name = None,
    derivatives: Derivatives = None,
    sparse: Sparse = None,
    triangle: Triangle = None,
    batch: Batch = None,
    reduce: Reduce = None,
    threads: Threads = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Write the files there and print their paths.", show_default=False
        ),
    ] = None,
    selftest: Annotated[
        bool, typer.Option("--selftest/--no-selftest", help="Whether the file can test itself when it is run.")
    ] = True,
    stabilize: Annotated[
        bool,
        typer.Option(
            "--stabilize/--no-stabilize", help="Whether log(1 + exp(x)) and the like give way to stable forms."
        ),
    ] = True,
    fast_math: Annotated[
        bool,
        typer.Option(
            "--fast-math", help="Regroup sums and products with constants, fuse others in C; rounding changes."
        ),
    ] = False,
    dtype: Annotated[
        str, typer.Option("--dtype", metavar="TYPE", help="float64 or float32: the type of all floating-point numbers.")
    ] = "float64",
    strict: Annotated[
        bool, typer.Option("--strict", help="Python, NumPy and C agree to the last bit; NumPy code becomes slow by it.")
    ] = False,
    lapack: Annotated[
        bool, typer.Option("--lapack", help="C code calls LAPACK for larger matrices: link it with -llapack -lblas.")
    ] = False,
    roll: Annotated[
        bool, typer.Option("--roll/--no-roll", help="Whether repeated structure in what was traced becomes loops.")
    ] = True,
    blas: Annotated[
        str | None,
        typer.Option("--blas", metavar="LIBRARY", help="cblas: C code calls it for products of matrices; link -lblas."),
    ] = None,
    simd: Annotated[
        str,
        typer.Option(
            "--simd",
            metavar="HOW",
            help="exp, log, sin … in loops of C: auto, accurate (vector code, 1 ULP), fast (4 ULP), libmvec (glibc's), "
            "sleef (SLEEF's), or off.",
        ),
    ] = "auto",
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="List on stderr what was rewritten for stability, and gradients of 0."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Write source code for a function and its gradient.

    \b
    Examples:
      gradsmith compile "x*y + y + tanh(x)"
      gradsmith compile "sum((W @ x - t)**2)" --args W=3x4,x=4,t=3 --wrt W --target numpy
      gradsmith compile model.py:loss --args params.W1=64x32,params.b1=32,x=64 --wrt params -t c -o out
      gradsmith compile "sum((x[1:] - x[:-1]**2)**2)" --args x=9 -d hessian --sparse csr --triangle lower -t numpy
      gradsmith compile "exp(-k*x)" -t c --batch x --reduce sum --threads openmp -o out
      gradsmith compile "a*b + c" -t templates/julia > f.jl
    """
    function = compiled(
        source, args, target=target, wrt=wrt, name=name, derivatives=derivatives, selftest=selftest,
        stabilize=stabilize, fast_math=fast_math, dtype=dtype, strict=strict, lapack=lapack, sparse=sparse,
        triangle=triangle, roll=roll, batch=batch is not None and (batch == "all" or batch.split(",")), reduce=reduce,
        threads=threads, blas=blas, simd=simd,
    )  # fmt: skip
    if verbose:
        print(function.report, *function.zeros, sep="\n", file=sys.stderr)
    if output is not None:
        for path in function.save(output):
            print(path)
        return
    shown = list(function.files)[-1]
    sys.stdout.write(highlighted(function.source, shown) if coloured(sys.stdout) else function.source)
    others = [file for file in function.files if file != shown]
    if others and sys.stdout.isatty():
        print(f"(this is {shown}; -o DIR writes {', '.join(others)} too)", file=sys.stderr)
