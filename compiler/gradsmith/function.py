"""What `compile` returns: a callable that knows its source, its graphs, its cost, and how to prove itself.

Calls go to the generated code alone: Python and NumPy sources are imported, C is built into an extension module at the
first call. Arguments and gradients keep the pytree structure of the user's function.
"""

from __future__ import annotations

import os
import tempfile
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from gradsmith_runtime import (
    Guard,
    SlowTierWarning,
    Tiers,
    guarded,
    load_python,
    quick_compiler,
)
from gradsmith_runtime.notices import outside

from . import batch_calls, proofs
from .c_builds import Built, build, built_of, tiers_of
from .calls import (
    KINDS_CALLED,
    LONGEST_GUARDED,
    Form,
    bound,
    checked_argument,
    directions,
    flat_call,
    form_of,
    given_leaves,
    guard_of,
    linked,
    sequence_of,
    sizes_in_call,
    without_out,
    written,
)
from .cost import Cost
from .derive.derivatives import KINDS
from .derive.jacobian import Entries, Storage
from .errors import (
    ArgumentError,
    CompilerNotFoundError,
    DerivativeError,
    ShapeMismatchError,
    TargetError,
)
from .forwarding import First, Kept, redirect
from .graph import Graph
from .lower.order import with_few_waiting
from .passes.specialise import needed_sizes, resolved, specialised
from .passes.stabilise import Rewrites
from .program import Function, Program
from .pytree import Tree
from .sparse_results import scipy_arrays
from .target import Target
from .tracing import Traced
from .types import Shape, format_shape

if TYPE_CHECKING:
    pass

__all__ = ["CompiledFunction", "Wrt", "checked_argument"]

_OWN = (
    "_loaded",
    "_tiers",
    "_functions",
    "_linked",
    "_forms",
    "_stand_in",
    "_without_compiler",
)  # what belongs to one object in one process


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


class CompiledFunction(partial[Any]):
    """A generated function.

    `f(*args)`, or `f.value(*args)`, is the value; `f.grad`, `f.value_and_grad`, `f.jvp`, `f.vjp`, `f.jacobian`,
    `f.hessian` and `f.hvp` are its derivatives, as far as it was compiled with them, in the structure of arguments
    and results.
    `f.source` and `f.files` are the generated text, `f.save(folder)` writes it, `f.graph` and `f.adjoint` are the
    graphs of the value and of value and gradient, `f.cost` counts operations, `f.report` lists what was rewritten for
    stability, `f.zeros` says which gradients are zero because only piecewise constant ops read an argument, and
    `f.check()` compares with torch.

    All but `vjp` take `out=`: arrays in the structure of the result (None for what is to be made anew), which are
    written into and returned. They must be writable, C-contiguous, of the result's dtype and shape, and share no memory
    with arguments or each other; the array of a single number has the shape ().

    With the C target, the first call builds the extension module; from then on `f.grad` and its like are built-in
    functions, and no Python code runs in a call. `f(...)` passes one more C function: `functools.partial`, the class of
    the standard library that forwards a call, is what this class derives from.

    `f` can be pickled, and so can `f.grad` and its like, for other processes to call. But once Python code has run,
    those of flat arguments are plain functions, which pickle cannot take (cloudpickle can): take them from `f` there.

    >>> import gradsmith as gs
    >>> import numpy as np
    >>> f = gs.compile(lambda v: gs.sum(v * v), args=((3,),), target="c")
    >>> place = np.empty(3)
    >>> f.grad([1.0, 2.0, 3.0], out=place) is place
    True
    >>> place
    array([2., 4., 6.])
    """

    # The callables of each kind, once they are linked: attributes of this sort are found fastest. Until then,
    # `__getattr__` makes callables that find them by themselves.
    __slots__ = {  # noqa: RUF023 - the order of the sentence above
        "value": "The value at the given arguments; calls it a little faster than the function itself.",
        "grad": "The gradient at the given arguments: bare for one argument of `wrt`, else a tuple.",
        "value_and_grad": "The value and the gradient, sharing their work.",
        "jvp": "The value at `primals`, and how it changes along `tangents`: as `jax.jvp`.",
        "jacobian": "The Jacobian: in the place of each leaf of the value, the structure of the arguments of `wrt`.",
        "hessian": "All second derivatives: the structure of the arguments of `wrt` twice.",
        "hvp": "The Hessian at `primals` times a vector, in the structure of the gradient.",
    }
    value: Callable[..., Any]
    grad: Callable[..., Any]
    value_and_grad: Callable[..., Any]
    jvp: Callable[..., Any]
    jacobian: Callable[..., Any]
    hessian: Callable[..., Any]
    hvp: Callable[..., Any]
    _without_compiler: Callable[[str], CompiledFunction]  # with `tier="auto"`: the same function for another target

    def __new__(cls, *args: Any, **named: Any) -> CompiledFunction:
        return super().__new__(cls, First())

    def __init__(
        self,
        program: Program,
        target: Target,
        files: Mapping[str, str],
        traced: Traced,
        wrt: Wrt,
        derived: Mapping[str, Graph],
        entries: Mapping[str, Sequence[Entries | None]],
        storage: Storage | None,
        tier: str,
        cost: Cost,
        report: Rewrites,
        zeros: Sequence[str] = (),
    ) -> None:
        self.name = program.name
        self.target = target.name
        self.files = dict(files)
        self.graph = traced.graph
        self.cost = cost
        self.report = report
        self.zeros = tuple(zeros)
        self.inputs = program.inputs
        self._program = program
        self._target = target
        self._traced = traced
        self._wrt = wrt
        self._derived = derived
        self._entries = entries
        self._storage = storage
        self._tier = tier
        self._shapes = _shapes(self.graph, derived)
        self._needed = needed_sizes(traced.graph)
        self._leaves_only = all(p.tree.kind is None for p in traced.parameters)
        redirect(self, First(weakref.ref(self)))

    # --- the text -----------------------------------------------------------------------------------------------

    @property
    def source(self) -> str:
        """The main generated file (for C the `.c` file; its header is in `files`)."""
        return list(self.files.values())[-1]

    @property
    def workspace(self) -> dict[str, Any]:
        """The bytes of workspace that each C function takes from its caller, by kind (0 on other targets).

        With named dimensions, these are polynomials in the sizes as the code names them.

        >>> import gradsmith as gs
        >>> f = gs.compile(lambda x: gs.sum(gs.exp(gs.exp(x))), args=((1000,),), target="c")
        >>> f.workspace
        {'value': 0, 'grad': 0, 'value_and_grad': 0}
        """
        width = {
            ctype: np.dtype("intc" if name == "bool" else name).itemsize
            for name, ctype in self._target.types.items()
            if name[-1] != "]"
        }
        return {f.kind: sum(w.size * width[w.ctype] for w in f.work) for f in self._program.functions}

    @property
    def libraries(self) -> tuple[str, ...]:
        """What C code is linked with besides `m`, in this order: names as the linker's -l takes them.

        >>> import gradsmith as gs
        >>> f = gs.compile(gs.linalg.det(gs.symbol("a", (64, 64))), target="c", lapack=True)
        >>> f.libraries
        ('lapack', 'blas')
        """
        return self._program.libraries

    @property
    def adjoint(self) -> Graph:
        """The joint graph of value and gradient, as derived (before simplification)."""
        for kind in ("value_and_grad", "grad"):
            if kind in self._derived:
                return self._derived[kind]
        raise DerivativeError(f"{self.name} was compiled without derivatives of one scalar result (a gradient)")

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

    def __getattr__(self, name: str) -> Any:
        if name in KINDS_CALLED:
            return Kept(self, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __copy__(self) -> CompiledFunction:
        """A copy of which nothing is linked yet."""
        made = CompiledFunction.__new__(CompiledFunction)
        made.__dict__.update(self.__dict__)
        redirect(made, First(weakref.ref(made)))
        return made

    def __reduce__(self) -> Any:
        return _Pickled(self.__dict__).__reduce__()

    # What follows is called until a kind of function is linked, and where it cannot be.

    def _value(self, /, *args: Any, **named: Any) -> Any:  # an argument may be called self
        """The value at the given arguments."""
        return self._call("value", args, named)

    def _grad(self, /, *args: Any, **named: Any) -> Any:
        """The gradient at the given arguments: bare for one argument of `wrt`, else a tuple."""
        return self._call("grad", args, named)

    def _value_and_grad(self, /, *args: Any, **named: Any) -> tuple[Any, Any]:
        """The value and the gradient, sharing their work."""
        return self._call("value_and_grad", args, named)  # type: ignore[no-any-return]

    def _jvp(self, /, *args: Any, **named: Any) -> tuple[Any, Any]:
        """The value at `primals`, and how it changes along `tangents`: as `jax.jvp`.

        Parameters
        ----------
        primals: a tuple of all arguments.
        tangents: a tuple of one entry for each argument of `wrt`, of its structure.

        >>> import gradsmith as gs
        >>> x, y = gs.symbols("x y")
        >>> gs.compile(x * y, derivatives="jvp").jvp((2.0, 3.0), (1.0, 10.0))
        (6.0, 23.0)
        """
        return self._call("jvp", args, named)  # type: ignore[no-any-return]

    def _jacobian(self, /, *args: Any, **named: Any) -> Any:
        """The Jacobian: in the place of each leaf of the value, the structure of the arguments of `wrt`.

        A leaf has the shape of the value's leaf and then the argument's, as `jax.jacobian(f, argnums=wrt)` has.

        >>> import gradsmith as gs
        >>> x, y = gs.symbols("x y")
        >>> gs.compile([x * y, x + y], derivatives="jacobian").jacobian(2.0, 3.0)
        [(3.0, 2.0), (1.0, 1.0)]
        """
        return self._call("jacobian", args, named)

    def _hessian(self, /, *args: Any, **named: Any) -> Any:
        """All second derivatives: the structure of the arguments of `wrt` twice, as `jax.hessian(f, argnums=wrt)`.

        >>> import gradsmith as gs
        >>> x, y = gs.symbols("x y")
        >>> gs.compile(x**2 * y, derivatives="hessian").hessian(3.0, 5.0)
        ((10.0, 6.0), (6.0, 0.0))
        """
        return self._call("hessian", args, named)

    def _hvp(self, /, *args: Any, **named: Any) -> Any:
        """The Hessian at `primals` times a vector, in the structure of the gradient; the Hessian is never formed.

        `primals` and `tangents` are as for `jvp`.

        >>> import gradsmith as gs
        >>> x, y = gs.symbols("x y")
        >>> gs.compile(x**2 * y, derivatives="hvp").hvp((3.0, 5.0), (1.0, 10.0))
        (70.0, 6.0)
        """
        return self._call("hvp", args, named)

    def vjp(self, /, *primals: Any, **named: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
        """The value, and a function from its cotangent to those of the arguments of `wrt`: as `jax.vjp`.

        The function takes the structure of the value, and returns a tuple of one entry for each argument of `wrt`.
        Nothing is stored for it: the generated code computes the value again, with the cotangents.

        >>> import gradsmith as gs
        >>> x, y = gs.symbols("x y")
        >>> value, back = gs.compile({"sum": x + y, "product": x * y}, derivatives="vjp").vjp(2.0, 3.0)
        >>> value, back({"sum": 1.0, "product": 10.0})
        ({'sum': 5.0, 'product': 6.0}, (31.0, 21.0))
        """
        outputs, count = self._traced.outputs, len(self.graph.outputs)
        nodes = [self.graph.node(k) for k in self.graph.outputs]

        def found(cotangents: Sequence[Any]) -> Sequence[Any]:
            floats = [c for c, n in zip(cotangents, nodes, strict=True) if n.type.dtype.kind == "float"]
            return self._run("vjp", primals, named, floats)

        def back(cotangent: Any) -> tuple[Any, ...]:
            leaves = given_leaves(self.name, "the cotangent", outputs, cotangent)
            packed = replace(self._wrt, bare=False).pack(found(leaves)[count:])
            return packed  # type: ignore[no-any-return]

        sizes = self._sizes_of(self._leaves(self._bound(primals, named))) if self._program.sizes else {}
        value = found([np.zeros(resolved(n.type.shape, sizes)) for n in nodes])[:count]
        return outputs.unflatten(value), back

    # --- many points at a time ----------------------------------------------------------------------------------

    value_batch = batch_calls.value_batch
    grad_batch = batch_calls.grad_batch
    value_and_grad_batch = batch_calls.value_and_grad_batch
    jacobian_batch = batch_calls.jacobian_batch
    hessian_batch = batch_calls.hessian_batch
    jvp_batch = batch_calls.jvp_batch
    vjp_batch = batch_calls.vjp_batch
    hvp_batch = batch_calls.hvp_batch

    def _stored(self, kind: str, blocks: Sequence[Any]) -> Sequence[Any]:
        """Nonzeros as scipy's sparse arrays, if it was compiled so."""
        if self._storage is None:
            return blocks
        return scipy_arrays(f"{self.name}.{kind}", self._storage, blocks, self._entries[kind])

    def _form(self, kind: str) -> Form:
        if kind not in self._forms:
            traced, wrt = self._traced, self._wrt
            self._forms[kind] = form_of(
                kind, self.name, traced.parameters, traced.outputs, wrt.trees, wrt.bare, self._wrt_names
            )
        return self._forms[kind]

    @cached_property
    def _forms(self) -> dict[str, Form]:
        """The forms that were asked for: batches ask at each call."""
        return {}

    @property
    def _wrt_names(self) -> list[str]:
        return [self.inputs[self.graph.inputs.index(k)].name for k in self._wrt.keys]

    @cached_property
    def _linked(self) -> dict[str, Callable[..., Any]]:
        """Callables of the generated module that stand for methods of this object; from now on, they do."""
        found: dict[str, Callable[..., Any]] = {}
        if self._target.loader == "python":
            kinds = {f.name: f.kind for f in self._program.functions}
            entered = guarded(self.module, self._guards(), with_few_waiting)
            found = {kinds[name]: function for name, function in entered.items()}
            for kind, function in found.items():
                setattr(self, kind, function)
        pickled = _Pickled(self.__dict__)
        for emitted in self._program.functions if self._target.loader == "c" and not self._needed else ():
            kind = emitted.kind
            if not self._is_direct(kind):
                continue
            doc = getattr(CompiledFunction, f"_{kind}").__doc__
            reduced = _holding, (pickled, kind, self.name)
            found[kind] = linked(self.module, emitted.name, self.name, doc, self._form(kind), reduced)
            setattr(self, kind, found[kind])
        if "value" in found:
            redirect(self, found["value"])
            self._forward(self)
        return found

    def _forward(self, function: partial[Any]) -> None:
        """Let `function`, whose calls go to a function of the C module, be called without partial's detour."""
        if self._target.loader == "c":
            self.module.gs_forward(function)

    def _is_direct(self, kind: str) -> bool:
        """Whether what the generated code returns is what the user gets (of sparse matrices, it returns nonzeros)."""
        return kind in KINDS_CALLED and (self._storage is None or kind not in ("jacobian", "hessian"))

    @property
    def _is_settled(self) -> bool:
        """Whether what runs now is what goes on running."""
        if self._tiers is None:
            return True
        self._tiers.start()
        return self._tiers.tier == "optimised"

    def _call(self, kind: str, args: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """Call a kind of function; by Python code, unless it is linked."""
        if self._program.function(kind) is None:
            self._refuse(kind)
        if self._stand_in is not None:
            return getattr(self._stand_in, kind)(*args, **named)
        if self._is_settled and kind in self._linked:
            return self._linked[kind](*args, **named)
        form = self._form(kind)
        named, out = without_out(form.names, named)
        seeds: Sequence[Any] = ()
        if form.names == ("primals", "tangents"):
            primals, tangents = self._bound(args, named, form.names)
            args, named = sequence_of(self.name, "primals", primals), {}
            seeds = directions(self.name, self._wrt.trees, self._wrt_names, tangents)
        results = self._run(kind, args, named, seeds)
        if kind in ("jacobian", "hessian"):
            results = self._stored(kind, results)
        return written(self.name, form.gives, results, out, args)

    def _run(
        self, kind: str, args: Sequence[Any], named: Mapping[str, Any], seeds: Sequence[Any] = ()
    ) -> Sequence[Any]:
        if self._program.function(kind) is None:
            self._refuse(kind)
        if named or len(args) != len(self._traced.parameters):
            args = self._bound(args, named)
        leaves = list(args) if self._leaves_only else self._leaves(args)
        return self._flat(kind, [*leaves, *seeds] if seeds else leaves)

    def _refuse(self, kind: str) -> NoReturn:
        have = ", ".join(f.kind for f in self._program.functions)
        if KINDS[kind].scalar and have == "value":
            shapes = ", ".join(format_shape(self.graph.node(k).type.shape) for k in self.graph.outputs)
            raise DerivativeError(
                f"{self.name} has no {kind}: it was compiled for values only, with results of shapes {shapes}; a "
                "gradient needs one scalar result (reduce it with gs.sum or gs.mean) and derivatives that include it"
            )
        raise DerivativeError(f"{self.name} was compiled with derivatives={have}; add {kind!r} to them")

    def _bound(self, args: Sequence[Any], named: Mapping[str, Any], names: Sequence[str] = ()) -> list[Any]:
        """Arguments in the order of the parameters, which are called `names`, or as the user's function calls them."""
        return bound(self.name, names or [p.name for p in self._traced.parameters], args, named)

    def _leaves(self, args: Sequence[Any]) -> list[Any]:
        named = zip(self._traced.parameters, args, strict=True)
        return [leaf for p, value in named for leaf in given_leaves(self.name, p.name, p.tree, value)]

    def _flat(self, kind: str, leaves: Sequence[Any]) -> Sequence[Any]:
        """Call the generated function on flat leaves; a flat sequence of results."""
        if self._stand_in is not None:
            return self._stand_in._flat(kind, leaves)
        function = self._functions[kind]
        if self._needed or (self._program.sizes and self._target.loader != "c"):  # C code sees by itself what disagrees
            self._sizes_of(leaves, kind)
        if self._target.loader == "c":
            result = self._entered(function, leaves)
            return result if isinstance(result, tuple) else (result,)
        return flat_call(self.name, function, self._emitted[kind], leaves, self._target.lowering != "array")

    def _entered(self, function: Callable[..., Any], leaves: Sequence[Any], **options: Any) -> Any:
        """What a function of the C module returns, whose errors become ours."""
        try:
            return function(*leaves, **options)
        except ValueError as error:
            raise ShapeMismatchError(str(error)) from None
        except (TypeError, OverflowError, RuntimeError) as error:  # the last: a torch tensor that requires grad
            raise ArgumentError(_called(self.name, str(error))) from None

    def _at(self, sizes: Mapping[str, int]) -> CompiledFunction:
        """The same function, whose graphs and arguments have these sizes for their named dimensions."""
        fixed = copy(self)
        fixed.graph = specialised(self.graph, sizes)
        fixed._derived = {kind: specialised(graph, sizes) for kind, graph in self._derived.items()}
        fixed._traced = replace(self._traced, graph=fixed.graph)
        keys = [fixed.graph.inputs[self.graph.inputs.index(k)] for k in self._wrt.keys]
        fixed._wrt = replace(self._wrt, keys=tuple(keys))
        fixed._shapes = _shapes(fixed.graph, fixed._derived)
        types = [fixed.graph.node(k).type for k in fixed.graph.inputs]
        fixed.inputs = tuple(
            replace(a, shape=type.shape, size=type.size) for a, type in zip(self.inputs, types, strict=True)
        )
        return fixed

    def _sizes_of(self, leaves: Sequence[Any], kind: str = "") -> dict[str, int]:
        """The sizes of named dimensions in a call; `leaves` are arguments, and then seeds of that kind of function."""
        inputs = self._emitted[kind].inputs if kind else self.inputs
        return sizes_in_call(self.name, inputs, self._shapes[kind], self._needed, leaves)

    @property
    def module(self) -> ModuleType:
        """The imported (Python, NumPy) or built (C) module of the generated code; that of the tier that runs."""
        if self._stand_in is not None:
            return self._stand_in.module
        if self._tiers is None:
            return self._loaded
        self._tiers.start()
        assert self._tiers.module is not None
        return self._tiers.module

    @cached_property
    def _loaded(self) -> ModuleType:
        if self._target.loader == "python":
            return load_python(self.source, self.name)
        if self._target.loader == "c":
            return build(self._built)
        raise TargetError(
            f"target {self.target!r} generates source only (its target.toml names no loader), so {self.name} cannot be "
            'called from Python: use f.source, f.files or f.save(), or target="python", "numpy" or "c"'
        )

    def _guards(self) -> dict[str, Guard]:
        """How functions of Python code are entered that can stand for methods of this object, by their names there."""
        if self._target.lowering == "array" or self._program.sizes or len(self.source) > LONGEST_GUARDED:
            return {}
        asked = {f: self._form(f.kind) for f in self._program.functions if self._is_direct(f.kind)}
        found = {f.name: guard_of(self.name, f, form) for f, form in asked.items()}
        return {name: guard for name, guard in found.items() if guard is not None}

    @cached_property
    def _built(self) -> Built:
        return built_of(self._program, self._target, self.files)

    @cached_property
    def _tiers(self) -> Tiers | None:
        if self._tier != "auto" or self._target.loader != "c":
            return None
        return tiers_of(self._program, lambda: self._built)

    @cached_property
    def _stand_in(self) -> CompiledFunction | None:
        """The same function in Python or NumPy, for `tier="auto"` where there is no C compiler at all."""
        make = self.__dict__.get("_without_compiler")  # which no pickle has
        if make is None or self._tiers is None:
            return None
        try:
            quick_compiler()
        except CompilerNotFoundError as error:
            if os.environ.get("CC"):  # what the user asks for is not silently replaced
                raise
            made: CompiledFunction = make("numpy" if self._program.has_arrays else "python")
            warnings.warn(
                f"{self.name} runs as {made.target} code, which is slower, as there is no C compiler: {error}",
                SlowTierWarning,
                stacklevel=outside(),
            )
            return made
        return None

    @property
    def tier(self) -> str:
        """Which build of C code calls run: "quick", or "optimised" (what Python and NumPy code always is).

        With `tier="auto"` and no C compiler, it is the name of the target that stands in, "python" or "numpy".
        """
        if self._stand_in is not None:
            return self._stand_in.target
        return "optimised" if self._tiers is None else self._tiers.tier

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the optimised build is there, or for `timeout` seconds; whether it is.

        With `tier="auto"`, an error of that build is raised here; without, the build takes place now.

        >>> import gradsmith as gs
        >>> f = gs.compile("x*x", target="c", tier="auto")
        >>> f(3.0), f.tier in ("quick", "optimised")
        (9.0, True)
        >>> f.wait(), f.tier
        (True, 'optimised')
        """
        if self._stand_in is not None:
            return False
        if self._tiers is not None:
            return self._tiers.wait(timeout)
        return bool(self._functions)

    @cached_property
    def _emitted(self) -> dict[str, Function]:
        return {f.kind: f for f in self._program.functions}

    @cached_property
    def _functions(self) -> dict[str, Callable[..., Any]]:
        if self._tiers is not None:
            self._tiers.start()
            return self._tiers.functions  # which changes when the optimised build is there
        return {f.kind: getattr(self.module, f.name) for f in self._program.functions}

    # --- proof --------------------------------------------------------------------------------------------------

    check = proofs.check
    debug = proofs.debug
    torch_function = proofs.torch_function
    explain = proofs.explain


# --- pickles --------------------------------------------------------------------------------------------------------


class _Pickled:
    """What a compiled function is pickled as: a callable of it has this, not the function, which has the callable."""

    __slots__ = ("_state",)

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._state = {k: v for k, v in state.items() if k not in _OWN}

    def __reduce__(self) -> Any:
        # some fields of the target are functions; they were for writing the code
        target = replace(self._state["_target"], cells={}, support={})
        return _restored, ({**self._state, "_target": target},)


def _restored(state: dict[str, Any]) -> CompiledFunction:
    """A compiled function from a pickle."""
    made = CompiledFunction.__new__(CompiledFunction)
    made.__dict__.update(state)
    redirect(made, First(weakref.ref(made)))
    return made


def _holding(function: CompiledFunction, kind: str, name: str) -> SimpleNamespace:
    """An object with a callable of a function as its attribute, from which pickles of built-in functions take it."""
    return SimpleNamespace(**{name: getattr(function, kind)})


def _shapes(graph: Graph, derived: Mapping[str, Graph]) -> dict[str, list[Shape]]:
    """What shapes the inputs of each kind of function have, in the user's names; those of the arguments alone at ""."""
    return {kind: [g.node(k).type.shape for k in g.inputs] for kind, g in {"": graph, **derived}.items()}


def _called(name: str, message: str) -> str:
    return message if message.startswith(name) else f"{name}(): {message}"
