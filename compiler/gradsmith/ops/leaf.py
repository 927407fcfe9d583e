"""Leaves of the graph: inputs and constants."""

from __future__ import annotations

from typing import Any

from ..errors import GraphError
from ..trace import op
from ..types import Type
from ._declare import free


def _typed_outside(**_: Any) -> Type:
    raise GraphError("an input or a constant carries its own type and is not inferred")


op("input", arity=0, kind="leaf", infer=_typed_outside, evaluate=lambda name: None, cost=free, doc="An argument.")
op("constant", arity=0, kind="leaf", infer=_typed_outside, evaluate=lambda value: value, cost=free, doc="A constant.")
