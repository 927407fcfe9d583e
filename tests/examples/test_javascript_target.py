"""A fourth target without a line of Python: `examples/targets/javascript` gives what the Python target gives."""

import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

JAVASCRIPT = Path(__file__).resolve().parents[2] / "examples/targets/javascript"
NODE = shutil.which("node") or ""

needs_node = pytest.mark.skipif(not NODE, reason="node is not installed")

_DRIVER = """
const functions = await import(process.argv[2]);
const calls = JSON.parse(process.argv[3]);
const special = { nan: NaN, inf: Infinity, "-inf": -Infinity };
const number = (x) => Array.isArray(x) ? x.map(number) : special[x] ?? x;
const text = (x) => Array.isArray(x) ? x.map(text) : String(x);
console.log(JSON.stringify(calls.map(([name, args]) => text(functions[name](...number(args))))));
"""


def node(folder: Path, path: Path, calls: list[tuple[str, list[Any]]]) -> list[Any]:
    """Results of calls of exported functions; numbers travel as text, as JSON knows neither NaN nor Infinity."""

    def sent(x: Any) -> Any:
        if isinstance(x, list):
            return [sent(v) for v in x]
        return x if math.isfinite(x) else str(x)

    def received(x: Any) -> Any:
        return [received(v) for v in x] if isinstance(x, list) else float(x)

    driver = folder / "driver.mjs"
    driver.write_text(_DRIVER, encoding="utf-8")
    arguments = [NODE, str(driver), path.as_uri(), json.dumps([(name, sent(args)) for name, args in calls])]
    done = subprocess.run(arguments, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr
    return received(json.loads(done.stdout))


def saved(f: Any, folder: Path) -> Path:
    (path,) = f.save(folder)
    return path


def flat(x: Any) -> list[float]:
    return [v for part in x for v in flat(part)] if isinstance(x, list | tuple) else np.ravel(x).tolist()


def network(W, b, x):
    h = gs.tanh(x @ W + b)
    return gs.mean(h**2) + gs.logsumexp(h) + gs.max(h)


FUNCTIONS: dict[str, tuple[Callable[..., Any], Any, list[list[Any]]]] = {
    "scalars": (lambda x, y: x * y + y + gs.tanh(x), None, [[2.0, 3.0], [-0.4, 1e-3], [20.0, -1.0]]),
    "precedence": (
        lambda x, y: -(((x - y) - (y - x)) ** 2) / (x / (y / x)) - -x * (x + y),
        None,
        [[2.0, 3.0], [-1.0, 0.5]],
    ),
    "choices": (
        lambda x, y: gs.where(((x < y) | (y > 3.0)) & ~(x == y), gs.minimum(x, y) * x, gs.maximum(x, y) + gs.relu(-x)),
        None,
        [[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [4.0, 3.5], [-1.0, -1.0]],
    ),
    "powers": (lambda x, y: x**y + x**3 + x**-2 + 2.0**x, None, [[1.3, 0.7], [2.0, -1.5]]),
    "functions": (
        lambda x: gs.exp(x) + gs.expm1(x) * gs.log1p(x) + gs.sin(x) * gs.atan2(x, 2.0) + gs.sqrt(x) * abs(x - 1.0),
        None,
        [[0.3], [1.7]],
    ),
    "erf": (lambda x: gs.erf(x), None, [[0.1], [-0.5], [2.9], [3.1], [-4.0], [7.0], [0.0]]),
    "activations": (lambda x: gs.sigmoid(x) * gs.softplus(x) + gs.sign(x) * gs.floor(x), None, [[0.3], [-30.5]]),
    "arrays": (
        network,
        ((3, 2), (2,), (3,)),
        [[[[0.1, 0.2], [0.3, -0.4], [0.5, 0.6]], [0.1, -0.1], [1.0, 2.0, 3.0]]],
    ),
}


@needs_node
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients_are_those_of_the_python_target_and_torch(name: str, tmp_path: Path) -> None:
    function, args, points = FUNCTIONS[name]
    python = gs.compile(function, args=args, name=name)
    python.check(raise_on_error=True)  # against torch
    path = saved(gs.compile(function, args=args, name=name, target=JAVASCRIPT), tmp_path)
    kinds = {"": python, "_grad": python.grad, "_value_and_grad": python.value_and_grad}
    calls = [(f"{name}{suffix}", point) for point in points for suffix in kinds]
    wanted = [call(*point) for point in points for call in kinds.values()]
    for (called, point), got, want in zip(calls, node(tmp_path, path, calls), wanted, strict=True):
        np.testing.assert_allclose(flat(got), flat(want), rtol=4e-15, atol=1e-16, err_msg=f"{called}{point}")


@needs_node
def test_results_keep_their_shape(tmp_path: Path) -> None:
    x = gs.symbol("x", (2, 2))
    f = gs.compile({"square": x @ x, "total": gs.sum(x)}, name="f", target=JAVASCRIPT)
    (got,) = node(tmp_path, saved(f, tmp_path), [("f", [[[1.0, 2.0], [3.0, 4.0]]])])
    assert got == [[[7.0, 10.0], [15.0, 22.0]], 10.0]


@needs_node
def test_ieee_754_where_javascript_has_its_own_mind(tmp_path: Path) -> None:
    x, y = gs.symbols("x y")
    nan, inf = math.nan, math.inf
    expressions = {"power": x**y, "least": gs.minimum(x, y), "most": gs.maximum(x, y), "ratio": x / y}
    calls = [[1.0, nan], [1.0, inf], [-1.0, -inf], [nan, 0.0], [nan, 2.0], [2.0, nan], [-1.0, 0.0], [0.0, 0.0]]
    for name, expression in expressions.items():
        f = gs.compile(expression, name=name, target=JAVASCRIPT, derivatives="value")
        got = node(tmp_path, saved(f, tmp_path), [(name, point) for point in calls])
        want = [gs.compile(expression, name=name, target="numpy")(*point) for point in calls]
        np.testing.assert_array_equal(got, np.array(want, dtype=float), err_msg=name)


@needs_node
def test_names_that_javascript_reserves_are_renamed(tmp_path: Path) -> None:
    def function(var, let, await_, process, k):
        const = var * let
        new = gs.exp(const) + process
        return new * gs.sin(const) + await_ + new * k

    f = gs.compile(function, name="function", target=JAVASCRIPT)
    assert "export function function_(var_, let_, await_, process_, k) {" in f.source
    assert "const const_ = var_ * let_;" in f.source
    assert "const new_ = Math.exp(const_) + process_;" in f.source
    point = [0.5, 0.3, 1.0, 2.0, -1.0]
    (got,) = node(
        tmp_path, saved(f, tmp_path), [("function__grad" if "function__grad" in f.source else "function_grad", point)]
    )
    np.testing.assert_allclose(got, gs.compile(function).grad(*point), rtol=1e-14)


@needs_node
@pytest.mark.parametrize("name", ["scalars", "arrays", "choices", "valueOf", "points"])
def test_the_file_tests_itself(name: str, tmp_path: Path) -> None:
    function, args, _ = FUNCTIONS.get(name, FUNCTIONS["scalars"])
    path = saved(gs.compile(function, args=args, name=name, target=JAVASCRIPT), tmp_path)
    good = subprocess.run([NODE, str(path)], capture_output=True, encoding="utf-8", timeout=60)
    assert (good.returncode, good.stderr) == (0, "")
    assert ": 3 points agree with mpmath with 50 digits and with central differences" in good.stdout


@needs_node
@pytest.mark.parametrize(
    ("part", "wrong"),
    [("Math.tanh(x)", "Math.tanh(1.0005 * x)"), ("const d_y = 1.0", "const d_y = 1.0005")],
)
def test_a_tampered_file_fails_its_test(part: str, wrong: str, tmp_path: Path) -> None:
    path = saved(gs.compile(FUNCTIONS["scalars"][0], name="scalars", target=JAVASCRIPT), tmp_path)
    text = path.read_text(encoding="utf-8")
    assert part in text
    path.write_text(text.replace(part, wrong), encoding="utf-8")
    bad = subprocess.run([NODE, str(path)], capture_output=True, encoding="utf-8", timeout=60)
    assert bad.returncode == 1
    assert re.search(r"Error: scalars: (value|gradient): \S+ is not \S+", bad.stderr)


@needs_node
def test_a_large_array_is_tested_along_a_formula(tmp_path: Path) -> None:
    x = gs.symbol("x", (40,))
    f = gs.compile(gs.sum(gs.sin(x) * x), name="large", target=JAVASCRIPT)
    done = subprocess.run([NODE, str(saved(f, tmp_path))], capture_output=True, encoding="utf-8", timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_the_file_runs_nothing() -> None:
    f = gs.compile(gs.symbol("x") ** 2, target=JAVASCRIPT)
    assert list(f.files) == ["f.mjs"]
    assert "import.meta.url === pathToFileURL(" in f.source  # the self-test is for the main program


def test_it_has_no_loader_and_says_what_to_do() -> None:
    f = gs.compile(gs.symbol("x") ** 2, target=JAVASCRIPT)
    with pytest.raises(gs.TargetError, match=r"generates source only.*f\.save"):
        f(2.0)


def test_every_missing_cell_is_named_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "javascript"
    shutil.copytree(JAVASCRIPT, folder)
    manifest = folder / "target.toml"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(re.sub(r"(?m)^(erf|floor) = \"(?!\"\").*\n", "", text), encoding="utf-8")
    x = gs.symbol("x")
    with pytest.raises(gs.TargetError, match=r"cannot write erf, floor: .*\[cells\]"):
        gs.compile(gs.erf(x) + gs.floor(x), target=folder)


def test_cells_cover_what_python_has_without_helpers() -> None:
    """Special functions, which take helper code, and integers are left out; JavaScript has no erfc."""
    from gradsmith.registry import OPS
    from gradsmith.target import load_target

    target = load_target(JAVASCRIPT)
    plain = [op for op in OPS.values() if "python" in op.cells and "python" not in op.support]
    lacking = [op.name for op in plain if op.takes not in ("any", "integers") and not target.writes(op)]
    assert lacking == ["erfc"]
