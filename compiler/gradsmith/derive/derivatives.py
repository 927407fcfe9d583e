"""The kinds of derivatives that `compile(derivatives=)` writes: a table, and the graph that computes each.

In: a traced graph in stable forms, and the inputs to differentiate by. Out: for each family of kinds a joint graph,
whose outputs come in the groups that the table names.
Guarantee: the rest of the compiler goes by the table and never by the
name of a kind.

The kinds of one family are functions of one graph, and so share its form. Each other kind has a graph of its own, which
is simplified for it alone: asking for one kind more never changes the code of another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..as_graph import to_exprs, to_graph
from ..graph import Graph
from ..passes.expand import expand_underivable
from ..passes.regions import with_bodies
from ..passes.share_sums import share_sums
from ..registry import lookup
from ..trace import Expr, constant
from ..verify import verify
from .adjoint import adjoint, pulled, zeros
from .jacobian import Entries, Storage, dense, second, slopes, sparse
from .tangent import pushed

__all__ = ["GROUPS", "KINDS", "Block", "Derived", "Group", "Kind", "Names", "Seed", "derive", "families"]


@dataclass(frozen=True)
class Kind:
    """One kind of function.

    It takes the arguments and then its `seeds`, and returns its `groups`. `scalar`: whether the result must be one real
    number; `by`: whether there must be an argument to differentiate by.
    """

    name: str
    groups: tuple[str, ...]
    family: str
    seeds: Literal["", "tangents", "cotangents"] = ""
    scalar: bool = False
    by: bool = True

    @property
    def suffix(self) -> str:
        """What stands behind the function's name."""
        return "" if self.name == "value" else f"_{self.name}"


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("value", ("values",), "gradient", by=False),
        Kind("grad", ("gradients",), "gradient", scalar=True),
        Kind("value_and_grad", ("values", "gradients"), "gradient", scalar=True),
        Kind("jvp", ("values", "tangents"), "jvp", "tangents"),
        Kind("vjp", ("values", "cotangents"), "vjp", "cotangents"),
        Kind("jacobian", ("jacobian",), "jacobian"),
        Kind("hessian", ("hessian",), "hessian"),
        Kind("hvp", ("product",), "hvp", "tangents", scalar=True),
    )
}


@dataclass(frozen=True)
class Group:
    """Results that belong together: how they are called, given the names of a result and of arguments, and a title.

    `by` says for what there is one of them: "output", and "argument" as often as it is differentiated.
    """

    name: str
    title: str
    by: tuple[Literal["output", "argument"], ...]


GROUPS: Mapping[str, Group] = {
    "values": Group("{}", "the value", ("output",)),
    "gradients": Group("d_{}", "the gradient", ("argument",)),
    "tangents": Group("t_{}", "the tangent", ("output",)),
    "cotangents": Group("d_{}", "the cotangents of the arguments", ("argument",)),
    "jacobian": Group("d_{}_d_{}", "the Jacobian", ("output", "argument")),
    "hessian": Group("d2_{}_d_{}_d_{}", "the Hessian", ("output", "argument", "argument")),
    "product": Group("d2_{}", "the Hessian times the direction", ("argument",)),
}


@dataclass(frozen=True)
class Seed:
    """An input that a derivative takes besides the arguments: its name, and whose tangent or cotangent it is."""

    name: str
    of: str
    what: str


@dataclass(frozen=True)
class Names:
    """What arguments (leaves) and results are called."""

    leaves: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """One output of a derived graph: its name, and the places of its elements if it holds the nonzeros of a matrix."""

    name: str
    entries: Entries | None = None


@dataclass(frozen=True)
class Derived:
    """A joint graph: the seeds follow the arguments in its inputs, and its outputs are `groups`, one after another."""

    graph: Graph
    seeds: tuple[Seed, ...]
    groups: Mapping[str, tuple[Block, ...]]


def families(kinds: Sequence[str]) -> dict[str, tuple[Kind, ...]]:
    """The kinds asked for, by family, in the order of the table."""
    found: dict[str, tuple[Kind, ...]] = {}
    for name, kind in KINDS.items():
        if name in kinds:
            found[kind.family] = (*found.get(kind.family, ()), kind)
    return found


def derive(
    primal: Graph, wrt: Sequence[int], names: Names, kinds: Sequence[Kind], storage: Storage | None = None
) -> Derived:
    """The graph of one family of `kinds`, by the inputs `wrt` (keys); Jacobians and Hessians dense or as `storage`."""
    primal = with_bodies(primal, share_sums)
    wanted = [group for group in GROUPS if any(group in kind.groups for kind in kinds)]
    position = {key: i for i, key in enumerate(primal.inputs)}
    chosen = [position[k] for k in wrt]
    blocks = {group: _blocks(group, names, chosen) for group in ["values"] * (kinds[0].family == "gradient") + wanted}
    if kinds[0].family == "gradient":
        graph = primal if wanted == ["values"] else verify(adjoint(expand_underivable(primal), wrt))
        return Derived(graph, (), blocks)
    primal = expand_underivable(primal)
    exprs = to_exprs(primal)
    inputs, outputs = ([exprs[k] for k in keys] for keys in (primal.inputs, primal.outputs))
    by = [inputs[i] for i in chosen]
    seeded = {
        "": [],
        "tangents": [("t", x, names.leaves[i]) for i, x in zip(chosen, by, strict=True)],
        "cotangents": [("d", y, n) for y, n in zip(outputs, names.outputs, strict=True) if y.dtype.kind == "float"],
    }[kinds[0].seeds]
    seeds, symbols, taken = [], [], set(names.leaves)
    for prefix, x, of in seeded:
        name = f"{prefix}_{of}"
        while name in taken:
            name += "_"
        taken.add(name)
        seeds.append(Seed(name, of, kinds[0].seeds.removesuffix("s")))
        symbols.append(Expr(lookup("input"), (), {"name": name}, x.type))
    if storage is not None and kinds[0].family in _SPARSE:
        (group,) = wanted
        stored = _SPARSE[group](outputs, by, storage)
        places = zip(blocks[group], stored, strict=True)
        blocks[group] = tuple(Block(block.name, entries) for block, (_, entries) in places)
        found = [data for data, _ in stored]
    else:
        found = _FAMILIES[kinds[0].family](outputs, by, symbols)
    graph = verify(to_graph([*inputs, *symbols], found))
    return Derived(graph, tuple(seeds), blocks)


def _blocks(group: str, names: Names, chosen: Sequence[int]) -> tuple[Block, ...]:
    """The outputs of a group, those of the first of its dimensions outermost."""
    combinations: list[tuple[str, ...]] = [()]
    for dimension in GROUPS[group].by:
        options = names.outputs if dimension == "output" else [names.leaves[i] for i in chosen]
        combinations = [(*c, option) for c in combinations for option in options]
    return tuple(Block(GROUPS[group].name.format(*c)) for c in combinations)


# --- one function for each family: outputs, symbols to differentiate by, seeds -> what the graph computes -------------


def _filled(found: Sequence[Expr | None], like: Sequence[Expr]) -> list[Expr]:
    return [zeros(x.type) if t is None else t for t, x in zip(found, like, strict=True)]


def _jvp(outputs: Sequence[Expr], by: Sequence[Expr], seeds: Sequence[Expr]) -> list[Expr]:
    values, tangents = pushed(outputs, by, seeds)
    return [*values, *_filled(tangents, outputs)]


def _vjp(outputs: Sequence[Expr], by: Sequence[Expr], seeds: Sequence[Expr]) -> list[Expr]:
    given = iter(seeds)
    values, found = pulled(outputs, [next(given) if y.dtype.kind == "float" else None for y in outputs], by)
    return [*values, *_filled(found, by)]


def _jacobian(outputs: Sequence[Expr], by: Sequence[Expr], seeds: Sequence[Expr]) -> list[Expr]:
    return [block for row in dense(outputs, by, by, "auto") for block in row]


def _hessian(outputs: Sequence[Expr], by: Sequence[Expr], seeds: Sequence[Expr]) -> list[Expr]:
    found: list[Expr] = []
    for output in outputs:
        found += [block for row in second(output, by, by) for block in row]
    return found


def _sparse_jacobian(outputs: Sequence[Expr], by: Sequence[Expr], storage: Storage) -> list[tuple[Expr, Entries]]:
    return sparse(outputs, by, by, "auto", replace(storage, triangle=None))


def _sparse_hessian(outputs: Sequence[Expr], by: Sequence[Expr], storage: Storage) -> list[tuple[Expr, Entries]]:
    return [block for y in outputs for block in sparse(slopes(y, by), by, by, "symmetric", storage)]


_SPARSE: Mapping[str, Callable[..., list[tuple[Expr, Entries]]]] = {
    "jacobian": _sparse_jacobian,
    "hessian": _sparse_hessian,
}


def _hvp(outputs: Sequence[Expr], by: Sequence[Expr], seeds: Sequence[Expr]) -> list[Expr]:
    _, gradient = pulled(outputs, [constant(1.0, outputs[0].dtype)], by)
    _, found = pushed(_filled(gradient, by), by, seeds, stabilize=True)
    return _filled(found, by)


_FAMILIES: Mapping[str, Callable[[Sequence[Expr], Sequence[Expr], Sequence[Expr]], list[Expr]]] = {
    "jvp": _jvp,
    "vjp": _vjp,
    "jacobian": _jacobian,
    "hessian": _hessian,
    "hvp": _hvp,
}
