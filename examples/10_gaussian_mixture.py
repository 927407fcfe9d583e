"""A Gaussian mixture fitted to points by its log-likelihood, in the form of the ADBench collection.

Component k has a weight softmax(alpha)_k, a centre mu_k, and a precision matrix L_k L_k' with L_k lower triangular: the
logarithms of its diagonal are `log_diagonal[k]`, what lies below it is `below[k]`. Every value of these parameters is a
mixture, so that SciPy's L-BFGS needs no constraints. The points come from a known mixture, which the fit finds again.
Without a C compiler NumPy takes its place.
"""

import math

import numpy as np
from scipy.optimize import minimize

import gradsmith as gs
from gradsmith_runtime import CompilerNotFoundError, find_compiler

POINTS, DIMENSIONS, COMPONENTS = 500, 2, 3
LOWER = [row * DIMENSIONS + column for row in range(DIMENSIONS) for column in range(row)]  # places below the diagonal


def log_likelihood(p, x):
    """Mean log-likelihood of the points `x` (N, D) under a mixture of K Gaussians."""
    k, d = p["mu"].shape
    below = gs.zeros((k, d * d)).at[:, LOWER].set(p["below"])
    factor = gs.reshape(below, (k, d, d)) + gs.exp(p["log_diagonal"])[:, :, None] * gs.eye(d)
    apart = x[:, None, :] - p["mu"]  # (N, K, D)
    white = gs.einsum("kij,nki->nkj", factor, apart)  # L'(x - mu): independent, of variance 1
    of_component = gs.log_softmax(p["alpha"]) + gs.sum(p["log_diagonal"], axis=1) - 0.5 * gs.sum(white**2, axis=2)
    return gs.mean(gs.logsumexp(of_component, axis=1)) - 0.5 * d * math.log(2 * math.pi)


def sample(rng):
    """Points of a known mixture, its weights and its centres."""
    weights = np.array([0.5, 0.3, 0.2])
    centres = np.array([[0.0, 0.0], [4.0, 1.0], [-1.0, 4.0]])
    roots = np.array([[[1.0, 0.0], [0.8, 0.5]], [[0.6, 0.0], [-0.4, 1.0]], [[0.5, 0.0], [0.0, 0.4]]])
    component = rng.choice(len(weights), size=POINTS, p=weights)
    noise = rng.normal(size=(POINTS, DIMENSIONS))
    return centres[component] + np.einsum("nij,nj->ni", roots[component], noise), weights, centres


def start(x, rng):
    """Round components of equal weight, on centres far from each other."""
    chosen = [x[rng.integers(len(x))]]
    while len(chosen) < COMPONENTS:
        chosen.append(x[np.argmax(np.min([np.sum((x - c) ** 2, axis=1) for c in chosen], axis=0))])
    return {
        "alpha": np.zeros(COMPONENTS),
        "below": np.zeros((COMPONENTS, len(LOWER))),
        "log_diagonal": np.zeros((COMPONENTS, DIMENSIONS)),
        "mu": np.array(chosen),
    }


def main():
    try:
        find_compiler()
        target = "c"
    except CompilerNotFoundError as error:
        target = "numpy"
        print(f"No C compiler, so NumPy: {error}\n")

    rng = np.random.default_rng(0)
    x, weights, centres = sample(rng)
    p = start(x, rng)
    f = gs.compile(log_likelihood, args=(p, x), wrt="p", target=target)

    # SciPy has one long vector where the model has names
    sizes = np.cumsum([p[name].size for name in sorted(p)])[:-1]
    pack = lambda p: np.concatenate([np.ravel(p[name]) for name in sorted(p)])
    unpack = lambda v: {n: part.reshape(p[n].shape) for n, part in zip(sorted(p), np.split(v, sizes), strict=True)}

    def negative(v):
        value, gradient = f.value_and_grad(unpack(v), x)
        return -value, -pack(gradient)

    found = minimize(negative, pack(p), jac=True, method="L-BFGS-B")
    fitted = unpack(found.x)
    fitted_weights = np.exp(fitted["alpha"]) / np.exp(fitted["alpha"]).sum()
    print(f"{POINTS} points, {COMPONENTS} components, {len(found.x)} parameters")
    print(f"mean log-likelihood {f(p, x):.4f} at the start, {-found.fun:.4f} after {found.nit} iterations\n")
    print("weight  fitted   centre        fitted")
    for k in range(COMPONENTS):
        nearest = np.argmin(np.sum((fitted["mu"] - centres[k]) ** 2, axis=1))
        at = " ".join(f"{c:5.2f}" for c in fitted["mu"][nearest])
        print(f"{weights[k]:6.2f}{fitted_weights[nearest]:8.3f}   {centres[k][0]:5.2f} {centres[k][1]:5.2f}   {at}")
        assert np.abs(fitted["mu"][nearest] - centres[k]).max() < 0.2
    print(f"\n{f.cost}")


if __name__ == "__main__":
    main()
