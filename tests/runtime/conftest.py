"""Fixtures for all runtime tests."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has an empty cache of its own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GRADSMITH_CACHE_DIR", str(folder))
    monkeypatch.delenv("CC", raising=False)
    return folder
