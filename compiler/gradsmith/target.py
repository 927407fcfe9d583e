"""Targets: a folder with a manifest and templates is a target, built in or the user's own.

In: a name, or the path of a folder that holds `target.toml`. Out: a `Target`. Guarantee: a target is data; adding
one takes no Python.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import jinja2

from .errors import TargetError
from .program import Program
from .registry import NEAR, Cell, Op
from .tuning import Tuning
from .types import FLOAT32, FLOAT64, DType, Type

__all__ = ["Target", "load_target", "render", "render_template", "target_names"]

_LOWERINGS = ("scalar", "array", "loops")
_LOADERS = ("python", "c")
_KINDS: Mapping[str, type] = {
    "description": str, "lowering": str, "comment": str, "reserved": list, "precedence": list, "literals": dict,
    "syntax": dict, "files": dict, "types": dict, "float32": dict, "cells": dict, "support": dict, "twin": str,
    "loader": str, "library": list, "helpers": dict, "loops": dict, "longest": int,
}  # fmt: skip
_CALL = re.compile(r"\b([A-Za-z_]\w*)\(")
_TUNED = re.compile(r"\{(?:tuning\.(\w+)|target\.threads)\}")
_LITERAL = re.compile(r"(?<![\w.])\d+\.\d*(?:[eE][-+]?\d+)?")
#: what code is linked with that calls the vector functions of somebody else
_VECTOR_LIBRARIES: Mapping[str, tuple[str, ...]] = {"sleef": ("sleefgnuabi",)}
#: where loops look for a cell of that kind, in this order: not all kernels are written twice
_VECTOR_CELLS: Mapping[str, tuple[str, ...]] = {"fast": ("fast", "simd")}
_KIND_NAMES: Mapping[type, str] = {str: "text", list: "a list", dict: "a table", int: "a number"}
_OPTIONAL = ("types", "float32", "cells", "support", "twin", "loader", "library", "helpers", "loops", "longest")


class _Pattern(str):
    """A statement's pattern; a placeholder that the lowering does not fill is an error that names it."""

    place = ""

    def format(self, *args: object, **fields: object) -> str:
        try:
            return str.format(self, *args, **fields)
        except (KeyError, IndexError, ValueError) as error:
            known = ", ".join(f"{{{name}}}" for name in fields)
            raise TargetError(f"{self.place} = {str(self)!r}: {error} cannot be filled; there are {known}") from None


class _Table(dict[str, str]):
    """A table of patterns of a manifest in which what is missing is an error with its name."""

    def __init__(self, target: str, table: str, entries: Mapping[str, str]) -> None:
        self._place = f"target {target!r}: the table [{table}] of target.toml"
        patterns = {key: _Pattern(text) for key, text in entries.items()}
        for key, pattern in patterns.items():
            pattern.place = f"{self._place}: {key}"
        super().__init__(patterns)

    def __missing__(self, key: str) -> str:
        raise TargetError(f"{self._place} lacks {key!r}")


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
    types: Mapping[str, str] = field(default_factory=dict)  # dtype -> the target's word for it
    float32: Mapping[str, str] = field(
        default_factory=dict
    )  # patterns that turn double's calls and literals into float's
    cells: Mapping[str, Cell | None] = field(default_factory=dict)  # of an op, or `op.dtype` as in op records
    support: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)  # likewise
    twin: str = ""
    loader: str = ""
    library: frozenset[str] = frozenset()  # functions that may be declared beside ours, so that ours have other names
    helpers: Mapping[str, str] = field(default_factory=dict)  # code that statements of a pattern of this name call
    loops: Mapping[str, str] = field(default_factory=dict)  # the syntax of loops, if it has both: see `form`
    longest: int = 0  # statements of straight-line code, beyond which loops are written
    lapack: bool = False  # whether its code may call LAPACK
    blas: str | None = None  # the library that its code calls for products of matrices
    simd: str = ""  # which cells its loops prefer: "simd" or "fast" for our vector kernels, "libmvec", "sleef"
    near: bool = True  # whether loops may call kernels for arguments near 0 alone, and run again where one is far
    strict: bool = False  # whether its code keeps to the order of operations that all targets share
    march: str | None = "native"  # what modules built here are compiled for
    threads: bool = False  # whether large loops and products of matrices may run in several threads
    lanes: bool = False  # whether scalars, too, stand in a loop: over the points of a batch
    tuning: Tuning = field(default_factory=Tuning)
    _found: dict[object, Cell | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def in_loop(self, type: Type) -> bool:
        """Whether values of `type` are computed in a loop that is worth vectors."""
        if self.lanes or not type.shape:
            return self.lanes
        return not (isinstance(type.size, int) and type.size < self.tuning.vector_elements)

    def vector(self, op: Op, dtype: DType = FLOAT64) -> str:
        """The key of the cell that loops over `op` prefer, or none."""
        if not self.simd or dtype.kind != "float":
            return ""
        kinds = (f"{self.name}.{kind}" for kind in _VECTOR_CELLS.get(self.simd, (self.simd,)))
        keys = (key for kind in kinds for key in (kind, f"{kind}.{NEAR}"))
        return next((k for k in keys if k in op.cells and (self.near or not k.endswith(NEAR))), "")

    def cell(self, op: Op, dtype: DType = FLOAT64, twin: bool = False, *, loop: bool = False) -> Cell | None:
        """How this target writes `op` on operands of `dtype`: its manifest's cell first, then the op record's.

        A cell for float32 that nobody wrote is made from the one for float64. In a `loop`, vector kernels come first.
        """
        key = (op, dtype, twin, loop)
        if key not in self._found:
            self._found[key] = self._cell(op, dtype, twin, loop)
        return self._found[key]

    def _cell(self, op: Op, dtype: DType, twin: bool, loop: bool) -> Cell | None:
        vector = self.vector(op, dtype) if loop or self.lanes else ""
        if vector:
            found = op.cells.get(f"{vector}.{dtype.name}", op.cells[vector])
            made = dtype == FLOAT32 and isinstance(found, str) and f"{vector}.{dtype.name}" not in op.cells
            return _narrowed(str(found), tuple(self.float32.items())) if made else found
        if twin and f"{self.name}.{self.twin}" in op.cells:
            return op.cells[f"{self.name}.{self.twin}"]
        for key in (dtype.name, dtype.kind):
            if f"{op.name}.{key}" in self.cells:
                return self.cells[f"{op.name}.{key}"]
            if f"{self.name}.{key}" in op.cells:
                return op.cells[f"{self.name}.{key}"]
        cell = self.cells.get(op.name, op.cells.get(self.name))
        if dtype == FLOAT32 and self.float32 and isinstance(cell, str):
            return _narrowed(cell, tuple(self.float32.items()))
        return cell

    @cached_property
    def twin_name(self) -> str:
        """How op records name the twin's cells."""
        return f"{self.name}.{self.twin}"

    @property
    def returns(self) -> bool:
        """Whether functions return their results and make their buffers, and have no parameters for them."""
        return "output" not in self.syntax

    def support_texts(self, op: Op, dtype: DType, twin: bool = False, *, loop: bool = False) -> tuple[str, ...]:
        """The helper code that the cell of `op` for operands of `dtype` calls, with our `tuning` filled in."""
        key = self.vector(op, dtype) if loop else ""
        if key:
            found = op.support.get(f"{key}.{dtype.name}", op.support.get(key, ()))
        elif twin:
            found = op.support.get(f"{self.name}.{self.twin}", ())
        else:
            tables = ((self.support, op.name), (op.support, self.name))
            keys = ((table, key) for table, name in tables for key in (f"{name}.{dtype.name}", name))
            found = next((table[key] for table, key in keys if key in table), ())
        texts = (found,) if isinstance(found, str) else found

        def setting(m: re.Match[str]) -> str:
            return str(getattr(self.tuning, m[1]) if m[1] else int(self.threads))

        return tuple(_TUNED.sub(setting, text) for text in texts)

    def libraries(self, op: Op, dtype: DType, *, loop: bool = False) -> tuple[str, ...]:
        """What code is linked with in which this target's cell of `op` stands, as the linker's -l takes it."""
        if self.vector(op, dtype) if loop else "":
            return _VECTOR_LIBRARIES.get(self.simd, ())
        return tuple(op.libraries)

    def supports(self, dtype: DType) -> bool:
        """Whether the target has values of `dtype`."""
        return not self.types or dtype.name in self.types

    def writes(self, op: Op, *, loop: bool = False) -> bool:
        """Whether `op` needs no expansion here."""
        if (loop or self.lanes) and self.vector(op):
            return True
        if op.kind in ("leaf", "part"):
            return True
        if op.kind == "region":
            return self.lowering != "scalar"
        if self.lowering == "array" or op.kind == "elementwise":
            return self.cell(op) is not None or self.name in op.statements
        if op.kind == "kernel":
            return self.lowering == "loops" and self.cell(op) is not None
        return op.kind == "layout" or op.structure is not None


@lru_cache(maxsize=4096)
def _narrowed(cell: str, patterns: tuple[tuple[str, str], ...]) -> str:
    """A cell of double arithmetic as one of float arithmetic, by the items of a manifest's table for it."""
    float32 = dict(patterns)
    generic = float32.get("generic", "").split()
    called = _CALL.sub(lambda m: m[0] if m[1] in generic else float32["call"].format(name=m[1]) + "(", cell)
    return _LITERAL.sub(lambda m: float32["literal"].format(value=m[0]), called)


def _roots() -> tuple[Path, ...]:
    here = Path(__file__).resolve().parent
    return tuple(p for p in (here / "templates", here.parents[1] / "templates") if p.is_dir())


def target_names() -> list[str]:
    """The built-in targets, sorted."""
    return sorted({p.parent.name for root in _roots()[:1] for p in root.glob("*/target.toml")})


def load_target(target: str | Path) -> Target:
    """The target called `target`, or the one in the folder of that path."""
    if not isinstance(target, str | Path):
        raise TargetError(f"target={target!r}: give a name ({', '.join(target_names())}), or the path of a folder")
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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"target {folder.name!r}: target.toml is not valid TOML: {error}") from None
    problems = list(_problems(manifest))
    if problems:
        raise TargetError(f"target {folder.name!r}: target.toml {'; '.join(problems)}")
    fields: dict[str, Any] = dict(manifest)
    fields["reserved"] = frozenset(manifest["reserved"])
    fields["library"] = frozenset(manifest.get("library", ()))
    fields["precedence"] = tuple(tuple(level.split()) for level in manifest["precedence"])
    fields["literals"] = _Table(folder.name, "literals", manifest["literals"])
    fields["syntax"] = _Table(folder.name, "syntax", manifest["syntax"])
    fields["helpers"] = {key: text.strip("\n") for key, text in manifest.get("helpers", {}).items()}
    if "loops" in manifest:
        fields["loops"] = _Table(folder.name, "loops", manifest["syntax"] | manifest["loops"])
    return Target(name=folder.name, folder=folder, **fields)


def _problems(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a manifest, all of it."""
    missing = [key for key in _KINDS if key not in manifest and key not in _OPTIONAL]
    if missing:
        yield f"lacks {', '.join(missing)}"
    for key, value in manifest.items():
        texts: list[Any] = value if isinstance(value, list) else []
        texts = [*value, *value.values()] if isinstance(value, dict) else texts
        if key not in _KINDS:
            yield f"has the unknown entry {key}; the entries are {', '.join(_KINDS)}"
        elif not isinstance(value, _KINDS[key]):
            yield f"has {key} = {value!r}, which should be {_KIND_NAMES[_KINDS[key]]}"
        elif not all(isinstance(text, str) for text in texts):
            yield f"has an entry in {key} that is not text"
    for key, choices in (("lowering", _LOWERINGS), ("loader", _LOADERS)):
        if isinstance(manifest.get(key), str) and manifest[key] not in choices:
            yield f"has {key} = {manifest[key]!r}, which should be one of {', '.join(map(repr, choices))}"


def render(program: Program, target: Target) -> dict[str, str]:
    """The target's files: name -> text."""
    names = {pattern.replace("{name}", program.name): template for pattern, template in target.files.items()}
    for name in names:
        if Path(name).name != name or not {*"{}"}.isdisjoint(name):
            raise TargetError(
                f"target {target.name!r}: {name!r} in [files] of target.toml is not a plain file name around {{name}}"
            )
    return {name: render_template(target, template, vars(program)) for name, template in names.items()}


def render_template(target: Target, template: str, context: Mapping[str, Any]) -> str:
    """One template of the target's folder, filled from `context`."""
    try:
        return _environment(target.folder).get_template(template).render(context)
    except jinja2.TemplateNotFound as error:
        raise TargetError(f"target {target.name!r}: there is no template {error.name!r} beside target.toml") from None
    except jinja2.TemplateError as error:
        line = getattr(error, "lineno", None)
        place = f"{template}:{line}" if line else template
        raise TargetError(f"target {target.name!r}: {place}: {error.message}") from None


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
