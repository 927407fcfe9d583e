"""`gradsmith check`: compare generated code with an independent reference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from .app import MISMATCH, app
from .options import Args, Debug, Derivatives, March, Name, Source, Sparse, TargetName, Tier, Triangle, Wrt
from .source import compiled
from .terminal import progress

__all__ = ["check"]


class Against(StrEnum):
    """What generated code is compared with."""

    torch = "torch"
    mpmath = "mpmath"
    finite = "finite"


@app.command()
def check(
    source: Source,
    target: TargetName = "python",
    wrt: Wrt = None,
    args: Args = None,
    name: Name = None,
    derivatives: Derivatives = None,
    sparse: Sparse = None,
    triangle: Triangle = None,
    march: March = "native",
    tier: Tier = "optimised",
    n: Annotated[int, typer.Option("--n", "-n", "--points", min=0, help="Random points, beside the edge points.")] = 12,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the random points.")] = 0,
    domain: Annotated[
        list[str] | None,
        typer.Option(
            "--domain",
            metavar="NAME=LOW:HIGH",
            help="Where an argument lies, strictly between two bounds; an end left out is open: x=0:10, params.W=:1.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        Against | None,
        typer.Option(
            "--against",
            help="The reference: torch, 50 digits, or differences. The first that can, if left out.",
            show_default=False,
        ),
    ] = None,
    order: Annotated[int, typer.Option("--order", min=1, max=2, help="2 compares second derivatives too.")] = 1,
    sizes: Annotated[
        list[str] | None,
        typer.Option(
            "--sizes",
            metavar="NAME=INT,...",
            help="Sizes of named dimensions: n=10,m=3. Each --sizes is one more set; several small ones if left out.",
            show_default=False,
        ),
    ] = None,
    rtol: Annotated[
        float | None, typer.Option("--rtol", min=0.0, help="Relative tolerance; 1e-9 for float64.", show_default=False)
    ] = None,
    atol: Annotated[
        float | None, typer.Option("--atol", min=0.0, help="Absolute tolerance; 1e-12 for float64.", show_default=False)
    ] = None,
    max_ulp: Annotated[
        int | None, typer.Option("--max-ulp", min=0, help="Limit in units in the last place.", show_default=False)
    ] = None,
    debug: Debug = False,
) -> None:
    """Compare generated code with an independent reference: values and gradients at random and edge points.

    The exit status is 1 if they differ; then the report names the op whose rule is wrong, or where a NaN came from.

    \b
    Examples:
      gradsmith check "x*y + y + tanh(x)"
      gradsmith check "log(x)/y" --domain x=0:10 --domain y=1: --order 2 --against mpmath
      gradsmith check "sum((x @ w - y)**2)/3" --args x=nx4,w=4,y=n --sizes n=1 --sizes n=10
      gradsmith check model.py:loss --args W=3x4,x=4 --target c -n 100 || echo wrong
      gradsmith check "x*y + tanh(x)" --target c --march x86-64-v3 --tier auto
    """
    limits = _domain(domain or [])
    function = compiled(
        source,
        args,
        target=target,
        wrt=wrt,
        name=name,
        derivatives=derivatives,
        selftest=False,
        sparse=sparse,
        triangle=triangle,
        march=None if march == "none" else march,
        tier=tier,
    )
    with progress():
        report = function.check(
            n=n, seed=seed, domain=limits, against=against and against.value, order=order, rtol=rtol, atol=atol,
            max_ulp=max_ulp, sizes=[_sizes(text) for text in sizes or []] or None,
        )  # fmt: skip
    print(report)
    if not report.ok:
        raise typer.Exit(MISMATCH)


def _sizes(text: str) -> dict[str, int]:
    """`n=10, m=3` as {"n": 10, "m": 3}.

    >>> _sizes("n=10, m=3")
    {'n': 10, 'm': 3}
    """
    found: dict[str, int] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        match = re.fullmatch(r"([^\W\d]\w*)\s*=\s*(\d+)", entry)
        if match is None or match[1] in found:
            problem = "is given twice" if match else "is not NAME=INT, such as n=10"
            raise typer.BadParameter(f"{entry!r} {problem}", param_hint="--sizes")
        found[match[1]] = int(match[2])
    return found


def _domain(texts: Sequence[str]) -> dict[str, tuple[float | None, float | None]]:
    """`x=0:10` as {"x": (0.0, 10.0)}; an end left out is None.

    >>> _domain(["x=0:10, p.W=:-1e-3"])
    {'x': (0.0, 10.0), 'p.W': (None, -0.001)}
    """
    found: dict[str, tuple[float | None, float | None]] = {}
    for entry in filter(None, (e.strip() for text in texts for e in text.split(","))):
        match = re.fullmatch(r"([^\W\d]\w*(?:\.\w+)*)\s*=([^:]*):([^:]*)", entry)
        try:
            low, high = (float(end) if end.strip() else None for end in match.groups()[1:]) if match else (None, None)
        except ValueError:
            match = None
        if match is None or match[1] in found:
            problem = "is given twice" if match else "is not NAME=LOW:HIGH, such as x=0:10, x=0: or x=:1"
            raise typer.BadParameter(f"{entry!r} {problem}", param_hint="--domain")
        found[match[1]] = low, high
    return found
