"""gs functions by name, looked up when they are called: `gs.roll(x, 1)`.

NumPy's functions are composed of gs functions of all families. Asking for them by name keeps those modules from
importing all others, and lets a function exist before or after the ones that are composed of it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["MissingError", "counterpart", "gs"]


class MissingError(AttributeError):
    """A gs function that another one is composed of, and that does not exist."""


def counterpart(name: str, within: str = "") -> Callable[..., Any] | None:
    """The public gs function called `name` (in the namespace `within`, such as linalg), or None."""
    module = sys.modules.get(f"gradsmith.ops.{within}" if within else "gradsmith.ops")
    found = getattr(module, name, None)
    return found if callable(found) and not isinstance(found, type) and not name.startswith("_") else None


class _Namespace:
    def __getattr__(self, name: str) -> Callable[..., Any]:
        found = counterpart(name)
        if found is None:
            raise MissingError(f"gs.{name}")
        return found


gs = _Namespace()
