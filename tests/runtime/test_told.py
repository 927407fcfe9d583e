"""looks_of: fewer looks than numbers, and any number is computed with as its float, whatever its type is."""

import ast
import math
import random
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from gradsmith_runtime import Guard, guarded, load_python
from gradsmith_runtime.told import looks_of

NUMBERS = ("a", "b", "c", "d", "e", "f")
CASES: dict[str, tuple[str, str] | None] = {  # what is looked at before, and behind; None: all numbers before
    # one value stands for all numbers that floats stand beside
    "t = 2.0 * a + 3.0 * b - c / 4.0\nreturn t": ("", "t"),
    # of two numbers beside each other, one is looked at: that with most others beside it
    "t = b * a + a * c + a * d\nreturn t": ("a", "t"),
    # functions lie between: the last value before them tells
    "t = 2.0 * a + 3.0 * b + c * 4.0\nu = math.tanh(t)\nreturn u * u": ("", "t"),
    "u = math.tanh(2.0 * a + 3.0 * b + -(c * 4.0))\nreturn u * u": ("", "_gs_told_8"),
    "t = 2.0 * a + 3.0 * b + c * 4.0\nreturn math.tanh(t), [t + 1.0, a * 2.0]": ("", "_gs_told_10"),
    # functions of math take complex numbers of NumPy's for floats; abs and helpers see what they are given
    "t = math.cos(a) * math.exp(b) + abs(c) + _helper(d)\nreturn t": None,
    # -0 has no sign, and a result is what is given
    "t = -a + -b\nreturn t, c": None,
    # numbers beside integers, and beside what may be one
    "t = 2 * a + b * math.floor(1.5) + c * (1 if d < 1.0 else 1.0)\nreturn t": None,
    # beside what both sides of a choice make a float, or one of them
    "if e < 1.0:\n    s = 1.0\nelse:\n    s = math.exp(2.0)\nt = s * a + s * b + s * c\nreturn t": ("e", "t"),
    "if e < 1.0:\n    s = 1.0\nelse:\n    s = 2\nt = s * a + s * b + s * c\nreturn t": None,
    "if e < 1.0:\n    s = 2\nelse:\n    s = 1.0\nt = s * a + s * b + s * c\nreturn t": None,
    "s = 1.0 if e < 1.0 else -d\nt = s * a + s * b + s * c\nreturn t": ("de", "t"),
    "s = 1 if e < 1.0 else 1.0\nt = s * a + s * b + s * c\nreturn t": None,
    # powers and remainders are not among the operations
    "t = 2.0 ** a + 2.0 ** b + c % 2.0 + d % 2.0\nreturn t": None,
    # a choice may leave out what is made of a number, and comparisons see all digits of an int
    "t = (2.0 * a if d < 1.0 else 1.0) + (b * 2.0 if 2.0 < c else 2.0)\nreturn t": None,
    # two numbers are not worth a look behind
    "t = 2.0 * a + 3.0 * b\nreturn t": None,
    # one value of several tells
    "t = 2.0 * a + 3.0 * b + c * 4.0\nreturn t, [2.0 * a, 3.0 * b, 4.0 * c]": ("", "t"),
}


@pytest.mark.parametrize("text", CASES)
def test_looks(text):
    block = ast.parse(text).body
    names = {n.id for n in ast.walk(ast.Module(block, [])) if isinstance(n, ast.Name)}
    looks = looks_of(block, [n for n in NUMBERS if n in names])
    assert (looks and ("".join(looks.before), ", ".join(looks.behind))) == CASES[text]


def program(rng: random.Random) -> str:
    """Any body of a function of a list `x` of numbers, with choices and several results."""
    numbers = [f"x_{i}" for i in range(8)]
    names, lines = ["0.5"], [f"[{', '.join(numbers)}] = x"]

    def operation(names):
        a, b = (rng.choice(names[-5:] if rng.random() < 0.7 else numbers) for _ in range(2))
        sign = rng.choice("+-*/")
        kinds = [
            f"{a} {sign} {b}",
            f"{a} {sign} {b}",
            f"{a} {sign} 1.5",
            f"math.atan({a})",
            f"math.cos({a} {sign} {b})",
            f"-{a}",
            a,
        ]
        return rng.choice([*kinds, f"{a} * {a}", f"math.atan2({a}, {b} - 3.0)", f"abs({a})", f"2.5 {sign} {a}"])

    for i in range(rng.randrange(4, 25)):
        if rng.random() < 0.15:
            lines += [f"if {rng.choice(names)} < {rng.choice(numbers)}:", f"    t{i} = {operation(names)}", "else:"]
            lines += [f"    s{i} = {operation(names)}", f"    t{i} = {operation([*names, f's{i}'])}"]
        elif rng.random() < 0.15:
            lines.append(f"t{i} = {operation(names)} if {operation(names)} < 1.0 else {operation(names)}")
        else:
            lines.append(f"t{i} = {operation(names)}")
        names.append(f"t{i}")
    lines.append(f"return {names[-1]}, [{operation(names)}, {rng.choice(names)} + {rng.choice(numbers)}]")
    return (
        "import math\n\n\ndef f(x):\n    try:\n        "
        + "\n        ".join(lines)
        + (
            "\n    except (ArithmeticError, ValueError):\n        return _twin(x)\n\n\ndef _twin(x):\n    return 'twin', x\n"
        )
    )


OTHERS = (
    *(
        3,
        -2,
        0,
        True,
        2**53 + 1,
        2**70,
        Fraction(1, 3),
        np.int32(50_000),
        np.int8(-100),
        np.float32(0.1),
        np.float64(0.1),
    ),
    *(np.uint8(200), np.bool_(True), np.int64(2**62 + 1), np.array(0.3)),
)


def test_any_straight_function_computes_with_the_floats_of_its_numbers():
    """To the last bit and of the same class, wherever one or two numbers of other types stand."""
    rng = random.Random(2)
    told = 0
    for _ in range(300):
        text = program(rng)
        module = load_python(text, "f")
        left: list[object] = []

        def other(function, entered, x, left=left):
            left.append(x)
            assert len(left) < 3, "what is converted passes"
            return entered([float(v) for v in x])

        test = "x.__class__ is not _gs_list or _gs_len(x) != 8 or _gs_count(_gs_map(_gs_type, x), _gs_float) != 8"
        f = guarded(
            module, {"f": Guard({"x": test}, None, "", other, ["x"])}, lambda reads, makes: [*range(len(reads))]
        )["f"]
        told += "_gs_exception" in f.__code__.co_names
        for _ in range(12):
            x = [rng.choice((0.0, 0.25, -1.5, 0.7, 3.0)) for _ in range(8)]
            left.clear()
            f(x)
            assert not left
            for place in rng.sample(range(8), rng.choice((1, 1, 2, 8))):
                x[place] = rng.choice(OTHERS)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                found = repr(f(x))
            assert found == repr(f([*map(float, x)])), (text, x)
    assert told > 200


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("wrong", ["0.1", None, 1j, [0.1], b"1", np.complex128(0.5), np.longdouble(0.5), Decimal(1)])
def test_what_is_no_number_leaves_wherever_it_stands(wrong):
    text = "def f(x):\n    [a, b, c, d] = x\n    t = a * b + a * c + a * d\n    return t, math.exp(a + c), 1.0 / b\n"
    module = load_python("import math\n" + text, "f")
    test = "_gs_count(_gs_map(_gs_type, x), _gs_float) != 4"
    f = guarded(module, {"f": Guard({"x": test}, None, "", lambda function, entered, x: "left", ["x"])})["f"]
    assert "_gs_exception" in f.__code__.co_names
    for place in range(4):
        assert f([wrong if i == place else 0.5 for i in range(4)]) == "left"
    assert f([0.5, 0.5, 0.5]) == "left"
    with pytest.raises(ZeroDivisionError):  # which numbers are not to blame for
        f([0.5, 0.0, 0.5, 0.5])
    assert math.isclose(f([0.5, 0.5, 0.5, 0.5])[0], 0.75)
