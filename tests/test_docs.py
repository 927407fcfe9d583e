"""The documents are true: every block of code in them is run, and what it prints is compared."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _run(path: Path) -> doctest.TestResults:
    parser = doctest.DocTestParser()
    text = re.sub(r"(?m)^```.*$", "", path.read_text(encoding="utf-8"))  # a fence is no expected output
    test = parser.get_doctest(text, {}, path.name, str(path), 0)
    return doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)


PAGES = [
    "README.md", "docs/pipeline.md", "docs/numpy.md", "docs/derivatives.md", "docs/control.md", "docs/memory.md", "docs/vmap.md",
    "docs/named-dimensions.md", "docs/linear-algebra.md", "docs/batches.md", "docs/building.md", "docs/calls.md", "docs/simd.md",
]  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_every_block_runs_and_prints_what_it_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    for block in re.findall(r"(?s)```python\n(# model\.py\n.*?)```", (ROOT / name).read_text(encoding="utf-8")):
        (tmp_path / "model.py").write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    results = _run(ROOT / name)
    assert results.attempted > 5
    assert results.failed == 0
