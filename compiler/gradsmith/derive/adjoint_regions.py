"""Reverse mode of loops and branches: from a body to the body that takes cotangents back through one step.

In: region nodes of a graph that is to be differentiated. Out: the same regions with further results (`ready`), which
are what the way back needs of each step; and, once the cotangents of the results are known, the loop that runs
backwards (`reverse`). Bodies are differentiated by the ordinary adjoint.

What the way back reads of a step is stored if it is carried state, or the result of a call or of another loop; cheap
arithmetic is done again. With `checkpoint`, only the state is stored. What is closed over collects its cotangent as
carried state, and a cotangent that is structurally zero is never carried.

A choice that waits (see choices.py) waits through loops and branches. If it is one for all results, it is made behind
the region. Others go in as masks, which are carried back beside the cotangents: a step that mixes elements makes the
choice, and behind it the mask holds everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..as_graph import closed, to_exprs, to_graph
from ..errors import DerivativeError
from ..graph import Graph, Node
from ..ops import broadcast_to, logical_not, logical_or, where
from ..ops.control import part
from ..regions import depends
from ..registry import lookup
from ..trace import Expr, Recording, constant, recording, registry_function
from ..types import BOOL, Bundle, Shape, Type
from .adjoint_sums import Collector, Steps, collectors, kept_anyway
from .choices import Share, arriving_masks, chosen, is_scalar, mask, tame, under, wild
from .storage import costly, dependent, grouped, to_store

__all__ = ["Reverse", "ready", "reverse", "zeros"]

#: `pull(graph, values, seeds, wrt, state, plans)`: cotangents of inputs, from those of the outputs (see adjoint.py).
Pull = Callable[..., Any]


@dataclass(frozen=True)
class Reverse:
    """The way back through one region, before its cotangents are known.

    `body` takes a step back. Its inputs are `outside` (expressions of the body's constants, the first `consts` of its
    symbols), the cotangents of the carries `state`, the `sums` of what constants receive, the masks of the carries
    `masked`, those of the constants `masked_consts` (in any step so far), what is stored of the step, its elements, the
    cotangents of its stacked results `ys` and the masks of `masked_ys`. `stored` are the numbers of results of the
    region that hold what is stored. `consts` say how the cotangents of constants are made of the sums and of what steps
    put out. What a step puts out are the cotangents of the elements `xs`, what constants are made of, and the masks of
    `masked_xs`.
    """

    body: Graph
    symbols: tuple[Expr, ...]
    outside: tuple[Expr, ...]
    state: tuple[int, ...]
    sums: tuple[Type, ...]
    stored: tuple[int, ...]
    elements: tuple[int, ...]
    ys: tuple[int, ...]
    xs: tuple[int, ...]  # the elements that receive something
    consts: tuple[Part, ...]
    masked: tuple[int, ...]
    masked_ys: tuple[int, ...]
    masked_xs: tuple[int, ...]
    masked_consts: tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """A part of the cotangent of constant `const`.

    It is `finish` of what lies at `places`: a number among the sums, among what steps put out (`put`), among what is
    stored of all steps, or among the operands of the body.
    """

    const: int
    collector: Collector
    places: tuple[tuple[str, int], ...]


# --- before differentiation -------------------------------------------------------------------------------------------


def ready(
    graph: Graph, active: set[int], pull: Pull, masked: Collection[int] = (), beyond: Collection[int] = ()
) -> tuple[Graph, dict[int, Reverse]]:
    """`graph` with loops that store what their way back needs, and these ways back, by key.

    The cotangents of outputs `masked` come with masks, and choices wait also behind the inputs `beyond`.
    """
    if not graph.has_bodies or not any(n.bodies and n.key in active for n in graph.ordered()):
        return graph, {}
    used: dict[int, set[int]] = {}
    for n in graph.ordered():
        if lookup(n.op).kind == "part" and n.type.dtype.kind == "float":
            used.setdefault(n.args[0], set()).add(n.params["index"])
    new, plans = Graph(), dict[int, Reverse]()
    wilds, choosing = wild(graph, active, beyond), arriving_masks(graph, active, masked, beyond)
    for n in graph.ordered():
        params, type = n.params, n.type
        if n.bodies and n.key in active and n.op in _LOOPS:
            loop = _LOOPS[n.op](n)
            if loop is not None:
                operands = {k for k, a in enumerate(n.args) if a in active}
                if loop.length == 0:  # nothing but the state passes through: 0 * inf behind a constant would be NaN
                    operands &= {*range(loop.before + loop.consts, loop.before + loop.consts + loop.carries)}
                waits = {k - loop.before for k, a in enumerate(n.args) if a in wilds}
                params, type, plans[n.key] = _extended(
                    n, loop, operands, used.get(n.key, set()), pull, n.key in choosing, waits
                )
        key = new.add(n.op, n.args, params, type, n.origin)
        assert key == n.key, "a graph that is differentiated has keys without gaps"
    new.graph.update(graph.graph)
    return new, plans


@dataclass(frozen=True)
class _Loop:
    """What a scan and a while loop have in common: where operands and results lie."""

    body: Graph
    before: int  # operands that are none of the body's
    consts: int
    carries: int
    between: int  # results between the final state and what is stacked
    length: int
    counted: bool
    backwards: bool  # whether the way back goes from the first element to the last
    checkpoint: bool


def _scan_loop(n: Node) -> _Loop:
    p = n.params
    counted = int(p["counted"])
    return _Loop(
        p["body"], counted, p["consts"], p["carries"], 0, p["length"], p["counted"], not p["reverse"], p["checkpoint"]
    )


def _while_loop(n: Node) -> _Loop | None:
    p = n.params
    if p["bound"] is None:
        return None
    return _Loop(p["body"], 0, p["consts"], len(n.args) - p["consts"], 1, p["bound"], True, True, False)


_LOOPS: Mapping[str, Callable[[Node], _Loop | None]] = {"scan": _scan_loop, "while_loop": _while_loop}


def _extended(
    n: Node, loop: _Loop, operands: set[int], used: set[int], pull: Pull, choosing: bool, waits: set[int]
) -> tuple[Mapping[str, Any], Type, Reverse]:
    """The params and the type of a loop that stores what its way back needs, and that way back.

    With `choosing`, cotangents come with masks. Behind the body's inputs `waits`, choices wait outside of the loop.
    """
    body, consts, carries = loop.body, loop.consts, loop.carries
    floats = {k for k, key in enumerate(body.outputs) if body.node(key).type.dtype.kind == "float"}
    wanted = {k if k < carries else k - loop.between for k in used} & floats
    feeding, active = _active_ends(loop, {k - loop.before for k in operands} - {-1}, wanted, floats)
    state = tuple(k for k in range(carries) if consts + k in feeding or k in active)
    ys = tuple(k for k in range(carries, len(body.outputs)) if k in active and k in wanted)
    with recording() as recorded:
        symbols = [Expr(lookup("input"), (), body.node(k).params, body.node(k).type) for k in body.inputs]
        seeds: dict[int, Expr] = {k: _seed(body, k) for k in (*state, *ys)}
        wrt = sorted(feeding)
        beyond = {k for k in wrt if k in waits or (consts <= k < consts + carries and not tame(n))}
        unread = {k for k in state if k not in wanted and not tame(n)}  # their last cotangent is a structural zero
        choices = {*state, *ys} if choosing else unread
        step = _pulled_step(body, symbols, seeds, wrt, beyond, choices, pull, recorded, consts)
        found, masks = step.found, step.masks
        outputs = [_or_zeros(found.get(consts + k), symbols[consts + k]) for k in state]
        kept = None if loop.checkpoint else sum(symbols[consts + k].size for k in state)
        summands = [
            (k, where(step.waiting[k], g, 0.0) if k in step.waiting else g)
            for k in wrt
            if k < consts and (g := found[k]) is not None
        ]
        given = sum(x.size for x in symbols[consts + carries :])
        steps = Steps(
            loop.length, kept, given, dependent([g for _, g in summands], [*symbols[consts:], *seeds.values()])
        )
        collecting = [(k, each) for k, g in summands for each in collectors(g, steps)]
        backward = dependent([g for _, g in summands], [*seeds.values(), *masks.values()])
        sums, put, shares, kept_forward = _collected_by(collecting, symbols, loop, backward)
        outputs += [total + x for total, x in sums]
        masked = tuple(k for k in state if k in masks)
        outputs += [
            step.waiting.get(consts + k, _mask(symbols[consts + k].shape, found.get(consts + k) is not None))
            for k in masked
        ]
        masked_consts = tuple(k for k in step.waiting if k < consts)
        reached = [_mask_symbol(symbols[k]) for k in masked_consts]
        outputs += [logical_or(any, step.waiting[k]) for any, k in zip(reached, masked_consts, strict=True)]
        xs = tuple(k for k in wrt if k >= consts + carries and found[k] is not None)
        masked_xs = tuple(k for k in xs if k in step.waiting)
        outputs += [g for k in xs if (g := found[k]) is not None]
        outputs += [*put, *(step.waiting[k] for k in masked_xs)]
        elements = tuple(k for k in range(consts + carries, len(symbols)))
        totals = [total for total, _ in sums]
        seeded = [*seeds.values(), *totals, *masks.values(), *reached]
        backward, varying = dependent(outputs, seeded), dependent(outputs, symbols[consts:])
        outputs = grouped(outputs, backward, varying)
        backward, varying = dependent(outputs, seeded), dependent(outputs, symbols[consts:])
        states = symbols[consts : consts + carries]
        stored = to_store(outputs, states, varying, backward, kept_forward, loop.checkpoint)
        at_stored = {x.serial: k for k, x in enumerate(stored)}
        shares = [_in_storage(share, at_stored) for share in shares]
        given_back = [*(seeds[k] for k in state), *totals, *(masks[k] for k in masked), *reached]
        masked_ys = tuple(k for k in ys if k in masks)
        at_step = [*stored, *(symbols[k] for k in elements), *(seeds[k] for k in ys), *(masks[k] for k in masked_ys)]
        back, outside = closed([*given_back, *at_step], outputs)
        longer = to_graph(symbols, [*step.results, *stored])
    assert isinstance(n.type, Bundle)
    results = len(n.type.types)
    more = [Type((loop.length, *x.type.shape), x.type.dtype) for x in stored]
    plan = Reverse(
        back, tuple(symbols[:consts]), tuple(outside), state, tuple(total.type for total in totals),
        tuple(range(results, results + len(stored))), elements, ys, xs, tuple(shares), masked, masked_ys, masked_xs,
        masked_consts,
    )  # fmt: skip
    return {**n.params, "body": longer}, Bundle(types=(*n.type.types, *more)), plan


@dataclass(frozen=True)
class _Step:
    """What one step computes (`results`), what its inputs receive, and the masks: given, and waiting behind inputs."""

    results: Sequence[Expr]
    found: Mapping[int, Expr | None]
    masks: Mapping[int, Expr]
    waiting: Mapping[int, Expr]


def _pulled_step(
    body: Graph, symbols: Sequence[Expr], seeds: Mapping[int, Expr], wrt: Sequence[int], beyond: set[int],
    masked: set[int], pull: Pull, recorded: Recording, consts: int,
) -> _Step:  # fmt: skip
    """Reverse mode of a body. A state behind which a choice waits is under a mask in the step before."""
    while True:
        masks = {k: _mask_symbol(x) for k, x in seeds.items() if k in masked}
        results, pulled = _pulled_body(body, symbols, seeds, masks, wrt, beyond, pull, recorded)
        waiting = {wrt[k]: x for k, x in pulled.masks.items()}
        more = {k - consts for k in waiting} & set(seeds) - masked
        if not more:
            return _Step(results, dict(zip(wrt, pulled.gradients, strict=True)), masks, waiting)
        masked = masked | more


def _pulled_body(
    body: Graph, symbols: Sequence[Expr], seeds: Mapping[int, Expr], masks: Mapping[int, Expr], wrt: Sequence[int],
    beyond: set[int], pull: Pull, recorded: Recording,
) -> tuple[list[Expr], Any]:  # fmt: skip
    """The outputs of a body, and what its inputs `wrt` receive; all ends are known by number."""
    keys, behind = [body.inputs[k] for k in wrt], {body.inputs[k] for k in beyond}
    extended, inner = ready(body, activity(body, set(keys)), pull, {body.outputs[k] for k in masks}, behind)
    values = to_exprs(extended, symbols)
    given = [seeds.get(k) for k in range(len(body.outputs))]
    pulled = pull(extended, values, given, keys, recorded, inner, masks, behind)
    return [values[k] for k in extended.outputs], pulled


def _mask_symbol(x: Expr) -> Expr:
    return Expr(lookup("input"), (), {"name": f"in_{str(x.name).split()[0]}"}, Type(x.shape, BOOL))


def _mask(shape: Shape, counts: bool) -> Expr:
    """A mask that holds everywhere or, for a structural zero, nowhere."""
    holds = constant(counts, BOOL)
    return broadcast_to(holds, shape) if shape else holds


def _collected_by(
    collecting: Sequence[tuple[int, Collector]], symbols: Sequence[Expr], loop: _Loop, backward: set[int]
) -> tuple[list[tuple[Expr, Expr]], list[Expr], list[Part], list[Expr]]:
    """The sums that a loop carries (symbol and summand), what its steps put out, and how all is put together.

    Last come the values to be stored of each step; their places are serials yet. What is not in `backward` is known
    before the way back.
    """
    stacked = {x.serial for _, each in collecting if each.stacked for x in each.values if x.serial in backward}
    collecting = [(const, kept_anyway(each, stacked)) for const, each in collecting]
    sums: list[tuple[Expr, Expr]] = []
    put: list[Expr] = []
    stored: list[Expr] = []
    shares: list[Part] = []
    own = {x.serial: k for k, x in enumerate(symbols) if k >= loop.consts}
    places_of: dict[int, tuple[str, int]] = {}
    for const, collector in collecting:
        places: list[tuple[str, int]] = []
        for x in collector.values:
            if not collector.stacked:
                total = Expr(lookup("input"), (), {"name": _cotangent_name(symbols[const])}, x.type)
                places.append(("sum", len(sums)))
                sums.append((total, x))
                continue
            number = own.get(x.serial, -1)
            if x.serial in places_of:
                pass
            elif number >= loop.consts + loop.carries and (x.dtype.kind == "int" or not loop.counted):
                # elements of steps that are not taken are no zeros, and may be NaN
                places_of[x.serial] = "operand", number
            elif (
                x.dtype.kind == "float"
                and x.serial not in backward
                and (number >= 0 or costly(x))
                and not (number >= loop.consts + loop.carries)
            ):
                places_of[x.serial] = "stored", x.serial
                stored.append(x)
            else:
                places_of[x.serial] = "put", len(put)
                put.append(x)
            places.append(places_of[x.serial])
        shares.append(Part(const, collector, tuple(places)))
    return sums, put, shares, stored


def _in_storage(share: Part, numbers: Mapping[int, int]) -> Part:
    """`share`, with numbers for the serials of what is stored."""
    return replace(share, places=tuple((w, numbers[k] if w == "stored" else k) for w, k in share.places))


def activity(graph: Graph, wrt: Sequence[int] | set[int]) -> set[int]:
    """The nodes that depend on an input of `wrt`: only they need cotangents."""
    active = set(wrt)
    for key, _, args, _, type, _ in graph.ordered():
        if not active.isdisjoint(args) and type.dtype.kind in ("float", "bundle"):
            active.add(key)
    return active


def _active_ends(loop: _Loop, given: set[int], wanted: set[int], floats: set[int]) -> tuple[set[int], set[int]]:
    """Numbers of the body's inputs and outputs between the active operands and the results that are read."""
    body, consts, carries = loop.body, loop.consts, loop.carries
    reach = {k: depends(body, [k]) for k in range(len(body.outputs))}
    active_inputs, active_outputs = set(given), set[int]()
    while True:
        found = {k for k in floats if reach[k] & active_inputs}
        more = active_inputs | {consts + k for k in found if k < carries}
        if found == active_outputs and more == active_inputs:
            break
        active_inputs, active_outputs = more, found
    useful, read = set(wanted), set[int]()
    while True:
        read = read.union(*(reach[k] for k in useful))
        more = useful | {k - consts for k in read if consts <= k < consts + carries}
        if more == useful:
            break
        useful = more
    inputs = {k for k in active_inputs if k in read and body.node(body.inputs[k]).type.dtype.kind == "float"}
    return inputs, active_outputs & useful


def _cotangent_name(x: Expr) -> str:
    return "d_" + str(x.name).split()[0]


def _seed(body: Graph, output: int) -> Expr:
    n = body.node(body.outputs[output])
    name = n.params["name"] if n.op == "input" else n.origin.name
    return Expr(lookup("input"), (), {"name": f"d_{name.split()[0]}" if name else f"g{output}"}, n.type)


def _or_zeros(x: Expr | None, like: Expr) -> Expr:
    return zeros(like.type) if x is None else x


def zeros(type: Type) -> Expr:
    """The numbers of a structural zero."""
    zero = constant(0.0, type.dtype)
    return broadcast_to(zero, type.shape) if type.shape else zero


# --- the way back -----------------------------------------------------------------------------------------------------


def reverse(
    node: Node, plan: Reverse | None, found: Mapping[int, Share], values: Sequence[Expr], active: set[int], pull: Pull,
    wilds: set[int], conditions: dict[int, Expr],
) -> list[Share | None]:  # fmt: skip
    """What the operands of a region receive, given the cotangents `found` of its results (by number).

    `wilds` are the nodes behind which choices wait, and `conditions` are those of the choices, by serial.
    """
    first, *others = (s.under for s in found.values())
    common = [c for c in first if is_scalar(c, conditions) and all(c in under for under in others)]
    rest = {k: Share(s.value, tuple(c for c in s.under if c not in common)) for k, s in found.items()}
    if node.op in _LOOPS:
        loop = _LOOPS[node.op](node)
        if loop is None or plan is None:
            raise DerivativeError(
                "while_loop: reverse mode needs the states of all steps, and without a bound there may be any number "
                "of them: give while_loop(..., bound=the largest number of steps), use forward mode (gs.jvp), give the "
                'loop a derivative of its own, or ask for derivatives=("value",)'
            )
        taken = {*plan.masked, *(k + loop.between for k in plan.masked_ys)}
        shares = _loop_back(node, loop, plan, *_separated(rest, taken, conditions), values)
        if loop.counted and not loop.before:  # without a step, 0 times the infinite slope of a constant would be NaN
            some = part(values[node.key], index=loop.carries) > 0
            for k in range(loop.consts):
                if shares[k][1] is None and node.args[k] in wilds:
                    shares[k] = shares[k][0], some
    else:
        waits = {k for k, a in enumerate(node.args) if a in wilds}
        shares = _branch_back(node, *_separated(rest, set(rest), conditions), values, active, pull, waits)
    return [
        None if g is None else Share(g, (*common, *([] if only is None else [under(only, conditions)])))
        for g, only in shares
    ]


def _separated(
    found: Mapping[int, Share], taken: set[int], conditions: Mapping[int, Expr]
) -> tuple[dict[int, Expr], dict[int, Expr]]:
    """Cotangents and, for results in `taken` that are under choices, masks."""
    masks = {k: mask(s.under, conditions, s.value.shape) for k, s in found.items() if s.under and k in taken}
    return {k: s.value if k in masks else chosen([s], conditions) for k, s in found.items()}, masks


def _loop_back(
    node: Node, loop: _Loop, plan: Reverse, found: Mapping[int, Expr], masks: Mapping[int, Expr], values: Sequence[Expr]
) -> list[tuple[Expr | None, Expr | None]]:
    """What each operand receives, and where it counts (None for everywhere)."""
    region, operands = values[node.key], [values[a] for a in node.args]
    types = [loop.body.node(k).type for k in loop.body.outputs]
    outside = _substituted(plan.outside, plan.symbols, operands[loop.before : loop.before + loop.consts])
    body = operands[loop.before :]
    init = [found[k] if k in found else zeros(types[k]) for k in plan.state]
    init += [zeros(t) for t in plan.sums]
    init += [masks[k] if k in masks else _mask(types[k].shape, k in found) for k in plan.masked]
    init += [_mask(operands[loop.before + k].shape, False) for k in plan.masked_consts]
    xs = [part(region, index=k) for k in plan.stored] + [body[k] for k in plan.elements]
    for k in plan.ys:
        number = k + loop.between
        xs.append(found[number] if number in found else zeros(Type((loop.length, *types[k].shape), types[k].dtype)))
    for k in plan.masked_ys:
        number = k + loop.between
        xs.append(masks[number] if number in masks else _mask((loop.length, *types[k].shape), number in found))
    count = [operands[0]] if loop.before else [part(region, index=loop.carries)] if loop.counted else []
    first = len(outside) + len(plan.state) + len(plan.sums)
    idle = [
        (len(outside) + plan.state.index(k), first + number, len(plan.state) + len(plan.sums) + number)
        for number, k in enumerate(plan.masked)
        if k not in masks
    ]
    back = registry_function("scan")(
        *count, *outside, *init, *xs, body=_without_masks(plan.body, idle), consts=len(outside), carries=len(init),
        length=loop.length, counted=loop.counted, reverse=loop.backwards, checkpoint=loop.checkpoint,
    )  # fmt: skip
    shares: list[Expr | None] = [None] * len(operands)
    where_it_counts: list[Expr | None] = [None] * len(operands)
    summed = len(plan.state)
    put = len(init) + len(plan.xs)
    last = len(plan.body.outputs) - len(plan.masked_xs)
    for numbers, start in ((plan.xs, len(init)), ([loop.consts + k for k in plan.state], 0)):
        for number, receiver in enumerate(numbers, start):
            shares[loop.before + receiver] = part(back, index=number)
    carried = [*(loop.consts + k for k in plan.masked), *plan.masked_consts]
    masks_of = (carried, summed + len(plan.sums)), (plan.masked_xs, last)
    for numbers, start in masks_of:
        for number, receiver in enumerate(numbers, start):
            where_it_counts[loop.before + receiver] = part(back, index=number)
    lies = {
        "sum": lambda k: part(back, index=summed + k),
        "put": lambda k: part(back, index=put + k),
        "stored": lambda k: part(region, index=plan.stored[k]),
        "operand": lambda k: body[k],
    }
    for each in plan.consts:
        values_of = [lies[place](k) for place, k in each.places]
        share, place = each.collector.finish(values_of), loop.before + each.const
        shares[place] = share if (sofar := shares[place]) is None else sofar + share
    return [*zip(shares, where_it_counts, strict=True)]


def _without_masks(body: Graph, idle: Sequence[tuple[int, int, int]]) -> Graph:
    """`body` without the choices by masks that hold everywhere, or else, before the first step, stand beside zeros.

    `idle` tells of such masks, which are given to the first step by us: the numbers of the input for the cotangent, of
    the input for the mask, and of the output for the mask. The choice is `where(mask, cotangent, 0)`.
    """
    always = {(body.inputs[m], body.inputs[x]) for x, m, y in idle if _filled_with(body, body.outputs[y]) is True}
    if not always:
        return body

    def without(n: Node, exprs: Sequence[Expr]) -> Expr | None:
        chooses = n.op == "where" and n.args[:2] in always and _filled_with(body, n.args[2]) == 0.0
        return exprs[n.args[1]] if chooses else None

    with recording():
        exprs = to_exprs(body, replace=without)
        return to_graph([exprs[k] for k in body.inputs], [exprs[k] for k in body.outputs])


def _filled_with(graph: Graph, key: int) -> Any:
    """The constant that an array holds everywhere, or None."""
    n = graph.node(key)
    while n.op == "broadcast_to":
        n = graph.node(n.args[0])
    return n.params["value"] if n.op == "constant" and not n.type.shape else None


def _substituted(outputs: Sequence[Expr], symbols: Sequence[Expr], given: Sequence[Expr]) -> list[Expr]:
    """`outputs` with `given` in place of `symbols`."""
    if not outputs:
        return []
    graph, around = closed(symbols, outputs)
    # what does not depend on the symbols comes first among the inputs
    exprs = to_exprs(graph, [*around, *given])
    return [exprs[k] for k in graph.outputs]


def _branch_back(
    node: Node, found: Mapping[int, Expr], masks: Mapping[int, Expr], values: Sequence[Expr], active: set[int],
    pull: Pull, waits: set[int],
) -> list[tuple[Expr | None, Expr | None]]:  # fmt: skip
    """The branch of the two adjoints: only that of the side taken is computed."""
    operands = [values[a] for a in node.args]
    wrt = [k for k, a in enumerate(node.args) if k and a in active and operands[k].dtype.kind == "float"]
    with recording() as recorded:
        symbols = [Expr(lookup("input"), (), {"name": x.name or f"x{k}"}, x.type) for k, x in enumerate(operands[1:])]
        seeds = {k: Expr(lookup("input"), (), {"name": f"g{k}"}, g.type) for k, g in found.items()}
        masked = {k: Expr(lookup("input"), (), {"name": f"in_g{k}"}, m.type) for k, m in masks.items()}
        sides = [
            _pulled_body(
                body, symbols, seeds, masked, [k - 1 for k in wrt], {k - 1 for k in wrt if k in waits}, pull, recorded
            )[1]
            for body in node.bodies.values()
        ]
        waiting = sorted({k for side in sides for k in side.masks})
        results = [
            [
                *(_or_zeros(g, operands[k]) for g, k in zip(side.gradients, wrt, strict=True)),
                *(side.masks.get(k, _mask(operands[wrt[k]].shape, side.gradients[k] is not None)) for k in waiting),
            ]
            for side in sides
        ]
        both, outside = closed([*symbols, *seeds.values(), *masked.values()], [*results[0], *results[1]])
    then, otherwise = (both.rooted(both.outputs[at : at + len(results[0])]) for at in (0, len(results[0])))
    back = registry_function("cond")(
        operands[0], *outside, *operands[1:], *found.values(), *masks.values(), then=then, otherwise=otherwise
    )
    shares: list[tuple[Expr | None, Expr | None]] = [(None, None)] * len(operands)
    for number, k in enumerate(wrt):
        read = [side.gradients[number] is not None for side in sides]
        if number in waiting:
            only: Expr | None = part(back, index=len(wrt) + waiting.index(number))
        elif k in waits and read[0] != read[1]:  # what one side alone reads counts where that side is taken
            only = operands[0] if read[0] else logical_not(operands[0])
        else:
            only = None
        shares[k] = part(back, index=number), only
    return shares
