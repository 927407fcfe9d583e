"""templates/c/module.c.j2: calling C from Python, from every angle an argument can come."""

import array
import ctypes
import gc
import inspect
import subprocess
import sys
import sysconfig
import threading
import time
import tracemalloc
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from math import prod
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest

from gradsmith import program
from gradsmith.program import neighbours
from gradsmith.tuning import Tuning
from gradsmith_runtime import build_extension

TEMPLATES = Path(__file__).parents[2] / "templates" / "c"


@dataclass(frozen=True)
class Leaf:
    """What the template reads of an input or output."""

    name: str
    shape: tuple[int, ...] = ()
    ctype: str = "double"
    format: str = "d"
    is_fixed: bool = True

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        return self.shape

    @property
    def wanted(self) -> str:
        return str(self.shape)

    dtype: str = "float64"

    @property
    def is_scalar(self) -> bool:
        return self.shape == ()

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)


@dataclass(frozen=True)
class Work:
    """What the template reads of a workspace."""

    name: str
    size: int
    ctype: str = "double"
    is_fixed: bool = True


@dataclass(frozen=True)
class Function:
    """What the template reads of a function."""

    name: str
    inputs: tuple[Leaf, ...]
    outputs: tuple[Leaf, ...]
    work: tuple[Work, ...] = ()
    counts: tuple[str, ...] = ()
    returns_tuple: bool = True
    doc: str = "A function under test."
    agreements: tuple[str, ...] = ()
    shape_sizes: tuple[str, ...] = ()
    is_long: bool = False
    most_buffers = program.Function.most_buffers

    @property
    def neighbours(self) -> Any:
        return None if self.is_long else neighbours(self.inputs, self.outputs)  # type: ignore[arg-type]


HEADER = """\
double unused_g(void);
void g_value(double x, double y, double *restrict value);
void g_value_and_grad(double x, const double *restrict W, const double *restrict b,
                      double *restrict value, double *restrict d_x, double *restrict d_W,
                      double *restrict work);
void g_scale(double x, const double *restrict v, double *restrict y);
void g_big(const double *restrict v, double *restrict total, double *restrict work);
void g_constant(double *restrict value);
void g_nothing(double x);
"""
CODE = """\
#include <stddef.h>
void g_value(double x, double y, double *restrict value) { *value = x - 2.0 * y; }
/* value = x * sum(W) + sum(b) through the workspace */
void g_value_and_grad(double x, const double *restrict W, const double *restrict b,
                      double *restrict value, double *restrict d_x, double *restrict d_W,
                      double *restrict work)
{
    work[0] = 0.0;
    for (size_t i = 0; i < 12; i++) {
        work[0] += W[i];
        d_W[i] = x + (double)i;
    }
    work[1] = b[0] + 10.0 * b[1];
    *value = x * work[0] + work[1];
    *d_x = work[0];
}
void g_scale(double x, const double *restrict v, double *restrict y)
{
    for (size_t i = 0; i < 3; i++) {
        y[i] = x * v[i];
    }
}
void g_big(const double *restrict v, double *restrict total, double *restrict work)
{
    *total = 0.0;
    for (size_t i = 0; i < 20000; i++) {
        work[i] = 2.0 * v[i];
    }
    for (size_t i = 0; i < 20000; i++) {
        *total += work[19999 - i];
    }
}
void g_constant(double *restrict value) { *value = 42.0; }
void g_nothing(double x) { (void)x; }
"""
FUNCTIONS = (
    Function("g_value", (Leaf("x"), Leaf("y")), (Leaf("value"),), returns_tuple=False, doc="The value."),
    Function(
        "g_value_and_grad",
        (Leaf("x"), Leaf("W", (3, 4)), Leaf("b", (2,))),
        (Leaf("value"), Leaf("d_x"), Leaf("d_W", (3, 4))),
        work=(Work("work", 2),),
    ),
    Function("g_scale", (Leaf("x"), Leaf("v", (3,))), (Leaf("y", (3,)),), returns_tuple=False),
    Function("g_big", (Leaf("v", (20000,)),), (Leaf("total"),), work=(Work("work", 20000),), returns_tuple=False),
    Function("g_constant", (), (Leaf("value"),)),
    Function("g_nothing", (Leaf("x"),), ()),
)
LONG = tuple(replace(f, is_long=True) for f in FUNCTIONS)
W = np.arange(12.0).reshape(3, 4)
b = np.array([1.0, 2.0])


@pytest.fixture(scope="session")
def glue():
    """The sources of a module: the given C, its header, and the rendered glue."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    template = environment.get_template("module.c.j2")

    def render(name: str, header: str, code: str, *functions: Function) -> dict[str, str]:
        return {
            f"{name}.h": header,
            f"{name}.c": f'#include "{name}.h"\n{code}',
            f"_gs_{name}.c": template.render(
                name=name, functions=functions, sizes=(), tuning=Tuning(), batches=(), threads=False
            ),
        }

    return render


@pytest.fixture
def build(glue):
    """Render and build in one go."""

    def build(name: str, header: str, code: str, *functions: Function):
        return build_extension(glue(name, header, code, *functions), f"_gs_{name}")

    return build


@pytest.fixture(scope="module", params=["gcc", "clang"])
def g(request, glue, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADSMITH_CACHE_DIR", str(tmp_path_factory.mktemp("cache") / "c"))
        patch.setenv("CC", request.param)
        return build_extension(glue("g", HEADER, CODE, *FUNCTIONS), "_gs_g")


def check_value_and_grad(result, x=2.0, weights=W):
    value, d_x, d_W = result
    assert (value, d_x) == (x * weights.sum() + 21.0, weights.sum())
    assert type(value) is float
    assert (d_W.shape, d_W.dtype, d_W.flags.c_contiguous) == ((3, 4), np.float64, True)
    np.testing.assert_array_equal(d_W.ravel(), x + np.arange(12.0))


# --- what comes in ---


def test_numbers_and_arrays(g):
    assert g.g_value(3.0, 4.0) == -5.0
    check_value_and_grad(g.g_value_and_grad(2.0, W, b))
    np.testing.assert_array_equal(g.g_scale(2.0, np.array([1.0, 2.0, 3.0])), [2.0, 4.0, 6.0])
    assert g.g_constant() == (42.0,)
    assert g.g_nothing(1.0) == ()


@pytest.mark.parametrize(
    "three",
    [
        3,
        True + 2,
        np.float64(3),
        np.float32(3),
        np.int8(3),
        np.array(3.0),
        np.array(3),
        Fraction(3),
        Decimal(3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_that_is_a_real_number_is_one(g, three):
    assert g.g_value(three, 4.0) == -5.0


def test_a_torch_number_is_one(g):
    torch = pytest.importorskip("torch")
    assert g.g_value(torch.tensor(3.0), 4.0) == -5.0
    check_value_and_grad(g.g_value_and_grad(2.0, torch.from_numpy(W), b))


def test_minus_one_is_a_number_and_not_an_error(g):
    assert g.g_value(-1, -1.0) == 1.0


@pytest.mark.parametrize(
    "weights",
    [
        W.tolist(),
        tuple(map(tuple, W.tolist())),
        W.astype(np.float32),
        W.astype(np.int64),
        W.astype(">f8"),
        np.asfortranarray(W),
        np.repeat(W, 2, axis=1)[:, ::2],
        W[::-1, ::-1][::-1, ::-1],
        memoryview(W),
        (ctypes.c_double * 4 * 3)(*(tuple(row) for row in W)),
        np.frombuffer(b"x" + W.tobytes(), dtype=np.uint8)[1:].view(np.float64).reshape(3, 4),
    ],
    ids=[
        "list",
        "tuple",
        "float32",
        "int64",
        "big-endian",
        "fortran",
        "strided",
        "restored",
        "memoryview",
        "ctypes",
        "unaligned",
    ],
)
def test_every_array_of_twelve_numbers_will_do(g, weights):
    check_value_and_grad(g.g_value_and_grad(2.0, weights, b))


def test_buffers_that_are_not_numpys(g):
    assert g.g_value_and_grad(2.0, W, array.array("d", [1.0, 2.0]))[0] == 2.0 * 66.0 + 21.0
    assert g.g_value_and_grad(2.0, W, array.array("i", [1, 2]))[0] == 2.0 * 66.0 + 21.0


def test_read_only_and_repeated_inputs(g):
    frozen = W.copy()
    frozen.flags.writeable = False
    check_value_and_grad(g.g_value_and_grad(2.0, frozen, b))


def test_arguments_by_name(g):
    assert g.g_value(y=4.0, x=3.0) == -5.0
    assert g.g_value(3.0, y=4.0) == -5.0
    check_value_and_grad(g.g_value_and_grad(b=b, x=2.0, W=W))
    assert g.g_value(**{"".join(["x"]): 3.0, "y": 4.0}) == -5.0


def test_signature_and_doc(g):
    assert str(inspect.signature(g.g_value_and_grad)) == "(x, W, b, *, out=None)"
    assert str(inspect.signature(g.g_constant)) == "(*, out=None)"
    assert g.g_value.__doc__ == "The value."


# --- what is refused ---


class Broken:
    def __float__(self):
        raise RuntimeError("mine")


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "error", "message"),
    [
        ("g_value", (1.0,), {}, TypeError, "g_value() takes (x, y): missing 'y'"),
        ("g_value", (), {}, TypeError, "g_value() takes (x, y): missing 'x', 'y'"),
        ("g_value", (1.0, 2.0, 3.0), {}, TypeError, "g_value() takes (x, y): got 3 arguments"),
        ("g_nothing", (1.0, 2.0), {}, TypeError, "g_nothing() takes (x): got 2 arguments"),
        ("g_value", (1.0, 2.0), {"z": 1}, TypeError, "g_value() takes (x, y): there is no argument 'z'"),
        ("g_value", (1.0,), {"x": 1, "y": 2}, TypeError, "g_value() takes (x, y): got 'x' twice"),
        ("g_value", ("1", 2.0), {}, TypeError, "g_value(): argument 'x' must be a real number, not str"),
        (
            "g_value",
            (1.0, None),
            {},
            TypeError,
            "g_value(): argument 'y' must be a real number, not NoneType",
        ),
        ("g_value", (1j, 2.0), {}, TypeError, "g_value(): argument 'x' must be a real number, not complex"),
        (
            "g_value",
            (np.complex64(1), 2.0),
            {},
            TypeError,
            "g_value(): argument 'x' must be a real number, not numpy.complex64",
        ),
        (
            "g_value",
            (np.complex128(1), 2.0),
            {},
            TypeError,
            "g_value(): argument 'x' must be a real number, not numpy.complex128",
        ),
        (
            "g_value",
            (np.array("1.5"), 2.0),
            {},
            TypeError,
            "g_value(): argument 'x' must be a real number, not numpy.ndarray",
        ),
        ("g_value", (np.ones(1), 2.0), {}, ValueError, "g_value(): argument 'x' has shape (1,), expected ()"),
        ("g_value", (10**400, 2.0), {}, OverflowError, "g_value(): argument 'x' is too large for a real number"),
        ("g_value", (Broken(), 2.0), {}, RuntimeError, "mine"),
        (
            "g_value_and_grad",
            (1.0, np.ones((3, 5)), b),
            {},
            ValueError,
            "g_value_and_grad(): argument 'W' has shape (3, 5), expected (3, 4)",
        ),
        (
            "g_value_and_grad",
            (1.0, W.T, b),
            {},
            ValueError,
            "g_value_and_grad(): argument 'W' has shape (4, 3), expected (3, 4)",
        ),
        (
            "g_value_and_grad",
            (1.0, W.ravel(), b),
            {},
            ValueError,
            "g_value_and_grad(): argument 'W' has shape (12,), expected (3, 4)",
        ),
        (
            "g_value_and_grad",
            (1.0, W, 3.0),
            {},
            ValueError,
            "g_value_and_grad(): argument 'b' has shape (), expected (2,)",
        ),
        (
            "g_value_and_grad",
            (1.0, W, "ab"),
            {},
            TypeError,
            "g_value_and_grad(): argument 'b' must be an array of real numbers of shape (2,), not str of dtype <U2",
        ),
        (
            "g_value_and_grad",
            (1.0, W, b"ab"),
            {},
            TypeError,
            "g_value_and_grad(): argument 'b' must be an array of real numbers of shape (2,), not bytes of dtype |S2",
        ),
        (
            "g_value_and_grad",
            (1.0, W, [1j, 2.0]),
            {},
            TypeError,
            "g_value_and_grad(): argument 'b' must be an array of real numbers of shape (2,), "
            "not list of dtype complex128",
        ),
        (
            "g_value_and_grad",
            (1.0, W, None),
            {},
            TypeError,
            "g_value_and_grad(): argument 'b' must be an array of real numbers of shape (2,), "
            "not NoneType of dtype object",
        ),
        (
            "g_value_and_grad",
            (1.0, W, [[1.0], [2.0, 3.0]]),
            {},
            TypeError,
            "g_value_and_grad(): argument 'b' must be an array of real numbers of shape (2,), not list",
        ),
    ],
)
def test_wrong_calls_say_what_is_wrong(g, name, args, kwargs, error, message):
    with pytest.raises(error) as caught:
        getattr(g, name)(*args, **kwargs)
    assert str(caught.value) == message
    check_value_and_grad(g.g_value_and_grad(2.0, W, b))  # and the module still works


# --- what goes out ---


def test_results_are_new_each_time(g):
    first, second = g.g_scale(1.0, [1.0, 2.0, 3.0]), g.g_scale(2.0, [1.0, 2.0, 3.0])
    first[:] = 7.0
    np.testing.assert_array_equal(second, [2.0, 4.0, 6.0])


def reload(module):
    """A fresh module object from the same file, with its own state."""
    loader = ExtensionFileLoader(module.__name__, module.__file__)
    fresh = module_from_spec(spec_from_file_location(module.__name__, module.__file__, loader=loader))
    loader.exec_module(fresh)
    return fresh


def test_without_numpy_results_are_memoryviews(g, monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)  # importing it now fails
    bare = reload(g)
    weights = memoryview(array.array("d", range(12))).cast("B").cast("d", (3, 4))
    value, d_x, d_W = bare.g_value_and_grad(2.0, weights, array.array("d", [1.0, 2.0]))
    assert (value, d_x) == (2.0 * 66.0 + 21.0, 66.0)
    assert d_W.tolist() == (2.0 + np.arange(12.0).reshape(3, 4)).tolist()
    assert d_W.format == "d"
    assert bare.g_scale(2.0, array.array("d", [1, 2, 3])).tolist() == [2.0, 4.0, 6.0]
    with pytest.raises(TypeError, match=r"'v' must be a C-contiguous buffer of format 'd', not list \(numpy"):
        bare.g_scale(2.0, [1.0, 2.0, 3.0])


# --- memory, threads ---


def test_a_big_workspace_and_a_released_lock(g):
    """Four threads call at once, and nothing is shared."""
    failures = []

    def call(scale):
        for _ in range(50):
            if g.g_big(np.full(20000, scale)) != 40000.0 * scale:
                failures.append(scale)

    threads = [threading.Thread(target=call, args=(float(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


WAITING = """\
#include <time.h>
void w_{name}(const double *restrict v, double *restrict seen);
void w_{name}(const double *restrict v, double *restrict seen)
{{
    volatile double *const flags = (volatile double *)v;
    const clock_t end = clock() + {seconds} * CLOCKS_PER_SEC;
    flags[1] = 1.0;
    while (flags[0] == 0.0 && clock() < end) {{
    }}
    *seen = flags[0];
}}
"""


def test_the_lock_is_released_above_the_stated_number_and_kept_up_to_it(build):
    """Calls that wait for what another Python thread writes once it sees them wait: with the lock held, in vain."""
    limit = Tuning().release_gil
    calls = {"more": (limit, "5", 1.0), "few": (limit - 1, "0.05", 0.0)}  # there is one result, too
    functions = [
        Function(f"w_{name}", (Leaf("v", (size,)),), (Leaf("seen"),), returns_tuple=False)
        for name, (size, _, _) in calls.items()
    ]
    code = "".join(WAITING.format(name=name, seconds=seconds) for name, (_, seconds, _) in calls.items())
    header = "".join(f"void w_{name}(const double *restrict v, double *restrict seen);\n" for name in calls)
    module = build("w", header, code, *functions)
    for name, (size, _, wanted) in calls.items():
        flags, found = np.zeros(size), []
        call = getattr(module, f"w_{name}")
        thread = threading.Thread(target=lambda: found.append(call(flags)))  # noqa: B023
        thread.start()
        while flags[1] == 0.0:
            time.sleep(0)
        flags[0] = 1.0
        thread.join()
        assert found == [wanted], name


def calls_of_every_kind(g):
    """Right and wrong calls, each path through the cleanup."""
    strided = np.repeat(W, 2, axis=1)[:, ::2]
    g.g_value(1.0, 2.0)
    g.g_value(y=1, x=2)
    g.g_value_and_grad(2.0, W, b)
    g.g_value_and_grad(2.0, strided, [1, 2])
    g.g_big(np.ones(20000))
    for args in ((2.0, W, "ab"), (2.0, W, np.ones(3)), (2.0, [[1.0], [2.0, 3.0]], b), ("x", W, b), (2.0,)):
        try:
            g.g_value_and_grad(*args)
        except (TypeError, ValueError):
            continue
        raise AssertionError(args)


def test_no_reference_and_no_memory_leaks(g):
    calls_of_every_kind(g)
    gc.collect()
    counts = [sys.getrefcount(leaf) for leaf in (W, b, g)]
    grown = []
    tracemalloc.start()
    try:
        for _ in range(4):
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(200):
                calls_of_every_kind(g)
            gc.collect()
            grown.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    assert [sys.getrefcount(leaf) for leaf in (W, b, g)] == counts
    assert min(grown) < 200 * 16  # a leak of the smallest object per round would show in every window


def test_a_dropped_module_drops_its_state(g):
    def loads():
        for _ in range(20):
            reload(g).g_value(1.0, 2.0)
        gc.collect()
        return [sys.getrefcount(leaf) for leaf in (np, np.empty, np.asarray)]

    assert loads() == loads()


def test_buffers_are_given_back(g):
    held = array.array("d", [1.0, 2.0])
    g.g_value_and_grad(2.0, W, held)
    held.append(3.0)  # BufferError if the view were still held
    with pytest.raises(ValueError, match="shape"):
        g.g_value_and_grad(2.0, W, held)
    held.append(4.0)


# --- the C itself ---


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("numpy", [False, True])
@pytest.mark.parametrize("which", [FUNCTIONS, LONG, FUNCTIONS[:1], FUNCTIONS[4:5], FUNCTIONS[5:], ()], ids=len)
def test_compiles_without_a_warning(glue, compiler, which, numpy, tmp_path):
    """Also for a module with no arrays, no inputs, no outputs, no functions."""
    for file, text in glue("g", HEADER, CODE, *which).items():
        (tmp_path / file).write_text(text)
    command = [compiler, "-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
    command += ["-O2", "-c", "-o", "g.o"] if compiler == "gcc" else ["-fsyntax-only"]  # gcc's optimiser warns, too
    command += ["-DGSMOD_NUMPY", "-isystem", np.get_include()] if numpy else []
    command += ["-isystem", sysconfig.get_path("include"), "_gs_g.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0


def test_glue_lines_stay_readable(glue):
    text = glue("g", HEADER, CODE, *FUNCTIONS)["_gs_g.c"]
    assert text.endswith("}\n")
    assert "\n\n\n" not in text
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_float32_leaves_pass_as_float(build):
    """The dtype seam: ctype and format come from the records."""
    leaf = {"ctype": "float", "format": "f"}
    function = Function("h", (Leaf("x", (), **leaf), Leaf("v", (2,), **leaf)), (Leaf("y", (2,), **leaf),))
    header = "void h(float x, const float *restrict v, float *restrict y);\n"
    code = "void h(float x, const float *restrict v, float *restrict y) { y[0] = x * v[0]; y[1] = x * v[1]; }\n"
    module = build("h", header, code, function)
    (y,) = module.h(2.0, np.array([1.0, 3.0]))
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, np.array([2.0, 6.0], dtype=np.float32))


def test_empty_arrays(build):
    function = Function("e", (Leaf("v", (0, 3)),), (Leaf("y", (0, 3)), Leaf("s")))
    header = "void e(const double *restrict v, double *restrict y, double *restrict s);\n"
    code = header.strip().rstrip(";") + " { (void)v; (void)y; *s = 1.0; }\n"
    y, s = build("e", header, code, function).e(np.ones((0, 3)))
    assert (y.shape, s) == ((0, 3), 1.0)


def test_symbols_of_the_user_stay_inside(build):
    """A user's function may be called like one of libm or of another module."""
    header = "void g_y0(double x, double *restrict y);\ndouble y0(double x);\n"
    code = "double y0(double x) { return x + K; }\nvoid g_y0(double x, double *restrict y) { *y = y0(x); }\n"
    function = Function("g_y0", (Leaf("x"),), (Leaf("y"),), returns_tuple=False)
    one = build("k", header, code.replace("K", "1.0"), function)
    two = build("k", header, code.replace("K", "2.0"), function)
    assert (one.g_y0(0.0), two.g_y0(0.0)) == (1.0, 2.0)
