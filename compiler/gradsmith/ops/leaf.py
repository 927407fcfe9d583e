"""Leaves of the graph: inputs and constants."""

from __future__ import annotations

from typing import Any

from ..errors import GraphError
from ..trace import op
from ..types import Type


def _typed_outside(**_: Any) -> Type:
    raise GraphError("an input or a constant carries its own type and is not inferred")


def _free(*_: Any, **__: Any) -> dict[str, int]:
    return {}


op("input", arity=0, kind="leaf", infer=_typed_outside, evaluate=lambda name: None, cost=_free, doc="An argument.")
op("constant", arity=0, kind="leaf", infer=_typed_outside, evaluate=lambda value: value, cost=_free, doc="A constant.")
