"""How each library is told a benchmark: from a function of scalars (or arrays) to something that can be timed.

Each function here imports its library when it is called, so that a missing one is that entry's error alone. What they
get is what `programs.py` takes: `m`, where the functions are, and lists of scalars, one a parameter.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from itertools import chain
from types import SimpleNamespace
from typing import Any

import numpy as np

from .flags import FLAGS, march_option
from .records import Ready, placed

__all__ = [
    "casadi_buffer",
    "casadi_built",
    "casadi_function",
    "flat",
    "gradsmith_arrays",
    "gradsmith_scalars",
    "heyoka_call",
    "jax_functions",
    "jax_jit",
    "numba_jit",
    "one_vector",
    "pytensor_function",
    "sympy_lambdify",
    "torch_compiled",
    "torch_function",
    "torch_reference",
]

#: How many numbers each parameter has.
Sizes = Sequence[int]


def flat(arguments: Sequence[Any]) -> np.ndarray:
    """All arguments in one vector."""
    return np.concatenate([np.ravel(a) for a in arguments])


def one_vector(result: Any) -> list[Any]:
    """(value, gradients, possibly nested) as [value, one vector]."""
    value, gradients = result
    parts = gradients if isinstance(gradients, (tuple, list)) else (gradients,)
    return [value, np.concatenate([np.ravel(np.asarray(g, float)) for g in parts])]


# --- gradsmith --------------------------------------------------------------------------------------------------------


def gradsmith_arrays(
    function: Callable[..., Any],
    sizes: Sizes,
    wrt: Sequence[int],
    arguments: Sequence[Any],
    target: str = "c",
    out: bool = False,
) -> Ready:
    """Vectors in, vectors out: a function of gradsmith's arrays. The Python target takes and gives lists.

    The result is (value, gradient), or (value, (gradients)) by several arguments, where C by hand gives (value,
    gradients ...).

    out: whether the results are written into arrays that are given with the call.
    """
    import gradsmith as gs

    shapes = tuple((n,) for n in sizes)
    f = gs.compile(
        function,
        args=shapes,
        wrt=tuple(wrt) if len(wrt) > 1 else wrt[0],
        target=target,
        name="f",
        selftest=False,
        derivatives="value_and_grad",
        **march_option(),
    )
    given = arguments if target == "c" else [np.ravel(a).tolist() for a in arguments]
    f.value_and_grad(*given)  # which builds it: `f.value_and_grad` is the function of the module from now on
    if not out:
        return Ready(f.value_and_grad, tuple(given), one_vector)
    slopes = tuple(placed(np.empty(sizes[k])) for k in wrt)
    place = (np.empty(()), slopes if len(wrt) > 1 else slopes[0])
    return Ready(f.value_and_grad, tuple(given), one_vector, {"out": place})


def gradsmith_scalars(
    function: Callable[..., Any], sizes: Sizes, wrt: Sequence[int], arguments: Sequence[Any], target: str = "c"
) -> Ready:
    """Numbers in, numbers out."""
    import gradsmith as gs

    symbols = [[gs.symbol(f"x{k}_{i}") for i in range(n)] for k, n in enumerate(sizes)]
    f = gs.compile(
        function(gs, *symbols),
        args=[*chain(*symbols)],
        wrt=tuple(s for k in wrt for s in symbols[k]),
        target=target,
        name="f",
        selftest=False,
        derivatives="value_and_grad",
        **march_option(),
    )
    given = tuple(flat(arguments).tolist())
    f.value_and_grad(*given)  # as above
    return Ready(f.value_and_grad, given, one_vector)


# --- peers that take scalars apart ------------------------------------------------------------------------------------


def torch_reference(function: Callable[..., Any], sizes: Sizes, wrt: Sequence[int], arguments: Sequence[Any]) -> Any:
    """[value, one vector of slopes] in double precision."""
    import torch

    given = [torch.tensor(np.asarray(a, float).reshape(-1), requires_grad=k in wrt) for k, a in enumerate(arguments)]
    value = function(torch, *(list(a.unbind()) for a in given))
    slopes = torch.autograd.grad(value, [given[k] for k in wrt])
    return [value.detach().numpy(), np.concatenate([g.numpy() for g in slopes])]


def casadi_function(function: Callable[..., Any], sizes: Sizes, wrt: Sequence[int]) -> Any:
    import casadi as ca

    symbols = [ca.SX.sym(f"x{k}", n) for k, n in enumerate(sizes)]
    value = function(ca, *(ca.vertsplit(s) for s in symbols))
    gradient = ca.gradient(value, ca.vertcat(*(symbols[k] for k in wrt)))
    return ca.Function("f", symbols, ca.cse([value, ca.densify(gradient)]))


def casadi_buffer(f: Any, arguments: Sequence[Any]) -> Ready:
    """A CasADi function called through its buffer API, which neither copies nor allocates."""
    given = [np.array(a, float, ndmin=1) for a in arguments]
    results = [np.zeros(f.nnz_out(k)) for k in range(f.n_out())]
    buffer, trigger = f.buffer()
    for k, a in enumerate(given):
        buffer.set_arg(k, memoryview(a))
    for k, r in enumerate(results):
        buffer.set_res(k, memoryview(r))
    keep = (buffer, f, given)
    return Ready(trigger, (), lambda _, keep=keep: results)


def casadi_built(f: Any) -> Any:
    """The C code of a CasADi function, built with gradsmith's flags, as a function again."""
    import casadi as ca

    from gradsmith_runtime import find_compiler

    with tempfile.TemporaryDirectory() as folder:
        code = ca.CodeGenerator("f.c")
        code.add(f)
        code.generate(folder + os.sep)
        library = os.path.join(folder, "f.so")
        command = [*find_compiler().command, *FLAGS, "-fPIC", "-shared", os.path.join(folder, "f.c")]
        subprocess.run([*command, "-o", library, "-lm"], check=True, stderr=subprocess.DEVNULL)
        return ca.external(f.name(), library)


def heyoka_cfunc(function: Callable[..., Any], sizes: Sizes, wrt: Sequence[int]) -> Any:
    import heyoka as hy

    symbols = [[hy.expression(f"x{k}_{i}") for i in range(n)] for k, n in enumerate(sizes)]
    value = function(hy, *symbols)
    tensors = hy.diff_tensors([value], diff_args=[s for k in wrt for s in symbols[k]], diff_order=1)
    return hy.cfunc([value, *tensors.gradient], vars=[*chain(*symbols)])


def heyoka_call(function: Callable[..., Any], sizes: Sizes, wrt: Sequence[int], arguments: Sequence[Any]) -> Ready:
    f = heyoka_cfunc(function, sizes, wrt)
    given, results = flat(arguments), np.zeros(1 + sum(sizes[k] for k in wrt))
    return Ready(lambda: f(given, outputs=results), (), lambda _: [results[0], results[1:]])


def sympy_lambdify(function: Callable[..., Any], sizes: Sizes, wrt: Sequence[int], arguments: Sequence[Any]) -> Ready:
    import sympy as sp

    symbols = [list(sp.symbols(f"x{k}_:{n}")) for k, n in enumerate(sizes)]
    value = function(sp, *symbols)
    slopes = [sp.diff(value, s) for k in wrt for s in symbols[k]]
    f = sp.lambdify([*chain(*symbols)], [value, *slopes], "math", cse=True)  # cse does not look into nested lists
    return Ready(f, tuple(flat(arguments).tolist()), lambda r: [r[0], r[1:]])


def jax_functions() -> Any:
    """jax.numpy, with what it keeps elsewhere."""
    import jax

    named = {"erf": jax.scipy.special.erf, "concat": jax.numpy.concatenate}
    named |= {name: getattr(jax.nn, name) for name in ("sigmoid", "relu", "softmax", "logsumexp", "softplus")}
    return SimpleNamespace(**{**vars(jax.numpy), **named})


def jax_jit(
    function: Callable[..., Any], wrt: Sequence[int], arguments: Sequence[Any], dtype: str = "float64"
) -> Ready:
    """Value and gradient by XLA; `function` of JAX's arrays. A call ends when its results are there."""
    import jax

    f = jax.jit(jax.value_and_grad(function, argnums=tuple(wrt)))
    given = tuple(jax.numpy.asarray(a, dtype) for a in arguments)
    return Ready(lambda *a: jax.block_until_ready(f(*a)), given, lambda r: [r[0], *r[1]])


def numba_jit(function: Callable[..., Any], arguments: Sequence[Any]) -> Ready:
    """The hand-written Python, compiled."""
    import numba

    return Ready(numba.njit(function), tuple(arguments), one_vector)


# --- peers that have arrays -------------------------------------------------------------------------------------------


def torch_function(
    function: Callable[..., Any],
    wrt: Sequence[int],
    arguments: Sequence[Any],
    dtype: str = "float64",
    compiled: bool = False,
) -> Ready:
    """Value and gradient by torch's autograd, the function as it is or compiled; `function` of torch's arrays."""
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(getattr(torch, dtype))
    given = [torch.tensor(a, requires_grad=k in wrt) for k, a in enumerate(arguments)]
    by = [given[k] for k in wrt]
    of = torch_compiled(function) if compiled else function

    def call() -> Any:
        value = of(*given)
        return value, torch.autograd.grad(value, by)

    return Ready(call, (), lambda r: [r[0].detach().numpy(), *(g.numpy() for g in r[1])])


def torch_compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """By torch.compile, as one graph: it would rather run what it cannot compile as it is, and forget to say so."""
    import torch

    torch.compiler.reset()  # it compiles a function (and all partial functions are one to it) at most eight times
    return torch.compile(function, dynamic=False, fullgraph=True)


def pytensor_function(
    function: Callable[..., Any], wrt: Sequence[int], arguments: Sequence[Any], dtype: str = "float64"
) -> Ready:
    """Value and gradient by PyTensor, which trusts its arguments; `function` of PyTensor's arrays."""
    import pytensor as library
    import pytensor.tensor as pt

    library.config.floatX = dtype
    given = [pt.TensorType(dtype, a.shape)(f"x{k}") for k, a in enumerate(arguments)]
    value = function(*given)
    if value.dtype != dtype:
        value = pt.cast(value, dtype)
    f = library.function(given, [value, *library.grad(value, [given[k] for k in wrt])], trust_input=True)
    return Ready(f, tuple(arguments), lambda r: r)
