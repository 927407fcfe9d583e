"""The flags that gradsmith builds its C with, for all other C of a run as well."""

from __future__ import annotations

import inspect
import os
import shlex
from typing import Any

from gradsmith_runtime import build

__all__ = ["FLAGS", "choose_march", "march_option"]

#: Those of every build, and those for loops where gradsmith has them.
FLAGS = (*build.DEFAULT_FLAGS, *getattr(build, "VECTOR_FLAGS", ()))

MARCH = "GRADSMITH_BENCH_MARCH"


def choose_march(march: str) -> None:
    """For every C compiler of this process and those it starts, by $CC; empty for the compiler's own default."""
    os.environ[MARCH] = march
    if march:
        os.environ["CC"] = shlex.join([*build.find_compiler().command, f"-march={march}"])


def march_option() -> dict[str, Any]:
    """The same as an option of `gs.compile`, which would else choose by itself."""
    import gradsmith as gs

    known = "march" in inspect.signature(gs.compile).parameters
    return {"march": os.environ.get(MARCH) or None} if known else {}
