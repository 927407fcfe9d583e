"""Tracing: the values users compute with, and the function that records each op on them.

In: symbols, numbers and NumPy arrays. Out: `Expr` objects, immutable nodes of a DAG that `to_graph` turns into a
`Graph` and `to_exprs` back. Guarantees: nothing recurses; there is no global graph, so expressions are freed when
the user drops them; broadcasting and dtype conversion become explicit nodes here, so no derivative rule handles them.
"""

from __future__ import annotations

import builtins
import itertools
import numbers
import operator
import reprlib
import struct
import unicodedata
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from . import registry
from .errors import DTypeError, ShapeError, SpecError, TraceError
from .graph import Graph, Node, freeze_key, intern_key, new_tuple
from .origin import NOWHERE, Origin, caller_origin, described
from .registry import Op
from .types import (
    BOOL,
    FLOAT64,
    INT32,
    INT64,
    Dim,
    DType,
    Shape,
    Type,
    as_dtype,
    broadcast_shapes,
    normalize_shape,
    promote,
    refuse_narrow,
    same_shape,
)

__all__ = [
    "Expr", "Recording", "as_expr", "between", "closed", "constant", "next_serial", "op", "recording", "symbol",
    "symbols", "to_exprs", "to_graph",
]  # fmt: skip

_serial = itertools.count()


@dataclass
class Recording:
    """What `apply` does besides making nodes, inside the compiler: share equal nodes, rewrite, set the origin.

    `apart` tells that no other recording was open meanwhile, so that all nodes made are `interned` here, once each.
    """

    origin: Origin = NOWHERE
    interned: dict[object, Expr] = field(default_factory=dict)
    rewrite: Callable[[Expr], Expr | None] | None = None
    apart: bool = True

    def record(
        self,
        op: Op,
        args: tuple[Expr, ...],
        params: Mapping[str, Any],
        type: Type,
        origin: Origin,
        settled: bool = False,
    ) -> Expr:
        """The node that is equal to this one, or else a new one, or what `rewrite` has for it, unless `settled`."""
        key: object
        if not params and len(args) == 2:  # as most nodes are; their type follows
            first, second = args[0].serial, args[1].serial
            key = (op.name, second, first) if second < first and op.commutative else (op.name, first, second)
        elif not params and len(args) == 1:
            key = op.name, args[0].serial
        elif op.name == "constant" and params["value"].__class__ is float:  # the most frequent of what has params
            key = _DOUBLE(params["value"]), type.shape, type.dtype
        else:
            serials = [*map(_SERIAL, args)]
            if op.commutative:
                serials.sort()
            key = op.name, tuple(serials), freeze_key(params) if params else None, type.shape, type.dtype
        found = self.interned.get(key)
        if found is None:
            found = Expr(op, args, params, type, origin)
            if self.rewrite is not None and not settled:
                replacement = self.rewrite(found)
                if replacement is not None:
                    same = replacement.type is type or replacement.type == type
                    assert same, f"{op.name}: {type} was rewritten to {replacement.type}"
                    found = replacement
            self.interned[key] = found
        return found


_recording: ContextVar[Recording | None] = ContextVar("recording", default=None)


@contextmanager
def recording(rewrite: Callable[[Expr], Expr | None] | None = None) -> Iterator[Recording]:
    """While open, equal nodes are one `Expr`, and `rewrite` (an `Expr` or None for "no change") sees each new one."""
    state, outer = Recording(rewrite=rewrite), _recording.get()
    if outer is not None:
        outer.apart = False
    token = _recording.set(state)
    try:
        yield state
    finally:
        _recording.reset(token)


if TYPE_CHECKING:

    def _binary(self: Expr, other: Any) -> Expr: ...
    def _unary(self: Expr) -> Expr: ...
    def _reduction(self: Expr, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Expr: ...
    def _layout(self: Expr, *arguments: Any) -> Expr: ...


class Expr:
    """A traced value: a scalar or an array that will be computed by the generated code.

    Supports Python's arithmetic, comparison and logical operators, `@`, indexing and slicing with static indices,
    and the array attributes `shape`, `ndim`, `size`, `dtype`, `T`. `x[key] = v` and `x += v` change what the object
    stands for, with NumPy's aliasing, and never a node. Text conversion shows the expression's type; the value does not
    exist before the generated code runs, so `if`, `float()` and the like raise `TraceError`.
    """

    __slots__ = ("__weakref__", "args", "memory", "op", "origin", "params", "serial", "type")

    def __init__(
        self, op: Op, args: tuple[Expr, ...], params: Mapping[str, Any], type: Type, origin: Origin = NOWHERE
    ) -> None:
        self.op = op
        self.args = args
        self.params = params
        self.type = type
        self.origin = origin
        self.serial = next(_serial)
        self.memory: Any = None  # what it is a name of, once it was changed in place: see ops/memory.py

    if TYPE_CHECKING:  # bound by ops/operators.py, from the op table
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _binary
        __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _binary
        __pow__ = __rpow__ = __matmul__ = __rmatmul__ = __lt__ = __le__ = __gt__ = __ge__ = _binary
        __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _binary
        __lshift__ = __rlshift__ = __rshift__ = __rrshift__ = _binary
        __neg__ = __pos__ = __abs__ = __invert__ = _unary
        sum = mean = prod = max = min = _reduction
        reshape = transpose = _layout
        T: Expr
        mT: Expr

        def __eq__(self, other: Any) -> Expr: ...  # type: ignore[override]
        def __ne__(self, other: Any) -> Expr: ...  # type: ignore[override]
        def __round__(self, ndigits: int | None = None) -> Expr: ...
        def __getitem__(self, key: Any) -> Expr: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...
        def present(self) -> Expr: ...

    @property
    def shape(self) -> Shape:
        return self.type.shape

    @property
    def ndim(self) -> int:
        return len(self.type.shape)

    @property
    def size(self) -> Any:
        return self.type.size

    @property
    def dtype(self) -> DType:
        """The element type, which is also the string that names it."""
        return self.type.dtype

    @property
    def name(self) -> str | None:
        """The user's name of this value: a symbol's own, or the variable it was assigned to."""
        return self.params["name"] if self.op.name == "input" else self.origin.name

    def op_call(self, *args: Any, **params: Any) -> Expr:
        """The same op on other operands."""
        return apply(self.op, args, params)

    def __repr__(self) -> str:
        label = self.name or self.op.name
        return f"<gs.Expr {label}: {self.type}>"

    __hash__ = object.__hash__

    def __bool__(self) -> NoReturn:
        _concrete_needed(
            self, "if, and, or, not, while, bool()", "use gs.where(condition, a, b), or & | ~ on conditions"
        )

    def __float__(self) -> NoReturn:
        _concrete_needed(
            self, "float()", f"keep the value traced and use gs.* functions (gs.exp, not math.exp){_STORED}"
        )

    def __int__(self) -> NoReturn:
        _concrete_needed(self, "int()", "keep the value traced; use gs.floor for rounding")

    def __index__(self) -> NoReturn:
        _concrete_needed(self, "an index or range()", "index with static ints")

    def __complex__(self) -> NoReturn:
        _concrete_needed(self, "complex()", "gradsmith computes with real numbers")

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        _concrete_needed(self, "a NumPy array", f"put values together with gs.stack or np.array([…], like=x){_STORED}")

    def __divmod__(self, other: Any) -> tuple[Expr, Expr]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Expr, Expr]:
        return other // self, other % self

    def __contains__(self, _: object) -> NoReturn:
        _concrete_needed(self, "`in`", "compare element by element and reduce")

    def __len__(self) -> int:
        if not self.shape:
            raise TraceError(f"{_describe(self)} is a scalar and has no len()")
        first = self.shape[0]
        if isinstance(first, Dim):
            raise TraceError(
                f"{_describe(self)} has the named length {first.name!r}, unknown while tracing: x.shape[0] is it as a "
                "size, and gs.scan and gs.map go along it"
            )
        return first

    def __iter__(self) -> Iterator[Expr]:
        if not self.shape:
            raise TraceError(f"{_describe(self)} is a scalar and cannot be iterated or unpacked")
        return (self[i] for i in range(len(self)))


_STORED = (
    "; an array that is to hold it must be traced as well: np.zeros_like(x), np.zeros(shape, like=x) or x.copy() in "
    "place of np.zeros(shape)"
)


def _describe(x: Expr) -> str:
    made = f", made at {x.origin}" if x.origin.line else ""
    return f"the traced value {x.name or x.op.name!r} ({x.type}{made})"


def _concrete_needed(x: Expr, use: str, remedy: str) -> NoReturn:
    raise TraceError(f"{_describe(x)} has no number yet, so it cannot be used in {use}; remedy: {remedy}")


# --- making nodes ---------------------------------------------------------------------------------------------------


def apply(op: Op, args: Sequence[Any], params: Mapping[str, Any]) -> Expr:
    """Record `op(*args, **params)`: convert operands, broadcast element-wise ones, infer the type, note the origin."""
    state = _recording.get()
    params = params or _NONE
    if state is None:
        origin = caller_origin()
    else:
        if op.is_plain and not params:  # as in most rules
            plain = _floats(args)
            if plain is not None and len(plain) == op.arity:
                return state.record(op, plain, params, plain[0].type, state.origin)
        origin = state.origin
    try:
        if op.kind == "elementwise" and op.takes in _IN_COMMON:
            alike = _alike(args, state is not None)
            if alike is not None and len(alike) == op.arity:
                type = alike[-1].type
                if op.infer is not same_shape or params:
                    type = op.infer(*(type,) * len(alike), **params)
                if state is None:
                    return Expr(op, alike, params, type, origin)
                return state.record(op, alike, params, type, origin)
        # what a body has closed over is what its reader saw, whatever the body then changed in place
        operands = tuple(args) if op.kind == "region" else tuple(as_expr(a) for a in args)
        if op.arity is not None and len(operands) != op.arity:
            raise ShapeError(f"takes {op.arity} operands, not {len(operands)}")
        operands = _convert(op, operands, [_strength(given, a) for given, a in zip(args, operands, strict=True)])
        if op.kind == "elementwise" and len(operands) > 1:
            shape = broadcast_shapes(*(a.shape for a in operands))
            operands = tuple(a if a.shape == shape else _broadcast(a, shape) for a in operands)
        type = _one(op.infer(*(a.type for a in operands), **params))
    except (ShapeError, DTypeError) as error:
        raise builtins.type(error)(f"{op.name}: {error.problem}", described(origin)) from None
    return _record(op, operands, params, type, origin)


@lru_cache(maxsize=65536)
def _one(type: Type) -> Type:
    """The one record for all types that are equal, of which there would be one for each array."""
    return type


def _floats(args: Sequence[Any]) -> tuple[Expr, ...] | None:
    """One or two operands that are floats of one type, or one such scalar of float64 and a number; else None."""
    if len(args) == 2:
        a, b = args
        if a.__class__ is Expr:
            if b.__class__ is float and a.type is _FLOAT:
                return a, _scalar(b)
            return (a, b) if b.__class__ is Expr and a.type is b.type and a.type.dtype.kind == "float" else None
        return (_scalar(a), b) if a.__class__ is float and b.__class__ is Expr and b.type is _FLOAT else None
    return tuple(args) if len(args) == 1 and args[0].__class__ is Expr and args[0].type.dtype.kind == "float" else None


_NONE: Mapping[str, Any] = {}  # the params of most nodes, which nobody changes: one dictionary instead of thousands
_IN_COMMON = frozenset({"float", "number", "same"})  # operands are converted to one dtype, and a float is one of them


def _alike(args: Sequence[Any], settled: bool) -> tuple[Expr, ...] | None:
    """The operands, where they are floats of one type and so need no conversion; else None. Most are."""
    type: Type | None = None
    numbers = False
    for a in args:
        if not isinstance(a, Expr):
            numbers = True
        elif not settled and (a.memory is not None or a.op.kind == "layout"):
            return None
        elif type is None:
            type = a.type
            if type.dtype.kind != "float":
                return None
        elif a.type is not type and a.type != type:
            return None
    if not numbers:
        return tuple(args)
    if (type is not _FLOAT and type != _FLOAT) or len(args) != 2:
        return None
    found: list[Expr] = []
    for a in args:
        if isinstance(a, Expr):
            found.append(a)
        elif a.__class__ is float or (a.__class__ is int and -(2**53) <= a <= 2**53):
            found.append(_scalar(float(a)))
        else:
            return None
    return tuple(found)


def _record(op: Op, args: tuple[Expr, ...], params: Mapping[str, Any], type: Type, origin: Origin) -> Expr:
    state = _recording.get()
    return Expr(op, args, params, type, origin) if state is None else state.record(op, args, params, type, origin)


_DOUBLE = struct.Struct("<d").pack
_SERIAL = operator.attrgetter("serial")


def _broadcast(x: Expr, shape: Shape) -> Expr:
    op = registry.lookup("broadcast_to")
    return _record(op, (x,), {"shape": shape}, Type(shape, x.type.dtype), x.origin.unnamed())


def _convert(op: Op, args: tuple[Expr, ...], strengths: Sequence[int]) -> tuple[Expr, ...]:
    """The operands in the dtypes that `op` takes; those that meet in arithmetic get one dtype in common."""
    wanted = (op.takes,) * len(args) if isinstance(op.takes, str) else op.takes
    meeting = [i for i, kind in enumerate(wanted) if kind in ("float", "number", "same", "integers")]
    common = BOOL
    if meeting:
        common = _common([(args[i].dtype, strengths[i]) for i in meeting], {wanted[i] for i in meeting})
    return tuple(
        a if kind == "any" else _ALONE[kind](a, number) if kind in _ALONE else _astype(a, common)
        for number, (a, kind) in enumerate(zip(args, wanted, strict=True))
    )


def _strength(given: Any, operand: Expr) -> int:
    """How much an operand has to say about the width of a result.

    Python's own numbers say nothing, and constants only to each other: `x * 2.0` and `x * c` are as wide as `x`.
    """
    if isinstance(given, bool | int | float | Dim) and not isinstance(given, np.generic):
        return 0
    return 1 if operand.op.name == "constant" and operand.shape == () else 2


def _common(operands: Sequence[tuple[DType, int]], kinds: set[str]) -> DType:
    """The dtype in which operands of these dtypes and strengths meet."""
    found = promote(*(dtype for dtype, _ in operands))
    for strength in (2, 1):
        strong = [dtype for dtype, s in operands if s >= strength]
        if strong and promote(*strong).kind == found.kind:
            found = promote(*strong)
            break
    if "integers" in kinds and found.kind == "float":
        raise DTypeError(f"operands must be integers, not {', '.join(dtype.name for dtype, _ in operands)}")
    if "float" in kinds and found.kind != "float":
        return FLOAT64
    return INT64 if found == BOOL and kinds & {"number", "integers"} else found


def _as_bool(x: Expr, number: int) -> Expr:
    return x if x.dtype == BOOL else apply(registry.lookup("not_equal"), (x, 0), {})


def _as_int(x: Expr, number: int) -> Expr:
    if x.dtype.kind == "float":
        raise DTypeError(f"operand {number} must be an integer, not {x.type}: convert it by gs.astype(x, gs.int64)")
    return _astype(x, INT64) if x.dtype == BOOL else x


_ALONE: Mapping[str, Callable[[Expr, int], Expr]] = {"bool": _as_bool, "int": _as_int}


def _astype(x: Expr, dtype: DType) -> Expr:
    if x.dtype == dtype:
        return x
    if x.op.name == "constant":
        return constant(np.asarray(x.params["value"]), dtype)
    return apply(registry.lookup("astype"), (x,), {"dtype": dtype})


def as_expr(value: Any) -> Expr:
    """`value` as a traced value: itself, or a constant made from a number, a NumPy array or nested sequences.

    What was changed in place, and a view of it, is the value that it has now.
    """
    if not isinstance(value, Expr):
        return constant(value)
    settled = (value.memory is None and value.op.kind != "layout") or _recording.get() is not None
    return value if settled else value.present()


def constant(value: Any, dtype: Any = None) -> Expr:
    """A constant of the generated code, from a real number or an array of real numbers.

    `dtype` is the element type; by default bool, int64 or float64 for Python's own numbers, and NumPy's own otherwise.
    A scalar constant takes the width of what it meets: `x * gs.constant(2.0)` is float32 where `x` is.

    Errors: `TraceError` for NaN (write `gs.where` conditions instead: a NaN constant makes every result NaN), complex
    numbers, strings and ragged sequences; `DTypeError` for an element type that is not supported.
    """
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(value, Dim):
        size = registry_function("size")(dim=value)
        return size if wanted is None else _astype(size, wanted)
    if isinstance(value, bool | int | float) and wanted is None:
        return _scalar(value)
    if isinstance(value, numbers.Real) and not isinstance(value, np.generic | int):
        try:
            value = float(value)  # a fraction, for instance
        except OverflowError:
            raise TraceError("a constant is beyond the range of float64 (1.8e308)") from None
    if isinstance(value, list | tuple) and _has_expr(value):
        return registry_function("stack")(*[as_expr(v) for v in value], axis=0)
    try:
        array = np.array(value, order="C")
    except (ValueError, TypeError) as error:
        raise TraceError(f"cannot make a constant of {type(value).__name__}: {error}") from None
    if array.dtype.kind not in "biuf" and not (array.dtype == object and isinstance(value, int)):
        raise TraceError(
            f"cannot make a constant of {type(value).__name__} {value!r}: real numbers and arrays of them are allowed"
        )
    refuse_narrow(array.dtype)
    if wanted is None:
        wanted = {"b": BOOL, "i": INT64, "u": INT64, "f": FLOAT64}.get(array.dtype.kind, FLOAT64)
        wanted = as_dtype(array.dtype) if array.dtype.name in ("float32", "int32") else wanted
    if wanted.kind == "int" and array.dtype != bool:
        _refuse_beyond(array, wanted)
    with np.errstate(over="ignore"):
        array = array.astype(wanted.name, order="C")  # ascontiguousarray would make one axis of none
    if wanted.kind == "float" and np.isnan(array).any():
        _refuse_nan()
    if array.ndim:
        return _array(array, Type(array.shape, wanted))
    return _leaf({"value": array.item()}, Type((), wanted))


_BOOL, _INT, _FLOAT = (Type((), dtype) for dtype in (BOOL, INT64, FLOAT64))


def _scalar(value: bool | int | float) -> Expr:
    if value.__class__ is float and value == value:
        return _leaf({"value": value}, _FLOAT)
    if isinstance(value, bool):
        return _leaf({"value": value}, _BOOL)
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return _leaf({"value": int(value)}, _INT)
        try:
            value = float(value)
        except OverflowError:
            raise TraceError("a constant is beyond the range of float64 (1.8e308)") from None
    if value != value:
        _refuse_nan()
    return _leaf({"value": float(value)}, _FLOAT)


def _has_expr(value: Any) -> bool:
    return isinstance(value, Expr) or (isinstance(value, list | tuple) and any(map(_has_expr, value)))


def _refuse_nan() -> NoReturn:
    raise TraceError("a constant is NaN, which would make every result NaN: check where it comes from")


def _refuse_beyond(array: np.ndarray, dtype: DType) -> None:
    limits = np.iinfo(dtype.name)
    whole = np.trunc(array) if array.dtype.kind == "f" else array
    fits = (whole >= limits.min) & (whole <= limits.max)
    if dtype == INT64 and array.dtype.kind == "f":
        fits &= whole < 2.0**63  # to which the largest int64 is rounded
    if not np.all(fits):
        worst = array[~np.asarray(fits)].flat[0] if array.ndim else array.item()
        raise DTypeError(
            f"the constant {worst} does not fit {dtype.name} ({limits.min} to {limits.max}): convert what it meets by "
            f"gs.astype(x, {'gs.int64' if dtype == INT32 else 'gs.float64'})"
        )


def registry_function(name: str) -> Callable[..., Expr]:
    """The traced function of the op `name`."""
    record = registry.lookup(name)
    return lambda *args, **params: apply(record, args, params)


def _array(array: np.ndarray, type: Type) -> Expr:
    array.setflags(write=False)
    return _leaf({"value": array}, type)


def _leaf(params: Mapping[str, Any], type: Type) -> Expr:
    return _record(registry.lookup("constant"), (), params, type, NOWHERE)


def symbol(name: str, shape: Any = (), dtype: Any = FLOAT64) -> Expr:
    """A named input: a scalar, or an array of `shape`.

    Parameters
    ----------
    name: an identifier; it becomes the argument's name in the generated code.
    shape: ints and dimension names, such as `(3, 4)` or `("n", 64)`.
    dtype: the element type: "float64", "float32", "int64", "int32" or "bool".

    >>> symbol("W", (3, 4))
    <gs.Expr W: f64[3, 4]>
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise TraceError(f"a symbol's name must be an identifier, not {name!r}")
    name = unicodedata.normalize("NFKC", name)  # as Python reads identifiers
    type = Type(normalize_shape(shape), as_dtype(dtype))
    type = _FLOAT if type == _FLOAT else type
    return Expr(registry.lookup("input"), (), {"name": name}, type, Origin(name=name))


def symbols(names: str, shape: Any = (), dtype: Any = FLOAT64) -> tuple[Expr, ...]:
    """Several symbols at once, from names separated by spaces or commas: always a tuple (`symbol` makes a single one).

    >>> x, y = symbols("x y")
    >>> x * y
    <gs.Expr mul: f64>
    """
    if not isinstance(names, str) or not names.replace(",", " ").split():
        raise TraceError(f"symbols() takes names in a string such as 'x y', not {reprlib.repr(names)}")
    return tuple(symbol(name, shape, dtype) for name in names.replace(",", " ").split())


def op(name: str, **fields: Any) -> Callable[..., Expr]:
    """Declare an op: put its record into the table and return the function that traces it.

    The fields are those of `gradsmith.registry.Op`. The function carries the record as `.op`.
    """
    record = registry.register(Op(name=name, **fields))

    def call(*args: Any, **params: Any) -> Expr:
        return apply(record, args, params)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = record.doc
    call.op = record  # type: ignore[attr-defined]
    return call


# --- expressions <-> graphs -----------------------------------------------------------------------------------------


def to_graph(
    inputs: Sequence[Expr],
    outputs: Sequence[Expr],
    cotangents: Sequence[tuple[Expr, Expr]] = (),
    *,
    distinct: bool = False,
    needed: Mapping[int, Expr] | None = None,
) -> Graph:
    """The graph that computes `outputs` from `inputs`; what no output needs is left out.

    `cotangents` pairs primal values with their cotangents; pairs of which either is not needed are dropped. `distinct`
    says that no two expressions are equal, as those of one recording are, so that none has to be looked for.
    `needed` is what is `reachable` from the outputs, where that is known.
    """
    outputs = [as_expr(x) for x in outputs]
    needed = reachable(outputs) if needed is None else needed
    given = {x.serial: x for x in inputs}
    ordered = [*given.values(), *[needed[serial] for serial in sorted(needed) if serial not in given]]
    keys, nodes = _distinct(ordered) if distinct else _interned(ordered)
    ops = [n[1] for n in nodes]
    if "input" in ops[len(given) :]:
        name = nodes[ops.index("input", len(given))].params["name"]
        raise SpecError(f"the result uses the symbol {name!r}, which is not among the arguments: make it one of them")
    graph = Graph.of(nodes)
    graph.graph["inputs"] = tuple(keys[x.serial] for x in inputs)
    graph.graph["outputs"] = tuple(keys[x.serial] for x in outputs)
    graph.graph["cotangents"] = {
        keys[p.serial]: keys[c.serial] for p, c in cotangents if p.serial in keys and c.serial in keys
    }
    return graph


def _distinct(ordered: Sequence[Expr]) -> tuple[dict[int, int], list[Node]]:
    """The keys, by serial, and the nodes of expressions of which no two are equal."""
    keys = {x.serial: key for key, x in enumerate(ordered)}
    return keys, [
        new_tuple(
            Node,
            (
                key,
                x.op.name,
                (keys[x.args[0].serial], keys[x.args[1].serial])
                if len(x.args) == 2  # as most have
                else tuple([keys[a.serial] for a in x.args]),
                x.params,
                x.type,
                x.origin,
            ),
        )
        for key, x in enumerate(ordered)
    ]


def _interned(ordered: Sequence[Expr]) -> tuple[dict[int, int], list[Node]]:
    """The same for any expressions, where those that are equal have one node."""
    keys: dict[int, int] = {}
    nodes = list[Node]()
    known: dict[object, int] = {}
    for x in ordered:
        op, params, args = x.op, x.params, tuple([keys[a.serial] for a in x.args])
        if args and not params:  # its type follows
            alike: object = (op, *sorted(args)) if op.commutative else (op, *args)
        elif op.name == "constant" and params["value"].__class__ is float:
            alike = _DOUBLE(params["value"]), x.type.shape, x.type.dtype
        else:
            alike = intern_key(op.name, args, params, x.type, op.commutative)
        key = keys[x.serial] = known.setdefault(alike, len(nodes))
        if key == len(nodes):
            nodes.append(new_tuple(Node, (key, op.name, args, params, x.type, x.origin)))
        else:
            nodes[key] = nodes[key].renamed(x.origin)
    return keys, nodes


def closed(inputs: Sequence[Expr], outputs: Sequence[Expr], since: int | None = None) -> tuple[Graph, list[Expr]]:
    """The graph that computes `outputs` from `inputs`, and the values from outside that it uses, its first inputs.

    `inputs` may be any expressions. From outside comes what does not depend on them; with `since`, only what was made
    before that serial. Scalar constants, and scalars spread out to arrays, are written where they are used.
    """
    outputs = [as_expr(x) for x in outputs]
    given = {x.serial for x in inputs}
    inner = set(given)
    for e in sorted(reachable(outputs).values(), key=_SERIAL):
        if any(a.serial in inner for a in e.args):
            inner.add(e.serial)

    def comes_in(e: Expr) -> bool:
        if e.op.name == "broadcast_to" and e.args[0].shape == ():
            return False  # a scalar is shorter to pass
        if e.serial in inner or (e.op.name == "constant" and e.shape == ()):
            return False
        return since is None or e.serial < since or e.op.name == "input"  # a symbol stands for something outside

    found: dict[int, Expr] = {}
    stack = [*outputs]
    while stack:
        e = stack.pop()
        if e.serial not in found:
            found[e.serial] = e
            stack += () if e.serial in given or comes_in(e) else e.args
    ordered = sorted(found.values(), key=_SERIAL)
    outside = [e for e in ordered if e.serial not in inner and comes_in(e)]
    graph, keys, taken = Graph(), dict[int, int](), dict[str, int]()
    for x in (*inputs, *outside):
        keys[x.serial] = _input(graph, x, taken)
    graph.graph["inputs"] = tuple(keys[x.serial] for x in (*outside, *inputs))
    for e in ordered:
        if e.serial not in keys:
            args = [keys[a.serial] for a in e.args]
            keys[e.serial] = graph.add(e.op.name, args, e.params, e.type, e.origin, commutative=e.op.commutative)
    graph.graph["outputs"] = tuple(keys[x.serial] for x in outputs)
    return graph, outside


def next_serial() -> int:
    """A number that lies between the serials of what was made before and what will be."""
    return next(_serial)


def between(outputs: Sequence[Expr], inputs: Sequence[Expr]) -> tuple[Graph, list[Expr]]:
    """The graph of what depends on `inputs` on the way to `outputs`, and the other values that it reads.

    These follow `inputs` as inputs of the graph, whatever they are computed from; constants stand in the graph.
    """
    needed = sorted(reachable(outputs).values(), key=_SERIAL)
    graph, keys, active = Graph(), dict[int, int](), {x.serial for x in inputs}
    taken: dict[str, int] = {}
    for x in inputs:
        keys[x.serial] = _input(graph, x, taken)
    around: list[Expr] = []
    read = {x.serial for x in outputs}
    for x in needed:
        if x.serial not in active and any(a.serial in active for a in x.args):
            active.add(x.serial)
            read.update(a.serial for a in x.args)
    for x in needed:
        if x.serial in keys or (x.serial not in active and x.serial not in read):
            continue
        if x.serial in active or x.op.name == "constant":
            args = [keys[a.serial] for a in x.args]
            keys[x.serial] = graph.add(x.op.name, args, x.params, x.type, x.origin, commutative=x.op.commutative)
        else:
            keys[x.serial] = _input(graph, x, taken)
            around.append(x)
    graph.graph["inputs"] = tuple(keys[x.serial] for x in (*inputs, *around))
    graph.graph["outputs"] = tuple(keys[x.serial] for x in outputs)
    graph.graph["cotangents"] = {}
    return graph, around


def _input(graph: Graph, x: Expr, taken: dict[str, int]) -> int:
    """An input node for `x`, whose name no other has: nodes of one name would be one."""
    wish = (x.name or x.op.name).split()[0]  # without the number of an earlier input
    number = taken[wish] = taken.get(wish, 0) + 1
    params = {"name": wish if number == 1 else f"{wish} {number}"}  # no identifier, so never a name of another value
    return graph.add("input", (), params, x.type, x.origin)


def reachable(outputs: Sequence[Expr]) -> dict[int, Expr]:
    """All that `outputs` are made of, by serial."""
    found = {x.serial: x for x in outputs}
    stack = list(found.values())
    while stack:
        for a in stack.pop().args:
            serial = a.serial
            if serial not in found:
                found[serial] = a
                stack.append(a)
    return found


def input_symbols(outputs: Sequence[Expr]) -> list[Expr]:
    """The symbols that `outputs` depend on, in the order in which they were made."""
    return symbols_among(reachable([as_expr(x) for x in outputs]))


def symbols_among(needed: Mapping[int, Expr]) -> list[Expr]:
    """The symbols among what is `reachable`, in the order in which they were made."""
    return sorted([x for x in needed.values() if x.op.name == "input"], key=_SERIAL)


def to_exprs(
    graph: Graph,
    inputs: Sequence[Expr] | None = None,
    replace: Callable[[Node, Sequence[Expr]], Expr | None] | None = None,
    at: Container[int] | None = None,
    settled: bool = False,
) -> list[Expr]:
    """The nodes of `graph` as expressions, indexed by key; inside `recording(rewrite)`, each one is offered to it.

    `inputs` are the expressions to use for the graph's inputs; new symbols otherwise. `replace` may give another
    expression for a node, made of those of the nodes before it; it is asked `at` these keys, or at all.
    `settled` says that `rewrite` has nothing to say of any node of the graph, so that only what is new is offered.
    """
    state = _recording.get()
    exprs: list[Expr] = []
    given = dict(zip(graph.inputs, inputs, strict=True)) if inputs is not None else {}
    lookup = registry.lookup
    moved: set[int] = set()  # what is made of other expressions than in `graph`
    newest = -1
    for n in graph.ordered():
        key, name, operands, params, type, origin = n
        named = origin.name is not None
        if named:
            newest = next(_serial)
        if name == "input":
            exprs.append(given[key] if key in given else Expr(lookup(name), (), params, type, origin))
            continue
        if state is not None:
            state.origin = origin.unnamed() if named else origin
        x = None if replace is None or (at is not None and key not in at) else replace(n, exprs)
        if x is None:
            if len(operands) == 2:
                first, second = operands
                args: tuple[Expr, ...] = (exprs[first], exprs[second])
            else:
                args = tuple([exprs[a] for a in operands])
            if state is None:
                x = Expr(lookup(name), args, params, type, origin)
            else:
                known = settled and (not moved or moved.isdisjoint(operands))
                x = state.record(lookup(name), args, params, type, origin, known)
                if settled and not (known and x.args is args):
                    moved.add(key)
        elif settled:
            moved.add(key)
        if named and x.serial > newest:
            x.origin = origin  # a rewritten value keeps the user's name
        exprs.append(x)
    return exprs
