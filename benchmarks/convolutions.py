"""Convolutions and their slopes beside torch, and as a share of the peak of multiply-adds."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from harness.aims import Aim
from harness.flags import march_option
from harness.native import peak
from harness.records import Build, Family, Ready, Workload, in_type, placed

__all__ = ["FAMILY"]


@dataclass(frozen=True)
class Convolution:
    """Pictures of so many channels, rows and columns, and `filters` of `taps` by `taps`; no padding, steps of one.

    slopes: by pictures and filters, for a cotangent that is given, in place of the value.
    """

    pictures: int
    channels: int
    rows: int
    columns: int
    filters: int
    taps: int
    slopes: bool = False

    @property
    def name(self) -> str:
        sizes = f"{self.pictures}x{self.channels}x{self.rows}x{self.columns}"
        return f"{self.taps}x{self.taps} of {sizes}, {self.filters} filters" + (", slopes" if self.slopes else "")

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the pictures, the filters and the result."""
        rest = (self.rows - self.taps + 1, self.columns - self.taps + 1)
        given = (self.pictures, self.channels, self.rows, self.columns)
        return [given, (self.filters, self.channels, self.taps, self.taps), (self.pictures, self.filters, *rest)]

    @property
    def operations(self) -> float:
        terms = self.channels * self.taps * self.taps * (2 if self.slopes else 1)
        return 2.0 * terms * math.prod(self.shapes[2])


SIZES = [(1, 8, 28, 28, 8, 3), (32, 8, 28, 28, 16, 3), (4, 64, 56, 56, 64, 3), (32, 16, 14, 14, 32, 5)]
CONVOLUTIONS = [Convolution(*size, slopes) for size in SIZES for slopes in (False, True)]


def draw(case: Convolution, rng: np.random.Generator) -> Sequence[Any]:
    return [rng.normal(size=shape) for shape in case.shapes[: 3 if case.slopes else 2]]


def gradsmith(case: Convolution, dtype: str, arguments: Sequence[Any]) -> Ready:
    import gradsmith as gs

    def weighed(x: Any, w: Any, g: Any) -> Any:
        return gs.sum(gs.conv2d(x, w) * g)

    f = gs.compile(
        weighed if case.slopes else gs.conv2d, args=tuple(a.shape for a in arguments), target="c", name="f",
        wrt=(0, 1) if case.slopes else None, derivatives="grad" if case.slopes else "value", dtype=dtype,
        selftest=False, **march_option(),
    )  # fmt: skip
    if case.slopes:
        return Ready(f.grad, tuple(arguments), lambda r: list(r), {"out": tuple(placed(a) for a in arguments[:2])})
    return Ready(f, tuple(arguments), lambda r: [r], {"out": placed(np.empty(case.shapes[2], dtype))})


def torch(case: Convolution, dtype: str, arguments: Sequence[Any]) -> Ready:
    import torch as library

    library.set_num_threads(1)
    given = [library.tensor(a, dtype=getattr(library, dtype)) for a in arguments]
    if not case.slopes:
        return Ready(library.nn.functional.conv2d, tuple(given), lambda r: [r.numpy()])
    x, w, g = given
    back = functools.partial(
        library.ops.aten.convolution_backward,
        g,
        x,
        w,
        None,
        [1, 1],
        [0, 0],
        [1, 1],
        False,
        [0, 0],
        1,
        [True, True, False],
    )
    return Ready(back, (), lambda r: [a.numpy() for a in r[:2]])


def reference(case: Convolution, *arguments: Any) -> list[Any]:
    return torch(case, "float64", arguments).answer()


def workload(case: Convolution, dtype: str) -> Workload:
    entries: dict[str, Build] = {
        "gradsmith C": functools.partial(gradsmith, case, dtype),
        "torch": functools.partial(torch, case, dtype),
        "peak": lambda _: peak(dtype, case.operations),
    }
    name = in_type(case.name, dtype)
    return Workload(
        name, functools.partial(draw, case), functools.partial(reference, case), entries, dtype, case.operations
    )


AGAINST, SHARE = ("gradsmith C", "torch"), ("peak", "gradsmith C")

FAMILY = Family(
    name="convolutions",
    title="Convolutions",
    says="Values, or slopes by pictures and filters for a given cotangent, with the call from Python; ours writes into"
    " given arrays, torch returns new ones. The peak is that of fused multiply-adds of registers, taken by turns with"
    " the rest.",
    unit="GFLOP/s",
    seconds=1e-9,
    workloads=[workload(case, dtype) for dtype in ("float64", "float32") for case in CONVOLUTIONS],
    pairs=[AGAINST, SHARE],
    peers={},
    aims=[Aim(" / ".join(AGAINST), most=1.0), Aim("share of the peak", least=0.7)],
    titles={SHARE: "share of the peak"},
    yardsticks=("peak",),
    per_second=True,
)
