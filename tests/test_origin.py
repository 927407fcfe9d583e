"""Origins: each value knows its line and the variable it was stored in."""

from __future__ import annotations

import gradsmith as gs
from gradsmith.origin import statement_text

X, Y = gs.symbols("x y")


def helper(a: gs.Expr) -> gs.Expr:
    inner = gs.sin(a)
    return inner * 2.0


def test_the_variable_is_found() -> None:
    total = X + Y
    assert total.origin.name == "total"
    assert total.origin.file == "test_origin.py"
    assert statement_text(total.origin) == "total = X + Y"


def test_parts_of_an_expression_have_no_name() -> None:
    total = X * Y + Y
    assert total.args[0].origin.name is None
    assert total.args[0].origin.line == total.origin.line


def test_loops_name_every_round() -> None:
    h = X
    seen = []
    for _ in range(3):
        h = gs.tanh(h)
        seen.append(h.origin.name)
    assert seen == ["h", "h", "h"]


def test_a_returned_value_is_named_by_the_caller_and_keeps_the_callee_s_line() -> None:
    result = helper(X)
    assert result.origin.name == "result"
    assert statement_text(result.origin) == "return inner * 2.0"
    assert result.args[0].origin.name == "inner"


def test_composed_functions_name_their_result_only() -> None:
    p = gs.mse(gs.symbol("a", (3,)), 0.0)
    assert p.origin.name == "p"
    assert all(a.origin.name is None for a in p.args)


def test_other_stores() -> None:
    values = {}
    values["k"] = X + 1.0
    assert values["k"].origin.name is None
    pair = (X + 2.0, Y)
    assert pair[0].origin.name is None
    [listed] = [X + 3.0]
    assert listed.origin.name is None
    if (walrus := X + 4.0) is not None:
        assert walrus.origin.name in ("walrus", None)
    X5 = -X
    X5 += Y
    assert X5.origin.name == "X5"


def test_a_statement_over_several_lines_is_shown_whole() -> None:
    long = (
        X
        + Y
    )  # fmt: skip
    assert "X + Y" in statement_text(long.origin)


def test_the_origin_never_takes_part_in_identity() -> None:
    one = X * Y
    two = X * Y
    f = gs.compile(one + two)
    assert f.graph.text().count("mul") == 1


def test_code_without_a_source_file_still_traces() -> None:
    space = {"gs": gs}
    exec("x = gs.symbol('x')\nz = gs.sin(x) * 2.0\nf = gs.compile(z)", space)
    assert "<string>" in space["f"].source or "z = " in space["f"].source


def test_every_line_of_a_long_function_is_told() -> None:
    """Lines come from a table, as asking Python for each takes longer the longer its function is."""
    lines = [
        f"    y{i} = (\n        y{i - 1} * x\n    )" if i % 2 else f"    y{i} = y{i - 1} + x" for i in range(1, 300)
    ]
    space: dict[str, gs.Expr] = {}
    source = "\n".join(["def f(x):", "    y0 = x", *lines, "    return [v for k, v in locals().items() if k != 'x']"])
    exec(compile(source, "long.py", "exec"), space)
    made = space["f"](X)[1:]
    assert [(e.origin.name, e.origin.line) for e in made] == [
        (text.split()[0], number)
        for number, text in [(n + 1 if t.endswith("(") else n, t) for n, t in enumerate(source.splitlines(), 1)]
        if text.lstrip().startswith("y") and " = " in text and "y0 = " not in text
    ]
