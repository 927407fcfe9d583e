"""The notebook view is self-contained, scoped and safe, with or without its helpers."""

import re
import shutil
import sys
from html.parser import HTMLParser

import pytest

from gradsmith import ops as gs
from gradsmith.as_graph import to_graph
from gradsmith.show.notebook import to_html
from gradsmith.trace import symbols

SOURCE = 'def f(x):\n    return "<b>&amp;" + x  # </pre><script>alert(1)</script>\n'
VOID = {"path", "ellipse", "polygon", "polyline"}


class Reader(HTMLParser):
    """Collects the text of each element kind and checks that tags nest."""

    def __init__(self, page):
        super().__init__()
        self.stack, self.texts, self.tags = [], {}, set()
        self.feed(page)
        assert not self.stack

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        for tag in set(self.stack):
            self.texts[tag] = self.texts.get(tag, "") + data


def graph(size=2):
    (x,) = symbols("x")
    y = x
    for _ in range(size):
        y = gs.sin(y)
    return to_graph([x], [y])


@pytest.mark.parametrize("helpers", ["all", "no pygments", "no graphviz"])
def test_source_is_shown_unchanged_and_inert(helpers, monkeypatch):
    for module in {"no pygments": ["pygments"], "no graphviz": ["graphviz"]}.get(helpers, []):
        monkeypatch.setitem(sys.modules, module, None)
    page = to_html("<f>", SOURCE, "python", graph())
    read = Reader(page)
    assert read.texts["pre"] == SOURCE.rstrip("\n")
    assert read.texts["b"] == "<f>"
    assert "script" not in read.tags
    assert ("svg" in read.tags) == (helpers != "no graphviz" and shutil.which("dot") is not None)


def test_style_stays_inside_the_view():
    pytest.importorskip("pygments")
    style = Reader(to_html("f", SOURCE, "python", graph())).texts["style"]
    rules = [rule.strip() for rule in style.split("}") if rule.strip()]
    assert len(rules) > 4
    for rule in rules:
        selector = re.sub(r"/\*.*?\*/", "", rule.partition("{")[0]).strip()
        assert re.fullmatch(r"(:is\([^)]*\) )?\.gradsmith-view \.gradsmith-view-source( \.gs-\w+)?", selector), selector


def test_nothing_is_loaded_from_elsewhere():
    page = to_html("f", SOURCE, "python", graph())
    page = re.sub(r'xmlns(:xlink)?="[^"]*"', "", page)
    assert not re.search(r"https?:|@import|url\(|<link|src=", page)


def test_text_and_background_come_in_pairs():
    page = to_html("f", SOURCE, "python", graph())
    pre = re.search(r"<pre [^>]*>", page)[0]
    assert "color:" in pre
    assert "background:" in pre
    dark = re.search(r":is\([^}]*\{([^}]*)\}", page)[1]
    assert "color:" in dark
    assert "background:" in dark


def test_large_graph_is_named_not_drawn():
    page = to_html("f", SOURCE, "python", graph(100))
    assert "<svg" not in page
    assert "101 nodes" in page


def test_long_source_is_cut_and_says_so():
    page = to_html("f", "x = 1\n" * 1000, "python", graph())
    assert Reader(page).texts["pre"].endswith("… 600 more lines in .source")


def test_unknown_language_is_plain_text():
    assert Reader(to_html("f", SOURCE, "no-such-language", graph())).texts["pre"] == SOURCE.rstrip("\n")
