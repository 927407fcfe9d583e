"""k-means by Newton's method: the cost's Hessian is diagonal, so the generated code computes the diagonal alone.

The cost is each point's squared distance to its nearest centre. Between two changes of the assignment it is quadratic
in the centres, so one Newton step, slope over curvature, moves each centre to the mean of its points: Lloyd's
algorithm, written down by differentiation. That the Hessian is diagonal follows from that of each point, which
nothing but its own centre sees; a product with a vector of ones then sums each row, and its only entry is the
diagonal.
"""

import numpy as np

import gradsmith as gs

POINTS, CLUSTERS = 300, 4


def cost(centres, points):
    """The sum of the squared distances of the points (N, D) to the nearest of the centres (K, D)."""
    apart = points[:, None, :] - centres
    return gs.sum(gs.min(gs.sum(apart**2, axis=2), axis=1))


def newton_step(centres, points):
    """The cost, and the centres after a Newton step."""
    value, slope = gs.value_and_grad(cost)(centres, points)
    curvature = gs.hvp(lambda c: cost(c, points), (centres,), (gs.ones_like(centres),))
    return value, centres - slope / curvature


def main():
    rng = np.random.default_rng(1)
    true = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]])
    points = true[rng.integers(CLUSTERS, size=POINTS)] + rng.normal(0.0, 0.7, (POINTS, 2))
    step = gs.compile(newton_step, args=((CLUSTERS, 2), (POINTS, 2)), target="numpy", derivatives="value")

    centres = points[:1]
    while len(centres) < CLUSTERS:  # the next one is the point farthest from all so far
        farthest = np.argmax(np.min(np.sum((points[:, None] - centres) ** 2, axis=2), axis=1))
        centres = np.vstack([centres, points[farthest]])
    print("step      cost")
    for k in range(20):
        nearest = np.argmin(np.sum((points[:, None] - centres) ** 2, axis=2), axis=1)
        lloyd = np.array([points[nearest == c].mean(axis=0) for c in range(CLUSTERS)])
        value, new = step(centres, points)
        print(f"{k:>4}{value:>10.3f}")
        assert np.allclose(new, lloyd, rtol=1e-12), "a Newton step is a step of Lloyd's algorithm"
        if np.allclose(new, centres, rtol=0, atol=1e-12):
            break
        centres = new

    print("\ncentre          found")
    for x, y in true:
        near = centres[np.argmin(np.sum((centres - (x, y)) ** 2, axis=1))]
        print(f"({x:.0f}, {y:.0f})    ({near[0]:6.3f}, {near[1]:6.3f})")
        assert np.hypot(*(near - (x, y))) < 0.3

    # the whole Hessian, to see that it is diagonal: twice the number of points in each cluster
    f = gs.compile(
        cost, args=((CLUSTERS, 2), (POINTS, 2)), wrt="centres", target="numpy", derivatives=("grad", "hessian")
    )
    hessian = np.reshape(f.hessian(centres, points), (2 * CLUSTERS, 2 * CLUSTERS))
    assert np.array_equal(hessian, np.diag(np.repeat(2.0 * np.bincount(nearest), 2)))
    print(f"\nDiagonal of the Hessian: {' '.join(f'{h:.0f}' for h in np.diag(hessian))}; all else is 0.")
    print(f"Operations: gradient {f.cost.total('grad'):,}, cost and Newton step {step.cost.total('value'):,}.")


if __name__ == "__main__":
    main()
