"""What a call from Python costs beside a hand-written extension module that calls the same C function.

Run as a script; it prints a table of ns a call (median of interleaved rounds). The hand-written module is what an
expert writes: METH_FASTCALL, no keywords, no conversion, a check of type, size and layout, through numpy's C API or
through the buffer protocol. Both call the C file that gradsmith emitted, so that what differs is the call alone.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith_runtime import BuildOptions, build_extension

GLUE = r"""
#include "f.h"
#define NDEBUG
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <numpy/arrayobject.h>

#define SCALARS @SCALARS@
#define N @N@
#define WORK @WORK@
#if SCALARS
static int numbers(PyObject *const *a, Py_ssize_t n, double *x, double *y)
{
    if (n != 2) { PyErr_SetString(PyExc_TypeError, "two numbers"); return -1; }
    *x = PyFloat_AsDouble(a[0]);
    *y = PyFloat_AsDouble(a[1]);
    return (*x == -1.0 || *y == -1.0) && PyErr_Occurred() ? -1 : 0;
}
static PyObject *pair(double a, double b)
{
    PyObject *t = PyTuple_New(2);
    PyTuple_SET_ITEM(t, 0, PyFloat_FromDouble(a));
    PyTuple_SET_ITEM(t, 1, PyFloat_FromDouble(b));
    return t;
}
static PyObject *value(PyObject *m, PyObject *const *a, Py_ssize_t n)
{
    double x, y, v; (void)m;
    if (numbers(a, n, &x, &y) < 0) return NULL;
    f(x, y, &v);
    return PyFloat_FromDouble(v);
}
static PyObject *grad(PyObject *m, PyObject *const *a, Py_ssize_t n)
{
    double x, y, dx, dy; (void)m;
    if (numbers(a, n, &x, &y) < 0) return NULL;
    f_grad(x, y, &dx, &dy);
    return pair(dx, dy);
}
static PyObject *value_and_grad(PyObject *m, PyObject *const *a, Py_ssize_t n)
{
    double x, y, v, dx, dy; (void)m;
    if (numbers(a, n, &x, &y) < 0) return NULL;
    f_value_and_grad(x, y, &v, &dx, &dy);
    PyObject *t = PyTuple_New(2);
    PyTuple_SET_ITEM(t, 0, PyFloat_FromDouble(v));
    PyTuple_SET_ITEM(t, 1, pair(dx, dy));
    return t;
}
#else
static double *data(PyObject *o, int flags)
{
    PyArrayObject *a = (PyArrayObject *)o;
    if (!PyArray_CheckExact(o) || PyArray_TYPE(a) != NPY_DOUBLE || !PyArray_CHKFLAGS(a, flags) ||
        !PyArray_ISNOTSWAPPED(a) || PyArray_NDIM(a) != 1 || PyArray_DIM(a, 0) != N) {
        PyErr_SetString(PyExc_TypeError, "a vector");
        return NULL;
    }
    return PyArray_DATA(a);
}
static PyObject *value(PyObject *m, PyObject *const *a, Py_ssize_t n)
{
    double v, *x; (void)m;
    if (n != 1 || (x = data(a[0], NPY_ARRAY_CARRAY_RO)) == NULL) return NULL;
    f(x, &v);
    return PyFloat_FromDouble(v);
}
/* into(x, g) -> value */
static PyObject *grad(PyObject *m, PyObject *const *a, Py_ssize_t n)
{
    double v, *x, *g; @ROOM@ (void)m;
    if (n != 2 || (x = data(a[0], NPY_ARRAY_CARRAY_RO)) == NULL) return NULL;
    if ((g = data(a[1], NPY_ARRAY_CARRAY)) == NULL) return NULL;
    f_value_and_grad(x, &v, g WORK);
    return PyFloat_FromDouble(v);
}
static PyObject *value_and_grad(PyObject *m, PyObject *const *a, Py_ssize_t n)
{
    double v, *x; npy_intp dims[] = {N}; @ROOM@ (void)m;
    if (n != 1 || (x = data(a[0], NPY_ARRAY_CARRAY_RO)) == NULL) return NULL;
    PyObject *g = PyArray_SimpleNew(1, dims, NPY_DOUBLE);
    f_value_and_grad(x, &v, PyArray_DATA((PyArrayObject *)g) WORK);
    PyObject *t = PyTuple_New(2);
    PyTuple_SET_ITEM(t, 0, PyFloat_FromDouble(v));
    PyTuple_SET_ITEM(t, 1, g);
    return t;
}
/* into(x, v, g) -> None */
static PyObject *into(PyObject *m, PyObject *const *a, Py_ssize_t n)
{
    double *x, *g; PyArrayObject *const v = n == 3 ? (PyArrayObject *)a[1] : NULL; @ROOM@ (void)m;
    if (v == NULL || (x = data(a[0], NPY_ARRAY_CARRAY_RO)) == NULL) return NULL;
    if ((g = data(a[2], NPY_ARRAY_CARRAY)) == NULL) return NULL;
    if (!PyArray_Check(a[1]) || PyArray_TYPE(v) != NPY_DOUBLE || !PyArray_ISCARRAY(v)) return NULL;
    f_value_and_grad(x, PyArray_DATA(v), g WORK);
    Py_RETURN_NONE;
}
/* into(x, g) -> value, through the buffer protocol */
static PyObject *buffers(PyObject *m, PyObject *const *a, Py_ssize_t n)
{
    Py_buffer x, g; double v; @ROOM@ (void)m;
    if (n != 2 || PyObject_GetBuffer(a[0], &x, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) < 0) return NULL;
    if (PyObject_GetBuffer(a[1], &g, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE) < 0) return NULL;
    if (x.ndim != 1 || x.shape[0] != N || x.format[0] != 'd' || g.ndim != 1 || g.shape[0] != N || g.format[0] != 'd') {
        PyErr_SetString(PyExc_TypeError, "two vectors");
        return NULL;
    }
    f_value_and_grad(x.buf, &v, g.buf WORK);
    PyBuffer_Release(&x);
    PyBuffer_Release(&g);
    return PyFloat_FromDouble(v);
}
#endif
#define F(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, NULL},
static PyMethodDef methods[] = {F(value) F(grad) F(value_and_grad)
#if !SCALARS
F(buffers) F(into)
#endif
{NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "hand", NULL, -1, methods, NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit_hand(void)
{
    import_array();
    return PyModule_Create(&definition);
}
"""


def hand(f: gs.CompiledFunction, n: int) -> Any:
    """The extension module that an expert writes around the same C code; n is 0 for two numbers."""
    work = f.workspace["value_and_grad"]
    text = GLUE.replace("@SCALARS@", str(int(n == 0))).replace("@N@", str(n))
    text = text.replace("@WORK@", ", work" if work else "").replace(
        "@ROOM@", f"double work[{work // 8}];" if work else ""
    )
    return build_extension({**f.files, "hand.c": text}, "hand", BuildOptions(optional=f._built[2].optional, numpy=True))


def rosenbrock(x: Any) -> Any:
    return gs.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


SIZES = (10, 100, 1000)
Call = tuple[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def cases() -> dict[str, list[Call]]:
    """Workload: calls to compare, the hand-written one first."""
    x, y = gs.symbols("x y")
    f = gs.compile(x * y + y + gs.tanh(x), name="f", target="c")
    f(2.0, 3.0)
    h = hand(f, 0)
    p = (2.0, 3.0)
    found: dict[str, list[Call]] = {
        "seed value": [("hand", h.value, p, {}), ("f.value", f.value, p, {}), ("f", f, p, {})],
        "seed grad": [("hand", h.grad, p, {}), ("f.grad", f.grad, p, {})],
        "seed value and grad": [
            ("hand", h.value_and_grad, p, {}),
            ("f.value_and_grad", f.value_and_grad, p, {}),
        ],
    }
    for n in SIZES:
        f = gs.compile(rosenbrock, args=((n,),), name="f", target="c")
        v, g = np.linspace(0.5, 1.5, n), np.empty(n)
        f(v)
        h = hand(f, n)
        out = (None, g)
        found[f"Rosenbrock {n}, new array"] = [
            ("hand", h.value_and_grad, (v,), {}),
            ("f.value_and_grad", f.value_and_grad, (v,), {}),
        ]
        found[f"Rosenbrock {n}, out="] = [
            ("hand", h.grad, (v, g), {}),
            ("hand, buffer protocol", h.buffers, (v, g), {}),
            ("f.value_and_grad", f.value_and_grad, (v,), {"out": out}),
        ]
        found[f"Rosenbrock {n}, out= for all"] = [
            ("hand", h.into, (v, np.empty(()), g), {}),
            ("f.value_and_grad", f.value_and_grad, (v,), {"out": (np.empty(()), g)}),
        ]
        found[f"Rosenbrock {n}, gradient alone, out="] = [
            ("hand", h.grad, (v, g), {}),
            ("f.grad", f.grad, (v,), {"out": g}),
        ]
    return found


def timer(call: Call) -> Callable[[int], float]:
    """A loop of calls, written out as a user writes them."""
    _, function, args, named = call
    names = {f"a{i}": a for i, a in enumerate(args)} | {f"k_{k}": v for k, v in named.items()}
    inside = ", ".join([*(f"a{i}" for i in range(len(args))), *(f"{k}=k_{k}" for k in named)])
    once = f"        function({inside})\n" * 10
    text = (
        f"def run(times, clock, function, {', '.join(names)}):\n    start = clock()\n    for _ in range(times):\n{once}"
    )
    space: dict[str, Any] = {}
    exec(text + "    return (clock() - start) / times / 10\n", space)
    return lambda times: 1e9 * space["run"](times, time.perf_counter, function, **names)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--calls", type=int, default=2000)
    asked = parser.parse_args(arguments)
    print(f"{'workload':36} {'called':24} {'ns':>8} {'of hand':>8}")
    for workload, calls in cases().items():
        timers = [timer(c) for c in calls]
        rounds = [[t(asked.calls // 10) for t in timers] for _ in range(asked.rounds)]
        first = [r[0] for r in rounds]
        for i, call in enumerate(calls):
            ratio = statistics.median(r[i] / h for r, h in zip(rounds, first, strict=True))
            print(f"{workload:36} {call[0]:24} {statistics.median(r[i] for r in rounds):8.1f} {ratio:8.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
