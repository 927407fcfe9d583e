"""micrograd's own demonstrations, compiled: the expression of its README and the small network of its notebook.

micrograd builds a graph of Python objects at each evaluation and walks it
back. Here the same Python functions are traced once; what runs is generated code. The numbers are the same.
"""

import random
import time

import numpy as np
from sklearn.datasets import make_moons

import gradsmith as gs


def readme(a, b):
    """The expression of micrograd's README."""
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + gs.relu(b + a)
    d += 3 * d + gs.relu(b - a)
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    return g


f = gs.compile(readme)
g, (a_grad, b_grad) = f.value_and_grad(-4.0, 2.0)
print("The README's expression at a = -4, b = 2      micrograd's README")
print(f"  g.data   {g:.4f}                            24.7041")
print(f"  a.grad  {a_grad:.4f}                           138.8338")
print(f"  b.grad  {b_grad:.4f}                           645.5773")


# --- the notebook: 100 points of two moons, a network 2-16-16-1, max-margin loss, 100 steps ---

np.random.seed(1337)  # noqa: NPY002  as the notebook does
random.seed(1337)
points, labels = make_moons(n_samples=100, noise=0.1)
signs = labels * 2.0 - 1.0

layers = []  # drawn in the notebook's order: neuron by neuron
for inputs, outputs in ((2, 16), (16, 16), (16, 1)):
    weights = [[random.uniform(-1, 1) for _ in range(inputs)] for _ in range(outputs)]
    layers.append({"W": np.array(weights).T, "b": np.zeros(outputs)})


def score(layers, x):
    for k, layer in enumerate(layers):
        y = x @ layer["W"] + layer["b"]
        x = gs.relu(y) if k < len(layers) - 1 else y
    return y[:, 0]


def loss(layers, x, signs):
    """Max-margin loss of a small network, with a penalty on its weights."""
    data = gs.mean(gs.relu(1.0 - signs * score(layers, x)))
    penalty = 1e-4 * sum(gs.sum(layer["W"] ** 2) + gs.sum(layer["b"] ** 2) for layer in layers)
    return data + penalty


network = gs.compile(loss, args=(layers, points, signs), wrt="layers", target="numpy")
scores = gs.compile(score, args=(layers, points), target="numpy")

print(f"\nThe notebook's network, {sum(p.size for layer in layers for p in layer.values())} parameters")
published = {0: 0.8958441028683222, 99: 0.010978370135492717}
began = time.perf_counter()
for step in range(100):
    value, gradient = network.value_and_grad(layers, points, signs)
    right = np.mean((scores(layers, points) > 0) == (signs > 0))
    if step % 20 == 0 or step == 99:
        note = f"   micrograd: {published[step]}" if step in published else ""
        print(f"  step {step:>2}   loss {float(value):<20}   accuracy {right:.0%}{note}")
    if step in published:
        assert abs(value - published[step]) < 1e-12
    rate = 1.0 - 0.9 * step / 100
    layers = [
        {k: p - rate * g for (k, p), g in zip(layer.items(), slopes.values(), strict=True)}
        for layer, slopes in zip(layers, gradient, strict=True)
    ]
print(f"  100 steps in {time.perf_counter() - began:.2f} seconds, the building of the module included")
