"""`check`: what it accepts, what it refuses, and who is right when torch is not."""

import pytest

import gradsmith as gs

pytestmark = pytest.mark.usefixtures("quick_builds")

pytest.importorskip("torch")


def test_where_torch_has_lost_its_digits_mpmath_decides() -> None:
    x = gs.symbol("x")
    report = gs.compile(1e8 * gs.tanh(x), target="python").check()
    assert report.ok
    notes = [note for entry in report.entries for note in entry.notes]
    assert any("the reference is off" in note.reason for note in notes)


def test_a_wrong_result_is_still_a_mismatch() -> None:
    x = gs.symbol("x")
    f = gs.compile(gs.sin(x) * 2.0)
    f.module.f_value_and_grad = None
    f.__dict__["_functions"] = {"value_and_grad": lambda x: (0.0, 1.0)}
    report = f.check()
    assert not report.ok
    with pytest.raises(gs.MismatchError, match="d_x"):
        f.check(raise_on_error=True)


@pytest.mark.parametrize("target", ["python", "numpy", "c"])
def test_values_alone_and_unused_inputs(target: str) -> None:
    x, y = gs.symbols("x y")
    assert gs.compile((x * y, x - y), target=target).check().ok
    assert gs.compile(x * 2.0, args=[x, y], target=target).check().ok
    assert gs.compile(lambda x: 3.0, args=((),), target=target).check().ok


def test_builtin_sum_adds_no_zero() -> None:
    x, y = gs.symbols("x y")
    assert "constant" not in gs.compile(sum([x, y, x * y])).graph.text()


def test_indices_are_drawn_within_what_a_loop_reads_with_them():
    """Also where the table comes from outside of the loop, and the index is a part of the state or goes through it."""

    def picked(table, places, first):
        def step(s, i):
            return (s[0] * 0.5 + table[i] * table[s[1]], gs.where(i > 0, i, s[1])), None

        return gs.scan(step, (1.0, first), places)[0][0]

    f = gs.compile(
        picked, args=((3,), gs.spec((40,), "int64"), gs.spec((), "int64")), wrt="table", target="numpy"
    )  # fmt: skip
    assert f.check(n=3).ok
    assert f.check(against="finite", n=3).ok
