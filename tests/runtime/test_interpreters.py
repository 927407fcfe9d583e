"""templates/c/module.c.j2 in several interpreters of one process: each has a module state of its own.

From Python 3.12 on, each interpreter here has a GIL of its own, too, so their calls run at the same time.
"""

import pytest

import gradsmith as gs

from ..interpreters import in_interpreters

pytestmark = pytest.mark.usefixtures("quick_builds")

#: what an interpreter does with a module; numpy may be imported in the first one only, and says so elsewhere
TEXT = """
import array, warnings
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
warnings.simplefilter("ignore")
loader = ExtensionFileLoader({name!r}, {path!r})
module = module_from_spec(spec_from_file_location({name!r}, {path!r}, loader=loader))
loader.exec_module(module)
call = module.{function}
for i in range(1, {calls} + 1):
    {lines}
try:
    call("a", **{rest})
except (TypeError, ValueError) as error:
    assert "argument 'x'" in str(error), error
else:
    raise AssertionError("a word is no number")
"""
NUMBERS = """
    assert call(float(i), 2.0) == (2.0 * i + 4.0, 2.0, i + 4.0), i
    assert call(y=2.0, x=float(i))[1:] == (2.0, i + 4.0), i
"""
ARRAYS = """
    given, out = array.array("d", [float(i), 2.0, 3.0]), array.array("d", [0.0] * 3)
    value, slope = call(given)
    assert value == i * i + 13.0 and list(slope) == [2.0 * i, 4.0, 6.0], (i, value, list(slope))
    call(given, out=(None, out))
    assert list(out) == [2.0 * i, 4.0, 6.0], (i, list(out))
"""


def text(f, lines, rest, calls):
    """Calls of f.value_and_grad."""
    f.value_and_grad  # noqa: B018  # builds it
    return TEXT.format(name=f.module.__name__, path=f.module.__file__, function=f"{f.name}_value_and_grad",
                       lines=lines.strip(), rest=rest, calls=calls)  # fmt: skip


@pytest.mark.parametrize("at_once", [False, True], ids=["in turn", "at once"])
def test_a_module_lives_in_several_interpreters(at_once):
    """They come and go, and those that stay keep what they have."""
    x, y = gs.symbols("x y")
    products = gs.compile(x * y + y * y, target="c", name="f")
    squares = gs.compile(lambda x: gs.sum(x * x), args=((3,),), wrt=(0,), target="c", name="f")
    calls = 3000 if at_once else 100
    in_interpreters([text(products, NUMBERS, {"y": 1.0}, calls), text(squares, ARRAYS, {}, calls)] * 2, at_once=at_once)
