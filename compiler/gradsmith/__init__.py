"""gradsmith: from an expression or a function to source code for its gradient.

>>> import gradsmith as gs
>>> x, y = gs.symbols("x y")
>>> f = gs.compile(x*y + y + gs.tanh(x))
>>> [round(g, 4) for g in f.grad(2.0, 3.0)]
[3.0707, 3.0]
"""

from ._version import __version__ as __version__
from .api import compile as compile
from .errors import *
from .function import CompiledFunction as CompiledFunction
from .graph import Graph as Graph
from .ops import *
from .target import target_names as target_names
from .trace import Expr as Expr
from .trace import constant as constant
from .trace import symbol as symbol
from .trace import symbols as symbols
from .tracing import spec as spec
from .types import Dim as Dim
from .verification.grad_check import grad_check as grad_check
