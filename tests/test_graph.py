"""The graph: interning, order, text, networkx's algorithms, and the checker that guards it."""

import networkx as nx
import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_exprs, to_graph
from gradsmith.graph import Graph, freeze_key
from gradsmith.trace import Expr, recording
from gradsmith.types import BOOL, Dim, Type, broadcast_shapes, normalize_axes, normalize_shape
from gradsmith.verify import verify


def small() -> Graph:
    x, y = gs.symbols("x y")
    return to_graph([x, y], [x * y + x * y])


@pytest.mark.parametrize(
    ("a", "b"),
    [(0.0, -0.0), (1, True), (1, 1.0), ("1", 1), ((1,), [1]), (None, 0), (np.array([1.0]), np.array([1]))],
)
def test_keys_tell_apart_what_differs(a: object, b: object) -> None:
    assert freeze_key(a) != freeze_key(b)


def test_equal_computations_are_one_node() -> None:
    assert small().text().count("mul") == 1


@pytest.mark.parametrize("case", ["its own", "with an older value", "with an input twice", "with an unused input"])
def test_what_one_recording_made_is_the_graph_that_any_expressions_make(case: str) -> None:
    older = gs.symbol("z") * 2.0
    with recording() as state:
        x, y = gs.symbols("x y")
        h = gs.sin(x) * 2.0
        lost = gs.cos(h)  # nothing needs it
        result = h * y + h
        pairs: list[tuple[Expr, Expr]] = [(h, y), (lost, y), (y, result), (h, lost)]
        inputs, outputs = [y, x], [result, y]
        if case == "with an older value":
            inputs, outputs = [y, x, older.args[0]], [result + older]
        elif case == "with an input twice":
            inputs = [y, x, y]
        elif case == "with an unused input":
            inputs = [y, gs.symbol("w"), x]
        found, general = (to_graph(inputs, outputs, pairs, since=s) for s in (state.since, None))
    assert found.text() == general.text()
    assert (found.inputs, found.outputs) == (general.inputs, general.outputs)
    assert found.cotangents == general.cotangents != {}
    assert state.since is not None


def test_commutative_operands_count_in_any_order_but_print_as_written() -> None:
    x, y = gs.symbols("x y")
    g = to_graph([x, y], [y * x + x * y])
    assert g.text().count("mul %1 %0") == 1
    assert g.text().count("mul %0 %1") == 0
    assert to_graph([x, y], [(x - y) * (y - x)]).text().count("sub") == 2


def test_args_are_the_truth_and_edges_follow() -> None:
    x = gs.symbol("x")
    g = to_graph([x], [x * x])
    assert g.node(1).args == (0, 0)
    assert list(g.edges) == [(0, 1)]


def test_constants_keep_the_sign_of_zero_and_their_type() -> None:
    x = gs.symbol("x")
    g = to_graph([x], [(x + 0.0) * (x + -0.0)])
    assert g.text().count("constant") == 2


def test_networkx_algorithms_work() -> None:
    g = small()
    assert nx.is_directed_acyclic_graph(g)
    assert list(nx.topological_sort(g)) == sorted(g.nodes)
    assert nx.ancestors(g, g.outputs[0]) == {0, 1, 2}
    assert g.reverse().number_of_edges() == g.number_of_edges()


def test_a_copy_can_be_extended_and_does_not_reuse_keys() -> None:
    g = small().copy()
    before = len(g)
    new = g.add("sin", (0,), {}, Type(()))
    assert new == before
    assert g.node(0).op == "input"


def test_digest_is_blind_to_origins_and_sees_everything_else() -> None:
    x, y = gs.symbols("x y")
    first = to_graph([x, y], [x + y]).digest()
    total = x + y
    assert to_graph([x, y], [total]).digest() == first
    assert to_graph([y, x], [y + x]).digest() != first  # another argument order
    assert to_graph([x, y], [x - y]).digest() != first
    assert to_graph([x, y], [x + y + 0.0]).digest() != to_graph([x, y], [x + y + -0.0]).digest()


def test_exprs_round_trip() -> None:
    g = small()
    exprs = to_exprs(g)
    assert to_graph([exprs[k] for k in g.inputs], [exprs[k] for k in g.outputs]).text() == g.text()


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("shape", (2,), "its operands make it"),
        ("dtype", BOOL, "its operands make it"),
        ("args", (3, 1), "comes later"),
        ("args", (0,), "edges differ|takes 2"),
        ("args", (0, 0), "edges differ"),
    ],
)
def test_verify_names_the_broken_invariant(attribute: str, value: object, message: str) -> None:
    x, y = gs.symbols("x y")
    g = to_graph([x, y], [x * y + 1.0])
    g.nodes[2][attribute] = value
    with pytest.raises(gs.GraphError, match=message):
        verify(g)


def test_verify_sees_a_lost_input() -> None:
    g = small()
    g.graph["inputs"] = (0,)
    with pytest.raises(gs.GraphError, match="inputs"):
        verify(g)


def test_named_dimensions_broadcast() -> None:
    n = Dim("n")
    assert broadcast_shapes((n, 1), (3,)) == (n, 3)
    assert broadcast_shapes((n,), (n,)) == (n,)
    with pytest.raises(gs.ShapeError, match="do not broadcast"):
        broadcast_shapes((n,), (3,))
    with pytest.raises(gs.ShapeError, match="do not broadcast"):
        broadcast_shapes((n,), (Dim("m"),))
    x, w = gs.symbol("x", ("n", 4)), gs.symbol("w", (4,))
    assert (x * w + 1.0).shape == (n, 4)
    assert (x @ w).shape == (n,)
    assert gs.sum(gs.tanh(x), axis=1).shape == (n,)


def test_a_named_dimension_traces_and_differentiates() -> None:
    from gradsmith.derive.adjoint import adjoint

    x, w = gs.symbol("x", ("n", 4)), gs.symbol("w", (4,))
    g = to_graph([x, w], [gs.sum(gs.tanh(x @ w) ** 2)])
    joint = verify(adjoint(g, g.inputs))
    assert [joint.nodes[k]["shape"] for k in joint.outputs] == [(), (Dim("n"), 4), (4,)]


@pytest.mark.parametrize("shape", [(-1,), (1.5,), ("not a name",), (True,), {"a": 1}])
def test_bad_shapes_are_refused(shape: object) -> None:
    with pytest.raises(gs.ShapeError):
        normalize_shape(shape)


def test_axes() -> None:
    assert normalize_axes(None, 2, "sum") == (0, 1)
    assert normalize_axes((-1, 0), 3, "sum") == (0, 2)
    for bad in (2, -3, (0, 0), (0, -2), True):
        with pytest.raises(gs.ShapeError, match="axis"):
            normalize_axes(bad, 2, "sum")
