"""Fixtures for all tests."""

from typing import Any

import pytest

from gradsmith_runtime import build_extension
from gradsmith_runtime.build import OPENMP, QUICK_FLAGS


@pytest.fixture
def quick_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds C modules without optimisation, in a third of the time: for tests that ask nothing of the optimiser."""

    def quick(*, optional: tuple[str, ...] = (), **built: Any) -> Any:
        return build_extension(
            **built | {"flags": QUICK_FLAGS, "optional": [flag for flag in optional if flag == OPENMP]}
        )

    monkeypatch.setattr("gradsmith.function.build_extension", quick)
