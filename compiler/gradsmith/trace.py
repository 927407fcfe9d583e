"""Tracing: the values users compute with, and the function that records each op on them.

In: symbols, numbers and NumPy arrays. Out: `Expr` objects, immutable nodes of a DAG that `as_graph.to_graph` turns into
a `Graph` and `to_exprs` back. Guarantees: nothing recurses; there is no global graph, so expressions are freed when
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from . import registry
from .errors import DTypeError, ShapeError, TraceError
from .graph import freeze_key
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

__all__ = ["Expr", "Recording", "as_expr", "constant", "next_serial", "op", "recording", "symbol", "symbols"]

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
    begun: int = field(default_factory=lambda: next(_serial))

    @property
    def since(self) -> int | None:
        """The serial from which on no two expressions are equal; None where another recording was open."""
        return self.begun if self.apart else None

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


def next_serial() -> int:
    """A number that lies between the serials of what was made before and what will be."""
    return next(_serial)
