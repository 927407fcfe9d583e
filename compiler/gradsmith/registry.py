"""The op table: one frozen record holds all that the compiler knows about an op.

In: records, declared once by the modules of `gradsmith.ops` or by a user. Out: `lookup(name)`. Guarantee: nothing else
in the compiler branches on an op's name; what a stage needs to know is a field here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal

import numpy as np

from .dims import Extent
from .errors import TargetError
from .index import Affine, Index
from .types import INT32, DType, Type, same_shape

__all__ = [
    "NEAR", "OPS", "Assembly", "Cell", "Contraction", "Counter", "Cut", "Gather", "Kernel", "Layout", "Length", "Op",
    "Parts", "Reduction", "Region", "Scan", "Scatter", "lookup", "register",
]  # fmt: skip

Params = Mapping[str, Any]
Kind = Literal[
    "leaf", "elementwise", "layout", "reduction", "scan", "contraction", "assembly", "kernel", "composite", "region",
    "part",
]  # fmt: skip

#: How a target writes an op: a template over `{0}`, `{1}` …, or for array code a function of operand texts, params and
#: the operands' types.
Cell = str | Callable[[Sequence[str], Params, Sequence[Type]], str]


@dataclass(frozen=True)
class Layout:
    """Elements move but are not computed: where does element `index` of the result come from?"""

    source: Callable[[Index, Params, Type], Index]


@dataclass(frozen=True)
class Reduction:
    """Elements along `axes` are combined by a binary op, starting from `initial`."""

    combine: str
    initial: float


@dataclass(frozen=True)
class Scan:
    """A running value goes along `axis` (backwards with `reverse`), and the result holds what it is at each place.

    It starts at `initial`. At each place every operand's element is combined with it in turn, operand k by the binary
    op `combine[k]`; so `("mul", "add")` with operands a and b is `y[i] = y[i - 1]*a[i] + b[i]`.
    """

    combine: tuple[str, ...]
    initial: float


@dataclass(frozen=True)
class Contraction:
    """A sum of products over one index `k`: which elements of the two operands meet?"""

    sources: Callable[[Index, Affine, Type, Type], tuple[Index, Index]]
    length: Callable[[Type, Type], Any]


class Parts(tuple[Type, ...]):
    """The types of all parts of an assembly, of which there may be as many as numbers."""

    @cached_property
    def _starts(self) -> dict[int, list[Any]]:
        return {}

    def start(self, part: int, axis: int) -> Any:
        """Where a part begins if they lie one after another along `axis`; found for all of them at once.

        >>> Parts([Type((2, 3)), Type((2, 5)), Type((2, 4))]).start(2, axis=1)
        8
        """
        if axis not in self._starts:
            self._starts[axis] = [*accumulate((t.shape[axis] for t in self), initial=0)]
        return self._starts[axis][part]


@dataclass(frozen=True)
class Assembly:
    """The result is put together from parts: where does element `index` of part number `part` go?

    With `accumulate`, the result starts as zeros and parts are added to it; `places` gives, for each part, the flat
    places of its elements, or None where these are not known yet. Parts that are `apart` have no place in common; else
    a part is written over those before it.
    """

    place: Callable[[int, Index, Params, Parts], Index]
    accumulate: bool = False
    places: Callable[[Params], Sequence[np.ndarray] | None] = lambda params: ()
    apart: bool = False


@dataclass(frozen=True)
class Gather:
    """Elements move, to where run-time integers (operand 1) say.

    `where(index, params, x, indices)` is the place in `indices` that speaks for element `index` of the result, and
    `source(index, place, params, x, indices)` the element of operand 0 that is wanted, given the integer read there.
    """

    source: Callable[[Index, Affine, Params, Type, Type], Index]
    where: Callable[[Index, Params, Type, Type], Index]


@dataclass(frozen=True)
class Scatter:
    """The adjoint of a `Gather`: zeros, with element `index` of operand 0 added at its source."""

    source: Callable[[Index, Affine, Params, Type, Type], Index]
    where: Callable[[Index, Params, Type, Type], Index]


@dataclass(frozen=True)
class Counter:
    """Element `i` of the result is `i`."""


@dataclass(frozen=True)
class Length:
    """The result is the size `params["dim"]`."""


@dataclass(frozen=True)
class Cut:
    """How a support function works on a block of rows: what is cut along the first axis, all at the same places.

    These are the `operands` and the result; or the result is a sum over rows (`adds`), to which each block adds: then
    the last argument of the cell says whether to add (1) to what is in memory, or to replace it (0).
    """

    operands: tuple[int, ...]
    adds: bool = False


@dataclass(frozen=True)
class Kernel:
    """A support function computes the whole result from whole arrays.

    Its cell has the operands, the result, scratch memory if there is any, and then `arguments(*types, params)` in its
    places. `scratch(*types, params)` is how many numbers of the result's dtype the function needs for itself, and
    `integers(*types, params)` how many of int32, which stand behind them. `cut(*types, params)` is how blocks of rows
    can be computed one by one, or None; with `keeps`, one block leaves to the next what is in the scratch memory, where
    the first one finds 0. `stacks(*types)` are the operands of which each matrix makes one of the result, where that is
    a stack of matrices; one can be computed alone. The result may lie in the memory of operand number `replaces`.
    What is `short` can as well be straight-line code.
    """

    arguments: Callable[..., tuple[Any, ...]]
    scratch: Callable[..., Extent] | None = None
    integers: Callable[..., int] | None = None
    cut: Callable[..., Cut | None] = lambda *operands: None
    stacks: Callable[..., tuple[int, ...]] = lambda *types: ()
    replaces: int | None = None
    keeps: bool = False
    short: bool = False

    def memory(self, dtype: DType, *operands: Any) -> list[tuple[DType, Extent]]:
        """What the function needs for itself, for a result of `dtype`: dtype and size of each array."""
        both = ((dtype, self.scratch), (INT32, self.integers))
        return [(each, size(*operands)) for each, size in both if size is not None]


@dataclass(frozen=True)
class Region:
    """Structured control flow: bodies (graphs among the params) that run many times, or one of which runs.

    `run(interpret, numbers, args, params)` is what it computes, on any kind of number: `interpret(body, inputs)` are a
    body's outputs, and `numbers.stack(values, type)` puts the results of steps along a new first axis.
    `steps(params)` is how often a body runs, at most.
    """

    run: Callable[..., tuple[Any, ...]]
    steps: Callable[[Params], Any]


Structure = (
    Layout | Reduction | Scan | Contraction | Assembly | Gather | Scatter | Counter | Length | Kernel | Region | None
)


@dataclass(frozen=True, eq=False)
class Op:
    """All there is to know about one op.

    Parameters
    ----------
    name, arity: identity; arity None means any number of operands.
    infer: `infer(*types, **params) -> Type`, raising ShapeError on misfits.
    evaluate: the op on NumPy arrays, NumPy's semantics; layout ops also take arrays of objects.
    kind, structure: how the lowering treats it.
    takes: what each operand is converted to; one word serves all. "float", "number" (integers stay integers), "same"
        (booleans stay as well) and "integers" (floats are refused) are promoted to one dtype in common; "int" and
        "bool" stand alone; "any" stays as it is.
    vjp: `vjp(g, y, *xs, **params)`, cotangents of the operands as traced operators; None where no gradient flows.
        An op without a rule is differentiated through `expand`.
    jvp: `jvp(tangents, y, *xs, **params)`, the tangent of the result from those of the operands (None where there is
        none), for ops where it takes less than what follows from `vjp`; None where the result has no tangent.
    linear: whether the result is linear in all floating-point operands together, so that the op on the tangents is
        the tangent of the op. Layout and assembly always are.
    mixes: axes of the last operand, where that alone varies: an element of the result depends on all elements along
        them, and on none elsewhere. For ops whose rule is the op again, which does not tell a Jacobian's pattern.
    tame: whether a cotangent of 0 always passes through the rule as 0, because no slope is ever inf or NaN.
    flat: `flat(y, *xs, **params)`, a condition: where it holds the slope is 0 by choice, as that of abs is at 0, and
        nothing passes, not even an infinite cotangent.
    choice: whether the result is operand 1 where operand 0 holds, and operand 2 elsewhere.
    loops: whether it takes loops over arrays, itself or what it expands to, so that straight-line code has none of it.
    needs: `needs(*types, **params)`, pairs (size, least): sizes known by name must be that large at run time.
    expand: the op as a composition of others, for derivatives and for targets without a cell.
    expands_in_rule: whether the rule computes the expansion on the way, so that the value can share it.
    own_rule: whether the derivative rule is another than that of the expansion, which then must not be differentiated.
    batch: `batch(op, xs, mapped, size, params)`, the op on many elements at once (see ops/_batch.py), where that does
        not follow from the kind: element-wise ops as they are; layout, assembly, reduction and scan with params that
        count one axis more. Where there is no rule, or it gives None, what is differentiated through `expand` is
        expanded; all else is mapped by a loop.
    cells: target -> how to write it; `target.float32`, `target.int` … come first for operands of that dtype or kind.
    statements: target -> `f(name, operands, params, types)`, for an op that takes several statements.
    support: target -> helper code its cell calls, one text or several that other ops may share (lines "import …" go to
        the file's top); `target.float32` as in cells.
    libraries: what C code is linked with, for the functions that its cell calls: names as the linker's -l takes them.
    raises: whether Python's cell may raise, given the operands that are constants (None for the others).
    torch: dotted name under `torch` (or a function of the module, operands and params): the reference of the tests.
    mp: the op on mpmath numbers (element-wise ops). sympy: the op on SymPy expressions.
    symbol: what a drawing shows; slope: the local derivative in words, for `explain` and the docs.
    operands: what formula and slope call the operands, where not `x y z`; domain: where the result is a finite real
        number, where that is no condition on one operand at a time. Both for the docs.
    samples, edges: operand tuples for the tests: generic points and special ones; `edge_notes` documents them.
    """

    name: str
    arity: int | None
    infer: Callable[..., Type]
    evaluate: Callable[..., Any]
    kind: Kind
    structure: Structure = None
    takes: str | tuple[str, ...] = "float"
    commutative: bool = False
    vjp: Callable[..., tuple[Any, ...]] | None = None
    jvp: Callable[..., Any] | None = None
    linear: bool = False
    mixes: tuple[int, ...] = ()
    tame: bool = False
    flat: Callable[..., Any] | None = None
    choice: bool = False
    loops: bool = False
    needs: Callable[..., Sequence[tuple[Any, int]]] | None = None
    expand: Callable[..., Any] | None = None
    expands_in_rule: bool = False
    own_rule: bool = False
    batch: Callable[..., Any] | None = None
    cells: Mapping[str, Cell] = field(default_factory=dict)
    statements: Mapping[str, Callable[..., Sequence[str]]] = field(default_factory=dict)
    support: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    libraries: Sequence[str] = ()
    raises: Callable[..., bool] = lambda *constants: True
    torch: str | Callable[..., Any] | None = None
    mp: str | Callable[..., Any] | None = None
    sympy: str | Callable[..., Any] | None = None
    symbol: str = ""
    slope: str = ""
    operands: str = ""
    domain: str = ""
    cost: Callable[..., Mapping[str, int]] | None = None
    samples: Sequence[tuple[Any, ...]] = ()
    edges: Sequence[tuple[float, ...]] = ()
    edge_notes: Mapping[str, str] = field(default_factory=dict)
    doc: str = ""

    @cached_property
    def is_plain(self) -> bool:
        """Whether operands that are floats of one type are taken as they are, and give a result of that type."""
        return self.kind == "elementwise" and self.infer is same_shape and self.takes in ("float", "number", "same")

    def __reduce__(self) -> tuple[Any, ...]:  # a record is its name: its functions have none
        return _named, (self.name,)


class _Ops(dict[str, Op]):
    """The op table; asking for what is not there is an error that says so."""

    def __missing__(self, name: str) -> Op:
        raise TargetError(f"there is no op named {name!r}; `gradsmith ops` lists them") from None


OPS: dict[str, Op] = _Ops()


def _named(name: str) -> Op:
    return OPS[name]


#: the end of the key of a vector kernel's cell that tells, in a variable, of an argument beyond its range
NEAR = "near"


def register(op: Op) -> Op:
    """Add a record to the table; a name can be taken once."""
    if op.name in OPS:
        raise TargetError(f"an op named {op.name!r} exists already: choose another name")
    OPS[op.name] = op
    return op


#: The record of the op of a name. It is asked for at every node by every step, so it is the table's own method.
lookup: Callable[[str], Op] = OPS.__getitem__
