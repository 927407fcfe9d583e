"""The same program gives the same bytes in any process, with any hash seed, wherever it is installed."""

import os
import re
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
import gradsmith as gs
import numpy as np

x, y, W, v = gs.symbol("x"), gs.symbol("y"), gs.symbol("W", (3, 4)), gs.symbol("v", (4,))
h = gs.tanh(W @ v) * x
programs = {
    "scalar": x * y + y + gs.tanh(x) - gs.where(x > y, gs.sin(x) / y, gs.erf(y)) ** 3,
    "array": gs.logsumexp(h) + gs.sum(gs.softmax(W, axis=1) * y) + W[1, ::2].sum() + gs.prod(v) + gs.max(v),
    "gather": gs.sum(W[[0, 2, 0]] @ v) + v[0] * v[1] + gs.sum(v * np.array([0.1, 0.2, 0.3, 0.4])),
    "text": "x*y + max(x, y)*sigmoid(x)",
    "stable": gs.log(1 + gs.exp(x)) / (1 + gs.exp(-y)) + gs.sqrt(gs.sum(v * v)) + gs.digamma(x) * gs.i0(y) / (x + y),
}
for name, program in programs.items():
    for target in ("python", "numpy", "c"):
        for file, text in gs.compile(program, target=target, name=name).files.items():
            sys.stdout.write(f"==== {target} {file}\\n{text}")
for file, text in gs.compile(programs["array"], target="c", name="single", dtype="float32").files.items():
    sys.stdout.write(f"==== {file}\\n{text}")
"""
SHOWN = """
import gradsmith as gs
from gradsmith.derive.adjoint import adjoint
from gradsmith.show.explain import explain
from gradsmith.as_graph import to_graph
a, b, c = gs.symbols("a b c")
graph = to_graph([a, b, c], [a*b + b*c + gs.sin(a*c)/b])
joint, point = adjoint(graph, graph.inputs), {"a": 1, "b": 2, "c": 3}
print("====", explain(graph, point), joint.to_dot(point=point), joint.to_mermaid(point=point))
"""


def generated(seed: str, tmp_path: Path, program: str = PROGRAM) -> str:
    script = tmp_path / "program.py"
    script.write_text(program, encoding="utf-8")
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    run = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
    return run.stdout


def test_output_is_independent_of_the_hash_seed_and_names_no_path_and_no_date(tmp_path: Path) -> None:
    text = generated("0", tmp_path)
    assert text.count("====") == 22
    assert generated("12345", tmp_path) == text
    assert str(tmp_path) not in text
    assert os.path.expanduser("~") not in text
    assert not re.search(r"20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d", text)
    assert "program.py:" in text


def test_pictures_and_explanations_are_independent_of_the_hash_seed(tmp_path: Path) -> None:
    assert generated("1", tmp_path, SHOWN) == generated("2", tmp_path, SHOWN)
