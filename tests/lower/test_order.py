"""The order of straight-line statements: nothing is read before it is made, and few values wait at a time."""

import itertools
import random
import re

import numpy as np
import pytest

import gradsmith as gs
from gradsmith.lower.order import most_waiting, with_few_waiting


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
