"""The command line: `gradsmith compile`, `check`, `explain`, `graph`, `targets`, `ops`.

In: a formula as text (parsed, never evaluated), or a function in a Python file. Out: on stdout what was asked for and
nothing else; on stderr errors and, on a terminal, a progress line. Exit status: 0 done, 1 `check` found a mismatch,
2 an error the user can mend, 3 a fault of gradsmith, 130 Ctrl-C.

Modules that take long to load are imported where they are needed, so that `--help` does not wait for them.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from ._version import __version__
from .errors import GradsmithError, SpecError

if TYPE_CHECKING:
    from .function import CompiledFunction

__all__ = ["app", "main"]

MISMATCH, USER_ERROR, FAULT, INTERRUPTED = 1, 2, 3, 130

app = typer.Typer(
    name="gradsmith",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
    help="""Turn a formula or a Python function into source code for its value and its gradient.

    \b
    Examples:
      gradsmith compile "x*y + y + tanh(x)"
      gradsmith compile model.py:loss --args W=64x32,b=32,x=64 --wrt W,b -t c -o out
      gradsmith check "x*y + y + tanh(x)" -t c
      gradsmith explain "x*y + y + tanh(x)" --at x=2 --at y=3
      gradsmith graph "a*b + a" --at a=2 --at b=3 -o graph.svg

    Exit status: 0 done, 1 a check found a mismatch, 2 an error, 3 a fault of gradsmith, 130 Ctrl-C.""",
)

# --- what several commands take ---------------------------------------------------------------------------------------

Source = Annotated[
    str,
    typer.Argument(
        metavar="EXPR|FILE.py:FUNC",
        help='A formula such as "x*y + tanh(x)", or a function (or an expression) in a Python file: model.py:loss.',
        show_default=False,
    ),
]
Args = Annotated[
    list[str] | None,
    typer.Option(
        "--args",
        "-a",
        metavar="NAME=SHAPE,...",
        help="Shapes of array arguments: W=3x4,b=3. What is not named, or has no shape, is a scalar. For text, names "
        "given here come first, in this order. Entries of dicts and lists: params.W1=3x4, layers.0=8.",
        show_default=False,
    ),
]
TargetName = Annotated[
    str, typer.Option("--target", "-t", metavar="NAME|PATH", help="c, numpy, python, or a folder with a target.toml.")
]
Wrt = Annotated[
    str | None,
    typer.Option(
        "--wrt",
        "-w",
        metavar="NAME,...",
        help="Differentiate by these arguments; by all if left out.",
        show_default=False,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name", metavar="NAME", help="Name of the generated function; FUNC or f if left out.", show_default=False
    ),
]
Derivatives = Annotated[
    str | None,
    typer.Option(
        "--derivatives",
        "-d",
        metavar="KIND,...",
        help="Which of value, grad and value_and_grad to write; all that make sense if left out.",
        show_default=False,
    ),
]
At = Annotated[
    list[str] | None,
    typer.Option(
        "--at", metavar="NAME=VALUE", help="A point: x=2, or W=\\[\\[1,2],\\[3,4]]. One --at for each argument."
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]  # read by main()


class Style(StrEnum):
    """How an explanation is written."""

    text = "text"
    markdown = "markdown"
    latex = "latex"


class Picture(StrEnum):
    """How a graph is drawn."""

    svg = "svg"
    mermaid = "mermaid"
    dot = "dot"


def _version(wanted: bool) -> None:
    if wanted:
        print(f"gradsmith {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Debug = False,
) -> None:
    """The options that stand before a command; the help text is that of `app`."""


# --- the commands -----------------------------------------------------------------------------------------------------


@app.command("compile")
def compile_command(
    source: Source,
    target: TargetName = "python",
    wrt: Wrt = None,
    args: Args = None,
    name: Name = None,
    derivatives: Derivatives = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Write the files there and print their paths.", show_default=False
        ),
    ] = None,
    selftest: Annotated[
        bool, typer.Option("--selftest/--no-selftest", help="Whether the file can test itself when it is run.")
    ] = True,
    stabilize: Annotated[
        bool,
        typer.Option(
            "--stabilize/--no-stabilize", help="Whether log(1 + exp(x)) and the like give way to stable forms."
        ),
    ] = True,
    fast_math: Annotated[
        bool, typer.Option("--fast-math", help="Regroup sums and products with constants; rounding changes.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="List on stderr what was rewritten for stability.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Write source code for a function and its gradient.

    \b
    Examples:
      gradsmith compile "x*y + y + tanh(x)"
      gradsmith compile "sum((W @ x - t)**2)" --args W=3x4,x=4,t=3 --wrt W --target numpy
      gradsmith compile model.py:loss --args params.W1=64x32,params.b1=32,x=64 --wrt params -t c -o out
      gradsmith compile "a*b + c" -t templates/julia > f.jl
    """
    function = _compiled(
        source, args, target=target, wrt=wrt, name=name, derivatives=derivatives, selftest=selftest,
        stabilize=stabilize, fast_math=fast_math,
    )  # fmt: skip
    if verbose:
        print(function.report, file=sys.stderr)
    if output is not None:
        for path in function.save(output):
            print(path)
        return
    shown = list(function.files)[-1]
    sys.stdout.write(_highlighted(function.source, shown) if _coloured(sys.stdout) else function.source)
    others = [file for file in function.files if file != shown]
    if others and sys.stdout.isatty():
        print(f"(this is {shown}; -o DIR writes {', '.join(others)} too)", file=sys.stderr)


@app.command()
def check(
    source: Source,
    target: TargetName = "python",
    wrt: Wrt = None,
    args: Args = None,
    name: Name = None,
    derivatives: Derivatives = None,
    points: Annotated[int, typer.Option("--points", "-n", min=0, help="Random points, besides the edge points.")] = 12,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the random points.")] = 0,
    rtol: Annotated[float, typer.Option("--rtol", min=0.0, help="Relative tolerance.")] = 1e-9,
    atol: Annotated[float, typer.Option("--atol", min=0.0, help="Absolute tolerance.")] = 1e-12,
    max_ulp: Annotated[
        int | None, typer.Option("--max-ulp", min=0, help="Limit in units in the last place.", show_default=False)
    ] = None,
    debug: Debug = False,
) -> None:
    """Compare generated code with torch: values and gradients at random and edge points.

    The exit status is 1 if they differ. Needs torch: pip install 'gradsmith\\[torch]'.

    \b
    Examples:
      gradsmith check "x*y + y + tanh(x)"
      gradsmith check model.py:loss --args W=3x4,x=4 --target c --points 100 || echo wrong
    """
    function = _compiled(source, args, target=target, wrt=wrt, name=name, derivatives=derivatives, selftest=False)
    with _progress():
        report = function.check(n=points, seed=seed, rtol=rtol, atol=atol, max_ulp=max_ulp)
    print(report)
    if not report.ok:
        raise typer.Exit(MISMATCH)


@app.command()
def explain(
    source: Source,
    at: At = None,
    style: Annotated[Style, typer.Option("--style", "-s", help="How it is written.")] = Style.text,
    args: Args = None,
    name: Name = None,
    debug: Debug = False,
) -> None:
    """Work out a gradient at a point, step by step, with the chain rule spelled out.

    \b
    Examples:
      gradsmith explain "x*y + y + tanh(x)" --at x=2 --at y=3
      gradsmith explain "a*b + c" --at a=2,b=-3,c=10 --style latex
      gradsmith explain "sum(W @ x)" --args W=2x2,x=2 --at "W=\\[\\[1,2],\\[3,4]]" --at "x=\\[1,-1]"
    """
    point = _point(at)
    function = _compiled(source, args, target="numpy", name=name, selftest=False)
    with _progress():
        text = function.explain(style.value, **point)
    print(text)


@app.command()
def graph(
    source: Source,
    format: Annotated[
        Picture | None,
        typer.Option(
            "--format", "-f", help="How it is drawn; by the name of FILE, or else mermaid.", show_default=False
        ),
    ] = None,
    at: At = None,
    adjoint: Annotated[bool, typer.Option("--adjoint", help="Draw the derivative too, in a second colour.")] = False,
    args: Args = None,
    wrt: Wrt = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write it there and print the path.", show_default=False),
    ] = None,
    debug: Debug = False,
) -> None:
    """Draw the graph of a function: boxes for values, circles for operations; svg needs Graphviz.

    \b
    Examples:
      gradsmith graph "a*b + a" -o graph.svg
      gradsmith graph "a*b + a" --at a=2 --at b=3 --adjoint --format mermaid
      gradsmith graph model.py:energy --args q=6 --format dot | dot -Tpdf > graph.pdf
    """
    by_suffix = {".svg": Picture.svg, ".dot": Picture.dot, ".gv": Picture.dot}
    picture = format or by_suffix.get(output.suffix if output else "", Picture.mermaid)
    point = _point(at) or None
    function = _compiled(source, args, target="numpy", wrt=wrt, selftest=False)
    drawn = function.adjoint if adjoint else function.graph
    with _progress():
        logging.getLogger("gradsmith").debug("drawing %d nodes", len(drawn))
        draw: Callable[..., str] = {"svg": drawn.to_svg, "mermaid": drawn.to_mermaid, "dot": drawn.to_dot}[picture]
        text = draw(point=point).rstrip("\n") + "\n"
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8", newline="\n")
        print(output)


@app.command()
def targets(debug: Debug = False) -> None:
    """List the languages that code can be written in.

    Any folder that holds a target.toml and templates is a target too: --target PATH.
    """
    from .target import load_target, target_names

    found = [load_target(name) for name in target_names()]
    rows = [(t.name, "yes" if t.loader else "no", t.description) for t in found]
    _table(("target", "callable from Python", "what it writes"), rows)


@app.command()
def ops(debug: Debug = False) -> None:
    """List the operations: what each computes, where it can be written, and its local derivative.

    \b
    Examples:
      gradsmith ops | grep tan
    """
    from . import ops  # noqa: F401  (fills the table)
    from .registry import OPS
    from .target import load_target, target_names

    known = [load_target(name) for name in target_names()]
    rows = []
    for op in sorted((op for op in OPS.values() if op.kind != "leaf"), key=lambda op: op.name):
        writing = [t.name for t in known if t.writes(op) or op.expand is not None]
        operands = "any" if op.arity is None else str(op.arity)
        rows.append((op.name, operands, op.doc.strip().partition("\n")[0], " ".join(writing), op.slope))
    _table(("op", "operands", "what it computes", "targets", "local derivative"), rows)


# --- from words to a compiled function --------------------------------------------------------------------------------


def _compiled(
    source: str,
    args: list[str] | None,
    *,
    target: str,
    selftest: bool,
    wrt: str | None = None,
    name: str | None = None,
    derivatives: str | None = None,
    stabilize: bool = True,
    fast_math: bool = False,
) -> CompiledFunction:
    shapes = _shapes(args or [])
    by = _names(wrt)
    with _progress(), contextlib.redirect_stdout(sys.stderr):  # what the user's program prints is not our output
        from .api import compile

        file = re.fullmatch(r"(.+\.py)(?::([\w.]+)?)?", source.strip())
        with _user_file(Path(file[1]), file[2] or "") if file else contextlib.nullcontext(source) as found:
            return compile(
                found,
                args=_arguments(found, shapes),
                wrt=by[0] if by is not None and len(by) == 1 else by,
                name=name,
                target=target,
                derivatives=_names(derivatives),
                selftest=selftest,
                stabilize=stabilize,
                fast_math=fast_math,
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
        from .frontends.text import parse
        from .trace import symbol

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
    folder, package = f"{path.resolve().parent}{os.sep}", os.path.dirname(os.path.abspath(__file__))
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if os.path.realpath(f.filename).startswith(folder) and not os.path.abspath(f.filename).startswith(package)
    ]
    return f"at {Path(frames[-1].filename).name}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""


def _point(texts: Sequence[str] | None) -> dict[str, Any]:
    """`x=2` and `v=[1,2]` as numbers and nested lists, read as JSON.

    >>> _point(["x=2, y=-1e-3", "v=[1,2]"])
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


# --- the terminal -----------------------------------------------------------------------------------------------------


def _coloured(stream: TextIO) -> bool:
    """Whether to write colours: on a terminal, unless NO_COLOR is set; anywhere if FORCE_COLOR is (no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")


def _highlighted(text: str, file: str) -> str:
    """Source code with the colours of a terminal (pygments comes with rich)."""
    from pygments import highlight
    from pygments.formatters import TerminalFormatter
    from pygments.lexers import find_lexer_class_for_filename
    from pygments.lexers.special import TextLexer

    lexer = find_lexer_class_for_filename(file) or TextLexer
    return str(highlight(text, lexer(stripnl=False), TerminalFormatter()))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table to look at on a terminal; elsewhere lines of fields with tabs between, for cut and awk."""
    if not sys.stdout.isatty():
        print("\n".join("\t".join(row) for row in [head, *rows]))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*head, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for row in rows:
        table.add_row(*map(escape, row))
    Console(highlight=False).print(table)


class _Stages(logging.Handler):
    """Shows what the compiler logs as the line of a spinner."""

    def __init__(self, update: Callable[[str], object]) -> None:
        super().__init__(logging.DEBUG)
        self._update = update

    def emit(self, record: logging.LogRecord) -> None:
        self._update(f"{record.getMessage()} …")


@contextlib.contextmanager
def _progress() -> Iterator[None]:
    """A line on stderr that says what is being done, on a terminal, from half a second on."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    from rich.console import Console

    status = Console(stderr=True).status("starting …")
    timer = threading.Timer(0.5, status.start)
    timer.daemon = True
    logger, handler = logging.getLogger("gradsmith"), _Stages(status.update)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()
        logger.removeHandler(handler)
        logger.setLevel(level)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line on `arguments` (those of the process by default) and exit."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        app(args=words, prog_name="gradsmith")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        if "--debug" in words:
            traceback.print_exception(error)
        label = "\x1b[1;31merror:\x1b[0m" if _coloured(sys.stderr) else "error:"
        expected = isinstance(error, GradsmithError | OSError)
        reason = str(error) if expected else f"gradsmith failed with {type(error).__name__}: {error}"
        remedy = "" if expected or "--debug" in words else "\nThis is a fault of gradsmith; --debug shows where."
        print(f"{label} {reason}{remedy}", file=sys.stderr)
        sys.exit(USER_ERROR if expected else FAULT)
