"""The array API standard's view of gradsmith: `x.__array_namespace__()`, and what the namespace says of itself.

Code written for the standard asks an array for its namespace and calls that: `xp = x.__array_namespace__()`. For traced
values that is the module `gradsmith`. There is one device, the CPU, whose name is "cpu".
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from ..errors import SpecError
from ..trace import Expr
from ..types import DTYPES, DType
from .conversion import KINDS

__all__ = ["__array_api_version__", "__array_namespace_info__", "namespace_of", "to_device"]

__array_api_version__ = "2024.12"
_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")


def namespace_of(self: Expr, *, api_version: str | None = None) -> ModuleType:
    """The module `gradsmith`, for code written for the array API standard.

    >>> import gradsmith as gs
    >>> def hypotenuse(x, y):
    ...     xp = x.__array_namespace__()
    ...     return xp.sqrt(x * x + y * y)
    >>> gs.compile(hypotenuse)(3.0, 4.0)
    5.0
    """
    if api_version is not None and api_version not in _VERSIONS:
        raise SpecError(f"api_version={api_version!r}: gradsmith follows the array API of {', '.join(_VERSIONS)}")
    return sys.modules["gradsmith"]


def to_device(self: Expr, device: Any, /, *, stream: Any = None) -> Expr:
    """`x` itself: there is one device, "cpu"."""
    _check_device(device)
    if stream is not None:
        raise SpecError(f"to_device(stream={stream!r}): the device 'cpu' has no streams")
    return self


def _check_device(device: Any) -> None:
    if device not in (None, "cpu"):
        raise SpecError(f"device={device!r}: there is one device, 'cpu'")


class __array_namespace_info__:
    """What the namespace can do, as the array API standard asks it.

    >>> import gradsmith as gs
    >>> gs.__array_namespace_info__().devices()
    ['cpu']
    """

    def capabilities(self) -> dict[str, Any]:
        """Shapes are known while tracing, so none depends on data."""
        return {"boolean indexing": False, "data-dependent shapes": False, "max dimensions": 64}

    def default_device(self) -> str:
        """The one device."""
        return "cpu"

    def devices(self) -> list[str]:
        """All devices."""
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The dtype of each kind that a value has when nothing else is asked for."""
        _check_device(device)
        wanted = {"real floating": "float64", "integral": "int64", "indexing": "int64"}
        known = self.dtypes()
        return {kind: known[name] for kind, name in wanted.items() if name in known}

    def dtypes(self, *, device: Any = None, kind: str | tuple[str, ...] | None = None) -> dict[str, DType]:
        """All dtypes by name, or those of a `kind` (or of several)."""
        _check_device(device)
        kinds = KINDS if kind is None else (kind,) if isinstance(kind, str) else kind
        unknown = [k for k in kinds if k not in KINDS]
        if unknown:
            raise SpecError(f"dtypes(kind={unknown[0]!r}): the kinds are {', '.join(KINDS)}")
        return {d.name: d for d in DTYPES.values() if any(d.kind in KINDS[k] for k in kinds)}
