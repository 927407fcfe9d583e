"""A two-layer network that learns real handwritten digits by generated gradients, and follows torch step by step.

The loss is compiled once for NumPy and, where a compiler exists, once for C. Three runs of plain stochastic gradient
descent start from the same numbers and see the same batches: torch's autograd, the generated NumPy and the generated
C. Their loss curves agree at every step to rounding. Writes out/05_digits.png.
"""

import time
from pathlib import Path

import matplotlib
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import gradsmith as gs
from gradsmith_runtime import CompilerNotFoundError, find_compiler

matplotlib.use("Agg")
import matplotlib.pyplot as plt

torch.set_num_threads(1)  # the matrices are small: threads would only get in each other's way

BATCH, HIDDEN, EPOCHS, RATE = 128, 32, 80, 2.0


def loss(W1, b1, W2, b2, x, t):
    """Mean squared error of a two-layer network."""
    h = gs.relu(x @ W1 + b1)
    y = h @ W2 + b2
    return gs.mean((y - t) ** 2)


images, labels = load_digits(return_X_y=True)  # 1797 images of 8 by 8 pixels
x_train, x_test, train, test = train_test_split(images / 16.0, labels, test_size=0.25, random_state=0, stratify=labels)
t_train = np.eye(10)[train]

rng = np.random.default_rng(0)
start = (
    rng.normal(0.0, np.sqrt(2 / 64), (64, HIDDEN)),
    np.zeros(HIDDEN),
    rng.normal(0.0, np.sqrt(1 / HIDDEN), (HIDDEN, 10)),
    np.zeros(10),
)
batches = [
    order[i : i + BATCH]
    for order in (rng.permutation(len(train)) for _ in range(EPOCHS))
    for i in range(0, len(train) - BATCH + 1, BATCH)
]


def train_generated(value_and_grad):
    parameters, losses = start, []
    for batch in batches:
        value, gradients = value_and_grad(*parameters, x_train[batch], t_train[batch])
        parameters = [p - RATE * g for p, g in zip(parameters, gradients, strict=True)]
        losses.append(float(value))
    return np.array(losses), parameters


def train_torch():
    parameters, losses = [torch.tensor(p, requires_grad=True) for p in start], []
    optimizer = torch.optim.SGD(parameters, lr=RATE)
    x_all, t_all = torch.from_numpy(x_train), torch.from_numpy(t_train)
    for batch in batches:
        W1, b1, W2, b2 = parameters
        value = torch.nn.functional.mse_loss(torch.relu(x_all[batch] @ W1 + b1) @ W2 + b2, t_all[batch])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return np.array(losses), [p.detach().numpy() for p in parameters]


def accuracy(parameters, x, t):
    W1, b1, W2, b2 = parameters
    return np.mean(np.argmax(np.maximum(x @ W1 + b1, 0) @ W2 + b2, axis=1) == t)


targets = ["numpy", "c"]
try:
    find_compiler()
except CompilerNotFoundError as error:
    targets = ["numpy"]
    print(f"No C compiler, so NumPy only: {error}\n")

shapes = (*start, (BATCH, 64), (BATCH, 10))
functions = {t: gs.compile(loss, args=shapes, wrt=("W1", "b1", "W2", "b2"), target=t) for t in targets}
runs = {"torch": train_torch} | {
    f"gradsmith, {t}": lambda t=t: train_generated(functions[t].value_and_grad) for t in targets
}
for f in functions.values():
    f.value_and_grad(*start, x_train[:BATCH], t_train[:BATCH])  # load or build it now, so that training is timed alone

print(f"{len(train)} digits to learn from, {len(test)} to be tested on; {len(batches)} steps of {BATCH} digits each\n")
print("                  first loss   last loss   accuracy   seconds   worst difference to torch")
curves = {}
for name, run in runs.items():
    began = time.perf_counter()
    curves[name], learnt = run()
    seconds = time.perf_counter() - began
    worst = np.max(np.abs(curves[name] - curves["torch"]))
    assert worst < 1e-12, f"{name} leaves torch's curve by {worst}"
    print(
        f"{name:<18}{curves[name][0]:>10.6f}{curves[name][-1]:>12.6f}{accuracy(learnt, x_test, test):>10.1%}"
        f"{seconds:>10.2f}{f'{worst:.1e}' if name != 'torch' else '':>28}"
    )
print("\nEvery step agrees with torch to rounding.")

figure, axes = plt.subplot_mosaic(
    [["curve", "digits"], ["difference", "digits"]],
    figsize=(11, 4.6),
    width_ratios=(1.4, 1),
    height_ratios=(3, 1),
    layout="constrained",
)
looks = {"torch": ("#b9d7ea", "-", 4), "gradsmith, numpy": ("#0072b2", "-", 1.4), "gradsmith, c": ("#d55e00", ":", 1.4)}
for name, curve in curves.items():
    color, style, width = looks[name]
    axes["curve"].semilogy(curve, style, color=color, linewidth=width, label=name)
    if name != "torch":
        axes["difference"].plot(curve - curves["torch"], ".", color=color, markersize=2)
axes["curve"].set(ylabel="mean squared error", title="Three runs, one curve", xticklabels=[])
axes["curve"].legend(frameon=False)
axes["difference"].set(xlabel="step", ylabel="minus torch")
for axis in (axes["curve"], axes["difference"]):
    axis.spines[["top", "right"]].set_visible(False)

tiles = [np.pad(image.reshape(8, 8), ((3, 1), (1, 1))) for image in x_test[:24]]  # room for a label above each
axes["digits"].imshow(np.vstack([np.hstack(tiles[row : row + 6]) for row in range(0, 24, 6)]), cmap="Greys")
axes["digits"].set(title="Digits it has not seen, and what it reads")
axes["digits"].axis("off")
W1, b1, W2, b2 = learnt
for k, guess in enumerate(np.argmax(np.maximum(x_test[:24] @ W1 + b1, 0) @ W2 + b2, axis=1)):
    color = "#0072b2" if guess == test[k] else "#d55e00"
    axes["digits"].text(
        10 * (k % 6) + 4.5, 12 * (k // 6) + 1.2, guess, color=color, ha="center", va="center", weight="bold"
    )
Path("out").mkdir(exist_ok=True)
figure.savefig("out/05_digits.png", dpi=120)
print("wrote out/05_digits.png")
