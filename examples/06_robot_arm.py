"""Inverse kinematics: SciPy bends a planar arm of six links to a goal, with the gradient generated as C.

The cost is the squared distance of the tip from the goal, plus a little for bent joints, which picks one of the many
solutions. Without a C compiler the generated Python takes its place.
"""

import numpy as np
from scipy.optimize import minimize

import gradsmith as gs
from gradsmith_runtime import CompilerNotFoundError, find_compiler

LINKS = (0.5, 0.45, 0.4, 0.3, 0.2, 0.1)  # metres


def tip(q):
    """Where the arm ends, for joint angles `q` in radians."""
    angle = q[0]
    x, y = LINKS[0] * gs.cos(angle), LINKS[0] * gs.sin(angle)
    for length, joint in zip(LINKS[1:], q[1:], strict=True):
        angle = angle + joint
        x = x + length * gs.cos(angle)
        y = y + length * gs.sin(angle)
    return x, y


def distance(q, goal):
    """Squared distance of the tip of a six-link arm from a goal."""
    x, y = tip(q)
    return (x - goal[0]) ** 2 + (y - goal[1]) ** 2


def cost(q, goal):
    """Squared distance of the tip from a goal, plus a little for bent joints."""
    return distance(q, goal) + 1e-6 * gs.sum(q**2)


try:
    find_compiler()
    target = "c"
except CompilerNotFoundError as error:
    target = "python"
    print(f"No C compiler, so Python: {error}\n")

arm = gs.compile(cost, args=((6,), (2,)), wrt="q", target=target)
where = gs.compile(tip, args=((6,),), derivatives="value")
start = np.full(6, 0.1)

print("goal            iterations   evaluations   error in mm   joint angles in degrees")
for goal in [(0.5, 1.0), (-0.8, 0.6), (1.2, -0.9), (0.0, -1.5)]:
    # jac=True: one call returns the value and its gradient
    found = minimize(arm.value_and_grad, start, args=(np.array(goal),), jac=True, method="BFGS")
    error = np.hypot(*(np.array(where(found.x)) - goal))
    angles = " ".join(f"{a:4.0f}" for a in np.degrees(found.x))
    print(f"({goal[0]:4.1f}, {goal[1]:4.1f}){found.nit:>14}{found.nfev:>14}{1e3 * error:>14.3f}   {angles}")
    assert error < 1e-4

without = minimize(arm, start, args=(np.array([0.5, 1.0]),), method="BFGS")
print(f"\nWithout a gradient SciPy evaluates the cost {without.nfev} times for the first goal, by differences.")

# What it costs: the distance alone, as the literature counts it
bare = gs.compile(distance, args=((6,), (2,)), wrt="q", target=target)
print(f"\nOperations, target {target}:\n{bare.cost}")
print(f"\nThe gradient by six angles takes {bare.cost.arithmetic('grad')} additions, subtractions and multiplications,")
print(f"and value and gradient together {bare.cost.arithmetic('value_and_grad')}, beside 6 sines and 6 cosines.")
