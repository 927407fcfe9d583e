"""Ops on arrays of named sizes: by family, each a function of arrays, and what sizes it takes or why it takes none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradsmith as gs

__all__ = ["FAMILIES", "ROWS", "Row", "row"]

PLACES = gs.spec(("m",), "int64")  # numbers from 0 to the smaller of 2 and n - 1


@dataclass(frozen=True)
class Row:
    """`least`: the smallest n at which the op means something. `refuses`: what the error says where no n does."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    least: int = 0
    refuses: str = ""
    nan: bool = False  # for fewer elements the result is NaN or 0, and no error


N, NM, NN, N3 = ("n",), ("n", "m"), ("n", "n"), ("n", 3)


def row(
    name: str, function: Callable[..., Any], *args: Any, least: int = 0, refuses: str = "", nan: bool = False
) -> Row:
    """A row of the table."""
    return Row(name, function, args, least, refuses, nan)


def put(x: Any) -> Any:
    y = gs.copy(x)
    y[0] = 2.0
    return y


def halved(x: Any) -> Any:
    """Halved until it is short: by a loop of at most 20 steps."""
    return gs.while_loop(lambda v: gs.sum(v * v) > 1.0, lambda v: 0.5 * gs.sin(v) + 0.1 * v, x, bound=20)


def definite(a: Any) -> Any:
    """A symmetric positive definite matrix made of a square one."""
    return a @ gs.matrix_transpose(a) + 2.0 * gs.eye(a.shape[0])


FAMILIES: Mapping[str, tuple[Row, ...]] = {
    "element-wise": (
        row("unary chain", lambda x: gs.exp(-x * x) + gs.tanh(x) / (1.0 + gs.abs(x)), N),
        row("n against 1", lambda x, y: x[:, None] * y[None, :] + x[:, None], N, ("m",)),
        row("(n, 1) against (n, m)", lambda x, y: x * y, ("n", 1), NM),
        row("(n,) against (1,)", lambda x, y: x - y * x, N, (1,)),
        row("scalar against n", lambda a, x: a * gs.sin(x), (), N),
        row("where", lambda x, y: gs.where(x > y, x * y, gs.exp(y)), N, N),
        row("clip, minimum, maximum", lambda x, y: gs.clip(x, -0.5, 0.5) * gs.maximum(x, y) - gs.minimum(x, y), N, N),
        row("n against m", lambda x, y: x + y, N, ("m",), refuses="(n,) and (m,) do not broadcast"),
        row("n against 3", lambda x, y: x * y, N, (3,), refuses="(n,) and (3,) do not broadcast"),
        row("broadcast_to", lambda x: gs.broadcast_to(x, (2, x.shape[0])), N),
        row("broadcast_arrays", lambda x, y: gs.broadcast_arrays(x[:, None], y)[0], N, ("m",)),
        row("full_like, ones_like", lambda x: gs.ones_like(x) * x + gs.full_like(x, 2.0), N),
        row("linspace", lambda x: gs.linspace(0.0, 1.0, x.shape[0]) * x, N),
        row("meshgrid", lambda x, y: gs.meshgrid(x, y)[0] * gs.meshgrid(x, y)[1], N, ("m",)),
        row("one_hot", lambda x, i: x[0] * gs.one_hot(i, 4), N, PLACES, least=1),
        row("softplus, sigmoid", lambda x: gs.softplus(x) * gs.sigmoid(x), N),
    ),
    "reductions": (
        row("sum over n", lambda x: gs.sum(x, axis=0), NM),
        row("sum over m, keepdims", lambda x: gs.sum(x, axis=1, keepdims=True) * x, NM),
        row("sum over both", gs.sum, NM),
        row("mean", lambda x: gs.mean(x, axis=0), N3, least=1, nan=True),
        row("var", lambda x: gs.var(x, axis=0), N3, least=1, nan=True),
        row("var, correction 1", lambda x: gs.var(x, correction=1), N, least=2, nan=True),
        row("std", lambda x: gs.std(x, axis=0), N3, least=2, nan=True),
        row("max", gs.max, N, least=1),
        row("max over n", lambda x: gs.max(x, axis=0), NM, least=1),
        row("min over m", lambda x: gs.min(x, axis=1), ("n", 3)),
        row("prod", gs.prod, N),
        row("any, all, count_nonzero", lambda x: gs.count_nonzero(x > 0) + gs.any(x > 2) + gs.all(x > -9), N),
        row("argmax", lambda x: gs.argmax(x), N, least=1),
        row("argmin over n", lambda x: gs.argmin(x, axis=0), N3, least=1),
        row("logsumexp", lambda x: gs.logsumexp(x, axis=1), N3),
        row("logsumexp over n", lambda x: gs.logsumexp(x, axis=0), N3, least=1),
        row("softmax over n", lambda x: gs.softmax(x, axis=0), N3, least=1),
        row("log_softmax over m", lambda x: gs.log_softmax(x, axis=1), NM),
        row("vector_norm", lambda x: gs.linalg.vector_norm(x), N),
        row("vector_norm, order 3", lambda x: gs.linalg.vector_norm(x, ord=3), N),
        row("vector_norm, order inf", lambda x: gs.linalg.vector_norm(x, ord=gs.inf), N, least=1),
        row("matrix_norm", lambda a: gs.linalg.matrix_norm(a), NM),
        row("mse_loss", gs.mse_loss, N, N, least=1, nan=True),
        row("cross_entropy", lambda z, i: gs.cross_entropy(z, i), ("m", 3), PLACES, least=1, nan=True),
        row("trace", gs.trace, NN),
    ),
    "order": (
        row("cumsum", lambda x: gs.cumulative_sum(x, axis=0), N3),
        row("cumsum over m", lambda x: gs.cumulative_sum(x, axis=1), NM),
        row("cumulative_sum, include_initial", lambda x: gs.cumulative_sum(x, include_initial=True), N),
        row("cumprod", lambda x: gs.cumulative_prod(x), N),
        row("sort", lambda x: gs.sort(x), N),
        row("sort, descending, over n", lambda x: gs.sort(x, axis=0, descending=True), N3),
        row("argsort", lambda x: gs.argsort(x), N),
        row("searchsorted", lambda x, y: gs.searchsorted(gs.sort(x), y), N, ("m",)),
        row("interp", lambda x, y: gs.interp(y, gs.sort(x), gs.sort(x) ** 2), N, ("m",), least=1),
        row("take", lambda x, i: gs.take(x, i), N, PLACES, least=1),
        row("take over axis 1", lambda x, i: gs.take(x, i, axis=1), ("m", "n"), PLACES, least=1),
        row("take_along_axis", lambda x, i: gs.take_along_axis(x, i[:, None], axis=1), ("m", 3), PLACES, least=1),
        row("take, places known", lambda x: gs.take(x, [2, 0, 2]), N, least=3),
        row("take_along_axis, places known", lambda x: gs.take_along_axis(x, [[2, 0, 1]], axis=1), N3),
        row("x[i]", lambda x, i: x[i] * 2.0, N3, PLACES, least=1),
        row("x.at[i].add", lambda x, i, y: x.at[i].add(y), N, PLACES, ("m",), least=1),
        row("x.at[1:].set", lambda x: x.at[1:].set(3.0 * x[:-1]), N),
        row("x.at[:, 0].multiply", lambda x: x.at[:, 0].multiply(x[:, 1]), N3),
        row("x.at[-1].add, x.at[0].set", lambda x: x.at[-1].add(x[0] ** 2).at[0].set(4.0), N, least=1),
        row("x.at[condition].set", lambda x: x.at[x > 0].set(x[0]), N, least=1),
        row("x.at[table]", lambda x: x.at[[0, 1]].set(2.0), N, refuses="at: "),
        row("x[0] = y", put, N, refuses="x.at[key].set(value)"),
        row("embedding", lambda x, i: gs.embedding(i, x), N3, PLACES, least=1),
    ),
    "shapes": (
        row("concatenate, n + 1", lambda x: gs.concatenate([gs.zeros(1), x]) * gs.concatenate([x, gs.ones(1)]), N),
        row("concatenate, n + m", lambda x, y: gs.concatenate([x, y, x]), N, ("m",)),
        row("concatenate over axis 1", lambda x, y: gs.concatenate([x, y], axis=1), NM, N3),
        row("stack", lambda x, y: gs.stack([x, y], axis=1), N, N),
        row("reshape to -1", lambda x: gs.reshape(x, (-1,)), NM),
        row("reshape to (-1, 2)", lambda x: gs.reshape(x, (-1, 2)), ("n", 4)),
        row("reshape to (m, n)", lambda x: gs.reshape(x, (x.shape[1], x.shape[0])), NM),
        row("flip", lambda x: gs.flip(x, axis=0), N3),
        row("roll by 2", lambda x: gs.roll(x, 2), N),
        row("roll by -1 over n", lambda x: gs.roll(x, -1, axis=0), N3),
        row("diff", lambda x: gs.diff(x, axis=0), N3),
        row("diff twice", lambda x: gs.diff(x, n=2), N),
        row("pad", lambda x: gs.pad(x, (2, 1)), N),
        row("pad of a matrix", lambda x: gs.pad(x, ((1, 0), (0, 2)), constant_values=1.5), NM),
        row("tile", lambda x: gs.tile(x, (2,)), N),
        row("repeat", lambda x: gs.repeat(x, 3), N),
        row("repeat, several counts", lambda x: gs.repeat(x, (1, 2, 3)), N, refuses="repeat with several counts: "),
        row("transposes", lambda x: gs.permute_dims(x, (2, 0, 1)), ("n", 2, "m")),
        row("moveaxis, swapaxes", lambda x: gs.moveaxis(x, 0, -1) + gs.swapaxes(x, 0, 1), NN),
        row("expand_dims, squeeze", lambda x: gs.squeeze(gs.expand_dims(x, axis=0) * 2.0, axis=0), N),
        row("x[1:-1]", lambda x: x[1:-1] * x[2:], N),
        row("x[::2]", lambda x: x[::2], N),
        row("x[::-1]", lambda x: x[::-1] * x, N),
        row("x[-3:]", lambda x: x[-3:], N),
        row("x[2]", lambda x: x[2] * x[-1], N, least=3),
        row("x[:, 1]", lambda x: x[:, 1] * x[..., 0], N3),
        row("unstack", lambda x: gs.unstack(x)[0], N, refuses="unstack: "),
        row("unstack of another axis", lambda x: gs.unstack(x, axis=1)[1], N3),
        row("tril, triu", lambda x: gs.tril(x) + 2.0 * gs.triu(x, k=1), NN),
        row("diag", lambda x: gs.diag(x), N),
        row("diagonal", lambda x: gs.diagonal(x), NN),
        row("diagonals off the main one", lambda x: gs.diagonal(x, 1) * gs.diagonal(x, -1), NN),
        row("diag off the main one", lambda x: gs.diag(x, 2) + gs.diag(x, -2), N),
        row("diagonal of (n, m)", lambda x: gs.diagonal(x), NM, refuses="diagonal: "),
        row("eye", lambda x: gs.eye(x.shape[0]) * x, N),
        row("arange", lambda x: gs.arange(x.shape[0]) * x, N),
        row("copy, astype", lambda x: gs.astype(gs.copy(x), gs.float64), N),
    ),
    "products": (
        row("matmul (n, m) (m, 3)", lambda a, b: a @ b, NM, ("m", 3)),
        row("matmul (3, n) (n, m)", lambda a, b: a @ b, (3, "n"), NM),
        row("matmul, matrix by vector", lambda a, x: a @ x, NM, ("m",)),
        row("matmul, vector by matrix", lambda x, a: x @ a, N, NM),
        row("matmul, stacked", lambda a, b: a @ b, ("n", 2, "m"), ("n", "m", 3)),
        row("matmul, broadcast", lambda a, b: a @ b, ("n", 2, "m"), ("m", 3)),
        row("matmul, n by m", lambda a, b: a @ b, NM, N3, refuses="matmul"),
        row("dot", lambda x, y: gs.dot(x, y), N, N),
        row("vecdot", lambda x, y: gs.vecdot(x, y), NM, NM),
        row("outer", lambda x, y: gs.outer(x, y), N, ("m",)),
        row("tensordot", lambda a, b: gs.tensordot(a, b, axes=1), NM, ("m", 2)),
        row("einsum ij,jk->ik", lambda a, b: gs.einsum("ij,jk->ik", a, b), NM, ("m", 2)),
        row("einsum ij,ij->", lambda a, b: gs.einsum("ij,ij->", a, b), NM, NM),
        row("einsum bij,bj->bi", lambda a, x: gs.einsum("bij,bj->bi", a, x), ("n", 2, "m"), NM),
        row("einsum, sizes that differ", lambda a, b: gs.einsum("ij,ij->", a, b), NM, N3, refuses="einsum"),
        row("cdist", lambda x, y: gs.cdist(x, y), N3, ("m", 3)),
        row("cross", lambda x, y: gs.linalg.cross(x, y), N3, N3),
        row("einsum ii->", lambda a: gs.einsum("ii->", a), NN),
        row("einsum iji->j", lambda a: gs.einsum("iji->j", a), ("n", "m", "n")),
        row("batch_norm", lambda x: gs.batch_norm(x, None, None, training=True), N3, least=2, nan=True),
        row("group_norm", lambda x: gs.group_norm(x, 2), ("n", 4)),
        row("causal attention", lambda q: gs.scaled_dot_product_attention(q, q, q, is_causal=True), N3, least=1),
        row("spectral norm", lambda a: gs.linalg.matrix_norm(a, ord=2), NN, least=1, nan=True),
        row("matrix_norm, order 1", lambda a: gs.linalg.matrix_norm(a, ord=1), NM, least=1, nan=True),
        row("matrix_power", lambda a: gs.linalg.matrix_power(a, 3), NN),
        row("linear", lambda x, w, b: gs.linear(x, w, b), N3, ("m", 3), ("m",)),
        row("layer_norm", lambda x: gs.layer_norm(x, (3,)), N3),
        row("attention", gs.scaled_dot_product_attention, N3, ("m", 3), ("m", 2)),
        row("conv1d of n signals", lambda x, w: gs.conv1d(x, w, padding=1), ("n", 2, 5), (3, 2, 2)),
        row("max_pool1d of n signals", lambda x: gs.max_pool1d(x, 2), ("n", 2, 6)),
        row("conv1d", lambda x, w: gs.conv1d(x, w), (1, 1, "n"), (1, 1, 2), refuses="conv1d: "),
        row("avg_pool1d", lambda x: gs.avg_pool1d(x, 2), (1, 1, "n"), refuses="avg_pool1d: "),
    ),
    "linear algebra": (
        row("cholesky", lambda a: gs.linalg.cholesky(definite(a)), NN),
        row("solve", lambda a, b: gs.linalg.solve(definite(a), b), NN, N),
        row("solve, many", lambda a, b: gs.linalg.solve(definite(a), b), NN, NM),
        row("solve, n of 3 by 3", lambda a, b: gs.linalg.solve(a + 3.0 * gs.eye(3), b), ("n", 3, 3), ("n", 3, 2)),
        row("solve_triangular", lambda a, b: gs.linalg.solve_triangular(definite(a), b, lower=True), NN, N),
        row("inv", lambda a: gs.linalg.inv(definite(a)), NN),
        row("det", lambda a: gs.linalg.det(definite(a)), NN),
        row("slogdet", lambda a: gs.linalg.slogdet(definite(a))[1], NN),
        row("eigvalsh", lambda a: gs.linalg.eigvalsh(a + gs.matrix_transpose(a)), NN),
        row("eigh, projectors", lambda a: gs.linalg.eigh(a + gs.matrix_transpose(a))[1] ** 2, NN),
    ),
    "loops": (
        row("scan over n", lambda x, h: gs.scan(lambda c, u: (gs.tanh(c + u), c * u), h, x)[1], N, ()),
        row("scan over rows", lambda x, w: gs.scan(lambda c, u: (gs.tanh(w @ c + u), None), x[0], x)[0], N3, (3, 3), least=1),
        row("scan with a carry of n", lambda x, y: gs.scan(lambda c, u: (gs.sin(c) * u, gs.sum(c * c)), x, y)[1], N, ("m",)),
        row("scan, backwards", lambda x: gs.scan(lambda c, u: (0.5 * c + u * u, c * u), 0.0, x, reverse=True)[1], N),
        row("scan in scan", lambda x: gs.scan(lambda c, r: (gs.scan(lambda d, u: (gs.sin(d + u), d), c, r)[0], c), 0.1, x)[1], NM),
        row("scan, closed over n", lambda x, y: gs.scan(lambda c, i: (c * 0.5 + gs.sum(x * gs.sin(i * x)), c), 0.0, y)[1], N, ("m",)),
        row("scan, checkpoint=3", lambda x: gs.scan(lambda c, u: (gs.sin(c + u), c), 0.1, x, checkpoint=3)[0], N),
        row("scan, checkpoint of n", lambda x: gs.scan(lambda c, u: (c + u, None), 0.1, x, checkpoint="sqrt")[0], N, refuses='checkpoint="sqrt" needs a number of steps'),
        row("fori_loop to n", lambda x: gs.fori_loop(0, x.shape[0], lambda i, s: s * 0.5 + x[i] * x[i], 1.0), N),
        row("fori_loop with a carry of n", lambda x: gs.fori_loop(0, 3, lambda i, y: gs.sin(y) + i * x, x), N),
        row("fori_loop from 1 to n - 1", lambda x: gs.fori_loop(1, x.shape[0] - 1, lambda i, s: s + x[i - 1] * x[i + 1], 0.0), N),
        row("while_loop on n, bounded", halved, N),
        row("cond of arrays of n", lambda x: gs.cond(gs.sum(x) > 0, lambda v: v * v, lambda v: gs.sin(v), x), N),
        row("cond in scan", lambda x: gs.scan(lambda c, u: (gs.cond(u > 0, lambda a: a * u, lambda a: a + u, c), c), 1.0, x)[1], N),
        row("map over n", lambda x: gs.map(lambda r: gs.sum(r * r) * r, x), N3),
        row("vmap over n", lambda x, w: gs.vmap(lambda r: gs.tanh(w @ r))(x), N3, (2, 3)),
        row("vmap over axis 1", lambda a, x: gs.vmap(lambda c, v: gs.sum(c) * v, in_axes=(1, 0), out_axes=1)(a, x), NM, ("m", 2)),
        row("vmap of a scan", lambda x: gs.vmap(lambda r: gs.scan(lambda c, u: (gs.sin(c + u), c * u), 0.2, r)[1])(x), NM),
        row("vmap of a cond", lambda x: gs.vmap(lambda v: gs.cond(v > 0, lambda a: a * a, lambda a: gs.sin(a), v))(x), N),
        row("vmap of a while_loop", lambda x: gs.vmap(lambda v: halved(gs.reshape(v, (1,)))[0])(x), N),
        row("vmap of sort", lambda x: gs.vmap(gs.sort)(x), NM),
        row("vmap of solve", lambda a, b: gs.vmap(lambda m, v: gs.linalg.solve(m + 3.0 * gs.eye(3), v))(a, b), ("n", 3, 3), N3),
        row("vmap of take", lambda x, i: gs.vmap(lambda r, k: r[k], in_axes=(0, 0))(x, i), ("m", 3), PLACES, least=1),
        row("vmap of conv1d, by a loop", lambda x, w: gs.vmap(lambda s: gs.conv1d(s, w))(x), ("n", 2, 5), (3, 2, 2)),
        row("vmap of a gradient", lambda x, w: gs.vmap(gs.grad(lambda r: gs.sum(gs.sin(w @ r))))(x), N3, (2, 3)),
        row("vmap, n against m", lambda x, y: gs.vmap(lambda a, b: a * b)(x, y), N, ("m",), refuses="the numbers of elements differ"),
        row("gradient in a scan", lambda x: gs.scan(lambda c, u: (c - 0.1 * gs.grad(lambda v: gs.sum((v * u) ** 2))(c), c), x, x)[0], N),
    ),
}  # fmt: skip

ROWS: Mapping[str, Row] = {r.name: r for rows in FAMILIES.values() for r in rows}
