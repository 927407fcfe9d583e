"""What the conformance tests share: run generated code of every target, ask torch, and measure the distance.

C functions are built many at a time, as one translation unit, and called through ctypes: a compiler run costs more than
everything else here. (The extension module that users get is tested in tests/runtime.)
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gradsmith as gs
from gradsmith.evaluate import evaluate, evaluate_torch
from gradsmith.function import CompiledFunction
from gradsmith.graph import Graph
from gradsmith.target import load_target
from gradsmith.verification.differences import widened

torch.set_num_threads(1)

EPS = float(np.finfo(np.float64).eps)
TINY = float(np.finfo(np.float64).tiny)
TARGETS = ("python", "numpy", "c")
LOOPS = "python loops"  # the target python, made to write loops
COMPILERS = tuple(c for c in ("gcc", "clang") if shutil.which(c))
FLAGS = ("-std=c99", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-shared")

SCALARS: dict[str, Any] = {
    "float64": ctypes.c_double,
    "float32": ctypes.c_float,
    "int64": ctypes.c_int64,
    "int32": ctypes.c_int32,
    "bool": ctypes.c_int,
}
WORDS = {"double": "float64", "float": "float32", "int64_t": "int64", "int32_t": "int32", "int": "int32"}

Leaves = Sequence[Any]
Run = Callable[[str, Leaves], list[np.ndarray]]  # ("value" | "grad" | "value_and_grad", arguments) -> flat results

# The first operand is an order: 1, 2, 3.
ORDERED = (
    "besseli_over", "besselj_over", "erfc_ratio", "i0e_derivative", "polygamma", "polygamma_difference",
    "sinc_derivative",
)  # fmt: skip


def run_python(f: CompiledFunction) -> Run:
    """How to call `f` with target python or numpy: flat arguments to flat results, through the public interface."""

    def flat(tree: Any) -> list[Any]:
        return [leaf for part in tree for leaf in flat(part)] if isinstance(tree, tuple) else [tree]

    def run(kind: str, leaves: Leaves) -> list[np.ndarray]:
        function = {"value": f, "grad": f.grad, "value_and_grad": f.value_and_grad}[kind]
        return [np.asarray(leaf) for leaf in flat(function(*leaves))]

    return run


def unset(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Memory that shows when nothing was written to it."""
    return np.full(shape, np.nan if dtype.startswith("float") else -77, dtype=dtype)


def one_text(f: CompiledFunction) -> str:
    """A C program as one text: the header in the place where it is included."""
    source, include = f.files[f"{f.name}.c"], f'#include "{f.name}.h"\n'
    assert include in source
    return source.replace(include, f.files[f"{f.name}.h"])


def joined(texts: Sequence[str]) -> list[str]:
    """The texts of one unit for each tuning of the kernels of products: a file each took longer than the compiler.

    Code for several threads is by itself: behind it, other kernels are refused, and behind other kernels it has one.
    """
    threads = [text for text in texts if "#define GS_THREADS 1" in text]
    if 0 < len(threads) < len(texts):
        return [*joined([text for text in texts if text not in threads]), *joined(threads)]
    units: dict[str, list[str]] = {}
    for text in texts:
        found = re.search(r"#define GS_TUNING_\w+", text)
        units.setdefault(found.group() if found else "", []).append(text)
    plain = units.pop("", [])
    first, *others = units.values() or [[]]
    return ["".join([*plain, *first]), *map("".join, others)]


class Library:
    """Many C programs, built into one shared library; `library[name]` calls the program `name`."""

    def __init__(
        self, functions: Mapping[str, CompiledFunction], compiler: str, folder: Path, level: str = "-O1"
    ) -> None:
        self._functions = {f.name: f for f in functions.values()}
        assert len(self._functions) == len(functions), "the names of the programs must differ"
        self._keys = {key: f.name for key, f in functions.items()}
        folder.mkdir(parents=True, exist_ok=True)
        units = []
        for number, text in enumerate(joined([one_text(f) for f in self._functions.values()])):
            units.append(folder / f"all{number or ''}.c")
            units[-1].write_text(text)
        library = folder / f"all_{compiler}.so"
        linked = dict.fromkeys(f"-l{name}" for f in self._functions.values() for name in f.libraries)
        done = subprocess.run(
            [compiler, *FLAGS, *level.split(), *map(str, units), "-o", str(library), *linked, "-lm"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self._library = ctypes.CDLL(str(library))

    def __getitem__(self, key: str) -> Run:
        return functools.partial(self._run, self._functions[self._keys[key]])

    def _run(self, f: CompiledFunction, kind: str, leaves: Leaves) -> list[np.ndarray]:
        function = getattr(f._program, kind)
        call = getattr(self._library, function.name)
        call.restype = None
        arguments: list[Any] = []
        kept = []
        for argument, leaf in zip(function.inputs, leaves, strict=True):
            array = np.array(leaf, dtype=argument.dtype, order="C")
            assert array.shape == argument.shape
            kept.append(array)
            arguments.append(SCALARS[argument.dtype](array.item()) if argument.is_scalar else array.ctypes)
        results = [unset(a.shape, a.dtype) for a in function.outputs]
        kept += [unset((work.size,), WORDS[work.ctype]) for work in function.work]
        arguments += [r.ctypes for r in (*results, *kept[len(function.inputs) :])]
        call.argtypes = [SCALARS[a.dtype] if a.is_scalar else ctypes.c_void_p for a in function.inputs] + [
            ctypes.c_void_p
        ] * (len(arguments) - len(function.inputs))
        call(*arguments)
        return results


@dataclass(frozen=True)
class Reference:
    """What torch says: the result (all of it), its contraction to a scalar, and the gradients of first and second order."""

    result: np.ndarray
    value: np.ndarray
    gradient: list[np.ndarray]
    second: list[np.ndarray]


def ask_torch(graph: Graph, leaves: Leaves, first: np.ndarray, second: Sequence[np.ndarray]) -> Reference:
    """`result = graph(leaves)`, `value = sum(first*result)`, its gradient, and the gradient of `sum(second*gradient)`.

    All in float64, also for a graph of float32, so that the reference is much the more exact one.
    """
    graph = widened(graph)
    tensors = [as_tensor(graph, k, v) for k, v in zip(graph.inputs, leaves, strict=True)]
    floats = [t for t in tensors if t.requires_grad]
    result = evaluate_torch(graph, tensors)[graph.outputs[0]]
    value = (torch.tensor(first) * result).sum()
    gradient = _gradients(value, floats)
    total = sum((torch.tensor(w) * g).sum() for w, g in zip(second, gradient, strict=True))
    return Reference(_array(result), _array(value), [*map(_array, gradient)], [*map(_array, _gradients(total, floats))])


def as_tensor(graph: Graph, key: int, leaf: Any) -> Any:
    """A leaf as torch's, in the dtype of the graph's input; floats ask for a gradient."""
    dtype = graph.nodes[key]["dtype"]
    return torch.tensor(np.asarray(leaf, dtype=dtype.name), requires_grad=dtype.kind == "float")


def torch_value_and_grad(graph: Graph, leaves: Leaves, wrt: Sequence[int] | None = None) -> list[np.ndarray]:
    """The value of a scalar graph and its gradient by the inputs `wrt` (numbers), by torch and its autograd."""
    tensors = [as_tensor(graph, k, v) for k, v in zip(graph.inputs, leaves, strict=True)]
    value = evaluate_torch(graph, tensors)[graph.outputs[0]]
    wanted = [tensors[i] for i in (range(len(tensors)) if wrt is None else wrt)]
    return [_array(value), *map(_array, _gradients(value, wanted))]


def disagreement(graph: Graph, leaves: Leaves, wrt: Sequence[int], got: Sequence[np.ndarray]) -> float:
    """How far value and gradient are from torch's, over the largest of all numbers (so cancellation is forgiven).

    Where torch's gradient is NaN because the untaken side of a `where` poisons it, central differences stand in for it.
    """
    want = torch_value_and_grad(graph, leaves, wrt)
    numbers = np.concatenate([np.ravel(w) for w in want])
    scale = max(1.0, float(np.max(np.abs(numbers[np.isfinite(numbers)]), initial=0.0)))
    worst = abs(float(got[0]) - float(want[0])) / scale
    for i, a, b in zip(wrt, got[1:], want[1:], strict=True):
        if a.shape != b.shape:
            return np.inf
        for place in np.ndindex(b.shape):
            if np.isnan(b[place]):
                slope = central_difference(graph, leaves, i, place)
                worst = max(worst, 1e-5 * abs(a[place] - slope) / scale)
            else:
                worst = max(worst, abs(a[place] - b[place]) / scale)
    return worst if worst == worst else np.inf


def central_difference(graph: Graph, leaves: Leaves, i: int, place: tuple[int, ...], step: float = 1e-6) -> float:
    """A derivative from two values of the graph, by NumPy."""
    sides = []
    for h in (step, -step):
        moved = [np.array(x, dtype=np.float64) for x in leaves]
        moved[i][place] += h
        sides.append(float(evaluate(graph, moved)[graph.outputs[0]]))
    return (sides[0] - sides[1]) / (2 * step)


def _array(tensor: Any) -> np.ndarray:
    return np.array(tensor.detach().numpy(force=True), dtype=np.float64)


def _gradients(value: Any, tensors: Sequence[Any]) -> Sequence[Any]:
    if not getattr(value, "requires_grad", False):
        return [torch.zeros_like(t) for t in tensors]
    return torch.autograd.grad(value, tensors, create_graph=True, allow_unused=True, materialize_grads=True)


def weights(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Fixed weights that float64 holds exactly and that are neither zero nor equal."""
    k = np.arange(int(np.prod(shape, dtype=int))) + 3 * seed
    return (((k * 5) % 11 - 5.5) / 4).reshape(shape)


def contracted(y: gs.Expr, by: np.ndarray) -> gs.Expr:
    """`sum(by * y)`."""
    return y * float(by) if y.shape == () else gs.sum(y * by)


def distance(got: np.ndarray, want: np.ndarray, scale: Any = 0.0, dtype: str = "float64") -> float:
    """The worst error, in units of eps*max(|want|, scale): 0 for equal NaNs and infinities, inf for other mismatches.

    Results below the normal range are compared in units of the smallest normal number. `dtype` is that of the result,
    to which what is wanted is rounded first where that overflows.
    """
    got, want = np.asarray(got, dtype=np.float64), np.asarray(want, dtype=np.float64)
    if got.shape != want.shape:
        return np.inf
    info = np.finfo(dtype)
    with np.errstate(all="ignore"):
        narrow = want.astype(dtype).astype(np.float64)
        want = np.where(np.isfinite(narrow), want, narrow)
        unit = float(info.eps) * np.maximum(np.maximum(np.abs(want), scale), float(info.tiny))
        error = np.abs(got - want) / unit
    equal = (got == want) | (np.isnan(got) & np.isnan(want))
    odd = ~equal & ~(np.isfinite(got) & np.isfinite(want))
    return float(np.max(np.where(odd, np.inf, np.where(equal, 0.0, error)), initial=0.0))


@dataclass(frozen=True)
class Program:
    """One function under test: its graph, the compiled forms, and how to run each."""

    compiled: Mapping[str, CompiledFunction]  # "python" and "python loops" (not for float32), "numpy", "c"

    @property
    def graph(self) -> Graph:
        return next(iter(self.compiled.values())).graph


@functools.cache
def python_loops() -> Path:
    """The target python, which writes all code as loops over flat lists."""
    folder = Path(tempfile.mkdtemp()) / "python"
    atexit.register(shutil.rmtree, folder.parent)
    shutil.copytree(load_target("python").folder, folder)
    manifest = (folder / "target.toml").read_text()
    (folder / "target.toml").write_text(re.sub(r"(?m)^longest = .*", "longest = -1", manifest))
    return folder


def manifests() -> dict[str, str | Path]:
    """What `gs.compile` takes as target for each of the targets, and for Python's loops."""
    return {"python": "python", LOOPS: python_loops()} | {t: t for t in TARGETS[1:]}


def compiled(
    expression: Any,
    inputs: Sequence[gs.Expr],
    name: str,
    *,
    targets: Sequence[str] = (*TARGETS, LOOPS),
    **options: Any,
) -> Program:
    """`expression` of `inputs` for those of `targets` that have its dtype.

    Without arrays, Python's loops are the target python once more (test_python_loops), and are left out.
    """
    found: dict[str, CompiledFunction] = {}
    for target, manifest in manifests().items():
        if target not in targets or (target in ("python", LOOPS) and options.get("dtype") == "float32"):
            continue
        if target == LOOPS and "python" in found and not any(n.type.shape for n in found["python"].graph.ordered()):
            continue
        found[target] = gs.compile(expression, args=inputs, target=manifest, name=name, selftest=False, **options)
    return Program(found)


def one_of(targets: Sequence[str], k: int) -> tuple[str]:
    """The target whose turn it is: for what is one graph for all targets, of which each then writes its share."""
    return (targets[k % len(targets)],)


def joint(expression: gs.Expr, inputs: Sequence[gs.Expr], name: str, **options: Any) -> Program:
    """A scalar `expression`, as `compiled`, for tests that read no function but the one for value and gradient."""
    try:
        return compiled(expression, inputs, name, derivatives=("value_and_grad",), **options)
    except gs.DerivativeError:  # no slope by anything, which is none that one asks for
        return compiled(expression, inputs, name, **options)


class Runners:
    """How to run a set of programs on every target: `runners.all(key)` yields (target, run) pairs."""

    def __init__(
        self,
        programs: Mapping[str, Program],
        folder: Path,
        compilers: Sequence[str] = COMPILERS,
        level: str | None = None,
    ) -> None:
        self._programs = programs
        functions = {k: p.compiled["c"] for k, p in programs.items() if "c" in p.compiled}
        levels = {c: level or ("-O1" if c == "gcc" else "-O0") for c in compilers}  # two ways, and one of them quick
        self._libraries = {c: Library(functions, c, folder, levels[c]) for c in compilers}

    def __contains__(self, key: str) -> bool:
        return key in self._programs

    def all(self, key: str) -> list[tuple[str, Run]]:
        """Every target that program `key` was compiled for, with the function that runs it there."""
        program = self._programs[key]
        found = [(t, run_python(program.compiled[t])) for t in ("python", LOOPS, "numpy") if t in program.compiled]
        libraries = self._libraries if "c" in program.compiled else {}
        return found + [(c, library[key]) for c, library in libraries.items()]
