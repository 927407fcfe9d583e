"""Threads without batches: the same bits for any number of them, which loops share them, and what is refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith_runtime import build_extension

from .interpreters import in_interpreters

#: Every loop and product goes to threads, however small; few rows and columns each, so that there are many shares.
EAGER = gs.Tuning(
    thread_elements=1,
    thread_share=64,
    thread_products=1,
    thread_windows=1,
    taps_bytes=64,
    slope_bytes=16_384,
    thread_rows=6,
    thread_columns=16,
    matmul_least=1,
    matvec_least=1,
)
SHAPES = ((70, 33), (33,), (70,), (70, 41))


def model(A: Any, x: Any, b: Any, B: Any) -> Any:
    """Products of all kinds (A x, d A, AᵀB, A C), element-wise loops of one and two axes, and sums of rows."""
    z = gs.tanh(A @ x - b)
    C = gs.exp(0.1 * A.T @ B)
    return gs.sum(gs.softplus(z) ** 2) + gs.sum(gs.sum(gs.sin(A @ C), axis=1) ** 2) + gs.sum(gs.max(C, axis=0))


def compiled(dtype: str = "float64", shapes: Any = SHAPES, **options: Any) -> Any:
    options = {"threads": "openmp", "tuning": EAGER, **options}
    return gs.compile(model, args=shapes, target="c", dtype=dtype, selftest=False, name="f", **options)


def arrays(dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.normal(size=shape).astype(dtype) for shape in SHAPES]


def programs() -> dict[str, Any]:
    """Kernels that read factors in place and such that pack them, sizes by name, and calls that run a second time."""
    packs = gs.Tuning(thread_elements=1, thread_products=1, pack_right=1, pack_left=1, block_rows=12, block_depth=16)

    def far(A: Any, x: Any, b: Any, B: Any) -> Any:
        return gs.sin(1e9 * A) * A  # beyond the range of the first kernel

    return {
        "direct": compiled().value_and_grad,
        "packed": compiled("float32", tuning=packs).value_and_grad,
        "named": compiled(shapes=(("m", 33), (33,), ("m",), ("m", "n")), tuning=packs).value_and_grad,
        "far": gs.compile(far, args=SHAPES, target="c", derivatives="value", threads="openmp", tuning=EAGER),
    }


#: What is cut into shares: reductions of all kinds, alone and in loops that write a gradient as well, in loops over rows
#: (one of which puts values aside), along a result, over columns; running sums, and copies.
SHARED: dict[str, tuple[Any, Any]] = {
    "sums": (
        lambda x, y: gs.sum(gs.sin(x) ** 2) + gs.max(x) * gs.mean(y) + gs.dot(x, y) + gs.logsumexp(y) + gs.prod(y / y),
        ((403,), (403,)),
    ),
    "strands": (lambda x, y: gs.dot(x, y) + gs.min(x), ((512,), (512,))),
    "along": (lambda x: gs.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2), ((403,),)),
    "rows": (lambda A, T: -gs.sum(gs.log_softmax(A, axis=1) * T), ((60, 43), (60, 43))),
    "columns": (lambda A: gs.sum(gs.sum(gs.sin(A), axis=0) ** 2) + gs.sum(gs.cumsum(A, axis=1) ** 3), ((131, 43),)),
    "parts": (lambda x, y: gs.sum(gs.concatenate([x, 2 * y]) ** 3) + gs.sum(x[gs.argsort(y)] * y), ((301,), (301,))),
    "running": (lambda x, y: gs.sum(gs.cumsum(gs.sin(x)) ** 3) + gs.dot(gs.cumsum(x[::-1]), y), ((403,), (403,))),
    "running by name": (lambda x: gs.sum(gs.cumsum(x) ** 3), (("n",),)),
    "whole": (lambda k: gs.sum(k), (("n",),)),
}


#: Inputs, weights and options of convolutions: threads have rows of a picture, rows taken as one, pictures, parts of
#: long rows, places; their slopes are added up in parts of lines and of channels.
CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 9, 27), (7, 3, 3, 3), {"padding": 1}),
    ((3, 3, 41, 12), (9, 3, 3, 3), {}),
    ((1, 1, 6, 70), (10, 1, 3, 3), {}),
    ((1, 2, 9, 40), (3, 2, 3, 17), {"stride": 2}),
    ((2, 6, 6, 25), (9, 2, 3, 4), {"groups": 3}),
    ((3, 4, 261), (6, 4, 5), {"dilation": 2}),
    ((1, 8, 15, 13), (70, 4, 3, 3), {"stride": 2, "groups": 2}),
    ((4, 32, 6, 4), (20, 32, 3, 3), {}),
    ((3, 5, 9, 11), (29, 5, 3, 2), {}),
]
PICTURES = [shape for x, w, _ in CONVOLUTIONS for shape in (x, w)]


#: What adds at places, of which several may be one: by owners of rows, and by what has places of its own.
INDICES = ((19, 3), "int64")
ADDED: dict[str, tuple[Any, Any]] = {
    "rows": (lambda E, i, t: gs.sum(gs.take(E, i, axis=0) * t), (((13, 34), "float64"), INDICES, ((19, 3, 34), "float64"))),
    "rows by name": (
        lambda E, i, t: gs.sum(gs.take(gs.sin(E), i, axis=0) * t),
        ((("n", 4, 10), "float64"), (("n",), "int64"), (("n", 4, 10), "float64")),
    ),
    "along": (
        lambda x, i, t: gs.sum(gs.take_along_axis(x, i, axis=1) * t),
        (((19, 13), "float64"), INDICES, ((19, 3), "float64")),
    ),
    "windows": (
        lambda x, t: gs.sum(gs.max_pool2d(x, 3, stride=2) * t), (((5, 2, 9, 11), "float64"), ((5, 2, 4, 5), "float64"))
    ),
    "one row": (lambda x, t: gs.sum(gs.max_pool1d(x, 3, stride=1) * t), (((1, 99), "float64"), ((1, 97), "float64"))),
}  # fmt: skip


def convolutions(*xs: Any) -> Any:
    each = zip(xs[::2], xs[1::2], [how for _, _, how in CONVOLUTIONS], strict=True)
    return sum(gs.sum((gs.conv1d if len(x.shape) == 3 else gs.conv2d)(x, w, **how) ** 2) for x, w, how in each)


def convolved(dtype: str = "float64", **options: Any) -> Any:
    options = {"threads": "openmp", "tuning": EAGER, "selftest": False, **options}
    return gs.compile(convolutions, args=PICTURES, target="c", dtype=dtype, name="f", **options)


def pictures(dtype: str = "float64") -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.normal(size=s).astype(dtype) for s in PICTURES]


#: What gcc's code for OpenMP calls, with a team of four for each loop.
TEAM = """\
#include <pthread.h>
static __thread int number = 0, size = 1;
typedef struct { void (*run)(void *); void *data; int number, size; } member;
static void *start(void *given) {
    const member *const m = given;
    number = m->number;
    size = m->size;
    m->run(m->data);
    return 0;
}
int omp_get_num_threads(void) { return size; }
int omp_get_thread_num(void) { return number; }
int omp_get_max_threads(void) { return 4; }
void GOMP_parallel(void (*run)(void *), void *data, unsigned count, unsigned flags) {
    const int team = count == 1 ? 1 : 4;
    pthread_t threads[4];
    member members[4];
    (void)flags;
    for (int k = 0; k < team; ++k) {
        members[k] = (member){run, data, k, team};
        pthread_create(&threads[k], 0, start, &members[k]);
    }
    for (int k = 0; k < team; ++k) {
        pthread_join(threads[k], 0);
    }
}
"""


def shared(name: str, dtype: str = "float64", shapes: Any = None, **options: Any) -> Any:
    function, known = SHARED[name]
    options = {"threads": "openmp", "tuning": EAGER, **options}
    return gs.compile(function, args=shapes or known, target="c", dtype=dtype, selftest=False, name="f", **options)


def drawn(name: str, dtype: str = "float64", length: int = 403) -> list[np.ndarray]:
    """Arguments, of which named sizes are `length`."""
    rng = np.random.default_rng(5)
    return [rng.normal(size=[length if d == "n" else d for d in s]).astype(dtype) for s in SHARED[name][1]]


def parts_of(found: Any) -> list[np.ndarray]:
    return [np.asarray(part) for part in ([found[0], *found[1]] if isinstance(found, tuple) else [found])]


def test_every_number_of_threads_gives_the_same_bits() -> None:
    openmp = pytest.importorskip("ctypes").CDLL("libgomp.so.1")
    calls = [(f, arrays("float32" if name == "packed" else "float64")) for name, f in programs().items()]
    for name in ("sums", "strands", "along", "rows", "columns", "parts", "running", "running by name"):
        for dtype in ("float64", "float32") if name in ("sums", "along", "rows") else ("float64",):
            calls.append((shared(name, dtype).value_and_grad, drawn(name, dtype)))
    calls += [(convolved(dtype).value_and_grad, pictures(dtype)) for dtype in ("float64", "float32")]
    infinite = pictures()
    infinite[1][0, 0, 0, 0], infinite[3][-1, 0, 1, 2] = np.inf, np.nan  # weights that must not meet zeros
    calls.append((convolved().value_and_grad, infinite))
    for f, given in calls:
        told = []
        for count in (1, 2, 3, 4, 7, 7):
            openmp.omp_set_num_threads(count)
            told.append([part.tobytes() for part in parts_of(f(*given))])
        assert all(bits == told[0] for bits in told), f


@pytest.mark.parametrize(("name", "dtype"), [(name, "float64") for name in SHARED] + [("sums", "float32")])
def test_sums_in_shares_are_those_of_one_thread(name: str, dtype: str) -> None:
    f, one = shared(name, dtype), shared(name, threads=None, strict=True)
    assert "own_1[" in f.source or name == "columns"
    for mine, theirs in zip(
        parts_of(f.value_and_grad(*drawn(name, dtype))), parts_of(one.value_and_grad(*drawn(name))), strict=True
    ):
        scale = np.max(np.abs(theirs), initial=1.0)
        np.testing.assert_allclose(mine, theirs, atol=scale * (1e-12 if dtype == "float64" else 2e-4), rtol=0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_convolutions_in_shares_are_those_of_one_thread(dtype: str) -> None:
    f, one = convolved(dtype), convolved(threads=None, strict=True)
    for kernel in (
        "gs_convolve",
        "gs_convolve_lanes",
        "gs_spread_lanes",
        "gs_correlate",
        "gs_convolve_back",
        "gs_slopes",
    ):
        assert f"    {kernel}{'f' * (dtype == 'float32')}(" in f.source
    for mine, theirs in zip(
        parts_of(f.value_and_grad(*pictures(dtype))), parts_of(one.value_and_grad(*pictures())), strict=True
    ):
        near = 128 * np.finfo(dtype).eps * np.abs(theirs).max()
        np.testing.assert_allclose(mine, theirs, atol=near, rtol=0)


@pytest.mark.parametrize("length", [0, 1, 63, 65, 20_001])
def test_named_sizes_are_cut_when_they_are_known(length: int) -> None:
    """Every number counts once, whatever the size: sums of whole numbers are exact."""
    shapes = (("n",),)
    f = gs.compile(lambda x: gs.sum(x), args=shapes, target="c", derivatives="value", threads="openmp", tuning=EAGER)
    g = gs.compile(lambda x: gs.max(x), args=shapes, target="c", derivatives="value", threads="openmp", tuning=EAGER)
    x = np.random.default_rng(1).integers(-1000, 1000, length).astype(float)
    assert f(x) == x.sum()
    assert not length or g(x) == x.max()  # of nothing there is none
    if length:
        x[length // 2] = np.nan
        assert np.isnan([f(x), g(x)]).all()


@pytest.mark.parametrize("length", [0, 1, 64, 65, 20_001])
def test_running_sums_in_shares_are_running_sums(length: int) -> None:
    """Sums of whole numbers are exact; where nothing is negative nothing falls; inf and NaN reach what is behind them."""
    options: dict[str, Any] = {"target": "c", "derivatives": "value", "threads": "openmp", "tuning": EAGER}
    f = gs.compile(gs.cumsum, args=(("n",),), **options)
    rng = np.random.default_rng(1)
    whole = rng.integers(-1000, 1000, length).astype(float)
    np.testing.assert_array_equal(f(whole), np.cumsum(whole))
    assert "GS_PARALLEL" in f.source
    rising = f(rng.random(length) ** 9)
    assert (np.diff(rising) >= 0).all()
    np.testing.assert_array_equal(np.signbit(f(np.full(length, -0.0))), True)
    for special in (np.inf, np.nan) if length > 60 else ():
        whole[length // 3] = special
        np.testing.assert_array_equal(f(whole), np.cumsum(whole))


def added(name: str, **options: Any) -> Any:
    return gs.compile(
        ADDED[name][0], args=[gs.symbol(f"x{k}", s, dtype=d) for k, (s, d) in enumerate(ADDED[name][1])], target="c",
        name="f", wrt=(0,), derivatives="grad", **{"tuning": EAGER, "selftest": False, **options},
    )  # fmt: skip


def added_to(name: str, length: int = 57) -> list[np.ndarray]:
    rng = np.random.default_rng(9)
    shapes = [([length if d == "n" else d for d in s], dtype) for s, dtype in ADDED[name][1]]
    return [rng.integers(-13, 13, s) if dtype == "int64" else rng.normal(size=s) for s, dtype in shapes]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", ADDED)
def test_what_is_added_at_places_has_the_order_of_one_thread(name: str, strict: bool) -> None:
    openmp = pytest.importorskip("ctypes").CDLL("libgomp.so.1")
    f, one = added(name, threads="openmp", strict=strict), added(name, strict=strict)
    body = f.source[f.source.rindex("void f_grad(") :]
    assert ("GS_TEAM" in body) == name.startswith("rows")
    assert "GS_PARALLEL" in body
    for length in (57, 13):
        right = one.grad(*added_to(name, length))[0].tobytes()
        for count in (1, 2, 3, 4, 7):
            openmp.omp_set_num_threads(count)
            assert f.grad(*added_to(name, length))[0].tobytes() == right


def test_strict_code_adds_in_one_order() -> None:
    f, one = shared("sums", strict=True), shared("sums", strict=True, threads=None)
    for mine, theirs in zip(parts_of(f(*drawn("sums"))), parts_of(one(*drawn("sums"))), strict=True):
        assert mine.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_numbers_are_those_of_one_thread(dtype: str) -> None:
    one = gs.compile(model, args=SHAPES, target="c", selftest=False, strict=True)
    exact, found = one.value_and_grad(*arrays("float64")), compiled(dtype).value_and_grad(*arrays(dtype))
    for mine, theirs in zip((found[0], *found[1]), (exact[0], *exact[1]), strict=True):
        scale = np.max(np.abs(theirs))
        np.testing.assert_allclose(mine, theirs, atol=scale * (1e-12 if dtype == "float64" else 2e-4), rtol=0)


@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
def test_no_thread_reads_what_another_one_writes(tmp_path: Path) -> None:
    """By ThreadSanitizer, which knows nothing of OpenMP's barriers: so each loop gets threads of its own, by POSIX."""
    loss: Any = 0.0
    args: list[Any] = []
    programs: list[tuple[Any, Any]] = [(convolutions, [(s, "float64") for s in PICTURES])]
    programs += [each for name, each in ADDED.items() if "name" not in name]
    for function, inputs in programs:
        xs = [gs.symbol(f"x{len(args) + k}", s, dtype=d) for k, (s, d) in enumerate(inputs)]
        loss, args = loss + function(*xs), [*args, *xs]
    gs.compile(loss, args=args, target="c", name="f", threads="openmp", tuning=EAGER).save(tmp_path)
    (tmp_path / "team.c").write_text(TEAM)
    options = ["-O1", "-g", "-fsanitize=thread", "-march=native"]
    subprocess.run(["gcc", *options, "-fopenmp", "-DF_SELFTEST", "-c", "f.c"], cwd=tmp_path, check=True)
    link = ["gcc", *options, "team.c", "f.o", "-o", "program", "-lm", "-lpthread"]
    built = subprocess.run(link, cwd=tmp_path, capture_output=True, text=True, check=False)
    if "tsan" in built.stderr:
        pytest.skip("gcc has no ThreadSanitizer")
    assert built.returncode == 0, built.stderr
    run = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=False)
    if "unexpected memory mapping" in run.stderr:
        pytest.skip("ThreadSanitizer does not run here")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "points agree" in run.stdout


def test_small_loops_have_one_thread() -> None:
    source = compiled(tuning=gs.Tuning()).source
    assert "GS_PARALLEL(" not in source[source.rindex("\nvoid f") :]


def test_sizes_known_by_name_decide_when_they_are_known() -> None:
    source = gs.compile(lambda x: 2.0 * x, args=(("n",),), target="c", threads="openmp", name="f").source
    assert "if(parallel : n >= 16384)" in source


def test_without_threads_there_is_no_pragma() -> None:
    assert "omp parallel" not in compiled(threads=None).source


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"threads": 4, "target": "c"}, gs.SpecError, 'choose "openmp"'),
        ({"threads": "openmp", "target": "numpy"}, gs.TargetError, 'target="c"'),
        ({"threads": "openmp", "target": "python"}, gs.TargetError, 'target="c"'),
    ],
)
def test_what_is_refused(options: dict[str, Any], error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        gs.compile(lambda x: x * x, args=((3,),), **options)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # tests may run beside threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_computes_alone_and_does_not_wait_for_threads_it_has_not() -> None:
    f = compiled()
    g = gs.compile(lambda v: gs.sum(gs.sin(v)), args=((3,),), target="c", batch=True, threads="openmp", selftest=False)
    given, points = arrays("float64"), np.ones((5000, 3))
    before = f(*given), g.value_batch(points, threads=2)[0]
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        after = f(*given), g.value_batch(points, threads=2)[0]
        os._exit(0 if after == before else 1)
    assert os.waitpid(child, 0)[1] == 0


COUNTED = """
__attribute__((visibility("default"))) int registered = 0;
int counted(void (*before)(void), void (*parent)(void), void (*child)(void)) {
    (void)before, (void)parent, (void)child;
    ++registered;
    return 0;
}
"""
LOADED = """
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
loader = ExtensionFileLoader({name!r}, {path!r})
module = module_from_spec(spec_from_file_location({name!r}, {path!r}, loader=loader))
loader.exec_module(module)
assert module.once(3.0) == 9.0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="without GNU's OpenMP, there is nothing to register")
def test_a_process_asks_once_to_be_told_of_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the module is loaded: a fork would run as many functions, in each of its children."""
    monkeypatch.setenv("CC", "gcc")
    f = gs.compile("x*x", target="c", derivatives="value", threads="openmp", selftest=False, name="once")
    sources, name, options = f._built
    sources = {**sources, "once.c": sources["once.c"] + COUNTED}
    sources[f"{name}.c"] = "#define pthread_atfork counted\n" + sources[f"{name}.c"]
    path = build_extension(sources, name, options).__file__
    again = LOADED.format(name=name, path=path)
    count = f"import ctypes\nassert ctypes.c_int.in_dll(ctypes.CDLL({path!r}), 'registered').value == 1\n"
    in_interpreters([again] * 2, then=count)
