"""Newton's method in 1,000 dimensions: the generated Hessian is sparse, so a step costs no more than a few gradients.

The chained Rosenbrock function is the classic test of minimisers: a curved valley whose floor falls slowly. Its Hessian
has a million entries, of which 2,998 are not 0; the generated code computes just the lower half of these, by formulas.
SciPy's L-BFGS-B, which sees gradients only, starts from the same point. Without a C compiler NumPy takes its place.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import eye_array, tril
from scipy.sparse.linalg import spsolve

import gradsmith as gs
from gradsmith_runtime import CompilerNotFoundError, find_compiler

N = 1000


def rosenbrock(x):
    """The chained Rosenbrock function; 0 where all x are 1."""
    return gs.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def newton(f, x, steps=1000):
    """Minimise `f` from `x` on; the points on the way. Steps are halved until they go down enough."""
    path = [x]
    value, gradient = f.value_and_grad(x)
    while np.abs(gradient).max() > 1e-9 and len(path) <= steps:
        lower = f.hessian(x)
        hessian = lower + tril(lower, -1).T
        step = spsolve(hessian.tocsc(), -gradient)
        shift = 1.0
        while step @ gradient >= 0:  # not downhill, so the Hessian is not positive definite: lift it
            step = spsolve((hessian + shift * eye_array(N)).tocsc(), -gradient)
            shift *= 10.0
        length = 1.0
        while (new := f(x + length * step)) > value + 1e-4 * length * (step @ gradient):
            length /= 2
        x = x + length * step
        value, gradient = f.value_and_grad(x)
        assert np.isclose(value, new, rtol=1e-12)  # sums may come in another order beside the gradient
        path.append(x)
    return path


def main():
    try:
        find_compiler()
        target = "c"
    except CompilerNotFoundError as error:
        target = "numpy"
        print(f"No C compiler, so NumPy: {error}\n")

    f = gs.compile(
        rosenbrock,
        args=((N,),),
        target=target,
        derivatives=("value", "grad", "value_and_grad", "hessian"),
        sparse="csr",
        triangle="lower",
    )
    start = np.full(N, 2.0)
    lower = f.hessian(start)
    print(f"The lower half of the Hessian: {lower.nnz:,} entries are computed of {N * (N + 1) // 2:,}.")
    print(f"Operations of the value: {f.cost.total('value'):,}, of the gradient: {f.cost.total('grad'):,}, ", end="")
    print(f"of the Hessian: {f.cost.total('hessian'):,}.\n")

    path = newton(f, start)
    print("step         value   largest slope")
    for k, x in enumerate(path):
        print(f"{k:>4}{f(x):>14.4e}{np.abs(f.grad(x)).max():>16.1e}")
    print(f"\nNewton's method: {len(path) - 1} steps to x = 1, to {np.abs(path[-1] - 1).max():.0e}")
    assert np.allclose(path[-1], 1.0, rtol=0, atol=1e-8)

    options = {"maxiter": 10**5, "maxfun": 10**6, "gtol": 1e-9, "ftol": 0.0}
    found = minimize(f.value_and_grad, start, jac=True, method="L-BFGS-B", options=options)
    print(f"L-BFGS-B, gradients only: {found.nit} steps, to {np.abs(found.x - 1).max():.0e}")


if __name__ == "__main__":
    main()
