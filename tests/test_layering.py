"""Imports point one way: each module of the compiler imports only what stands above it in this list."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMPILER, RUNTIME = ROOT / "compiler" / "gradsmith", ROOT / "runtime" / "gradsmith_runtime"

ORDER = [
    "_version", "origin", "errors", "dims", "types", "index", "pytree", "registry", "graph", "regions", "trace", "as_graph", "verify",
    "ops", "program", "tuning", "target", "cost", "passes", "evaluate", "exact", "batch", "derive", "selftest_kinds", "selftest",
    "frontends", "tracing", "lower", "calls", "batch_calls", "c_builds", "forwarding", "sparse_results", "proofs",
    "function", "api", "show", "verification", "cli", "__init__", "__main__",
]  # fmt: skip

#: Imports inside functions that point the other way, each for a reason.
LATE = {
    ("batch_calls", "function"),  # the type of what its functions are methods of
    ("proofs", "function"),  # likewise
    ("forwarding", "function"),  # the type of what calls are forwarded for
    ("graph", "show"),  # graph.to_svg() and its like are shortcuts for users
    ("proofs", "show"),  # f.explain()
    ("proofs", "verification"),  # f.check(), f.debug()
    ("function", "show"),  # _repr_html_()
    ("evaluate", "passes"),  # composites are evaluated by their expansion
}  # fmt: skip


def imports(path: Path) -> list[tuple[str, bool]]:
    """Top-level modules of gradsmith that a file imports, and whether at import time."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at_import = {id(n) for n in tree.body if isinstance(n, ast.ImportFrom)}
    depth = len(path.relative_to(COMPILER).parts)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module.split(".")[0]] if node.module else [a.name for a in node.names]
            found += [(name, id(node) in at_import) for name in names]
    return found


@pytest.mark.parametrize("path", sorted(COMPILER.rglob("*.py")), ids=lambda p: str(p.relative_to(COMPILER)))
def test_imports_point_up(path: Path) -> None:
    own = path.relative_to(COMPILER).parts[0].removesuffix(".py")
    assert own in ORDER, f"{own} has no place in the order: add it where it belongs"
    for name, at_import in imports(path):
        if name == own or (not at_import and (own, name) in LATE):
            continue
        assert ORDER.index(name) < ORDER.index(own), f"{own} imports {name}, which stands below it"


def test_the_runtime_never_imports_the_compiler() -> None:
    for path in RUNTIME.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert all(a.name.split(".")[0] != "gradsmith" for a in node.names), path
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert (node.module or "").split(".")[0] != "gradsmith", path


def test_the_order_names_nothing_that_is_gone() -> None:
    there = {
        p.name.removesuffix(".py") for p in COMPILER.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert there == set(ORDER)
