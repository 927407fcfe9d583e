"""What gradsmith does, on one screen: `make demo` runs this file.

An expression and the loss of a small neural network are compiled for Python, NumPy and C. The generated sources are
shown in part, called, made to test themselves, and compared with torch.
"""

import inspect
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.syntax import Syntax

import gradsmith as gs
from gradsmith_runtime import CompilerNotFoundError, find_compiler

console = Console(highlight=False, soft_wrap=True)  # colours on a terminal, plain text elsewhere


def title(text):
    console.print(f"\n[bold]{text}[/bold]\n[dim]{'─' * len(text)}[/dim]")


def show(code, language):
    highlighted = Syntax("", language, theme="ansi_dark", background_color="default").highlight(code)
    highlighted.rstrip()
    console.print(highlighted)


def definition(source, name):
    """One function out of a C file."""
    return re.search(rf"^void {name}\(.*?^}}", source, re.DOTALL | re.MULTILINE)[0]


def z(x, y):
    """z = x*y + y + tanh(x)"""
    return x * y + y + gs.tanh(x)


def loss(W1, b1, W2, b2, x, t):
    """Mean squared error of a two-layer network."""
    h = gs.relu(x @ W1 + b1)
    out = h @ W2 + b2
    return gs.mean((out - t) ** 2)


try:
    compiler, targets = find_compiler(), ("python", "numpy", "c")
except CompilerNotFoundError as error:
    compiler, targets = None, ("python", "numpy")
    console.print(f"[yellow]No C compiler here, so the C is shown but not run:[/yellow] {error}")

shapes = ((4, 3), (3,), (3, 2), (2,), (5, 4), (5, 2))
zs = {t: gs.compile(z, target=t) for t in ("python", "numpy", "c")}
losses = {t: gs.compile(loss, args=shapes, wrt=("W1", "b1", "W2", "b2"), target=t) for t in ("python", "numpy", "c")}

console.print(f"[bold]gradsmith {gs.__version__}[/bold]: source code for gradients")

title("You write a function")
show(inspect.getsource(z), "python")
console.print()
show(inspect.getsource(loss), "python")

title("You get Python that needs nothing but math")
show(inspect.getsource(zs["python"].module.z_value_and_grad), "python")
value, gradient = zs["python"].value_and_grad(2.0, 3.0)
console.print(f"\n>>> z_value_and_grad(2.0, 3.0)\n({value:.4f}, ({gradient[0]:.4f}, {gradient[1]:.4f}))")

title("NumPy that keeps arrays as arrays")
show(inspect.getsource(losses["numpy"].module.loss_value_and_grad), "python")

title("C99 without malloc, globals or a library")
show(definition(zs["c"].source, "z_value_and_grad"), "c")
lines = losses["c"].source.count("\n")
console.print(f"\n(loss.c, the network, has {lines} lines, its self-test included; it works in memory that you own.)")

title("What it costs, in operations")
for f in (zs["python"], losses["numpy"]):
    numbers = [sum(counts.values()) for counts in (f.cost.value, f.cost.value_and_grad)]
    console.print(f"{f.name:<6} value {numbers[0]:>3}   value and gradient {numbers[1]:>3}   ratio {f.cost.ratio:.2f}")

title("Each file tests itself")
with tempfile.TemporaryDirectory() as folder:
    for f in (*zs.values(), *losses.values()):
        where = Path(folder, f.target)
        path = f.save(where)[-1]
        if f.target != "c":
            command = [sys.executable, str(path)]
        elif compiler:
            program = where / f.name
            build = [*compiler.command, f"-D{f.name.upper()}_SELFTEST", str(path), "-o", str(program), "-lm"]
            subprocess.run(build, check=True)
            command = [str(program)]
        else:
            continue
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        console.print(f"{f.target:<8}{path.name:<9}{done.stdout.strip()}")

title("And is compared with torch")
reports = {(f.name, t): f.check(raise_on_error=True) for t in targets for f in (zs[t], losses[t])}
for (name, target), report in sorted(reports.items()):
    worst = max(entry.relative for entry in report.entries)
    numbers = sum(entry.numbers for entry in report.entries)
    console.print(f"{name:<6}{target:<8}{numbers:>5} numbers   worst relative error {worst:.1e}")

rng = np.random.default_rng(0)
point = [rng.normal(size=shape) for shape in shapes]
results = [losses[t].value_and_grad(*point) for t in targets]
for value, gradient in results[1:]:
    np.testing.assert_allclose(value, results[0][0], rtol=1e-13)
    for got, want in zip(gradient, results[0][1], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-15)

names = {"python": "Python", "numpy": "NumPy", "c": "C"}
console.print(f"\n[bold green]{', '.join(names[t] for t in targets)} and torch all agree.[/bold green]")
