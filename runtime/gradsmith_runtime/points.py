"""Points at which to compare a function with its reference.

In: the shapes of the inputs. Out: a list of points: random ones of ordinary and of wide scale, and ones
where an input, or all of them, sit on a value where derivatives like to go wrong; inputs with bounds stay
strictly between them. Guaranteed: the same arguments give the same points on every machine (NumPy's PCG64 with
the given seed).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .report import Array, Leaf

Shape = tuple[int, ...]
#: Arrays of the input's shape; -inf and inf are open ends, and two equal bounds fix the number.
Bounds = tuple[Array, Array]

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


def _between(generator: np.random.Generator, low: Array, high: Array, kind: int) -> Array:
    """Numbers strictly between the bounds: evenly, near the lower or the upper end; wide where one end is open."""
    even, small = generator.uniform(size=low.shape), 10.0 ** generator.uniform(-6.0, -1.0, size=low.shape)
    share = (even, small, 1.0 - small)[kind % 3]
    wide = 10.0 ** generator.uniform(-3.0, 2.0, size=low.shape)
    normal = SAMPLERS[kind % len(SAMPLERS)](generator, low.shape)
    with np.errstate(all="ignore"):  # inf - inf, and spans beyond the float range, of which half is enough
        inside = low * (1.0 - share) + high * share
        value = np.select(
            [np.isfinite(low) & np.isfinite(high), np.isfinite(low), np.isfinite(high)],
            [inside, low + wide, high - wide],
            normal,
        )
    lowest, highest = np.nextafter(low, np.inf), np.nextafter(high, -np.inf)
    return np.where(lowest > highest, low, np.clip(value, lowest, highest))


def sample_points(
    shapes: Sequence[Shape],
    *,
    n: int = 12,
    seed: int = 0,
    edges: Sequence[float] = EDGES,
    bounds: Sequence[Bounds | None] = (),
) -> list[tuple[Leaf, ...]]:
    """Return `n` random points, then per edge value one point for each input and one for all together.

    `shapes` has one shape per input; shape ``()`` gives a float, any other a float64 array. An edge point
    has one input filled with the edge value and the others random, so there are ``n + len(edges) *
    (len(shapes) + 1)`` points (``n + len(edges)`` for a single input, one point for no inputs). `bounds` has an
    entry for each input: None, or (low, high), between which all of its numbers lie; where bounds exclude an
    edge value, the points with it are left out.

    >>> points = sample_points([(), (2,)], n=3, edges=(0.0,))
    >>> len(points), points[-2][1], points[-1][0]
    (6, array([0., 0.]), 0.0)
    """
    if not shapes:
        return [()]
    generator = np.random.default_rng(seed)
    limits = list(bounds) or [None] * len(shapes)

    def point(kind: int, edge: float = 0.0, at: Sequence[int] = ()) -> tuple[Leaf, ...]:
        sampler = SAMPLERS[kind % len(SAMPLERS)]
        leaves = [
            np.full(shape, edge) if i in at
            else sampler(generator, shape) if limit is None
            else _between(generator, *limit, kind)
            for i, (shape, limit) in enumerate(zip(shapes, limits, strict=True))
        ]  # fmt: skip
        return tuple(leaf if leaf.ndim else float(leaf) for leaf in leaves)

    points = [point(kind) for kind in range(n)]
    for kind, edge in enumerate(edges):
        able = [i for i, limit in enumerate(limits) if limit is None or _allows(limit, edge)]
        if len(shapes) > 1:
            points += [point(kind, edge, (i,)) for i in able]
        if len(able) > 1 or len(shapes) == len(able) == 1:
            points.append(point(kind, edge, able))
    return points


def _allows(limit: Bounds, edge: float) -> bool:
    low, high = limit
    return bool(np.all((low < edge) & (edge < high)))
