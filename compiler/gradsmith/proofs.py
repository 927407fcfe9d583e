"""How a compiled function proves itself: `f.check`, `f.debug`, `f.torch_function` and `f.explain`, its methods.

In: a compiled function. Out: a report of where it differs from an independent reference, a twin that stops at the first
NaN, a function that torch differentiates by the generated gradient, or the chain rule spelled out at a point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from gradsmith_runtime import Report, as_torch_function

from .errors import DerivativeError

if TYPE_CHECKING:
    from .function import CompiledFunction
    from .verification.debug import DebugTwin

__all__ = ["check", "debug", "explain", "torch_function"]


def check(
    f: CompiledFunction,
    /,
    *,
    n: int = 12,
    seed: int = 0,
    domain: Mapping[str, Any] | None = None,
    points: Sequence[Any] = (),
    against: str | None = None,
    order: int = 1,
    rtol: float | None = None,
    atol: float | None = None,
    max_ulp: int | None = None,
    sizes: Mapping[str, int] | Sequence[Mapping[str, int]] | None = None,
    raise_on_error: bool = False,
) -> Report:
    """Compare value and gradient with an independent reference at random points, at edge points and at yours.

    Parameters
    ----------
    n, seed: how many random points, and their seed.
    domain: where the numbers of an input lie, strictly between two bounds: `{"x": (0, 10), "params.W": (None, 1)}`.
        Keys are names of arguments or of leaves, or pytree paths; bounds are numbers or arrays; None is open.
    points: further points, each as the arguments of a call.
    against: "torch" (autograd on the traced graph), "mpmath" (50 digits; slopes by differences there) or "finite"
        (NumPy in float64; slopes by extrapolated central differences). By default the first of them that can:
        torch if it is installed and all ops have a torch reference.
    order: 2 compares second derivatives too: at each point the Hessian times a random direction (`d2_x`).
    rtol, atol: the tolerance `atol + rtol*|expected|`; 1e-9 and 1e-12 by default, 1e-4 and 1e-6 for float32
        results, and 1e-6 and 1e-8 against differences.
    max_ulp: a limit in units in the last place besides.
    sizes: sizes of named dimensions, `{"n": 7}` or several such; three sets of small ones by default.
    raise_on_error: raise `MismatchError` with the report unless all is well.

    Where the reference itself has lost digits (torch's slope of a saturated tanh, say), mpmath decides and the
    difference becomes a note; so does one that rounding the inputs explains. The report has the worst absolute,
    relative and ULP error of each output, where it is, and the condition number there; it names the op whose
    derivative rule is wrong, and the op, operands and line where a NaN was born.

    >>> import gradsmith as gs
    >>> x = gs.symbol("x")
    >>> gs.compile(gs.log(x)).check(domain={"x": (0, 10)}, against="mpmath", order=2).ok
    True
    """
    from .verification.check import check

    report = check(
        f, n=n, seed=seed, domain=domain, points=points, against=against, order=order, rtol=rtol, atol=atol,
        max_ulp=max_ulp, sizes=sizes,
    )  # fmt: skip
    if raise_on_error:
        report.raise_on_mismatch()
    return report


def debug(f: CompiledFunction, /, *, stop: Literal["nan", "nonfinite"] = "nonfinite") -> DebugTwin:
    """A twin that is called like `value_and_grad`, and stops at the first NaN or infinity.

    It raises `NonFiniteError`, which names the op, its operands, the variable and your line, and whether it is a
    value or on the way to a cotangent. With `stop="nan"`, infinities pass. A NaN in the branch of a `where` that is
    not taken reaches no result and is no error.

    >>> import gradsmith as gs
    >>> x = gs.symbol("x")
    >>> f = gs.compile(gs.sqrt(x) * 2.0)
    >>> f.debug()(4.0)
    (4.0, 0.5)
    >>> f.debug()(0.0)
    Traceback (most recent call last):
    ...
    gradsmith.errors.NonFiniteError: f: div gives inf: ...
    """
    from .verification.debug import DebugTwin

    return DebugTwin(f, stop)


def torch_function(f: CompiledFunction, /) -> Callable[..., Any]:
    """A function of torch tensors that torch can differentiate: one flat float64 CPU tensor for each input leaf."""
    if f._program.value_and_grad is None:
        raise DerivativeError(f"torch_function() needs {f.name}'s value_and_grad: add it to derivatives=")
    by = [f.graph.inputs.index(k) for k in f._wrt.keys]
    return as_torch_function(lambda *x: tuple(f._flat("value_and_grad", x)), len(f.inputs), by, f.name)


def explain(f: CompiledFunction, style: str = "text", /, **point: Any) -> str:
    """The forward and backward steps at a point, with the chain rule spelled out, and SymPy's gradient beside it.

    `style` is "text", "markdown" or "latex"; the point is given by name: `f.explain(x=2.0, y=3.0)`.
    """
    from .show.explain import explain

    return explain(f.graph, point, style=style, name=f.name)  # type: ignore[arg-type]
