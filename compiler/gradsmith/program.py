"""The program: what the templates see. Strings, numbers and tuples only, in the order in which they are printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Argument", "Function", "Line", "Pattern", "Point", "Program", "SelfTest", "Table", "Work"]


@dataclass(frozen=True)
class Line:
    """One line of a function's body: its nesting depth and its text ("" is a blank line)."""

    depth: int
    text: str


@dataclass(frozen=True)
class Argument:
    """An input or an output: its name, shape, and what it is in the user's terms."""

    name: str
    shape: tuple[int, ...]
    size: int
    about: str
    dtype: str = "float64"
    ctype: str = "double"
    format: str = "d"  # of the struct module

    @property
    def is_scalar(self) -> bool:
        return self.shape == ()

    @property
    def ndim(self) -> int:
        return len(self.shape)


@dataclass(frozen=True)
class Work:
    """Workspace of one element type: the parameter's name, the end of the macro's, and how many elements it has."""

    name: str
    macro: str
    ctype: str
    size: int


@dataclass(frozen=True)
class Function:
    """One emitted function. `signature` and `result` are ready to print; `work` lists the workspaces it needs.

    `groups` counts the outputs that belong together, such as values and gradients.
    """

    name: str
    kind: str
    doc: str
    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    signature: str
    body: tuple[Line, ...]
    result: str
    work: tuple[Work, ...] = ()
    returns_tuple: bool = False
    groups: tuple[int, ...] = ()


@dataclass(frozen=True)
class Point:
    """One stored self-test: texts of all argument numbers (or the seed that makes them), and of the results wanted."""

    arguments: tuple[str, ...]
    seed: str
    value: tuple[str, ...]
    gradient: tuple[str, ...]


@dataclass(frozen=True)
class SelfTest:
    """What the emitted file checks when it is run.

    `reference` says where the stored numbers come from, `also` what else they are compared with. With `exact`, each
    point stores all arguments and all of the gradient. Otherwise a formula makes the arguments from
    the point's seed, and the gradient is compared with central differences alone. `places` are the flat argument
    numbers that the gradient is with respect to, `ranges` the (start, stop) of each argument in them; `numbers`,
    `values` and `slopes` count arguments, values and gradient entries; `gradients` says whether points store them.
    `step` and `slack` are the step and the tolerance of central differences, taken at each place if `by_place`
    (straight-line code), else along a few directions. `calls` holds for each kind of function
    the statement that calls it (C).
    """

    reference: str
    also: str
    points: tuple[Point, ...]
    exact: bool
    tolerance: str
    step: str
    slack: str
    low: str
    high: str
    places: tuple[int, ...]
    ranges: tuple[tuple[int, int], ...]
    numbers: int
    values: int
    slopes: int
    gradients: bool
    calls: Mapping[str, str] = field(default_factory=dict)
    by_place: bool = True


@dataclass(frozen=True)
class Pattern:
    """Where the nonzeros of a sparse output stand: the arrays of its format, each with the end of its name."""

    name: str
    format: str
    shape: tuple[int, int]
    arrays: tuple[tuple[str, Sequence[str]], ...]


@dataclass(frozen=True)
class Table:
    """A constant array of integers in the emitted file: its name, length, and definition in the target's words."""

    name: str
    size: int
    text: str


@dataclass(frozen=True)
class Program:
    """Everything a target's templates print. `tested` are the functions that the self-test calls."""

    name: str
    guard: str
    version: str
    graph_hash: str
    title: str
    inputs: tuple[Argument, ...]
    functions: tuple[Function, ...]
    twins: tuple[Function, ...]
    imports: tuple[str, ...]
    includes: tuple[str, ...]
    support: tuple[str, ...]
    twin_support: tuple[str, ...]
    constants: tuple[str, ...]
    dtype: str
    strict: bool
    work: tuple[Work, ...]
    selftest: SelfTest | None
    patterns: tuple[Table, ...]
    tested: tuple[Function, ...]
    value: Function | None
    grad: Function | None
    value_and_grad: Function | None

    def function(self, kind: str) -> Function | None:
        """The function of a kind, if there is one."""
        return next((f for f in self.functions if f.kind == kind), None)
