"""The blackboard: a lecture's words laid out as plain text, Markdown or LaTeX.

In: a `Lesson`. Out: one string. Guarantee: nothing is computed here; plain text stays within 100 columns, Markdown is
tables and headings that GitHub and Jupyter render, LaTeX is a fragment that needs `amsmath` and nothing else.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from .explain import Lesson
from .lecture import Back, Said, said
from .tongue import PLAIN_WORDS, TEX_WORDS

__all__ = ["STYLES"]

_WIDTH = 100
_FORWARD = "Forward: from the inputs to the result"
_BACKWARD = "Backward: from the result to the inputs"
_RESULT = "The value and the gradient"
_BESIDE = "Beside it: the same gradient derived by hand rules, through SymPy"


def _about(f: str, v: str, bar: str, partial: str) -> str:
    return (
        f"Here {bar} is short for {partial}: how fast {f} changes with the value {v}. It starts at the result, with 1. "
        "Each step hands its own on to its operands, multiplied by its local slope (the chain rule); a value that was "
        "used several times adds up what it receives."
    )


# --- plain text -----------------------------------------------------------------------------------------------------


def _text(lesson: Lesson) -> str:
    words = said(lesson, PLAIN_WORDS)
    head = f"{words.call} = {words.formula}" if words.formula else words.call
    scalars = ", ".join(" = ".join(pair) for pair in words.at) if words.at else "no inputs"
    title = f"{head} at {scalars}" if len(head) + len(scalars) + 4 <= _WIDTH else head
    lines = [*_wrapped(title, ""), "=" * min(len(title), _WIDTH)]
    if title == head and words.at:
        lines += ["", *_aligned([("at", name, value) for name, value in words.at], "  ")]
    lines += [
        "",
        *_heading(f"1. {_FORWARD}"),
        "",
        *(_forward(words) if words.steps else ["  no step: the result is an input"]),
        "",
    ]
    lines += _wrapped(f"so {' = '.join(words.result)}", "  ")
    lines += ["", *_heading(f"2. {_BACKWARD}"), "", *_paragraph(_about(lesson.name, "v", "d_v", f"∂{lesson.name}/∂v"))]
    for back in words.backs:
        lines += ["", *_back(back)]
    lines += ["", *_heading(f"3. {_RESULT}"), "", *_wrapped(" = ".join(words.result), "  ")]
    lines += [line for chain in words.gradient for line in _wrapped(" = ".join(chain), "  ")]
    for name, array in words.arrays:
        lines += ["", f"  {name} =", *textwrap.indent(array, "    ").splitlines()]
    lines += ["", *_heading(f"4. {_BESIDE}"), ""]
    for chain, verdict in words.hands:
        lines += _wrapped(f"{' = '.join(chain)}   ({verdict})", "  ")
    return "\n".join([*lines, *([""] if words.hands else []), *_paragraph(words.verdict)]) + "\n"


def _heading(text: str) -> list[str]:
    return [text, "-" * len(text)]


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _wrapped(line: str, indent: str) -> list[str]:
    """`line` indented, cut at blanks (or anywhere, if it has none) where it goes beyond the width."""
    if len(indent) + len(line) <= _WIDTH:
        return [indent + line]
    return textwrap.wrap(
        line, _WIDTH, initial_indent=indent, subsequent_indent=indent + "      ", break_on_hyphens=False
    )


def _aligned(rows: Sequence[tuple[str, str, str]], indent: str) -> list[str]:
    return [f"{indent}{first} {name} = {value}" for first, name, value in rows]


def _forward(words: Said) -> Iterator[str]:
    """The steps as columns of equals; a step too long for its column is written without them."""
    rows = [[s.name, s.formula, s.numbers] for s in words.steps]
    widths = _widths(rows)
    for s, row in zip(words.steps, rows, strict=True):
        if s.source:
            yield from _wrapped(s.source, "  # ")
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True) if cell]
        yield from _wrapped(" = ".join([*cells, s.value]), "  ")


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """The widths of the columns, leaving long cells out of account where the lines would not fit otherwise."""
    for longest in (80, 40, 30, 20):
        widths = [max((len(row[i]) for row in rows if len(row[i]) <= longest), default=0) for i in range(3)]
        if sum(widths) <= _WIDTH - 25:
            break
    return widths


def _back(back: Back) -> Iterator[str]:
    yield from _wrapped(f"{back.name} = {back.formula}" if back.formula else f"{back.name} is an input", "  ")
    yield from _wrapped(f"{' = '.join(back.cotangent)}   ({back.reason})", "    ")
    if back.rule:
        yield from _wrapped(f"slope of {back.rule}", "    ")
    for p in back.passes:
        if p.slope:
            yield from _wrapped(" = ".join(p.slope), "      ")
        yield from _wrapped(f"{p.target} += {' = '.join(p.product)}", "      ")


# --- Markdown -------------------------------------------------------------------------------------------------------


def _markdown(lesson: Lesson) -> str:
    words, f = said(lesson, PLAIN_WORDS), lesson.name
    formula = f" = {words.formula}" if words.formula else ""
    parts = [
        f"# {_code(words.call + formula)}",
        "at " + ", ".join(_code(" = ".join(pair)) for pair in words.at) if words.at else "",
        f"## {_FORWARD}",
        _table(
            ("step", "formula", "numbers", "value", "source"),
            ([_code(s.name), _code(s.formula), _code(s.numbers), _code(s.value), _code(s.source)] for s in words.steps),
        ),
        f"So {_code(' = '.join(words.result))}.",
        f"## {_BACKWARD}",
        _about(_code(f), _code("v"), _code("d_v"), _code(f"∂{f}/∂v")),
    ]
    for back in words.backs:
        parts.append(f"### {_code(back.name + (f' = {back.formula}' if back.formula else ''))}")
        rule = f"; slope of {_code(back.rule)}" if back.rule else ""
        parts.append(f"{_code(' = '.join(back.cotangent))} ({back.reason}){rule}")
        if back.passes:
            rows = [[_code(" = ".join(p.slope)), _code(f"{p.target} += {' = '.join(p.product)}")] for p in back.passes]
            parts.append(_table(("local slope", "contribution"), rows))
    parts += [f"## {_RESULT}", f"{_code(' = '.join(words.result))}"]
    parts.append(_table(("partial derivative", "chain rule", "value"), (
        [_code(chain[0]), _code(" = ".join(chain[1:-1])), _code(chain[-1])] for chain in words.gradient
    )))  # fmt: skip
    parts += [f"```\n{name} =\n{array}\n```" for name, array in words.arrays]
    parts.append(f"## {_BESIDE}")
    if words.hands:
        rows = [[*map(_code, chain), verdict] for chain, verdict in words.hands]
        parts.append(_table(("partial derivative", "formula", "value", ""), rows))
    return "\n\n".join(filter(None, [*parts, words.verdict])) + "\n"


def _code(text: str) -> str:
    """A code span, safe inside a table."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}".replace("|", "\\|") if text else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table without the columns that are empty in every row."""
    body = [list(row) for row in rows]
    kept = [i for i in range(len(head)) if any(row[i] for row in body)]
    lines = [[head[i] for i in kept], ["---"] * len(kept), *([row[i] for i in kept] for row in body)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# --- LaTeX ----------------------------------------------------------------------------------------------------------


def _latex(lesson: Lesson) -> str:
    words, f = said(lesson, TEX_WORDS), TEX_WORDS.style.name(lesson.name)
    parts = [
        rf"\section*{{The gradient of ${words.call}$}}",
        _align([*[[words.call, words.formula]] * bool(words.formula), *([*pair] for pair in words.at)]),
        rf"\subsection*{{{_FORWARD}}}",
        _align([[s.name, *filter(None, (s.formula, s.numbers)), s.value] for s in words.steps]),
        rf"\subsection*{{{_BACKWARD}}}",
        _about(f"${f}$", "$v$", r"$\bar v$", rf"$\partial {f}/\partial v$"),
    ]
    for back in words.backs:
        chains = [[back.name, back.formula]] * bool(back.formula) + [
            [*back.cotangent[:-1], rf"{back.cotangent[-1]} \quad\text{{({back.reason})}}"]
        ]
        for p in back.passes:
            chains += [[*p.slope]] * bool(p.slope)
            chains.append([p.target, *p.product])
        parts.append(
            _align(chains, sums={i for i, c in enumerate(chains) if any(c[0] == p.target for p in back.passes)})
        )
    parts += [rf"\subsection*{{{_RESULT}}}", _align([list(words.result), *map(list, words.gradient)])]
    parts += [rf"\subsection*{{{_BESIDE}}}", _align([list(chain) for chain, _ in words.hands]), words.verdict]
    return "\n".join(filter(None, parts)) + "\n"


def _align(chains: Sequence[Sequence[str]], sums: Iterable[int] = ()) -> str:
    """Chains of equals, aligned at the first sign; the chains numbered in `sums` start with `+=`."""
    if not chains:
        return ""
    signs: Mapping[int, str] = dict.fromkeys(sums, r"\mathrel{+}=")
    rows = [f"  {chain[0]} &{signs.get(i, '=')} {' = '.join(chain[1:])}" for i, chain in enumerate(chains)]
    return "\\begin{align*}\n" + " \\\\\n".join(rows) + "\n\\end{align*}"


STYLES: Mapping[str, Callable[[Lesson], str]] = {"text": _text, "markdown": _markdown, "latex": _latex}
