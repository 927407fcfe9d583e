"""compiler/gradsmith/calls.py: how a compiled function is called, in the user's structure, with `out=`, with bad input."""

import array
import copy
import functools
import gc
import inspect
import multiprocessing
import pickle
import platform
import subprocess
import sys
import sysconfig
import threading
import types
import weakref
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest

import gradsmith as gs

pytestmark = pytest.mark.usefixtures("quick_builds")

Pair = namedtuple("Pair", "w b")


@dataclass
class Record:
    w: object
    b: object


TARGETS = ["c", "python", "numpy"]
W = np.arange(3.0)


def affine(p, t):
    return gs.sum(p["w"] * p["b"][0] * t)


@pytest.fixture(scope="module")
def trees():
    return gs.compile(affine, args=({"w": (3,), "b": [()]}, ()), target="c")


@functools.cache
def squares(target):
    """Twice the sum of the squares of three numbers."""
    return gs.compile(lambda x: gs.sum(2.0 * x * x), args=((3,),), target=target)


@functools.cache
def weighted(target):
    """The weighted sum of the exponentials of a matrix."""
    return gs.compile(lambda a: gs.sum(gs.exp(a) * np.arange(6.0).reshape(2, 3)), args=((2, 3),), target=target)


# --- no Python between ---


def test_no_python_frame_lies_in_a_call(trees):
    """Flat arguments and pytrees, all kinds: once linked, the profiler sees C functions only."""
    p = {"w": W, "b": [2.0]}
    x, y = gs.symbols("x y")
    flat = gs.compile(x * y, derivatives=["value", "grad", "value_and_grad", "jvp", "hvp", "hessian"], target="c")
    calls = [
        lambda: trees(p, 2.0), lambda: trees.grad(p, t=2.0), lambda: trees.value_and_grad(p, 2.0),
        lambda: flat(2.0, 3.0), lambda: flat.value(2.0, 3.0), lambda: flat.grad(2.0, 3.0),
        lambda: flat.value_and_grad(y=3.0, x=2.0), lambda: flat.jvp((2.0, 3.0), (1.0, 1.0)),
        lambda: flat.hvp((2.0, 3.0), (1.0, 1.0)), lambda: flat.hessian(2.0, 3.0),
    ]  # fmt: skip
    for call in calls:
        call()
        seen = []
        sys.setprofile(lambda frame, event, arg: seen.append(frame.f_code) if event == "call" else None)  # noqa: B023
        try:
            call()
        finally:
            sys.setprofile(None)
        assert seen == [call.__code__]


def test_every_kind_links_to_a_function_of_the_module(trees):
    trees({"w": W, "b": [2.0]}, 2.0)
    assert isinstance(trees.grad, types.BuiltinFunctionType)
    assert trees.grad is trees.grad
    assert str(inspect.signature(trees.grad)) == "(p, t, *, out=None)"
    assert str(inspect.signature(trees)) == "(p, t, *, out=None)"
    assert "gradient" in trees.grad.__doc__
    assert "gradient" in inspect.getdoc(gs.CompiledFunction.grad)


# --- structures ---


@pytest.mark.parametrize("target", TARGETS)
def test_each_kind_of_pytree_goes_in_and_comes_out(target):
    """Tuples, lists, dicts, named tuples, dataclasses and None; also of a subclass or in another order."""

    def f(p, q, r):
        return {"s": gs.sum(p["w"]) * q.b, "l": [p["b"][0], (r.w * 2.0, None)]}

    args = ({"w": (3,), "b": [()]}, Pair(None, ()), Record((), None))
    h = gs.compile(f, args=args, target=target)
    p, q, r = {"w": W, "b": [2.0]}, Pair(None, 4.0), Record(5.0, None)
    expected = {"s": 12.0, "l": [2.0, (10.0, None)]}
    for _ in range(2):
        assert h(p, q, r) == expected
        assert h(OrderedDict(b=[2.0], w=W), q, r=r) == expected
        assert h({"b": [2.0], "w": W}, q, r) == expected
    g = gs.compile(lambda q, r: q.w * q.b * r.w, args=(Pair((), ()), Record((), None)), target=target)
    assert g.grad(Pair(2.0, 3.0), Record(4.0, None)) == (Pair(12.0, 8.0), Record(6.0, None))
    assert type(g.grad(Pair(2.0, 3.0), Record(4.0, None))[0]) is Pair


@pytest.mark.parametrize(
    "make",
    [
        lambda a, b, c: (a, b, c),
        lambda a, b, c: (a, (b, c)),
        lambda a, b, c: ((a,), (b, c)),
        lambda a, b, c: ((a,), (), (b, c)),
        lambda a, b, c: (a, (b, (c,))),
        lambda a, b, c: (((a, b), c),),
    ],
    ids=["flat", "pair", "pairs", "empty", "deep", "deeper"],
)
def test_tuples_of_any_depth_come_out_and_are_places(make):
    f = gs.compile(lambda x: make(2.0 * x, x + 1.0, gs.sum(x)), args=((3,),), target="c", derivatives="value")
    expected = repr(make([0.0, 2.0, 4.0], [1.0, 2.0, 3.0], 3.0))
    shown = lambda value: tuple(map(shown, value)) if type(value) is tuple else np.asarray(value).tolist()
    assert repr(shown(f(W))) == expected
    a, b, c = np.empty(3), np.empty(3), np.empty(())
    out = make(a, b, c)
    assert f(W, out=out) is out
    assert repr(shown(out)) == expected
    b[:] = 0.0
    some = f(W, out=make(None, b, None))
    assert repr(shown(some)) == repr(shown(out)) == expected
    for bad in (out[:-1], (*out, a), list(out), make(a, b, (c,)), make(a, b, [c]), a):
        with pytest.raises(gs.ArgumentError):
            f(W, out=bad)


def test_bad_structures_say_where(trees):
    p = {"w": W, "b": [2.0]}
    trees(p, 2.0)
    for bad, message in [
        (lambda: trees({"w": W}, 2.0), r"p is a dict with 'w', expected a dict with 'w', 'b'"),
        (lambda: trees({"w": W, "b": (2.0,)}, 2.0), r"p\['b'\] is a tuple"),
        (lambda: trees({"w": W, "b": []}, 2.0), r"p\['b'\] is a list with no entries"),
        (lambda: trees(p), r"f\(\) takes \(p, t\): missing 't'|affine\(\) takes \(p, t\): missing 't'"),
        (lambda: trees(p, 2.0, t=1.0), "got 't' twice"),
        (lambda: trees.grad(p, 2.0, out=[None]), "out must have the structure of the result"),
    ]:
        with pytest.raises(gs.ArgumentError, match=message):
            bad()


def test_many_arguments_lie_on_the_heap():
    symbols = gs.symbols(" ".join(f"x{i}" for i in range(100)))
    f = gs.compile(sum(symbols), target="c")
    point = [float(i) for i in range(100)]
    names = {f"x{i}": float(i) for i in reversed(range(100))}
    assert f(*point) == f(**names) == 4950.0
    assert f.value_and_grad(**names) == (4950.0, (1.0,) * 100)


# --- out= ---


@pytest.mark.parametrize("target", TARGETS)
def test_results_are_written_into_what_is_given(target):
    f = gs.compile(lambda x, y: gs.sum(x * x) * y, args=((3,), ()), target=target)
    x, y = np.array([1.0, 2.0, 3.0]), 2.0
    d_x, d_y, value = np.full(3, np.nan), np.full((), np.nan), np.full((), np.nan)
    out = (value, (d_x, d_y))
    for _ in range(2):
        assert f.value_and_grad(x, y, out=out) is out
        assert (value, d_x.tolist(), d_y) == (28.0, [4.0, 8.0, 12.0], 14.0)
    place = np.empty(3)
    result = f.value_and_grad(x, y, out=(None, (place, None)))
    assert result[0] == 28.0
    assert result[1][0] is place
    assert result[1][1] == 14.0
    assert f(x, y, out=value) is value
    assert f(x, y, out=None) == 28.0


@pytest.mark.parametrize("target", TARGETS)
def test_an_argument_called_out_is_an_argument(target):
    f = gs.compile(lambda x, out: x * out, args=((), ()), target=target)
    assert f(2.0, out=3.0) == f(2.0, 3.0) == 6.0


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: np.empty(3, dtype=np.float32), "another type|holds float32"),
        (lambda x: np.empty(3, dtype=">f8"), "another type|holds >f8"),
        (lambda x: np.empty(4), r"has shape \(4,\), expected \(3,\)"),
        (lambda x: np.empty((3, 1)), r"has shape \(3, 1\), expected \(3,\)"),
        (lambda x: np.empty(6)[::2], "not C-contiguous"),
        (lambda x: np.frombuffer(b"x" * 24), "read-only"),
        (lambda x: np.empty(25, dtype=np.uint8)[1:].view(float), "misaligned"),
        (lambda x: x, "shares memory with"),
        (lambda x: x.base[1:4], "shares memory with"),
        (lambda x: [0.0, 0.0, 0.0], "is no array|is no NumPy array|out is a list"),
        (lambda x: 3, "is no array|is no NumPy array"),
    ],
    ids=["float32", "endian", "long", "matrix", "strided", "read-only", "misaligned", "same", "overlap", "list", "int"],
)
def test_places_that_cannot_hold_results(target, make, message):
    """Refused, and nothing is written."""
    f = squares(target)
    x = np.array([1.0, 2.0, 3.0, 4.0])[:3]
    before = x.base.copy()
    with pytest.raises(gs.ArgumentError, match=message):
        f.grad(x, out=make(x))
    assert x.base.tolist() == before.tolist()


def test_places_are_apart_from_each_other():
    f = gs.compile(lambda x, y: gs.sum(x * y), args=((3,), (3,)), target="c")
    room = np.zeros(5)
    with pytest.raises(gs.ArgumentError, match="out for 'd_y' shares memory with out for 'd_x'"):
        f.grad(W, W, out=(room[:3], room[2:]))
    with pytest.raises(gs.ArgumentError, match="out for 'value' shares memory with out for 'd_x'"):
        f.value_and_grad(W, W, out=(room[:1].reshape(()), (room[:3], None)))
    f.grad(W, W, out=(np.zeros(3), np.zeros(6)[3:]))


def test_places_with_named_dimensions():
    f = gs.compile(lambda x: gs.sum(x * x), args=(("n",),), target="c")
    place = np.empty(4)
    assert f.grad(np.arange(4.0), out=place) is place
    assert place.tolist() == [0.0, 2.0, 4.0, 6.0]
    with pytest.raises(gs.ShapeMismatchError, match=r"out for 'd_x' has shape \(4,\), expected .*\(5,\)"):
        f.grad(np.arange(5.0), out=place)
    with pytest.raises(gs.ArgumentError, match="shares memory"):
        f.grad(place, out=place)


@pytest.mark.parametrize("target", TARGETS)
def test_no_elements(target):
    f = gs.compile(lambda x: gs.sum(x * x), args=((0, 3),), target=target)
    value, d_x = f.value_and_grad(np.ones((0, 3)))
    assert (value, np.shape(d_x)[0]) == (0.0, 0)
    place = np.ones((0, 3))
    if target != "python":  # whose lists do not know how many columns no rows have
        assert f.grad(np.ones((0, 3)), out=place) is place


# --- what comes in ---


def wrong_endian(x):
    return x.astype(">f8")


def misaligned(x):
    return np.frombuffer(b"x" + x.tobytes(), dtype=np.uint8)[1:].view(np.float64).reshape(x.shape)


def strided(x):
    return np.repeat(x, 2, axis=-1)[..., ::2]


def dtype_of_its_own(x):
    return x.astype(np.dtype(np.float64, metadata={"unit": "m"}))


def read_only(x):
    frozen = x.copy()
    frozen.flags.writeable = False
    return frozen


def subclass(x):
    return x.view(np.memmap)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "change", [wrong_endian, misaligned, strided, np.asfortranarray, read_only, subclass, dtype_of_its_own, list]
)
def test_arrays_of_every_layout_give_the_same(target, change):
    f = weighted(target)
    a = np.linspace(0.0, 1.0, 6).reshape(2, 3)
    expected = f.value_and_grad(a)
    for _ in range(2):
        value, d_a = f.value_and_grad(change(a))
        assert value == expected[0]
        np.testing.assert_array_equal(d_a, expected[1])
    np.testing.assert_array_equal(f.grad(a.T.copy().T, out=np.empty((2, 3))) if target == "c" else d_a, d_a)


@pytest.mark.parametrize("many", [False, True])
def test_no_buffer_is_held_after_a_call(many):
    sizes = ((2,), (3,), *[()] * (50 if many else 0))  # with many arguments, there is no statement for each
    f = gs.compile(lambda a, b, *c: gs.sum(a) * gs.sum(b * b) + sum(c), args=sizes, wrt=(0, 1), target="c")
    rest = [1.0] * (len(sizes) - 2)
    good = [array.array("d", [1.0] * n) for n in (2, 3, 1, 2, 3)]
    good[2] = np.zeros(())  # an array of numpy among the others
    wrong = array.array("d", [1.0] * 7)
    for bad in (None, 0, 1, 3, 4):
        given = [wrong if k == bad else x for k, x in enumerate(good)]
        views = [memoryview(x) for x in given]
        a, b, value, d_a, d_b = [x if k == 2 else views[k] for k, x in enumerate(given)]
        if bad is None:
            f.value_and_grad(a, b, *rest, out=(value, (d_a, d_b)))
            assert [*d_a, *d_b] == [3.0] * 2 + [4.0] * 3
        else:
            with pytest.raises(ValueError, match="shape"):
                f.value_and_grad(a, b, *rest, out=(value, (d_a, d_b)))
        for view in views:
            view.release()  # which is a BufferError while somebody has a buffer of it


# --- objects ---


@pytest.mark.parametrize("target", TARGETS)
def test_a_dropped_function_is_freed_at_once(target):
    f = gs.compile(gs.symbol("x") ** 2, target=target)
    never = gs.compile(gs.symbol("x") ** 3, target=target)
    f(2.0), f.grad(2.0)
    gc.disable()
    try:
        seen = [weakref.ref(f), weakref.ref(never)]
        del f, never
        assert [r() for r in seen] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("target", TARGETS)
def test_a_copy_is_a_function_of_its_own(target):
    f = gs.compile(gs.symbol("x") ** 2, target=target)
    f(2.0)
    g = copy.copy(f)
    del f
    assert (g(3.0), g.grad(3.0)) == (9.0, 6.0)
    assert not hasattr(g, "gradient")


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("target", TARGETS)
def test_a_pickle_is_a_function_again(target, strict):
    f = gs.compile(lambda p, n: gs.sum(gs.exp(p["w"])) * n, args=({"w": (3,)}, ()), target=target, strict=strict)
    before = f.value_and_grad({"w": W}, 2.0)
    g = pickle.loads(pickle.dumps(f))
    after = g.value_and_grad({"w": W}, 2.0)
    assert after[0] == before[0]
    assert np.asarray(after[1][0]["w"]).tolist() == np.asarray(before[1][0]["w"]).tolist()
    assert (g.cost, g.source, repr(g)) == (f.cost, f.source, repr(f))


@pytest.mark.parametrize("called", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("target", TARGETS)
def test_callables_that_were_taken_from_a_function_can_be_pickled(target, called):
    f = gs.compile(lambda p, n: gs.sum(gs.exp(p["w"])) * n, args=({"w": (3,)}, ()), target=target)
    if called:
        f({"w": W}, 2.0)
    value, both = pickle.loads(pickle.dumps((f.value, f.value_and_grad)))
    assert value({"w": W}, 2.0) == f({"w": W}, 2.0) == both(n=2.0, p={"w": W})[0]
    assert [*both({"w": W}, 2.0)[1][0]["w"]] == [*f.grad({"w": W}, 2.0)[0]["w"]]
    assert pickle.loads(pickle.dumps(both))({"w": W}, 2.0)[0] == value({"w": W}, 2.0)  # and again


def test_plain_functions_of_python_code_cannot_be_pickled_but_what_they_are_of():
    """Pickle looks for them in a module, which another process cannot import, and asks nobody else."""
    f = gs.compile(gs.symbol("x") ** 2, target="python")
    assert pickle.loads(pickle.dumps(f.grad))(3.0) == 6.0
    f(3.0)
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(f.grad)
    assert pickle.loads(pickle.dumps(f)).grad(3.0) == 6.0


def test_callables_pickled_together_are_of_one_function():
    f = gs.compile(lambda v: gs.sum(v * v), args=((3,),), target="c")
    f(W)
    value, grad = pickle.loads(pickle.dumps((f.value, f.grad)))
    assert value == gs.forwarding.Kept(grad._method.__self__, "value")


def test_a_callable_to_be_pickled_holds_no_function():
    """A function is freed when the last name of it goes, and what was taken from it can be pickled even then."""
    f = gs.compile(lambda v: gs.sum(v * v), args=((3,),), target="c")
    f(W)
    grad, gone = f.grad, weakref.ref(f)
    gc.disable()
    try:
        del f
        assert gone() is None
    finally:
        gc.enable()
    assert pickle.loads(pickle.dumps(grad))([1.0, 2.0, 3.0]).tolist() == [2.0, 4.0, 6.0]


def test_functions_of_a_module_say_what_to_pickle():
    f = gs.compile(lambda v: gs.sum(v * v), args=((3,),), target="c", name="f")
    with pytest.raises(
        TypeError, match=r"cannot pickle a function of a built module, but what gradsmith.compile returns"
    ):
        pickle.dumps(f.module.f)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_other_processes_call_what_they_are_given(method):
    f = gs.compile(lambda v: gs.sum(v * v), args=((3,),), target="c")
    points = [[1.0, 2.0, 3.0], [0.5, 0.5, 1.0]]
    f(points[0])
    with multiprocessing.get_context(method).Pool(1) as pool:
        found = pool.map(f.value_and_grad, points)
    assert [(value, g.tolist()) for value, g in found] == [(14.0, [2.0, 4.0, 6.0]), (1.5, [1.0, 1.0, 2.0])]


def test_no_reference_leaks_through_trees_and_places(trees):
    p, place = {"w": W, "b": [2.0]}, np.empty(3)
    out = (None, ({"w": place, "b": [None]}, None))

    def calls():
        trees(p, 2.0)
        trees.grad(p, t=2.0)
        trees.value_and_grad(p, 2.0, out=out)
        for bad in (
            lambda: trees(p), lambda: trees({"w": W}, 2.0), lambda: trees(p, "a"),
            lambda: trees.value_and_grad(p, 2.0, out=(None, ({"w": W, "b": [None]}, None))),
            lambda: trees.value_and_grad(p, 2.0, out=(None, ({"w": place, "b": None}, None))),
            lambda: trees.value_and_grad(p, 2.0, out=(None, ({"w": place, "b": [W]}, None))),
        ):  # fmt: skip
            with pytest.raises(gs.ArgumentError):
                bad()

    watched = (W, place, out, p, p["b"], trees.grad, gs.ArgumentError, dict, tuple)
    for _ in range(3):
        calls()
    gc.collect()
    before = [sys.getrefcount(o) for o in watched]
    for _ in range(50):
        calls()
    gc.collect()
    after = [sys.getrefcount(o) for o in watched]
    assert all(b - a < 25 for a, b in zip(before, after, strict=True))


def test_first_calls_from_many_threads():
    """Each may link the function; all get the same numbers."""
    f = gs.compile(lambda x: gs.sum(x * x), args=((3,),), target="c")
    found, start = [], threading.Barrier(4)

    def call():
        start.wait()
        found.append(f.value_and_grad(W)[0])

    threads = [threading.Thread(target=call) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == [5.0] * 4


@pytest.mark.skipif(not platform.libc_ver()[0].startswith("glibc"), reason="malloc of others")
def test_memory_of_several_results_is_kept_between_calls():
    """In a process of its own: the C library never forgets how large the blocks were that others have freed."""
    text = """if True:
        import resource, numpy as np, gradsmith as gs
        f = gs.compile(lambda a, b, c: gs.sum(a * b * c), args=(("n",),) * 3, target="c", name="kept", selftest=False)
        given, faults = [np.ones(100_000)] * 3, []
        for _ in range(12):
            f.value_and_grad(*given)
            faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
        assert faults[-1] - faults[1] < 10 * 30, faults  # of 360 pages a call
    """
    subprocess.run([sys.executable, "-c", text], check=True)


# --- tuples that are filled again ---


def test_results_that_somebody_holds_stay_as_they_are():
    """Tuples of numbers are filled again once they are dropped: whole results and parts of them are never changed."""
    x, y = gs.symbols("x y")
    f = gs.compile(x * y, target="c")
    f(1.0, 1.0)
    whole = [f.value_and_grad(float(i), 2.0) for i in range(20)]
    inner = [f.value_and_grad(float(i), 2.0)[1] for i in range(20)]
    numbers = [f.grad(float(i), 2.0)[1] for i in range(20)]
    assert whole == [(2.0 * i, (2.0, float(i))) for i in range(20)]
    assert inner == [(2.0, float(i)) for i in range(20)]
    assert numbers == [float(i) for i in range(20)]


@pytest.mark.skipif(bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="nothing is filled again, gc waits")
def test_a_call_from_within_a_call_has_tuples_of_its_own():
    """The garbage collector may run while a result is put together, and what it calls may call the same function."""
    x, y = gs.symbols("x y")
    f = gs.compile(x * y, target="c")
    f(1.0, 1.0)
    found, before = [], gc.get_threshold()

    def again(phase, info):
        found.append(f.value_and_grad(5.0, 7.0))

    gc.callbacks.append(again)
    gc.set_threshold(1)
    try:
        held = [f.value_and_grad(float(i), 2.0)[1] for i in range(200)]
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(again)
    assert held == [(2.0, float(i)) for i in range(200)]
    assert found
    assert set(found) == {(35.0, (7.0, 5.0))}


# --- Python code ---


def test_python_code_is_entered_directly_and_checks_what_it_gets():
    """One frame a call; numbers that are not Python's own floats are converted, and give floats."""
    x, y = gs.symbols("x y")
    f = gs.compile(x * y, target="python")
    assert (f(2, np.float32(3.0)), f.grad(2, 3), f.grad(y=3.0, x=2.0)) == (6.0, (3.0, 2.0), (3.0, 2.0))
    assert type(f(2, 3)) is type(f.grad(2, 3)[0]) is float
    seen = []
    sys.setprofile(lambda frame, event, arg: seen.append(frame.f_code.co_name) if event == "call" else None)
    try:
        f.grad(2.0, 3.0)
    finally:
        sys.setprofile(None)
    assert seen == ["f_grad"]
    assert inspect.getsource(f.grad) in f.source
    g = gs.compile(lambda v: gs.sum(v * v), args=((3,),), target="python")
    for v in ([1.0, 2.0, 3.0], [1, 2, 3], np.array([1.0, 2.0, 3.0]), (1.0, 2.0, 3.0)):
        assert g.grad(v) == [2.0, 4.0, 6.0]
    for bad in (["a", 2.0, 3.0], [1.0, 2.0, 3.0j], [1.0], 2.0, None):
        with pytest.raises(gs.ArgumentError):
            g.grad(bad)
    with pytest.raises(gs.errors.ShapeMismatchError) as caught:
        g.grad([1.0, 2.0])
    assert caught.value.__context__ is None  # not "while another exception was handled"


@pytest.mark.parametrize("x", [[2.0, 3.0], np.array([2.0, 3.0]), [0.0, 1.0]], ids=["list", "array", "edge"])
def test_python_code_gives_any_structure_of_tuples_lists_and_dicts(x):
    """In the frame of the function itself, and from its IEEE twin as well (log(0))."""
    f = gs.compile(
        lambda v, w: {"a": [gs.log(v[0]), None], "b": (v * w,)}, args=((2,), ()), target="python", derivatives="value"
    )
    expected = {"a": [-np.inf if x[0] == 0.0 else np.log(2.0), None], "b": ([x[0] * 4.0, x[1] * 4.0],)}
    assert f(x, 4.0) == expected
    assert list(f(x, 4.0)) == ["a", "b"]
    g = gs.compile(lambda v: gs.log(v[0]) * v[1], args=((2,),), wrt=(0,), target="python")
    seen = []
    g.grad([2.0, 3.0])
    sys.setprofile(lambda frame, event, arg: seen.append(frame.f_code.co_name) if event == "call" else None)
    try:
        found = g.grad([2.0, 3.0])
    finally:
        sys.setprofile(None)
    assert (found, seen) == (([1.5, np.log(2.0)],), [g.grad.__name__])


def test_variables_may_be_called_as_builtins_are():
    type_, float_ = gs.symbols("type float")
    f = gs.compile(type_ * float_, name="len", target="python")
    assert (f(2.0, 3.0), f.grad(2, 3.0)) == (6.0, (3.0, 2.0))


@pytest.mark.parametrize("target", TARGETS)
def test_a_kind_kept_from_before_the_first_call_finds_its_own_way(target):
    """`g = f.grad` and then many calls of g, as everyone writes it: no Python code of ours from the second call on."""
    f = gs.compile(lambda x: gs.sum(x * x), args=((3,),), target=target)
    kept, again = f.grad, f.grad
    assert kept == again != f.value
    assert hash(kept) == hash(again)
    x = W if target != "python" else W.tolist()
    assert kept(x) == pytest.approx(2.0 * W)
    if target != "numpy":  # whose functions are never linked
        assert kept.func is f.grad
        assert kept(x) == pytest.approx(2.0 * W)
    with pytest.raises(gs.errors.ArgumentError, match="takes"):
        kept()
    if target == "c":
        place = np.empty(3)
        assert kept(x, out=place) is place
