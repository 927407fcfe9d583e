"""Notebook: a compiled function as HTML, its source beside the picture of its graph.

In: a name, the source and its language, the graph. Out: one `<div>` for `_repr_html_`. Guarantees: nothing is loaded
from elsewhere; every style is inline or applies within the class `gradsmith-view` only; colours come in pairs of text
and background, so the cell reads in light and dark notebooks alike, also where the host strips `<style>`.
"""

from __future__ import annotations

import html
import re

from ..errors import MissingExtraError
from ..graph import Graph
from .draw import to_svg

__all__ = ["to_html"]

_CLASS = "gradsmith-view"
_LARGEST = 80  # nodes; a larger picture is no help in a notebook cell
_LONGEST = 400  # lines of source shown
_DARK = ('[data-jp-theme-light="false"]', ".vscode-dark", '[data-theme="dark"]')  # JupyterLab, VS Code, Sphinx books

_PANEL = "border:1px solid #80808080;border-radius:6px;overflow:auto;max-height:36em;"
_SOURCE = f"{_PANEL}flex:1 1 26em;margin:0;padding:0.7em 0.9em;font:12px/1.5 ui-monospace,Menlo,Consolas,monospace;"
_LIGHT_COLOURS, _DARK_COLOURS = "color:#1f2328;background:#f6f8fa;", "color:#e6edf3;background:#161b22;"


def to_html(name: str, source: str, language: str, graph: Graph) -> str:
    """The source, highlighted where Pygments is installed, beside the graph, drawn where Graphviz is installed.

    Parameters
    ----------
    name, source, language: what to show; the language is one that Pygments knows ("python", "c").
    graph: drawn if it has 80 nodes at most.
    """
    lines = source.rstrip("\n").split("\n")
    hidden = len(lines) - _LONGEST
    code, styles = _highlighted("\n".join(lines[:_LONGEST]), language)
    if hidden > 0:
        code += f"\n… {hidden} more lines in .source"
    return (
        f'<div class="{_CLASS}"><style>{_scoped(styles)}</style>'
        f'<div style="margin:0 0 0.4em 0"><b>{html.escape(name)}</b> · {html.escape(language)}</div>'
        '<div style="display:flex;flex-wrap:wrap;gap:0.8em;align-items:flex-start">'
        f'<pre class="{_CLASS}-source" style="{_SOURCE}{_LIGHT_COLOURS}">{code}</pre>{_picture(graph)}</div></div>'
    )


def _picture(graph: Graph) -> str:
    """The graph in a panel of its own, or a line that says why there is none, or nothing without Graphviz."""
    if len(graph) > _LARGEST:
        return (
            f'<div style="color:#808080">The graph has {len(graph)} nodes: see .graph.to_svg(limit={len(graph)})</div>'
        )
    try:
        svg = to_svg(graph)
    except MissingExtraError:
        return ""
    svg = svg.replace("<svg ", '<svg style="max-width:100%;height:auto" ', 1)
    return f'<div class="{_CLASS}-graph" style="{_PANEL}flex:1 1 26em;padding:0.4em">{svg}</div>'


def _highlighted(source: str, language: str) -> tuple[str, dict[str, list[str]]]:
    """The source as HTML, and rules by selector prefix for light and dark."""
    try:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import get_lexer_by_name
        from pygments.util import ClassNotFound
    except ImportError:
        return html.escape(source), {}
    try:
        lexer = get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        return html.escape(source), {}
    light, dark = (HtmlFormatter(style=style, nowrap=True, classprefix="gs-") for style in ("friendly", "github-dark"))
    body = str(highlight(source, lexer, light)).rstrip("\n")
    used = set(re.findall(r'class="(gs-\w+)"', body))
    return body, {
        mode: [_bare(rule) for rule in style.get_token_style_defs("") if _class(rule) in used]
        for mode, style in (("light", light), ("dark", dark))
    }


def _bare(rule: str) -> str:
    """A rule without Pygments' comment."""
    return rule[: rule.index("}") + 1].strip()


def _class(rule: str) -> str:
    return rule.strip()[1:].split()[0]


def _scoped(rules: dict[str, list[str]]) -> str:
    """Rules that apply inside the view only; dark ones where the host says that it is dark."""
    inside, dark = f".{_CLASS} .{_CLASS}-source", f":is({', '.join(_DARK)})"
    lines = [f"{inside} {rule}" for rule in rules.get("light", ())]
    lines.append(f"{dark} {inside} {{ {_DARK_COLOURS.replace(';', ' !important;')} }}")
    lines += [f"{dark} {inside} {rule}" for rule in rules.get("dark", ())]
    return "\n".join(lines)
