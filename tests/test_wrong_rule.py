"""Prove the prover: a derivative rule that is wrong by 0.05 % does not get past the tests, nor past `f.check()`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import gradsmith as gs
from gradsmith.registry import OPS

from .conformance import test_ops

WRONG = {
    "tanh": lambda x: gs.tanh(x),
    "exp": lambda x: gs.exp(x),
    "mul": lambda x: x * gs.sin(x),
    "sum": lambda x: gs.sum(gs.stack([x, x * 2.0])),
}


def slightly_wrong(vjp: Callable[..., Any]) -> Callable[..., Any]:
    def rule(*args: Any, **params: Any) -> Any:
        return tuple(None if share is None else share * 1.0005 for share in vjp(*args, **params))

    return rule


@pytest.fixture
def break_rule(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Exchange a record's rule; the record itself stays, since the ops hold on to it."""

    def break_it(name: str) -> None:
        vjp = OPS[name].vjp
        assert vjp is not None
        monkeypatch.setitem(OPS, name, replace(OPS[name], vjp=slightly_wrong(vjp)))

    return break_it


@pytest.mark.parametrize("target", ["python", "numpy"])
@pytest.mark.parametrize("name", WRONG)
def test_check_sees_a_wrong_rule(name: str, target: str, break_rule: Callable[[str], None]) -> None:
    break_rule(name)
    x = gs.symbol("x")
    f = gs.compile(WRONG[name](x), target=target, selftest=False)
    report = f.check()
    assert not report.ok
    assert "d_x" in str(report)
    with pytest.raises(gs.MismatchError):
        f.check(raise_on_error=True)


def alone_in(folder: Path) -> test_ops.Built:
    """The trials of an op, built now."""

    def of(name: str) -> Any:
        trials = test_ops.scalars_and_arrays if name in test_ops.ELEMENTWISE else test_ops.structural
        found, runners = test_ops.built([name], trials, folder)
        return found[name], runners

    return of


@pytest.mark.parametrize("name", ["exp", "tanh"])
def test_conformance_sees_a_wrong_rule(name: str, break_rule: Callable[[str], None], tmp_path: Any) -> None:
    test_ops.alone.cache_clear()
    break_rule(name)
    try:
        with pytest.raises(AssertionError, match="order 1"):
            test_ops.test_elementwise(name, alone_in(tmp_path))
    finally:
        test_ops.alone.cache_clear()


def test_conformance_sees_a_wrong_second_derivative(break_rule: Callable[[str], None], tmp_path: Any) -> None:
    """The rule of cos takes part in the second derivative of sin only."""
    test_ops.alone.cache_clear()
    break_rule("cos")
    try:
        with pytest.raises(AssertionError, match="order 2") as failure:
            test_ops.test_elementwise("sin", alone_in(tmp_path))
        assert "order 1" not in str(failure.value)
    finally:
        test_ops.alone.cache_clear()


@pytest.mark.parametrize("name", ["sum", "matmul"])
def test_conformance_sees_a_wrong_structural_rule(name: str, break_rule: Callable[[str], None], tmp_path: Any) -> None:
    break_rule(name)
    with pytest.raises(AssertionError, match="gradient"):
        test_ops.test_structural(name, alone_in(tmp_path))


def test_the_self_test_of_a_file_sees_a_wrong_rule(break_rule: Callable[[str], None]) -> None:
    """Its reference values do not come from the adjoint pass."""
    break_rule("exp")
    x = gs.symbol("x")
    f = gs.compile(gs.exp(x))
    with pytest.raises(AssertionError, match="gradient"):
        f.module._selftest()


@pytest.mark.parametrize("kind", ["jvp", "vjp", "jacobian", "hessian", "hvp"])
def test_the_self_test_of_every_kind_sees_a_wrong_rule(kind: str, break_rule: Callable[[str], None]) -> None:
    """Nor do those of the other kinds; the rule of cos takes part in second derivatives of sin only."""
    break_rule("cos" if kind in ("hessian", "hvp") else "sin")
    f = gs.compile(gs.sin(gs.symbol("x")), derivatives=kind)
    with pytest.raises(AssertionError, match=f"f_{kind}"):
        f.module._selftest()


def test_all_is_well_without(tmp_path: Any) -> None:
    """The same checks pass with the rules as they are."""
    x = gs.symbol("x")
    for make in WRONG.values():
        f = gs.compile(make(x))
        assert f.check(raise_on_error=True).ok
        f.module._selftest()
