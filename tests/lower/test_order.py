"""The order of straight-line statements: nothing is read before it is made, few values wait, choices stand together."""

import itertools
import math
import random
import re

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.lower.order import most_waiting, with_choices_together, with_few_waiting


@pytest.mark.parametrize("seed", range(20))
def test_an_order_of_the_same_statements_in_which_reads_come_later(seed):
    rng = random.Random(seed)
    reads = [tuple(rng.sample(range(i), min(i, rng.randrange(4)))) for i in range(200)]
    order = with_few_waiting(reads, [True] * 200)
    place = {i: p for p, i in enumerate(order)}
    assert sorted(order) == list(range(200))
    assert all(place[a] < place[i] for i, read in enumerate(reads) for a in read)


def test_slopes_of_a_chain_are_stored_as_their_terms_are_computed():
    steps = 50
    reads, makes = [()] + [(i,) for i in range(steps)], [True] * (steps + 1)  # a chain of values ...
    reads += [(i, i + 1) for i in range(steps)]  # ... of which each two make a result
    makes += [False] * steps
    assert most_waiting(range(len(reads)), reads, makes) == steps + 1
    assert most_waiting(with_few_waiting(reads, makes), reads, makes) == 2


def chain(x):
    return sum(100.0 * (b - a * a) ** 2 + (1.0 - a) ** 2 for a, b in itertools.pairwise(x))


def values_at_a_time(source):
    """Of the loop over lanes, by the names of its constants."""
    body = source.split("GS_EACH_LANE\n")[-1].split("\n    }\n")[0]
    statements = [s for s in re.sub(r"//.*", "", body).split(";") if "=" in s]
    made = [m[1] if (m := re.search(r"const double (\w+) =", s)) else None for s in statements]
    reads = [
        [made.index(w) for w in set(re.findall(r"[a-z]\w*", s)) if w in made[:i]] for i, s in enumerate(statements)
    ]
    return most_waiting(range(len(made)), reads, [m is not None for m in made])


def test_a_batch_holds_as_few_values_as_a_hand_written_loop_and_gives_the_same_numbers():
    x = gs.symbols(" ".join(f"x{k}" for k in range(12)))
    options = {"args": x, "derivatives": "value_and_grad", "target": "c", "batch": True}
    late = gs.compile(chain(x), **options)
    early = gs.compile(chain(x), tuning=gs.Tuning(registers=1000), **options)
    assert values_at_a_time(late.source) < 16 < values_at_a_time(early.source)
    points = [[random.Random(k).uniform(-2, 2) for _ in range(21)] for k in range(12)]
    rows = np.array(points)
    for found, expected in zip(late.value_and_grad_batch(*rows), early.value_and_grad_batch(*rows), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_result_that_is_read_again_goes_to_all_its_places():
    x = gs.symbols(" ".join(f"x{k}" for k in range(12)))
    t = [a * b for a, b in itertools.pairwise(x)]
    u = [a * b for a, b in itertools.pairwise(t)]
    f = gs.compile((*u, *t, t[0]), args=x, derivatives="value", target="c", tuning=gs.Tuning(registers=2))
    v = [1.0 + k for k in range(12)]
    products = [a * b for a, b in itertools.pairwise(v)]
    assert [float(y) for y in f(*v)] == [
        *(a * b for a, b in itertools.pairwise(products)),
        *products,
        2.0,
    ]


@pytest.mark.parametrize("conditions", [1, 3])
@pytest.mark.parametrize("seed", range(20))
def test_choices_come_together_behind_what_they_read(seed, conditions):
    rng = random.Random(seed)
    reads = [tuple(rng.sample(range(i), min(i, rng.randrange(3)))) for i in range(300)]
    asks = {i: rng.randrange(conditions) for i in range(10, 300) if rng.random() < 0.3}
    order = with_choices_together(range(300), reads, asks)
    place = {i: p for p, i in enumerate(order)}
    assert sorted(order) == list(range(300))
    assert all(place[a] < place[i] for i, read in enumerate(reads) for a in read)
    runs = lambda order: sum(asks.get(a) != asks.get(b) and b in asks for a, b in itertools.pairwise(order))
    assert runs(order) < 0.8 * runs(range(300))


def test_choices_far_from_each_other_do_not_wait():
    reads = [(), *[(0,)] * 300]
    assert with_choices_together(range(301), reads, {1: 0, 300: 0}) == [*range(301)]
    many = dict.fromkeys(range(1, 301, 3), 0)
    order = with_choices_together(range(301), reads, many)
    runs = [len([*run]) for chosen, run in itertools.groupby(order, key=many.__contains__) if chosen]
    assert max(runs) < 20


def lines_between_choices(source):
    """The statements from the first to the last choice."""
    body = source.split("void f_value")[1].split("\n}")[0]
    statements = [s.strip() for s in body.splitlines() if "//" not in s]
    chosen = [k for k, s in enumerate(statements) if " ? " in s]
    return statements[chosen[0] : chosen[-1] + 1]


def rotated(q, v, t):
    """As far from t as the image of v is: quotients by |q|^2, and the chain rule's."""
    length = sum(a * a for a in q)
    image = (
        v[0] * q[0] * q[1] + v[1] * q[2],
        v[1] * q[0] * q[2] + v[2] * q[3],
        v[2] * q[1] * q[3] + v[0] * q[1],
    )
    return sum((x / length - b) ** 2 for x, b in zip(image, t, strict=True))


def test_quotients_with_one_denominator_are_one_branch():
    q, v, t = (gs.symbols(" ".join(f"{name}{k}" for k in range(n))) for name, n in (("q", 4), ("v", 3), ("t", 3)))
    options = {"args": [*q, *v, *t], "derivatives": "value_and_grad", "target": "c"}
    found = lines_between_choices(gs.compile(rotated(q, v, t), **options).source)
    assert ["?" in line for line in found] == [True] * 3 + [False] * 3 + [True] * 3


def test_choices_of_the_user_s_keep_their_values():
    x = gs.symbols(" ".join(f"x{k}" for k in range(6)))
    positive = x[0] * x[1] > 0.0
    parts = [gs.where(positive, gs.exp(a) * b, b / a) * gs.where(a > b, a, b) for a, b in itertools.pairwise(x)]
    f = gs.compile(tuple(p * parts[0] for p in parts), args=x, derivatives="value", target="c")
    for point in ([0.5, 1.0, -2.0, 0.25, 3.0, -1.0], [-0.5, 1.0, 2.0, 0.25, -3.0, 1.0]):
        first = None
        for y, (a, b) in zip(f(*point), itertools.pairwise(point), strict=True):
            part = (math.exp(a) * b if point[0] * point[1] > 0.0 else b / a) * max(a, b)
            first = part if first is None else first
            assert y == pytest.approx(part * first, rel=1e-15)
