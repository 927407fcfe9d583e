"""The layout of generated files, kept as text. After a change on purpose: `pytest tests/layout --snapshot-update`.

Goldens guard how the code reads. What it computes is tested against torch, elsewhere.
"""

import pytest
from syrupy.assertion import SnapshotAssertion

import gradsmith as gs
from gradsmith._version import __version__

from .programs import PROGRAMS


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_layout(name: str, target: str, snapshot: SnapshotAssertion) -> None:
    source, args = PROGRAMS[name]
    kinds = None if name == "tanh" else ("value",) if name == "values" else ("value_and_grad",)
    f = gs.compile(source, args=args, name=name, target=target, derivatives=kinds, selftest=name == "chain_rule")
    text = "\n".join(f"==== {file}\n{body}" for file, body in f.files.items())
    assert text.replace(f"gradsmith {__version__}", "gradsmith VERSION") == snapshot
