"""gradsmith: from an expression or a function to source code for its gradient.

>>> import gradsmith as gs
>>> x, y = gs.symbols("x y")
>>> f = gs.compile(x*y + y + gs.tanh(x))
>>> [f"{g:.4f}" for g in f.grad(2.0, 3.0)]
['3.0707', '3.0000']
"""

from math import e as e
from math import inf as inf
from math import nan as nan
from math import pi as pi

from ._version import __version__ as __version__
from .api import compile as compile
from .batch.batching import vmap as vmap
from .derive.custom import custom_derivative as custom_derivative
from .derive.transforms import grad as grad
from .derive.transforms import hessian as hessian
from .derive.transforms import hessian_diag as hessian_diag
from .derive.transforms import hvp as hvp
from .derive.transforms import jacfwd as jacfwd
from .derive.transforms import jacobian as jacobian
from .derive.transforms import jacrev as jacrev
from .derive.transforms import jvp as jvp
from .derive.transforms import value_and_grad as value_and_grad
from .derive.transforms import vjp as vjp
from .errors import *
from .function import CompiledFunction as CompiledFunction
from .graph import Graph as Graph
from .ops import *
from .ops import linalg as linalg
from .ops.namespace import __array_api_version__ as __array_api_version__
from .ops.namespace import __array_namespace_info__ as __array_namespace_info__
from .target import target_names as target_names
from .trace import Expr as Expr
from .trace import constant as constant
from .trace import symbol as symbol
from .trace import symbols as symbols
from .tracing import spec as spec
from .tuning import Tuning as Tuning
from .types import BOOL as bool
from .types import FLOAT32 as float32
from .types import FLOAT64 as float64
from .types import INT32 as int32
from .types import INT64 as int64
from .types import Dim as Dim
from .types import DType as DType
from .verification.grad_check import grad_check as grad_check

newaxis = None  # the array API's name for a new axis in a subscript
