"""The chain rule on y = a*b + c: worked out by hand, then by machine.

Shows `f.explain`, which writes out each forward and each backward step, and the generated Python that does the same.
"""

import inspect

import gradsmith as gs

a, b, c = 2.0, -3.0, 10.0

print("By hand")
print("=======")
u = a * b
y = u + c
print(f"  u = a*b = {u:g}")
print(f"  y = u + c = {y:g}")

dy_du, dy_dc = 1.0, 1.0  # of a sum: 1 for each part
du_da, du_db = b, a  # of a product: the other factor
dy_da, dy_db = dy_du * du_da, dy_du * du_db  # the chain rule
print(f"  dy/da = dy/du * du/da = 1 * b = {dy_da:g}")
print(f"  dy/db = dy/du * du/db = 1 * a = {dy_db:g}")
print(f"  dy/dc = {dy_dc:g}")


def y_of(a, b, c):
    """y = a*b + c"""
    u = a * b
    return u + c


f = gs.compile(y_of)

print("\nBy machine: gradsmith explains")
print("==============================")
print(f.explain(a=a, b=b, c=c))

print("By machine: gradsmith writes the code")
print("=====================================")
print(inspect.getsource(f.module.y_of_value_and_grad))

value, gradient = f.value_and_grad(a, b, c)
print(f"  value {value:g}, gradient {tuple(map(float, gradient))}")
assert (value, gradient) == (y, (dy_da, dy_db, dy_dc))
print("  The same by hand and by machine.")
