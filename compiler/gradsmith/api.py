"""The public entry: `compile`, which reads like the pipeline, and the function object it returns."""

from __future__ import annotations

import gc
import itertools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .derive.adjoint import stable_forms
from .derive.derivatives import KINDS, Derived, Kind, Names, derive, families
from .derive.flatness import slopes
from .derive.jacobian import Storage
from .errors import DerivativeError, SpecError, TargetError
from .function import CompiledFunction, Wrt
from .graph import Graph
from .lower.batches import Batching
from .lower.cost import cost
from .lower.lowering import Part, argument, lower
from .lower.patterns import pattern
from .passes.contractions import with_blas
from .passes.form import form
from .passes.lanes import lanes
from .passes.libraries import with_lapack
from .passes.pipeline import prepare
from .passes.retype import retype
from .passes.roll import rolled
from .passes.specialise import size_names
from .passes.stabilise import Rewrites, stabilise
from .passes.strict import check_width
from .passes.strict import strict as in_common
from .passes.summation import SUMMATIONS, Summation
from .passes.unroll import unrolled
from .program import Argument
from .selftest import selftest as make_selftest
from .target import Target, load_target, render
from .trace import Expr
from .tracing import Traced, trace
from .tuning import Tuning
from .types import DTYPES, DType, as_dtype, format_shape
from .verify import verify

__all__ = ["compile"]

_TIERS = ("optimised", "auto")
_DEFAULT = ("value", "grad", "value_and_grad")
_log = logging.getLogger("gradsmith")
#: the option `simd` -> which cells of op records it means
SIMD: Mapping[str, str] = {
    "auto": "simd", "accurate": "simd", "fast": "fast", "libmvec": "libmvec", "sleef": "sleef", "off": "",
}  # fmt: skip
_MARCH = re.compile(r"[A-Za-z0-9][\w.+-]*")


def compile(
    source: Any,
    *,
    args: Any = None,
    wrt: Any = None,
    name: str | None = None,
    target: str | Path = "python",
    derivatives: Sequence[str] | None = None,
    dtype: Any = "float64",
    selftest: bool = True,
    stabilize: bool = True,
    fast_math: bool = False,
    summation: Summation = "default",
    strict: bool = False,
    lapack: bool = False,
    sparse: str | None = None,
    triangle: str | None = None,
    tuning: Tuning | None = None,
    roll: bool = True,
    simd: str = "auto",
    march: str | None = "native",
    batch: bool | str | Sequence[str] = False,
    reduce: str | None = None,
    threads: str | None = None,
    tier: str = "optimised",
    blas: str | None = None,
) -> CompiledFunction:
    """Turn an expression or a function into source code for its value and derivatives.

    Parameters
    ----------
    source: an `Expr` or a pytree of them, a Python function of traced values, a SymPy expression, or text such as
        `"x*y + tanh(x)"` (parsed, never evaluated).
    args: for a function, one entry a parameter: a shape `(3, 4)`, `("n", 64)`, `gs.spec(...)`, an example value, or a
        pytree of these; scalars if left out. For expressions, the symbols (or their names) in the order of the
        arguments.
    wrt: which arguments to differentiate by: a name, a position, a symbol, or a sequence of them; all by default. A
        single one gives the bare gradient, several a tuple, as JAX's `argnums` does.
    name: the generated function's name; the function's own, or "f".
    target: "python", "numpy", "c", or the path of a folder with a `target.toml`.
    derivatives: which functions to emit: any of "value", "grad", "value_and_grad", "jvp", "vjp", "jacobian", "hessian"
        and "hvp". By default the first three where there is one scalar result, and else the value.
    dtype: "float64" or "float32": the type that float64 (what shapes, symbols and numbers are unless they say another)
        stands for in the generated code. Each constant is rounded once.
    selftest: whether the files carry reference values and a test of themselves.
    stabilize: whether formulas that lose digits, such as `log(1 + exp(x))`, give way to stable ones; the result's
        `report` lists them.
    fast_math: whether sums and products with constants may be regrouped and, in C, a product and a sum become one fused
        operation where the CPU has it, and `simd="auto"` means "fast". All change the rounding of results: `x*x - y*y`
        need not be 0 where x is y.
    summation: how `sum` and `mean` add: "default" as is fastest (C in as many strands as vectors have), "pairwise" in
        halves, or "compensated", as exact as if added with twice the digits and rounded once (about six operations an
        element).

    strict: whether the targets python, numpy and c agree to the last bit: the same operations in the same order, and
        the functions of the C library for all (see docs/contract.md). NumPy code becomes slow by it.
    lapack: whether C code leaves the factorizations of larger matrices to LAPACK, for which it has loops of its own
        otherwise. Link it with what `f.libraries` names, as its first lines say. (NumPy code calls LAPACK anyway.)
    sparse: "csr", "csc" or "coo": the code for "jacobian" and "hessian" computes their structural nonzeros only, and
        `f.jacobian` and `f.hessian` give scipy's sparse arrays of that format, one for each pair of leaves, with a row
        for each element of the first and a column for each of the second.
    triangle: "lower" or "upper": only this half of a sparse Hessian, which is symmetric.
    tier: "optimised", or "auto": C code is built at the first call by the fastest compiler there is (tcc, or else
        without optimisation), and once more, well, in the background; calls go over to that build when it is ready.
        `f.tier` says which one runs, `f.wait()` waits for the better one, and terminals and notebooks show a line for
        each. Where there is no compiler, a warning says so, and Python or NumPy code runs.
    tuning: the numbers that depend on the machine, where those measured by us do not suit it: see `gs.Tuning`.
    roll: whether repeated structure, as a Python loop over many elements leaves it, is written as loops (and so is its
        derivative). `f.graph` shows what was traced.
    simd: what computes exp, log, tanh, erf, power and their like inside loops of C code: "accurate" our own functions,
        which stand in the file, which compilers vectorise, and whose errors stay below 1 ULP; "fast" shorter ones of up
        to 4 ULP, whose results may be 0 instead of subnormal; "auto" the first, or with `fast_math` the second;
        "libmvec" glibc's vector functions, where GCC finds them (up to 4 ULP); "sleef" those of the library SLEEF (1
        ULP, erfc 1.5), with which the code is then linked; "off" the C library's for single numbers. See docs/simd.md.
    march: the CPU that a C module built here is for: "native" is this one, None whatever the compiler takes for
        granted, and else what the compiler's -march= understands. Left out where a compiler does not know it.
    batch: whether C code has a function of many points for each kind of derivative, too: `f.value_and_grad_batch(x, y)`
        takes arrays with a first axis of points (see docs/batches.md). True: any argument may have that axis; a name,
        or several: these arguments have it, and all others are shared by the points.
    reduce: "sum": batch functions add up, over the points, the value and what is differentiated by shared arguments
        alone; None gives one of each for each point.
    threads: "openmp": batch functions (or, without `batch`, large loops, products and convolutions) run in several
        threads where the C compiler has OpenMP, with the same results to the last bit for any number of them.
    blas: "cblas": C code leaves products of matrices to `cblas_dgemm` and its kin, for which it has kernels of its own
        otherwise (None). Link it with what `f.libraries` names.

    Raises
    ------
    GradsmithError
        With the op or argument, what was seen, and the remedy.

    >>> import gradsmith as gs
    >>> x, y = gs.symbols("x y")
    >>> f = gs.compile(x*y + y + gs.tanh(x))
    >>> [round(v, 4) for v in (f(2.0, 3.0), *f.grad(2.0, 3.0))]
    [9.964, 3.0707, 3.0]
    """
    if summation not in SUMMATIONS:
        raise SpecError(f"summation={summation!r}: choose from {', '.join(map(repr, SUMMATIONS))}")
    if tier not in _TIERS:
        raise SpecError(f"tier={tier!r}: choose from {', '.join(map(repr, _TIERS))}")
    width = _floating(dtype)
    if simd not in SIMD:
        raise SpecError(f"simd={simd!r}: choose from {', '.join(map(repr, SIMD))}")
    if march is not None and not (isinstance(march, str) and _MARCH.fullmatch(march)):
        raise SpecError(f'march={march!r}: choose "native", None, or what -march= of your compiler takes')

    def without_compiler(other: str) -> CompiledFunction:
        return compile(
            source, args=args, wrt=wrt, name=name, target=other, derivatives=derivatives, dtype=dtype, selftest=False,
            stabilize=stabilize, fast_math=fast_math, summation=summation, strict=strict, sparse=sparse,
            triangle=triangle, tuning=tuning, roll=roll,
        )  # fmt: skip

    with _collector_paused(), stable_forms(stabilize):
        made = _compile(
            source,
            args,
            wrt,
            name,
            target,
            derivatives,
            width,
            selftest,
            stabilize,
            fast_math,
            summation,
            strict,
            lapack,
            _storage(sparse, triangle),
            _tuned(tuning),
            roll,
            SIMD["fast" if simd == "auto" and fast_math else simd],
            march,
            _batch_options(batch, reduce, threads),
            threads is not None,
            tier,
            blas,
        )
    if tier == "auto":
        made._without_compiler = without_compiler
    return made


def _compile(
    source: Any,
    args: Any,
    wrt: Any,
    name: str | None,
    target: str | Path,
    derivatives: Sequence[str] | None,
    dtype: DType,
    selftest: bool,
    stabilize: bool,
    fast_math: bool,
    summation: Summation,
    strict: bool,
    lapack: bool,
    storage: Storage | None,
    tuning: Tuning,
    roll: bool,
    simd: str,
    march: str | None,
    batch: BatchOptions | None,
    threads: bool,
    tier: str,
    blas: str | None,
) -> CompiledFunction:
    """The pipeline: one call for each arrow of its picture (see docs/pipeline.md)."""
    chosen = replace(load_target(target), tuning=tuning, simd="" if strict else simd, march=march)
    if strict:
        chosen = in_common(chosen)
    if lapack:
        chosen = with_lapack(chosen)
    if blas is not None:
        chosen = with_blas(chosen, blas)
    if threads and batch is None:  # points of a batch share the threads
        chosen = _with_threads(chosen)
    _log.debug("tracing")
    traced = trace(source, args, tuning.most_arguments)
    traced = replace(traced, graph=retype(traced.graph, dtype))
    primal = verify(traced.graph)
    _supported(primal, chosen)
    if strict:
        check_width(primal, chosen)
    by = _wrt(wrt, traced)
    kinds = _kinds(derivatives, primal, by)
    if storage is not None:
        _storable(storage, kinds, primal, by, chosen)
    batching = None if batch is None else _batching(batch, traced, by, chosen, storage)
    zeros = (
        _flat(primal, by, traced, named=wrt is not None, asked=derivatives is not None) if kinds != ("value",) else ()
    )
    _log.debug("differentiating %d nodes", len(primal))
    loops = rolled(primal, kinds, chosen, batch=batching is not None) if roll else primal
    stable, rewrites = stabilise(loops) if stabilize else (loops, Rewrites())
    names = Names(traced.leaves, traced.output_names)
    derived = [derive(stable, by.keys, names, family, storage) for family in families(kinds).values()]
    joints = [found.graph for found in derived]
    _log.debug("simplifying %d nodes", sum(map(len, joints)))
    calm = [stabilise(joint) if stabilize and joint is not stable else (joint, Rewrites()) for joint in joints]
    chosen = form(chosen, [graph for graph, _ in calm])
    reports = [rewrites, *(more for _, more in calm)]
    parts = [
        _part(_prepared(graph, chosen, fast_math, summation), traced, found, family, chosen, storage)
        for (graph, _), found, family in zip(calm, derived, families(kinds).values(), strict=True)
    ]
    if batching is not None:
        parts = [
            replace(part, lanes=lanes(graph, part.graph, chosen, fast_math, summation))
            for part, (graph, _) in zip(parts, calm, strict=True)
        ]
    _log.debug("computing reference values for the self-test")
    family = {kind.name: found for found, each in zip(derived, families(kinds).values(), strict=True) for kind in each}
    _log.debug("writing %s code for %d nodes", chosen.name, sum(len(part.graph) for part in parts))
    program = lower(
        parts,
        chosen,
        name=_identifier(traced.name if name is None else name),
        title=_plain(traced.title),
        graph_hash=primal.digest(),
        arguments=len(primal.inputs),
        selftest=make_selftest(primal, by.keys, family) if selftest else None,
        batching=batching,
        contract=fast_math,
    )
    files = render(program, chosen)
    report = Rewrites(dict.fromkeys(r for found in reports for r in found))
    graphs = {kind.name: joint for joint, part in zip(joints, parts, strict=True) for kind in part.kinds}
    entries = {
        kind.name: tuple(block.entries for group in kind.groups for block in found.groups[group])
        for found, family in zip(derived, families(kinds).values(), strict=True)
        for kind in family
    }
    return CompiledFunction(
        program, chosen, files, traced, by, graphs, entries, storage, tier, cost(parts), report, zeros
    )


_FORMATS = ("csr", "csc", "coo")


def _storage(sparse: str | None, triangle: str | None) -> Storage | None:
    if sparse is not None and sparse not in _FORMATS:
        raise SpecError(f"sparse={sparse!r}: choose from {', '.join(map(repr, _FORMATS))}, or None for dense")
    if triangle not in (None, "lower", "upper"):
        raise SpecError(f'triangle={triangle!r}: choose "lower" or "upper", or None for both')
    if triangle is not None and sparse is None:
        raise SpecError(f'triangle={triangle!r} is for sparse Hessians: add sparse="csr", or take np.tril of it')
    return None if sparse is None else Storage(sparse, triangle)


def _storable(storage: Storage, kinds: Sequence[str], primal: Graph, by: Wrt, target: Target) -> None:
    """Refuse options for sparse matrices that nothing asked for has use of."""
    if "pattern" not in target.syntax:
        raise TargetError(
            f"target {target.name!r} cannot write sparse matrices: give [syntax] of its target.toml a line "
            "pattern = …, which defines {name} as an array of {size} integers {values}"
        )
    if not {"jacobian", "hessian"} & set(kinds):
        raise SpecError(
            f"sparse={storage.format!r} is for Jacobians and Hessians, and derivatives={kinds} has neither: add "
            "'jacobian' or 'hessian'"
        )
    types = [primal.node(k).type for k in primal.outputs]
    if "hessian" in kinds and any(t.shape or t.dtype.kind != "float" for t in types):
        raise SpecError(
            f"sparse={storage.format!r}: a Hessian is a matrix for a scalar result only, and here results have shapes "
            f"{', '.join(format_shape(t.shape) for t in types)}: leave sparse= out, or reduce the result"
        )
    if storage.triangle is not None and "hessian" not in kinds:
        raise SpecError(f"triangle={storage.triangle!r} is half of a symmetric matrix: it needs the kind 'hessian'")


@dataclass(frozen=True)
class BatchOptions:
    """The options of batch functions, with the names of the arguments that have points (None: all)."""

    mapped: tuple[str, ...] | None
    summed: bool
    threads: bool


def _batch_options(batch: Any, reduce: Any, threads: Any) -> BatchOptions | None:
    if reduce not in (None, "sum"):
        raise SpecError(f'reduce={reduce!r}: choose "sum", or None for one result for each point')
    if threads not in (None, "openmp"):
        raise SpecError(f'threads={threads!r}: choose "openmp", or None for one thread')
    names = () if isinstance(batch, bool) else _entries(batch)
    if not all(isinstance(name, str) for name in names) or (not names and not isinstance(batch, bool)):
        raise SpecError(f"batch={batch!r}: choose True, False, or names of the arguments that have points")
    if batch is False:
        if reduce is not None:
            raise SpecError(f"reduce={reduce!r} is for functions of many points: add batch=True")
        return None
    return BatchOptions(None if batch is True else names, reduce == "sum", threads == "openmp")


def _with_threads(target: Target) -> Target:
    """`target`, whose code runs large loops in several threads; a `TargetError` if it has no such loops."""
    if "parallel" not in target.syntax:
        raise TargetError(f'threads="openmp" is for C code; target {target.name!r} has no threads: use target="c"')
    return replace(target, threads=True)


def _batching(options: BatchOptions, traced: Traced, by: Wrt, target: Target, storage: Storage | None) -> Batching:
    """The options in positions of inputs; an error where there can be no batch functions."""
    if target.lowering != "loops" or target.returns:
        raise TargetError(
            f"batch={True if options.mapped is None else options.mapped!r}: target {target.name!r} has no functions of "
            'many points: use target="c", or map the function over arrays with gs.vmap'
        )
    if size_names(traced.graph):
        raise SpecError(
            "batch=: a point has a fixed size, and here are named dimensions: give their sizes, or map the function "
            "over arrays with gs.vmap"
        )
    if storage is not None:
        raise SpecError(f"batch=: there are no sparse results for many points: leave sparse={storage.format!r} out")
    leaves = [(p.name, leaf) for p in traced.parameters for leaf in p.paths]
    mapped = set(range(len(leaves)))
    if options.mapped is not None:
        mapped = set()
        for name in options.mapped:
            found = {
                i for i, ((parameter, _), leaf) in enumerate(zip(leaves, traced.leaves, strict=True))
                if name in (parameter, leaf)
            }  # fmt: skip
            if not found:
                known = ", ".join(dict.fromkeys(parameter for parameter, _ in leaves))
                raise SpecError(f"batch={name!r} is no argument: choose from {known or 'none'}")
            mapped |= found
    if options.summed:
        for key in traced.graph.outputs:
            type = traced.graph.node(key).type
            if type.dtype.kind != "float":
                raise SpecError(f'reduce="sum" adds real numbers, and a result is {type.dtype}: return floats only')
    chosen = tuple(traced.graph.inputs.index(k) for k in by.keys)
    return Batching(frozenset(mapped), options.summed, options.threads, chosen)


def _tuned(tuning: Tuning | None) -> Tuning:
    if tuning is not None and not isinstance(tuning, Tuning):
        raise SpecError(f"tuning={tuning!r}: give a gs.Tuning, such as gs.Tuning(stack_work=1024)")
    return Tuning() if tuning is None else tuning


def _floating(dtype: Any) -> DType:
    found = as_dtype(dtype)
    if found.kind != "float":
        raise SpecError(
            f'dtype={dtype!r}: choose "float64" or "float32"; give single arguments another type by gs.spec'
        )
    return found


def _supported(graph: Graph, target: Target) -> None:
    used = {n.type.dtype for n in graph.sorts if not n.bodies}
    missing = sorted(dtype.name for dtype in used if not target.supports(dtype))
    for n in graph.ordered() if graph.has_bodies else ():
        for body in n.bodies.values():
            _supported(body, target)
    if missing:
        raise TargetError(
            f"target {target.name!r} has no {', '.join(missing)} (its types: "
            f'{", ".join(t for t in target.types if t in DTYPES)}): use target="numpy" or target="c"'
        )


#: Objects that are left of a compile, from which on it pays to keep young collections from them: some milliseconds.
_MANY = 50_000


@contextmanager
def _collector_paused() -> Iterator[None]:
    """No searches for reference cycles meanwhile: what we make has none, and looking costs as much as compiling."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            if gc.get_count()[0] > _MANY and not gc.get_freeze_count():
                # What is left goes among the old objects unseen, of which nothing else is known. Else the next two
                # collections would walk through all of it, for a twentieth of the time of compiling each.
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def _kinds(derivatives: Sequence[str] | None, primal: Graph, by: Wrt) -> tuple[str, ...]:
    types = [primal.node(k).type for k in primal.outputs]
    scalar = [t.shape for t in types] == [()]
    if derivatives is None:
        return _DEFAULT if scalar and by.keys else ("value",)
    wanted = _entries(derivatives)
    unknown = [d for d in wanted if d not in KINDS]
    if unknown or not wanted:
        raise SpecError(f"derivatives={derivatives!r}: choose from {', '.join(map(repr, KINDS))}")
    if any(KINDS[d].by for d in wanted) and not by.keys:
        raise DerivativeError(
            "a gradient needs an argument to differentiate by, and there is none: derivatives=('value',)"
        )
    if any(KINDS[d].scalar for d in wanted) and not scalar:
        raise DerivativeError(
            f"a gradient needs one scalar result, but this one has {len(types)} with shapes "
            f"{', '.join(format_shape(t.shape) for t in types)}: reduce it first (gs.sum, gs.mean), or ask for "
            "derivatives=('jacobian',), ('vjp',) or ('value',)"
        )
    return tuple(k for k in KINDS if k in wanted)


def _entries(option: Any) -> tuple[Any, ...]:
    """An option that is one entry, or several in a tuple or list."""
    return tuple(option) if isinstance(option, tuple | list) else (option,)


def _wrt(wrt: Any, traced: Traced) -> Wrt:
    """The inputs to differentiate by, and how their gradients are put back together."""
    names = [p.name for p in traced.parameters]
    entries = _differentiable(traced) if wrt is None else _entries(wrt)
    bare = len(entries) == 1 if wrt is None else not isinstance(wrt, tuple | list)
    if wrt is not None and not entries:
        raise SpecError("wrt=() names no argument: leave it out to differentiate by all, or say derivatives=('value',)")
    dtypes = {k: traced.graph.node(k).type.dtype for k in traced.graph.inputs}
    starts = [0]
    for p in traced.parameters:
        starts.append(starts[-1] + p.tree.size)
    places = {name: i for i, name in reversed([*enumerate(names)])}
    leaves = {name: i for i, name in reversed([*enumerate(traced.leaves)])}
    inputs = traced.graph.inputs
    keys: dict[int, None] = {}
    trees = []
    for entry in entries:
        label = entry.params.get("name") if isinstance(entry, Expr) else entry
        if isinstance(label, int) and not isinstance(label, bool) and -len(names) <= label < len(names):
            label = names[label]
        if isinstance(label, str) and label in places:
            i = places[label]
            found, tree = inputs[starts[i] : starts[i + 1]], traced.parameters[i].tree
        elif isinstance(label, str) and label in leaves:
            i = leaves[label]
            found, tree = inputs[i : i + 1], type(traced.parameters[0].tree)()
        else:
            raise SpecError(f"wrt={entry!r} is no argument: choose from {', '.join(map(str, names)) or 'none'}")
        if any(key in keys for key in found):
            raise SpecError(f"wrt={wrt!r} names {label!r} twice")
        keys.update(dict.fromkeys(found))
        trees.append(tree)
    for key in keys:
        if dtypes[key].kind != "float":
            raise DerivativeError(
                f"wrt: the argument {traced.graph.node(key).params['name']!r} is {dtypes[key]}, and there is no "
                "derivative by integers and booleans: name the floating-point arguments in wrt="
            )
    return Wrt(tuple(keys), tuple(trees), bare)


def _differentiable(traced: Traced) -> list[str]:
    """The parameters that hold floating-point leaves only, which `wrt=None` means."""
    found, at, inputs = [], 0, traced.graph.inputs
    for p in traced.parameters:
        keys = inputs[at : at + len(p.paths)]
        at += len(p.paths)
        if all(traced.graph.node(k).type.dtype.kind == "float" for k in keys):
            found.append(p.name)
    return found


def _flat(primal: Graph, by: Wrt, traced: Traced, named: bool, asked: bool) -> tuple[str, ...]:
    """What is zero because no result has a slope by it, in words; an error where the user asked for just that.

    That is: for each argument that `wrt` names, and for all together where `derivatives` was given.
    """
    found, names = slopes(primal, by.keys), dict(zip(primal.inputs, traced.leaves, strict=True))
    ends = np.cumsum([0, *(tree.size for tree in by.trees)])
    arguments = [by.keys[a:b] for a, b in itertools.pairwise(ends)]
    for text in found.told(names, arguments if named else [by.keys] if asked else []):
        raise DerivativeError(f"{text}; or leave it out of wrt=" if named and len(arguments) > 1 else text)
    return tuple(found.told(names, [[k] for k in by.keys]))


def _prepared(graph: Graph, target: Target, fast_math: bool, summation: Summation) -> Graph:
    """`graph` in the ops of the target, as straight-line code where that is short."""
    short = unrolled(graph, target, fast_math, summation) if any(n.type.shape for n in graph.sorts) else None
    return prepare(graph, target, fast_math, summation) if short is None else short


def _part(
    prepared: Graph,
    traced: Traced,
    derived: Derived,
    family: tuple[Kind, ...],
    target: Target,
    storage: Storage | None,
) -> Part:
    """What is lowered together: the graph, and the names and types of its inputs and outputs."""
    graph, inputs = derived.graph, []
    paths = [path for p in traced.parameters for path in p.paths]
    for key, leaf, path in zip(graph.inputs, traced.leaves, paths, strict=False):  # seeds follow
        inputs.append(_argument(graph, key, leaf, f"{path}, " if path != leaf else "", target))
    for key, seed in zip(graph.inputs[len(paths) :], derived.seeds, strict=True):
        inputs.append(_argument(graph, key, seed.name, f"{seed.what} of {seed.of}, ", target))
    keys = iter(graph.outputs)
    groups = {
        group: tuple(_argument(graph, next(keys), block.name, "", target, memory=True) for block in blocks)
        for group, blocks in derived.groups.items()
    }
    patterns = tuple(
        pattern(block.name, block.entries, storage.format)
        for blocks in derived.groups.values()
        for block in blocks
        if block.entries is not None and storage is not None
    )
    return Part(prepared, tuple(inputs), groups, family, patterns)


def _argument(graph: Graph, key: int, name: str, path: str, target: Target, *, memory: bool = False) -> Argument:
    type = graph.node(key).type
    what = f"{type.dtype} array of shape {format_shape(type.shape)}" if type.shape else f"{type.dtype} scalar"
    return argument(name, type, path + what, target, memory=memory or type.shape != ())


def _identifier(name: str) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        raise SpecError(f"name={name!r} is not an identifier: use letters, digits and _, such as name='f'")
    return name


def _plain(title: str) -> str:
    """The title as it can stand in a docstring and in a comment: one line, no quotes that end it."""
    line = " ".join(title.split()).replace("\\", "/").replace('"""', "'''").replace("*/", "* /")
    line = line.replace("??", "? ?")  # the start of a trigraph
    return (line if len(line) <= 100 else line[:99] + "…").removesuffix('"')
