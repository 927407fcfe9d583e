"""Numbers of other types anywhere in the arguments of Python code: what floats of the same value give, or an error.

Python code computes in whatever type it is given: a `numpy.int32` in the middle of a list wraps around, a
`numpy.float32` loses half its digits, and both look right at the end.
"""

from __future__ import annotations

import functools
import itertools
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

#: Numbers that are arguments by their float.
FITTING: dict[str, Any] = {
    "int": 3, "negative": -2, "zero": 0, "bool": True, "beyond 2**53": 2**53 + 1, "int8": np.int8(100),
    "int32": np.int32(50_000), "uint8": np.uint8(200), "int64": np.int64(2**62 + 1), "uint64": np.uint64(2**63 + 3),
    "float32": np.float32(0.1), "float64": np.float64(0.1), "numpy's bool": np.bool_(True),
    "array of no axes": np.array(0.3), "2**70": 2**70, "10**200": 10**200, "Fraction": Fraction(1, 3),
}  # fmt: skip
#: What is no number of an array.
WRONG: dict[str, Any] = {
    "Decimal": Decimal("0.1"), "text": "0.1", "bytes": b"1", "None": None, "complex": 1j, "complex128": np.complex128(0.5), "complex64": np.complex64(1),
    "longdouble": np.longdouble("0.1"), "list": [0.1], "array": np.array([0.1]), "date": np.datetime64(1, "s"),
    "symbol": gs.symbols("x"), "10**400": 10**400,
}  # fmt: skip
#: The last where a list stands for a number.
REFUSED = (gs.ArgumentError, gs.errors.ShapeMismatchError)
KINDS = ("value", "grad", "value_and_grad")


def _rosenbrock(x):
    return gs.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def _network(x, W, b, v):
    h = gs.tanh(gs.reshape(W, (-1, x.shape[0])) @ x + b)
    return (v @ h) ** 2


#: Each takes its arguments in another way; the parts of a function are the shapes of its arguments.
FUNCTIONS: dict[str, tuple[Any, tuple[tuple[int, ...], ...]]] = {
    "few": (_rosenbrock, ((3,),)),
    "many": (_rosenbrock, ((40,),)),
    "a loop": (lambda x: _rosenbrock(x) + gs.sum(gs.exp(-x)), ((4000,),)),
    "several lists": (_network, ((3,), (12,), (4,), (4,))),
    "links": (lambda q, l: gs.sum(l * gs.cos(gs.cumsum(q))) ** 2, ((5,), (5,))),
    "signs of zero": (lambda x: gs.sum(gs.atan2(-x, x - 9.0) + gs.atan2(x[0] * x, -1.0 + 0.0 * x)), ((5,),)),
    "functions with poles": (lambda x: gs.sum(gs.log(x)) + gs.sum(1.0 / x) + gs.sum(x / x[::-1]), ((5,),)),
    "choices": (lambda x: gs.sum(gs.where(x > 2.0**53, x * x, gs.exp(x) / x[::-1])), ((5,),)),
    "a slope that no value tells": (lambda x: x[0] + gs.sum(gs.floor(x)) + x[1] * x[2], ((4,),)),
    "numbers and a list": (lambda a, x, b: a * gs.sum(x) * b, ((), (4,), ())),
    "a matrix": (lambda A, x: gs.sum((A @ x) ** 3), ((3, 4), (4,))),
    "elements that nothing reads": (lambda x: x[1] * x[3], ((6,),)),
}


#: Functions of whose results some do not depend on all elements.
UNREAD = ("a slope that no value tells", "elements that nothing reads")


@functools.cache
def compiled(name: str) -> gs.CompiledFunction:
    function, shapes = FUNCTIONS[name]
    return gs.compile(
        function, args=shapes, wrt=tuple(range(len(shapes))), target="python", selftest=False, derivatives=KINDS
    )


def point(name: str) -> list[Any]:
    rng = np.random.default_rng(1)
    return [np.round(rng.uniform(0.25, 1.75, shape), 3).tolist() for shape in FUNCTIONS[name][1]]


def places(arguments: list[Any]) -> list[tuple[int, ...]]:
    """Each argument's start, an element beside it, the middle and the end."""
    found: list[tuple[int, ...]] = []
    for k, shape in enumerate(map(np.shape, arguments)):
        axes = [dict.fromkeys((0, min(1, n - 1), n // 2, n - 1)) for n in shape]
        found += [(k, *at) for at in itertools.product(*axes)]
    return found


def replaced(arguments: list[Any], place: tuple[int, ...], value: Any) -> list[Any]:
    """The arguments with another number in one place."""
    if len(place) == 1:
        return [*arguments[: place[0]], value, *arguments[place[0] + 1 :]]
    inner = replaced(arguments[place[0]], place[1:], value)
    return [*arguments[: place[0]], inner, *arguments[place[0] + 1 :]]


def shown(result: Any) -> str:
    """All of a result: its structure, types, signs of zero and last digits."""
    return repr(result)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numpy's numbers, before they are converted
@pytest.mark.parametrize("name", FUNCTIONS)
def test_numbers_of_other_types_are_converted_wherever_they_stand(name):
    f, arguments = compiled(name), point(name)
    for kind in KINDS:
        call = getattr(f, kind)
        for place, value in itertools.product(places(arguments), FITTING.values()):
            expected = shown(call(*replaced(arguments, place, float(value))))
            assert shown(call(*replaced(arguments, place, value))) == expected, (kind, place, value)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_two_numbers_of_other_types_are_converted(name):
    """One must not hide the other, and where two of them meet they are no floats yet."""
    f, arguments = compiled(name), point(name)
    all_places = places(arguments)
    for first, second in itertools.islice(itertools.combinations(all_places, 2), 40):
        for one, two in (
            ("int", "negative"),
            ("zero", "negative"),
            ("int32", "int32"),
            ("float32", "float32"),
            ("int64", "int8"),
        ):
            given = replaced(replaced(arguments, first, FITTING[one]), second, FITTING[two])
            floats = replaced(replaced(arguments, first, float(FITTING[one])), second, float(FITTING[two]))
            assert shown(f.value_and_grad(*given)) == shown(f.value_and_grad(*floats)), (first, second, one, two)


def test_what_is_never_read_may_be_anything():
    """The result is that of any number there."""
    f = compiled("elements that nothing reads")
    assert f.value_and_grad([None, 2.0, "a", 3.0, 4, 1j]) == (6.0, ([0.0, 3.0, 0.0, 2.0, 0.0, 0.0],))


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in UNREAD])
def test_what_is_no_number_is_an_error_wherever_it_stands(name):
    f, arguments = compiled(name), point(name)
    for kind in KINDS:
        for place, value in itertools.product(places(arguments), WRONG.values()):
            with pytest.raises(REFUSED, match=r"is no array of real numbers|has dtype|has shape"):
                getattr(f, kind)(*replaced(arguments, place, value))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_whole_arguments_of_other_types_are_converted(name):
    f, arguments = compiled(name), point(name)
    expected = shown(f.value_and_grad(*arguments))
    for change in (np.array, lambda a: np.array(a, dtype=">f8"), lambda a: list(np.array(a)) if np.ndim(a) else a,
                   lambda a: tuple(a) if np.ndim(a) else a):  # fmt: skip
        assert shown(f.value_and_grad(*map(change, arguments))) == expected
    for change in (lambda a: np.array(a, dtype=np.float32), lambda a: np.array(a).astype(np.int32)):
        floats = [np.array(change(a), dtype=float).tolist() for a in arguments]
        assert shown(f.value_and_grad(*map(change, arguments))) == shown(f.value_and_grad(*floats))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lists_of_other_lengths_are_errors(name):
    """Also beside numbers of other types, and in each of several lists."""
    f, arguments = compiled(name), point(name)
    for k, argument in enumerate(arguments):
        if np.ndim(argument) != 1:
            continue
        for wrong in (argument[:-1], argument + argument[:1], [], [1, *argument]):
            with pytest.raises(gs.errors.ShapeMismatchError) as caught:
                f.value_and_grad(*arguments[:k], wrong, *arguments[k + 1 :])
            assert caught.value.__context__ is None  # not "while another exception was handled"


@pytest.mark.parametrize("target", ["python", "numpy"])
def test_lists_may_hold_any_real_numbers(target):
    f = gs.compile(lambda x, A: gs.sum(A @ x), args=((2,), (2, 2)), target=target, selftest=False, derivatives="value")
    assert f([Fraction(1, 4), 2**70], [[1, Fraction(1, 2)], (0, 0.0)]) == 0.25 + 2.0**69
    for bad, message in (([10**400, 1], "int too large"), ([Fraction(1, 4), None], r"dtype object \(list\)")):
        with pytest.raises(gs.ArgumentError, match=message):
            f(bad, [[1.0, 0.5], [0.0, 0.0]])
