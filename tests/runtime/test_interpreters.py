"""templates/c/module.c.j2 in several interpreters of one process: each has a module state of its own.

From Python 3.12 on, each interpreter here has a GIL of its own, too, so their calls run at the same time.
"""

import gc
import subprocess
import sys
import threading

import pytest

import gradsmith as gs

try:
    import _interpreters as interpreters
except ImportError:
    interpreters = pytest.importorskip("_xxsubinterpreters")

pytestmark = pytest.mark.usefixtures("quick_builds")

#: what another interpreter does with a module; no other module of ours is there
TEXT = """
import array, importlib.machinery, importlib.util, warnings
warnings.simplefilter("ignore")  # numpy may be imported in the first interpreter only, and says so
loader = importlib.machinery.ExtensionFileLoader({name!r}, {path!r})
module = importlib.util.module_from_spec(importlib.util.spec_from_loader({name!r}, loader))
loader.exec_module(module)
call = module.{function}
for i in range(1, {calls} + 1):
    {lines}
try:
    call(*["a", 2.0][:{arguments}])
except (TypeError, ValueError) as error:
    assert "argument 'x'" in str(error)
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
#: a process in which interpreters come and go, and the first one stays; none of them has numpy
PROCESS = """
import importlib, sys
interpreters = importlib.import_module({interpreters!r})
sys.modules["numpy"] = None
for _ in range(3):
    for text in sys.argv[1:]:
        own = interpreters.create()
        assert interpreters.run_string(own, 'import sys; sys.modules["numpy"] = None' + text) is None
        interpreters.destroy(own)
        exec(text, {{}})
"""


def calls_of(f, lines, calls=100):
    """The text of calls of f.value_and_grad."""
    module = f.module
    return TEXT.format(name=module.__name__, path=module.__file__, function=f"{f.name}_value_and_grad",
                       calls=calls, lines=lines.strip(), arguments=len(f.inputs))  # fmt: skip


def run(f, lines, calls=100):
    """Calls of f.value_and_grad in an interpreter of its own."""
    text = calls_of(f, lines, calls)
    interpreter = interpreters.create()
    try:
        failed = interpreters.run_string(interpreter, text)  # before 3.13, it raises
        assert failed is None, failed.formatted
    finally:
        interpreters.destroy(interpreter)


def product() -> gs.CompiledFunction:
    x, y = gs.symbols("x y")
    return gs.compile(x * y + y * y, target="c", name="f")


def square() -> gs.CompiledFunction:
    return gs.compile(lambda x: gs.sum(x * x), args=((3,),), wrt=(0,), target="c", name="f")


@pytest.fixture(name="products", scope="module")
def _products() -> gs.CompiledFunction:
    return product()


@pytest.fixture(name="squares", scope="module")
def _squares() -> gs.CompiledFunction:
    return square()


def test_a_module_serves_one_interpreter_after_the_other(products, squares):
    for _ in range(3):
        assert products.value_and_grad(1.0, 2.0) == (6.0, (2.0, 5.0))
        run(products, NUMBERS)
        run(squares, ARRAYS)
        gc.collect()
        assert squares.value_and_grad([1.0, 2.0, 3.0])[0] == 14.0


def test_interpreters_call_at_the_same_time(products, squares):
    failures, start = [], threading.Barrier(4)

    def work(f, lines):
        start.wait()
        try:
            run(f, lines, calls=3000)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=given) for given in [(products, NUMBERS), (squares, ARRAYS)] * 2]
    for thread in threads:
        thread.start()
    found = {products.value_and_grad(1.0, 2.0) for _ in range(3000)}
    for thread in threads:
        thread.join()
    assert failures == []
    assert found == {(6.0, (2.0, 5.0))}


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_interpreters_come_and_go_in_a_process_without_numpy(compiler, monkeypatch):
    monkeypatch.setenv("CC", compiler)
    texts = [calls_of(product(), NUMBERS), calls_of(square(), ARRAYS)]
    process = PROCESS.format(interpreters=interpreters.__name__)
    done = subprocess.run([sys.executable, "-c", process, *texts], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
