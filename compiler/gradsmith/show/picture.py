"""The picture: what a drawing of a graph shows, before any drawing language.

In: a graph, and optionally a point that gives each input a value. Out: a `Picture` of boxes (values), circles
(operations) and arrows. Guarantee: every operation and every use of a value is there; constants stand beside each of
their uses, and a number that was only broadcast is drawn as the number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import networkx as nx

from ..derive.adjoint import adjoint
from ..errors import DerivativeError, SpecError
from ..evaluate import evaluate
from ..graph import Graph, Node
from ..origin import statement_text
from ..passes.expand import expand_underivable
from ..registry import lookup
from ..types import format_shape
from .notation import contents, literal, names, place

__all__ = ["Arrow", "Box", "Circle", "Picture", "picture_of"]


@dataclass(frozen=True)
class Box:
    """A value: its lines (name, number, gradient), whose role it has, and whether it is a result."""

    id: str
    cells: tuple[str, ...]
    role: str
    result: bool


@dataclass(frozen=True)
class Circle:
    """An operation: its symbol, and what a pointer over it shows."""

    id: str
    symbol: str
    role: str
    about: str


@dataclass(frozen=True)
class Arrow:
    """Data flow; `label` numbers the operands where their order matters, `role` is the consumer's."""

    source: str
    target: str
    label: str
    role: str


@dataclass(frozen=True)
class Picture:
    """What is drawn, before any language: constants are drawn beside each of their uses."""

    title: str
    boxes: tuple[Box, ...]
    circles: tuple[Circle, ...]
    constants: tuple[Box, ...]
    arrows: tuple[Arrow, ...]

    @property
    def is_joint(self) -> bool:
        return len({box.role for box in self.boxes}) > 1

    def of(self, role: str) -> tuple[list[Box], list[Circle], list[Arrow]]:
        """What is drawn in one colour."""
        return (
            [box for box in self.boxes if box.role == role],
            [circle for circle in self.circles if circle.role == role],
            [arrow for arrow in self.arrows if arrow.role == role],
        )


def picture_of(graph: Graph, point: Mapping[str, Any] | None, title: str | None, limit: int) -> Picture:
    """The picture of `graph`; `SpecError` beyond `limit` nodes or for a point that does not fit."""
    if len(graph) > limit:
        raise SpecError(f"a picture of {len(graph)} nodes shows nothing (limit {limit}): raise limit= to insist")
    scene = _scene(graph, point)
    graph, called = scene.graph, names(scene.graph)
    constants = {k for k in scene.shown if literal(graph, k) is not None or graph.node(k).op == "constant"}
    boxes, circles, small, arrows = [], [], [], []
    for n in map(graph.node, sorted(scene.shown)):
        role = "cotangent" if n.origin.derived else "primal"  # two palettes
        if n.key not in constants or n.key in scene.results:
            boxes.append(Box(f"n{n.key}", _cells(scene, n, called), role, n.key in scene.results))
        if n.key in constants or not n.args:
            continue
        circles.append(Circle(f"o{n.key}", lookup(n.op).symbol or n.op, role, _about(n)))
        arrows.append(Arrow(f"o{n.key}", f"n{n.key}", "", role))
        for i, arg in enumerate(n.args):
            source = f"n{arg}"
            if arg in constants:
                source = f"c{arg}_{n.key}_{i}"
                small.append(Box(source, (called[arg],), role, False))
            ordered = len(n.args) > 1 and not lookup(n.op).commutative
            arrows.append(Arrow(source, f"o{n.key}", str(i + 1) if ordered else "", role))
    return Picture(title or "", tuple(boxes), tuple(circles), tuple(small), tuple(arrows))


@dataclass(frozen=True)
class _Scene:
    """The graph to draw, which of its nodes, and what is known of them."""

    graph: Graph
    shown: frozenset[int]
    results: tuple[int, ...]
    values: Mapping[int, Any]
    gradients: Mapping[int, Any]


def _scene(graph: Graph, point: Mapping[str, Any] | None) -> _Scene:
    everything = frozenset(graph.keys_in_order())
    if point is None:
        return _Scene(graph, everything, graph.outputs, {}, {})
    at = place(graph, point)
    joint = graph if graph.cotangents else _joint(graph)
    if joint is None:
        return _Scene(graph, everything, graph.outputs, evaluate(graph, at), {})
    values = evaluate(joint, at)
    gradients = {primal: values[cotangent] for primal, cotangent in joint.cotangents.items()}
    gradients.setdefault(joint.outputs[0], 1.0)
    if joint is graph:
        return _Scene(graph, everything, graph.outputs, values, gradients)
    root = joint.outputs[0]  # the function asked for is the part of the joint graph that leads to its value
    return _Scene(joint, frozenset({root, *joint.inputs, *nx.ancestors(joint, root)}), (root,), values, gradients)


def _joint(graph: Graph) -> Graph | None:
    """The graph with its gradient, or None where it has none: an array, several results, an op without a rule."""
    if len(graph.outputs) != 1:
        return None
    try:
        return adjoint(expand_underivable(graph), graph.inputs)
    except DerivativeError:
        return None


def _cells(scene: _Scene, n: Node, called: Mapping[int, str]) -> tuple[str, ...]:
    """The lines of a box: name, the gradients it is beside its own meaning, number or shape, gradient."""
    cells = [f"{called[n.key]} {format_shape(n.type.shape)}" if n.type.shape else called[n.key]]
    for key in scene.graph.inputs:  # in f = x*y, the gradient d_y is x itself
        if scene.graph.cotangents.get(key) == n.key and n.key in scene.results and called[n.key] != f"d_{called[key]}":
            cells.append(f"= d_{called[key]}")
    if n.key in scene.values and literal(scene.graph, n.key) is None:
        cells.append(f"data {contents(scene.values[n.key])}")
    if n.key in scene.gradients and n.origin.role == "primal":
        cells.append(f"grad {contents(scene.gradients[n.key])}")
    return tuple(cells)


def _about(n: Node) -> str:
    words = [n.op, f"(from the derivative of {n.origin.rule})"] if n.origin.rule else [n.op]
    text = statement_text(n.origin)
    return " ".join(words) + (f" at {n.origin}: {text}" if text else "")
