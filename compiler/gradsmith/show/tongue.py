"""Tongues: a notation together with the words that derivatives need, in plain text and in LaTeX.

In: names, values, SymPy expressions. Out: their texts. Guarantee: what a tongue writes is safe where it stands: names
are escaped, negative factors are in parentheses, prose inside formulas is set as text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .formula import LATEX, PLAIN, Style
from .notation import summary

__all__ = ["PLAIN_WORDS", "TEX_WORDS", "Tongue"]


@dataclass(frozen=True)
class Tongue:
    """A notation with the words that formulas of derivatives need.

    `bar` writes the cotangent of a value, `inline` a name within a sentence, `prose` text that is no formula,
    `quoted` such text within a formula.
    """

    style: Style
    bar: Callable[[str], str]
    partial: Callable[[str, str], str]
    times: str
    sympy: Callable[[Any], str]
    inline: Callable[[str], str]
    prose: Callable[[str], str]
    quoted: Callable[[str], str]

    def value(self, v: Any) -> str:
        """A value on the right of an equals sign."""
        return self.quoted(summary(v)) if np.shape(v) else self.style.fixed(v)

    def factor(self, v: Any) -> str:
        """A value among others, with the parentheses a negative number needs."""
        text = self.value(v)
        return f"({text})" if text.startswith("-") else text


def _plain_sympy(e: Any) -> str:
    return str(e).replace("**", "^")


def _latex_sympy(e: Any) -> str:
    import sympy

    return str(sympy.latex(e, symbol_names={s: LATEX.name(s.name) for s in e.free_symbols}))


def _latex_bar(name: str) -> str:
    """A bar over the letter, not over its index."""
    letter, underscore, index = LATEX.name(name).partition("_{")
    bar = rf"\overline{{{letter}}}" if "mathrm" in letter else rf"\bar{{{letter}}}"
    return f"{bar}_{{{index}" if underscore else bar


def _latex_prose(text: str) -> str:
    escapes = {c: f"\\{c}" for c in "_%&#${}"} | {
        "\\": r"\textbackslash{}",
        "^": r"\^{}",
        "~": r"\~{}",
        "∂": r"$\partial$",
    }
    return "".join(escapes.get(c, c) for c in text)


PLAIN_WORDS = Tongue(PLAIN, lambda v: f"d_{v}", lambda a, b: f"∂{a}/∂{b}", " * ", _plain_sympy, str, str, str)
TEX_WORDS = Tongue(
    LATEX,
    _latex_bar,
    lambda a, b: rf"\frac{{\partial {LATEX.name(a)}}}{{\partial {LATEX.name(b)}}}",
    r" \cdot ",
    _latex_sympy,
    lambda name: f"${LATEX.name(name)}$",
    _latex_prose,
    lambda text: rf"\text{{{text}}}",
)
