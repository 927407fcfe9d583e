"""What the SymPy frontend answers to nodes that gradsmith cannot compute: the class, the place, and the remedy.

In: a SymPy node. Out: an `UnsupportedError`. Guarantee: showing a node takes bounded time; SymPy's printer would need
time exponential in the depth of an expression whose parts are shared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ..errors import UnsupportedError

__all__ = ["NO_DEFAULT", "REMEDIES", "children", "refuse", "refuse_class", "short", "written"]

NO_DEFAULT = "a Piecewise needs a last branch (value, True), because elsewhere its value would be NaN"
_REAL = "gradsmith computes with real numbers: declare the symbols real, sympy.symbols('x', real=True), and simplify"
_DO_IT = "evaluate it first, with .doit(); a derivative that stays needs real symbols, sympy.symbols('x', real=True)"
REMEDIES: Mapping[str, str] = {
    **dict.fromkeys(["Integral", "Derivative", "Sum", "Product", "Limit", "Subs"], _DO_IT),
    **dict.fromkeys(["re", "im", "arg", "conjugate", "core.numbers.ImaginaryUnit"], _REAL),
    "core.numbers.ComplexInfinity": "the expression divides by zero: correct it, or guard it with Piecewise",
    "core.numbers.NaN": f"no constant is NaN; {NO_DEFAULT}",
    "core.function.AppliedUndef": "it has no definition; put an expression in its place, such as .subs(f(x), x**2)",
    "DiracDelta": "it is no function of numbers: it comes from differentiating a step; let gradsmith differentiate",
    "Order": "remove it with .removeO()",
    "Indexed": "use a MatrixSymbol, or one symbol for each element",
}


def refuse_class(node: Any) -> NoReturn:
    """The rule of classes that are in no table."""
    refuse(node, "rewrite it with functions that gradsmith has (.rewrite, .doit, .simplify), or register an op for it")


def refuse(node: Any, remedy: str) -> NoReturn:
    """Raise the error that names the class of the node, the sub-expression and the remedy."""
    raise UnsupportedError(f"SymPy's {type(node).__name__}, in {short(node)}, has no counterpart: {remedy}")


def short(node: Any, width: int = 60) -> str:
    """The node as text, cut to `width`; of a large one only the class."""
    text = written(node) or f"{type(node).__name__}(…)"
    return text if len(text) <= width else text[: width - 1] + "…"


def written(node: Any, limit: int = 100) -> str:
    """The node as SymPy prints it, on one line; "" where it has more than `limit` parts (shared ones count again)."""
    stack, count = [node], 0
    while stack:
        count += 1
        if count > limit:
            return ""
        stack.extend(children(stack.pop()))
    return " ".join(str(node).split())


def children(node: Any) -> Sequence[Any]:
    """The parts of a node that are read: its arguments, or the elements of a matrix."""
    import sympy

    if isinstance(node, sympy.MatrixBase | sympy.NDimArray):
        return sympy.flatten(node.tolist())  # type: ignore[no-any-return]
    return () if isinstance(node, sympy.MatrixSymbol) else node.args
