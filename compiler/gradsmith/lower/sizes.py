"""Sizes of named dimensions in generated code: what they are called, and where they come from.

In: the graphs of a file and the user's arguments. Out: the graphs in names that the target allows, and the statements
at the top of a function that say what the names are. In C a size is a parameter, and what is no polynomial in sizes
(the length `max(n - 1, 0)` of a slice) is a variable; NumPy and Python read sizes off the arguments, and have `max`
themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..dims import Bound, Dim, atom, dims_in, extent, substituted
from ..errors import SpecError, TargetError
from ..graph import Graph
from ..passes.specialise import renamed_sizes, size_names
from ..program import Agreement, Argument, Function, Line, Size
from ..regions import with_inner
from ..target import Target
from .memory import larger
from .naming import Names
from .nests import lines_of
from .statements import Body, annotated

__all__ = ["Sizes", "named_sizes"]


@dataclass(frozen=True)
class Sizes:
    """The sizes of a file: `given` name axes of arguments, and `lines` define each name, by what it is made of."""

    given: tuple[Size, ...]
    target: Target
    renamed: dict[Any, Any]
    bounds: tuple[tuple[str, str], ...] = ()  # name, definition

    def value(self, factor: Any) -> Any:
        """What takes the place of a name, or of a function of sizes."""
        return self.renamed.get(factor, factor)

    def of(self, a: Argument) -> Argument:
        """An argument in the names of the code."""
        if a.is_fixed and isinstance(a.size, int):
            return a
        shape = tuple(substituted(d, self.value) for d in a.shape)
        return replace(a, shape=shape, size=substituted(a.size, self.value))

    def whole(self, body: Body) -> list[Line]:
        """The lines of a body that is told apart, as of one function."""
        steps = annotated([(step.origin, step.lines) for step in body.steps], self.target)
        return self.before([*body.entry, *body.prelude, *steps], body)

    def before(self, lines: Sequence[Line], body: Body) -> list[Line]:
        """The lines of a function behind the definitions of all sizes that they, or its result, name."""
        if not self.given:
            return [*lines]
        used = {word for text in (*(line.text for line in lines), body.result) for word in _WORD.findall(text)}
        found: list[str] = []
        for name, text in reversed(self.bounds):
            if name in used:
                found.append(text)
                used.update(_WORD.findall(text))
        found = found[::-1]
        parameters = "size_input" in self.target.syntax
        for size in reversed(self.given):
            if parameters and size.name not in used:
                found.insert(0, self.target.syntax["unused"].format(name=size.name))
            elif not parameters and size.name in used:
                pattern = "first_size" if size.axis == 0 and "first_size" in self.target.syntax else "size"
                found.insert(0, self.target.syntax[pattern].format(name=size.name, array=size.array, axis=size.axis))
                body.helpers[pattern] = None
        return [*(line for text in found for line in lines_of(text)), *lines]

    def unused(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Statements for the parameters that `texts` name not, nor what they are made of."""
        used = {word for text in (*texts, *self.definitions(texts)) for word in _WORD.findall(text)}
        return tuple(self.target.syntax["unused"].format(name=s.name) for s in self.given if s.name not in used)

    def agreements(self, inputs: Sequence[Argument]) -> tuple[Agreement, ...]:
        """The axes of arguments that must have a size which another one gives."""
        user = {new.name: extent({(old,): 1}) for old, new in self.renamed.items()}
        read_off = {(s.input, s.axis) for s in self.given}
        found = []
        for i, a in enumerate(inputs):
            for axis, d in enumerate(a.shape):
                if isinstance(d, Dim) and (i, axis) not in read_off:
                    told = substituted(d, lambda f: user.get(f, f))
                    words = {self.renamed[name].name for dim in dims_in((told,)) for name in dim.names}
                    first = next(s.input for s in self.given if s.name in words)
                    found.append(Agreement(i, axis, str(d), str(told), first))
        return tuple(found)

    def agreeing(self, inputs: Sequence[Argument], body: Body) -> list[Line]:
        """The statements that compare the sizes which arguments must share, for targets that have such."""
        if "agree" not in self.target.syntax:
            return []
        found = []
        for a in self.agreements(inputs):
            text = self.target.syntax["agree"].format(array=inputs[a.input].name, axis=a.axis, size=a.size)
            found += lines_of(text)
            body.helpers["agree"] = None
        return found

    def at(self, values: Mapping[str, int], f: Function) -> Function:
        """`f` with the shapes that its arguments, results and workspaces have for these sizes."""
        numbers: dict[Any, Any] = {new.name: values[old] for old, new in self.renamed.items() if isinstance(old, str)}
        for old, new in self.renamed.items():
            if isinstance(old, Bound):
                numbers[new.name] = substituted(extent({(old,): 1}), lambda f: values[f] if isinstance(f, str) else f)

        def value(factor: Any) -> Any:
            return numbers.get(factor, factor)

        def fixed(a: Argument) -> Argument:
            shape = tuple(substituted(d, value) for d in a.shape)
            return replace(a, shape=shape, size=substituted(a.size, value))

        work = tuple(replace(w, size=larger(1, substituted(w.size, value))) for w in f.work)
        return replace(f, inputs=tuple(map(fixed, f.inputs)), outputs=tuple(map(fixed, f.outputs)), work=work)

    def definitions(self, texts: Sequence[str]) -> tuple[str, ...]:
        """The definitions of the functions of sizes that `texts` name, directly or not."""
        used = {word for text in texts for word in _WORD.findall(text)}
        found: list[str] = []
        for name, text in reversed(self.bounds):
            if name in used:
                found.append(text)
                used.update(_WORD.findall(text))
        return tuple(found[::-1])


_WORD = re.compile(r"[A-Za-z_]\w*")


def named_sizes(
    graphs: Sequence[Graph], inputs: Sequence[Argument], names: Names, target: Target
) -> tuple[list[Graph], Sizes]:
    """`graphs` in the names of their code, and what they mean; all take `inputs` first."""
    wanted = size_names(graphs[0])
    if not wanted:
        return [*graphs], Sizes((), target, {})
    if not {"size", "size_input"} & {*target.syntax}:
        raise TargetError(
            f"target {target.name!r} writes no code for named dimensions ({', '.join(wanted)}): give ints in args=, or "
            'use target="python", "numpy" or "c"'
        )
    names.fresh("most")  # of the function that says how large a workspace is
    renamed: dict[Any, Any] = {name: Dim(names.fresh(name)) for name in wanted}
    sizes = Sizes(tuple(_given(name, renamed[name].name, inputs) for name in wanted), target, renamed)
    bounds: list[tuple[str, str]] = []
    for bound in _bounds(graphs) if "longest" in target.syntax else ():
        name = names.fresh(None, "size_")
        inner = substituted(bound.size, sizes.value)
        pattern = target.syntax["quotient" if bound.divisor else "longest"]
        bounds.append((name, pattern.format(name=name, size=atom(inner), divisor=bound.divisor)))
        renamed[bound] = Dim(name)
    sizes = replace(sizes, bounds=tuple(bounds))
    if all(renamed[name].name == name for name in wanted) and not bounds:
        return [*graphs], sizes
    return [renamed_sizes(graph, sizes.value) for graph in graphs], sizes


def _given(name: str, word: str, inputs: Sequence[Argument]) -> Size:
    """The axis that a name is read off: the first one of an argument where there is such, which lists have too."""
    places = [(axis, i) for i, a in enumerate(inputs) for axis, d in enumerate(a.shape) if d == Dim(name)]
    if not places:
        raise SpecError(
            f"args=: {name!r} is the length of no axis, so the arguments do not tell it: give one an axis {name!r}"
        )
    axis, i = min(places)
    return Size(word, inputs[i].name, i, axis)


def _bounds(graphs: Sequence[Graph]) -> dict[Bound, None]:
    """The functions of sizes in graphs, what they are made of first."""
    found: dict[Bound, None] = {}
    for n in (n for graph in graphs for n in with_inner(graph)):
        shapes = [*n.params.values(), n.type.shape, *(t.shape for t in getattr(n.type, "types", ()))]
        for dim in dims_in(shapes):
            found.update(dict.fromkeys(dim.bounds))
    return found
