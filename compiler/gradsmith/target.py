"""Targets: a folder with a manifest and templates is a target, built in or the user's own.

In: a name, or the path of a folder that holds `target.toml`. Out: a `Target`. Guarantee: a target is data; adding
one takes no Python.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2

from .errors import TargetError
from .program import Program
from .registry import Cell, Op

__all__ = ["Target", "load_target", "render", "render_template", "target_names"]

_LOWERINGS = ("scalar", "array", "loops")


@dataclass(frozen=True)
class Target:
    """A target's manifest: how code is lowered for it and how its statements look."""

    name: str
    folder: Path
    description: str
    lowering: str
    comment: str
    reserved: frozenset[str]
    precedence: tuple[tuple[str, ...], ...]
    literals: Mapping[str, str]
    syntax: Mapping[str, str]
    files: Mapping[str, str]
    cells: Mapping[str, Cell] = field(default_factory=dict)
    support: Mapping[str, str] = field(default_factory=dict)
    twin: str = ""
    loader: str = ""

    def cell(self, op: Op, twin: bool = False) -> Cell | None:
        """How this target writes `op`: its manifest's cell first, then the op record's."""
        if twin and f"{self.name}.{self.twin}" in op.cells:
            return op.cells[f"{self.name}.{self.twin}"]
        return self.cells.get(op.name, op.cells.get(self.name))

    def writes(self, op: Op) -> bool:
        """Whether `op` needs no expansion here."""
        if op.kind == "leaf":
            return True
        if self.lowering == "array" or op.kind == "elementwise":
            return self.cell(op) is not None or self.name in op.statements
        return op.kind == "layout" or op.structure is not None


def _roots() -> tuple[Path, ...]:
    here = Path(__file__).resolve().parent
    return tuple(p for p in (here / "templates", here.parents[1] / "templates") if p.is_dir())


def target_names() -> list[str]:
    """The built-in targets, sorted."""
    return sorted({p.parent.name for root in _roots()[:1] for p in root.glob("*/target.toml")})


def load_target(target: str | Path) -> Target:
    """The target called `target`, or the one in the folder of that path."""
    for root in _roots():
        if (root / str(target) / "target.toml").is_file() and str(target).isidentifier():
            return _load(root / str(target))
    if Path(target, "target.toml").is_file():
        return _load(Path(target).resolve())
    raise TargetError(
        f"there is no target {str(target)!r}: choose one of {', '.join(target_names())}, or give the path of a folder "
        "that holds a target.toml"
    )


@lru_cache(maxsize=32)
def _load(folder: Path) -> Target:
    try:
        manifest = tomllib.loads((folder / "target.toml").read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise TargetError(f"target {folder.name!r}: target.toml is not valid TOML: {error}") from None
    needed = {"description", "lowering", "comment", "reserved", "precedence", "literals", "syntax", "files"}
    missing = sorted(needed - manifest.keys())
    unknown = sorted(manifest.keys() - needed - {"cells", "support", "twin", "loader"})
    if missing or unknown:
        raise TargetError(f"target {folder.name!r}: target.toml lacks {missing} and has unknown {unknown}")
    if manifest["lowering"] not in _LOWERINGS:
        raise TargetError(f"target {folder.name!r}: lowering is {manifest['lowering']!r}, not one of {_LOWERINGS}")
    fields: dict[str, Any] = dict(manifest)
    fields["reserved"] = frozenset(manifest["reserved"])
    fields["precedence"] = tuple(tuple(level.split()) for level in manifest["precedence"])
    return Target(name=folder.name, folder=folder, **fields)


def render(program: Program, target: Target) -> dict[str, str]:
    """The target's files: name -> text."""
    return {
        pattern.format(name=program.name): render_template(target, template, vars(program))
        for pattern, template in target.files.items()
    }


def render_template(target: Target, template: str, context: Mapping[str, Any]) -> str:
    """One template of the target's folder, filled from `context`."""
    return _environment(target.folder).get_template(template).render(context)


@lru_cache(maxsize=32)
def _environment(folder: Path) -> jinja2.Environment:
    """The templates of a folder, parsed once; a changed file is read again."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the output is source code, not HTML
    )
