"""Every error gradsmith raises on purpose: what the user did, what was seen, and the remedy.

Build and call errors live in `gradsmith_runtime.errors`, because generated code runs without the compiler;
they are re-exported here, so `except gs.GradsmithError` catches all of them.
"""

from __future__ import annotations

from typing import Any

from gradsmith_runtime.errors import (
    ArgumentError,
    CacheError,
    CompilerFailedError,
    CompilerNotFoundError,
    GradsmithError,
    MismatchError,
    MissingExtraError,
    ShapeMismatchError,
)

from .origin import caller_origin, described

__all__ = [
    "ArgumentError",
    "CacheError",
    "CompilerFailedError",
    "CompilerNotFoundError",
    "DTypeError",
    "DerivativeError",
    "GradsmithError",
    "GraphError",
    "MismatchError",
    "MissingExtraError",
    "NonFiniteError",
    "ParseError",
    "ShapeError",
    "ShapeMismatchError",
    "SpecError",
    "TargetError",
    "TraceError",
    "UnsupportedError",
]


class _LocatedError(GradsmithError):
    """An error made by one statement of the user's program: `problem` says what, the second line where.

    `place` is that line; by default it is the statement under way.
    """

    def __init__(self, problem: str, place: str | None = None) -> None:
        place = described(caller_origin()) if place is None else place
        super().__init__(f"{problem}\n  {place}" if place else problem)
        self.problem, self.place = problem, place

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problem, self.place)


class ShapeError(_LocatedError, ValueError):
    """Shapes, axes or dtypes that do not fit the op."""


class DTypeError(_LocatedError, TypeError):
    """An element type that is not supported, or that the op does not take."""


class TraceError(_LocatedError, TypeError):
    """A traced value used where a number is needed (`if`, `float()`, …)."""


class ParseError(GradsmithError, ValueError):
    """Text that is not an expression gradsmith reads."""


class UnsupportedError(GradsmithError, NotImplementedError):
    """An input construct (a SymPy node, a syntax) that has no counterpart in the graph."""


class SpecError(GradsmithError, ValueError):
    """`args=`, `wrt=`, `name=` or another option of `compile` that makes no sense."""


class DerivativeError(GradsmithError, ValueError):
    """A derivative that is not defined as asked, such as the gradient of an array."""


class TargetError(GradsmithError, ValueError):
    """An unknown target, a faulty manifest, or an op that a target cannot write."""


class GraphError(GradsmithError, AssertionError):
    """A graph that breaks an invariant: a bug in a pass or in an op record."""


class NonFiniteError(GradsmithError, ArithmeticError):
    """A value or a cotangent of a debug twin is NaN or infinite; `birth` tells where and why.

    Its fields are the node's key, op, element, value, name, formula, operands, role and place.
    """

    def __init__(self, function: str, birth: Any) -> None:
        super().__init__(f"{function}: {birth}".replace("\n", "\n  "))
        self.function, self.birth = function, birth

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.function, self.birth)
