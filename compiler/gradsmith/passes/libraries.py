"""Libraries: let a library compute what our own kernels would, where the user says that it will be there.

In: ops whose kernels we write ourselves, and a target that may call LAPACK. Out: the ops that call it, for matrices
that are large enough for that to be worth it. Guarantee: the same results but for rounding, and the choice of bases
where vectors are not unique; NaN for the same matrices.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import SpecError, TargetError
from ..ops.lapack import LAPACK
from ..target import Target
from ..trace import Expr
from ..types import static_shape
from .rewrite import Rule

__all__ = ["by_libraries", "with_lapack"]


def with_lapack(target: Target) -> Target:
    """`target`, whose code may call LAPACK.

    Errors: `TargetError` for a target that cannot, `SpecError` for a strict one.
    """
    if target.strict:
        raise SpecError("strict=True and lapack=True: LAPACK rounds as it likes, so leave out one of them")
    if not any(target.writes(row.call.op) for row in LAPACK.values()):  # type: ignore[attr-defined]
        raise TargetError(
            f'lapack=True is for C code; target {target.name!r} does not call it by itself: use target="c", or leave '
            "lapack out" + (" (its code calls numpy.linalg)" if target.name == "numpy" else "")
        )
    return replace(target, lapack=True)


def by_libraries(target: Target) -> tuple[Rule, ...]:
    """The rule that calls libraries; none for a target that has its own kernels alone."""
    return (_called,) if target.lapack else ()


def _called(e: Expr) -> Expr | None:
    row = LAPACK.get(e.op.name)
    if row is None or static_shape(e.args[0].shape)[-1] < row.least:
        return None
    return row.call(*e.args, **e.params)
