"""`gradsmith targets` and `gradsmith ops`: what there is."""

from __future__ import annotations

from .app import app
from .options import Debug
from .terminal import table

__all__ = ["ops", "targets"]


@app.command()
def targets(debug: Debug = False) -> None:
    """List the languages that code can be written in.

    Any folder that holds a target.toml and templates is a target too: --target PATH.
    """
    from ..target import load_target, target_names

    found = [load_target(name) for name in target_names()]
    rows = [(t.name, "yes" if t.loader else "no", t.description) for t in found]
    table(("target", "callable from Python", "what it writes"), rows)


@app.command()
def ops(debug: Debug = False) -> None:
    """List the operations: what each computes, where it can be written, and its local derivative.

    \b
    Examples:
      gradsmith ops | grep tan
    """
    from .. import ops  # noqa: F401  (fills the table)
    from ..registry import OPS
    from ..target import load_target, target_names

    known = [load_target(name) for name in target_names()]
    rows = []
    for op in sorted((op for op in OPS.values() if op.kind != "leaf"), key=lambda op: op.name):
        writing = [t.name for t in known if t.writes(op) or op.expand is not None]
        operands = "any" if op.arity is None else str(op.arity)
        rows.append((op.name, operands, op.doc.strip().partition("\n")[0], " ".join(writing), op.slope))
    table(("op", "operands", "what it computes", "targets", "local derivative"), rows)
