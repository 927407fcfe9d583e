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
from gradsmith.adjoint import gradient
from gradsmith.registry import OPS

from . import harness
from .harness import Runners, compiled, contracted, distance

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
        for reduction in ("mean", "sum", "none"):
            options = {"reduction": reduction}
            yield Case(f"nll_loss {shape} {reduction}", [x], *same("nll_loss", target, **options))
            yield Case(f"nll_loss weight {shape} {reduction}", [x], *same("nll_loss", ignoring, weight=w, **options))
            yield Case(f"cross_entropy {shape} {reduction}", [x], *same("cross_entropy", target, **options))
            for smoothing in (0.0, 0.2):
                extra = {**options, "label_smoothing": smoothing}
                yield Case(
                    f"cross_entropy weight {shape} {extra}", [x], *same("cross_entropy", ignoring, weight=w, **extra)
                )
                yield Case(f"cross_entropy ignoring {shape} {extra}", [x], *same("cross_entropy", ignoring, **extra))
                yield Case(f"cross_entropy soft {shape} {extra}", [x, soft], *same("cross_entropy", **extra))
                yield Case(
                    f"cross_entropy soft weight {shape} {extra}", [x, soft], *same("cross_entropy", weight=w, **extra)
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


FAMILIES = [activations, distances, two_classes, many_classes, layers, attention]


# --- the comparison -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
@pytest.mark.filterwarnings("ignore::UserWarning")
@torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)  # the others have no second derivative
def test_family(family: Callable[[], Family], tmp_path: Path) -> None:
    cases = list(family())
    assert len({c.label for c in cases}) == len(cases)
    programs: dict[str, Any] = {}
    for i, c in enumerate(cases):
        programs |= _programs(c, f"p{i}")
    runners = Runners(programs, tmp_path)
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


def _programs(c: Case, name: str) -> dict[str, Any]:
    xs = [gs.symbol(f"x{k}", np.shape(v)) for k, v in enumerate(c.inputs)]
    y = c.ours(*xs)
    scalar = contracted(y, harness.weights(y.shape))
    found = {
        f"{name}_result": compiled(y, xs, f"{name}_result", derivatives=("value",)),
        f"{name}_first": compiled(scalar, xs, f"{name}_first", derivatives=("grad",)),
    }
    if c.second:
        slopes = gradient(scalar, xs)
        total: Any = 0.0
        for k, g in enumerate(slopes):
            total = total + contracted(g, harness.weights(g.shape, k + 1))
        found[f"{name}_second"] = compiled(total, xs, f"{name}_second", derivatives=("grad",))
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
