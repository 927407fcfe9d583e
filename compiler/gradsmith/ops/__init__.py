"""The ops: one module a family, one record an op. Importing this package fills the op table."""

from . import activation, arithmetic, contraction, elementary, layout, leaf, operators, reduction, selection
from .activation import *
from .arithmetic import *
from .contraction import *
from .elementary import *
from .layout import *
from .reduction import *
from .selection import *

__all__ = [
    *activation.__all__,
    *arithmetic.__all__,
    *contraction.__all__,
    *elementary.__all__,
    *layout.__all__,
    *leaf.__all__,
    *operators.__all__,
    *reduction.__all__,
    *selection.__all__,
]
