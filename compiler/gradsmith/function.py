"""What `compile` returns: a callable that knows its source, its graphs, its cost, and how to prove itself.

Calls go to the generated code alone: Python and NumPy sources are imported, C is built into an extension module at the
first call. Arguments and gradients keep the pytree structure of the user's function.
"""

from __future__ import annotations

import logging
import math
import numbers
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gradsmith_runtime import Report, as_torch_function, build_extension, load_python

from .cost import Cost
from .dims import Dim
from .errors import ArgumentError, DerivativeError, GradsmithError, ShapeMismatchError, TargetError
from .graph import Graph
from .passes.specialise import needed_sizes, resolved, specialised
from .passes.stabilise import Rewrites
from .program import Argument, Program
from .pytree import Tree
from .target import Target, render_template
from .tracing import Traced
from .types import format_shape, refuse_narrow

if TYPE_CHECKING:
    from .verification.debug import DebugTwin

__all__ = ["CompiledFunction", "Wrt", "checked_argument"]

_log = logging.getLogger("gradsmith")  # stages at level DEBUG: the command line shows them as its progress line


@dataclass(frozen=True)
class Wrt:
    """What is differentiated by: input keys, the pytree of each entry, and whether a single one comes back bare."""

    keys: tuple[int, ...]
    trees: tuple[Tree, ...]
    bare: bool

    def pack(self, gradients: Sequence[Any]) -> Any:
        """Flat gradients in the structure of the arguments they belong to."""
        packed, at = [], 0
        for tree in self.trees:
            packed.append(tree.unflatten(gradients[at : at + tree.size]))
            at += tree.size
        return packed[0] if self.bare else tuple(packed)


class CompiledFunction:
    """A generated function.

    `f(*args)` is the value; `f.grad` and `f.value_and_grad` are its derivatives, in the structure of the arguments.
    `f.source` and `f.files` are the generated text, `f.save(folder)` writes it, `f.graph` and `f.adjoint` are the
    graphs of the value and of value and gradient, `f.cost` counts operations, `f.report` lists what was rewritten for
    stability, and `f.check()` compares with torch.
    """

    def __init__(
        self,
        program: Program,
        target: Target,
        files: Mapping[str, str],
        traced: Traced,
        wrt: Wrt,
        adjoint: Graph,
        cost: Cost,
        report: Rewrites,
    ) -> None:
        self.name = program.name
        self.target = target.name
        self.files = dict(files)
        self.graph = traced.graph
        self.cost = cost
        self.report = report
        self.inputs = program.inputs
        self._program = program
        self._target = target
        self._traced = traced
        self._wrt = wrt
        self._joint = adjoint
        self._shapes = [traced.graph.node(k).type.shape for k in traced.graph.inputs]
        self._needed = needed_sizes(traced.graph)
        self._leaves_only = all(p.tree.kind is None for p in traced.parameters)

    # --- the text -----------------------------------------------------------------------------------------------

    @property
    def source(self) -> str:
        """The main generated file (for C the `.c` file; its header is in `files`)."""
        return list(self.files.values())[-1]

    @property
    def adjoint(self) -> Graph:
        """The joint graph of value and gradient, as derived (before simplification)."""
        if self._program.grad is None and self._program.value_and_grad is None:
            raise DerivativeError(f"{self.name} was compiled without derivatives")
        return self._joint

    def save(self, folder: str | os.PathLike[str] = ".") -> list[Path]:
        """Write all files into `folder` (made if missing); each appears whole or not at all. Returns their paths."""
        directory = Path(folder)
        directory.mkdir(parents=True, exist_ok=True)
        written = []
        for name, text in self.files.items():
            handle, temporary = tempfile.mkstemp(dir=directory, prefix=f".{name}.")
            try:
                with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
                    stream.write(text)
                os.chmod(temporary, 0o644)
                os.replace(temporary, directory / name)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
            written.append(directory / name)
        return written

    def __str__(self) -> str:
        return self.source

    def __repr__(self) -> str:
        arguments = ", ".join(f"{a.name}{list(a.shape) or ''}" for a in self.inputs)
        kinds = ", ".join(f.kind for f in self._program.functions)
        return f"<gradsmith function {self.name}({arguments}): {kinds}; target {self.target}>"

    def _repr_html_(self) -> str:
        from .show.notebook import to_html

        return to_html(self.name, self.source, self._target.loader or "text", self.graph)

    # --- calls --------------------------------------------------------------------------------------------------

    def __call__(self, /, *args: Any, **named: Any) -> Any:  # an argument may be called self
        """The value at the given arguments."""
        return self._traced.outputs.unflatten(self._run("value", args, named))

    def grad(self, /, *args: Any, **named: Any) -> Any:
        """The gradient at the given arguments: bare for one argument of `wrt`, else a tuple."""
        return self._wrt.pack(self._run("grad", args, named))

    def value_and_grad(self, /, *args: Any, **named: Any) -> tuple[Any, Any]:
        """The value and the gradient, sharing their work."""
        value, *gradients = self._run("value_and_grad", args, named)
        return value, self._wrt.pack(gradients)

    def _run(self, kind: str, args: Sequence[Any], named: Mapping[str, Any]) -> Sequence[Any]:
        function = getattr(self._program, kind)
        if function is None:
            if kind != "value" and not any(f.kind != "value" for f in self._program.functions):
                self._refuse_derivative(kind)
            have = ", ".join(f.kind for f in self._program.functions)
            raise DerivativeError(f"{self.name} was compiled with derivatives={have}; add {kind!r} to them")
        if named or len(args) != len(self._traced.parameters):
            args = self._bound(args, named)
        leaves = list(args) if self._leaves_only else self._leaves(args)
        return self._flat(kind, leaves)

    def _refuse_derivative(self, kind: str) -> None:
        shapes = ", ".join(format_shape(self.graph.nodes[k]["shape"]) for k in self.graph.outputs)
        raise DerivativeError(
            f"{self.name} has no {kind}: it was compiled for values only, with results of shapes {shapes}; a gradient "
            "needs one scalar result (reduce it with gs.sum or gs.mean) and derivatives that include it"
        )

    def _bound(self, args: Sequence[Any], named: Mapping[str, Any]) -> list[Any]:
        names = [p.name for p in self._traced.parameters]
        bound = dict(zip(names, args, strict=False))
        twice = [n for n in named if n in bound]
        unknown = [n for n in named if n not in names]
        missing = [n for n in names if n not in bound and n not in named]
        if len(args) > len(names) or twice or unknown or missing:
            problem = (
                f"got {len(args)} arguments" if len(args) > len(names)
                else f"got {twice[0]!r} twice" if twice
                else f"there is no argument {unknown[0]!r}" if unknown
                else f"missing {', '.join(map(repr, missing))}"
            )  # fmt: skip
            raise ArgumentError(f"{self.name}() takes ({', '.join(names)}): {problem}")
        return [{**bound, **named}[n] for n in names]

    def _leaves(self, args: Sequence[Any]) -> list[Any]:
        leaves: list[Any] = []
        for parameter, value in zip(self._traced.parameters, args, strict=True):
            try:
                leaves += parameter.tree.flatten(value, parameter.name)
            except GradsmithError as error:
                raise ArgumentError(f"{self.name}(): {error}") from None
        return leaves

    def _flat(self, kind: str, leaves: Sequence[Any]) -> Sequence[Any]:
        """Call the generated function on flat leaves; a flat sequence of results."""
        function = self._functions[kind]
        if self._needed or (self._program.sizes and self._target.loader != "c"):  # C code sees by itself what disagrees
            self._sizes_of(leaves)
        if self._target.loader == "c":
            try:
                result = function(*leaves)
            except ValueError as error:
                raise ShapeMismatchError(str(error)) from None
            except (TypeError, OverflowError, RuntimeError) as error:  # the last: a torch tensor that requires grad
                raise ArgumentError(_called(self.name, str(error))) from None
            return result if isinstance(result, tuple) else (result,)
        checked = [
            value
            if type(value) is float and argument.dtype == "float64" and not argument.shape
            else checked_argument(self.name, value, argument)
            for value, argument in zip(leaves, self.inputs, strict=True)
        ]
        if self._target.lowering != "array":  # Python's own floats and lists, which plain Python code is fastest on
            checked = [
                value if type(value) is float else np.asarray(value, dtype=argument.dtype).tolist()
                for value, argument in zip(checked, self.inputs, strict=True)
            ]
        return _flattened(kind, function(*checked), len(self.graph.outputs), len(self._wrt.keys))

    def _at(self, sizes: Mapping[str, int]) -> CompiledFunction:
        """The same function, whose graphs and arguments have these sizes for their named dimensions."""
        fixed = copy(self)
        fixed.graph, fixed._joint = specialised(self.graph, sizes), specialised(self._joint, sizes)
        fixed._traced = replace(self._traced, graph=fixed.graph)
        keys = [fixed.graph.inputs[self.graph.inputs.index(k)] for k in self._wrt.keys]
        fixed._wrt = replace(self._wrt, keys=tuple(keys))
        fixed._shapes = [fixed.graph.node(k).type.shape for k in fixed.graph.inputs]
        fixed.inputs = tuple(
            replace(a, shape=shape, size=math.prod(shape)) for a, shape in zip(self.inputs, fixed._shapes, strict=True)
        )
        return fixed

    def _sizes_of(self, leaves: Sequence[Any]) -> dict[str, int]:
        """The sizes of the named dimensions in a call, after a look at whether all arguments agree on them."""
        found: dict[str, int] = {}
        whose: dict[str, str] = {}
        later = []
        for leaf, argument, wanted in zip(leaves, self.inputs, self._shapes, strict=True):
            seen = np.shape(leaf)
            fits = len(seen) == len(wanted) and all(
                isinstance(w, Dim) or w == s for w, s in zip(wanted, seen, strict=True)
            )
            if not fits:
                raise ShapeMismatchError(
                    f"{self.name}(): argument {argument.name!r} has shape {seen}, expected {format_shape(wanted)}"
                )
            for dim, size in zip(wanted, seen, strict=True):
                if isinstance(dim, Dim) and dim.is_name and dim.name not in found:
                    found[dim.name], whose[dim.name] = size, argument.name
                elif isinstance(dim, Dim):
                    later.append((argument.name, dim, size))
        for name, dim, size in later:
            (there,) = resolved((dim,), found)
            if there != size:
                first = whose[dim.names[0]]
                raise ShapeMismatchError(
                    f"{self.name}(): argument {name!r}: {dim} is {size}, but {first!r} has {dim} = {there}"
                )
        for dim, least, origin in self._needed:
            (there,) = resolved((dim,), found)
            if there < least:
                place = f" (at {origin})" if origin.line else ""
                raise ShapeMismatchError(
                    f"{self.name}(): {dim} is {there}, and must be {least} or more for an element that is read{place}"
                )
        return found

    @cached_property
    def module(self) -> ModuleType:
        """The imported (Python, NumPy) or built (C) module of the generated code."""
        if self._target.loader == "python":
            return load_python(self.source, self.name)
        if self._target.loader == "c":
            glue = render_template(self._target, "module.c.j2", vars(self._program))
            return build_extension({**self.files, f"_gs_{self.name}.c": glue}, f"_gs_{self.name}")
        raise TargetError(
            f"target {self.target!r} generates source only (its target.toml names no loader), so {self.name} cannot be "
            'called from Python: use f.source, f.files or f.save(), or target="python", "numpy" or "c"'
        )

    @cached_property
    def _functions(self) -> dict[str, Callable[..., Any]]:
        return {f.kind: getattr(self.module, f.name) for f in self._program.functions}

    # --- proof --------------------------------------------------------------------------------------------------

    def check(
        self,
        *,
        n: int = 12,
        seed: int = 0,
        domain: Mapping[str, Any] | None = None,
        points: Sequence[Any] = (),
        against: str | None = None,
        order: int = 1,
        rtol: float | None = None,
        atol: float | None = None,
        max_ulp: int | None = None,
        sizes: Mapping[str, int] | Sequence[Mapping[str, int]] | None = None,
        raise_on_error: bool = False,
    ) -> Report:
        """Compare value and gradient with an independent reference at random points, at edge points and at yours.

        Parameters
        ----------
        n, seed: how many random points, and their seed.
        domain: where the numbers of an input lie, strictly between two bounds: `{"x": (0, 10), "params.W": (None, 1)}`.
            Keys are names of arguments or of leaves, or pytree paths; bounds are numbers or arrays; None is open.
        points: further points, each as the arguments of a call.
        against: "torch" (autograd on the traced graph), "mpmath" (50 digits; slopes by differences there) or "finite"
            (NumPy in float64; slopes by extrapolated central differences). By default the first of them that can:
            torch if it is installed and all ops have a torch reference.
        order: 2 compares second derivatives too: at each point the Hessian times a random direction (`d2_x`).
        rtol, atol: the tolerance `atol + rtol*|expected|`; 1e-9 and 1e-12 by default, 1e-4 and 1e-6 for float32
            results, and 1e-6 and 1e-8 against differences.
        max_ulp: a limit in units in the last place besides.
        sizes: sizes of named dimensions, `{"n": 7}` or several such; two sets of small ones by default.
        raise_on_error: raise `MismatchError` with the report unless all is well.

        Where the reference itself has lost digits (torch's slope of a saturated tanh, say), mpmath decides and the
        difference becomes a note; so does one that rounding the inputs explains. The report has the worst absolute,
        relative and ULP error of each output, where it is, and the condition number there; it names the op whose
        derivative rule is wrong, and the op, operands and line where a NaN was born.

        >>> import gradsmith as gs
        >>> x = gs.symbol("x")
        >>> gs.compile(gs.log(x)).check(domain={"x": (0, 10)}, against="mpmath", order=2).ok
        True
        """
        from .verification.check import check

        report = check(
            self, n=n, seed=seed, domain=domain, points=points, against=against, order=order, rtol=rtol, atol=atol,
            max_ulp=max_ulp, sizes=sizes,
        )  # fmt: skip
        if raise_on_error:
            report.raise_on_mismatch()
        return report

    def debug(self, *, stop: Literal["nan", "nonfinite"] = "nonfinite") -> DebugTwin:
        """A twin that is called like `value_and_grad`, and stops at the first NaN or infinity.

        It raises `NonFiniteError`, which names the op, its operands, the variable and your line, and whether it is a
        value or on the way to a cotangent. With `stop="nan"`, infinities pass. A NaN in the branch of a `where` that is
        not taken reaches no result and is no error.

        >>> import gradsmith as gs
        >>> x = gs.symbol("x")
        >>> f = gs.compile(gs.sqrt(x) * 2.0)
        >>> f.debug()(4.0)
        (4.0, 0.5)
        >>> f.debug()(0.0)
        Traceback (most recent call last):
        ...
        gradsmith.errors.NonFiniteError: f: div gives inf: ...
        """
        from .verification.debug import DebugTwin

        return DebugTwin(self, stop)

    def torch_function(self) -> Callable[..., Any]:
        """A function of torch tensors that torch can differentiate: one flat float64 CPU tensor for each input leaf."""
        if self._program.value_and_grad is None:
            raise DerivativeError(f"torch_function() needs {self.name}'s value_and_grad: add it to derivatives=")
        by = [self.graph.inputs.index(k) for k in self._wrt.keys]
        return as_torch_function(lambda *x: tuple(self._flat("value_and_grad", x)), len(self.inputs), by, self.name)

    def explain(self, style: str = "text", /, **point: Any) -> str:
        """The forward and backward steps at a point, with the chain rule spelled out, and SymPy's gradient beside it.

        `style` is "text", "markdown" or "latex"; the point is given by name: `f.explain(x=2.0, y=3.0)`.
        """
        from .show.explain import explain

        return explain(self.graph, point, style=style, name=self.name)  # type: ignore[arg-type]


# kinds of NumPy's dtypes that an argument may have
_FITTING = {"float64": "fiub", "float32": "fiub", "int64": "iub", "int32": "iub", "bool": "b"}


def checked_argument(name: str, value: Any, argument: Argument) -> Any:
    """`value`, if it can be the argument; else an error that names both shapes or the dtype."""
    try:
        if isinstance(value, numbers.Real) and not isinstance(value, np.generic) and argument.dtype[:5] == "float":
            value = float(value)
        array = np.asarray(value)
        refuse_narrow(array.dtype)
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        message = getattr(error, "problem", error)
        raise ArgumentError(f"{name}(): argument {argument.name!r} is no array of real numbers: {message}") from None
    if array.dtype.kind not in _FITTING[argument.dtype] or array.dtype.itemsize > 8:
        raise ArgumentError(
            f"{name}(): argument {argument.name!r} has dtype {array.dtype} ({type(value).__name__}), expected "
            f"{argument.dtype}"
        )
    if argument.dtype[:3] == "int" and array.size and array.dtype.kind != "b":
        limits = np.iinfo(argument.dtype)
        for worst in (array.min(), array.max()):
            if not limits.min <= worst <= limits.max:
                raise ArgumentError(f"{name}(): argument {argument.name!r}: {worst} does not fit {argument.dtype}")
    if argument.is_fixed and array.shape != argument.shape:
        raise ShapeMismatchError(
            f"{name}(): argument {argument.name!r} has shape {array.shape}, expected {argument.shape}"
        )
    return value


def _called(name: str, message: str) -> str:
    return message if message.startswith(name) else f"{name}(): {message}"


def _flattened(kind: str, result: Any, values: int, gradients: int) -> list[Any]:
    """Nested results of Python code (`value, (d_x, d_y)`) as a flat list."""
    if kind == "value_and_grad":
        value, rest = result
        return [value, *(rest if gradients > 1 else [rest])]
    count = values if kind == "value" else gradients
    return list(result) if count > 1 else [result]
