"""(x + y)*(x - y) and x**2 + 3*x + 1, given as SymPy expressions: what is generated, and what it costs.

SymPy differentiates the formula; gradsmith differentiates the computation and shares what value and gradient have in
common. Both give the same numbers.
"""

import inspect

import sympy

import gradsmith as gs

x, y = sympy.symbols("x y")

for name, formula in [("product", (x + y) * (x - y)), ("quadratic", x**2 + 3 * x + 1)]:
    f = gs.compile(formula, name=name)
    print(f"{name} = {formula}\n")
    print(inspect.getsource(getattr(f.module, f"{name}_value_and_grad")))

    symbols = sorted(formula.free_symbols, key=str)
    by_sympy = [sympy.lambdify(symbols, sympy.diff(formula, s)) for s in symbols]
    print("  at           value   gradient")
    for point in [(2.0, 3.0), (-1.5, 0.5), (0.0, 0.0)]:
        point = point[: len(symbols)]
        value, gradient = f.value_and_grad(*point)
        gradient = gradient if isinstance(gradient, tuple) else (gradient,)
        expected = tuple(float(slope(*point)) for slope in by_sympy)
        assert gradient == expected, (gradient, expected)
        at = ", ".join(f"{v:g}" for v in point)
        print(f"  {at:<10}{value:>8g}   {', '.join(f'{g:g}' for g in gradient)}")
    print(f"\n  {f.cost.arithmetic('value_and_grad')} operations for value and gradient together,")
    print(f"  {f.cost.arithmetic('value')} for the value alone; SymPy's formulas agree\n")
