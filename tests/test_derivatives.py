"""Kinds of derivatives that `compile` writes: each on every target against torch.func, for pytrees in and out."""

from typing import Any

import numpy as np
import pytest
import torch

import gradsmith as gs
from gradsmith.derive.derivatives import GROUPS, KINDS, families

TARGETS = ("python", "numpy", "c")
POINT = ({"w": np.array([[0.5, -1.0, 0.2], [1.5, 0.3, -0.7]]), "b": np.array([0.1, -0.4])}, np.array([0.7, -0.2, 1.1]))
DIRECTION = (
    {"w": np.array([[0.3, 1.0, -2.0], [0.5, 0.1, 0.9]]), "b": np.array([2.0, 0.6])},
    np.array([1.0, -1.5, 0.2]),
)
COTANGENT = {"h": np.array([0.4, -0.9]), "norm": 1.7}
SPEC = ({"w": (2, 3), "b": (2,)}, (3,))


def layer(xp: Any, p: Any, x: Any) -> Any:
    h = xp.tanh(p["w"] @ x + p["b"])
    return {"h": h * p["b"], "norm": xp.sum(h * h * xp.exp(x[0]))}


def loss(xp: Any, p: Any, x: Any) -> Any:
    out = layer(xp, p, x)
    return xp.sum(out["h"]) * out["norm"] + xp.sin(x[1])


def tensors(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: tensors(v) for k, v in value.items()}
    return tuple(map(tensors, value)) if isinstance(value, tuple) else torch.tensor(value, dtype=torch.float64)


def same(got: Any, want: Any) -> None:
    """The same structure, shapes and numbers."""
    if isinstance(want, dict):
        assert list(got) == list(want)
        for key in want:
            same(got[key], want[key])
    elif isinstance(want, tuple):
        assert isinstance(got, tuple)
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            same(a, b)
    else:
        assert np.shape(got) == tuple(want.shape)
        np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("wrt", [None, "p", ("x", "p")])
@pytest.mark.parametrize("target", TARGETS)
def test_kinds_of_several_results_equal_those_of_torch(target: str, wrt: Any) -> None:
    f = gs.compile(
        lambda p, x: layer(gs, p, x), args=SPEC, wrt=wrt, target=target,
        derivatives=("value", "jvp", "vjp", "jacobian", "hessian"),
    )  # fmt: skip
    argnums = {None: (0, 1), "p": 0, ("x", "p"): (1, 0)}[wrt]
    places = argnums if isinstance(argnums, tuple) else (argnums,)
    theirs = lambda p, x: layer(torch, p, x)
    at, along = tensors(POINT), tensors(DIRECTION)
    still = [DIRECTION[i] if i in places else None for i in (0, 1)]
    zero = ({"w": np.zeros((2, 3)), "b": np.zeros(2)}, np.zeros(3))
    same(f(*POINT), theirs(*at))
    full = tuple(tensors(zero[i]) if still[i] is None else along[i] for i in (0, 1))
    same(f.jvp(POINT, [DIRECTION[i] for i in places]), torch.func.jvp(theirs, at, full))
    value, back = f.vjp(*POINT)
    want, theirs_back = torch.func.vjp(theirs, *at)
    same(value, want)
    slopes = theirs_back(tensors(COTANGENT))
    same(back(COTANGENT), tuple(slopes[i] for i in places))
    same(f.jacobian(*POINT), torch.func.jacrev(theirs, argnums)(*at))
    same(f.hessian(*POINT), torch.func.hessian(theirs, argnums)(*at))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("target", TARGETS)
def test_second_order_of_a_scalar_equals_that_of_torch(target: str, dtype: str) -> None:
    if dtype == "float32" and target == "python":
        pytest.skip("Python's floats are float64")
    f = gs.compile(lambda p, x: loss(gs, p, x), args=SPEC, target=target, derivatives=tuple(KINDS), dtype=dtype)
    theirs = lambda p, x: loss(torch, p, x)
    at, along = tensors(POINT), tensors(DIRECTION)
    scale = 1.0 if dtype == "float64" else 3e5
    want = torch.func.jvp(torch.func.grad(theirs, (0, 1)), at, along)[1]
    got = f.hvp(POINT, DIRECTION)
    for a, b in ((got, want), (f.hessian(*POINT), torch.func.hessian(theirs, (0, 1))(*at))):
        np.testing.assert_allclose(flat(a), flat(b), rtol=1e-11 * scale, atol=1e-12 * scale)


def flat(value: Any) -> np.ndarray:
    if isinstance(value, dict):
        value = tuple(value.values())
    return np.concatenate([flat(v) for v in value]) if isinstance(value, tuple) else np.ravel(value)


def test_the_code_of_a_kind_does_not_depend_on_the_others() -> None:
    x, y = gs.symbols("x y", (3,))
    expr = gs.sum(gs.tanh(x * y) * x)
    for target in TARGETS:
        alone = gs.compile(expr, target=target).source
        beside = gs.compile(expr, target=target, derivatives=tuple(KINDS)).source
        bodies = [text.split("def " if target != "c" else "\nvoid ")[1:4] for text in (alone, beside)]
        assert bodies[0] == bodies[1] or [b.rstrip() for b in bodies[0][:2]] == [b.rstrip() for b in bodies[1][:2]]


def test_the_table_is_whole() -> None:
    assert all(group in GROUPS for kind in KINDS.values() for group in kind.groups)
    assert [k.name for kinds in families(list(KINDS)).values() for k in kinds] == list(KINDS)
    assert len({kind.suffix for kind in KINDS.values()}) == len(KINDS)


def test_names_that_clash_with_seeds() -> None:
    x, t_x, lam = gs.symbols("x t_x lambda")
    f = gs.compile(x * t_x * lam, derivatives=("jvp", "hvp", "vjp"))
    assert f.jvp((2.0, 3.0, 5.0), (1.0, 0.0, 0.0)) == (30.0, 15.0)
    assert f.hvp((2.0, 3.0, 5.0), (1.0, 0.0, 0.0)) == (0.0, 5.0, 3.0)


def test_results_that_are_integers_have_no_cotangents() -> None:
    x = gs.symbol("x", (3,))
    for target in TARGETS:
        f = gs.compile({"v": x * x, "n": gs.argmax(x)}, target=target, derivatives=("vjp", "jvp"))
        value, back = f.vjp(np.array([1.0, 3.0, 2.0]))
        assert value["n"] == 1
        np.testing.assert_array_equal(back({"v": np.array([1.0, 1.0, 2.0]), "n": None})[0], [2.0, 6.0, 8.0])


@pytest.mark.parametrize("sparse", [None, "csr"])
def test_the_jacobian_of_an_integer_is_zero_beside_others_and_an_error_alone(sparse: str | None) -> None:
    x = gs.symbol("x", (3,))
    f = gs.compile({"v": x * x, "n": gs.argsort(x)}, derivatives="jacobian", sparse=sparse)
    found = {k: m.toarray() if sparse else m for k, m in f.jacobian([1.0, 3.0, 2.0]).items()}
    np.testing.assert_array_equal(found["v"], np.diag([2.0, 6.0, 4.0]))
    np.testing.assert_array_equal(found["n"], np.zeros((3, 3)))
    with pytest.raises(gs.DerivativeError, match=r"argsort \(an integer\).*zero is right.*gs\.stop_gradient\(x\)"):
        gs.compile(gs.argsort(x), derivatives="jacobian", sparse=sparse)


def test_the_cost_of_each_kind_is_counted() -> None:
    x = gs.symbol("x", (4,))
    cost = gs.compile(gs.sum(gs.exp(x) * x), derivatives=tuple(KINDS)).cost
    assert all(cost.total(kind) > 0 for kind in KINDS)
    assert "hvp" in str(cost)
    assert "hvp" not in str(gs.compile(gs.sum(x)).cost)


x = gs.symbol("x", (3,))
BAD = [
    ("kind", gs.SpecError, lambda: gs.compile(x, derivatives="laplacian"), "choose from .*'jacobian'"),
    ("hvp", gs.DerivativeError, lambda: gs.compile(x, derivatives="hvp"), "one scalar result.*'jacobian'"),
    ("missing", gs.DerivativeError, lambda: gs.compile(x, derivatives="jvp").jacobian([1.0] * 3), "add 'jacobian'"),
    ("no tuple", gs.ArgumentError, lambda: gs.compile(x, derivatives="jvp").jvp(1.0, (1.0,)), "primals is a tuple"),
    ("tangents", gs.ArgumentError, lambda: gs.compile(x, derivatives="jvp").jvp(([1.0] * 3,), ()), "got 0 tangents"),
    (
        "shape", gs.ShapeMismatchError,
        lambda: gs.compile(x, derivatives="jvp").jvp(([1.0] * 3,), ([1.0],)), "'t_x' has shape",
    ),
    (
        "shape in C", gs.ShapeMismatchError,
        lambda: gs.compile(x, derivatives="jvp", target="c").jvp(([1.0] * 3,), ([1.0],)), "t_x",
    ),
    (
        "structure", gs.ArgumentError,
        lambda: gs.compile({"a": x}, derivatives="vjp").vjp([1.0] * 3)[1]([1.0] * 3), "the cotangent is",
    ),
    ("nothing", gs.DerivativeError, lambda: gs.compile(gs.constant(1.0), derivatives="jvp"), "none"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "run", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_errors_say_the_remedy(kind: type[Exception], run: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        run()


def test_slopes_of_squares_are_no_powers() -> None:
    x, y = gs.symbols("x y")
    f = gs.compile((x - y) ** 2 + x**3)
    assert [n.op for n in f.adjoint.ordered()].count("pow") == 3  # the two, and the square in the slope of the cube
