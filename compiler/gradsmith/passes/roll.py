"""Roll: repeated structure becomes loops, as if the user had written arrays or a scan.

In: a primal graph, such as a Python loop over symbols leaves it: the same few operations a thousand times over. Out: a
graph in which each such run is operations on arrays where its steps depend on one another by sums and products alone,
and else a scan. Its derivatives, of any order, are loops then as well.

Nodes stand in the order in which the user's code made them, so a loop shows as a period in the sequence of their ops.
What a step reads is one of three: a value made a fixed number of nodes before (of this step, or carried from an earlier
one), the same value in all steps, or a leaf that changes with the step (an input, an element of an array, a constant).
Anything else ends the run. Guarantee: sums of more than two terms may be added in another order, and nothing else
differs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import networkx as nx
import numpy as np

from ..as_graph import to_graph
from ..graph import Graph, Node, freeze_key
from ..ops import concatenate, getitem, negative, prod, reshape, scan, stack
from ..ops import sum as sum_of
from ..registry import lookup
from ..target import Target
from ..trace import Expr, _record, apply, constant, recording
from ..types import static_shape

__all__ = ["roll", "rolled"]

_ROUNDS = 3  # loops in loops
_GRAMS = (4, 16, 64)  # operations in a row that are looked for again
_PERIODS = 12  # that are tried
_TABLE = 8  # elements taken of one array, from which on it is data that steps go through, not a state
_DEEPEST = 4  # steps that a carried value goes back
#: of what adds up: how two are joined, how an array is, and what changes nothing (a sub adds the negative)
_SUMS: Mapping[str, tuple[Callable[..., Expr], Callable[..., Expr], float]] = {
    "add": (lambda a, b: a + b, sum_of, 0.0),
    "sub": (lambda a, b: a + b, sum_of, 0.0),
    "mul": (lambda a, b: a * b, prod, 1.0),
}


class _Unfit(Exception):
    """A run that cannot be written as a loop."""


@dataclass(frozen=True)
class _Lag:
    """An operand made at `position` of the step `steps` before; `first` are the keys read where there is none."""

    position: int
    steps: int
    first: tuple[int, ...]


_Operand = _Lag | tuple[int, ...]  # or the keys read by each step, from outside the run


@dataclass
class _Run:
    """`keys[t, j]`: the node at position j of step t; `operands[j]`: what it reads."""

    keys: np.ndarray
    operands: list[list[_Operand]]
    wanted: dict[int, tuple[int, int]] = field(default_factory=dict)  # key -> step and position, read elsewhere

    @property
    def steps(self) -> int:
        return len(self.keys)


def rolled(graph: Graph, kinds: Sequence[str], target: Target, batch: bool = False) -> Graph:
    """`graph`, with runs as loops where `target` is the better for it.

    Strict code keeps the order of sums. Scalar code has no arrays, and Python runs straight lines faster than loops.
    The pattern of a sparse matrix is found in arrays, not in scans. A function of many points (`batch`) computes a
    vector of them at a time by straight lines, but not by scans; a derivative has about four times as many lines.
    """
    if target.strict or target.lowering == "scalar":
        return graph
    return roll(
        graph,
        steps=target.tuning.roll_steps,
        operations=target.tuning.roll_operations,
        recurrences={"jacobian", "hessian"}.isdisjoint(kinds)
        and not (batch and 4 * len(graph) <= target.tuning.batch_statements),
    )


def roll(graph: Graph, *, steps: int, operations: int, recurrences: bool) -> Graph:
    """`graph` with each run of at least `steps` equal steps, of `operations` nodes in all, as a loop.

    Without `recurrences`, only runs that need no scan.
    """
    for _ in range(_ROUNDS):
        if len(graph) < operations:
            break
        runs = [*_runs(graph, steps, operations)]
        new = _Rebuilt(graph, runs, recurrences).graph if runs else graph
        if len(new) >= len(graph):
            break
        graph = new
    return graph


# --- finding runs -----------------------------------------------------------------------------------------------------


def _runs(graph: Graph, steps: int, operations: int) -> Iterator[_Run]:
    """Runs that do not overlap, in the order of the graph."""
    nodes = [*graph.ordered()]
    leaves = _leaves(nodes)
    sequence = [n for n in nodes if n.key not in leaves]
    if len(sequence) < operations:
        return
    known: dict[object, int] = {}
    codes = np.array([known.setdefault(_code(n), len(known)) for n in sequence])
    place = np.full(len(nodes), -1)
    place[[n.key for n in sequence]] = np.arange(len(sequence))
    found = []
    for period in _periods(codes, operations):
        equal = np.concatenate([[0], codes[period:] == codes[:-period], [0]]).astype(np.int8)
        starts, ends = (np.flatnonzero(np.diff(equal) == sign) for sign in (1, -1))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            length = end - start + period
            if length >= operations and length >= steps * period:
                found.append((-length, period, start))
    taken: list[tuple[int, int]] = []
    result = []
    for negative_length, period, start in sorted(found):
        end = start - negative_length
        if all(end <= a or b <= start for a, b in taken):
            run = _fitted(graph, sequence, place, start, end, period, steps, operations)
            if run is not None:
                taken.append((start, end))
                result.append(run)
    yield from sorted(result, key=lambda r: int(r.keys[0, 0]))


def _leaves(nodes: Sequence[Node]) -> set[int]:
    """Inputs, what is made of constants alone, and elements of arrays of which many are taken."""
    taken = Counter(n.args[0] for n in nodes if _is_element(n))
    constants: set[int] = set()
    found = set()
    for n in nodes:
        if n.op != "input" and constants.issuperset(n.args):
            constants.add(n.key)
        if n.op == "input" or n.key in constants or (_is_element(n) and taken[n.args[0]] >= _TABLE):
            found.add(n.key)
    return found


def _is_element(n: Node) -> bool:
    return n.op == "index" and all(type(e) is int for e in n.params["key"])


def _code(n: Node) -> object:
    return n.op, freeze_key(n.params) if n.params else None, n.type, len(n.args)


def _periods(codes: np.ndarray, operations: int) -> list[int]:
    """The distances at which the same operations follow one another again, the most frequent ones."""
    counts: Counter[int] = Counter()
    for size in _GRAMS:
        if len(codes) <= size:
            continue
        grams = np.zeros(len(codes) - size + 1, dtype=np.uint64)
        for k in range(size):
            with np.errstate(over="ignore"):
                grams = grams * np.uint64(0x9E3779B97F4A7C15) + codes[k : k + len(grams)].astype(np.uint64) + 1
        order = np.argsort(grams, kind="stable")
        same = grams[order][1:] == grams[order][:-1]
        distances, number = np.unique(np.diff(order)[same], return_counts=True)
        counts.update(dict(zip(distances.tolist(), number.tolist(), strict=True)))
    often = [(count, -period) for period, count in counts.items() if count >= operations // 4]
    return sorted(-period for _, period in sorted(often, reverse=True)[:_PERIODS])


def _fitted(
    graph: Graph,
    sequence: Sequence[Node],
    place: np.ndarray,
    start: int,
    end: int,
    period: int,
    steps: int,
    operations: int,
) -> _Run | None:
    """The longest run of equal steps from `start` to `end` of the sequence."""
    start += _rotation(sequence, place, start, end, period)
    count = (end - start) // period
    keys = np.array([n.key for n in sequence[start : start + count * period]]).reshape(count, period)
    time, bad = np.arange(count), np.zeros(count, dtype=bool)
    lags: list[list[tuple[int, int] | None]] = []
    args = [[*zip(*(graph.node(k).args for k in keys[:, j].tolist()), strict=True)] for j in range(period)]
    for j in range(period):
        lags.append([])
        for read in args[j]:
            at = place[np.array(read)]
            inside = (at >= start) & (at < start + count * period)
            lag = None
            if 2 * np.count_nonzero(inside) >= count:
                distances = (start + time * period + j - at)[inside]
                back = j - int(Counter(distances.tolist()).most_common(1)[0][0])
                lag = (back % period, -(back // period))
                bad |= ~(inside & (start + (time - lag[1]) * period + lag[0] == at)) & (time >= lag[1])
            else:
                bad |= inside
            lags[j].append(lag)
    first, last = _longest(~bad)
    if last - first < steps or (last - first) * period < operations:
        return None
    operands: list[list[_Operand]] = [
        [
            tuple(read[first:last]) if lag is None else _Lag(*lag, tuple(read[first : min(first + lag[1], last)]))
            for lag, read in zip(lags[j], args[j], strict=True)
        ]
        for j in range(period)
    ]
    return _Run(keys[first:last], operands)


def _rotation(sequence: Sequence[Node], place: np.ndarray, start: int, end: int, period: int) -> int:
    """Where a step begins such that the fewest values go from one step to the next."""
    middle = start + (end - start) // period // 2 * period
    farthest = Counter[int]()  # how far behind a value of one step its last reader stands
    for k in range(middle, min(middle + period, end)):
        for a in sequence[k].args:
            if place[a] >= start:
                source = int(place[a] - start) % period
                farthest[source] = max(farthest[source], k - int(place[a]))
    crossing = np.zeros(2 * period + 1, dtype=int)
    for source, distance in farthest.items():  # it crosses where a step begins between it and its last reader,
        crossing[source + 1] += 1  # and once for each whole period, wherever that is
        crossing[source + distance % period + 1] -= 1
    running = np.cumsum(crossing)[:-1]
    return int(np.argmin(running[:period] + running[period:]))


def _longest(good: np.ndarray) -> tuple[int, int]:
    """The longest stretch of True."""
    edges = np.diff(np.concatenate([[0], good.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if not len(starts):
        return 0, 0
    k = int(np.argmax(ends - starts))
    return int(starts[k]), int(ends[k])


# --- writing them as loops --------------------------------------------------------------------------------------------


class _Rebuilt:
    """The graph once more, with runs as loops; a run that does not fit stays as it is."""

    def __init__(self, graph: Graph, runs: Sequence[_Run], recurrences: bool) -> None:
        self._graph = graph
        self._recurrences = recurrences
        self._exprs: dict[int, Expr] = {}
        self._elements: dict[int, tuple[Expr, tuple[int, ...]]] = {}  # key -> an array and where it stands in it
        runs = _with_wanted(graph, runs)
        ends = {int(run.keys[-1, -1]): run for run in runs}
        inner = {int(k) for run in runs for k in run.keys.flat}
        with recording() as state:
            self._state = state
            self._stack_inputs(runs)
            for n in graph.ordered():
                if n.key in ends:
                    self._roll(ends[n.key])
                elif n.key not in inner and n.op != "input":
                    self._copy(n)
        inputs = [self._exprs[k] for k in graph.inputs]
        self.graph = to_graph(inputs, [self._value(k) for k in graph.outputs])

    def _stack_inputs(self, runs: Sequence[_Run]) -> None:
        """The scalar inputs that change with the step of a run, as one array of each dtype."""
        for k in self._graph.inputs:
            n = self._graph.node(k)
            self._exprs[k] = Expr(lookup(n.op), (), n.params, n.type, n.origin)
        changing = {k for run in runs for line in run.operands for o in line for k in _changing(o)}
        by_dtype: dict[str, list[int]] = {}
        for k in self._graph.inputs:
            if k in changing and self._graph.node(k).type.shape == ():
                by_dtype.setdefault(self._graph.node(k).type.dtype.name, []).append(k)
        for keys in by_dtype.values():
            whole = stack([self._exprs[k] for k in keys])
            self._elements.update({k: (whole, (i,)) for i, k in enumerate(keys)})

    def _copy(self, n: Node) -> None:
        if n.op == "stack" and n.params["axis"] == 0 and self._gathers(n.args):
            self._exprs[n.key] = self._over_steps(n.args)
            return
        x = _record(lookup(n.op), tuple(self._value(a) for a in n.args), n.params, n.type, n.origin)
        self._exprs[n.key] = x
        if _is_element(n):
            self._elements[n.key] = (self._value(n.args[0]), n.params["key"])

    def _gathers(self, keys: Sequence[int]) -> bool:
        """Whether a stack collects elements of one array that a loop has made."""
        if len({*keys}) < _TABLE or any(k not in self._elements for k in keys):
            return False
        return len({self._elements[k][0].serial for k in keys}) == 1 and self._elements[keys[0]][0].op.name != "stack"

    @staticmethod
    def _named(x: Expr, n: Node) -> None:
        if n.origin.name is not None and x.origin.name is None and x.op.name == n.op:
            x.origin = n.origin

    def _value(self, key: int) -> Expr:
        if key not in self._exprs:
            whole, place = self._elements[key]
            self._exprs[key] = getitem(whole, place)
        return self._exprs[key]

    def _roll(self, run: _Run) -> None:
        try:
            with np.errstate(all="ignore"):
                (self._as_arrays if _independent(self._graph, run) else self._as_scan)(run)
        except _Unfit:
            for k in run.keys.flat:
                if int(k) not in self._exprs:
                    self._copy(self._graph.node(int(k)))

    # --- values of all steps --------------------------------------------------------------------------------------

    def _over_steps(self, keys: Sequence[int]) -> Expr:
        """What the steps read, as one value for all or as an array with the steps in front."""
        if all(k == keys[0] for k in keys):
            return self._value(keys[0])
        nodes = [self._graph.node(k) for k in keys]
        if any(n.type != nodes[0].type for n in nodes):
            raise _Unfit
        if all(n.op == "constant" for n in nodes):
            return constant(np.array([n.params["value"] for n in nodes]), nodes[0].type.dtype)
        if all(k in self._elements for k in keys):
            whole = self._elements[keys[0]][0]
            if all(self._elements[k][0] is whole for k in keys):
                return _section(whole, np.array([self._elements[k][1] for k in keys]))
        if any(k not in self._exprs and k not in self._elements for k in keys):
            raise _Unfit  # an element of an array that the run itself makes
        return stack([self._value(k) for k in keys])

    def _again(self, keys: Sequence[int]) -> Expr | None:
        """An operation on leaves, which is as soon computed as looked up where another step has it."""
        first = self._graph.node(keys[0])
        if any(_code(self._graph.node(k)) != _code(first) for k in keys[1:]):
            return None
        read = [*zip(*(self._graph.node(k).args for k in keys), strict=True)]
        known = self._exprs.keys() | self._elements.keys()
        if not all(all(k == line[0] for k in line) or known.issuperset(line) for line in read):
            return None
        return apply(lookup(first.op), [self._over_steps(line) for line in read], first.params)

    # --- arrays ---------------------------------------------------------------------------------------------------

    def _as_arrays(self, run: _Run) -> None:
        vectors: dict[int, Expr] = {}
        totals: dict[int, Expr] = {}
        for group in _in_order(run):
            chain = _accumulator(self._graph, run, group)
            if chain is not None:
                totals[chain[-1]] = self._total(run, chain, vectors)
                continue
            (j,) = group
            n = self._graph.node(int(run.keys[0, j]))
            self._state.origin = n.origin.unnamed()
            operands = [self._operand(run, o, vectors) for o in run.operands[j]]
            vectors[j] = apply(lookup(n.op), operands, n.params)
            self._named(vectors[j], n)
        for key, (t, j) in run.wanted.items():
            if j in totals:
                self._exprs[key] = totals[j]
            elif vectors[j].shape == ():
                self._exprs[key] = vectors[j]
            else:
                self._elements[key] = (vectors[j], (t,))

    def _operand(self, run: _Run, operand: _Operand, vectors: Mapping[int, Expr]) -> Expr:
        if not isinstance(operand, _Lag):
            return self._over_steps(operand)
        vector, back = vectors[operand.position], operand.steps
        if back == 0 or (vector.shape == () and not operand.first):
            return vector
        again = self._again([*operand.first, *run.keys[: run.steps - back, operand.position].tolist()])
        if again is not None:
            return again
        if vector.shape == ():
            raise _Unfit
        return concatenate([stack([self._value(k) for k in operand.first]), vector[: run.steps - back]])

    def _total(self, run: _Run, chain: Sequence[int], vectors: Mapping[int, Expr]) -> Expr:
        """The value of a sum or product after the last step."""
        join, reduced, neutral = _SUMS[self._graph.node(int(run.keys[0, chain[0]])).op]
        start: Expr | None = None
        terms: Expr | None = None
        for j in chain:
            n = self._graph.node(int(run.keys[0, j]))
            self._state.origin = n.origin.unnamed()
            for number, operand in enumerate(run.operands[j]):
                if isinstance(operand, _Lag) and operand.position in chain:
                    if operand.steps:
                        start = self._value(operand.first[0])
                    continue
                term = self._operand(run, operand, vectors)
                if n.op == "sub" and number == 1:
                    term = negative(term)
                terms = term if terms is None else join(terms, term)
        if start is None or terms is None or terms.shape == ():
            raise _Unfit  # the same term in each step: a multiple or a power
        total = reduced(terms)
        return total if start.params.get("value") == neutral else join(start, total)

    # --- scans ----------------------------------------------------------------------------------------------------

    def _as_scan(self, run: _Run) -> None:
        if not self._recurrences:
            raise _Unfit
        slots: dict[_Lag, int] = {}
        for line in run.operands:
            for o in line:
                if isinstance(o, _Lag) and o.steps:
                    if o.steps > _DEEPEST:
                        raise _Unfit
                    slots.setdefault(o, len(slots))
        leaves = [*dict.fromkeys(o for line in run.operands for o in line if not isinstance(o, _Lag))]
        values = {keys: self._over_steps(keys) for keys in leaves}
        moving = [keys for keys in leaves if any(k != keys[0] for k in keys)]
        latest = {j for t, j in run.wanted.values() if t == run.steps - 1}
        kept = sorted({j for t, j in run.wanted.values() if t < run.steps - 1})
        newest = {lag.position: k for lag, k in slots.items()}
        last = sorted(latest - {*kept, *newest})
        nodes = [self._graph.node(int(k)) for k in run.keys[0]]
        first = [[self._value(k) for k in lag.first] for lag in slots]  # oldest first
        if any(x.type != nodes[lag.position].type for lag, xs in zip(slots, first, strict=True) for x in xs):
            raise _Unfit
        zeros = [constant(np.zeros(static_shape(nodes[j].type.shape)), nodes[j].type.dtype) for j in last]

        def body(carry: tuple[list[list[Expr]], list[Expr]], given: Sequence[Expr]) -> tuple[object, list[Expr]]:
            registers, _ = carry
            read = {**values, **dict(zip(moving, given, strict=True))}
            made: list[Expr] = []
            for j, n in enumerate(nodes):
                self._state.origin = n.origin.unnamed()
                operands = [
                    read[o] if not isinstance(o, _Lag) else registers[slots[o]][0] if o.steps else made[o.position]
                    for o in run.operands[j]
                ]
                made.append(apply(lookup(n.op), operands, n.params))
                self._named(made[-1], n)
            shifted = [[*registers[k][1:], made[lag.position]] for lag, k in slots.items()]
            return (shifted, [made[j] for j in last]), [made[j] for j in kept]

        (registers, ended), collected = scan(body, (first, zeros), [values[keys] for keys in moving], length=run.steps)
        for key, (t, j) in run.wanted.items():
            if j in kept:
                self._elements[key] = (collected[kept.index(j)], (t,))
            else:
                self._exprs[key] = registers[newest[j]][-1] if j in newest else ended[last.index(j)]


def _changing(operand: _Operand) -> tuple[int, ...]:
    if isinstance(operand, _Lag):
        return ()
    return () if all(k == operand[0] for k in operand) else operand


def _with_wanted(graph: Graph, runs: Sequence[_Run]) -> list[_Run]:
    """The runs, with what of each is read elsewhere."""
    where = {int(k): (r, t, j) for r, run in enumerate(runs) for (t, j), k in np.ndenumerate(run.keys)}
    wanted: list[dict[int, tuple[int, int]]] = [{} for _ in runs]
    readers = ((where.get(n.key, (-1,))[0], n.args) for n in graph.ordered())
    for reader, read in (*readers, (-1, graph.outputs)):
        for k in read:
            if k in where and where[k][0] != reader:
                r, t, j = where[k]
                wanted[r][k] = (t, j)
    for run, keys in zip(runs, wanted, strict=True):
        run.wanted = dict(sorted(keys.items()))
    return [*runs]


def _section(whole: Expr, places: np.ndarray) -> Expr:
    """The elements of an array at `places` (a row of indices each), as a slice where they are one."""
    moves = np.diff(places, axis=0)
    varying = [axis for axis in range(places.shape[1]) if moves[:, axis].any()]
    if len(varying) != 1:
        flat = np.ravel_multi_index(tuple(places.T), static_shape(whole.shape))
        return _section(reshape(whole, (-1,)), flat[:, None])
    (axis,) = varying
    line = places[:, axis]
    entry: slice | np.ndarray = line
    if (moves[:, axis] == moves[0, axis]).all():
        stop = int(line[-1] + moves[0, axis])
        entry = slice(int(line[0]), stop if stop >= 0 else None, int(moves[0, axis]))
    return getitem(whole, tuple(entry if a == axis else int(p) for a, p in enumerate(places[0])))


def _dependences(run: _Run) -> nx.DiGraph:
    found = nx.DiGraph()
    found.add_nodes_from(range(run.keys.shape[1]))
    found.add_edges_from((o.position, j) for j, line in enumerate(run.operands) for o in line if isinstance(o, _Lag))
    return found


def _in_order(run: _Run) -> list[list[int]]:
    """The positions of a step, operands first; those that depend on themselves through earlier steps together."""
    condensed = nx.condensation(_dependences(run))
    members = {c: sorted(found) for c, found in condensed.nodes(data="members")}
    return [members[c] for c in nx.lexicographical_topological_sort(condensed, key=lambda c: members[c][0])]


def _independent(graph: Graph, run: _Run) -> bool:
    """Whether the steps of a run of scalars depend on one another by sums and products alone."""
    nodes = [graph.node(int(k)) for k in run.keys[0]]
    if any(n.type.shape != () or lookup(n.op).kind != "elementwise" for n in nodes):
        return False
    cyclic = _dependences(run)
    loops = {j for j in cyclic if cyclic.has_edge(j, j)}
    return all(
        _accumulator(graph, run, group) is not None for group in _in_order(run) if len(group) > 1 or group[0] in loops
    )


def _accumulator(graph: Graph, run: _Run, group: Sequence[int]) -> list[int] | None:
    """The positions of a sum or product over the steps, in order, that nothing reads before the last step."""
    ops = [graph.node(int(run.keys[0, j])).op for j in group]
    if not ({*ops} <= {"add", "sub"} or {*ops} == {"mul"}):
        return None
    following: dict[int, tuple[int, int]] = {}  # position -> who reads it, and how many steps later
    for j, line in enumerate(run.operands):
        inside = [(k, o) for k, o in enumerate(line) if isinstance(o, _Lag) and o.position in group]
        if not inside:
            continue
        (number, operand), *more = inside
        if more or j not in group or operand.position in following or operand.steps > 1:
            return None
        if number == 1 and graph.node(int(run.keys[0, j])).op == "sub":
            return None
        following[operand.position] = (j, operand.steps)
    last = [j for j, (_, steps) in following.items() if steps]
    if len(last) != 1 or len(following) != len(group):
        return None
    chain = [following[last[0]][0]]
    while chain[-1] != last[0]:
        chain.append(following[chain[-1]][0])
    if any(j in group and (t, j) != (run.steps - 1, last[0]) for t, j in run.wanted.values()):
        return None
    return chain if len(chain) == len(group) else None
