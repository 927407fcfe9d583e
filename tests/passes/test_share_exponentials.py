"""Products that are equal by their logarithms: one density in the gradients of option prices, as by hand."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

import gradsmith as gs
from gradsmith.as_graph import to_graph
from gradsmith.derive.adjoint import adjoint
from gradsmith.evaluate import evaluate
from gradsmith.graph import Graph
from gradsmith.passes import share_exponentials as module
from gradsmith.passes.share_exponentials import share_exponentials
from gradsmith.passes.simplify import simplify
from gradsmith.verify import verify

ROOT_2 = math.sqrt(2.0)


def normal(m: Any, d: Any) -> Any:
    return 0.5 * (1.0 + m.erf(d / ROOT_2)) if m is gs else mpmath.ncdf(d)


def black_scholes(m: Any, s: Any, k: Any, r: Any, v: Any, t: Any) -> Any:
    spread = v * m.sqrt(t)
    d1 = (m.log(s / k) + (r + 0.5 * v * v) * t) / spread
    return s * normal(m, d1) - k * m.exp(-r * t) * normal(m, d1 - spread)


def both_spelled_out(m: Any, s: Any, k: Any, r: Any, v: Any, t: Any) -> Any:
    d1 = (m.log(s) - m.log(k) + (r + v**2 / 2) * t) / (v * m.sqrt(t))
    d2 = (m.log(s) - m.log(k) + (r - v**2 / 2) * t) / (v * m.sqrt(t))
    return s * normal(m, d1) - k * m.exp(-r * t) * normal(m, d2)


def until_maturity(m: Any, s: Any, k: Any, r: Any, v: Any, t: Any) -> Any:
    left = 2.0 - t
    d1 = (m.log(s / k) + (r + 0.5 * v * v) * left) / (v * m.sqrt(left))
    return s * normal(m, d1) - k * m.exp(-r * left) * normal(m, d1 - v * m.sqrt(left))


def dividends(m: Any, s: Any, k: Any, r: Any, v: Any, t: Any, q: Any) -> Any:
    forward, spread = s * m.exp((r - q) * t), v * m.sqrt(t)
    d1 = m.log(forward / k) / spread + 0.5 * spread
    return m.exp(-r * t) * (forward * normal(m, d1) - k * normal(m, d1 - spread))


def black_76(m: Any, f: Any, k: Any, r: Any, w: Any) -> Any:
    spread = m.sqrt(w)
    d1 = m.log(f / k) / spread + 0.5 * spread
    return m.exp(-r) * (f * normal(m, d1) - k * normal(m, d1 - spread))


def straddle(m: Any, s: Any, k: Any, r: Any, v: Any, t: Any) -> Any:
    spread, discounted = v * m.sqrt(t), k * m.exp(-r * t)
    d1 = (m.log(s / k) + (r + 0.5 * v * v) * t) / spread
    d2 = d1 - spread
    call = s * normal(m, d1) - discounted * normal(m, d2)
    return call + discounted * normal(m, -d2) - s * normal(m, -d1)


def exchange(m: Any, a: Any, b: Any, v: Any, w: Any, t: Any) -> Any:
    both = m.sqrt(v * v + w * w - 0.6 * v * w)
    spread = both * m.sqrt(t)
    d1 = (m.log(a / b) + 0.5 * both * both * t) / spread
    return a * normal(m, d1) - b * normal(m, d1 - spread)


def lognormal_excess(m: Any, mu: Any, s: Any, k: Any) -> Any:
    d = (mu - m.log(k)) / s
    return m.exp(mu + 0.5 * s * s) * normal(m, d + s) - k * normal(m, d)


#: Formulas of finance, with how many divisions value and gradient take by hand.
FORMULAS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "Black-Scholes": (black_scholes, 5, 3),
    "both arguments spelled out": (both_spelled_out, 5, 6),
    "time to maturity": (until_maturity, 5, 3),
    "a dividend yield": (dividends, 6, 3),
    "Black 76": (black_76, 4, 3),
    "call and put": (straddle, 5, 3),
    "Margrabe": (exchange, 5, 5),
    "excess of a log-normal variable": (lognormal_excess, 3, 1),
}


def compiled(formula: Callable[..., Any], n: int, **options: Any) -> Any:
    xs = gs.symbols(" ".join(f"x{i}" for i in range(n)))
    return gs.compile(formula(gs, *xs), args=list(xs), selftest=False, **options)


@pytest.mark.parametrize("name", FORMULAS)
def test_one_density_is_left_and_the_gradient_is_right(name: str) -> None:
    formula, n, divisions = FORMULAS[name]
    f = compiled(formula, n)
    cost = f.cost.value_and_grad
    assert cost["npdf"] == 1
    assert cost["div"] <= divisions
    for point in np.random.default_rng(0).uniform(0.4, 1.6, (4, n)).tolist():
        slopes = f.grad(*point)
        with mpmath.workdps(40):
            for i, slope in enumerate(slopes):
                exact = mpmath.diff(
                    lambda x, i=i, point=point: formula(mpmath, *point[:i], x, *point[i + 1 :]),
                    mpmath.mpf(point[i]),
                    h=mpmath.mpf(10) ** -15,
                )
                assert abs(slope - exact) < 1e-13 * (abs(exact) + 0.01)


def test_the_code_is_what_a_quant_writes() -> None:
    s, k, r, v, t = gs.symbols("S K r v T")
    f = gs.compile(black_scholes(gs, s, k, r, v, t), args=[s, k, r, v, t], name="call", selftest=False)
    text = f.source.split("def call_value_and_grad(")[1].split("except")[0]
    for line in (
        "value = S * d_S - t4",
        "t5 = S * _density(d1)",
        "d_K = -0.5 * t3 * t2",
        "d_r = t4 * T",
        "d_v = t5 * t1",
        "d_T = 0.5 * (t5 * v) / t1 + t4 * r",
    ):
        assert line in text
    assert sum(f.cost.value_and_grad.values()) <= 36


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_other_targets_and_arrays(target: str) -> None:
    xs = [gs.symbol(name, (7,)) for name in ("s", "k", "r", "v", "t")]
    f = gs.compile(gs.sum(black_scholes(gs, *xs)), args=xs, target=target, selftest=False)
    assert f.cost.value_and_grad["npdf"] == 7
    scalars = compiled(black_scholes, 5)
    points = np.random.default_rng(1).uniform(0.4, 1.6, (5, 7))
    each = np.array([scalars.grad(*column) for column in points.T.tolist()])
    np.testing.assert_allclose(np.array(f.grad(*points)).T, each, rtol=1e-13)


def test_arrays_with_scalars_that_all_share() -> None:
    s, k, v, t = (gs.symbol(name, (7,)) for name in ("s", "k", "v", "t"))
    r = gs.symbol("r")
    f = gs.compile(gs.sum(black_scholes(gs, s, k, r, v, t)), args=[s, k, r, v, t], target="c", selftest=False)
    assert f.cost.value_and_grad["npdf"] == 7
    assert f.cost.value_and_grad["div"] <= 4 * 7


def test_batches_have_one_density() -> None:
    f = compiled(black_scholes, 5, target="c", batch=True)
    assert f.source.count("= x0 * gs_vnpdf(d1);") == 2  # of grad and value_and_grad
    assert f.source.count("gs_vnpdf(") == 3
    points = np.random.default_rng(2).uniform(0.4, 1.6, (5, 20))
    values, slopes = f.value_and_grad_batch(*points)
    for i, point in enumerate(points.T.tolist()):
        value, each = f.value_and_grad(*point)
        assert values[i] == pytest.approx(value, rel=1e-12)
        assert [g[i] for g in slopes] == pytest.approx(list(each), rel=1e-12)


def test_float32() -> None:
    f = compiled(black_scholes, 5, target="c", dtype="float32")
    assert f.cost.value_and_grad["npdf"] == 1
    point = [0.9, 1.1, 0.3, 0.6, 0.8]
    np.testing.assert_allclose(f.grad(*point), compiled(black_scholes, 5).grad(*point), rtol=2e-5)


def test_forms_that_lose_digits_keep_them_if_asked_to() -> None:
    f = compiled(black_scholes, 5, stabilize=False)
    assert f.cost.value_and_grad.get("npdf", 0) + f.cost.value_and_grad["exp"] == 2


def test_strict_code_keeps_both() -> None:
    f = compiled(black_scholes, 5, strict=True)
    assert f.cost.value_and_grad["div"] > 3


NEAR_MISSES: dict[str, Callable[..., Any]] = {
    "another drift": lambda m, s, k, r, v, t: (
        s * normal(m, (m.log(s / k) + (r + 0.51 * v * v) * t) / (v * m.sqrt(t)))
        - k * m.exp(-r * t) * normal(m, (m.log(s / k) + (r - 0.5 * v * v) * t) / (v * m.sqrt(t)))
    ),
    "another rate": lambda m, s, k, r, v, t: (
        s * normal(m, (m.log(s / k) + (r + 0.5 * v * v) * t) / (v * m.sqrt(t)))
        - k * m.exp(-1.0001 * r * t) * normal(m, (m.log(s / k) + (r - 0.5 * v * v) * t) / (v * m.sqrt(t)))
    ),
    "another time": lambda m, s, k, r, v, t: (
        s * normal(m, (m.log(s / k) + (r + 0.5 * v * v) * t) / (v * m.sqrt(t)))
        - k * m.exp(-r) * normal(m, (m.log(s / k) + (r - 0.5 * v * v) * t) / (v * m.sqrt(t)))
    ),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_misses_stay_apart(name: str) -> None:
    f = compiled(NEAR_MISSES[name], 5)
    assert f.cost.value_and_grad["npdf"] == 2
    point = [0.9, 1.1, 0.3, 0.6, 0.8]
    with mpmath.workdps(40):
        for i, slope in enumerate(f.grad(*point)):
            exact = mpmath.diff(
                lambda x, i=i: NEAR_MISSES[name](mpmath, *point[:i], x, *point[i + 1 :]),
                mpmath.mpf(point[i]),
                h=mpmath.mpf(10) ** -15,
            )
            assert abs(slope - exact) < 1e-13 * (abs(exact) + 0.01)


def joint(expr: gs.Expr, symbols: Any) -> Graph:
    graph = to_graph(symbols, [expr])
    return simplify(adjoint(graph, range(len(symbols))))


def count(graph: Graph, op: str) -> int:
    return sum(n.op == op for n in graph.ordered())


@pytest.mark.parametrize("name", FORMULAS)
def test_what_the_mathematics_leaves_undefined_stays_undefined(name: str) -> None:
    formula, n, _ = FORMULAS[name]
    xs = gs.symbols(" ".join(f"x{i}" for i in range(n)))
    before = joint(formula(gs, *xs), xs)
    after = verify(share_exponentials(before))
    assert len(after) < len(before)
    for point in itertools.product((0.7, -0.8, math.nan), repeat=n):
        values, others = ([float(evaluate(g, [*point])[k]) for k in g.outputs] for g in (before, after))
        np.testing.assert_array_equal(np.isnan(others), np.isnan(values))
        np.testing.assert_allclose(others, values, rtol=1e-9, atol=1e-12)
    for point in itertools.product((0.7, 0.0, math.inf), repeat=n):
        values, others = ([float(evaluate(g, [*point])[k]) for k in g.outputs] for g in (before, after))
        for value, other in zip(values, others, strict=True):
            assert math.isnan(value) or other == pytest.approx(value, rel=1e-9, abs=1e-12)  # no NaN is new


def test_what_the_user_wrote_stays() -> None:
    x, y = gs.symbols("x y")
    graph = to_graph([x, y], [gs.exp(x) * gs.exp(y) - gs.exp(x + y)])
    assert share_exponentials(graph) is graph


def as_derived(*outputs: gs.Expr, user: int = 0) -> Graph:
    """A graph as the chain rule would leave it, but for what output number `user` is made of."""
    graph = to_graph(SYMBOLS, outputs)
    written = {n.key for n in graph.rooted(graph.outputs[:user]).ordered()} if user else set()
    new = Graph()
    for n in graph.ordered():
        mine = n.op == "input" or n.key in written
        new.add(n.op, n.args, n.params, n.type, n.origin if mine else n.origin.backward(None, "mul"))
    for name in ("inputs", "outputs"):
        new.graph[name] = graph.graph[name]
    return new


SYMBOLS = a, b, c = gs.symbols("a b c")


def test_of_two_that_the_chain_rule_made_the_one_with_fewer_exponentials_stays() -> None:
    for outputs in itertools.permutations((gs.exp(a) * gs.exp(b), gs.exp(2.0 * a + b - a))):
        after = share_exponentials(as_derived(*outputs))
        assert count(after, "exp") == 1
        assert len(set(after.outputs)) == 1


def test_what_the_user_wrote_stays_and_takes_the_place_of_others() -> None:
    mine, other = gs.exp(a) * gs.exp(b), gs.exp(b) / gs.exp(-a)
    after = share_exponentials(as_derived(mine, -other, user=1))
    assert [n.op for n in after.ordered()][3:] == ["exp", "exp", "mul", "neg"]
    short = gs.exp(a + b)
    after = share_exponentials(as_derived(mine, short, user=1))
    assert count(after, "exp") == 3  # the other one may not overflow where this one does


def test_one_that_is_a_number_for_more_arguments_takes_no_place() -> None:
    graph = as_derived(a * gs.exp(c) * b, gs.exp(gs.log(a) + c) * b)
    assert share_exponentials(graph) is graph


def test_a_graph_without_exponentials_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = gs.symbols("x y")
    graph = joint(gs.sin(x * y) / gs.sqrt(x) + gs.log(y), (x, y))
    assert graph.sorts
    monkeypatch.setattr(Graph, "ordered", None)  # nobody goes through it
    assert share_exponentials(graph) is graph


def book(n: int) -> Graph:
    """The prices of n options, with one rate, and their gradient."""
    r = gs.symbol("r")
    others = [gs.symbols(f"s{i} k{i} v{i} t{i}") for i in range(n)]
    total: Any = 0.0
    for s, k, v, t in others:
        spread = v * gs.sqrt(t)
        d1 = (gs.log(s / k) + (r + 0.5 * v * v) * t) / spread
        total = total + s * gs.ndtr(d1) - k * gs.exp(-r * t) * gs.ndtr(d1 - spread)
    return joint(total, [r, *itertools.chain(*others)])


def test_many_options_take_as_many_steps_each(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    node = Graph.node

    def counted(self: Graph, key: int) -> Any:
        steps.append(key)
        return node(self, key)

    taken = {}
    for n in (10, 80):
        graph = book(n)
        with monkeypatch.context() as patched:
            patched.setattr(Graph, "node", counted)
            after = share_exponentials(graph)
        assert count(graph, "npdf") == 2 * n
        assert count(after, "npdf") == n
        assert count(after, "div") <= 4 * n
        taken[n] = len(steps)
        steps.clear()
    assert taken[80] < 8 * 1.3 * taken[10]


def test_two_that_wait_for_each_other() -> None:
    graph = to_graph(SYMBOLS, [gs.sin(gs.exp(a)) * gs.exp(b), gs.sin(gs.exp(b)) * gs.exp(c), gs.exp(c)])
    first, second, last = (n.key for n in graph.ordered() if n.op == "exp")
    late = {first: module._Same(graph.outputs[1], False), second: module._Same(graph.outputs[0], True)}
    merged, kept = module._merged(graph, late)
    assert merged.text() == graph.text()  # neither could be computed before the other
    merged, kept = module._merged(graph, {**late, last: module._Same(first, True)})
    assert count(verify(merged), "exp") == 2
    assert kept == {first}


def test_a_product_may_give_way_to_a_later_one() -> None:
    graph = to_graph(SYMBOLS, [gs.exp(a) * b, gs.exp(b) * c])
    first, second = graph.outputs
    merged, kept = module._merged(graph, {first: module._Same(second, True)})
    assert [n.op for n in verify(merged).ordered()] == ["input"] * 3 + ["exp", "mul", "neg"]
    assert merged.outputs[1] in kept
