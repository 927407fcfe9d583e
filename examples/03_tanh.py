"""z = x*y + y + tanh(x) at (2, 3): the value is 9.9640 and the gradient (3.0707, 3.0000).

A demonstration in circulation prints 7.9640 and 3.9640 for this function. Three routes that share no code refute it:
gradsmith, torch, and the formula.
"""

import math

import torch

import gradsmith as gs

f = gs.compile("x*y + y + tanh(x)")  # text is parsed, never evaluated
z, (z_x, z_y) = f.value_and_grad(2.0, 3.0)

x, y = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (2.0, 3.0))
t = x * y + y + torch.tanh(x)
t.backward()

print("z = x*y + y + tanh(x) at x = 2, y = 3\n")
print("             z        dz/dx    dz/dy")
print(f"gradsmith    {z:.4f}   {z_x:.4f}   {z_y:.4f}")
print(f"torch        {t.item():.4f}   {x.grad.item():.4f}   {y.grad.item():.4f}")
print(f"by formula   {2 * 3 + 3 + math.tanh(2):.4f}   {3 + 1 - math.tanh(2) ** 2:.4f}   {2 + 1:.4f}")

assert math.isclose(z, t.item(), rel_tol=1e-15)
assert math.isclose(z_x, x.grad.item(), rel_tol=1e-15)
assert z_y == y.grad.item()

print("\nA demonstration in circulation prints other numbers, which all three refute:")
print(f"  not z = 7.9640 but {z:.4f}")
print(f"  not a slope of 3.9640 (= y + tanh(x), as if tanh were its own slope) but {z_x:.4f}")
assert math.isclose(3.9640, 3 + math.tanh(2), abs_tol=5e-5)

# Far out, 1 - tanh(x)**2 has lost every digit, while the generated code has not.
far = f.grad(20.0, 0.0)[0]
print(f"\nThe slope at x = 20, y = 0: {far:.6e}; the textbook's 1 - tanh(x)^2 gives {1 - math.tanh(20.0) ** 2:.1f}")

print(f"\n{f.check(raise_on_error=True)}")
