"""Ops of a user, right and wrong: each computes the sine."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.registry import OPS
from gradsmith.trace import op
from gradsmith.types import Type

MakeOp = Callable[..., Callable[..., gs.Expr]]


@pytest.fixture
def user_op() -> Iterator[MakeOp]:
    """Register an op for the length of a test; by default it is the sine with the right rule."""
    made: list[str] = []

    def make(name: str, vjp: Any = lambda g, y, x: (g * gs.cos(x),), **fields: Any) -> Callable[..., gs.Expr]:
        made.append(name)
        sine: dict[str, Any] = {
            "arity": 1, "kind": "elementwise", "infer": lambda x: Type(x.shape, x.dtype), "evaluate": np.sin, "mp": "sin",
            "torch": "sin", "doc": "Sine.",
            "cells": {"python": "math.sin({0})", "numpy": "np.sin({0})", "c": "sin({0})"},
        }  # fmt: skip
        return op(name, vjp=vjp, **{**sine, **fields})

    yield make
    for name in made:
        OPS.pop(name, None)
