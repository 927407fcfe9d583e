"""Memory: traced arrays that are changed in place, with NumPy's aliasing.

The nodes of a graph never change. What changes is what a name of the user's program stands for: `y[0] = v` gives the
Python object `y` a `Block`, which remembers the writes, and `as_expr(y)`, through which all ops take their operands,
is from then on an `assemble` of them. What was computed from `y` before keeps the node it had.

In: `x[key]`, `x[key] = v`, `x += v`, `x.copy()`, `x.at[key].set(v)`. Out: nodes without a trace of memory. Guarantees:
a view (a slice, a transpose, a reshape) sees writes to its base, and its base sees writes to it; arguments, which are
the caller's, and broadcasts, which are read-only, are refused; n writes to one array are one node, so they cost O(n),
and what was just written is read without the array around it.

Which elements views share is asked of NumPy: a view of a block is the same view of an array of positions.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from .. import types
from ..errors import ShapeError, TraceError
from ..origin import Origin, caller_origin
from ..trace import Expr, _describe, _recording, as_expr
from ..types import Dim, DType, Shape, format_shape, static_shape
from . import arithmetic, indexing, selection
from .gathering import traced_add
from .indexing import Key
from .joining import stack
from .layout import broadcast_to, reshape
from .lazy import gs
from .masked import Masked
from .updates import arranged, assemble, key_of, shaped, taken

__all__ = ["copy"]

_FEW = 8  # elements, each written by itself, that are read one by one; else the array is put together first
_VIEWS = {"broadcast_to", "expand_dims", "index", "reshape", "squeeze", "transpose"}


class _Fixed:
    """The memory of a value that nothing can change: a node as it was, kept by a block."""

    def value(self, x: Expr) -> Expr:
        return x

    def is_present(self, x: Expr) -> bool:
        return True


_FIXED = _Fixed()


def _twin(x: Expr, memory: Any) -> Expr:
    """The same node under another name: what has one serial number is one node of a graph."""
    twin = Expr(x.op, x.args, x.params, x.type, x.origin)
    twin.serial, twin.memory = x.serial, memory
    return twin


def _fixed(x: Expr) -> Expr:
    """`x` as it is now, whatever happens to the user's object."""
    return x if x.op.name == "input" or x.memory is _FIXED else _twin(x, _FIXED)


class Block:
    """An array that is written to: what it started as, and the parts written since it was last needed as a whole."""

    def __init__(self, base: Expr, origin: Origin, in_rows: bool = False) -> None:
        self.base = _fixed(base)
        self._first = None if in_rows else self.base
        self.origin = origin  # with the name that the user's program gave to the array
        self.places = np.arange(base.size).reshape(static_shape(base.shape))
        self.version = 0
        self._parts: list[tuple[Expr, np.ndarray]] = []  # values, and where they lie
        self._writer = self._offset = np.empty(0, dtype=np.int64)  # for each element: its part, and its place there
        self._whole: Expr | None = None

    @property
    def is_written(self) -> bool:
        """Whether there are parts that have not been put together yet."""
        return bool(self._parts)

    def write(self, places: np.ndarray, value: Expr) -> None:
        """Put `value`, of the shape of `places`, there."""
        if not places.size:
            return
        self.version += 1
        self._whole = None
        self.origin = replace(caller_origin(), name=self.origin.name)
        if places.shape == self.places.shape and np.array_equal(places, self.places):
            self.base, self._parts = _fixed(value), []
            return
        if not self._parts:
            self._writer = np.full(self.places.size, -1)
            self._offset = np.arange(self.places.size)
        self._writer[places.ravel()] = len(self._parts)
        self._offset[places.ravel()] = np.arange(places.size)
        self._parts.append((_fixed(value), places))

    def value(self, x: Expr | None = None) -> Expr:
        """All of the array, as one node."""
        if self._whole is None:
            if self._parts:
                self.base, self._parts = _fixed(self._assembled()), []
            self._whole = _twin(self.base, self)
        return self._whole

    def is_present(self, x: Expr) -> bool:
        return x is self._whole

    def is_in_rows(self) -> bool:
        """Whether NumPy keeps the elements row by row: what is computed from a transpose is kept column by column."""
        stack = [] if self._first is None else [self._first]
        seen: set[int] = set()
        while stack:
            x = stack.pop()
            if x.op.name == "transpose" and sum(d != 1 for d in x.shape) > 1:
                return False
            if x.op.kind in ("elementwise", "reduction", "assembly") or x.op.name in _VIEWS - {"reshape"}:
                stack += [a for a in x.args if a.ndim > 1 and a.serial not in seen]
                seen.update(a.serial for a in x.args)
        return True

    def read(self, places: np.ndarray) -> Expr:
        """The elements at `places`: of the one part they lie in, one by one where they are few, or of the whole."""
        if not self._parts:
            return taken(self.base, places)
        parts = np.unique(self._writer[places.ravel()])
        if len(parts) == 1:
            return self._of_part(int(parts[0]), self._offset[places])
        if 0 < places.size <= _FEW and all(p < 0 or not self._parts[p][0].shape for p in parts):
            elements = [self._of_part(int(self._writer[p]), self._offset[p]) for p in places.ravel()]
            return shaped(stack(elements), places.shape)
        return taken(_fixed(self.value()), places)

    def _of_part(self, number: int, offsets: Any) -> Expr:
        value = self.base if number < 0 else self._parts[number][0]
        return taken(value, np.asarray(offsets))

    def _assembled(self) -> Expr:
        pieces = [p for p in self._pieces() if p[1].size]
        shape = self.base.shape
        if all(not v.shape for v, _ in pieces) and len(pieces) == self.places.size:  # every element by itself
            ordered = sorted(pieces, key=lambda piece: int(piece[1]))
            return self._named(shaped(stack([v for v, _ in ordered]), shape))
        if len(pieces) == len(self.places) and all(p.shape == self.places.shape[1:] for _, p in pieces):
            rows = sorted(pieces, key=lambda piece: int(piece[1].flat[0]))
            if all(np.array_equal(p, row) for (_, p), row in zip(rows, self.places, strict=True)):
                return self._named(stack([v for v, _ in rows]))
        keys: list[Key] = []
        values: list[Expr] = []
        for value, places in pieces:
            key, order = key_of(places, shape)
            values.append(arranged(value, places.shape, key, order, shape))
            keys.append(key)
        if self.base.type.dtype.kind == "bool":  # conditions are kept as numbers
            numbers = [selection.where(v, 1.0, 0.0) for v in values]
            return self._named(selection.not_equal(assemble(*numbers, shape=shape, keys=tuple(keys)), 0.0))
        return self._named(assemble(*values, shape=shape, keys=tuple(keys)))

    def _pieces(self) -> list[tuple[Expr, np.ndarray]]:
        """The parts in order of writing, without what later ones cover where the rest is a box."""
        order = np.argsort(self._writer, kind="stable")
        counts = np.bincount(self._writer + 1, minlength=len(self._parts) + 1)
        groups = np.split(order, np.cumsum(counts)[:-1])
        found = []
        for number, left in enumerate(groups, start=-1):
            value, places = (self.base, self.places) if number < 0 else self._parts[number]
            if len(left) == places.size or not len(left):
                found.append((value, places if len(left) else np.empty(0, dtype=np.int64)))
                continue
            coordinates = np.unravel_index(self._offset[left], places.shape)
            box = np.ix_(*(np.unique(c) for c in coordinates))
            if number >= 0 and places[box].size == len(left):
                offsets = np.arange(places.size).reshape(places.shape)[box]
                found.append((taken(value, offsets.squeeze()), places[box].squeeze()))
            else:
                found.append((value, places))
        return found

    def _named(self, x: Expr) -> Expr:
        x.origin = self.origin
        return x


class View:
    """A part of a block under a name of its own."""

    def __init__(self, block: Block, places: np.ndarray, writable: bool = True) -> None:
        self.block, self.places, self.writable = block, places, writable
        self._version = -1
        self._value: Expr | None = None

    def value(self, x: Expr | None = None) -> Expr:
        if self._value is None or self._version != self.block.version:
            self._value, self._version = _twin(self.block.read(self.places), self), self.block.version
        return self._value

    def is_present(self, x: Expr) -> bool:
        return x is self._value and self._version == self.block.version


# --- what a name stands for -----------------------------------------------------------------------------------------


def _looks_into(x: Expr) -> bool:
    """Whether NumPy would have made a view: a number read from an array is a copy, and so is what a table picks."""
    if x.op.name not in _VIEWS or not x.args[0].shape:
        return False
    return x.op.name != "index" or (bool(x.shape) and not any(isinstance(k, np.ndarray) for k in x.params["key"]))


def _root(x: Expr) -> tuple[Expr, list[Expr]]:
    """The value whose memory `x` looks into, and the views from `x` to it."""
    views = []
    while x.memory is None and _looks_into(x):
        views.append(x)
        x = x.args[0]
    return x, views


def _storage(root: Expr, views: list[Expr]) -> tuple[Block, np.ndarray]:
    """The block under `root`, and where in it the outermost of `views` lies."""
    memory = root.memory
    block, places = (memory, memory.places) if isinstance(memory, Block) else (memory.block, memory.places)
    for view in reversed(views):
        moved = np.asarray(view.op.evaluate(places, **view.params))
        if view.op.name == "reshape" and places.ndim > 1 and not block.is_in_rows():
            raise TraceError(
                f"{_describe(view)} is a reshape of an array computed from a transpose: in NumPy it depends on the "
                "arguments whether that is a view or a copy, and one of both was changed in place; make it x.copy()"
            )
        if not np.may_share_memory(moved, block.places):  # where NumPy has to copy, so do we
            block = view.memory = Block(_twin(view, _FIXED), view.origin)
            moved = block.places
        places = moved
    return block, places


def present(x: Expr) -> Expr:
    """The node that `x` stands for now."""
    if x.memory is None:
        root, views = _root(x)
        if not views or root.memory is None or root.memory.is_present(root):
            return x
        x.memory = View(*_storage(root, views))
    found: Expr = x.memory.value(x)
    return found


def _writable(x: Expr) -> tuple[Block, np.ndarray]:
    """The block that writing to `x` changes, and where `x` lies in it; an error where NumPy would not write either."""
    if _recording.get() is not None:
        raise TraceError("a derivative rule cannot change values in place: write it with gs.where or x.at[key].set(v)")
    root, views = _root(x)
    if any(v.op.name == "broadcast_to" for v in views):
        _refuse(x, "is a broadcast, which is read-only in NumPy too", x)
    if _is_named(root):
        raise TraceError(
            f"{_describe(x)} cannot be changed in place: of an array with a named dimension it is not known while "
            f"tracing where its elements lie; make a new value, {root.name or 'x'}.at[key].set(value), or give an int "
            "in args="
        )
    if root.memory is None:
        if root.op.name == "input":
            what = "is an argument" if root is x else f"is a view of the argument {root.name!r}"
            _refuse(x, f"{what}, and NumPy would change the caller's array", root)
        root.memory = Block(root, root.origin)
    if isinstance(root.memory, View) and not root.memory.writable:
        _refuse(x, "is a diagonal, which is read-only in NumPy too", x)
    if root.memory is _FIXED or not x.shape:
        _refuse(x, "is a number", x)
    return _storage(root, views)


def _refuse(x: Expr, why: str, root: Expr) -> NoReturn:
    name = root.name or "x"
    remedy = "make a new value" if why == "is a number" else f"copy it first ({name} = {name}.copy())"
    raise TraceError(f"{_describe(x)} cannot be changed in place: it {why}; {remedy}, or use {name}.at[key].set(value)")


# --- reading and writing --------------------------------------------------------------------------------------------


def copy(x: Any) -> Expr:
    """An array with the elements of `x` and memory of its own: writing to it leaves `x` as it is.

    >>> import gradsmith as gs
    >>> def f(x):
    ...     y = gs.copy(x)
    ...     y[0] = 10.0
    ...     return gs.sum(x * y)
    >>> gs.compile(f, args=((2,),))([3.0, 4.0])
    46.0
    """
    value = as_expr(x)
    if not value.shape:
        return value
    made = _twin(value, None)
    if _is_named(value):
        return made
    base = reshape(value, value.shape) if value.op.name == "input" else value  # inputs have no twins
    made.memory = Block(base, caller_origin(), in_rows=True)
    return made


def fresh(x: Any, operands: Sequence[Any] = ()) -> Expr:
    """The result `x` of a function of `operands` whose results are new arrays in NumPy: if need be, a copy."""
    x = as_expr(x)
    shared = x.memory is not None or x.op.kind in ("layout", "leaf") or any(x is o for o in operands)
    return copy(x) if shared else x


def window(x: Any, key: Any) -> Expr:
    """`x[key]` as a read-only view, although `key` is made of tables."""
    root, views = _root(x) if isinstance(x, Expr) else (as_expr(x), [])
    if root.memory is None and root.op.kind == "leaf":
        return indexing.getitem(x, key)
    if root.memory is None:
        root.memory = Block(root, root.origin)
    block, places = _storage(root, views)
    return View(block, places[key], writable=False).value()


def getitem(x: Expr, key: Any) -> Any:
    """`x[key]`: a view where NumPy gives one, and of what was just written nothing but that."""
    if _is_condition(key):
        return Masked(_condition(key, x), as_expr(x))
    root, views = _root(x)
    if not isinstance(root.memory, Block | View):
        return indexing.getitem(x, key)
    block, places = _storage(root, views)
    if not block.is_written:
        return indexing.getitem(x, key)
    at = _lying(places, key, x)
    if at.ndim and np.may_share_memory(at, block.places):
        return View(block, at).value()
    found = block.read(at)
    return copy(found) if at.ndim else found


def setitem(x: Expr, key: Any, value: Any) -> None:
    """`x[key] = value`: from now on, `x` and all views of the same elements stand for the array with `value` there.

    A traced condition as the key chooses element by element.
    """
    _refuse_traced(key, x)
    block, places = _writable(x)
    if _is_condition(key):
        block.write(places, _chosen(x, key, value))
        return
    at = _lying(places, key, x)
    block.write(at, _fitting(as_expr(value), at.shape, x))


def _chosen(x: Expr, key: Expr, value: Any) -> Expr:
    """`x` with `value` where the condition `key` holds."""
    condition = _condition(key, x)
    new = value.at(condition) if isinstance(value, Masked) else as_expr(value)
    if new.ndim > x.ndim - key.ndim and not isinstance(value, Masked):
        raise ShapeError(
            f"a traced condition picks a number of elements that is unknown while tracing, so {_describe(x)} takes "
            f"a number or a selection by the same condition there, not shape {format_shape(new.shape)}"
        )
    return _fitting(selection.where(condition, _fitting(new, x.shape, x), x), x.shape, x)


def _is_condition(key: Any) -> bool:
    return isinstance(key, Expr) and key.type.dtype.kind == "bool"


def _has_traced(key: Any) -> bool:
    """Whether places are known at run time only."""
    return builtins.any(isinstance(e, Expr) and e.dtype.kind == "int" for e in (key if type(key) is tuple else (key,)))


def _refuse_traced(key: Any, x: Any) -> None:
    """At places that are known at run time only, values can be added; which of several stays is not known."""
    if _has_traced(key):
        raise TraceError(
            f"{_describe(x)} cannot be changed at traced indices but by adding: use x.at[i].add(value) (np.add.at), "
            "or gs.where(gs.arange(n) == i, value, x)"
        )


def _condition(key: Expr, x: Expr) -> Expr:
    """A traced condition on the leading axes of `x`, on all of them."""
    condition = as_expr(key)
    if condition.shape != x.shape[: key.ndim]:
        raise ShapeError(f"index: a condition of shape {format_shape(key.shape)} for shape {format_shape(x.shape)}")
    rest = x.shape[key.ndim :]
    return broadcast_to(reshape(condition, (*condition.shape, *(1 for _ in rest))), x.shape) if rest else condition


def _lying(places: np.ndarray, key: Any, x: Expr) -> np.ndarray:
    try:
        return np.asarray(places[key])
    except (IndexError, ValueError) as error:
        raise ShapeError(f"index: {error}, in {_describe(x)}") from None


def _fitting(value: Expr, shape: Shape, x: Expr) -> Expr:
    """`value` as NumPy would store it in `x`: of its dtype, and broadcast to `shape`."""
    value = stored(value, x.type.dtype)
    extra = value.ndim - len(shape)
    if extra > 0 and all(d == 1 for d in value.shape[:extra]):
        value = reshape(value, value.shape[extra:])
    if value.shape == shape:
        return value
    try:
        return broadcast_to(value, shape)
    except ShapeError:
        raise ShapeError(
            f"a value of shape {format_shape(value.shape)} does not fit places of shape {format_shape(shape)} in "
            f"{_describe(x)}"
        ) from None


_TO_KIND: dict[tuple[str, str], Callable[[Expr], Expr]] = {
    ("bool", "float"): lambda value: selection.where(value, 1.0, 0.0),
    ("float", "bool"): lambda value: selection.not_equal(value, 0.0),
}


def stored(value: Expr, dtype: DType) -> Expr:
    """`value` as an array of `dtype` holds it."""
    if value.type.dtype == dtype:
        return value
    convert = _TO_KIND.get((value.type.dtype.kind, dtype.kind))
    return gs.astype(value, dtype) if convert is None else convert(value)


def dtype_named(dtype: Any) -> DType:
    """The dtype that `float`, `"float64"`, `np.float64` or a dtype record names."""
    try:
        name = dtype.name if isinstance(dtype, DType) else np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    known = {d.name: d for d in vars(types).values() if isinstance(d, DType)}
    if name not in known:
        raise TraceError(f"dtype {name} is not one of traced values; those are {', '.join(known)}")
    return known[name]


def in_place(function: Callable[[Any, Any], Expr]) -> Callable[[Expr, Any], Expr]:
    """`x += v` and the like: an array changes, whatever other names it has; of a number, the name gets a new one."""

    def operator(self: Expr, other: Any) -> Expr:
        if not self.shape:
            return function(self, other)
        result = function(self, other)
        if result.shape != self.shape:
            raise ShapeError(
                f"{function.__name__} in place: a result of shape {format_shape(result.shape)} does not fit into "
                f"{_describe(self)}"
            )
        result.origin = replace(result.origin, name=self.name)
        setitem(self, ..., result)
        return self

    return operator


# --- x.at[key] ------------------------------------------------------------------------------------------------------


def _is_named(x: Expr) -> bool:
    return builtins.any(isinstance(d, Dim) for d in x.shape)


def _replaced(x: Expr, key: Any, function: Callable[[Any], Any]) -> Expr:
    """`x`, of which some size is known by name only, with `function(x[key])` at `key`."""
    if _is_condition(key):
        return _chosen(x, key, function(Masked(_condition(key, x), x)))
    entries = indexing.each_axis(x, key)
    if builtins.any(isinstance(e, np.ndarray) for e in entries):
        raise ShapeError(
            f"at: {_describe(x)} has a named dimension, where a key is made of ints and slices: use "
            "gs.where(condition, value, x), or give an int in args="
        )
    part = indexing.getitem(x, key)
    new = stored(_fitting(as_expr(function(part)), part.shape, x), x.type.dtype)
    here = _put_back(part, x, gs.ones_like(part))
    return selection.where(selection.not_equal(here, 0), _put_back(part, x, new), x)


def _put_back(part: Expr, x: Expr, values: Expr) -> Expr:
    """`values` at the places of `x` that `part` shows, and 0 elsewhere: the transpose of the layouts between them."""
    while part is not x:
        (values,) = part.op.vjp(values, part, *part.args, **part.params)  # type: ignore[misc]
        part = part.args[0]
    return values


class At:
    """`x.at`: what the updates `x[key] = v`, `x[key] += v` … would make of `x`, as new arrays.

    >>> import gradsmith as gs
    >>> x = gs.symbol("x", (3,))
    >>> gs.compile(gs.sum(x.at[1:].multiply(2.0)))([1.0, 2.0, 3.0])
    11.0
    """

    def __init__(self, x: Expr) -> None:
        self._x = x

    def __getitem__(self, key: Any) -> Places:
        return Places(self._x, key)


class Places:
    """`x.at[key]`: places of `x`, all of which every update counts, also those that `key` names twice."""

    def __init__(self, x: Expr, key: Any) -> None:
        self._x, self._key = x, key

    def get(self) -> Any:
        """`x[key]`."""
        return self._x[self._key]

    def set(self, value: Any) -> Expr:
        """`x` with `value` at the places."""
        _refuse_traced(self._key, self._x)
        if _is_named(self._x):
            return _replaced(self._x, self._key, lambda _: value)
        made = copy(self._x)
        made[self._key] = value
        return made

    def add(self, value: Any) -> Expr:
        """`x` with `value` added at the places; where one is named twice, both are added, as by `np.add.at`."""
        if _is_condition(self._key):
            return self._combined(arithmetic.add, value)
        x = as_expr(self._x)
        if _has_traced(self._key):
            return traced_add(x, indexing.each_axis(x, self._key), stored(as_expr(value), x.type.dtype))
        if _is_named(x):
            return self._combined(arithmetic.add, value)
        places = _lying(np.arange(x.size).reshape(static_shape(x.shape)), self._key, x)
        value = _fitting(as_expr(value), places.shape, x)
        if len(np.unique(places)) == places.size:
            return self._combined(arithmetic.add, value)
        key, order = key_of(places, x.shape)
        return x + indexing.scatter(arranged(value, places.shape, key, order, x.shape), shape=x.shape, keys=(key,))

    def subtract(self, value: Any) -> Expr:
        """`x` with `value` subtracted at the places."""
        return self.add(-as_expr(value))

    def multiply(self, value: Any) -> Expr:
        """`x` with the places multiplied by `value`."""
        return self._combined(arithmetic.multiply, value)

    def divide(self, value: Any) -> Expr:
        """`x` with the places divided by `value`."""
        return self._combined(arithmetic.divide, value)

    def power(self, value: Any) -> Expr:
        """`x` with the places to the power `value`."""
        return self._combined(arithmetic.power, value)

    def min(self, value: Any) -> Expr:
        """`x` with the smaller of itself and `value` at the places."""
        return self._combined(selection.minimum, value)

    def max(self, value: Any) -> Expr:
        """`x` with the larger of itself and `value` at the places."""
        return self._combined(selection.maximum, value)

    def apply(self, function: Callable[[Expr], Any]) -> Expr:
        """`x` with `function` of itself at the places."""
        return self._combined(lambda old, _: function(old), None)

    def _combined(self, function: Callable[[Any, Any], Any], value: Any) -> Expr:
        _refuse_traced(self._key, self._x)
        if _is_named(self._x):
            return _replaced(self._x, self._key, lambda old: function(old, value))
        made = copy(self._x)
        if not isinstance(self._key, Expr):
            places = _lying(np.arange(made.size).reshape(static_shape(made.shape)), self._key, made)
            if len(np.unique(places)) != places.size:
                raise ShapeError("at: the key names a place twice, which only .set and .add take: combine them first")
        made[self._key] = function(made[self._key], value)
        return made
