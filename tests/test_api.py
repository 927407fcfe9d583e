"""The public API: what goes into `compile`, what comes back, and what the compiled function can do."""

import functools
import math
import re
import shutil
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import sympy

import gradsmith as gs

pytestmark = pytest.mark.usefixtures("quick_builds")

needs_cc = pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler")
TARGETS = ["python", "numpy", pytest.param("c", marks=needs_cc)]


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADSMITH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


compiled = functools.partial(gs.compile, selftest=False)

# --- pytrees in, pytrees back -----------------------------------------------------------------------------------------

Pair = namedtuple("Pair", "a b")


class Layer(NamedTuple):
    """A named tuple of arrays."""

    W: Any
    b: Any


@dataclass
class State:
    """A dataclass with a nested entry."""

    position: Any
    parts: Any


@pytest.mark.parametrize("target", TARGETS)
def test_every_container_comes_back_as_it_went_in(target: str):
    def f(tree: Any) -> gs.Expr:
        t, l, d, n, s, nothing = tree
        assert nothing is None
        return t[0] * l[0] + d["k"] * n.a + gs.sum(s.position) * s.parts["inner"][1].b + t[1] + l[1] + n.b

    spec = (((), ()), [(), ()], {"k": ()}, Pair((), ()), State((2,), {"inner": [None, Pair((), ())]}), None)
    point = (
        (2.0, 3.0),
        [5.0, 7.0],
        {"k": 11.0},
        Pair(13.0, 17.0),
        State(np.ones(2), {"inner": [None, Pair(0.0, 19.0)]}),
        None,
    )
    g = compiled(f, args=(spec,), target=target)
    assert g(point) == 2 * 5 + 11 * 13 + 2 * 19 + 3 + 7 + 17
    t, l, d, n, s, nothing = g.grad(point)
    assert (t, l, d, n, nothing) == ((5.0, 1.0), [2.0, 1.0], {"k": 13.0}, Pair(11.0, 1.0), None)
    assert isinstance(n, Pair)
    assert isinstance(s, State)
    np.testing.assert_array_equal(s.position, [19.0, 19.0])
    assert s.parts == {"inner": [None, Pair(0.0, 2.0)]}


@pytest.mark.parametrize("target", TARGETS)
def test_results_are_pytrees_too(target: str):
    def f(x: gs.Expr, v: gs.Expr) -> Any:
        return {"sum": gs.sum(v), "pair": Pair(x * v, [x > 1.0])}

    found = compiled(f, args=((), (2,)), target=target)(2.0, np.array([1.0, 3.0]))
    assert found["sum"] == 4.0
    np.testing.assert_array_equal(found["pair"].a, [2.0, 6.0])
    assert found["pair"].b == [True]


def test_examples_stand_for_their_shapes():
    torch = pytest.importorskip("torch")
    weights = torch.nn.Parameter(torch.ones(2, 3))
    example = ({"W": weights, "b": np.zeros(2)}, [1.0, 2], np.float64(3.0))
    f = compiled(lambda p, l, x: gs.sum(p["W"] * l[0]) + gs.sum(p["b"]) * l[1] * x, args=example)
    assert [a.shape for a in f.inputs] == [(2, 3), (2,), (), (), ()]
    assert [a.name for a in f.inputs[:2]] == ["W", "b"]


# --- wrt --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_wrt(target: str):
    x, y, z = gs.symbols("x y z")
    grads = functools.partial(compiled, x * y + z, target=target)
    assert grads().grad(2.0, 3.0, 5.0) == (3.0, 2.0, 1.0)
    assert grads(wrt="y").grad(2.0, 3.0, 5.0) == 2.0  # a single one is bare
    assert grads(wrt=("y",)).grad(2.0, 3.0, 5.0) == (2.0,)  # in a tuple it stays one
    assert grads(wrt=y).value_and_grad(2.0, 3.0, 5.0) == (11.0, 2.0)
    assert grads(wrt=(z, "x", 1)).grad(2.0, 3.0, 5.0) == (1.0, 3.0, 2.0)  # symbols, names, places; in this order
    assert grads(wrt=-1).grad(2.0, 3.0, 5.0) == 1.0
    one = compiled(gs.exp(x), target=target)
    assert one.grad(0.0) == 1.0  # one argument: bare


@pytest.mark.parametrize("target", TARGETS)
def test_wrt_an_entry_of_a_pytree(target: str):
    def f(params: Any, x: Any) -> gs.Expr:
        return gs.sum(params["W"] @ x) + params["c"] * 2.0

    args = ({"W": (2, 2), "c": ()}, (2,))
    point = ({"W": np.ones((2, 2)), "c": 1.0}, np.array([1.0, 2.0]))
    whole = compiled(f, args=args, wrt="params", target=target).grad(*point)
    np.testing.assert_array_equal(whole["W"], [[1.0, 2.0], [1.0, 2.0]])
    assert whole["c"] == 2.0
    np.testing.assert_array_equal(compiled(f, args=args, wrt="W", target=target).grad(*point), whole["W"])


@pytest.mark.parametrize("target", TARGETS)
def test_unused_inputs_have_zeros_of_their_shape(target: str):
    f = compiled(lambda x, unused, M: x * x, args=((), (3,), {"deep": (2, 2)}), target=target)
    value, (d_x, d_unused, d_M) = f.value_and_grad(3.0, np.ones(3), {"deep": np.ones((2, 2))})
    assert (value, d_x) == (9.0, 6.0)
    np.testing.assert_array_equal(d_unused, np.zeros(3))
    np.testing.assert_array_equal(d_M["deep"], np.zeros((2, 2)))


# --- the same graph from every source ---------------------------------------------------------------------------------


def test_operators_function_text_and_sympy_give_one_graph():
    x, y = gs.symbols("x y")
    X, Y = sympy.symbols("x y")

    def f(x: Any, y: Any) -> Any:
        h = gs.tanh(x)
        return x * y + y + h

    sources = [x * y + y + gs.tanh(x), f, "x*y + y + tanh(x)", lambda x, y: x * y + y + gs.tanh(x)]
    functions = [compiled(source) for source in sources]
    assert len({g.graph.digest() for g in functions[:1] + functions[2:]}) == 1
    in_its_order = compiled(lambda x, y: (lambda h: x * y + y + h)(gs.tanh(x)))
    assert compiled(f).graph.digest() == in_its_order.graph.digest()
    for g in [*functions, compiled(X * Y + Y + sympy.tanh(X), args="x y")]:
        assert g(2.0, 3.0) == pytest.approx(9 + math.tanh(2.0), rel=1e-15)
        assert g.grad(2.0, 3.0) == pytest.approx((3 + 1 / math.cosh(2.0) ** 2, 3.0), rel=1e-15)


def test_args_give_the_order_of_expressions():
    x, y = gs.symbols("x y")
    for args in ("y x", "y, x", ("y", "x"), [y, x], (y, "x")):
        assert [a.name for a in compiled(x / y, args=args).inputs] == ["y", "x"]
    assert compiled(x / y, args=(y, x))(2.0, 6.0) == 3.0
    assert [a.name for a in compiled(x, args=(x, y)).inputs] == ["x", "y"]  # an unused one is an argument too
    f = compiled("sum(W @ x) + b", args={"W": (2, 3), "x": gs.spec((3,))})
    assert [(a.name, a.shape) for a in f.inputs] == [("W", (2, 3)), ("x", (3,)), ("b", ())]  # the rest are scalars
    assert [a.shape for a in compiled(lambda a, b: a * gs.sum(b), args={"b": (3,), "a": ()}).inputs] == [(), (3,)]


def test_functions_of_all_kinds():
    class Model:
        scale = 3.0

        def __call__(self, x: Any) -> Any:
            return self.scale * x

        def method(self, x: Any, y: Any) -> Any:
            return self.scale * x * y

    def defaults(x: Any, power: int = 2) -> Any:
        return x**power

    def any_number(*xs: Any) -> Any:
        return xs[0] * xs[1] + xs[2]

    def keyword(x: Any, *, factor: float = 4.0) -> Any:
        return factor * x

    assert compiled(Model())(2.0) == 6.0
    assert compiled(Model().method).grad(2.0, 5.0) == (15.0, 6.0)
    assert compiled(Model().method).name == "method"
    assert compiled(defaults)(3.0) == 9.0  # a default is left alone
    assert compiled(defaults, args=((), ())).grad(2.0, 3.0) == pytest.approx((12.0, 8 * math.log(2.0)))
    assert compiled(any_number, args=((), (), ()))(2.0, 3.0, 4.0) == 10.0
    assert compiled(keyword)(2.0) == 8.0
    assert compiled(functools.partial(keyword, factor=5.0))(2.0) == 10.0
    assert compiled(lambda x: x * x).name == "f"
    assert compiled(lambda: 3.0)() == 3.0
    assert compiled(gs.tanh, args=((),))(0.5) == math.tanh(0.5)


@pytest.mark.parametrize("target", TARGETS)
def test_calls_by_keyword(target: str):
    x, y = gs.symbols("x y")
    f = compiled(x / y, target=target)
    assert f(y=2.0, x=6.0) == f(6.0, y=2.0) == f(6.0, 2.0) == 3.0
    assert f.value_and_grad(y=2.0, x=6.0) == (3.0, (0.5, -1.5))
    assert isinstance(f(6, 2), float)


# --- the text ---------------------------------------------------------------------------------------------------------


def network(W1: Any, b1: Any, x: Any) -> Any:
    """A layer and a loss."""
    h1 = gs.tanh(W1 @ x + b1)
    loss = gs.sum(h1 * h1)
    return loss


LINE = network.__code__.co_firstlineno


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
def test_names_and_lines_of_the_user_in_every_target(target: str):
    f = compiled(network, args=((2, 2), (2,), (2,)), target=target)
    assert f.name == "network"
    comment = "//" if target == "c" else "#"
    assert f"{comment} test_api.py:{LINE + 2}  h1 = gs.tanh(W1 @ x + b1)" in f.source
    assert re.search(rf"backward \([\w, ]+\) of test_api.py:{LINE + 2}  h1 = ", f.source)
    for name in ("h1", "d_h1", "d_W1", "d_b1"):
        assert name in f.source
    assert "A layer and a loss." in next(iter(f.files.values()))
    assert str(Path(__file__).parent) not in "".join(f.files.values())  # no paths of this machine


def test_names_in_loops_and_helpers():
    def helper(a: Any) -> Any:
        squared = a * a
        return squared + 1.0

    def f(x: Any, y: Any) -> Any:
        for _ in range(3):
            x = gs.sin(x) * y
        first = helper(x)
        return first * helper(y)

    source = compiled(f, target="numpy", derivatives="value").source
    for text in ("x_1 = np.sin(x) * y", "x_2 = np.sin(x_1) * y", "x_3 = ", "squared = ", "squared_1 = ", "first = "):
        assert text in source


def test_names_inside_an_assert_are_no_names():
    assert compiled(lambda x: (x + 1.0) * (x + 2.0))(1.0) == 6.0
    x = gs.symbol("x")
    assert compiled(gs.exp(x) * (x + 1.0), target="numpy")(0.0) == 1.0  # pytest stores the parts as `@py_assert1`


def test_source_files_and_repr():
    x = gs.symbol("x")
    f = compiled(gs.sin(x), name="wave", target="c")
    assert list(f.files) == ["wave.h", "wave.c"]
    assert f.source == f.files["wave.c"] == str(f)
    assert repr(f) == "<gradsmith function wave(x): value, grad, value_and_grad; target c>"
    g = compiled(network, args=((2, 3), (2,), (3,)), wrt="W1", derivatives=("grad", "value"))
    assert repr(g) == "<gradsmith function network(W1[2, 3], b1[2], x[3]): value, grad; target python>"
    assert list(g.files) == ["network.py"]


def test_derivatives_choose_what_is_written():
    x = gs.symbol("x")
    product = x * x
    assert "def f_grad" not in compiled(product, derivatives="value").source
    both = compiled(product, derivatives=["value_and_grad"])
    assert both.value_and_grad(3.0) == (9.0, 6.0)
    assert "def f(" not in both.source
    assert "_selftest" not in both.source
    assert "Run it to test it" not in both.source
    assert "Run it to test it" in gs.compile(product).source


def test_cost():
    x, y = gs.symbols("x y")
    cost = compiled(x * y + gs.sin(x)).cost
    assert dict(cost.value) == {"mul": 1, "sin": 1, "add": 1}
    assert cost.arithmetic("value") == 2
    assert cost.grad["cos"] == 1
    assert cost.ratio == sum(cost.value_and_grad.values()) / 3
    assert "operation" in str(cost)
    assert dict(compiled(gs.symbol("v", (3,)) * 2.0).cost.value) == {"mul": 3}


# --- save -------------------------------------------------------------------------------------------------------------


def test_save(tmp_path: Path):
    x = gs.symbol("x")
    f = gs.compile(gs.sin(x), target="c", name="wave")
    folder = tmp_path / "a" / "b"
    assert f.save(folder) == [folder / "wave.h", folder / "wave.c"]
    assert {p.name: p.read_text() for p in folder.iterdir()} == f.files
    f.save(str(folder))  # again, over what is there
    assert len(list(folder.iterdir())) == 2


def test_save_leaves_no_half_written_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    x = gs.symbol("x")
    (tmp_path / "f.py").write_text("the old one\n")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gradsmith.function.os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        compiled(x * x).save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["f.py"]
    assert (tmp_path / "f.py").read_text() == "the old one\n"


# --- torch ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_torch_function(target: str):
    torch = pytest.importorskip("torch")

    def f(params: Any, x: Any) -> gs.Expr:
        h = gs.tanh(params["W"] @ x)
        return gs.sum(h**2) + params["c"] * x[0]

    function = compiled(f, args=({"W": (2, 3), "c": ()}, (3,)), target=target).torch_function()
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in ((2, 3), (), (3,))
    ]
    assert torch.autograd.gradcheck(function, inputs)
    W, c, x = inputs
    (2.0 * function(W, c, x)).backward()
    wanted = torch.autograd.grad(2.0 * ((torch.tanh(W @ x) ** 2).sum() + c * x[0]), inputs)
    for tensor, grad in zip(inputs, wanted, strict=True):
        torch.testing.assert_close(tensor.grad, grad)


def test_check_reports():
    pytest.importorskip("torch")
    x, y = gs.symbols("x y")
    report = compiled(x * y + gs.tanh(x)).check(n=3, seed=1, raise_on_error=True)
    assert report.ok
    assert [entry.name for entry in report.entries] == ["value", "d_x", "d_y"]
    assert [e.name for e in compiled(x * y, derivatives=("value", "grad")).check(n=1).entries] == ["d_x", "d_y"]
    assert [e.name for e in compiled((x * y, x), derivatives="value").check(n=1).entries] == ["value_0", "value_1"]


def test_graphs():
    import networkx as nx

    x, y = gs.symbols("x y")
    f = compiled(x * y + y)
    assert nx.is_directed_acyclic_graph(f.graph)
    assert len(f.adjoint.outputs) == 3
    assert f.explain(x=2.0, y=3.0).startswith("f(x, y) = ")


def test_the_same_text_every_time():
    one, two = (gs.compile(network, args=((2, 2), (2,), (2,)), target="c").files for _ in range(2))
    assert one == two


def test_tuning_reaches_the_code_and_refuses_what_is_no_number() -> None:
    """Each field of gs.Tuning is a positive integer; a smaller one changes where memory comes from, not a result."""
    x = gs.symbol("x", (50,))
    expr = gs.sum(gs.cumsum(gs.exp(x)) * gs.exp(x))
    small = gs.compile(expr, target="c", tuning=gs.Tuning(stack_work=1, release_gil=1))
    assert small(np.ones(50)) == gs.compile(expr, target="c")(np.ones(50))
    with pytest.raises(gs.TargetError, match="limit 10"):
        gs.compile(gs.sum(x), target="python", tuning=gs.Tuning(straight_elements=10))
    with pytest.raises(gs.SpecError, match=r"stack_work=0"):
        gs.Tuning(stack_work=0)
    with pytest.raises(gs.SpecError, match=r"gs\.Tuning"):
        gs.compile(x, tuning={"stack_work": 1})
