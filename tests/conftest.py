"""Fixtures for all tests."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from gradsmith_runtime import BuildOptions, build_extension
from gradsmith_runtime.build import OPENMP, QUICK_FLAGS


@pytest.fixture
def quick_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds C modules without optimisation, in a third of the time: for tests that ask nothing of the optimiser."""

    def quick(sources: Mapping[str, str], name: str, options: BuildOptions, **more: Any) -> Any:
        optional = [flag for flag in options.optional if flag == OPENMP]
        return build_extension(sources, name, replace(options, flags=QUICK_FLAGS, optional=optional), **more)

    monkeypatch.setattr("gradsmith.c_builds.build_extension", quick)
