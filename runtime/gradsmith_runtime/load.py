"""Turn generated Python source into a live module whose source stays visible.

In: the text of a module. Out: the executed module. Guaranteed: tracebacks, `inspect.getsource` and pdb show
the text for as long as any function of the module lives (`linecache.checkcache` does not evict it), and the
text is forgotten once the last of them is garbage. The module is not entered in `sys.modules`.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.abc
import importlib.util
import linecache
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import countOf
from types import ModuleType
from typing import Any

from .arrange import Order, straight
from .carry import carry
from .condense import PREFIX, condense
from .told import Looks, looks_of

#: What guards call: the code of users may have variables with the names of builtins.
_BUILTINS: dict[str, Any] = {"_gs_float": float, "_gs_list": list, "_gs_type": type, "_gs_map": map, "_gs_len": len}
_BUILTINS |= {"_gs_count": countOf, "_gs_exception": Exception}
#: Numbers whose classes are looked at together, and how many there have to be: 4 to 6 ns a look, one by one 5 to 7.
_TOGETHER, _FEW = 16, 8


@dataclass(frozen=True)
class Guard:
    """What a function does before its first statement, when it is called by users and not by other code.

    If one of the `tests`, expressions by the name of their argument in which builtins are called as `_BUILTINS` says,
    is true, it returns `other(function, guarded, *arguments)`, where `function` has no guard and `guarded` has.
    Arguments that are left out are `missing`. `last` names one more argument behind the others, None by default ("" for
    none).

    `lists` are the arguments that are lists of floats. Where the function's first statements take one apart, that is
    done once: its length and its elements are looked at there, and its test is not used.

    `result`, an expression of `_gs_0`, `_gs_1` …, is returned in place of the results, which are called so there.
    `groups` tells how they come: so many in each part of a tuple (1: not in a tuple of their own). "" changes nothing.
    """

    tests: Mapping[str, str]
    missing: object
    last: str
    other: Callable[..., Any]
    lists: Sequence[str] = ()
    result: str = ""
    groups: Sequence[int] = ()


@dataclass(frozen=True)
class SourceLoader(importlib.abc.Loader):
    """The loader of one generated module; it lives in the module's globals, hence as long as they do."""

    filename: str
    source: str

    def get_source(self, fullname: str) -> str:
        """Return the text, for linecache and pdb."""
        return self.source

    def exec_module(self, module: ModuleType) -> None:
        """Run the text in the module's namespace."""
        code = compile(self.source, self.filename, "exec", dont_inherit=True)
        exec(code, module.__dict__)


def guarded(
    module: ModuleType, guards: Mapping[str, Guard], order: Order | None = None
) -> dict[str, Callable[..., Any]]:
    """Functions of a generated module that check their arguments before their first statement, by name.

    The module's own stay as they are. In tracebacks, both show the same text, and only the module's own have all of its
    names, and compute all that their text says, in its order (see `condense`, `arrange` and `carry`). `order` is
    that of straight-line statements; without one, they stay where they are.

    >>> module = load_python("def f(x):\\n    return x + x\\n", "f")
    >>> other = lambda function, guarded, x: guarded(float(x))
    >>> f = guarded(module, {"f": Guard({"x": "x.__class__ is not _gs_float"}, None, "", other)})["f"]
    >>> module.f(3), f(3), f(3.0)
    (6, 6.0, 6.0)
    """
    loader = module.__loader__
    assert isinstance(loader, SourceLoader), "it comes from load_python"
    space = module.__dict__
    space.update(_BUILTINS, **{f"_gs_floats_{n}": [float] * n for n in range(1, _TOGETHER + 1)})
    space.update({PREFIX + name: value for name, value in vars(math).items() if name[0] != "_"})
    tree = ast.parse(loader.source)
    defined = {f.name: f for f in tree.body if isinstance(f, ast.FunctionDef)}
    functions = [f for name, f in defined.items() if name in guards]
    tree.body = []
    for f in functions:
        looks = _looks_behind(f, guards[f.name])
        helpers = {name: helper for name, helper in defined.items() if name not in guards}
        condense(f, helpers, order, looks.behind if looks else ())
        carry(f)
        tree.body.append(_checked(f, guards[f.name], looks))
    plain = {name: space[name] for name in guards}
    exec(compile(tree, loader.filename, "exec", dont_inherit=True), space)
    found = {name: space[name] for name in guards}
    space.update(plain)
    for name, guard in guards.items():
        count = plain[name].__code__.co_argcount
        found[name].__defaults__ = (*[guard.missing] * count, *[None] * bool(guard.last))
        space[f"_{name}_given"] = partial(guard.other, plain[name], found[name])
    return found


def _checked(function: ast.FunctionDef, guard: Guard, looks: Looks | None) -> ast.FunctionDef:
    """The function behind its guard, which is at the line of the function."""
    given = [a.arg for a in function.args.args] + [guard.last] * bool(guard.last)
    if guard.result:
        function = _Packed(guard).visit(function)
    doc = bool(ast.get_docstring(function, clean=False))
    whole, body = function.body[:doc], function.body[doc:]
    taken = _taken_apart(body, guard.lists)
    tests = [text for name, text in guard.tests.items() if name not in taken]
    numbers = [name for unpacked in taken.values() for name in _read(unpacked)]
    # the way out stands before what computes: jumps beyond 255 instructions take one more
    leave = f"return _{function.name}_given({', '.join(given)})\n"
    text = f"if {' or '.join([*tests, *(f'{name}.__class__ is not _gs_list' for name in taken)])}:\n    {leave}"
    if taken:  # of another length: ValueError, which what stands behind the way out knows nothing of
        first = looks.before or numbers[:1] if looks else numbers
        text += f"try:\n    pass\nexcept ValueError:\n    {' = '.join(first[:_TOGETHER])} = None\n"
        text += f"if {' or '.join(_looks(first, 'is not', '!='))}:\n    {leave}"
    guarded = _parsed(text, function)
    for statement in guarded:
        if isinstance(statement, ast.Try):
            statement.body = [*taken.values()]
    if looks:
        body = _told(body, leave, " or ".join(guard.tests[name] for name in taken), looks.behind, function)
    function.args.args += [ast.copy_location(ast.arg(guard.last), function)] * bool(guard.last)
    function.body = whole + guarded + body
    return function


def _parsed(text: str, place: ast.AST) -> list[ast.stmt]:
    """The statements of a text, all of them at one place."""
    found = ast.parse(text).body
    for statement in found:
        for node in ast.walk(statement):
            ast.copy_location(node, place)
    return found


def _looks_behind(function: ast.FunctionDef, guard: Guard) -> Looks | None:
    """What to look at if not at each number of the lists that are taken apart."""
    block = straight(function)
    if block is None:
        return None
    taken = _taken_apart([s for s in block if not isinstance(s, ast.Expr)], guard.lists)
    numbers = [name for unpacked in taken.values() for name in _read(unpacked) if name != "_"]
    return looks_of(block, numbers, guard.tests.keys() - {*guard.lists, guard.last})


def _told(body: list[ast.stmt], leave: str, wrong: str, behind: Sequence[str], place: ast.AST) -> list[ast.stmt]:
    """Statements that leave where a value `behind` is no float, or where they fail and an argument is `wrong`."""
    fine = " and ".join(_looks(behind, "is", "==")) or "True"
    text = f"if {fine}:\n    pass\ntry:\n    pass\nexcept _gs_exception:\n    if not ({wrong}):\n        raise\n{leave}"
    last, outer, way_out = _parsed(text, place)
    assert isinstance(last, ast.If)
    assert isinstance(outer, ast.Try)
    inner = body[0] if isinstance(body[0], ast.Try) else ast.Try(body, [], [], [])
    for handler in inner.handlers:
        (test,) = _parsed(f"if not ({wrong}):\n    pass", place)
        assert isinstance(test, ast.If)
        test.body, handler.body = handler.body, [test]
    last.body = inner.body[-1:]
    outer.body, outer.handlers = [*inner.body[:-1], last], inner.handlers + outer.handlers
    return [outer, way_out]


def _taken_apart(body: list[ast.stmt], lists: Sequence[str]) -> dict[str, ast.Assign]:
    """The first statements, `[x_0, x_1] = x` for one of `lists` each, by these; they are gone from `body`."""
    block = body[0].body if body and isinstance(body[0], ast.Try) else body
    taken: dict[str, ast.Assign] = {}
    while len(block) > 1 and isinstance(first := block[0], ast.Assign) and isinstance(first.targets[0], ast.List):
        if not (isinstance(first.value, ast.Name) and first.value.id in lists and first.targets[0].elts):
            break
        taken[first.value.id] = first
        del block[0]
    return taken


def _read(unpacked: ast.Assign) -> list[str]:
    """The names of the elements that are read, or of the last one: its length is looked at in any case."""
    assert isinstance(unpacked.targets[0], ast.List)
    return [e.id for e in unpacked.targets[0].elts if isinstance(e, ast.Name) and e.id != "_"] or ["_"]


def _looks(names: Sequence[str], alone: str, together: str) -> list[str]:
    """Comparisons of the classes of variables with that of floats; the first reads `_TOGETHER` at most."""
    classes = [f"{name}.__class__" for name in names]
    if len(names) < _FEW:
        return [f"{one} {alone} _gs_float" for one in classes]
    parts = [classes[i : i + _TOGETHER] for i in range(0, len(names), _TOGETHER)]
    return [f"[{', '.join(part)}] {together} _gs_floats_{len(part)}" for part in parts]


class _Packed(ast.NodeTransformer):
    """Return statements that give the results of a function in another structure."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard

    def visit_Return(self, node: ast.Return) -> Any:
        assert node.value is not None
        first: list[ast.stmt] = []
        results = _literal(node.value, self.guard.groups)
        if results is None:  # a call, for instance
            first = ast.parse("_gs_result = None").body
            assert isinstance(first[0], ast.Assign)
            first[0].value = node.value
            whole = "_gs_result"
            parts = [f"{whole}[{i}]" for i in range(len(self.guard.groups))] if len(self.guard.groups) > 1 else [whole]
            texts = [
                text
                for part, size in zip(parts, self.guard.groups, strict=True)
                for text in ([f"{part}[{k}]" for k in range(size)] if size > 1 else [part])
            ]
            results = [ast.parse(text, mode="eval").body for text in texts]
        packed = ast.parse(self.guard.result, mode="eval").body
        made = ast.Return(_Named({f"_gs_{k}": result for k, result in enumerate(results)}).visit(packed))
        for statement in (*first, made):
            ast.fix_missing_locations(ast.copy_location(statement, node))
            for inner in ast.walk(statement):
                if "lineno" in inner._attributes:
                    ast.copy_location(inner, node)
        return [*first, made]


def _literal(value: ast.expr, groups: Sequence[int]) -> list[ast.expr] | None:
    """The expressions of the results, where they stand side by side in a return statement."""

    def elements(node: ast.expr, count: int) -> list[ast.expr] | None:
        fits = isinstance(node, ast.Tuple) and len(node.elts) == count
        return node.elts if isinstance(node, ast.Tuple) and fits else None

    parts = [value] if len(groups) == 1 else elements(value, len(groups))
    if parts is None:
        return None
    found: list[ast.expr] = []
    for part, size in zip(parts, groups, strict=True):
        more = [part] if size == 1 else elements(part, size)
        if more is None:
            return None
        found += more
    return found


class _Named(ast.NodeTransformer):
    """Expressions in the places of names."""

    def __init__(self, meant: Mapping[str, ast.expr]) -> None:
        self.meant = meant

    def visit_Name(self, node: ast.Name) -> Any:
        return self.meant.get(node.id, node)


def load_python(source: str, name: str) -> ModuleType:
    """Execute generated `source` as a new module called `name`.

    The module gets a pseudo file name such as ``<gradsmith f 3fa2b1c0>`` (the start of the text's SHA-256),
    followed by a counter when the same text is loaded more than once.

    Errors: whatever compiling or executing the text raises.

    >>> module = load_python("def f(x):\\n    return x * x\\n", "f")
    >>> module.f(3.0)
    9.0
    >>> module.__file__
    '<gradsmith f d5b5f64f>'
    """
    filename = _register(source, name)
    loader = SourceLoader(filename, source)
    weakref.finalize(loader, linecache.cache.pop, filename, None).atexit = False
    spec = importlib.util.spec_from_loader(name, loader, origin=filename)
    assert spec is not None, "spec_from_loader returns None only without a loader"
    spec.has_location = True  # so that __file__ is set: inspect.getsource(module) works
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def _register(source: str, name: str) -> str:
    """Enter `source` in linecache under a file name that nobody else uses; return that name."""
    digest = hashlib.sha256(source.encode("utf-8")).hexdigest()[:8]
    lines = source.splitlines(keepends=True)
    copy = 1
    while True:
        filename = f"<gradsmith {name} {digest}>" if copy == 1 else f"<gradsmith {name} {digest} #{copy}>"
        guard = (len(source), None, lines, filename)  # mtime None: checkcache keeps the guard
        if linecache.cache.setdefault(filename, guard) is guard:  # one atomic step: safe with threads
            return filename
        copy += 1
