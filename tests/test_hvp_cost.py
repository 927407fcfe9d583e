"""The Hessian times a vector costs at most 2.5 times the gradient, counted on three models, and forms no Hessian."""

from typing import Any

import pytest

import gradsmith as gs


def rosenbrock(x: Any) -> Any:
    return gs.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def network(p: Any, x: Any, t: Any) -> Any:
    h = gs.tanh(x @ p["W1"] + p["b1"])
    return gs.mean((h @ p["W2"] + p["b2"] - t) ** 2)


def log_likelihood(w: Any, x: Any, y: Any) -> Any:
    z = x @ w
    return gs.sum(gs.softplus(z) - y * z) + 0.5 * gs.sum(w * w)


MODELS = {
    "Rosenbrock": (rosenbrock, ((50,),), None),
    "network": (
        network,
        ({"W1": (6, 16), "b1": (16,), "W2": (16, 3), "b2": (3,)}, (20, 6), (20, 3)),
        "p",
    ),
    "log-likelihood": (log_likelihood, ((8,), (60, 8), (60,)), "w"),
}


@pytest.mark.parametrize("target", ["numpy", "c"])
@pytest.mark.parametrize("name", MODELS)
def test_the_product_costs_little_more_than_the_gradient(name: str, target: str) -> None:
    model, args, wrt = MODELS[name]
    kinds = ("value", "value_and_grad", "hvp")
    cost = gs.compile(model, args=args, wrt=wrt, derivatives=kinds, target=target, selftest=False).cost
    assert 0 < cost.total("hvp") <= 2.5 * cost.total("value_and_grad")
    assert cost.total("hvp") <= 2.5 * cost.total("grad")


def test_scalar_code_keeps_the_limit() -> None:
    cost = gs.compile(rosenbrock, args=((8,),), derivatives=("value", "grad", "hvp"), selftest=False).cost
    assert cost.total("hvp") <= 2.5 * cost.total("grad")
