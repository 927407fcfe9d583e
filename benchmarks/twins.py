"""The models of the examples once more, by hand in torch, JAX and CasADi: what tests and benchmarks compare with.

Written from the formulas, with the libraries' own loops, and not from gradsmith's graphs. Each library is imported by
the functions that need it. The examples are loaded with `example("12_lstm")`, so that each model has one text only.
"""

from __future__ import annotations

import math
import runpy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@cache
def example(name: str) -> SimpleNamespace:
    """The functions of an example, which is not run."""
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / f"{name}.py")))


# --- torch ------------------------------------------------------------------------------------------------------------


def rosenbrock_torch(x: Any) -> Any:
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def gaussian_mixture_torch(p: Any, x: Any) -> Any:
    """By torch.distributions, which takes the mixture as it stands."""
    import torch
    from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

    rows, columns = map(torch.from_numpy, np.tril_indices(x.shape[1], -1))
    components = torch.arange(len(p["mu"]))[:, None]
    factor = torch.diag_embed(torch.exp(p["log_diagonal"])).index_put((components, rows, columns), p["below"])
    normal = MultivariateNormal(p["mu"], precision_matrix=factor @ factor.mT, validate_args=False)
    weights = Categorical(logits=p["alpha"], validate_args=False)
    return MixtureSameFamily(weights, normal, validate_args=False).log_prob(x).mean()


def project_torch(cameras: Any, points: Any) -> Any:
    """The rotation as a matrix exponential."""
    import torch

    x, y, z = cameras[:, :3].unbind(1)
    o = torch.zeros_like(x)
    generator = torch.stack([torch.stack(r, 1) for r in ((o, -z, y), (z, o, -x), (-y, x, o))], 1)
    turned = (torch.linalg.matrix_exp(generator) @ points[:, :, None])[:, :, 0] + cameras[:, 3:6]
    plane = -turned[:, :2] / turned[:, 2:]
    square = (plane**2).sum(1)
    return (cameras[:, 6] * (1.0 + cameras[:, 7] * square + cameras[:, 8] * square**2))[:, None] * plane


def lstm_torch(p: Any, xs: Any, y: Any) -> Any:
    """By torch's own LSTM; it orders the gates input, forget, cell, output, and has two biases."""
    import torch

    hidden = len(p["v"])
    order = torch.arange(4 * hidden).reshape(4, hidden)[[0, 1, 3, 2]].ravel()
    W, U, b = p["W"].T[order], p["U"].T[order], p["b"][order]
    start = torch.zeros(1, xs.shape[1], hidden, dtype=xs.dtype)
    weights = (W, U, b, torch.zeros_like(b))
    _, h, _ = torch.lstm(xs, (start, start), weights, True, 1, 0.0, False, False, False)
    return ((h[0] @ p["v"] - y) ** 2).mean()


def van_der_pol_torch(p: Any, measured: Any, steps: int, h: float) -> Any:
    import torch

    mu, omega, x = p
    state = torch.stack([x, torch.zeros_like(x)])
    slope = lambda s: torch.stack([s[1], mu * (1 - s[0] ** 2) * s[1] - omega**2 * s[0]])
    positions = []
    for _ in range(len(measured)):
        for _ in range(steps):
            k1 = slope(state)
            k2 = slope(state + h / 2 * k1)
            k3 = slope(state + h / 2 * k2)
            k4 = slope(state + h * k3)
            state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        positions.append(state[0])
    return ((torch.stack(positions) - measured) ** 2).mean()


def kmeans_torch(centres: Any, points: Any) -> Any:
    import torch

    return torch.cdist(points, centres).min(1).values.square().sum()


def quadrotor_torch(x: Any, u: Any) -> Any:
    """Newton's and Euler's equations: thrust along the body's axis, torques, turning rates to Euler angles."""
    import torch

    m = example("15_quadrotor")
    stack = lambda *rows: torch.stack([torch.stack(r, -1) for r in rows], -2)
    roll, pitch, yaw = x[:, 3:6].unbind(1)
    rates = x[:, 9:]
    o, one = torch.zeros_like(roll), torch.ones_like(roll)
    cr, sr, cp, sp, cy, sy = roll.cos(), roll.sin(), pitch.cos(), pitch.sin(), yaw.cos(), yaw.sin()
    turn = (
        stack((cy, -sy, o), (sy, cy, o), (o, o, one))
        @ stack((cp, o, sp), (o, one, o), (-sp, o, cp))
        @ stack((one, o, o), (o, cr, -sr), (o, sr, cr))
    )
    accelerated = turn[:, :, 2] * u.sum(1)[:, None] / m.MASS - torch.tensor([0.0, 0.0, m.GRAVITY], dtype=x.dtype)
    body = stack((one, o, -sp), (o, cr, sr * cp), (o, -sr, cr * cp))  # from the slopes of the angles to the rates
    angles = torch.linalg.solve(body, rates)
    inertia = torch.tensor(m.INERTIA, dtype=x.dtype)
    front, left, back, right = u.unbind(1)
    torque = torch.stack(
        [m.ARM * (left - right), m.ARM * (back - front), m.DRAG * (left - front + right - back)], 1
    ) - torch.linalg.cross(rates, inertia * rates)
    return torch.cat([x[:, 6:9], angles, accelerated, torque / inertia], 1)


def defects_torch(x: Any, u: Any, now: Any) -> Any:
    import torch

    change = quadrotor_torch(x, u)
    h = example("15_quadrotor").H
    return torch.cat([x[:1] - now, x[1:] - x[:-1] - h * (change[:-1] + change[1:]) / 2])


# --- JAX --------------------------------------------------------------------------------------------------------------


def gaussian_mixture_jax(p: Any, x: Any) -> Any:
    import jax
    import jax.numpy as jnp

    d = x.shape[1]
    rows, columns = np.tril_indices(d, -1)
    factor = jax.vmap(jnp.diag)(jnp.exp(p["log_diagonal"])).at[:, rows, columns].set(p["below"])
    white = jnp.einsum("kij,nki->nkj", factor, x[:, None, :] - p["mu"])
    each = jax.nn.log_softmax(p["alpha"]) + p["log_diagonal"].sum(1) - 0.5 * (white**2).sum(2)
    return jax.nn.logsumexp(each, axis=1).mean() - 0.5 * d * math.log(2 * math.pi)


def kmeans_jax(centres: Any, points: Any) -> Any:
    return ((points[:, None, :] - centres) ** 2).sum(2).min(1).sum()


def lstm_jax(p: Any, xs: Any, y: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def step(state: Any, x: Any) -> Any:
        h, c = state
        i, f, o, new = jnp.split(x @ p["W"] + h @ p["U"] + p["b"], 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(new)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    start = jnp.zeros((xs.shape[1], len(p["v"])))
    (h, _), _ = jax.lax.scan(step, (start, start), xs)
    return ((h @ p["v"] - y) ** 2).mean()


def van_der_pol_jax(p: Any, measured: Any, steps: int, h: float) -> Any:
    import jax
    import jax.numpy as jnp

    mu, omega, x = p
    slope = lambda s: jnp.stack([s[1], mu * (1 - s[0] ** 2) * s[1] - omega**2 * s[0]])

    def step(state: Any, _: Any) -> Any:
        k1 = slope(state)
        k2 = slope(state + h / 2 * k1)
        k3 = slope(state + h / 2 * k2)
        k4 = slope(state + h * k3)
        return state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

    def sample(state: Any, _: Any) -> Any:
        state, _ = jax.lax.scan(step, state, None, length=steps)
        return state, state[0]

    _, positions = jax.lax.scan(sample, jnp.stack([x, 0.0]), None, length=len(measured))
    return ((positions - measured) ** 2).mean()


# --- CasADi -----------------------------------------------------------------------------------------------------------


def rosenbrock_casadi(n: int) -> Any:
    """Its symbols, and the value."""
    import casadi as ca

    x = ca.SX.sym("x", n)
    return x, ca.sumsqr(10.0 * (x[1:] - x[:-1] ** 2)) + ca.sumsqr(1.0 - x[:-1])


def bundle_adjustment_casadi(cameras: int, points: int, which_camera: Any, which_point: Any) -> Any:
    """The symbols to differentiate by, the other ones, and the residuals."""
    import casadi as ca

    camera, point = ca.SX.sym("cameras", 9, cameras), ca.SX.sym("points", 3, points)
    observed = ca.SX.sym("observed", 2, len(which_camera))
    residuals = []
    for k, (i, j) in enumerate(zip(map(int, which_camera), map(int, which_point), strict=True)):
        r, x = camera[:3, i], point[:, j]
        angle = ca.sqrt(ca.sumsqr(r))
        axis = r / angle
        c = ca.cos(angle)
        turned = c * x + ca.sin(angle) * ca.cross(axis, x) + (1.0 - c) * ca.dot(axis, x) * axis + camera[3:6, i]
        plane = -turned[:2] / turned[2]
        square = ca.sumsqr(plane)
        focal, k1, k2 = camera[6, i], camera[7, i], camera[8, i]
        residuals.append(focal * (1.0 + square * (k1 + k2 * square)) * plane - observed[:, k])
    return ca.vertcat(ca.vec(camera), ca.vec(point)), ca.vec(observed), ca.vertcat(*residuals)


def defects_casadi(horizon: int) -> Any:
    """The symbols to differentiate by, the present state, and the equations."""
    import casadi as ca

    m = example("15_quadrotor")
    x, u, now = ca.SX.sym("x", 12, horizon + 1), ca.SX.sym("u", 4, horizon + 1), ca.SX.sym("now", 12)

    def dynamics(x: Any, u: Any) -> Any:
        roll, pitch, yaw, vx, vy, vz, p, q, r = (x[k] for k in range(3, 12))
        sr, cr, sp, cp = ca.sin(roll), ca.cos(roll), ca.sin(pitch), ca.cos(pitch)
        sy, cy = ca.sin(yaw), ca.cos(yaw)
        front, left, back, right = (u[k] for k in range(4))
        lift = (front + left + back + right) / m.MASS
        turn = (sr * q + cr * r) / cp
        I1, I2, I3 = m.INERTIA
        return ca.vertcat(
            *(vx, vy, vz, p + sp * turn, cr * q - sr * r, turn),
            *(lift * (cr * sp * cy + sr * sy), lift * (cr * sp * sy - sr * cy), lift * cr * cp - m.GRAVITY),
            (m.ARM * (left - right) + (I2 - I3) * q * r) / I1,
            (m.ARM * (back - front) + (I3 - I1) * p * r) / I2,
            (m.DRAG * (left + right - front - back) + (I1 - I2) * p * q) / I3,
        )

    change = [dynamics(x[:, k], u[:, k]) for k in range(horizon + 1)]
    steps = [x[:, k + 1] - x[:, k] - m.H / 2 * (change[k] + change[k + 1]) for k in range(horizon)]
    return ca.vertcat(ca.vec(x), ca.vec(u)), now, ca.vertcat(x[:, 0] - now, *steps)
