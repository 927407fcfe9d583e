"""The benchmark expressions, each written once for every library that has numbers with operators and functions.

A program takes `m`, where the functions are (`m.sin`, `m.sqrt`, …), and lists of scalars, one a parameter; it returns a
scalar. `Program.wrt` names the parameters to differentiate by. Array forms of two of them are for gradsmith alone, and
have to cost the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["PROGRAMS", "Program"]


@dataclass(frozen=True)
class Program:
    """One expression: a function of `m` and of one list of scalars (or one array) a parameter."""

    name: str
    function: Callable[..., Any]
    sizes: dict[str, int]  # parameter -> number of scalars
    wrt: tuple[str, ...]
    array: Callable[..., Any] | None = None  # the same of gradsmith's arrays


def speelpenning(m: Any, x: list[Any]) -> Any:
    """x1*x2*…*xn, the example of Griewank and Walther."""
    product = x[0]
    for factor in x[1:]:
        product = product * factor
    return product


def arm(m: Any, q: list[Any], lengths: list[Any]) -> Any:
    """Squared distance of the tip of a planar arm from a goal."""
    angle, x, y = q[0], lengths[0] * m.cos(q[0]), lengths[0] * m.sin(q[0])
    for length, joint in zip(lengths[1:], q[1:], strict=True):
        angle = angle + joint
        x = x + length * m.cos(angle)
        y = y + length * m.sin(angle)
    dx, dy = x - 1.5, y - 2.5
    return dx * dx + dy * dy


LENGTHS = [0.5, 0.45, 0.4, 0.3, 0.2, 0.1]


def given_arm(m: Any, q: list[Any]) -> Any:
    return arm(m, q, LENGTHS)


def arm_of_arrays(gs: Any, q: Any, lengths: Any) -> Any:
    angle = [gs.sum(q[: i + 1]) for i in range(len(q))]
    a = gs.stack(angle)
    x, y = gs.sum(lengths * gs.cos(a)), gs.sum(lengths * gs.sin(a))
    return (x - 1.5) ** 2 + (y - 2.5) ** 2


def given_arm_of_arrays(gs: Any, q: Any) -> Any:
    import numpy as np

    return arm_of_arrays(gs, q, np.array(LENGTHS))


def rosenbrock(m: Any, x: list[Any]) -> Any:
    total = None
    for a, b in itertools.pairwise(x):
        u, v = b - a * a, 1.0 - a
        term = 100.0 * (u * u) + v * v
        total = term if total is None else total + term
    return total


def rosenbrock_of_arrays(gs: Any, x: Any) -> Any:
    a, b = x[:-1], x[1:]
    return gs.sum(100.0 * (b - a**2) ** 2 + (1.0 - a) ** 2)


def black_scholes(m: Any, price: list[Any]) -> Any:
    """The price of a European call, for spot, strike, rate, volatility and time."""
    s, k, r, sigma, t = price
    spread = sigma * m.sqrt(t)
    d1 = (m.log(s / k) + (r + 0.5 * (sigma * sigma)) * t) / spread
    d2 = d1 - spread

    def normal(d: Any) -> Any:
        return 0.5 * (1.0 + m.erf(d / math.sqrt(2.0)))

    return s * normal(d1) - k * m.exp(-(r * t)) * normal(d2)


def network(m: Any, x: list[Any], W: list[Any], b: list[Any], v: list[Any], c: list[Any], t: list[Any]) -> Any:
    """Squared error of a network with one hidden layer of tanh."""
    y = c[0]
    for i, bias in enumerate(b):
        a = bias
        for j, xj in enumerate(x):
            a = a + W[len(x) * i + j] * xj
        y = y + v[i] * m.tanh(a)
    e = y - t[0]
    return e * e


def network_of_arrays(gs: Any, x: Any, W: Any, b: Any, v: Any, c: Any, t: Any) -> Any:
    y = v @ gs.tanh(W.reshape((8, 4)) @ x + b) + c[0]
    return (y - t[0]) ** 2


def seed(m: Any, x: list[Any]) -> Any:
    return x[0] * x[1] + x[1] + m.tanh(x[0])


SEGMENTS = [0.34, 0.4, 0.4, 0.126, 0.3, 0.25, 0.2]  # metres


def spatial_arm(m: Any, q: list[Any]) -> Any:
    """Squared distance of the tip of an arm in space from a goal; its joints turn about z and y by turns.

    Each joint is followed by a segment along the z axis of its frame, whose axes are `x`, `y` and `z`.
    """
    x, y, z = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
    tip = [-0.3, -0.2, -0.9]
    for k, (angle, length) in enumerate(zip(q, SEGMENTS, strict=True)):
        c, s = m.cos(angle), m.sin(angle)
        if k % 2 == 0:
            x, y = (
                [c * a + s * b for a, b in zip(x, y, strict=True)],
                [c * b - s * a for a, b in zip(x, y, strict=True)],
            )
        else:
            x, z = (
                [c * a - s * b for a, b in zip(x, z, strict=True)],
                [c * b + s * a for a, b in zip(x, z, strict=True)],
            )
        tip = [t + length * a for t, a in zip(tip, z, strict=True)]
    return tip[0] * tip[0] + tip[1] * tip[1] + tip[2] * tip[2]


def quaternion(m: Any, q: list[Any], v: list[Any], t: list[Any]) -> Any:
    """Squared distance of `t` from `v`, turned by the quaternion `q` of any length."""
    w, x, y, z = q
    n = w * w + x * x + y * y + z * z
    rows = (
        (w * w + x * x - y * y - z * z, 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)),
        (2.0 * (x * y + w * z), w * w - x * x + y * y - z * z, 2.0 * (y * z - w * x)),
        (2.0 * (x * z - w * y), 2.0 * (y * z + w * x), w * w - x * x - y * y + z * z),
    )
    total = None
    for row, goal in zip(rows, t, strict=True):
        e = (row[0] * v[0] + row[1] * v[1] + row[2] * v[2]) / n - goal
        total = e * e if total is None else total + e * e
    return total


def bundle(m: Any, p: list[Any]) -> list[Any]:
    """The residual of bundle adjustment in the form of ADBench: where a camera sees a point, less where it was seen.

    p: rotation vector (3), centre (3), focal length, principal point (2), radial distortion (2), point (3), weight,
    and the place in the picture (2).
    """
    r, centre, f, middle, k, point, w, seen = p[:3], p[3:6], p[6], p[7:9], p[9:11], p[11:14], p[14], p[15:17]
    x = [a - b for a, b in zip(point, centre, strict=True)]
    square = r[0] * r[0] + r[1] * r[1] + r[2] * r[2]
    angle = m.sqrt(square)
    c, a, b = m.cos(angle), m.sin(angle) / angle, (1.0 - m.cos(angle)) / square
    rx = r[0] * x[0] + r[1] * x[1] + r[2] * x[2]
    cross = [r[1] * x[2] - r[2] * x[1], r[2] * x[0] - r[0] * x[2], r[0] * x[1] - r[1] * x[0]]
    y = [c * x[i] + a * cross[i] + b * rx * r[i] for i in range(3)]
    u = [y[0] / y[2], y[1] / y[2]]
    r2 = u[0] * u[0] + u[1] * u[1]
    scale = f * (1.0 + k[0] * r2 + k[1] * (r2 * r2))
    return [w * (scale * u[i] + middle[i] - seen[i]) for i in range(2)]


PROGRAMS = [
    Program("Speelpenning, n = 8", speelpenning, {"x": 8}, ("x",), lambda gs, x: gs.prod(x)),
    Program("Speelpenning, n = 20", speelpenning, {"x": 20}, ("x",), lambda gs, x: gs.prod(x)),
    Program("arm, six links", arm, {"q": 6, "lengths": 6}, ("q",), arm_of_arrays),
    Program("arm, lengths given", given_arm, {"q": 6}, ("q",), given_arm_of_arrays),
    Program("Rosenbrock, n = 10", rosenbrock, {"x": 10}, ("x",), rosenbrock_of_arrays),
    Program("Black-Scholes call", black_scholes, {"price": 5}, ("price",)),
    Program(
        "network 4-8-1",
        network,
        {"x": 4, "W": 32, "b": 8, "v": 8, "c": 1, "t": 1},
        ("W", "b", "v", "c"),
        network_of_arrays,
    ),
]
