/* x*y + y + tanh(x) with its gradient: two numbers in, three out; and the same of arrays of one. */
#include "call.h"

static inline void seed_at(double x, double y, double *value, double *dx, double *dy) {
    const double t = tanh(x);
    *value = x * y + y + t;
    *dx = y + (1.0 - t * t);
    *dy = x + 1.0;
}

static PyObject *scalars_of_arrays(PyObject *self, PyObject *const *a, Py_ssize_t given) {
    (void)self;
    if (given != 2 || !PyFloat_CheckExact(a[0]) || !PyFloat_CheckExact(a[1])) {
        PyErr_SetString(PyExc_TypeError, "scalars takes two floats");
        return NULL;
    }
    double out[3];
    seed_at(PyFloat_AS_DOUBLE(a[0]), PyFloat_AS_DOUBLE(a[1]), out, out + 1, out + 2);
    return floats(out, 3);
}

/* x (2) -> value (1), gradient (2) */
static void arrays(const ptrdiff_t *n, real *const *p) {
    (void)n;
    seed_at(p[0][0], p[0][1], p[1], p[2], p[2] + 1);
}
ARRAYS(arrays, 3)
NEW(arrays, 1, 1, 0)

MODULE(seed, METHOD(scalars), METHOD(arrays), METHOD(arrays_new))
