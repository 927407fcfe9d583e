"""The examples run as they are, and print the numbers they promise."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from gradsmith_runtime import CompilerNotFoundError, find_compiler

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

pytest.importorskip("torch")


@pytest.fixture
def run(tmp_path: Path):
    """Run an example as a user does, by a Python of its own, in an empty folder; its output."""

    def run(name: str, **environment: str) -> str:
        inherited = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / name)],
            cwd=tmp_path,
            env={**inherited, "PYTHONIOENCODING": "utf-8", **environment},
            capture_output=True,
            encoding="utf-8",
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        return done.stdout

    return run


@pytest.fixture
def output_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run an example in this process, which has loaded torch: that takes longer than most of them."""

    def run(name: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        output, errors = capsys.readouterr()
        assert errors == ""
        return output

    return run


def has_compiler() -> bool:
    try:
        return bool(find_compiler())
    except CompilerNotFoundError:
        return False


def numbers(line: str) -> list[float]:
    return [float(n) for n in re.findall(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", line)]


def line_with(text: str, output: str) -> str:
    found = [line for line in output.splitlines() if text in line]
    assert found, f"no line with {text!r} in:\n{output}"
    return found[0]


def test_every_example_is_tested_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [p.name for p in EXAMPLES.glob("*.py") if f'"{p.name}"' not in source] == []


def test_demo(run) -> None:
    output = run("demo.py")
    assert "def z_value_and_grad(x, y):" in output
    assert "d_W1 = x.T @" in output
    assert "*d_y = 1.0 + x;" in output
    assert "(9.9640, (3.0707, 3.0000))" in output
    targets = "Python, NumPy, C" if has_compiler() else "Python, NumPy"
    assert output.splitlines()[-1] == f"{targets} and torch all agree."
    assert output.count("points agree with") == 2 * len(targets.split(","))
    errors = [numbers(line)[-1] for line in output.splitlines() if "worst relative error" in line]
    assert len(errors) == 2 * len(targets.split(","))
    assert max(errors) < 1e-9
    assert max(map(len, output.splitlines())) <= 110


def test_demo_without_a_compiler(run, tmp_path: Path) -> None:
    output = run("demo.py", CC=str(tmp_path / "no-such-compiler"))
    assert "No C compiler here" in output
    assert output.splitlines()[-1] == "Python, NumPy and torch all agree."


def test_chain_rule(output_of) -> None:
    output = output_of("01_chain_rule.py")
    assert "dy/da = dy/du * du/da = 1 * b = -3" in output
    assert "d_a += d_u * ∂u/∂a = 1.0000 * (-3.0000) = -3.0000" in output
    assert "return value, (b, a, 1.0)" in output
    assert "value 4, gradient (-3.0, 2.0, 1.0)" in output


def test_graph(output_of, tmp_path: Path) -> None:
    output = output_of("02_draw_the_graph.py")
    assert numbers(line_with("d = a*b + a at", output)) == [2, -3, -4]
    assert "dd/da = b + 1 = -2" in output
    assert "dd/db = a     = 2" in output
    assert "%3:f64 = add %2 %0" in output
    mermaid = (tmp_path / "out/02_graph.md").read_text(encoding="utf-8")
    assert mermaid.startswith("```mermaid\nflowchart LR")
    assert 'n0["a<br/>data 2.0000<br/>grad -2.0000"]' in mermaid
    if "no SVG" not in output:
        drawn = (tmp_path / "out/02_graph.svg").read_text(encoding="utf-8")
        assert drawn.startswith("<svg")
        assert "grad &#45;2.0000" in drawn
        assert "d_a" in (tmp_path / "out/02_adjoint.svg").read_text(encoding="utf-8")


def test_tanh(output_of) -> None:
    output = output_of("03_tanh.py")
    for who in ("gradsmith ", "torch ", "by formula"):
        assert numbers(line_with(who, output)) == [9.9640, 3.0707, 3.0000]
    assert "not z = 7.9640 but 9.9640" in output
    assert numbers(line_with("not a slope of", output)) == [3.9640, 3.0707]
    assert numbers(line_with("The slope at x = 20", output))[2] == 1.699342e-17
    assert "ok: 3 outputs" in output


def test_polynomials(output_of) -> None:
    output = output_of("04_polynomials.py")
    assert re.search(r"2, 3 +-5 +4, -6\n", output)
    assert re.search(r"-1.5, 0.5 +2 +-3, -1\n", output)
    assert re.search(r"2 +11 +7\n", output)
    assert re.search(r"-1.5 +-1.25 +0\n", output)
    assert [numbers(line)[0] for line in output.splitlines() if "operations for value and gradient" in line] == [5, 6]


@pytest.mark.slow
def test_digits(output_of, tmp_path: Path) -> None:
    output = output_of("05_digits.py")
    rows = {name: numbers(line_with(name, output)) for name in ("torch  ", "gradsmith, numpy")}
    if has_compiler():
        rows["gradsmith, c"] = numbers(line_with("gradsmith, c", output))
    first, last, accuracy, _ = rows.pop("torch  ")
    assert first > 10 * last
    assert accuracy > 95
    for row in rows.values():
        assert row[:3] == [first, last, accuracy]
        assert row[4] < 1e-14  # the worst difference to torch over all steps
    assert "Every step agrees with torch to rounding." in output
    assert (tmp_path / "out/05_digits.png").read_bytes().startswith(b"\x89PNG")


def test_robot_arm(output_of) -> None:
    output = output_of("06_robot_arm.py")
    rows = [numbers(line) for line in output.splitlines() if line.startswith("(")]
    assert len(rows) == 4
    for _, _, iterations, evaluations, millimetres, *angles in rows:
        assert iterations <= evaluations < 30
        assert millimetres < 0.1
        assert len(angles) == 6
    assert numbers(line_with("Without a gradient", output))[0] > 3 * rows[0][3]
    assert numbers(line_with("The gradient by six angles takes", output)) == [54]
    assert numbers(line_with("and value and gradient together", output))[0] == 57  # no more than 60 was the aim


def test_black_scholes(output_of) -> None:
    output = output_of("07_black_scholes.py")
    hull = {"price": 2.40, "delta": 0.522, "vega": 12.1, "theta": -4.31, "rho": 8.91}  # as printed in the textbook
    for name, want in hull.items():
        generated, closed, difference = numbers(line_with(f"  {name}", output))[-3:]
        assert generated == pytest.approx(want, rel=2e-3)
        assert generated == closed
        assert difference < 1e-13
    assert "ok: 6 outputs" in output


def test_micrograd(output_of) -> None:
    output = output_of("08_micrograd.py")
    for name, want in {"g.data": 24.7041, "a.grad": 138.8338, "b.grad": 645.5773}.items():
        assert numbers(line_with(name, output)) == [want, want]
    assert "337 parameters" in output
    for step, loss, accuracy in ((0, 0.8958441028683222, 50), (99, 0.010978370135492717, 100)):
        row = numbers(line_with(f"step {step:>2}", output))
        assert row[1] == pytest.approx(loss, abs=1e-12)
        assert row[2:] == [accuracy, loss]


def test_rosenbrock(output_of) -> None:
    output = output_of("09_rosenbrock.py")
    assert numbers(line_with("The lower half of the Hessian", output))[0] == 1.0  # 1,999
    steps, to, worst = numbers(line_with("Newton's method:", output))
    assert steps < 20
    assert to == 1.0
    assert worst < 1e-8
    assert numbers(line_with("gradients only:", output))[0] > 3 * steps


def test_gaussian_mixture(output_of) -> None:
    output = output_of("10_gaussian_mixture.py")
    start, fitted, _ = numbers(line_with("mean log-likelihood", output))
    assert fitted > start + 1
    rows = [numbers(line) for line in output.splitlines() if re.match(r" +0\.\d\d ", line)]
    assert len(rows) == 3
    for weight, found, x, y, found_x, found_y in rows:
        assert found == pytest.approx(weight, abs=0.1)
        assert (found_x, found_y) == pytest.approx((x, y), abs=0.2)


def test_bundle_adjustment(output_of) -> None:
    output = output_of("11_bundle_adjustment.py")
    rows, columns, nonzeros, _ = numbers(line_with("Jacobian:", output))
    assert (rows, columns) == (480, 234)
    assert nonzeros == 12 * rows  # nine of a camera and three of a point
    assert numbers(line_with("root mean square", output))[0] > 5
    rest, jacobians, noise = numbers(line_with("the noise is", output))
    assert rest < noise
    assert jacobians < 20


def test_lstm(output_of) -> None:
    output = output_of("12_lstm.py")
    assert numbers(line_with("after   0 updates", output))[1] > 0.3
    assert numbers(line_with("new sequences", output))[0] < 0.02
    rows = [numbers(line) for line in output.splitlines() if re.fullmatch(r" +10+ +\d+ +[\d.]+ +[\d.]+", line)]
    assert [steps for steps, *_ in rows] == [10, 100, 1000]
    lines = [n for _, n, *_ in rows]
    assert max(lines) < 1.5 * min(lines)  # of a hundred times the steps: their products take kernels that pack
    assert rows[-1][2] > 10 * rows[-1][3]  # the workspace, without and with checkpoints


def test_van_der_pol(output_of) -> None:
    output = output_of("13_van_der_pol.py")
    assert numbers(line_with("found", output))[:3] == pytest.approx([5.0, 1.0, 2.0], abs=0.1)
    assert numbers(line_with("found", output))[3] <= numbers(line_with("true", output))[3]  # the noise is fitted, too
    assert numbers(line_with("a gradient takes", output))[-1] < 4
    full, sqrt = (numbers(line)[-1] for line in output.splitlines() if line.startswith("checkpoint="))
    assert sqrt < full / 5


def test_kmeans(output_of) -> None:
    output = output_of("14_kmeans.py")
    costs = [numbers(line)[1] for line in output.splitlines() if re.fullmatch(r" +\d+ +\d+\.\d+", line)]
    assert len(costs) > 2
    assert costs == sorted(costs, reverse=True)
    assert sum(numbers(line_with("Diagonal of the Hessian", output))[:8]) == 2 * 2 * 300


def test_quadrotor(output_of) -> None:
    output = output_of("15_quadrotor.py")
    assert numbers(line_with("unknowns", output)) == [208, 156, 1428]
    rows = [numbers(line) for line in output.splitlines() if re.match(r" +\d\.\d  ", line)]
    assert len(rows) == 16
    assert max(row[5] for row in rows) < 50  # iterations of one plan
    assert rows[-1][6] < rows[0][6] / 100  # the plan's cost
    assert numbers(line_with("from the goal", output))[0] < 0.15
