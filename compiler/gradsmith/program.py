"""The program: what the templates see. Strings, numbers and tuples only, in the order in which they are printed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .dims import Extent

__all__ = [
    "Agreement", "Argument", "Axis", "Batch", "BatchTest", "Check", "Function", "Lanes", "Line", "PartFunction",
    "Pattern", "Point", "Program", "SelfTest", "Size", "Stored", "Strided", "Table", "Work",
]  # fmt: skip


class Line(NamedTuple):
    """One line of a function's body: its nesting depth and its text ("" is a blank line)."""

    depth: int
    text: str


@dataclass(frozen=True)
class Argument:
    """An input or an output: its name, shape, and what it is in the user's terms."""

    name: str
    shape: tuple[Extent, ...]
    size: Extent
    about: str
    dtype: str = "float64"
    ctype: str = "double"
    format: str = "d"  # of the struct module
    wanted: str = ""  # its shape as the user writes it

    @property
    def is_scalar(self) -> bool:
        return self.shape == ()

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def is_fixed(self) -> bool:
        """Whether its shape is known before run time."""
        return all(isinstance(d, int) for d in self.shape)

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        """The shape, with -1 for what is known at run time only."""
        return tuple(d if isinstance(d, int) else -1 for d in self.shape)


@dataclass(frozen=True)
class Size:
    """The size of a named dimension: its name in the code, and the argument (name, number) and axis that it is of."""

    name: str
    array: str
    input: int
    axis: int


@dataclass(frozen=True)
class Agreement:
    """An axis whose size must agree with what the first argument with that name has.

    It is axis `axis` of input number `input`; `size` is what the code writes, `user` what the user calls it.
    """

    input: int
    axis: int
    size: str
    user: str
    first: int  # the input that the size is read off


@dataclass(frozen=True)
class Work:
    """Workspace of one element type: the parameter's name, the end of the macro's, and how many elements it has.

    Where that depends on named dimensions, `choices` are sizes of which the largest is needed, behind `before`.
    """

    name: str
    macro: str
    ctype: str
    size: Extent
    choices: tuple[str, ...] = ()  # the first of them and the others
    before: tuple[str, ...] = ()
    function: str = ""

    @property
    def is_fixed(self) -> bool:
        """Whether its size is known before run time."""
        return isinstance(self.size, int)


@dataclass(frozen=True)
class Place:
    """An input or an output of a function, and its number there."""

    argument: Argument
    number: int
    is_output: bool = False


@dataclass(frozen=True)
class Neighbours:
    """An output, and an array that must not share memory with it."""

    output: Place
    other: Place


@dataclass(frozen=True)
class Function:
    """One emitted function. `signature` and `result` are ready to print; `work` lists the workspaces it needs.

    `groups` counts the outputs that belong together, such as values and gradients. With named dimensions, `agreements`
    are the sizes that its inputs must share, and `shape_sizes` define the sizes that shapes and workspaces name.
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
    agreements: tuple[Agreement, ...] = ()
    shape_sizes: tuple[str, ...] = ()

    @property
    def inside(self) -> str:
        """The lines of the body as they stand between braces."""
        return _inside(self.body)

    @property
    def is_long(self) -> bool:
        """Whether it has so many inputs and outputs that C compilers take long over a statement for each."""
        return len(self.inputs) + len(self.outputs) > 48

    @property
    def most_buffers(self) -> int:
        """How many buffers a call may have to hold: of its arrays, and of the places that are given for numbers."""
        numbers = [] if self.is_long else [a for a in self.outputs if a.is_scalar]
        return len(numbers) + sum(not a.is_scalar for a in (*self.inputs, *self.outputs))

    @property
    def counts(self) -> tuple[str, ...]:
        """The sizes of workspaces and outputs known at run time only, as C expressions that cannot overflow."""
        parts: tuple[Work | Argument, ...] = (*self.work, *self.outputs)
        sizes = [part.size for part in parts if not part.is_fixed]
        return tuple(dict.fromkeys(_NAME.sub(lambda word: f"(double){word[0]}", str(size)) for size in sizes))

    @property
    def neighbours(self) -> tuple[Neighbours, ...] | None:
        """Each output with each array that shares no memory with it; None if there are too many."""
        return None if self.is_long else neighbours(self.inputs, self.outputs)


def _inside(body: Sequence[Line]) -> str:
    # here, as a template takes twice as long over lines, of which there may be a million
    return "".join([f"    {'    ' * depth}{text}\n" if depth else f"    {text}\n" for depth, text in body])


_NAME = re.compile(r"[A-Za-z_]\w*")


def neighbours(inputs: Sequence[Argument], outputs: Sequence[Argument]) -> tuple[Neighbours, ...] | None:
    """Each output with the arrays among the inputs and with the outputs before it; None if these are more than 24."""
    arrays = [Place(a, k) for k, a in enumerate(inputs) if not a.is_scalar]
    written = [Place(a, k, is_output=True) for k, a in enumerate(outputs)]
    pairs = [Neighbours(o, a) for k, o in enumerate(written) for a in (*arrays, *written[:k])]
    return tuple(pairs) if len(pairs) <= 24 else None


@dataclass(frozen=True)
class Axis:
    """An axis of a strided array: its size, the parameter for its stride, and the stride that a compact array has."""

    size: int
    stride: str
    step: int


@dataclass(frozen=True)
class Strided:
    """An input or an output of a batch function, with the words of C's memory in `argument`.

    `each`: whether there is one for each point. Otherwise an input is the same for all points, an output their sum, and
    both lie as in the function of one point. `point` is the parameter for the stride from point to point and `axes`
    are those within one point. Straight-line code reads component k of lane p at `lanes[k * step + p]`. Code that goes
    point by point puts what is not compact at `packed` in the workspace `work`.
    """

    argument: Argument
    each: bool
    point: str = ""
    axes: tuple[Axis, ...] = ()
    offset: str = ""  # of number `gs_k` of a point, within that point
    lanes: str = ""
    step: str = ""
    work: str = ""
    packed: int = 0

    @property
    def room(self) -> int:
        """The elements of an array that holds one point; C has none without elements."""
        return max(1, int(self.argument.size))

    @property
    def outer(self) -> tuple[Axis, ...]:
        """All axes but the last."""
        return self.axes[:-1]


@dataclass(frozen=True)
class Lanes:
    """The straight-line code of one point that a loop over the points of a block turns into vector code.

    `shared` are the lines before the loop, which read what is the same for all points; `body` those inside, and `after`
    those behind it. `unused` are the parameters that no line names. `far` stands for it where an argument lies beyond
    the range of its vector functions. Lanes come in groups of `group`. `narrow` is an unsigned type of half the width
    of the numbers, where compilers had better compute two vectors by turns; else "".
    """

    signature: str
    shared: tuple[Line, ...]
    body: tuple[Line, ...]
    unused: tuple[str, ...]
    after: tuple[Line, ...] = ()
    far: Lanes | None = None
    group: int = 8
    narrow: str = ""


@dataclass(frozen=True)
class Batch:
    """A function of many points, `block` at a time, as `function` is of one.

    With `lanes`, a block is one loop of straight-line code; without, `function` is called for each point. `work` lists
    the workspaces, one of each for each thread. From `streams` points on, results are stored past the caches (0:
    never), all of C's type `streamed`, in blocks of `short_block` points, which ask for the arguments `ahead` (into the
    `second` cache, or the first); `run` points of them go together. From `head` points on (0: never), a short first
    block ends where lines of memory do in most rows of the arrays `lined`. From `least` points on, there is work for
    `threads`. Its arrays on the C stack take `stack` bytes.
    """

    name: str
    doc: str
    function: Function
    inputs: tuple[Strided, ...]
    outputs: tuple[Strided, ...]
    block: int
    signature: str
    parameters: str
    lanes: Lanes | None
    work: tuple[Work, ...]
    threads: bool
    streams: int = 0
    streamed: str = ""
    short_block: int = 0
    row_room: int = 0  # of a short block of one row of results: its numbers, with a line in front
    ahead: int = 0
    second: bool = False
    run: int = 0
    head: int = 0
    lined: tuple[Strided, ...] = ()
    least: int = 1
    stack: int = 0

    @property
    def rows_read(self) -> int:
        """The numbers of a point that are read; C has no array without elements."""
        return max(1, sum(int(a.argument.size) for a in self.inputs if a.each))

    @property
    def rows_written(self) -> int:
        """The numbers of a point that are results."""
        return sum(int(a.argument.size) for a in self.outputs)

    @property
    def room(self) -> int:
        """The numbers of a short block's results, with room to begin at a line of memory."""
        return (self.rows_written + 1) * self.row_room

    @property
    def sums(self) -> tuple[Strided, ...]:
        """The outputs that are added up over the points."""
        return tuple(a for a in self.outputs if not a.each)


@dataclass(frozen=True)
class PartFunction:
    """A function that a long one calls: what it is, and its signature and body as of a `Function`."""

    title: str
    signature: str
    body: tuple[Line, ...]

    @property
    def inside(self) -> str:
        """The lines of the body as they stand between braces."""
        return _inside(self.body)

    @property
    def is_straight(self) -> bool:
        """Whether it has no loops or branches."""
        return all(line.depth == 0 for line in self.body)


@dataclass(frozen=True)
class Check:
    """How the self-test calls one function besides value and gradient, and what it looks at.

    The function takes the arguments and then `seeds`, whose numbers a formula makes; its results begin with `before`
    values, and `places` are those of the `count` numbers behind them that points store: all of them if `whole`, else a
    sample, beside the weighted sum of all.
    """

    kind: str
    count: int
    places: tuple[int, ...]
    tolerance: str
    name: str = ""
    seeds: tuple[Argument, ...] = ()
    before: int = 0

    @property
    def whole(self) -> bool:
        return len(self.places) == self.count


@dataclass(frozen=True)
class Stored:
    """What one check wants at one point: texts of the numbers at its places, and of the weighted sum of all."""

    numbers: tuple[str, ...]
    total: str


@dataclass(frozen=True)
class Point:
    """One stored self-test: texts of all argument numbers (or the seed that makes them), and of the results wanted.

    `further` goes with the self-test's `checks`.
    """

    arguments: tuple[str, ...]
    seed: str
    value: tuple[str, ...]
    gradient: tuple[str, ...]
    further: tuple[Stored, ...] = ()


@dataclass(frozen=True)
class BatchTest:
    """How the self-test calls a batch function, with how many points, and which kind of function gives one of them."""

    name: str
    kind: str
    batch: Batch
    points: int
    call: str


@dataclass(frozen=True)
class SelfTest:
    """What the emitted file checks when it is run.

    `reference` says where the stored numbers come from, `also` what else they are compared with. With `exact`, each
    point stores all arguments and all of the gradient. Otherwise a formula makes the arguments from
    the point's seed, and the gradient is compared with central differences alone. `places` are the flat argument
    numbers that the gradient is with respect to, `ranges` the (start, stop) of each argument in them; `numbers`,
    `values` and `slopes` count arguments, values and gradient entries; `gradients` says whether points store them.
    `differences` says whether it is compared with central differences; `step` and `slack` are their step and tolerance,
    taken at each place if `by_place` (straight-line code), else along a few directions. `calls` holds for each kind of
    function the statement that calls it (C). `sizes` are the sizes of named dimensions in the test, and `functions` and
    `inputs` what the file has, with the shapes of these sizes. `checks` are those of all other functions, `seeds` the
    most numbers that one of them takes besides the arguments, and `most` the most numbers that a function returns;
    `valued` says whether any returns values.
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
    differences: bool
    calls: Mapping[str, str] = field(default_factory=dict)
    by_place: bool = True
    sizes: Mapping[str, int] = field(default_factory=dict)
    functions: tuple[Function, ...] = ()
    inputs: tuple[Argument, ...] = ()
    checks: tuple[Check, ...] = ()
    seeds: int = 0
    most: int = 0
    valued: bool = True
    batches: tuple[BatchTest, ...] = ()


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
    """Everything a target's templates print. `tested` are the functions of value and gradient.

    `units` are the parts of long functions. More than one are compiled apart, and the functions themselves before them.
    """

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
    libraries: tuple[str, ...]
    constants: tuple[str, ...]
    dtype: str
    strict: bool
    work: tuple[Work, ...]
    selftest: SelfTest | None
    units: tuple[tuple[PartFunction, ...], ...]
    patterns: tuple[Table, ...]
    tested: tuple[Function, ...]
    sizes: tuple[Size, ...]
    value: Function | None
    grad: Function | None
    value_and_grad: Function | None
    batches: tuple[Batch, ...] = ()
    gathered: tuple[str, ...] = ()  # the element types that batch functions bring into lanes
    scattered: tuple[str, ...] = ()  # those that they bring back
    streamed: tuple[str, ...] = ()  # the types of results that batch functions may store past the caches
    lined: tuple[str, ...] = ()  # and those by which blocks begin where lines of memory do
    summed: tuple[str, ...] = ()  # and those that they add
    batch_work: tuple[Work, ...] = ()
    most_axes: int = 0  # of an argument or a result of one point
    threads: bool = False
    contract: bool = False  # whether products and sums may become fused operations

    @property
    def has_arrays(self) -> bool:
        """Whether any of the functions takes or gives an array."""
        return any(a.shape for f in self.functions for a in (*f.inputs, *f.outputs))

    def function(self, kind: str) -> Function | None:
        """The function of a kind, if there is one."""
        return next((f for f in self.functions if f.kind == kind), None)

    def batch(self, kind: str) -> Batch | None:
        """The function of many points of a kind, if there is one."""
        return next((b for b in self.batches if b.function.kind == kind), None)
