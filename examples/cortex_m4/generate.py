"""A neural controller that goes on learning on a Cortex-M4: its loss and gradient in float32, without a heap.

Four sensor values, eight hidden units, one command. Run it, and see README.md for the rest.
"""

from pathlib import Path
from typing import Any

import gradsmith as gs


def loss(sensors: Any, wanted: Any, hidden: Any, bias: Any, last: Any) -> Any:
    """The squared error of the command that the network gives for `sensors`."""
    command = gs.sum(last * gs.tanh(hidden @ sensors + bias))
    return (command - wanted) ** 2


if __name__ == "__main__":
    f = gs.compile(
        loss,
        args=((4,), (), (8, 4), (8,), (8,)),
        wrt=("hidden", "bias", "last"),
        dtype="float32",
        target="c",
        name="learn",
        simd="off",  # there are no vectors, and the C library's functions are shorter
    )
    f.save(Path(__file__).parent / "build")
    print(f"{f.workspace['value_and_grad']} bytes of workspace for value and gradient")
