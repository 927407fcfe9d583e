"""An LSTM learns to add: it sees two rows, and adds up the numbers of the first where the second has a mark.

The sequence is a `scan`: in the generated code a loop over the steps, and in its gradient a loop back over them. The
lines of code do not grow with the steps, but for the kernels that long products take. The memory of the gradient, which
keeps the state of each step, does, unless `checkpoint=` has it keep some states only. Without a C compiler NumPy takes
its place.
"""

import numpy as np

import gradsmith as gs
from gradsmith_runtime import CompilerNotFoundError, find_compiler

STEPS, BATCH, HIDDEN = 12, 32, 16


def step(p, state, x):
    """One step of an LSTM: the state (h, c) and the input (B, I) make the new state."""
    h, c = state
    gates = x @ p["W"] + h @ p["U"] + p["b"]
    i, f, o = (gs.sigmoid(gates[:, k * c.shape[1] : (k + 1) * c.shape[1]]) for k in range(3))
    c = f * c + i * gs.tanh(gates[:, 3 * c.shape[1] :])
    return o * gs.tanh(c), c


def loss(p, xs, y, checkpoint=None):
    """Mean squared error of what the last state says, after inputs `xs` (T, B, I)."""
    nothing = gs.zeros((xs.shape[1], p["U"].shape[0]))
    (h, _), _ = gs.scan(lambda state, x: (step(p, state, x), None), (nothing, nothing), xs, checkpoint=checkpoint)
    return gs.mean((h @ p["v"] - y) ** 2)


def parameters(rng, hidden=HIDDEN, inputs=2):
    draw = lambda *shape: rng.normal(0.0, 1 / np.sqrt(shape[0]), shape)
    b = np.zeros(4 * hidden)
    b[hidden : 2 * hidden] = 1.0  # gates that forget start open
    return {"U": draw(hidden, 4 * hidden), "W": draw(inputs, 4 * hidden), "b": b, "v": draw(hidden)}


def additions(rng, steps=STEPS, batch=BATCH):
    """A batch of sequences, each with two marks, and the sums of the marked numbers."""
    numbers = rng.uniform(-1.0, 1.0, (steps, batch))
    marks = np.zeros((steps, batch))
    half = steps // 2
    marks[rng.integers(half, size=batch), np.arange(batch)] = 1.0
    marks[half + rng.integers(steps - half, size=batch), np.arange(batch)] = 1.0
    return np.stack([numbers, marks], axis=2), np.sum(numbers * marks, axis=0)


def train(value_and_grad, p, rng, updates, rate=0.01):
    """Adam; the losses on the way, and the parameters."""
    mean = {name: np.zeros_like(p[name]) for name in p}
    square = {name: np.zeros_like(p[name]) for name in p}
    losses = []
    for t in range(1, updates + 1):
        value, gradient = value_and_grad(p, *additions(rng))
        losses.append(float(value))
        for name, g in gradient.items():
            g = np.asarray(g)
            mean[name] += 0.1 * (g - mean[name])
            square[name] += 0.001 * (g * g - square[name])
            ahead = mean[name] / (1 - 0.9**t)
            p = {**p, name: p[name] - rate * ahead / (np.sqrt(square[name] / (1 - 0.999**t)) + 1e-8)}
    return losses, p


def main():
    try:
        find_compiler()
        target = "c"
    except CompilerNotFoundError as error:
        target = "numpy"
        print(f"No C compiler, so NumPy: {error}\n")

    rng = np.random.default_rng(0)
    p = parameters(rng)
    f = gs.compile(loss, args=(p, *additions(rng)), wrt="p", target=target)
    losses, p = train(f.value_and_grad, p, rng, updates=600)
    print(f"{STEPS} steps, {HIDDEN} cells, batches of {BATCH}; always saying 0 has a loss of 2/3")
    for k in (0, 100, 200, 400, 600):
        print(f"  after {k:>3} updates: loss {np.mean(losses[max(0, k - 20) : k + 1]):.4f}")
    xs, y = additions(np.random.default_rng(1))
    print(f"  new sequences:     loss {f(p, xs, y):.4f}")
    assert f(p, xs, y) < 0.05

    print("\nThe gradient in C:   steps   lines   workspace in kB, and with checkpoint='sqrt'")
    for steps in (10, 100, 1000):
        given = {
            "args": (p, *additions(rng, steps, 1)),
            "wrt": "p",
            "target": "c",
            "derivatives": "grad",
            "selftest": False,
        }
        g = gs.compile(loss, **given)
        thrifty = gs.compile(lambda p, xs, y: loss(p, xs, y, "sqrt"), name="loss", **given)
        sizes = [f"{each.workspace['grad'] / 1000:>10.1f}" for each in (g, thrifty)]
        print(f"{steps:>26}{len(g.source.splitlines()):>8}{''.join(sizes)}")


if __name__ == "__main__":
    main()
