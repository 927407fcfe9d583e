"""Model predictive control of a quadrotor: at each time step a trajectory is planned, and its first thrusts are flown.

A plan is a nonlinear program (direct collocation by the trapezoidal rule): states and thrusts at all times are
unknown, and the dynamics are equations between neighbours in time. So the Jacobian of the equations and the Hessian
of the Lagrangian are sparse, whatever the horizon; the generated code computes their nonzeros only, all times of the
horizon in one loop. SciPy's `trust-constr` solves it, with bounds on the thrusts. Without a C compiler NumPy takes
its place.
"""

import numpy as np
from scipy.optimize import Bounds, NonlinearConstraint, minimize
from scipy.sparse import block_array, hstack

import gradsmith as gs
from gradsmith_runtime import CompilerNotFoundError, find_compiler

HORIZON, H = 12, 0.1  # intervals of a plan, seconds each
STEPS = 16  # that are flown
MASS, GRAVITY, ARM, DRAG = 1.0, 9.81, 0.2, 0.02  # kg, m/s2, m, N m of torque for each N of thrust
INERTIA = (0.01, 0.01, 0.02)  # kg m2
HOVER = MASS * GRAVITY / 4


def dynamics(x, u):
    """How states (N, 12) change under the thrusts (N, 4) of the rotors: front, left, back, right.

    A state is position, roll-pitch-yaw, velocity, and the turning rates of the body.
    """
    roll, pitch, yaw, vx, vy, vz, p, q, r = (x[:, k] for k in range(3, 12))
    sr, cr, sp, cp, sy, cy = gs.sin(roll), gs.cos(roll), gs.sin(pitch), gs.cos(pitch), gs.sin(yaw), gs.cos(yaw)
    front, left, back, right = (u[:, k] for k in range(4))
    lift = (front + left + back + right) / MASS
    turn = (sr * q + cr * r) / cp
    I1, I2, I3 = INERTIA
    return gs.stack(
        [
            vx,
            vy,
            vz,
            p + sp * turn,
            cr * q - sr * r,
            turn,
            lift * (cr * sp * cy + sr * sy),
            lift * (cr * sp * sy - sr * cy),
            lift * cr * cp - GRAVITY,
            (ARM * (left - right) + (I2 - I3) * q * r) / I1,
            (ARM * (back - front) + (I3 - I1) * p * r) / I2,
            (DRAG * (left + right - front - back) + (I1 - I2) * p * q) / I3,
        ],
        axis=1,
    )


def defects(x, u, now):
    """What the trapezoidal rule leaves of the dynamics, and of the present state at the beginning; all 0 in a plan."""
    change = dynamics(x, u)
    return gs.concat([x[:1] - now, x[1:] - x[:-1] - H / 2 * (change[:-1] + change[1:])], axis=0)


def cost(x, u, goal):
    """Distance from the goal, and a little for turning, speed and thrust."""
    away = gs.sum((x[:, :3] - goal) ** 2) + 5.0 * gs.sum((x[-1, :3] - goal) ** 2)
    return away + 0.05 * gs.sum(x[:, 3:] ** 2) + 0.02 * gs.sum((u - HOVER) ** 2)


def force(x, u, multipliers):
    """The part of the Lagrangian that comes from the equations."""
    return gs.sum(multipliers * defects(x, u, gs.zeros(12)))


def flight(x, before, after):
    """The true quadrotor through one interval, by ten finer steps of order 4; the thrusts change linearly."""
    slope = lambda x, t: dynamics(x[None], (before + t * (after - before))[None])[0]

    def step(k, x):
        t, h = k / 10, H / 10
        k1 = slope(x, t)
        k2 = slope(x + h / 2 * k1, t + 0.05)
        k3 = slope(x + h / 2 * k2, t + 0.05)
        return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(x + h * k3, t + 0.1))

    return gs.fori_loop(0, 10, step, x)


def compiled(target, horizon=HORIZON):
    x, u = (horizon + 1, 12), (horizon + 1, 4)
    both = {"wrt": ("x", "u"), "target": target}
    sparse = {**both, "sparse": "csr"}
    return (
        gs.compile(cost, args=(x, u, (3,)), derivatives=("value", "grad", "hessian"), **sparse),
        gs.compile(defects, args=(x, u, (12,)), derivatives=("value", "jacobian"), **sparse),
        gs.compile(force, args=(x, u, x), derivatives=("hessian",), **sparse),
    )


def plan(functions, now, goal, guess):
    """The best trajectory from the state `now`: states (N, 12), thrusts (N, 4) and what the solver says."""
    f, g, lagrangian = functions
    states = (HORIZON + 1) * 12
    split = lambda z: (z[:states].reshape(-1, 12), z[states:].reshape(-1, 4))
    lower, upper = np.full(len(guess), -np.inf), np.full(len(guess), np.inf)
    lower[states:], upper[states:] = 0.0, 2.0 * HOVER
    found = minimize(
        lambda z: f(*split(z), goal),
        guess,
        jac=lambda z: np.concatenate([np.ravel(part) for part in f.grad(*split(z), goal)]),
        hess=lambda z: block_array(f.hessian(*split(z), goal), format="csr"),
        constraints=NonlinearConstraint(
            lambda z: np.ravel(g(*split(z), now)),
            0.0,
            0.0,
            jac=lambda z: hstack(g.jacobian(*split(z), now), format="csr"),
            hess=lambda z, v: block_array(lagrangian.hessian(*split(z), v.reshape(-1, 12)), format="csr"),
        ),
        bounds=Bounds(lower, upper),
        method="trust-constr",
        options={
            "gtol": 1e-4,
            "xtol": 1e-7,
            "maxiter": 300,
            "sparse_jacobian": True,
            "initial_barrier_parameter": 0.01,
        },
    )
    return *split(found.x), found


def main():
    try:
        find_compiler()
        target = "c"
    except CompilerNotFoundError as error:
        target = "numpy"
        print(f"No C compiler, so NumPy: {error}\n")

    rng = np.random.default_rng(0)
    functions = compiled(target)
    fly = gs.compile(flight, args=((12,), (4,), (4,)), target=target)
    now, goal = np.zeros(12), np.array([1.0, 0.5, 1.0])
    x, u = np.tile(now, (HORIZON + 1, 1)), np.full((HORIZON + 1, 4), HOVER)
    unknowns = x.size + u.size
    jacobian = hstack(functions[1].jacobian(x, u, now))
    hessian = block_array(functions[2].hessian(x, u, x))
    print(f"{unknowns} unknowns, {x.size} equations. Computed are {jacobian.nnz} entries of the Jacobian")
    print(f"(of {x.size * unknowns}) and {hessian.nnz} of the Hessian of the Lagrangian (of {unknowns**2}).\n")

    print(" time   position             tilt   iterations   plan's cost")
    for k in range(STEPS):
        x, u, found = plan(functions, now, goal, np.concatenate([x.ravel(), u.ravel()]))
        assert found.constr_violation < 1e-4, found.message
        tilt = np.degrees(np.hypot(now[3], now[4]))
        print(f"{k * H:>5.1f}  {now[0]:>5.2f} {now[1]:>5.2f} {now[2]:>5.2f}{tilt:>11.1f}", end="")
        print(f"{found.nit:>13}{found.fun:>14.4f}")
        now = np.array(fly(now, u[0], u[1])) + rng.normal(0.0, 0.003, 12)  # the air is not quite still
        x, u = np.vstack([x[1:], x[-1:]]), np.vstack([u[1:], u[-1:]])  # the next plan begins where this one would go on
    print(f"\nfrom the goal: {np.linalg.norm(now[:3] - goal):.3f} m after {STEPS * H:.1f} s")
    assert np.linalg.norm(now[:3] - goal) < 0.15


if __name__ == "__main__":
    main()
