"""Callables whose calls go elsewhere from some moment on: to generated code, once that is linked.

`functools.partial` is the class of the standard library that forwards a call in C; where its calls go is set anew by
its `__setstate__`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial, update_wrapper
from types import MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .function import CompiledFunction

__all__ = ["First", "Kept", "redirect"]


class First:
    """Where the calls of a compiled function go before it is linked."""

    __slots__ = ("_whose",)

    def __init__(self, whose: weakref.ref[CompiledFunction] | None = None) -> None:
        self._whose = whose  # weak: else no compiled function would be freed before the next garbage collection

    def __call__(self, /, *args: Any, **named: Any) -> Any:
        function = None if self._whose is None else self._whose()
        assert function is not None, "it is called by the function itself"
        return function._value(*args, **named)


def redirect(function: partial[Any], to: Callable[..., Any]) -> None:
    """From now on, calls of `function` go to `to`."""
    function.__setstate__((to, (), {}, function.__dict__))  # type: ignore[attr-defined]


class Kept(partial[Any]):
    """`f.grad`, say, that someone took from `f` before it was linked.

    The first call builds the code as any other does; from then on, calls go to what `f.grad` is by then.
    """

    _method: MethodType

    def __new__(cls, whose: CompiledFunction, kind: str) -> Kept:
        method = getattr(whose, f"_{kind}")
        made = super().__new__(cls, method)
        update_wrapper(made, method)
        made._method = method
        redirect(made, _Redirecting(weakref.ref(made), whose, kind))
        return made

    def __reduce__(self) -> Any:
        return getattr, (self._method.__self__, self._method.__name__[1:])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kept) and self._method == other._method

    def __hash__(self) -> int:
        return hash(self._method)


class _Redirecting:
    """Where the calls of a `Kept` go at first."""

    __slots__ = ("_kept", "_kind", "_whose")

    def __init__(self, kept: weakref.ref[Kept], whose: CompiledFunction, kind: str) -> None:
        self._kept, self._whose, self._kind = kept, whose, kind

    def __call__(self, /, *args: Any, **named: Any) -> Any:
        result = getattr(self._whose, f"_{self._kind}")(*args, **named)
        kept, linked = self._kept(), getattr(self._whose, self._kind)
        if kept is not None and not isinstance(linked, Kept):
            redirect(kept, linked)
            self._whose._forward(kept)
        return result
