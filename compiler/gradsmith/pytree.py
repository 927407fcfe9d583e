"""Pytrees: nested tuples, lists, dicts, dataclasses and named tuples, taken apart into leaves and put back together.

In: a nested value. Out: its leaves in order with their paths, and a `Tree` that rebuilds it from other leaves.
Dict entries keep their order of insertion; None is an empty tree, as in JAX.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .errors import SpecError

__all__ = ["Tree", "flatten", "leaf_names", "parameter_names"]


@dataclass(frozen=True)
class Tree:
    """The shape of a pytree: `kind` is None for a leaf; otherwise `children` are the branches, `keys` their labels."""

    kind: str | None = None
    keys: tuple[Any, ...] = ()
    children: tuple[Tree, ...] = ()
    make: Any = None

    @property
    def size(self) -> int:
        """Number of leaves."""
        return 1 if self.kind is None else sum(c.size for c in self.children)

    def nodes(self) -> list[tuple[str, tuple[Any, ...], Any]]:
        """Kind, keys and class of each node, in front of its branches: what generated extension modules read.

        >>> flatten({"a": (1.0, 2.0)}, lambda v: False)[2].nodes()
        [('dict', ('a',), None), ('tuple', (0, 1), None), ('leaf', (), None), ('leaf', (), None)]
        """
        return [(self.kind or "leaf", self.keys, self.make), *(n for c in self.children for n in c.nodes())]

    def filled(self, leaf: Tree) -> Tree:
        """This tree with another one in the place of each leaf.

        >>> pair = Tree("tuple", (0, 1), (Tree(), Tree()))
        >>> pair.filled(pair).unflatten([1.0, 2.0, 3.0, 4.0])
        ((1.0, 2.0), (3.0, 4.0))
        """
        return leaf if self.kind is None else replace(self, children=tuple(c.filled(leaf) for c in self.children))

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        """The pytree of this shape with the given leaves."""
        return self._build(iter(leaves))

    def _build(self, leaves: Iterator[Any]) -> Any:
        if self.kind is None:
            return next(leaves)
        parts = [c._build(leaves) for c in self.children]
        return _BUILDERS[self.kind](self, parts)

    def flatten(self, value: Any, where: str) -> list[Any]:
        """The leaves of `value`, which must have this shape; `where` names it in the error."""
        if self.kind is None:
            return [value]
        branches = _children(value, lambda _: False)
        if (
            branches is not None
            and branches[0] == self.kind == "dict"
            and tuple(branches[1]) != self.keys
            and set(branches[1]) == set(self.keys)
        ):
            entries = dict(zip(*branches[1:], strict=True))  # in another order, it is the same dict
            branches = "dict", self.keys, [entries[key] for key in self.keys]
        if branches is None or branches[0] != self.kind or tuple(branches[1]) != self.keys:
            raise SpecError(f"{where} is {_shape_text(value, branches)}, expected {self}")
        found: list[Any] = []
        for key, child, part in zip(self.keys, self.children, branches[2], strict=True):
            found += child.flatten(part, f"{where}{_step(self.kind, key)}")
        return found

    def __str__(self) -> str:
        if self.kind is None:
            return "a leaf"
        return f"a {self.kind} with {', '.join(map(repr, self.keys)) or 'no entries'}"


_BUILDERS: dict[str, Callable[[Tree, list[Any]], Any]] = {
    "none": lambda tree, parts: None,
    "tuple": lambda tree, parts: tuple(parts),
    "list": lambda tree, parts: parts,
    "dict": lambda tree, parts: dict(zip(tree.keys, parts, strict=True)),
    "named tuple": lambda tree, parts: tree.make(*parts),
    "dataclass": lambda tree, parts: tree.make(**dict(zip(tree.keys, parts, strict=True))),
}


def flatten(value: Any, is_leaf: Callable[[Any], bool], path: str = "") -> tuple[list[Any], list[str], Tree]:
    """Leaves, their paths (`params['W1']`, `state.x[0]`), and the shape; `is_leaf` stops the descent early.

    >>> flatten({"a": 1.0, "b": (2.0, 3.0)}, lambda v: False, "p")[1]
    ["p['a']", "p['b'][0]", "p['b'][1]"]
    """
    branches = None if is_leaf(value) else _children(value, is_leaf)
    if branches is None:
        return [value], [path], Tree()
    kind, keys, parts = branches
    leaves: list[Any] = []
    paths: list[str] = []
    children = []
    for key, part in zip(keys, parts, strict=True):
        inner, inner_paths, child = flatten(part, is_leaf, path + _step(kind, key))
        leaves += inner
        paths += inner_paths
        children.append(child)
    make = type(value) if kind in ("named tuple", "dataclass") else None
    return leaves, paths, Tree(kind, tuple(keys), tuple(children), make)


def _step(kind: str, key: Any) -> str:
    return f".{key}" if kind in ("named tuple", "dataclass") else f"[{key!r}]"


def _children(value: Any, is_leaf: Callable[[Any], bool]) -> tuple[str, Sequence[Any], Sequence[Any]] | None:
    """Kind, keys and parts of a branch as they are at this moment; None for a leaf."""
    if value is None:
        return "none", (), ()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return "named tuple", value._fields, value
    if isinstance(value, tuple | list):
        parts = tuple(value)  # other threads may change a list
        return type(value).__name__ if type(value) in (tuple, list) else "tuple", range(len(parts)), parts
    if isinstance(value, dict):
        entries = dict(value)
        return "dict", list(entries), list(entries.values())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value) if f.init]
        return "dataclass", names, [getattr(value, n) for n in names]
    return None


def _shape_text(value: Any, branches: tuple[str, Sequence[Any], Sequence[Any]] | None) -> str:
    if branches is None:
        return f"a {type(value).__name__}"
    return f"a {branches[0]} with {', '.join(map(repr, branches[1])) or 'no entries'}"


def leaf_names(paths: Sequence[str], taken: dict[str, int]) -> list[str]:
    """Short distinct names: the last word of the path (`params['W1']` -> W1), or all of it where several end alike."""
    found = []
    split = ["".join(c if c.isalnum() or c == "_" else " " for c in path).split() for path in paths]
    ends = Counter(words[-1] for words in split)
    for words in split:
        short = words[-1].isidentifier() and ends[words[-1]] == 1
        options = [words[-1], "_".join(words)] if short else ["_".join(words)]
        name = next((o for o in options if o not in taken and o.isidentifier()), "")
        while not name:
            taken[options[-1]] = taken.get(options[-1], 0) + 1
            candidate = f"{options[-1]}_{taken[options[-1]]}"
            name = candidate if candidate not in taken else ""
        taken.setdefault(name, 0)
        found.append(name)
    return found


def parameter_names(function: Callable[..., Any], fallback: int | Sequence[str]) -> list[str]:
    """What to call the arguments of a function: after its parameters, else as in `fallback` (a number: x0, x1, …)."""
    other = [f"x{i}" for i in range(fallback)] if isinstance(fallback, int) else [*fallback]
    try:
        found = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return other
    return [*found[: len(other)], *other[len(found) :]]
