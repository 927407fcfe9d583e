"""Networks and losses are torch.nn.functional's: value, gradient and second derivative, by every differentiable argument.

Each family compiles all its programs for every target (C as one library) and lists all that differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import gradsmith as gs
from gradsmith.derive.adjoint import gradient
from gradsmith.registry import OPS
from gradsmith.trace import apply

from . import harness
from .harness import COMPILERS, TARGETS, Runners, compiled, contracted, distance, joint

inf, nan = math.inf, math.nan
LIMIT = 64  # in units of eps times the largest number of an array


@dataclass(frozen=True)
class Case:
    """The same call of both libraries: `ours` on symbols, `theirs` on tensors, and what to call them with."""

    label: str
    inputs: Sequence[Any]
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    second: bool = True


Family = Iterator[Case]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Distinct numbers in [-1.5, 1.5], in no order."""
    size = math.prod(shape)
    return ((np.arange(size) * 0.6180339887498949 + 0.37 * seed + 0.11) % 1.0 * 3.0 - 1.5).reshape(shape)


def probabilities(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers in [0.1, 0.9]."""
    return 0.5 + numbers(*shape, seed=seed) * 0.8 / 3.0


def same(name: str, *arguments: Any, **options: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The function `name` of both libraries, with arguments and options behind the traced ones."""
    plain = {k: v for k, v in options.items() if not isinstance(v, np.ndarray)}
    given = {k: v for k, v in options.items() if isinstance(v, np.ndarray)}
    return (
        lambda *xs: getattr(gs, name)(*xs, *arguments, **options),
        lambda *ts: getattr(F, name)(
            *ts,
            *(torch.as_tensor(a) if isinstance(a, np.ndarray) else a for a in arguments),
            **plain,
            **{k: torch.as_tensor(v) for k, v in given.items()},
        ),
    )


# --- the families ---------------------------------------------------------------------------------------------------

POINTS = np.array([-30.0, -6.5, -2.2, -1.0, -0.3, -1e-3, 1e-3, 0.4, 1.0, 2.9, 3.1, 5.0, 7.0, 18.0])
KINKS = np.array([-3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0, 6.0])


def activations() -> Family:
    calls: list[tuple[str, dict[str, Any]]] = [
        ("relu", {}), ("relu6", {}), ("leaky_relu", {}), ("leaky_relu", {"negative_slope": 0.3}), ("elu", {}),
        ("elu", {"alpha": 0.5}), ("selu", {}), ("celu", {}), ("celu", {"alpha": 2.0}), ("gelu", {}),
        ("gelu", {"approximate": "none"}), ("silu", {}), ("mish", {}), ("hardtanh", {}),
        ("hardtanh", {"min_val": -0.5, "max_val": 3.0}), ("hardswish", {}), ("softplus", {"threshold": 20.0}),
        ("softplus", {"beta": 3.0, "threshold": 1.5}), ("softsign", {}), ("logsigmoid", {}), ("tanhshrink", {}),
    ]  # fmt: skip
    smooth = ("gelu", "silu", "mish", "softplus", "softsign", "logsigmoid", "tanhshrink")
    for name, options in calls:
        ours, theirs = same(name, **options)
        yield Case(f"{name} {options}", [POINTS[1:]], ours, theirs)
        if name not in smooth:
            yield Case(f"{name} {options} at kinks", [KINKS], ours, theirs, second=False)
    yield Case("gelu tanh", [POINTS[2:]], *same("gelu", approximate="tanh"))
    yield Case("gelu of a matrix", [numbers(2, 3)], *same("gelu"))
    for dim in (0, 1, -1):
        yield Case(
            f"log_softmax {dim}",
            [numbers(2, 3)],
            lambda x, d=dim: gs.log_softmax(x, d),
            same("log_softmax", dim=dim)[1],
        )


def distances() -> Family:
    x, t = numbers(2, 3), numbers(2, 3, seed=1)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("mse_loss", {}), ("l1_loss", {}), ("huber_loss", {}), ("huber_loss", {"delta": 0.3}), ("smooth_l1_loss", {}),
        ("smooth_l1_loss", {"beta": 0.3}), ("smooth_l1_loss", {"beta": 0.0}),
    ]  # fmt: skip
    for name, options in calls:
        for reduction in ("mean", "sum", "none"):
            yield Case(f"{name} {options} {reduction}", [x, t], *same(name, reduction=reduction, **options))
    yield Case("mse_loss of equals", [x, x], *same("mse_loss"))
    yield Case("l1_loss of equals", [x, x], *same("l1_loss"), second=False)
    for name in ("huber_loss", "smooth_l1_loss"):
        yield Case(f"{name} at the kink", [np.array([1.0, -1.0, 0.0]), np.zeros(3)], *same(name), second=False)
    v = probabilities(2, 3, seed=2)
    for reduction in ("mean", "sum", "none"):
        yield Case(f"gaussian_nll_loss {reduction}", [x, t, v], *same("gaussian_nll_loss", reduction=reduction))
    yield Case("gaussian_nll_loss full", [x, t, v], *same("gaussian_nll_loss", full=True))
    yield Case("gaussian_nll_loss of rows", [x, t, v[:, 0]], *same("gaussian_nll_loss"))
    yield Case("gaussian_nll_loss of columns", [x, t, v[:, :1]], *same("gaussian_nll_loss", eps=0.4))
    yield Case("gaussian_nll_loss of 0", [x, t, 0.0 * v], *same("gaussian_nll_loss", eps=1e-3), second=False)


def two_classes() -> Family:
    x, t = probabilities(2, 3), probabilities(2, 3, seed=1)
    logits = 9.0 * numbers(2, 3)
    for reduction in ("mean", "sum", "none"):
        ours, theirs = same(
            "binary_cross_entropy", reduction=reduction
        )  # torch's second derivative has a bias of 1e-12
        yield Case(f"binary_cross_entropy {reduction}", [x, t], ours, theirs, second=False)
        yield Case(
            f"with_logits {reduction}", [logits, t], *same("binary_cross_entropy_with_logits", reduction=reduction)
        )
    for name, at in (("binary_cross_entropy", x), ("binary_cross_entropy_with_logits", logits)):
        ours, theirs = getattr(gs, name), getattr(F, name)
        w = numbers(3, seed=4)
        yield Case(f"{name} weight", [at, t], *same(name, weight=w), second=False)
        yield Case(
            f"{name} traced weight",
            [at, t, np.abs(numbers(2, 3))],
            lambda x, t, w, f=ours: f(x, t, w),
            lambda x, t, w, f=theirs: (w * f(x, t, reduction="none")).mean(),
            False,
        )
    yield Case("with_logits pos_weight", [logits, t], *same("binary_cross_entropy_with_logits", pos_weight=w * w))


def many_classes() -> Family:
    for shape in ((4,), (3, 4), (2, 3, 2)):
        x = numbers(*shape)
        c = shape[1] if len(shape) > 1 else shape[0]
        samples = (shape[0], *shape[2:]) if len(shape) > 1 else ()
        target = np.asarray((np.arange(math.prod(samples)) * 7 + 2) % c).reshape(samples)
        ignoring = target.copy()
        if ignoring.ndim:
            ignoring.flat[0] = -100
        w = np.abs(numbers(c, seed=3)) + 0.1
        soft = probabilities(*shape, seed=5)
        for reduction in ("mean", "sum", "none") if len(shape) == 2 else ("mean",):  # it knows nothing of the shape
            options, mean = {"reduction": reduction}, reduction == "mean"  # second derivatives once are enough
            yield Case(f"nll_loss {shape} {reduction}", [x], *same("nll_loss", target, **options), mean)
            yield Case(
                f"nll_loss weight {shape} {reduction}", [x], *same("nll_loss", ignoring, weight=w, **options), mean
            )
            yield Case(f"cross_entropy {shape} {reduction}", [x], *same("cross_entropy", target, **options), mean)
            for smoothing in (0.0, 0.2):
                extra = {**options, "label_smoothing": smoothing}
                yield Case(
                    f"cross_entropy weight {shape} {extra}",
                    [x],
                    *same("cross_entropy", ignoring, weight=w, **extra),
                    mean,
                )
                yield Case(
                    f"cross_entropy ignoring {shape} {extra}", [x], *same("cross_entropy", ignoring, **extra), mean
                )
                yield Case(f"cross_entropy soft {shape} {extra}", [x, soft], *same("cross_entropy", **extra), mean)
                yield Case(
                    f"cross_entropy soft weight {shape} {extra}",
                    [x, soft],
                    *same("cross_entropy", weight=w, **extra),
                    mean,
                )
    x, target = numbers(3, 4), np.array([1, 0, 3])
    yield Case("nll_loss ignore_index=0", [x], *same("nll_loss", target, ignore_index=0))
    yield Case(
        "cross_entropy traced weight", [x, np.abs(numbers(4, seed=3)) + 0.1],
        lambda x, w: gs.cross_entropy(x, target, w, label_smoothing=0.3),
        lambda x, w: _smoothed(x, torch.as_tensor(target), w, 0.3),
    )  # fmt: skip
    t = probabilities(3, 4, seed=2)
    for reduction in ("mean", "sum", "none", "batchmean"):
        yield Case(f"kl_div {reduction}", [x, t], *same("kl_div", reduction=reduction))
        yield Case(f"kl_div log {reduction}", [x, t], *same("kl_div", reduction=reduction, log_target=True))


def _smoothed(x: Any, target: Any, w: Any, smoothing: float) -> Any:
    """cross_entropy with a gradient to the weight, which torch refuses."""
    logp, used = torch.log_softmax(x, 1), w[target]
    hard = -(logp.gather(1, target[:, None])[:, 0] * used).sum() / used.sum()
    return (1 - smoothing) * hard - smoothing / x.shape[1] * (logp * w).sum() / used.sum()


def layers() -> Family:
    x, w, b = numbers(2, 3), numbers(4, 3, seed=1), numbers(4, seed=2)
    yield Case("linear", [x, w, b], gs.linear, F.linear)
    yield Case("linear without bias", [x, w], gs.linear, F.linear)
    yield Case("linear of a vector", [x[0], w, b], gs.linear, F.linear)
    yield Case("linear of a stack", [numbers(2, 2, 3), w, b], gs.linear, F.linear)
    yield Case("linear to a scalar", [x, w[0]], gs.linear, F.linear)
    yield Case("layer_norm", [x], lambda x: gs.layer_norm(x, 3), lambda x: F.layer_norm(x, (3,)))
    one, two = numbers(3, seed=3), numbers(3, seed=4)
    for name, ours, theirs in (("layer_norm", gs.layer_norm, F.layer_norm), ("rms_norm", gs.rms_norm, F.rms_norm)):
        yield Case(f"{name} weight", [x, one], lambda x, w, f=ours: f(x, (3,), w), lambda x, w, f=theirs: f(x, (3,), w))
        yield Case(
            f"{name} eps", [x], lambda x, f=ours: f(x, (2, 3), eps=0.1), lambda x, f=theirs: f(x, (2, 3), eps=0.1)
        )
        yield Case(
            f"{name} stack", [numbers(2, 2, 3)], lambda x, f=ours: f(x, (2, 3)), lambda x, f=theirs: f(x, (2, 3))
        )
    yield Case(
        "layer_norm affine",
        [x, one, two],
        lambda x, w, b: gs.layer_norm(x, [3], w, b),
        lambda x, w, b: F.layer_norm(x, (3,), w, b),
    )
    m, v = numbers(3, seed=5), probabilities(3, seed=6)
    for shape in ((2, 3), (2, 3, 2), (2, 3, 2, 2)):
        y = numbers(*shape)
        yield Case(f"batch_norm {shape}", [y, m, v, one, two], gs.batch_norm, _batch_norm)
        yield Case(f"batch_norm plain {shape}", [y, m, v], gs.batch_norm, _batch_norm)
        yield Case(
            f"batch_norm training {shape}", [y, one, two],
            lambda x, w, b: gs.batch_norm(x, None, None, w, b, training=True, eps=1e-2),
            lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True, eps=1e-2),
        )  # fmt: skip
    for groups in (1, 2, 4):
        yield Case(
            f"group_norm {groups}", [numbers(2, 4, 3), numbers(4, seed=1), numbers(4, seed=2)],
            lambda x, w, b, n=groups: gs.group_norm(x, n, w, b), lambda x, w, b, n=groups: F.group_norm(x, n, w, b),
        )  # fmt: skip
    rows = np.array([[0, 2], [1, 2]])
    table = numbers(4, 3)
    for padding in (None, 2, -2):
        yield Case(
            f"embedding {padding}", [table], lambda w, p=padding: gs.embedding(rows, w, p),
            lambda w, p=padding: F.embedding(torch.as_tensor(rows), w, p), padding is None,
        )  # fmt: skip
    for dim in (0, 1, -1):
        ours, theirs = same("cosine_similarity", dim=dim)
        yield Case(f"cosine_similarity {dim}", [numbers(2, 3), numbers(2, 3, seed=1)], ours, theirs)
    yield Case("cosine_similarity broadcast", [numbers(2, 3), numbers(1, 3, seed=1)], *same("cosine_similarity"))
    yield Case(
        "cosine_similarity eps",
        [0.1 * numbers(2, 3), numbers(2, 3, seed=1)],
        *same("cosine_similarity", eps=1.0),
        False,
    )


def _batch_norm(x: Any, m: Any, v: Any, w: Any = 1.0, b: Any = 0.0) -> Any:
    """batch_norm with a gradient to the running statistics, which torch refuses."""
    along = (1, 3, *(1,) * (x.ndim - 2))
    y = F.batch_norm(x, m.detach(), v.detach())
    assert torch.allclose(y, (x - m.reshape(along)) / torch.sqrt(v + 1e-5).reshape(along), rtol=1e-13)
    y = (x - m.reshape(along)) / torch.sqrt(v + 1e-5).reshape(along)
    return y if isinstance(w, float) else y * w.reshape(along) + b.reshape(along)


def attention() -> Family:
    q, k, v = numbers(3, 2), numbers(4, 2, seed=1), numbers(4, 3, seed=2)
    name = "scaled_dot_product_attention"
    yield Case("plain", [q, k, v], *same(name))
    yield Case("scale", [q, k, v], *same(name, scale=0.3))
    yield Case("causal", [q, k, v], *same(name, is_causal=True))
    yield Case("causal, tall", [k, q, v[:3]], *same(name, is_causal=True))
    seen = (np.arange(12) * 7 % 3 > 0).reshape(3, 4)
    yield Case("boolean mask", [q, k, v], *same(name, attn_mask=seen))
    yield Case("boolean mask of columns", [q, k, v], *same(name, attn_mask=np.array([True, False, True, True])))
    yield Case(
        "additive mask",
        [q, k, v, numbers(3, 4, seed=3)],
        gs.scaled_dot_product_attention,
        F.scaled_dot_product_attention,
    )
    yield Case("additive mask of -inf", [q, k, v], *same(name, attn_mask=np.where(seen, 0.5, -inf)))
    heads = [numbers(2, 2, 2, 2, seed=i) for i in range(3)]
    yield Case("heads", heads, *same(name, is_causal=True))
    seen = seen.copy()
    seen[1] = False
    yield Case("a row that sees nothing", [q, k, v], *same(name, attn_mask=seen))
    yield Case("a row that sees nothing, additive", [q, k, v], *same(name, attn_mask=np.where(seen, 0.0, -inf)))


def convolutions() -> Family:
    lines, taps, bias = numbers(2, 4, 6), numbers(4, 4, 3, seed=1), numbers(4, seed=2)
    options: list[dict[str, Any]] = [
        {}, {"stride": 2}, {"padding": 1}, {"padding": "same"}, {"padding": "valid", "dilation": 2},
        {"padding": "same", "dilation": 2}, {"stride": 3, "padding": 2, "dilation": 2}, {"stride": (2,), "padding": (1,)},
    ]  # fmt: skip
    for o in options:
        yield Case(f"conv1d {o}", [lines, taps, bias], *same("conv1d", **o))
    yield Case("conv1d without bias", [lines, taps], *same("conv1d"))
    yield Case("conv1d of one", [lines[0], taps, bias], *same("conv1d", padding=1))
    yield Case("conv1d even taps, same", [lines, taps[:, :, :2], bias], *same("conv1d", padding="same"))
    yield Case("conv1d whole", [lines[:, :, :3], taps, bias], *same("conv1d"))
    for groups in (2, 4):
        o = {"groups": groups, "stride": 2, "padding": 1}
        yield Case(f"conv1d {o}", [lines, taps[:, : 4 // groups], bias], *same("conv1d", **o))
    image, kernel, bias = numbers(1, 2, 5, 4), numbers(2, 2, 3, 2, seed=1), numbers(2, seed=2)
    options = [
        {}, {"stride": 2, "padding": 1}, {"stride": (1, 2), "padding": (2, 0)}, {"padding": "same"},
        {"padding": 1, "dilation": (2, 1)}, {"stride": (3, 2), "padding": (2, 1), "dilation": (1, 3)},
    ]  # fmt: skip
    for o in options:
        yield Case(f"conv2d {o}", [image, kernel, bias], *same("conv2d", **o))
    yield Case("conv2d depthwise", [image, kernel[:, :1], bias], *same("conv2d", groups=2, padding=1))
    yield Case("conv2d 1x1", [image, kernel[:, :, :1, :1]], *same("conv2d", stride=2))
    yield Case("conv2d of one", [image[0], kernel], *same("conv2d"))


def pooling() -> Family:
    line, image = numbers(2, 2, 7), numbers(1, 2, 5, 6)
    both: list[tuple[Any, dict[str, Any]]] = [
        (2, {}), (3, {"stride": 1}), (3, {"stride": 2, "padding": 1}), (2, {"stride": 3}), (4, {"padding": 2, "stride": 2}),
        (2, {"ceil_mode": True}), (3, {"stride": 2, "padding": 1, "ceil_mode": True}), (3, {"stride": 5, "ceil_mode": True}),
    ]  # fmt: skip
    for size, o in both:
        for name in ("max_pool1d", "avg_pool1d"):
            yield Case(f"{name} {size} {o}", [line], *same(name, size, **o))
        for name in ("max_pool2d", "avg_pool2d"):
            yield Case(f"{name} {size} {o}", [image], *same(name, size, **o), second=False)
        yield Case(f"avg_pool1d {size} {o} uncounted", [line], *same("avg_pool1d", size, **o, count_include_pad=False))
        yield Case(f"avg_pool2d {size} {o} uncounted", [image], *same("avg_pool2d", size, **o, count_include_pad=False))
    for name in ("max_pool1d", "avg_pool1d"):  # a last window that sees padding only does not count
        yield Case(f"{name} ends", [line[:, :, :5]], *same(name, 2, padding=1, ceil_mode=True))
    yield Case("max_pool1d dilation", [line], *same("max_pool1d", 3, stride=1, dilation=2))
    yield Case(
        "max_pool2d dilation", [image], *same("max_pool2d", (2, 3), stride=(2, 1), padding=(1, 1), dilation=(3, 1))
    )
    yield Case("avg_pool2d sizes", [image], *same("avg_pool2d", (3, 2), (1, 2), (1, 0)))
    yield Case("avg_pool2d divisor", [image], *same("avg_pool2d", 2, divisor_override=3))
    yield Case("max_pool2d of one", [image[0]], *same("max_pool2d", 2))
    yield Case("avg_pool1d of one", [line[0]], *same("avg_pool1d", 2))
    ties = np.array([[[1.0, 1.0, 0.0, 2.0, 2.0, 2.0, -1.0]]])
    for size in (2, 3, 7):
        yield Case(f"max_pool1d ties {size}", [ties], *same("max_pool1d", size, 1))
    yield Case("max_pool2d ties", [np.ones((1, 1, 4, 4))], *same("max_pool2d", 2, 1, 1))
    yield Case("max_pool1d inf", [np.array([[-inf, -inf, inf, 0.0]])], *same("max_pool1d", 2), second=False)
    yield Case(
        "a small network", [numbers(1, 1, 6, 6), numbers(2, 1, 3, 3), numbers(2), numbers(3, 8), numbers(3)],
        lambda x, k, b, w, c: gs.linear(
            gs.reshape(gs.max_pool2d(gs.silu(gs.conv2d(x, k, b)), 2), (1, 8)), w, c),
        lambda x, k, b, w, c: F.linear(F.max_pool2d(F.silu(F.conv2d(x, k, b)), 2).reshape(1, 8), w, c),
    )  # fmt: skip


FAMILIES = [activations, distances, two_classes, many_classes, layers, attention, convolutions, pooling]


# --- the comparison -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("ignore::UserWarning")
@torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)  # the others have no second derivative
def test_family(family: Callable[[], Family], tmp_path: Path) -> None:
    cases = list(family())
    assert len({c.label for c in cases}) == len(cases)
    programs: dict[str, Any] = {}
    for i, c in enumerate(cases):
        programs |= _programs(c, f"p{i}", i)
    runners = Runners(programs, tmp_path, COMPILERS[:1], "-O0")  # both compile all of the ops in test_ops.py
    problems: list[str] = []
    for i, c in enumerate(cases):
        want = _by_torch(c)
        for kind, expected in want.items():
            for target, run in runners.all(f"p{i}_{kind}"):
                got = run("value", c.inputs) if kind == "result" else run("grad", c.inputs)
                for j, (a, b) in enumerate(zip(got, expected, strict=True)):
                    finite = np.abs(b[np.isfinite(b)])
                    error = distance(a, b, max(1.0, float(finite.max(initial=0.0))))
                    if error > LIMIT:
                        problems.append(f"{c.label}, {target}, {kind} {j}: {error:.3g}\n{a}\nis not\n{b}")
    assert not problems, f"{len(problems)} differ\n" + "\n".join(problems[:12])


def _programs(c: Case, name: str, turn: int) -> dict[str, Any]:
    """The result on all targets; its derivatives, each the same graph for all of them, on one target and on the next."""
    xs = [gs.symbol(f"x{k}", np.shape(v)) for k, v in enumerate(c.inputs)]
    y = c.ours(*xs)
    scalar = contracted(y, harness.weights(y.shape))
    found = {
        f"{name}_result": compiled(y, xs, f"{name}_result", derivatives=("value",), targets=TARGETS),
        f"{name}_first": compiled(
            scalar, xs, f"{name}_first", derivatives=("grad",), targets=harness.one_of(TARGETS, turn)
        ),
    }
    if c.second:
        slopes = gradient(scalar, xs)
        total: Any = 0.0
        for k, g in enumerate(slopes):
            total = total + contracted(g, harness.weights(g.shape, k + 1))
        found[f"{name}_second"] = compiled(
            total, xs, f"{name}_second", derivatives=("grad",), targets=harness.one_of(TARGETS, turn + 1)
        )
    return found


def _by_torch(c: Case) -> dict[str, list[np.ndarray]]:
    ts = [torch.tensor(np.asarray(v, dtype=float), requires_grad=True) for v in c.inputs]
    y = c.theirs(*ts)
    slopes = harness._gradients((torch.tensor(harness.weights(tuple(y.shape))) * y).sum(), ts)
    found = {"result": [y], "first": list(slopes)}
    if c.second:
        total = sum((torch.tensor(harness.weights(tuple(g.shape), k + 1)) * g).sum() for k, g in enumerate(slopes))
        found["second"] = list(harness._gradients(total, ts))
    return {kind: [harness._array(t) for t in tensors] for kind, tensors in found.items()}


# --- accuracy and edges, where torch is not the reference -------------------------------------------------------------

SHARP = {"gelu", "mish", "silu", "softplus", "softsign", "tanhshrink", "sigmoid"}
ALONG = [s * m for m in (1e-200, 1e-20, 1e-8, 1e-3, 0.1, 0.33, 0.7, 0.9999, 1.0001, 1.7, 3.3, 5.9, 8.1, 13.7, 19.3,
                         26.61, 35.3, 36.9) for s in (1.0, -1.0)]  # fmt: skip
CONDITIONED = {  # slopes that cross 0, or are exp of a square: units of eps by which the argument's own rounding moves them
    "erfc": lambda x: 2 * x * x,
    "gelu": lambda x: 1 / abs(x + 0.7517915) + 8,
    "mish": lambda x: 2 / abs(x + 1.192462) + 8,
    "silu": lambda x: 2 / abs(x + 1.278465) + 8,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(SHARP))
def test_values_and_slopes_keep_their_digits_in_both_tails(name: str) -> None:
    """Against mpmath with 600 digits: a value within 4 eps, a slope within 8 times its condition."""
    record = OPS[name]
    x = gs.symbol("x")
    f = gs.compile(apply(record, [x], {}), target="python", selftest=False)
    exactly: Any = (lambda v: getattr(mp, record.mp)(v)) if isinstance(record.mp, str) else (lambda v: record.mp(mp, v))
    for at in ALONG:
        with mp.workdps(600):
            v = mp.mpf(at)
            h = abs(v) * mp.mpf(10) ** -60
            wanted = exactly(v), (exactly(v + h) - exactly(v - h)) / (2 * h)
        value, (slope,) = np.asarray(f(at)), np.ravel(f.grad(at))
        assert distance(value, np.array(float(wanted[0]))) <= 4, f"{name}({at})"
        limit = 8 + CONDITIONED.get(name, lambda x: 0.0)(at)
        assert distance(slope, np.array(float(wanted[1]))) <= limit, f"{name}'({at}) = {slope}, not {wanted[1]}"


SATURATED: dict[str, tuple[Callable[[Any], Any], list[tuple[float, float, float]]]] = {  # x, value, slope
    "gelu": (gs.gelu, [(inf, inf, 1.0), (-inf, 0.0, 0.0), (800.0, 800.0, 1.0), (-800.0, 0.0, 0.0)]),
    "gelu tanh": (
        lambda x: gs.gelu(x, approximate="tanh"),
        [(inf, inf, 1.0), (-inf, 0.0, 0.0), (800.0, 800.0, 1.0), (-800.0, 0.0, 0.0)],
    ),
    "silu": (gs.silu, [(inf, inf, 1.0), (-inf, 0.0, 0.0), (800.0, 800.0, 1.0), (-800.0, 0.0, 0.0)]),
    "mish": (gs.mish, [(inf, inf, 1.0), (-inf, 0.0, 0.0), (800.0, 800.0, 1.0), (-800.0, 0.0, 0.0)]),
    "softsign": (gs.softsign, [(inf, 1.0, 0.0), (-inf, -1.0, 0.0), (1e200, 1.0, 0.0)]),
    "softplus": (gs.softplus, [(inf, inf, 1.0), (-inf, 0.0, 0.0), (800.0, 800.0, 1.0), (-800.0, 0.0, 0.0)]),
    "logsigmoid": (gs.logsigmoid, [(inf, 0.0, 0.0), (-inf, -inf, 1.0), (800.0, 0.0, 0.0), (-800.0, -800.0, 1.0)]),
    "elu": (gs.elu, [(inf, inf, 1.0), (-inf, -1.0, 0.0), (800.0, 800.0, 1.0), (-800.0, -1.0, 0.0)]),
    "selu": (gs.selu, [(inf, inf, 1.0507009873554805), (-inf, -1.7580993408473766, 0.0)]),
    "celu": (lambda x: gs.celu(x, 0.5), [(inf, inf, 1.0), (-inf, -0.5, 0.0), (800.0, 800.0, 1.0)]),
    "tanhshrink": (gs.tanhshrink, [(inf, inf, 1.0), (-inf, -inf, 1.0), (800.0, 799.0, 1.0), (1e-9, 1e-27 / 3, 1e-18)]),
    "hardswish": (gs.hardswish, [(inf, inf, 1.0), (-inf, 0.0, 0.0), (1e308, 1e308, 1.0), (-1e308, 0.0, 0.0)]),
    "hardsigmoid": (gs.hardsigmoid, [(inf, 1.0, 0.0), (-inf, 0.0, 0.0), (3.0, 1.0, 0.0), (-3.0, 0.0, 0.0), (0.6, 0.6, 1 / 6)]),
    "relu6": (gs.relu6, [(inf, 6.0, 0.0), (-inf, 0.0, 0.0)]),
    "leaky_relu": (gs.leaky_relu, [(inf, inf, 1.0), (-inf, -inf, 0.01)]),
    "binary_cross_entropy yes": (
        lambda x: gs.binary_cross_entropy(x, 1.0), [(0.0, 100.0, -1e12), (1.0, 0.0, 0.0), (1e-300, 100.0, -1e12)],
    ),
    "binary_cross_entropy no": (
        lambda x: gs.binary_cross_entropy(x, 0.0), [(0.0, 0.0, 0.0), (1.0, 100.0, 1e12), (5e-324, 5e-324, 5e-324 / 1e-12)],
    ),
    "with_logits yes": (
        lambda x: gs.binary_cross_entropy_with_logits(x, 1.0),
        [(800.0, 0.0, 0.0), (-800.0, 800.0, -1.0), (40.0, math.exp(-40), -math.exp(-40)), (1e300, 0.0, 0.0)],
    ),
    "with_logits no": (
        lambda x: gs.binary_cross_entropy_with_logits(x, 0.0),
        [(-800.0, 0.0, 0.0), (800.0, 800.0, 1.0), (-40.0, math.exp(-40), math.exp(-40)), (-1e300, 0.0, 0.0)],
    ),
    "huber_loss": (lambda x: gs.huber_loss(x, 0.0), [(inf, inf, 1.0), (-inf, inf, -1.0), (1e300, 1e300, 1.0)]),
    "smooth_l1_loss": (lambda x: gs.smooth_l1_loss(x, 0.0), [(inf, inf, 1.0), (1e300, 1e300, 1.0)]),
    "kl_div of 0": (lambda x: gs.kl_div(x, 0.0), [(-inf, 0.0, 0.0), (-3.0, 0.0, 0.0)]),
}  # fmt: skip


def test_saturated_points_have_their_limits(tmp_path: Path) -> None:
    """Also where torch gives NaN (inf*0) or 0 (cancellation); NaN stays NaN, except where a slope is flat."""
    x = gs.symbol("x")
    names = {label: f"s{i}" for i, label in enumerate(SATURATED)}
    runners = Runners({names[k]: compiled(f(x), [x], names[k]) for k, (f, _) in SATURATED.items()}, tmp_path)
    problems = []
    for label, (_, rows) in SATURATED.items():
        for target, run in runners.all(names[label]):
            for at, *wanted in rows:
                got = run("value_and_grad", [at])
                problems += [
                    f"{label} at {at}, {target}: {got}, not {wanted}"
                    for a, b in zip(got, wanted, strict=True)
                    if distance(a, np.array(b)) > 4
                ]
            if "of 0" not in label:
                assert np.isnan(run("value", [nan])[0]), (label, target)
    assert not problems, "\n".join(problems)


ROWS: dict[str, tuple[Callable[[Any], Any], np.ndarray, Any, Any]] = {  # of x: value, gradient of the sum
    "huge": (lambda x: gs.cross_entropy(x, [0, 1]), np.array([[1e30, -1e30], [1e30, -1e30]]), 1e30, [[0, 0], [0.5, -0.5]]),
    "masked": (lambda x: gs.cross_entropy(x, [0, 1]), np.array([[0.0, -inf], [-inf, 5.0]]), 0.0, [[0, 0], [0, 0]]),
    "masked, smoothed by probabilities": (
        lambda x: gs.cross_entropy(x, [[0.5, 0.5, 0.0]]), np.array([[1.0, 1.0, -inf]]), math.log(2), [[0, 0, 0]],
    ),
    "impossible": (lambda x: gs.cross_entropy(x, [0]), np.array([[-inf, 0.0]]), inf, [[-1, 1]]),
    "sure of another": (lambda x: gs.cross_entropy(x, 0), np.array([0.0, 800.0]), 800.0, [-1, 1]),
    "log_softmax": (
        lambda x: gs.sum(gs.log_softmax(x)[0]), np.array([[1e30, -1e30], [0.0, 0.0]]), -2e30, [[-1, 1], [0, 0]],
    ),
    "attention that sees nothing": (
        lambda x: gs.sum(gs.scaled_dot_product_attention(x, x, x, attn_mask=np.zeros((2, 2), dtype=bool))),
        np.array([[1.0, 2.0], [3.0, 4.0]]), 0.0, [[0, 0], [0, 0]],
    ),
    "cosine of 0": (
        lambda x: gs.sum(gs.cosine_similarity(x, np.array([[3.0, 4.0]]))), np.zeros((1, 2)), 0.0, [[0.6e8, 0.8e8]],
    ),
    "layer_norm of equals": (
        lambda x: gs.layer_norm(x, 3)[0, 0], np.full((1, 3), 7.0), 0.0,
        np.array([[2.0, -1.0, -1.0]]) / 3 / math.sqrt(1e-5),
    ),
    "rms_norm of 0": (
        lambda x: gs.rms_norm(x, 2)[0, 0], np.zeros((1, 2)), 0.0, [[1 / math.sqrt(np.finfo(float).eps), 0.0]],
    ),
}  # fmt: skip


def test_rows_with_infinities_and_huge_numbers(tmp_path: Path) -> None:
    names = {label: f"r{i}" for i, label in enumerate(ROWS)}
    programs = {}
    for label, (f, at, _, _) in ROWS.items():
        x = gs.symbol("x", at.shape)
        programs[names[label]] = joint(f(x), [x], names[label])
    runners = Runners(programs, tmp_path)
    for label, (_, at, value, slope) in ROWS.items():
        for target, run in runners.all(names[label]):
            got = run("value_and_grad", [at])
            assert distance(got[0], np.array(float(value))) <= 8, (label, target, got)
            assert distance(got[1], np.array(slope, dtype=float), 1.0) <= 8, (label, target, got)


def test_log_softmax_of_masks_is_torchs() -> None:
    rows = np.array([[-inf, -inf], [-inf, 2.0], [1e30, -1e30], [5e-324, 0.0]])
    x = gs.symbol("x", rows.shape)
    for target in ("python", "numpy"):
        got = np.array(gs.compile(gs.log_softmax(x), target=target, derivatives=("value",))(rows))
        np.testing.assert_array_equal(got, torch.log_softmax(torch.tensor(rows), 1).numpy())


KERNEL = gs.symbol("kernel", (2, 4, 3, 3))
X, W, IMAGE = gs.symbol("x", (2, 3)), gs.symbol("w", (4, 3)), gs.symbol("image", (1, 4, 6, 6))
REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: gs.gelu(X, approximate="erf"), r'gelu: approximate=\'erf\' is neither "none" nor "tanh"'),
    (lambda: gs.celu(X, 0.0), "celu: alpha cannot be 0"),
    (lambda: gs.hardtanh(X, 1.0, -1.0), r"hardtanh: min_val=1\.0 exceeds max_val=-1\.0"),
    (lambda: gs.log_softmax(X, 2), "log_softmax: axis 2 does not exist in 2 dimensions"),
    (lambda: gs.log_softmax(gs.symbol("e", (2, 0))), "empty along axis"),
    (lambda: gs.mse_loss(X, X, reduction="max"), "mse_loss: reduction='max' is not one of 'none', 'mean', 'sum'"),
    (lambda: gs.nll_loss(X, [0, 1], reduction="all"), "nll_loss: reduction='all'"),
    (lambda: gs.kl_div(X, X, reduction="batch"), "'batchmean'"),
    (lambda: gs.huber_loss(X, X, delta=0.0), r"huber_loss: delta=0\.0 must be positive"),
    (lambda: gs.smooth_l1_loss(X, X, beta=-1.0), r"smooth_l1_loss: beta=-1\.0 must not be negative"),
    (lambda: gs.cross_entropy(X, [0, 3]), r"cross_entropy: target must be in \[0, 3\), and 3 is not"),
    (lambda: gs.cross_entropy(X, [0, -1]), "and -1 is not"),
    (lambda: gs.cross_entropy(X, [0, 1, 2]), r"target must have shape \(2,\), .* not \(3,\)"),
    (lambda: gs.cross_entropy(X, [-100, -100]), "every target is ignore_index=-100"),
    (lambda: gs.cross_entropy(X, [0, 1], weight=[1.0, 2.0]), r"weight must have shape \(3,\), not \(2,\)"),
    (lambda: gs.cross_entropy(X, [0, 1], label_smoothing=1.5), r"label_smoothing=1\.5 must be in \[0, 1\]"),
    (lambda: gs.cross_entropy(X, gs.symbol("p", (2, 2))), r"probabilities must have the shape of input, \(2, 3\)"),
    (lambda: gs.cross_entropy(gs.symbol("s"), 0), "needs an axis of classes"),
    (lambda: gs.nll_loss(X, gs.symbol("t", (2,))), r"nll_loss: target must be integers, not f64\[2\]"),
    (lambda: gs.nll_loss(X, gs.symbol("t", (3,), "int64")), r"target must have shape \(2,\), .* not \(3,\)"),
    (lambda: gs.embedding(X, W), r"embedding: input must be integers, not f64\[2, 3\]"),
    (lambda: gs.one_hot(X, 3), r"one_hot: input must be integers, not f64\[2, 3\]"),
    (lambda: gs.linear(X, gs.symbol("w", (4, 2))), r"linear: input \(2, 3\) does not fit weight \(4, 2\)"),
    (lambda: gs.embedding([0, 4], W), r"embedding: input must be in \[0, 4\), and 4 is not"),
    (lambda: gs.embedding([-1], W), "and -1 is not"),
    (lambda: gs.embedding([0.5], W), "embedding: input must be ints, not float64"),
    (lambda: gs.embedding([0], W, padding_idx=4), r"embedding: padding_idx must be in \[0, 4\)"),
    (lambda: gs.embedding([0], X[0]), r"embedding: weight must have shape \(rows, columns\), not \(3,\)"),
    (lambda: gs.layer_norm(X, (2,)), r"layer_norm: normalized_shape \(2,\) must be the last axes"),
    (lambda: gs.layer_norm(X, (3,), gs.symbol("w", (2,))), r"layer_norm: weight must have shape \(3,\), not \(2,\)"),
    (lambda: gs.rms_norm(X, ()), r"rms_norm: normalized_shape \(\)"),
    (lambda: gs.batch_norm(X, None, None), "evaluation needs running_mean and running_var"),
    (lambda: gs.batch_norm(X, [0.0], [1.0]), r"running_mean must have shape \(3,\), not \(1,\)"),
    (lambda: gs.batch_norm(X[:1], None, None, training=True), "needs more than one value a channel"),
    (lambda: gs.batch_norm(X[0], None, None, training=True), "needs a batch and a channel axis"),
    (lambda: gs.group_norm(IMAGE, 3), "4 channels cannot be divided into 3 groups"),
    (lambda: gs.scaled_dot_product_attention(X, W[:, :2], W), r"do not fit \(…, L, E\)"),
    (lambda: gs.scaled_dot_product_attention(X, W, W, attn_mask=[True] * 4, is_causal=True), "not both"),
    (lambda: gs.conv2d(IMAGE, gs.symbol("k", (2, 3, 3, 3))), r"has 4 channels, but weight \(2, 3, 3, 3\) .* takes 3"),
    (lambda: gs.conv2d(IMAGE, KERNEL, groups=3), "conv2d: groups=3 must be 1 or more, and divide the 2 channels"),
    (lambda: gs.conv2d(IMAGE, KERNEL, groups=2), "with groups=2 takes 8"),
    (lambda: gs.conv2d(IMAGE, KERNEL, stride=0), "conv2d: stride=0 must be 1 or more"),
    (lambda: gs.conv2d(IMAGE, KERNEL, stride=-1), "conv2d: stride=-1 must be 1 or more"),
    (lambda: gs.conv2d(IMAGE, KERNEL, stride=(1, 2, 3)), r"stride=\(1, 2, 3\) must be an int or 2 ints"),
    (lambda: gs.conv2d(IMAGE, KERNEL, padding=-1), "conv2d: padding=-1 must be 0 or more"),
    (lambda: gs.conv2d(IMAGE, KERNEL, padding="full"), 'padding=\'full\' is neither ints nor "valid" nor "same"'),
    (lambda: gs.conv2d(IMAGE, KERNEL, stride=2, padding="same"), 'padding="same" needs stride=1'),
    (lambda: gs.conv2d(IMAGE, KERNEL, dilation=4), r"a window of \(9, 9\) elements is larger than the \(padded\) input"),
    (lambda: gs.conv2d(IMAGE, KERNEL, [1.0]), r"conv2d: bias must have shape \(2,\), not \(1,\)"),
    (lambda: gs.conv2d(X, KERNEL), "conv2d: input .* must have 4 axes"),
    (lambda: gs.conv1d(IMAGE, KERNEL), "conv1d: input .* must have 3 axes"),
    (lambda: gs.max_pool2d(IMAGE, 2, padding=2), "padding=2 is more than half of the window"),
    (lambda: gs.max_pool2d(IMAGE, 0), "max_pool2d: kernel_size=0 must be 1 or more"),
    (lambda: gs.max_pool2d(IMAGE, 2.0), r"max_pool2d: kernel_size=2\.0 must be an int or 2 ints"),
    (lambda: gs.max_pool2d(IMAGE, 7), "is larger than the"),
    (lambda: gs.max_pool2d(X, 2), "max_pool2d: input must have 4 axes"),
    (lambda: gs.avg_pool1d(IMAGE, 2), "avg_pool1d: input must have 3 axes"),
    (lambda: gs.avg_pool2d(IMAGE, 2, divisor_override=0), "divisor_override=0 must be 1 or more"),
    (lambda: gs.cosine_similarity(X, X, dim=2), "cosine_similarity: axis 2 does not exist"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[m[:40] for _, m in REFUSED])
def test_mistakes_are_explained(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((gs.ShapeError, gs.DTypeError), match=message):
        call()
