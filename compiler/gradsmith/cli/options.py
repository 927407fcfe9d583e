"""What several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = [
    "Args", "At", "Batch", "Debug", "Derivatives", "March", "Name", "Reduce", "Source", "Sparse", "TargetName",
    "Threads", "Tier", "Triangle", "Wrt",
]  # fmt: skip


Source = Annotated[
    str,
    typer.Argument(
        metavar="EXPR|FILE.py:FUNC",
        help='A formula such as "x*y + tanh(x)", or a function (or an expression) in a Python file: model.py:loss.',
        show_default=False,
    ),
]
Args = Annotated[
    list[str] | None,
    typer.Option(
        "--args",
        "-a",
        metavar="NAME=SHAPE,...",
        help="Shapes of array arguments: W=3x4,b=3; sizes may be names: x=nx4. What is not named, or has no shape, is "
        "a scalar. For text, names given here come first, in this order. Entries of dicts and lists: params.W1=3x4, "
        "layers.0=8.",
        show_default=False,
    ),
]
TargetName = Annotated[
    str, typer.Option("--target", "-t", metavar="NAME|PATH", help="c, numpy, python, or a folder with a target.toml.")
]
Wrt = Annotated[
    str | None,
    typer.Option(
        "--wrt",
        "-w",
        metavar="NAME,...",
        help="Differentiate by these arguments; by all if left out.",
        show_default=False,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name", metavar="NAME", help="Name of the generated function; FUNC or f if left out.", show_default=False
    ),
]
Derivatives = Annotated[
    str | None,
    typer.Option(
        "--derivatives",
        "-d",
        metavar="KIND,...",
        help="Which of value, grad, value_and_grad, jvp, vjp, jacobian, hessian and hvp to write; the first three that "
        "make sense if left out.",
        show_default=False,
    ),
]
Sparse = Annotated[
    str | None,
    typer.Option(
        "--sparse",
        metavar="FORMAT",
        help="csr, csc or coo: Jacobians and Hessians by their nonzeros alone.",
        show_default=False,
    ),
]
Triangle = Annotated[
    str | None,
    typer.Option("--triangle", metavar="HALF", help="lower or upper half of a sparse Hessian.", show_default=False),
]
Batch = Annotated[
    str | None,
    typer.Option(
        "--batch",
        metavar="all|NAME,...",
        help="C functions of many points, too: all arguments may have points, or those named have, and others are "
        "shared.",
        show_default=False,
    ),
]
Reduce = Annotated[
    str | None,
    typer.Option(
        "--reduce",
        metavar="sum",
        help="Functions of many points add up the value and what is by shared arguments.",
        show_default=False,
    ),
]
Threads = Annotated[
    str | None,
    typer.Option(
        "--threads",
        metavar="openmp",
        help="Functions of many points, or else large loops, run in several threads: compile with -fopenmp.",
        show_default=False,
    ),
]
March = Annotated[
    str,
    typer.Option(
        "--march",
        metavar="CPU",
        help="What C code is built for here: native, none, or what the compiler's -march= takes.",
    ),
]
Tier = Annotated[
    str,
    typer.Option(
        "--tier", metavar="HOW", help="optimised, or auto: run C code from the quickest build at once, or other code."
    ),
]
At = Annotated[
    list[str] | None,
    typer.Option(
        "--at", metavar="NAME=VALUE", help="A point: x=2, or W=\\[\\[1,2],\\[3,4]]. One --at for each argument."
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]  # read by main()
