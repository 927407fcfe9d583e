"""Retype: the same graph in another floating-point type, for `compile(..., dtype="float32")`, and back for references.

In: a graph, a dtype, and the one whose place it takes. Out: a graph whose values, constants and conversions all have
the new one; constants are rounded once, from the numbers they were written as.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Graph
from ..types import FLOAT64, Bundle, DType, Type

__all__ = ["retype"]


def retype(graph: Graph, dtype: DType, of: DType = FLOAT64) -> Graph:
    """`graph` with `dtype` in place of the dtype `of`; `graph` itself where there is nothing to change."""
    if dtype == of or (not graph.has_bodies and all(n.type.dtype != of for n in graph.ordered())):
        return graph

    def changed(value: Any) -> Any:
        if isinstance(value, Graph):
            return retype(value, dtype, of)
        if isinstance(value, Bundle):
            return Bundle(types=tuple(map(changed, value.types)))
        if isinstance(value, Type):
            return Type(value.shape, changed(value.dtype))
        return dtype if isinstance(value, DType) and value == of else value

    new = Graph()
    keys: dict[int, int] = {}
    for n in graph.ordered():
        params = {name: changed(value) for name, value in n.params.items()}
        if n.op == "constant" and n.type.dtype == of:
            with np.errstate(over="ignore"):
                value = np.asarray(n.params["value"]).astype(dtype.name)
            value.setflags(write=False)
            params["value"] = value if value.ndim else value.item()
        keys[n.key] = new.add(n.op, [keys[a] for a in n.args], params, changed(n.type), n.origin)
    new.graph["inputs"] = tuple(keys[k] for k in graph.inputs)
    new.graph["outputs"] = tuple(keys[k] for k in graph.outputs)
    new.graph["cotangents"] = {keys[p]: keys[c] for p, c in graph.cotangents.items()}
    return new
