"""Formulas: one step, or a small graph, as a person writes it, in plain text or in LaTeX.

In: an op's record, its operands' texts, and a style. Out: a `Text`, which knows how tightly it binds. Guarantee:
parentheses stand where precedence asks for them and nowhere else, so that the text reads back as the same tree.

A style is a table from the `symbol` of an op's record to its notation; a symbol without a row is a function call.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..graph import Graph, Node
from ..registry import lookup
from .notation import brief, literal, number

__all__ = ["LATEX", "PLAIN", "Style", "Text", "expression", "latex_name", "step", "written_size"]

CHOICE, OR, AND, NOT, COMPARISON, SUM, PRODUCT, POWER, ATOM = range(9)


@dataclass(frozen=True)
class Text:
    """A piece of a formula and the level of its loosest operator."""

    text: str
    level: int = ATOM


@dataclass(frozen=True)
class Row:
    """How one symbol is written: a template, its level, and the level that each operand needs."""

    template: str
    level: int = ATOM
    needs: tuple[int, ...] = (CHOICE, CHOICE, CHOICE)


@dataclass(frozen=True)
class Style:
    """A notation: rows by symbol, the form of a call, how numbers (short, and with fixed decimals) and names look."""

    rows: Mapping[str, Row]
    call: Callable[[str, Sequence[str]], str]
    number: Callable[[Any], str]
    fixed: Callable[[Any], str]
    name: Callable[[str], str]

    def constant(self, value: float | bool) -> Text:
        """A number as an operand: a negative one binds like a sum, one with a power of ten like a product."""
        text = self.number(value)
        return Text(text, SUM if text.startswith("-") else PRODUCT if "cdot" in text else ATOM)


def step(graph: Graph, node: Node, operands: Sequence[Text], style: Style) -> Text:
    """One op applied to `operands`."""
    op = lookup(node.op)
    row = style.rows.get(op.symbol)
    if row is None:
        return Text(_called(graph, node, [o.text for o in operands], style))
    texts = [o.text if o.level >= need else f"({o.text})" for o, need in zip(operands, row.needs, strict=False)]
    return Text(re.sub(r"\{(\d)\}", lambda m: texts[int(m[1])], row.template), row.level)


def _called(graph: Graph, node: Node, operands: Sequence[str], style: Style) -> str:
    """A call such as `sum(x, axis=0)`: array ops are spelled as NumPy spells them, without the `np.`"""
    op = lookup(node.op)
    cell = op.cells.get("numpy")
    if callable(cell) and style is PLAIN:
        return cell(operands, node.params, [graph.node(a).type for a in node.args]).removeprefix("np.")
    if op.symbol == "[ ]" and "place" in node.params:
        return f"{operands[0]}[{', '.join(map(str, node.params['place']))}]"
    return style.call(op.symbol or op.name, operands)


def expression(graph: Graph, key: int, known: Mapping[int, Text], style: Style) -> Text:
    """The node `key` written out in terms of the `known` nodes and of constants."""
    texts = dict(known)
    for n in graph.ordered():
        if n.key not in texts:
            value = literal(graph, n.key)
            given = value is None and n.op == "constant"
            texts[n.key] = (
                Text("c") if given
                else step(graph, n, [texts[a] for a in n.args], style) if value is None
                else style.constant(value)
            )  # fmt: skip
    return texts[key]


def written_size(graph: Graph, key: int) -> int:
    """How many parts `expression` would write: shared nodes count each time."""
    size: dict[int, int] = {}
    for n in graph.ordered():
        size[n.key] = 1 + sum(size[a] for a in n.args)
    return size[key]


# --- plain text -----------------------------------------------------------------------------------------------------

_LEFT, _BOTH = (SUM, PRODUCT), (PRODUCT, POWER)  # a - (b - c) and a/(b/c) need theirs
_LOGIC: dict[str, Row] = {
    symbol: Row(f"{{0}} {symbol} {{1}}", COMPARISON, (SUM, SUM)) for symbol in ("<", "<=", ">", ">=", "==", "!=")
}
PLAIN = Style(
    {
        **_LOGIC,
        "or": Row("{0} or {1}", OR, (OR, AND)),
        "xor": Row("{0} xor {1}", OR, (AND, AND)),
        "and": Row("{0} and {1}", AND, (AND, NOT)),
        "not": Row("not {0}", NOT, (NOT,)),
        "where": Row("{1} if {0} else {2}", CHOICE, (OR, OR, CHOICE)),
        "+": Row("{0} + {1}", SUM, _LEFT),
        "-": Row("{0} - {1}", SUM, _LEFT),
        "−": Row("-{0}", SUM, (PRODUCT,)),
        "×": Row("{0}*{1}", PRODUCT, _BOTH),
        "÷": Row("{0}/{1}", PRODUCT, _BOTH),
        "@": Row("{0} @ {1}", PRODUCT, _BOTH),
        "⊗": Row("{0} ⊗ {1}", PRODUCT, _BOTH),
        "1/x": Row("1/{0}", PRODUCT, (POWER,)),
        "^": Row("{0}^{1}", POWER, (ATOM, POWER)),
        "²": Row("{0}^2", POWER, (ATOM,)),
        "sech²": Row("sech({0})^2", POWER),
        "T": Row("{0}ᵀ", ATOM, (ATOM,)),
    },
    call=lambda function, operands: f"{function}({', '.join(operands)})",
    number=brief,
    fixed=number,
    name=str,
)

# --- LaTeX ----------------------------------------------------------------------------------------------------------

_KNOWN = ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "log", "max", "min")
_CAPITALS = ("GAMMA", "DELTA", "THETA", "LAMDA", "XI", "PI", "SIGMA", "UPSILON", "PHI", "PSI", "OMEGA")


def latex_name(name: str) -> str:
    """A name in math mode: `x`, `h_{1}` for h1, Greek letters by name, others upright with underscores escaped.

    >>> latex_name("h1"), latex_name("loss_fn"), latex_name("θ")
    ('h_{1}', '\\\\mathrm{loss\\\\_fn}', '\\\\theta')
    """
    numbered = re.fullmatch(r"([^\W\d_])(\d*)", name)
    if numbered:
        return _letter(numbered[1]) + (f"_{{{numbered[2]}}}" if numbered[2] else "")
    return r"\mathrm{" + "".join(_letter(c) if c.isalpha() else c for c in name).replace("_", r"\_") + "}"


def _letter(letter: str) -> str:
    if letter.isascii():
        return letter
    words = unicodedata.name(letter, "").split()
    if words[:3] == ["GREEK", "SMALL", "LETTER"] and len(words) == 4 and words[3] != "OMICRON":
        return "\\" + words[3].lower().replace("lamda", "lambda")
    if words[:3] == ["GREEK", "CAPITAL", "LETTER"] and words[3:] and words[3] in _CAPITALS:
        return "\\" + words[3].capitalize().replace("Lamda", "Lambda")
    return rf"\text{{{letter}}}"


def _latex_number(text: str) -> str:
    r"""A number's text in math mode.

    >>> _latex_number("-1.5e-07"), _latex_number("inf"), _latex_number("true")
    ('-1.5 \\cdot 10^{-7}', '\\infty', '\\mathrm{true}')
    """
    mantissa, e, exponent = text.partition("e")
    if e and exponent:
        return rf"{mantissa} \cdot 10^{{{int(exponent)}}}"
    return _WORDS.get(text, text)


_WORDS = {"inf": r"\infty", "-inf": r"-\infty"} | {word: rf"\mathrm{{{word}}}" for word in ("nan", "true", "false")}


def _latex_call(function: str, operands: Sequence[str]) -> str:
    word = function.replace("_", r"\_").replace("σ", r"\sigma").replace("Σ", r"\Sigma").replace("Π", r"\Pi")
    head = f"\\{function}" if function in _KNOWN else rf"\operatorname{{{word}}}"
    return rf"{head}\left({', '.join(operands)}\right)"


LATEX = Style(
    {
        **PLAIN.rows,
        "<=": Row(r"{0} \le {1}", COMPARISON, (SUM, SUM)),
        ">=": Row(r"{0} \ge {1}", COMPARISON, (SUM, SUM)),
        "==": Row("{0} = {1}", COMPARISON, (SUM, SUM)),
        "!=": Row(r"{0} \ne {1}", COMPARISON, (SUM, SUM)),
        "or": Row(r"{0} \lor {1}", OR, (OR, AND)),
        "xor": Row(r"{0} \oplus {1}", OR, (AND, AND)),
        "and": Row(r"{0} \land {1}", AND, (AND, NOT)),
        "not": Row(r"\lnot {0}", NOT, (NOT,)),
        "where": Row(r"\begin{cases} {1} & \text{if } {0} \\ {2} & \text{otherwise} \end{cases}", CHOICE),
        "×": Row(r"{0} \cdot {1}", PRODUCT, _BOTH),
        "÷": Row(r"\frac{{0}}{{1}}", POWER),
        "@": Row(r"{0} \, {1}", PRODUCT, _BOTH),
        "⊗": Row(r"{0} \otimes {1}", PRODUCT, _BOTH),
        "1/x": Row(r"\frac1{{0}}", POWER),
        "^": Row("{0}^{{1}}", POWER, (ATOM, CHOICE)),
        "²": Row("{0}^2", POWER, (ATOM,)),
        "sech²": Row(r"\operatorname{sech}^2\left({0}\right)", POWER),
        "abs": Row(r"\left|{0}\right|"),
        "sqrt": Row(r"\sqrt{{0}}"),
        "T": Row(r"{0}^{\mathsf{T}}", POWER, (ATOM,)),
    },
    call=_latex_call,
    number=lambda value: _latex_number(brief(value)),
    fixed=lambda value: _latex_number(number(value)),
    name=latex_name,
)
