"""`check` covers every kind of derivative by each reference, and finds a wrong rule in all of them."""

import dataclasses

import pytest

import gradsmith as gs
from gradsmith.derive.derivatives import KINDS
from gradsmith.registry import OPS


@pytest.mark.parametrize("against", ["torch", "mpmath", "finite"])
def test_all_kinds_are_checked(against: str) -> None:
    x, y = gs.symbol("x", (2,)), gs.symbol("y")
    f = gs.compile(gs.sum(gs.tanh(x) * x) * y, derivatives=tuple(KINDS), target="numpy", selftest=False)
    report = f.check(n=2, against=against)
    assert report.ok, str(report)
    seen = " ".join(entry.name for entry in report.entries)
    assert all(f"f{kind.suffix}: " in seen for kind in KINDS.values() if kind.family != "gradient")
    assert any(entry.numbers for entry in report.entries if entry.name.startswith("f_hessian"))


def test_kinds_of_several_results_and_no_value() -> None:
    x, n = gs.symbol("x", (2,)), gs.symbol("n", (), "int64")
    f = gs.compile(
        {"a": gs.exp(x), "k": gs.argmax(x) + n, "s": x[0] * x[1]},
        derivatives=("jvp", "vjp", "jacobian", "hessian"),
        selftest=False,
    )
    for against in ("torch", "finite"):
        assert f.check(n=2, against=against).ok


@pytest.mark.parametrize("kind", [k.name for k in KINDS.values() if k.family != "gradient"])
def test_a_rule_that_is_wrong_by_a_thousandth_fails(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = OPS["sin"]
    wrong = dataclasses.replace(right, vjp=lambda g, y, x: (g * gs.cos(x) * 1.001,))
    monkeypatch.setitem(OPS, "sin", wrong)
    x = gs.symbol("x")
    f = gs.compile(gs.sin(x), derivatives=kind, selftest=False)
    assert not f.check(n=2).ok
