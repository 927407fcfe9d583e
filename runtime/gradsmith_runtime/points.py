"""Points at which to compare a function with its reference.

In: the shapes of the inputs. Out: a list of points: random ones of ordinary and of wide scale, and ones
where an input, or all of them, sit on a value where derivatives like to go wrong. Guaranteed: the same
arguments give the same points on every machine (NumPy's PCG64 with the given seed).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .report import Array, Leaf

Shape = tuple[int, ...]

EDGES = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-8, -1e-8, 30.0, -30.0)


def _normal(generator: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(generator.normal(size=shape))


def _positive(generator: np.random.Generator, shape: Shape) -> Array:
    return np.asarray(generator.uniform(0.1, 2.0, size=shape))


def _wide(generator: np.random.Generator, shape: Shape) -> Array:
    """Both signs, magnitudes spread evenly over 1e-3 .. 1e2 on a logarithmic scale."""
    sign = generator.choice(np.array([-1.0, 1.0]), size=shape)
    return np.asarray(sign * 10.0 ** generator.uniform(-3.0, 2.0, size=shape))


SAMPLERS: tuple[Callable[[np.random.Generator, Shape], Array], ...] = (_normal, _positive, _wide)


def sample_points(
    shapes: Sequence[Shape], *, n: int = 12, seed: int = 0, edges: Sequence[float] = EDGES
) -> list[tuple[Leaf, ...]]:
    """Return `n` random points, then per edge value one point for each input and one for all together.

    `shapes` has one shape per input; shape ``()`` gives a float, any other a float64 array. An edge point
    has one input filled with the edge value and the others random, so there are ``n + len(edges) *
    (len(shapes) + 1)`` points (``n + len(edges)`` for a single input, one point for no inputs).

    >>> points = sample_points([(), (2,)], n=3, edges=(0.0,))
    >>> len(points), points[-2][1], points[-1][0]
    (6, array([0., 0.]), 0.0)
    """
    if not shapes:
        return [()]
    generator = np.random.default_rng(seed)

    def point(kind: int, edge: float = 0.0, at: Sequence[int] = ()) -> tuple[Leaf, ...]:
        sampler = SAMPLERS[kind % len(SAMPLERS)]
        leaves = [np.full(s, edge) if i in at else sampler(generator, s) for i, s in enumerate(shapes)]
        return tuple(leaf if leaf.ndim else float(leaf) for leaf in leaves)

    points = [point(kind) for kind in range(n)]
    for kind, edge in enumerate(edges):
        if len(shapes) > 1:
            points += [point(kind, edge, (i,)) for i in range(len(shapes))]
        points.append(point(kind, edge, range(len(shapes))))
    return points
