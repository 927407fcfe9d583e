"""The ops: one module a family, one record an op. Importing this package fills the op table.

Each module's `__all__` is what it adds to the public namespace. There is no `__all__` here, because type checkers
cannot follow a computed one, and a list of all ops would be a second place to touch for each new op.
"""

from . import lapack, leaf, linalg, operators, products
from .activation import *
from .arithmetic import *
from .contraction import *
from .control import *
from .conversion import *
from .convolution import *
from .creation import *
from .cumulative import *
from .einstein import *
from .elementary import *
from .floating import *
from .gathering import *
from .indexing import *
from .interpolation import *
from .inverse_hyperbolic import *
from .joining import *
from .layout import *
from .linear_algebra import *
from .logarithms import *
from .logic import *
from .losses import *
from .manipulation import *
from .memory import *
from .network import *
from .plane import *
from .reduction import *
from .rounding import *
from .searching import *
from .selection import *
from .special import *
from .special_bessel import *
from .special_error import *
from .special_gamma import *
from .stable import *
from .statistics import *
