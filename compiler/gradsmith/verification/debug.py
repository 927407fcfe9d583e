"""The debug twin: the same function, evaluated node by node, that stops where the first NaN or infinity is born.

In: a compiled function. Out: a callable that returns what `value_and_grad` returns (or the value, of a function that
has no derivatives), or raises `NonFiniteError`, which names the op, its operands and the user's line. Guarantee: it
computes by NumPy from the graph as it was derived, before any rewriting, so all targets have one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from ..errors import NonFiniteError, SpecError
from ..evaluate import evaluate
from .domain import checked_leaves
from .nonfinite import Stop, birth

if TYPE_CHECKING:
    from ..function import CompiledFunction

__all__ = ["DebugTwin"]


class DebugTwin:
    """Calls like `value_and_grad`, and raises `NonFiniteError` at the first value or cotangent that is not finite.

    What reaches no result does not count: a NaN in the branch of a `where` that is not taken, or in an element that is
    not read. `stop` is "nonfinite", or "nan" to let infinities pass. Infinite constants pass always; what they turn
    into a NaN does not.
    """

    def __init__(self, function: CompiledFunction, stop: Stop) -> None:
        if stop not in get_args(Stop):
            raise SpecError(f"stop={stop!r}: choose from {', '.join(map(repr, get_args(Stop)))}")
        self.function, self.stop = function, stop

    def __call__(self, /, *args: Any, **named: Any) -> Any:
        """The value and the gradient at the given arguments; raises `NonFiniteError` at the first NaN or infinity."""
        function = self.function
        values_only = function._program.grad is None and function._program.value_and_grad is None
        graph = function.graph if values_only else function.adjoint
        leaves = checked_leaves(function, args, named)
        if function._program.sizes:
            function = function._at(function._sizes_of(leaves))
            graph = function.graph if values_only else function.adjoint
        found = birth(graph, leaves, stop=self.stop)
        if found is not None:
            raise NonFiniteError(function.name, found)
        values = evaluate(graph, leaves)
        results = [v if v.ndim else v.item() for v in (np.asarray(values[k]) for k in graph.outputs)]
        count = len(function.graph.outputs)
        value = function._traced.outputs.unflatten(results[:count])
        return value if values_only else (value, function._wrt.pack(results[count:]))

    def __repr__(self) -> str:
        return f"<debug twin of {self.function!r}>"
