"""gradsmith: from an expression or a function to source code for its gradient.

>>> import gradsmith as gs
>>> x, y = gs.symbols("x y")
>>> f = gs.compile(x*y + y + gs.tanh(x))
>>> [round(g, 4) for g in f.grad(2.0, 3.0)]
[3.0707, 3.0]
"""

from . import errors, ops
from ._version import __version__
from .api import compile
from .errors import *
from .function import CompiledFunction
from .graph import Graph
from .ops import *
from .target import target_names
from .trace import Expr, constant, symbol, symbols
from .tracing import spec
from .types import Dim

__all__ = [
    "CompiledFunction",
    "Dim",
    "Expr",
    "Graph",
    "__version__",
    "compile",
    "constant",
    "spec",
    "symbol",
    "symbols",
    "target_names",
    *errors.__all__,
    *ops.__all__,
]
