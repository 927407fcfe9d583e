"""Calls of one function from many threads at once: right numbers, and nothing shared between them.

Where Python has no GIL, all of it runs at the same time; where it has one, it changes hands as often as it can.
"""

import contextlib
import gc
import sys
import threading
from dataclasses import dataclass

import numpy as np
import pytest

import gradsmith as gs

pytestmark = pytest.mark.usefixtures("quick_builds")

THREADS, CALLS = 4, 400


@pytest.fixture(autouse=True)
def often():
    """Lets threads take turns every microsecond."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(*works):
    """Runs each of them in a thread of its own, with the number of the thread; raises the first error."""
    errors, start = [], threading.Barrier(len(works))

    def run(work, k):
        start.wait()
        try:
            work(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work, k)) for k, work in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("target", ["c", "python", "numpy"])
def test_tuples_of_numbers_belong_to_one_caller(target):
    """The tuples of a call are filled again by the next one, but only if nobody holds them."""
    x, y = gs.symbols("x y")
    f = gs.compile(x * y + y * y, target=target)

    def calls(k):
        held = [(i, f.value_and_grad(float(i), float(k))) for i in range(CALLS)]
        for i, found in held:
            assert found == (float(i * k + k * k), (float(k), float(i + 2 * k)))
        for i in range(50 * CALLS):  # dropped at once
            assert f.value_and_grad(float(i), float(k))[1] == (float(k), float(i + 2 * k))

    at_once(*[calls] * THREADS)


@pytest.mark.parametrize("target", ["c", "python", "numpy"])
def test_first_calls_link_and_differentiate_once(target):
    for n in range(8):
        f = gs.compile(lambda x: gs.sum(x * x * x), args=((3,),), target=target, name=f"first_{n % 2}")
        given = np.arange(3.0) if target != "python" else [0.0, 1.0, 2.0]
        found = []
        at_once(*[lambda k: found.append((f(given), list(f.grad(given))))] * THREADS)  # noqa: B023
        assert found == [(9.0, [0.0, 3.0, 12.0])] * THREADS


def test_arrays_and_workspaces_are_each_calls_own():
    """Large enough for the lock to be released, with a workspace, new results and `out=`."""
    f = gs.compile(lambda a, b: gs.sum(gs.exp(gs.matmul(a, b))), args=((40, 60), (60, 40)), wrt=(0, 1), target="c",
                   selftest=False)  # fmt: skip
    rng = np.random.default_rng(0)
    given = [(rng.normal(size=(40, 60)) / 9, rng.normal(size=(60, 40)) / 9) for _ in range(THREADS)]
    right = [f.value_and_grad(*pair) for pair in given]

    def calls(k):
        out = (None, tuple(np.empty_like(a) for a in given[k]))
        for _ in range(CALLS // 8):
            value, slopes = f.value_and_grad(*given[k])
            assert value == right[k][0]
            for a, b in zip(slopes, right[k][1], strict=True):
                np.testing.assert_array_equal(a, b)
            f.value_and_grad(*given[k], out=out)
            for a, b in zip(out[1], right[k][1], strict=True):
                np.testing.assert_array_equal(a, b)

    at_once(*[calls] * THREADS)


def test_an_argument_that_changes_under_a_call_is_refused_or_seen_before_or_after():
    """A dict and a list that another thread empties and fills: right numbers or an error, and no stale reference."""
    f = gs.compile(lambda p: gs.sum(p["w"] * p["b"][0]), args=({"w": (3,), "b": [()]},), target="c")
    p = {"w": np.arange(3.0), "b": [2.0]}
    done, before = threading.Event(), sys.getrefcount(p)

    def changes(_):
        for i in range(CALLS):
            p["b"].pop()
            p["w"] = np.arange(3.0) * (1 + i % 2)
            p["b"].append(2.0)
            if i % 8 == 0:
                w = p.pop("w")
                p["w"] = w
        done.set()

    def calls(_):
        while not done.is_set():
            with contextlib.suppress(gs.ArgumentError):
                value, slope = f.value_and_grad(p)
                assert value in (6.0, 12.0)
                assert slope["b"][0] in (3.0, 6.0)

    at_once(changes, *[calls] * (THREADS - 1))
    gc.collect()
    assert sys.getrefcount(p) == before


def test_a_list_that_becomes_shorter_while_it_is_read_is_refused():
    """As another thread may do it, here done by an attribute of its first element."""

    @dataclass
    class Shy:
        w: object

        def __getattribute__(self, name):
            if name == "w" and armed:
                given.clear()
            return object.__getattribute__(self, name)

    armed = False
    f = gs.compile(lambda p: p[0].w * p[1], args=([Shy(()), ()],), target="c")
    given = [Shy(2.0), 3.0]
    assert f(given) == 6.0
    armed = True
    with pytest.raises(gs.ArgumentError, match=r"p is a list with no entries, expected a list with 0, 1"):
        f(given)


def test_batches_with_threads_of_their_own_from_many_threads():
    x, y = gs.symbols("x y")
    f = gs.compile(gs.sin(x) * y, target="c", batch=True, threads="openmp", selftest=False)
    points = [np.linspace(k, k + 1, 5000) for k in range(THREADS)]
    right = [f.value_and_grad_batch(p, p) for p in points]

    def calls(k):
        for _ in range(10):
            value, slopes = f.value_and_grad_batch(points[k], points[k])
            np.testing.assert_array_equal(value, right[k][0])
            np.testing.assert_array_equal(slopes[0], right[k][1][0])

    at_once(*[calls] * THREADS)
