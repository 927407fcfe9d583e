"""Selected: a choice inside a choice by the same condition, of which the outer one takes one side.

    where(c, a, f(where(c, b, x)))  ->  where(c, a, f(x))

In: `where` nodes and what they choose between. Out: the same choice without the inner one; so the softmax of a
derivative, guarded against rows of -inf, is again that of the value, and they share all exponentials. Guarantee: the
same values, element by element, as `f` is element-wise or mixes only along axes on which `c` is constant. It is for
code that computes both sides without raising, behind all derivatives: what is not chosen may be inf or NaN now.
"""

from __future__ import annotations

from ..ops import where
from ..target import Target
from ..trace import Expr
from .rewrite import Rule

__all__ = ["selecting"]

_DEPTH = 6  # operations between the two choices


def selecting(target: Target) -> tuple[Rule, ...]:
    """The rule, for targets that compute arrays in loops; none for strict code, which keeps what is written."""
    return (_selected,) if target.lowering == "loops" and not target.returns and not target.strict else ()


def _selected(e: Expr) -> Expr | None:
    if e.op.name != "where" or not e.shape:
        return None
    condition, a, b = e.args
    first, second = _taken(a, condition, 1, _DEPTH), _taken(b, condition, 2, _DEPTH)
    return None if first is a and second is b else where(condition, first, second)


def _taken(x: Expr, condition: Expr, side: int, depth: int) -> Expr:
    """`x` where `condition` chooses operand `side`."""
    if depth == 0 or not _kept_apart(x, condition):
        return x
    if x.op.name == "where" and x.args[0] is condition:
        return _taken(x.args[side], condition, side, depth - 1)
    args = [_taken(a, condition, side, depth - 1) if a.shape == x.shape else a for a in x.args]
    return x if all(new is old for new, old in zip(args, x.args, strict=True)) else x.op_call(*args, **x.params)


def _kept_apart(x: Expr, condition: Expr) -> bool:
    """Whether each element of `x` depends on elements of its operands with the same condition only."""
    if x.op.kind == "elementwise":
        return True
    along = x.params.get("axis") if x.op.kind in ("composite", "scan") and len(x.args) == 1 else None
    if along is None or x.args[0].shape != x.shape or condition.op.name != "broadcast_to":
        return False
    inner = condition.args[0].shape
    aligned = (1,) * (condition.ndim - len(inner)) + inner
    return all(aligned[axis] == 1 for axis in (along if isinstance(along, tuple) else (along,)))
