/* Calls from Python to hand-written kernels, as short as CPython allows: vectorcall, arrays checked and read by NumPy's
 * own macros (which is faster than the buffer protocol), results written into arrays of the caller.
 *
 * A kernel is `static void f(const ptrdiff_t *n, real *const *p)`: the sizes and the elements of its arrays, inputs
 * first. ARRAYS(f, count) makes the Python function of it, NEW(f, inputs, gradients, …) another one that allocates its
 * results: (value, gradients …), each of the size of the input that it belongs to. MODULE(name, METHOD(f), …) makes the
 * module. */
#ifndef CALL_H
#define CALL_H

#ifndef NDEBUG
#define NDEBUG
#endif
#define PY_SSIZE_T_CLEAN
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <Python.h>
#include <numpy/arrayobject.h>
#include <math.h>
#include <stddef.h>

#if REAL_IS_FLOAT
typedef float real;
#define REAL_TYPE NPY_FLOAT32
#else
typedef double real;
#define REAL_TYPE NPY_FLOAT64
#endif

static inline int real_array(PyObject *a) {
    return PyArray_Check(a) && PyArray_TYPE((PyArrayObject *)a) == REAL_TYPE && PyArray_ISCARRAY_RO((PyArrayObject *)a);
}

/* Where each of `count` arrays begins, and its size; 0, with an error set, if they are others. */
static inline int read_arrays(const char *f, PyObject *const *a, Py_ssize_t given, int count, real **p, ptrdiff_t *n) {
    if (given != count) {
        PyErr_Format(PyExc_TypeError, "%s takes %d arrays", f, count);
        return 0;
    }
    for (int k = 0; k < count; ++k) {
        if (!real_array(a[k])) {
            PyErr_Format(PyExc_TypeError, "%s: argument %d is no contiguous array of reals", f, k + 1);
            return 0;
        }
        p[k] = (real *)PyArray_DATA((PyArrayObject *)a[k]);
        n[k] = PyArray_SIZE((PyArrayObject *)a[k]);
    }
    return 1;
}

#define ARRAYS(f, count)                                                                                               \
    static PyObject *f##_of_arrays(PyObject *self, PyObject *const *a, Py_ssize_t given) {                             \
        real *p[count];                                                                                                \
        ptrdiff_t n[count];                                                                                            \
        (void)self;                                                                                                    \
        if (!read_arrays(#f, a, given, count, p, n)) {                                                                 \
            return NULL;                                                                                               \
        }                                                                                                              \
        f(n, p);                                                                                                       \
        Py_RETURN_NONE;                                                                                                \
    }

#define NEW(f, inputs, gradients, ...)                                                                                 \
    static PyObject *f##_new_of_arrays(PyObject *self, PyObject *const *a, Py_ssize_t given) {                         \
        const int by[] = {__VA_ARGS__};                                                                                \
        real *p[inputs + 1 + gradients], value;                                                                        \
        ptrdiff_t n[inputs + 1 + gradients];                                                                           \
        (void)self;                                                                                                    \
        if (!read_arrays(#f, a, given, inputs, p, n)) {                                                                \
            return NULL;                                                                                               \
        }                                                                                                              \
        PyObject *result = PyTuple_New(1 + gradients);                                                                 \
        p[inputs] = &value;                                                                                            \
        n[inputs] = 1;                                                                                                 \
        for (int k = 0; result != NULL && k < gradients; ++k) {                                                        \
            PyObject *made = PyArray_SimpleNew(1, PyArray_DIMS((PyArrayObject *)a[by[k]]), REAL_TYPE);                 \
            if (made == NULL) {                                                                                        \
                Py_CLEAR(result);                                                                                      \
                break;                                                                                                 \
            }                                                                                                          \
            PyTuple_SET_ITEM(result, 1 + k, made);                                                                     \
            p[inputs + 1 + k] = (real *)PyArray_DATA((PyArrayObject *)made);                                           \
            n[inputs + 1 + k] = n[by[k]];                                                                              \
        }                                                                                                              \
        if (result != NULL) {                                                                                          \
            f(n, p);                                                                                                   \
            PyObject *number = PyFloat_FromDouble((double)value);                                                      \
            if (number == NULL) {                                                                                      \
                Py_CLEAR(result);                                                                                      \
            } else {                                                                                                   \
                PyTuple_SET_ITEM(result, 0, number);                                                                   \
            }                                                                                                          \
        }                                                                                                              \
        return result;                                                                                                 \
    }

/* A tuple of floats. */
static inline PyObject *floats(const double *numbers, Py_ssize_t count) {
    PyObject *result = PyTuple_New(count);
    for (Py_ssize_t k = 0; result != NULL && k < count; ++k) {
        PyObject *number = PyFloat_FromDouble(numbers[k]);
        if (number == NULL) {
            Py_CLEAR(result);
            break;
        }
        PyTuple_SET_ITEM(result, k, number);
    }
    return result;
}

#define METHOD(f) {#f, (PyCFunction)(void (*)(void))f##_of_arrays, METH_FASTCALL, NULL}

#define MODULE(name, ...)                                                                                              \
    static PyMethodDef methods[] = {__VA_ARGS__, {NULL, NULL, 0, NULL}};                                               \
    static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "hand_" #name, NULL, -1, methods, NULL, NULL, NULL, NULL};      \
    PyMODINIT_FUNC PyInit_hand_##name(void) {                                                                               \
        import_array();                                                                                                \
        return PyModule_Create(&module);                                                                               \
    }

#endif
