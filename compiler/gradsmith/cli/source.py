"""From words to a compiled function: formulas, files of the user, shapes and points.

In: what stands on the command line. Out: objects for `compile`, or an error that shows the word or the user's line.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import typer

from ..errors import GradsmithError, SpecError
from .terminal import progress

if TYPE_CHECKING:
    from ..function import CompiledFunction

__all__ = ["compiled", "read_point"]


def compiled(
    source: str,
    args: list[str] | None,
    *,
    target: str,
    wrt: str | None = None,
    derivatives: str | None = None,
    **options: Any,
) -> CompiledFunction:
    """What `compile` makes of the words: `source` is a formula or FILE.py:FUNC, the others are those of the options."""
    shapes = _shapes(args or [])
    by = _names(wrt)
    with progress(), contextlib.redirect_stdout(sys.stderr):  # what the user's program prints is not our output
        from ..api import compile

        file = re.fullmatch(r"(.+\.py)(?::([\w.]+)?)?", source.strip())
        with _user_file(Path(file[1]), file[2] or "") if file else contextlib.nullcontext(source) as found:
            return compile(
                found,
                args=_arguments(found, shapes),
                wrt=by[0] if by is not None and len(by) == 1 else by,
                target=target,
                derivatives=_names(derivatives),
                **options,
            )


def _names(text: str | None) -> tuple[str, ...] | None:
    """`x, y` as ("x", "y"); None stays None."""
    return None if text is None else tuple(word.strip() for word in text.split(",") if word.strip())


def _shapes(texts: Sequence[str]) -> dict[str, Any]:
    """`W=3x4,b=3,x` as {"W": (3, 4), "b": (3,), "x": ()}; `p.W=3` as {"p": {"W": (3,)}}, `p.0=3` as {"p": [(3,)]}.

    >>> _shapes(["W=3x4, b=n", "p.w=2,p.c"])
    {'W': (3, 4), 'b': ('n',), 'p': {'w': (2,), 'c': ()}}
    """
    found: dict[str, Any] = {}
    for entry in filter(None, (e.strip() for text in texts for e in text.split(","))):
        match = re.fullmatch(r"([^\W\d]\w*(?:\.\w+)*)\s*(?:=\s*(\w+))?", entry)
        dims = (match[2] or "").split("x") if match and match[2] else []
        if match is None or not all(d.isdigit() or d.isidentifier() for d in dims):
            raise typer.BadParameter(
                f"{entry!r} is not NAME=SHAPE, such as W=3x4, b=3 or x (a scalar); several are separated by commas",
                param_hint="--args",
            )
        *path, last = match[1].split(".")
        place = found
        for step in path:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise typer.BadParameter(f"{entry!r}: {step} has a shape of its own already", param_hint="--args")
        place[last] = tuple(int(d) if d.isdigit() else d for d in dims)
    return {name: _listed(tree) for name, tree in found.items()}


def _listed(tree: Any) -> Any:
    """Tables whose keys are 0, 1, 2 … as lists."""
    if not isinstance(tree, dict):
        return tree
    branches = {key: _listed(branch) for key, branch in tree.items()}
    places = [str(i) for i in range(len(branches))]
    return [branches[key] for key in places] if sorted(branches) == sorted(places) else branches


def _arguments(found: Any, shapes: Mapping[str, Any]) -> Any:
    """`args=` of `compile`: the given shapes, and scalars for all that has none."""
    if not shapes:
        return None
    if isinstance(found, str):
        from ..frontends.text import parse
        from ..trace import symbol

        _, used = parse(
            found, {name: symbol(name, shape) for name, shape in shapes.items() if isinstance(shape, tuple)}
        )
        names, complete = [str(x.name) for x in used], dict(shapes)
    elif callable(found):
        parameters = inspect.signature(found).parameters.values()
        names = [p.name for p in parameters]
        complete = {p.name: shapes.get(p.name, ()) for p in parameters if p.name in shapes or p.default is p.empty}
    else:
        return list(shapes)
    unknown = [n for n in shapes if n not in names]
    nested = [n for n in shapes if isinstance(found, str) and not isinstance(shapes[n], tuple)]
    if unknown:
        raise SpecError(f"--args names {', '.join(unknown)}, but the arguments are {', '.join(names) or 'none'}")
    if nested:
        raise SpecError(f"--args gives {nested[0]!r} entries, but the values of a formula are scalars and arrays")
    return complete


@contextlib.contextmanager
def _user_file(path: Path, name: str) -> Iterator[Any]:
    """The object `name` of a Python file. While open, the file's folder is on `sys.path`.

    What the user's program raises becomes an error that shows its line.
    """
    if not path.is_file():
        raise SpecError(f"there is no file {path}")
    if not name:
        raise SpecError(f"which function of {path}? Write {path}:FUNC")
    sys.path.insert(0, str(path.resolve().parent))
    try:
        yield _member(_imported(path), path, name)
    except (GradsmithError, typer.Exit, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit too
        place = _place(error, path)
        if not place:
            raise
        raise SpecError(f"{path} raised {type(error).__name__}: {error}\n  {place}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))


def _imported(path: Path) -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(f"gradsmith file {path.stem}", path)  # no module the file imports is called so
    if spec is None or spec.loader is None:  # the name ends in .py, so there is a loader for it
        raise SpecError(f"{path} cannot be imported")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def _member(module: ModuleType, path: Path, name: str) -> Any:
    found: Any = module
    for word in name.split("."):
        try:
            found = getattr(found, word)
        except AttributeError:
            there = [n for n, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == module.__name__]
            raise SpecError(f"{path} has no {name!r}; its functions are {', '.join(there) or 'none'}") from None
    return found


def _place(error: BaseException, path: Path) -> str:
    """The last line under way in the user's folder, or "" where none was."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"at {Path(error.filename).name}:{error.lineno}: {(error.text or '').strip()}"
    folder, package = f"{path.resolve().parent}{os.sep}", str(Path(__file__).resolve().parents[1])
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if os.path.realpath(f.filename).startswith(folder) and not os.path.abspath(f.filename).startswith(package)
    ]
    return f"at {Path(frames[-1].filename).name}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""


def read_point(texts: Sequence[str] | None) -> dict[str, Any]:
    """`x=2` and `v=[1,2]` as numbers and nested lists, read as JSON.

    >>> read_point(["x=2, y=-1e-3", "v=[1,2]"])
    {'x': 2.0, 'y': -0.001, 'v': [1, 2]}
    """
    found: dict[str, Any] = {}
    for entry in (e for text in texts or () for e in re.split(r",(?=\s*[^\W\d]\w*\s*=)", text)):
        name, equals, text = (part.strip() for part in entry.partition("="))
        try:
            value = json.loads(text) if text[:1] == "[" else float(text)
        except ValueError:
            value = None
        if not equals or not name.isidentifier() or value is None:
            raise typer.BadParameter(f"{entry.strip()!r} is not NAME=VALUE, such as x=2 or v=[1,2]", param_hint="--at")
        if name in found:
            raise typer.BadParameter(f"{name!r} is given twice", param_hint="--at")
        found[name] = value
    return found
