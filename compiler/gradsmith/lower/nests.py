"""Nests: loops inside loops over a shape, in the target's syntax."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ..dims import Extent
from ..index import Affine, Index, variable
from ..program import Line
from ..target import Target
from .naming import Names
from .printing import WIDTH, wrapped

__all__ = ["Nest", "Nests", "Write", "lines_of"]


@dataclass(frozen=True)
class Nest:
    """The loop being written: its subscript, and whether arrays are walked as one flat block."""

    index: Index
    flat: bool
    depth: int


Write = Callable[[Nest, list[Line]], None]


class Nests:
    """The loops of one function, which share their variables by depth."""

    def __init__(self, target: Target, names: Names) -> None:
        self._syntax, self._strict, self._names = target.syntax, target.strict, names
        self._variables: list[str] = []
        self._named: dict[str, str] = {}

    def over(
        self,
        shape: Sequence[Extent],
        inside: Write,
        depth: int = 0,
        step: int = 1,
        span: tuple[int, str, str] | None = None,
        partial: str = "",
    ) -> list[Line]:
        """A nest of loops over `shape`, `step` places at a time; axes of size 1 need none.

        `span`: which axis has only a part of its places visited, and the names of the first one and of the end;
        `partial`: how many places an inner loop visits for each step of the loop, the only one there is.
        """
        lines: list[Line] = []
        index: list[Affine] = []
        start = depth
        for axis, size in enumerate(shape):
            if size == 1:
                index.append(Affine())
                continue
            name = self.variable(depth)
            if span is not None and axis == span[0]:
                text = self._syntax["for_part"].format(name=name, start=span[1], end=span[2])
            else:
                text = self._syntax["for" if step == 1 else "for_blocks"].format(name=name, size=size, step=step)
            if partial:
                text = self._syntax["for_blocks"].format(name=name, size=size, step=partial)
                lines += [Line(depth, text), Line(depth + 1, self._syntax["side_by_side"])]
                depth, start_of = depth + 1, name
                name = self.variable(depth)
                text = self._syntax["for_part"].format(name=name, start=start_of, end=f"{start_of} + {partial}")
            lines.append(Line(depth, text))
            index.append(variable(name))
            depth += 1
        inside(Nest(tuple(index), False, depth), lines)
        if "end" in self._syntax:
            lines += [Line(d, self._syntax["end"]) for d in range(depth - 1, start - 1, -1)]
        return lines

    def variable(self, depth: int) -> str:
        """The variable of the loops at a depth."""
        while len(self._variables) <= depth:
            self._variables.append(self._names.fresh("ijklmnop"[len(self._variables) % 8]))
        return self._variables[depth]

    def named(self, wish: str) -> str:
        """The one name of a kind that the loops of this function share, as no two of them are inside each other."""
        if wish not in self._named:
            self._named[wish] = self._names.fresh(None, wish)
        return self._named[wish]

    def rows(
        self,
        nest: list[Line],
        shape: Sequence[Extent],
        sums: Mapping[str, Mapping[str, str]],
        out_of_order: AbstractSet[str],
        operators: Mapping[str, str],
        independent: bool = False,
    ) -> list[Line]:
        """A nest of loops in which each row has sums of its own, if it reads rows `out_of_order`.

        `sums`: the running sums of the nest, each with the word for its `type` and its zero (`value`); `operators`: the
        running values that the innermost loop may combine in any order, each with OpenMP's name for how; `independent`:
        whether its iterations have nothing else in common.

        GCC 12 (Debian 12's) adds elements twice, from -O2 on, where it vectorises a sum over several axes of which the
        innermost is read backwards. Strict code keeps one order of additions; its file tells GCC not to vectorise.
        A target without the pattern `row_sum` has no such compiler.
        """
        loops = 0 if self._strict or "row_sum" not in self._syntax else sum(size != 1 for size in shape)
        if loops < 2 or not sums or self._variables[nest[loops - 1].depth] not in out_of_order:
            return self._reduced(nest, shape, operators, independent)
        depth = nest[loops - 1].depth
        row = {total: self._names.fresh(None, "row_") for total in sums}
        add_to = self._syntax["add_to"]
        inner = []
        for line in nest[loops:-loops]:
            name = next((t for t in sums if line.text.startswith(f"{t} ")), None)
            inner.append(line if name is None else Line(line.depth, row[name] + line.text.removeprefix(name)))
        before = [Line(depth, self._syntax["row_sum"].format(name=row[t], **sums[t])) for t in sums]
        after = [Line(depth, add_to.format(name=t, value=row[t])) for t in sums]
        return [
            *nest[: loops - 1],
            *before,
            *self._clauses({row.get(t, t): operator for t, operator in operators.items()}, depth),
            nest[loops - 1],
            *inner,
            nest[-loops],
            *after,
            *nest[len(nest) - loops + 1 :],
        ]

    def _reduced(
        self, nest: list[Line], shape: Sequence[Extent], operators: Mapping[str, str], independent: bool
    ) -> list[Line]:
        """The nest, before whose innermost loop stands what may be reordered in it."""
        last = sum(size != 1 for size in shape) - 1
        if independent and last >= 0 and not operators and "independent" in self._syntax:
            return [*nest[:last], Line(nest[last].depth, self._syntax["independent"]), *nest[last:]]
        if last < 0 or not operators:
            return nest
        return [*nest[:last], *self._clauses(operators, nest[last].depth), *nest[last:]]

    def _clauses(self, operators: Mapping[str, str], depth: int) -> list[Line]:
        if not operators or "simd" not in self._syntax:
            return []
        names: dict[str, list[str]] = {}
        for name, operator in operators.items():
            names.setdefault(operator, []).append(name)
        clause = self._syntax["reduction"]
        text = " ".join(clause.format(operator=o, names=", ".join(found)) for o, found in names.items())
        declared = any(operator.isidentifier() for operator in names)
        return [Line(depth, self._syntax["simd_declared" if declared else "simd"].format(clauses=text))]


_LINE = tuple.__new__  # of a named tuple, without the call of a function in Python


def lines_of(text: str, depth: int = 0) -> list[Line]:
    """A statement at this depth, in as many lines as it needs."""
    if len(text) + 4 + 4 * depth <= WIDTH:
        return [_LINE(Line, (depth, text))]
    return [Line(depth, part) for part in wrapped(text, WIDTH, 4 + 4 * depth)]
