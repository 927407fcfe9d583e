"""The SymPy frontend: SymPy expressions to gradsmith's and back.

In: a SymPy expression, condition, matrix or tuple, or a graph of scalars. Out: an `Expr` with its symbols sorted by
name, or SymPy expressions for every node. Guarantees: nothing recurses, so depth is no limit; a node that gradsmith
cannot compute is an `UnsupportedError` that names it and the remedy. SymPy is imported only by who uses it.
"""

from __future__ import annotations

import itertools
import keyword
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from ..as_graph import input_symbols
from ..errors import UnsupportedError
from ..graph import Graph, Node
from ..origin import Origin
from ..registry import OPS, lookup
from ..trace import Expr, as_expr, recording, symbol
from .common import Plan, fold, formula_origin
from .sympy_errors import children, short, written
from .sympy_rules import rules

__all__ = ["from_sympy", "is_sympy", "to_sympy"]


def is_sympy(value: object) -> bool:
    """Whether `value` is SymPy's, without importing SymPy to find out.

    >>> import sympy
    >>> is_sympy(sympy.Symbol("x")), is_sympy(1.0)
    (True, False)
    """
    sympy = sys.modules.get("sympy")
    types = (getattr(sympy, name, None) for name in ("Basic", "MatrixBase", "NDimArray"))
    return isinstance(value, tuple(t for t in types if t is not None))


def from_sympy(value: Any, known: Mapping[str, Expr] | None = None) -> tuple[Expr, list[Expr]]:
    """The expression that a SymPy object describes, and the symbols it depends on, sorted by SymPy's name.

    Scalars, conditions, matrices (two axes), arrays and tuples are read; a `MatrixSymbol` is an array argument, and a
    `Symbol` among its sizes a named dimension. Names that are not identifiers are changed: `\\alpha_{1}` is `alpha_1`.
    Powers with fractional exponents and logarithms are real: NaN where SymPy's value is complex.

    Parameters
    ----------
    value: a SymPy expression, matrix, array or `Tuple`.
    known: expressions to use for the symbols of these names, such as those of an earlier call.

    Raises `UnsupportedError` for nodes without a counterpart, and for two symbols that differ in assumptions only.

    >>> import sympy
    >>> x, y = sympy.symbols("x y")
    >>> from_sympy(x*y + y + sympy.tanh(x))
    (<gs.Expr add: f64>, [<gs.Expr x: f64>, <gs.Expr y: f64>])
    """
    nodes = _nodes(value)
    symbols = _symbols(nodes, known or {})
    table = rules(OPS.values(), symbols)

    def plan(node: Any) -> Plan:
        return next(table[cls] for cls in type(node).__mro__ if cls in table)(node)

    with recording() as state:
        text = written(value)
        state.origin = formula_origin("sympy", text) if text else Origin("sympy")
        result = as_expr(fold(value, plan))
    inputs = {x.serial: x for s in symbols.values() for x in input_symbols([s])}
    return result, list(inputs.values())


def _nodes(value: Any) -> list[Any]:
    """Every distinct object of the tree; sizes and names inside of matrix symbols are not part of it."""
    found: dict[int, Any] = {}
    stack = [value]
    while stack:
        node = stack.pop()
        if id(node) not in found:
            found[id(node)] = node
            stack.extend(children(node))
    return list(found.values())


# --- symbols --------------------------------------------------------------------------------------------------------


def _symbols(nodes: Iterable[Any], known: Mapping[str, Expr]) -> dict[Any, Expr]:
    """SymPy symbol -> our symbol, sorted by SymPy's name."""
    from sympy import MatrixSymbol, Symbol

    distinct = dict.fromkeys(n for n in nodes if isinstance(n, Symbol | MatrixSymbol))
    ordered = sorted(distinct, key=lambda s: str(s.name))
    for a, b in itertools.pairwise(ordered):
        if a.name == b.name:
            raise UnsupportedError(
                f"two different SymPy symbols are named {a.name!r} ({_assumptions(a)}; {_assumptions(b)}): "
                "rename one, or create both with the same assumptions"
            )
    names = _legal_names([s.name for s in ordered])
    return {s: known[s.name] if s.name in known else symbol(names[s.name], _shape(s)) for s in ordered}


def _assumptions(s: Any) -> str:
    given = [
        word for word in ("positive", "nonnegative", "negative", "integer", "real") if getattr(s, f"is_{word}", None)
    ]
    return f"a {type(s).__name__}, " + (" ".join(given) if given else "no assumptions")


def _legal_names(names: Sequence[str]) -> dict[str, str]:
    """Every name as a distinct identifier; legal names stay as they are."""
    legal = {n: n for n in names if n.isidentifier() and not keyword.iskeyword(n)}
    taken = set(legal.values())
    for name in names:
        if name not in legal:
            base = re.sub(r"_*\W[\W_]*", "_", name.replace("'", "_prime")).strip("_") or "symbol"
            base = f"{base}_" if keyword.iskeyword(base) else base if base.isidentifier() else f"symbol_{base}"
            choices = itertools.chain([base], (f"{base}_{i}" for i in itertools.count(1)))
            legal[name] = next(c for c in choices if c not in taken)
            taken.add(legal[name])
    return legal


def _shape(s: Any) -> tuple[Any, ...]:
    if not hasattr(s, "shape"):
        return ()
    for size in s.shape:
        if not (size.is_Integer or size.is_Symbol):
            raise UnsupportedError(f"MatrixSymbol {s.name!r} has the size {short(size)}: use a number or a symbol")
    return tuple(int(size) if size.is_Integer else _legal_names([size.name])[size.name] for size in s.shape)


# --- back to SymPy --------------------------------------------------------------------------------------------------


def to_sympy(graph: Graph) -> tuple[dict[int, Any], dict[int, Any]]:
    """SymPy's expression of every node of a graph of scalars, and the SymPy symbols of its inputs, both by key.

    The symbols are real. Raises `UnsupportedError` for arrays and for ops without a `sympy=` field.

    >>> from gradsmith.as_graph import to_graph
    >>> from gradsmith.trace import symbol
    >>> x = symbol("x")
    >>> graph = to_graph([x], [3.0 * x**2])
    >>> expressions, symbols = to_sympy(graph)
    >>> expressions[graph.outputs[0]].diff(symbols[graph.inputs[0]])
    6*x
    """
    import sympy

    expressions: dict[int, Any] = {}
    symbols: dict[int, Any] = {}
    for n in graph.ordered():
        if n.type.shape != ():
            raise UnsupportedError(f"{n.op} {n.type}: only graphs of scalars become SymPy expressions; use shape ()")
        if n.op == "input":
            symbols[n.key] = expressions[n.key] = sympy.Symbol(n.params["name"], real=True)
        elif n.op == "constant":
            expressions[n.key] = _number(sympy, n.params["value"])
        else:
            expressions[n.key] = _applied(sympy, n, [expressions[a] for a in n.args])
    return expressions, symbols


def _applied(sympy: Any, n: Node, operands: Sequence[Any]) -> Any:
    rule = lookup(n.op).sympy
    if rule is None:
        raise UnsupportedError(f"op {n.op!r} has no SymPy expression: give its record a sympy= field")
    try:
        return getattr(sympy, rule)(*operands) if isinstance(rule, str) else rule(sympy, *operands)
    except (ArithmeticError, AttributeError, RecursionError, TypeError, ValueError) as error:
        at = ", ".join(map(short, operands))
        raise UnsupportedError(f"SymPy refuses {n.op} of {at}: {error or type(error).__name__}") from None


def _number(sympy: Any, value: float | bool) -> Any:
    """A constant: exact where it is a short fraction, pi where it is pi."""
    if isinstance(value, bool):
        return sympy.true if value else sympy.false
    if math.isinf(value):
        return sympy.oo if value > 0 else -sympy.oo
    if abs(value) == math.pi:
        return sympy.pi if value > 0 else -sympy.pi
    exact = Fraction(value)
    if exact.denominator <= 1024 and abs(exact.numerator) < 2**53:
        return sympy.Rational(exact.numerator, exact.denominator)
    return sympy.Float(value)
