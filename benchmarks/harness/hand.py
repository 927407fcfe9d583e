"""Build the hand-written C of `benchmarks/hand` as gradsmith builds its own: same compiler, same flags."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np

from gradsmith_runtime import BuildOptions, build_extension

from .flags import FLAGS

__all__ = ["HAND", "hand"]

HAND = Path(__file__).resolve().parents[1] / "hand"


def hand(name: str, dtype: str = "float64") -> ModuleType:
    """The extension module of `hand/NAME.c`, with `real` as that type."""
    sources = {path.name: path.read_text(encoding="utf-8") for path in (HAND / f"{name}.c", *sorted(HAND.glob("*.h")))}
    flags = [*FLAGS, f"-DREAL_IS_FLOAT={int(dtype == 'float32')}", "-isystem", np.get_include()]
    return build_extension(sources, f"hand_{name}", BuildOptions(flags=flags, libraries=["mvec"]))
