"""The parameters of a stiff oscillator found from noisy data, by the adjoint of its time integration.

Van der Pol's oscillator x'' = mu (1 - x^2) x' - omega^2 x relaxes slowly and jumps fast, the more so the larger mu
is. A Runge-Kutta scheme of order 4 steps through it as a `scan`: in the generated code a loop, and in the gradient a
loop back through the stored states. That is the discrete adjoint, exact for the scheme, unlike one that integrates
backwards. SciPy's L-BFGS-B fits mu, omega and the initial position. Without a C compiler Python takes its place.
"""

import numpy as np
from scipy.optimize import minimize

import gradsmith as gs
from gradsmith_runtime import CompilerNotFoundError, find_compiler

TRUE = np.array([5.0, 1.0, 2.0])  # mu, omega, and the initial position; it starts at rest
SAMPLES, STEPS = 60, 25  # one measurement each 25 steps of the integration
H = 12.0 / (SAMPLES * STEPS)  # small enough for the fast jumps, which an explicit scheme must resolve


def slope(mu, omega, x, v):
    return v, mu * (1.0 - x**2) * v - omega**2 * x


def runge_kutta(mu, omega, x, v, h):
    """One step of the classic scheme of order 4."""
    x1, v1 = slope(mu, omega, x, v)
    x2, v2 = slope(mu, omega, x + h / 2 * x1, v + h / 2 * v1)
    x3, v3 = slope(mu, omega, x + h / 2 * x2, v + h / 2 * v2)
    x4, v4 = slope(mu, omega, x + h * x3, v + h * v3)
    return x + h / 6 * (x1 + 2 * x2 + 2 * x3 + x4), v + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)


def trajectory(p, samples=SAMPLES, steps=STEPS, checkpoint=None):
    """The positions at the times of the measurements; `p` holds mu, omega and the initial position."""
    mu, omega, x = p

    def sample(state, _):
        state = gs.fori_loop(0, steps, lambda _, s: runge_kutta(mu, omega, *s, H), state)
        return state, state[0]

    return gs.scan(sample, (x, 0.0), None, length=samples, checkpoint=checkpoint)[1]


def misfit(p, measured, steps=STEPS, checkpoint=None):
    """Mean squared distance of the trajectory from the measurements."""
    return gs.mean((trajectory(p, measured.shape[0], steps, checkpoint) - measured) ** 2)


def main():
    try:
        find_compiler()
        target = "c"
    except CompilerNotFoundError as error:
        target = "python"
        print(f"No C compiler, so Python: {error}\n")

    simulate = gs.compile(trajectory, args=((3,),), target=target)
    exact = np.array(simulate(TRUE))
    measured = exact + np.random.default_rng(0).normal(0.0, 0.05, SAMPLES)

    f = gs.compile(misfit, args=((3,), (SAMPLES,)), wrt="p", target=target)
    first = np.array([3.0, 0.9, 2.5])
    found = minimize(f.value_and_grad, first, args=(measured,), jac=True, method="L-BFGS-B")
    print(f"{SAMPLES} measurements with noise of 0.05, {SAMPLES * STEPS} steps of Runge-Kutta\n")
    print("           mu    omega     x(0)   misfit")
    for name, p in (("guess", first), ("found", found.x), ("true", TRUE)):
        print(f"{name:<6}{p[0]:>7.3f}{p[1]:>9.3f}{p[2]:>9.3f}{f(p, measured):>9.5f}")
    assert np.abs(found.x - TRUE).max() < 0.1
    print(f"\n{found.nit} iterations, {found.nfev} calls; a gradient takes ", end="")
    print(f"{f.cost.total('grad') / f.cost.total('value'):.1f} times the operations of the misfit.")

    print("\nGradient in C:   lines   workspace in kB")
    for checkpoint in (None, "sqrt"):
        of = lambda p, y, checkpoint=checkpoint: misfit(p, y, checkpoint=checkpoint)
        g = gs.compile(of, args=((3,), (SAMPLES,)), wrt="p", name="f", target="c", derivatives="grad")
        print(f"checkpoint={checkpoint!s:<6}{len(g.source.splitlines()):>5}{g.workspace['grad'] / 1000:>15.1f}")


if __name__ == "__main__":
    main()
