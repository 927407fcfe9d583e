"""The ops: one module a family, one record an op. Importing this package fills the op table.

Each module's `__all__` is what it adds to the public namespace. There is no `__all__` here, because type checkers
cannot follow a computed one, and a list of all ops would be a second place to touch for each new op.
"""

from . import leaf, operators
from .activation import *
from .arithmetic import *
from .contraction import *
from .elementary import *
from .indexing import *
from .joining import *
from .layout import *
from .memory import *
from .reduction import *
from .selection import *
