"""Sizes as polynomials: arithmetic equals that of ints at every value, and what depends on the value is refused."""

from __future__ import annotations

import itertools
import operator
import pickle

import pytest

import gradsmith as gs
from gradsmith.dims import Dim, at_least_zero, certainly_at_most, lower_bound, quotient, substituted
from gradsmith.lower.memory import larger, place_buffers

n, m = Dim("n"), Dim("m")
POOL = [0, 1, 3, n, m, n + 1, n - 2, 2 * n * m, at_least_zero(n - 1), quotient(n + 1, 2), n - at_least_zero(n - 3)]
VALUES = [{"n": a, "m": b} for a, b in itertools.product((0, 1, 2, 5), (0, 1, 4))]


def at(size, values):
    return substituted(size, lambda f: values[f] if isinstance(f, str) else f)


@pytest.mark.parametrize("op", [operator.add, operator.sub, operator.mul])
def test_arithmetic_is_that_of_ints(op):
    for a, b in itertools.product(POOL, POOL):
        for values in VALUES:
            assert at(op(a, b), values) == op(at(a, values), at(b, values)), (a, b, values)


def test_text_reads_back_as_the_same_number():
    for a, b in itertools.product(POOL, POOL):
        for values in VALUES:
            assert eval(str(a * b - a), {"max": max}, dict(values)) == at(a * b - a, values)


def test_bounds_hold():
    for a, b in itertools.product(POOL, POOL):
        least = lower_bound(a - b)
        for values in VALUES:
            assert least is None or at(a - b, values) >= least
            assert not certainly_at_most(a, b) or at(a, values) <= at(b, values)
            assert at(larger(at_least_zero(a), at_least_zero(b)), values) >= max(at(a, values), at(b, values))


def test_equality_is_structural():
    assert n + m == m + n != n
    assert n - n == 0
    assert (n * 64) // 64 == n
    assert hash(n + 1 - 1) == hash(n)
    assert n != 3
    assert pickle.loads(pickle.dumps(2 * n + 1)) == 2 * n + 1


def test_what_depends_on_the_size_is_refused():
    for question in (lambda: n > 3, lambda: bool(n), lambda: n % 2, lambda: n // m, lambda: range(n), lambda: int(n)):
        with pytest.raises(gs.ShapeError, match="not known before run time"):
            question()
    assert n >= 0
    assert n + 1 > 0
    assert not n < 0


def test_buffers_never_overlap_whatever_the_sizes():
    """First fit with sizes of which some cannot be compared."""
    sizes = [n, 2 * n, m, 64, n + 1, at_least_zero(n - 1), n * m, 3]
    lives = {k: (sizes[k % len(sizes)], k, k + 1 + k % 4) for k in range(20)}
    offsets, total = place_buffers(lives)
    for values in VALUES:
        for a, b in itertools.combinations(lives, 2):
            (size, first, last), (other, begin, end) = lives[a], lives[b]
            if first <= end and begin <= last:
                p, q = at(offsets[a], values), at(offsets[b], values)
                assert p + at(size, values) <= q or q + at(other, values) <= p
        assert all(at(offsets[k], values) + at(lives[k][0], values) <= at(total, values) for k in lives)
