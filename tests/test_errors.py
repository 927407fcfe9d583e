"""Every mistake a user can make is a GradsmithError that says what was seen, where, and what to do about it."""

import keyword
import math
import os
import shutil
import stat
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy

import gradsmith as gs
from gradsmith import registry
from gradsmith.target import load_target
from gradsmith.trace import op
from gradsmith.types import Type

pytestmark = pytest.mark.usefixtures("quick_builds")

TEMPLATES = Path(__file__).parents[1] / "templates"
HAS_CC = any(map(shutil.which, ("cc", "gcc", "clang")))
needs_cc = pytest.mark.skipif(not HAS_CC, reason="no C compiler")
TARGETS = ["python", "numpy", pytest.param("c", marks=needs_cc)]

x, y = gs.symbols("x y")
A, v, w = gs.symbol("A", (2, 3)), gs.symbol("v", (3,)), gs.symbol("w", (5,))


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADSMITH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def refused(kind: type[Exception], call: Callable[[], object], *fragments: str) -> str:
    """The message of the error that `call` must raise; it must hold all `fragments`."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert isinstance(caught.value, gs.GradsmithError), f"{type(caught.value).__name__}: {message}"
    for fragment in fragments:
        assert fragment in message
    return message


def cases(*table: tuple[Any, ...]) -> Any:
    """One test for each row (label, error, call, *fragments)."""
    return pytest.mark.parametrize(("kind", "call", "fragments"), [
        pytest.param(kind, call, fragments, id=label) for label, kind, call, *fragments in table
    ])  # fmt: skip


# --- shapes -----------------------------------------------------------------------------------------------------------


def test_shape_mismatch_shows_op_shapes_and_the_users_line():
    def model(A: gs.Expr, w: gs.Expr) -> gs.Expr:
        h1 = gs.tanh(A @ w)
        return gs.sum(h1)

    line = model.__code__.co_firstlineno + 1
    message = refused(gs.ShapeError, lambda: gs.compile(model, args=((2, 3), (5,))))
    assert message == (
        "matmul: shapes (2, 3) and (5,) do not fit: 3 columns on the left meet 5 rows on the right\n"
        f"  at test_errors.py:{line}: h1 = gs.tanh(A @ w)"
    )


@cases(
    ("add", gs.ShapeError, lambda: A + w, "add: shapes (2, 3) and (5,)", "equal or 1", "A + w"),
    ("matmul scalar", gs.ShapeError, lambda: A @ x, "(2, 3)", "()", "use *"),
    ("dot", gs.ShapeError, lambda: gs.dot(A, w), "(2, 3) and (5,)"),
    ("concatenate", gs.ShapeError, lambda: gs.concatenate([A, v]), "(2, 3), (3,)", "axis 0"),
    ("concatenate scalars", gs.ShapeError, lambda: gs.concatenate([x, y]), "use gs.stack"),
    ("stack", gs.ShapeError, lambda: gs.stack([A, v]), "(2, 3), (3,)", "must be the same"),
    ("stack nothing", gs.ShapeError, lambda: gs.stack([]), "at least one"),
    ("reshape", gs.ShapeError, lambda: gs.reshape(A, (4,)), "(2, 3) has 6 elements", "(4,)"),
    ("reshape -1", gs.ShapeError, lambda: gs.reshape(A, (4, -1)), "(2, 3) cannot become (4, -1)"),
    ("reshape float", gs.ShapeError, lambda: gs.reshape(A, (2.5,)), "2.5"),
    ("broadcast_to", gs.ShapeError, lambda: gs.broadcast_to(A, (3, 2)), "(2, 3) and (3, 2)"),
    ("squeeze", gs.ShapeError, lambda: gs.squeeze(A, 0), "axis 0", "size 2, not 1"),
    ("transpose", gs.ShapeError, lambda: gs.transpose(A, (0, 0)), "(0, 0)", "2 axes"),
    ("transpose scalar", gs.ShapeError, lambda: gs.transpose(x, (0,)), "0 axes"),
    ("axis", gs.ShapeError, lambda: gs.sum(A, axis=2), "sum: axis 2 does not exist in 2 dimensions", "gs.sum(A"),
    ("axis float", gs.ShapeError, lambda: gs.sum(A, axis=1.0), "axis 1.0"),
    ("axis text", gs.ShapeError, lambda: gs.sum(A, axis="rows"), "'rows'"),
    ("axis twice", gs.ShapeError, lambda: gs.sum(A, axis=(0, 0)), "twice"),
    ("index", gs.ShapeError, lambda: A[2], "index: 2 is out of bounds for axis 0, which has size 2, of 'A'", "A[2]"),
    ("index too many", gs.ShapeError, lambda: A[0, 0, 0], "3 indices for shape (2, 3)"),
    ("index float", gs.ShapeError, lambda: A[1.5], "1.5 is not an index"),
    ("index traced", gs.ShapeError, lambda: A[x], "gs.where"),
    ("index list", gs.ShapeError, lambda: v[[0, 7]], "[0, 7]", "size 3"),
    ("arity", gs.ShapeError, lambda: gs.add.op and gs.add(x, y, x), "takes 2 operands, not 3"),
    ("symbol shape", gs.ShapeError, lambda: gs.symbol("a", (2.5,)), "2.5"),
    ("symbol negative", gs.ShapeError, lambda: gs.symbol("a", (-1,)), "negative"),
    ("symbol dim", gs.ShapeError, lambda: gs.symbol("a", ("n m",)), "'n m'"),
)  # fmt: skip
def test_shapes(kind: type[Exception], call: Callable[[], object], fragments: list[str]):
    message = refused(kind, call, *fragments)
    if "dimension must" not in message:
        assert "\n  at test_errors.py:" in message  # the user's line, whatever raised it


# --- tracing ----------------------------------------------------------------------------------------------------------


def _set_item() -> None:
    A[0] = 1.0


def _add_in_place() -> None:
    total = np.zeros(3)
    total += v


@cases(
    ("if", gs.TraceError, lambda: 1 if x > 0 else 2, "'greater' (bool", "if", "gs.where(condition, a, b)"),
    ("and", gs.TraceError, lambda: x > 0 and y > 0, "and", "& | ~"),
    ("float", gs.TraceError, lambda: float(x), "'x' (f64)", "float()", "gs.exp, not math.exp"),
    ("int", gs.TraceError, lambda: int(x), "int()", "gs.floor"),
    ("math", gs.TraceError, lambda: math.exp(x), "float()", "gs.exp, not math.exp"),
    ("complex", gs.TraceError, lambda: complex(x), "real numbers"),
    ("range", gs.TraceError, lambda: range(x), "static ints"),
    ("len", gs.TraceError, lambda: len(x), "'x' (f64) is a scalar", "len()"),
    ("iterate", gs.TraceError, lambda: list(x), "iterated"),
    ("in", gs.TraceError, lambda: y in v, "`in`"),
    ("named length", gs.TraceError, lambda: len(gs.symbol("a", "n")), "'n'"),
    ("set item", gs.TraceError, _set_item, "'A' (f64[2, 3]) cannot be changed in place", "A.copy()", "A[0] = 1.0"),
    ("array of", gs.TraceError, lambda: np.array([x, y]), "gs.stack"),
    ("numpy function", gs.TraceError, lambda: np.linalg.qr(A), "np.linalg.qr", "gs.* functions"),
    ("numpy ufunc", gs.TraceError, lambda: np.spacing(x), "np.spacing", "gs.* functions"),
    ("numpy option", gs.TraceError, lambda: np.tanh(v, casting="no"), "np.tanh(casting='no')", "leave casting= out"),
    ("numpy argument", gs.TraceError, lambda: np.matmul(v, v, axes=[0, 0, ()]), "'axes'", "gs.matmul(a, b)"),
    ("numpy method", gs.TraceError, lambda: np.arctan2.reduce(v), "np.arctan2.reduce"),
    ("numpy in place", gs.TraceError, _add_in_place, "np.add(out=)", "total += v"),
    ("NaN", gs.TraceError, lambda: x + math.nan, "NaN", "check where it comes from", "x + math.nan"),
    ("NaN array", gs.TraceError, lambda: v * np.array([1.0, np.nan, 2.0]), "NaN"),
    ("NaN constant", gs.TraceError, lambda: gs.constant(np.nan), "NaN"),
    ("complex constant", gs.TraceError, lambda: x * 1j, "complex 1j", "real numbers"),
    ("complex array", gs.TraceError, lambda: v * np.ones(3, complex), "ndarray", "real numbers"),
    ("text constant", gs.TraceError, lambda: x + "a", "str 'a'", "real numbers"),
    ("None constant", gs.TraceError, lambda: x + None, "None", "real numbers"),
    ("object constant", gs.TraceError, lambda: x + np.array([None]), "real numbers"),
    ("ragged constant", gs.TraceError, lambda: v + [[1.0, 2.0], [3.0]], "inhomogeneous"),
    ("huge constant", gs.TraceError, lambda: x + 10**400, "float64 (1.8e308)"),
    ("symbol name", gs.TraceError, lambda: gs.symbol("a b"), "identifier", "'a b'"),
    ("symbols", gs.TraceError, lambda: gs.symbols(""), "'x y'"),
)  # fmt: skip
def test_tracing(kind: type[Exception], call: Callable[[], object], fragments: list[str]):
    message = refused(kind, call, *fragments)
    assert "\n  at test_errors.py:" in message


def test_numpys_functions_trace_where_they_have_a_counterpart():
    def by_numpy(A: Any, v: Any) -> Any:
        h = np.tanh(A @ v)
        return np.sum(h**2) + np.dot(v, np.arange(3.0)) + np.max(np.where(v > 0, v, np.float64(2.0) * v), axis=0)

    def by_gradsmith(A: Any, v: Any) -> Any:
        h = gs.tanh(A @ v)
        return gs.sum(h**2) + gs.dot(v, np.arange(3.0)) + gs.max(gs.where(v > 0, v, 2.0 * v), axis=0)

    one, two = (gs.compile(f, args=((2, 3), (3,)), target="numpy") for f in (by_numpy, by_gradsmith))
    assert one.graph.digest() == two.graph.digest()
    assert "h = np.tanh(A @ v)" in one.source  # and names survive


# --- what compile() is asked for --------------------------------------------------------------------------------------


def _keyword_only(a: Any, *, k: Any) -> Any:
    return a * k


@cases(
    ("non-scalar grad", gs.DerivativeError, lambda: gs.compile(A * 2, derivatives="grad"),
     "shapes (2, 3)", "reduce it first (gs.sum, gs.mean)"),
    ("two results", gs.DerivativeError, lambda: gs.compile((x, y), derivatives=("value", "grad")), "2", "(), ()"),
    ("call grad", gs.DerivativeError, lambda: gs.compile(A * 2).grad(np.ones((2, 3))), "(2, 3)", "gs.sum or gs.mean"),
    ("call value_and_grad", gs.DerivativeError, lambda: gs.compile(v).value_and_grad(np.ones(3)), "(3,)"),
    ("not compiled", gs.DerivativeError, lambda: gs.compile(x, derivatives="value").grad(1.0), "derivatives"),
    ("not that one", gs.DerivativeError, lambda: gs.compile(x, derivatives="grad")(1.0), "add 'value'"),
    ("adjoint", gs.DerivativeError, lambda: gs.compile(A).adjoint, "without derivatives"),
    ("torch_function", gs.DerivativeError, lambda: gs.compile(A).torch_function(), "derivatives="),
    ("explain", gs.DerivativeError, lambda: gs.compile(A).explain(A=np.ones((2, 3))), "(2, 3)", "reduce"),
    ("nothing to derive by", gs.DerivativeError, lambda: gs.compile(lambda: 3.0, derivatives="grad"), "('value',)"),
    ("tuning", gs.SpecError, lambda: gs.Tuning(tile_rows=5), "Tuning(tile_rows=5)", "choose 4, 6 or 8"),
    ("tuned channels", gs.SpecError, lambda: gs.Tuning(slope_channels=6), "Tuning(slope_channels=6)", "4 or 8"),
    ("tuned vectors", gs.SpecError, lambda: gs.Tuning(tile_vectors=9), "Tuning(tile_vectors=9)", "give 1 to 8"),
    ("tuned places", gs.SpecError, lambda: gs.Tuning(lane_places=3), "Tuning(lane_places=3)", "give 4 to 16"),
    ("tuned row", gs.SpecError, lambda: gs.Tuning(flat_results=63), "Tuning(flat_results=63)", "give 64 or more"),
    ("wrt", gs.SpecError, lambda: gs.compile(x * y, wrt="z"), "wrt='z'", "choose from x, y"),
    ("wrt place", gs.SpecError, lambda: gs.compile(x * y, wrt=2), "wrt=2", "x, y"),
    ("wrt number", gs.SpecError, lambda: gs.compile(x * y, wrt=1.5), "wrt=1.5"),
    ("wrt bool", gs.SpecError, lambda: gs.compile(x * y, wrt=True), "wrt=True"),
    ("wrt symbol", gs.SpecError, lambda: gs.compile(x * y, wrt=gs.symbol("q")), "q", "x, y"),
    ("wrt expression", gs.SpecError, lambda: gs.compile(x * y, wrt=x * y), "x, y"),
    ("wrt twice", gs.SpecError, lambda: gs.compile(x * y, wrt=("x", 0)), "'x' twice"),
    ("wrt nothing", gs.SpecError, lambda: gs.compile(x * y, wrt=()), "leave it out"),
    ("target", gs.TargetError, lambda: gs.compile(x, target="fortran"), "'fortran'", "c, numpy, python", "target.toml"),
    ("target None", gs.TargetError, lambda: gs.compile(x, target=None), "c, numpy, python"),
    ("name", gs.SpecError, lambda: gs.compile(x, name="a b"), "name='a b'", "identifier"),
    ("name empty", gs.SpecError, lambda: gs.compile(x, name=""), "name=''"),
    ("name number", gs.SpecError, lambda: gs.compile(x, name=3), "name=3"),
    ("dtype", gs.SpecError, lambda: gs.compile(x, dtype="int64"), "dtype='int64'", "float64"),
    ("narrow", gs.DTypeError, lambda: gs.compile(x, dtype="float16"), "'float16'", "float32"),
    ("narrow spec", gs.DTypeError, lambda: gs.spec((), "bfloat16"), "'bfloat16'", "float32"),
    ("spec dtype", gs.DTypeError, lambda: gs.spec((3,), dtype="int8"), "'int8'", "float64"),
    ("derivatives", gs.SpecError, lambda: gs.compile(x, derivatives=("hess",)), "'value', 'grad', 'value_and_grad'"),
    ("derivatives none", gs.SpecError, lambda: gs.compile(x, derivatives=()), "'value'"),
    ("derivatives number", gs.SpecError, lambda: gs.compile(x, derivatives=3), "'value'"),
    ("args short", gs.SpecError, lambda: gs.compile(lambda a, b: a, args=((),)), "1 entries", "(a, b) takes 2"),
    ("args long", gs.SpecError, lambda: gs.compile(lambda a: a, args=((), ())), "2 entries", "takes 1"),
    ("args number", gs.SpecError, lambda: gs.compile(lambda a: a, args=3), "3", "a tuple"),
    ("args missing", gs.SpecError, lambda: gs.compile(lambda a, b: a, args={"a": (), "c": ()}), "lacks", "b"),
    ("args leaf", gs.SpecError, lambda: gs.compile(lambda a: a, args=("hello",)), "'hello'", "gs.spec"),
    ("args complex", gs.SpecError, lambda: gs.compile(lambda a: a, args=(np.ones(2, complex),)), "complex128", "real"),
    ("args negative", gs.ShapeError, lambda: gs.compile(lambda a: a, args=((-1,),)), "negative"),
    ("args symbols", gs.SpecError, lambda: gs.compile(x * y, args="x"), "lacks y"),
    ("args unknown", gs.SpecError, lambda: gs.compile(x * y, args="x y z"), "'z'", "x, y"),
    ("args twice", gs.SpecError, lambda: gs.compile(x * y, args="x y x"), "x twice"),
    ("args of expression", gs.SpecError, lambda: gs.compile(x * y, args=3), "3", "symbols"),
    ("keyword only", gs.SpecError, lambda: gs.compile(_keyword_only), "'k'", "functools.partial"),
    ("foreign symbol", gs.SpecError, lambda: gs.compile(lambda a: a * x), "symbol 'x'", "make it one of them"),
    ("two of one name", gs.SpecError, lambda: gs.compile(x + gs.symbol("x")), "share the name x", "rename one"),
    ("nothing to compile", gs.SpecError, lambda: gs.compile(None), "NoneType", "a function"),
    ("number", gs.SpecError, lambda: gs.compile(3.0), "float", "a function"),
    ("returns None", gs.TraceError, lambda: gs.compile(lambda a: None), "None", "return an expression"),
    ("returns text", gs.TraceError, lambda: gs.compile(lambda a: "s"), "str 's'", "real numbers"),
    ("point", gs.SpecError, lambda: gs.compile(x * y).explain(x=1.0), "inputs are x, y", "'y' missing"),
    ("style", gs.SpecError, lambda: gs.compile(x).explain("html", x=1.0), "'html'", "'markdown'"),
)  # fmt: skip
def test_compile(kind: type[Exception], call: Callable[[], object], fragments: list[str]):
    refused(kind, call, *fragments)


# --- text and SymPy ---------------------------------------------------------------------------------------------------


@cases(
    ("function", gs.ParseError, lambda: gs.compile("x + tahn(x)"), "'tahn'", "'tanh'", "\n  x + tahn(x)\n      ^^^^"),
    ("attribute", gs.ParseError, lambda: gs.compile("x.__class__"), "attributes", "^^^"),
    ("import", gs.ParseError, lambda: gs.compile("__import__('os')"), "__import__"),
    ("statement", gs.ParseError, lambda: gs.compile("import os"), "keyword"),
    ("lambda", gs.ParseError, lambda: gs.compile("lambda: 1"), "lambda"),
    ("power", gs.ParseError, lambda: gs.compile("x ^ 2"), "**"),
    ("product", gs.ParseError, lambda: gs.compile("2x"), "2*x"),
    ("assignment", gs.ParseError, lambda: gs.compile("f = 3*x"), "without an assignment"),
    ("NaN", gs.ParseError, lambda: gs.compile("x*nan"), "NaN"),
    ("empty", gs.ParseError, lambda: gs.compile(""), "empty"),
    ("shapes", gs.ParseError, lambda: gs.compile("W @ x", args={"W": (3, 4), "x": (5,)}), "(3, 4) and (5,)", "^^^^^"),
    ("args leaf", gs.SpecError, lambda: gs.compile("W*2", args={"W": None}), "W is None", "gs.spec"),
    ("zeta", gs.UnsupportedError, lambda: gs.compile(sympy.zeta(sympy.Symbol("x"))), "zeta(x)", ".rewrite"),
    ("integral", gs.UnsupportedError, lambda: gs.compile(sympy.Integral(sympy.Symbol("x"))), "Integral", ".doit()"),
    ("imaginary", gs.UnsupportedError, lambda: gs.compile(sympy.I * sympy.Symbol("x")), "real"),
    ("nan", gs.UnsupportedError, lambda: gs.compile(sympy.Symbol("x") + sympy.nan), "NaN"),
)  # fmt: skip
def test_text_and_sympy(kind: type[Exception], call: Callable[[], object], fragments: list[str]):
    refused(kind, call, *fragments)


# --- ops and targets --------------------------------------------------------------------------------------------------


@pytest.fixture
def cube_root() -> Iterator[Callable[..., gs.Expr]]:
    """A user's op with a cell for Python only."""
    yield op(
        "cube_root", arity=1, kind="elementwise", infer=lambda t: Type(t.shape), evaluate=np.cbrt,
        mp=lambda mp, a: mp.cbrt(a), cells={"python": "math.cbrt({0})"}, doc="Cube root.",
    )  # fmt: skip
    del registry.OPS["cube_root"]


def test_op_without_a_cell(cube_root: Callable[..., gs.Expr]):
    assert gs.compile(cube_root(x), derivatives="value")(8.0) == 2.0
    remedy = "add cells for them to the op records or to the [cells] table"
    for target in ("numpy", "c"):
        refused(
            gs.TargetError, lambda target=target: gs.compile(cube_root(x), derivatives="value", target=target),
            f"target {target!r} cannot write cube_root", remedy, "another target",
        )  # fmt: skip
    refused(gs.DerivativeError, lambda: gs.compile(cube_root(x)), "'cube_root'", "vjp= or expand=")
    f = gs.compile(cube_root(x), derivatives="value")
    refused(gs.UnsupportedError, lambda: f.check(against="torch"), "'cube_root'", "torch=", "'mpmath' or 'finite'")
    assert "against mpmath" in str(f.check(domain={"x": (0, None)}))  # the first reference that can
    refused(gs.TargetError, lambda: op("cube_root", arity=1, kind="elementwise", infer=None, evaluate=None), "exists")
    refused(gs.ShapeError, lambda: cube_root(x, y), "cube_root: takes 1 operands, not 2")


def _target(folder: Path, edit: Callable[[str], str] = str, template: str = "") -> Path:
    """A copy of the target "python" with its manifest edited, or its template replaced."""
    copy = folder / "python"
    shutil.copytree(TEMPLATES / "python", copy)
    manifest = copy / "target.toml"
    edited = edit(manifest.read_text())
    assert edited != manifest.read_text() or template or edit is str, "the edit must change something"
    manifest.write_text(edited)
    if template:
        (copy / "module.py.j2").write_text(template)
    return copy


@pytest.mark.parametrize(("old", "new", "fragments"), [
    ('lowering = "scalar"\n', "", ["target.toml lacks lowering"]),
    ('lowering = "scalar"', 'lowering = "fancy"', ["'fancy'", "'scalar', 'array', 'loops'"]),
    ('loader = "python"', 'loader = "ruby"', ["'ruby'", "'python', 'c'"]),
    ("description =", "nonsense = 1\ndescription =", ["unknown entry nonsense", "description, lowering"]),
    ("description =", "[[[\ndescription =", ["not valid TOML", "line 1"]),
    ("reserved = [", "reserved = 3\ncells = [", ["reserved = 3, which should be a list", "should be a table"]),
    ('"if else", ', "3, ", ["an entry in precedence that is not text"]),
    ('assign = "{name} = {value}"\n', "", ["[syntax]", "lacks 'assign'"]),
    ('assign = "{name} =', 'assign = "{nme} =', ["assign", "'nme'", "{name}, {value}"]),
    ('"{name}.py"', '"../{name}.py"', ["'../f.py'", "plain file name"]),
    ('"{name}.py"', '"{nme}.py"', ["'{nme}.py'", "plain file name"]),
    ('"module.py.j2"', '"nothing.j2"', ["no template 'nothing.j2'"]),
])  # fmt: skip
def test_bad_manifest(tmp_path: Path, old: str, new: str, fragments: list[str]):
    folder = _target(tmp_path, lambda text: text.replace(old, new, 1))
    refused(gs.TargetError, lambda: gs.compile(x * y + gs.tanh(x), target=folder), "'python'", *fragments)


@pytest.mark.parametrize(("template", "fragments"), [
    ("{% if %}", ["module.py.j2:1"]),
    ("{{ nonsense }}", ["module.py.j2", "'nonsense' is undefined"]),
])  # fmt: skip
def test_bad_template(tmp_path: Path, template: str, fragments: list[str]):
    refused(gs.TargetError, lambda: gs.compile(x, target=_target(tmp_path, template=template)), *fragments)


def test_target_that_is_no_folder_or_no_text(tmp_path: Path):
    refused(gs.TargetError, lambda: gs.compile(x, target=tmp_path), str(tmp_path), "target.toml")
    (tmp_path / "target.toml").write_bytes(b"\xff\xfe")
    refused(gs.TargetError, lambda: gs.compile(x, target=tmp_path), "not valid TOML")


def test_target_that_python_cannot_call(tmp_path: Path):
    f = gs.compile(x * y, target=_target(tmp_path, lambda text: text.replace('loader = "python"', "")))
    assert "def f(x, y):" in f.source
    for call in (lambda: f(1.0, 2.0), f.check):
        refused(gs.TargetError, call, "generates source only", "f.save()", 'target="python"')


# --- names ------------------------------------------------------------------------------------------------------------

AWKWARD = [
    *keyword.kwlist[3:], "double", "int", "register", "restrict", "math", "np", "abs", "float", "len", "self", "cls",
    "f", "f_grad", "f_value_and_grad", "value", "d_x", "d_value", "work", "t1", "i", "sum_1", "TABLE_1", "table_1",
    "y0", "gamma", "main", "NULL", "NAN", "M_PI", "errno", "GS_RESTRICT", "F_H", "F_WORK", "F_SELFTEST", "_", "exp",
    "printf", "size_t", "bool", "class_",
]  # fmt: skip


@pytest.mark.parametrize("target", ["python", "numpy"])
def test_reserved_and_colliding_names_are_renamed(target: str):
    v = gs.symbol("vec", (3,))
    table = np.arange(3.0)
    for name in AWKWARD:
        a, q = gs.symbol(name), gs.symbol("x")
        f = gs.compile(gs.exp(a) * q + gs.sum(v * a * table), args=(a, q, v), target=target, selftest=False)
        value, (d_a, d_x, _) = f.value_and_grad(**{name: 0.5, "x": 2.0, "vec": np.ones(3)})  # the user's own name
        np.testing.assert_allclose([value, d_a, d_x], [2 * math.exp(0.5) + 1.5, 2 * math.exp(0.5) + 3, math.exp(0.5)])


@needs_cc
def test_reserved_and_colliding_names_in_c():
    """All awkward names at once, one build; and the words that C reserves, as names of functions."""
    symbols = [gs.symbol(name) for name in AWKWARD]
    total = symbols[0] * 0.0
    for k, a in enumerate(symbols):
        total = total + gs.exp(a) * float(k)
    f = gs.compile(total, args=symbols, target="c")
    values = np.linspace(-1.0, 1.0, len(AWKWARD)).tolist()
    value, gradient = f.value_and_grad(*values)
    np.testing.assert_allclose(value, math.fsum(k * math.exp(a) for k, a in enumerate(values)))
    np.testing.assert_allclose(gradient, [k * math.exp(a) for k, a in enumerate(values)])
    assert "double for_," in f.source.replace("\n", " ")
    g = gs.compile(gs.exp(x) * y, name="double", target="c")
    assert g(0.0, 3.0) == 3.0
    assert list(g.files) == ["double_.h", "double_.c"]


@pytest.mark.parametrize("target", ["python", "numpy"])
def test_reserved_function_names(target: str):
    for name in ("for", "lambda", "math", "np", "exp", "x", "value", "float"):
        f = gs.compile(gs.exp(x) * y, name=name, target=target, selftest=False)
        assert f.value_and_grad(0.0, 3.0) == (3.0, (3.0, 1.0))


# --- calls ------------------------------------------------------------------------------------------------------------

Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize("target", TARGETS)
def test_wrong_arguments(target: str):
    f = gs.compile(gs.sum(A @ v) * x, args=(A, v, x), target=target, selftest=False)
    a, b = np.ones((2, 3)), np.ones(3)
    assert f(a, b, 2.0) == f([[1, 1, 1], [1, 1, 1]], [1, 1, 1], 2) == f(x=2.0, A=a, v=b) == 12.0
    wrong: list[tuple[type[Exception], Callable[[], object], list[str]]] = [
        (gs.ArgumentError, lambda: f(a), ["f() takes (A, v, x)", "missing 'v', 'x'"]),
        (gs.ArgumentError, lambda: f(a, b, 1.0, 2.0), ["(A, v, x)", "4 arguments"]),
        (gs.ArgumentError, lambda: f(a, b, z=1.0), ["(A, v, x)", "no argument 'z'"]),
        (gs.ArgumentError, lambda: f(a, b, 1.0, x=1.0), ["'x' twice"]),
        (gs.ShapeMismatchError, lambda: f(a.T, b, 2.0), ["'A'", "(3, 2)", "(2, 3)"]),
        (gs.ShapeMismatchError, lambda: f.grad(a, b[:2], 2.0), ["'v'", "(2,)", "(3,)"]),
        (gs.ShapeMismatchError, lambda: f.value_and_grad(a, b, b), ["'x'", "(3,)", "()"]),
        (gs.ArgumentError, lambda: f(1.0, b, 2.0), ["'A'", "(2, 3)"]),
        (gs.ArgumentError, lambda: f(a * 1j, b, 2.0), ["'A'", "complex128"]),
        (gs.ArgumentError, lambda: f(a, b, 2j), ["'x'", "complex"]),
        (gs.ArgumentError, lambda: f(a, b, "2"), ["'x'", "str"]),
        (gs.ArgumentError, lambda: f(a, b, None), ["'x'", "NoneType"]),
        (gs.ArgumentError, lambda: f([[1.0], [1.0, 2.0]], b, 2.0), ["'A'"]),
        (gs.ArgumentError, lambda: f(np.array([["a"] * 3] * 2), b, 2.0), ["'A'", "<U1"]),
        (gs.ArgumentError, lambda: f(A, b, 2.0), ["'A'"]),  # a traced value
        (gs.ArgumentError, lambda: f(a, b, 10**400), ["f()", "'x'", "too large"]),
    ]
    for kind, call, fragments in wrong:
        refused(kind, call, *fragments)


@pytest.mark.parametrize("target", TARGETS)
def test_torch_tensor_that_requires_grad(target: str):
    torch = pytest.importorskip("torch")
    f = gs.compile(gs.sum(v**2), target=target, selftest=False)
    assert f(torch.ones(3)) == 3.0
    refused(gs.ArgumentError, lambda: f(torch.ones(3, requires_grad=True)), "f()", "detach()")


@pytest.mark.parametrize("target", TARGETS)
def test_wrong_pytrees(target: str):
    f = gs.compile(
        lambda p, q: p["a"] * p["b"][0] + q.a,
        args=({"a": (), "b": [(), ()]}, Pair((), ())),
        target=target,
        selftest=False,
    )
    q = Pair(1.0, 2.0)
    assert f({"b": [2.0, 3.0], "a": 1.0}, q) == 3.0  # the order of a dict's entries does not matter
    wrong: list[tuple[Any, Any, list[str]]] = [
        ({"a": 1.0}, q, ["p is a dict with 'a'", "expected a dict with 'a', 'b'"]),
        ({"a": 1.0, "b": [1.0, 2.0], "c": 3.0}, q, ["'c'"]),
        ({"a": 1.0, "b": (2.0, 3.0)}, q, ["p['b'] is a tuple", "expected a list"]),
        ({"a": 1.0, "b": [2.0]}, q, ["p['b'] is a list with 0, expected a list with 0, 1"]),
        ({"a": 1.0, "b": np.ones(2)}, q, ["p['b'] is a ndarray"]),
        (1.0, q, ["p is a float"]),
        ({"a": 1.0, "b": [2.0, 3.0]}, (1.0, 2.0), ["q is a tuple", "expected a named tuple with 'a', 'b'"]),
        ({"a": {"deep": 1.0}, "b": [2.0, 3.0]}, q, ["'a'", "dict"]),
        ({"a": np.ones(3), "b": [2.0, 3.0]}, q, ["'a'", "(3,)"]),
    ]
    for p, other, fragments in wrong:
        refused(gs.ArgumentError, lambda p=p, other=other: f(p, other), "f()", *fragments)


# --- empty arrays -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mean", "max", "min", "logsumexp", "softmax"])
def test_reductions_that_an_empty_array_has_not(name: str):
    refused(gs.ShapeError, lambda: getattr(gs, name)(gs.symbol("e", (0,))), f"{name}: shape (0,) is empty", "axis")


@pytest.mark.parametrize("target", TARGETS)
def test_empty_arrays(target: str):
    e, E = gs.symbol("e", (0,)), gs.symbol("E", (0, 3))
    none, rows = np.ones(0), np.ones((0, 3))

    def compiled(source: gs.Expr, *symbols: gs.Expr) -> gs.CompiledFunction:
        return gs.compile(source, args=symbols, target=target)

    f = compiled(gs.sum(gs.exp(e)) * x, e, x)
    value, (d_e, d_x) = f.value_and_grad(none, 2.0)
    assert (value, d_x, np.shape(d_e)) == (0.0, 0.0, (0,))  # the sum of nothing is 0
    f = compiled(gs.prod(e) * x, e, x)
    value, (d_e, d_x) = f.value_and_grad(none, 2.0)
    assert (value, d_x, np.shape(d_e)) == (2.0, 1.0, (0,))  # the product of nothing is 1
    f = compiled(gs.sum(E.T @ e + v), E, e, v)
    value, (d_E, d_e, d_v) = f.value_and_grad(rows, none, np.ones(3))
    assert (value, np.size(d_E), np.size(d_e)) == (3.0, 0, 0)
    np.testing.assert_array_equal(d_v, np.ones(3))
    f = compiled(gs.sum(gs.concatenate([v[3:], v]) ** 2), v)
    np.testing.assert_array_equal(f.grad(np.ones(3)), 2 * np.ones(3))
    assert np.shape(compiled(e * 2, e)(none)) == (0,)
    np.testing.assert_array_equal(compiled(gs.sum(E, axis=0), E)(rows), np.zeros(3))


# --- building C -------------------------------------------------------------------------------------------------------


@pytest.fixture
def unbuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gs.CompiledFunction:
    """A C function that is in no cache."""
    monkeypatch.setenv("GRADSMITH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    return gs.compile(x * y, target="c", selftest=False)


def test_no_compiler(unbuilt: gs.CompiledFunction, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "ziglang", None)  # which may be installed
    for call in (lambda: unbuilt(1.0, 2.0), unbuilt.check):
        refused(gs.CompilerNotFoundError, call, "cc, gcc, clang", "set CC", '"python" and "numpy" need no compiler')
    assert "void f(double x, double y" in unbuilt.source  # the text is there all the same
    monkeypatch.setenv("CC", "no-such-cc")
    refused(gs.CompilerNotFoundError, lambda: unbuilt(1.0, 2.0), "$CC = no-such-cc")


def test_compiler_error_shows_its_output(unbuilt: gs.CompiledFunction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    broken = tmp_path / "broken-cc"
    broken.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "f.c:1:1: error: out of ink"\nexit 1\n')
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    refused(gs.CompilerFailedError, lambda: unbuilt(1.0, 2.0), "failed on _gs_f", "$ broken-cc -std=c99", "out of ink")


@needs_cc
@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is read-only for root")
def test_read_only_cache(unbuilt: gs.CompiledFunction, tmp_path: Path):
    (tmp_path / "cache").mkdir(mode=0o500)
    refused(gs.CacheError, lambda: unbuilt(1.0, 2.0), str(tmp_path / "cache"), "GRADSMITH_CACHE_DIR")


@needs_cc
def test_cache_that_cannot_be_written(unbuilt: gs.CompiledFunction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As a read-only file system answers, which also root meets."""

    def read_only(*_: object, **__: object) -> str:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("gradsmith_runtime.cache.tempfile.mkdtemp", read_only)
    refused(gs.CacheError, lambda: unbuilt(1.0, 2.0), "cache", "Read-only file system", "GRADSMITH_CACHE_DIR")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRADSMITH_CACHE_DIR", str(tmp_path / "file"))
    refused(gs.CacheError, lambda: unbuilt(1.0, 2.0), str(tmp_path / "file"), "GRADSMITH_CACHE_DIR")


def test_torch_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    f = gs.compile(x * y)
    for call in (lambda: f.check(against="torch"), f.torch_function):
        refused(gs.MissingExtraError, call, "pip install 'gradsmith[torch]'")


def test_errors_are_also_the_builtin_ones_and_survive_pickling():
    import pickle

    for kind, builtin in (
        (gs.ShapeError, ValueError), (gs.TraceError, TypeError), (gs.ParseError, ValueError),
        (gs.SpecError, ValueError), (gs.UnsupportedError, NotImplementedError), (gs.DerivativeError, ValueError),
        (gs.TargetError, ValueError),
        (gs.ArgumentError, TypeError), (gs.ShapeMismatchError, ValueError), (gs.CacheError, OSError),
        (gs.MissingExtraError, ImportError), (gs.MismatchError, AssertionError),
    ):  # fmt: skip
        assert issubclass(kind, builtin)
        assert issubclass(kind, gs.GradsmithError)
    with pytest.raises(gs.ShapeError) as caught:
        A @ w
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (gs.ShapeError, str(caught.value))


def test_permissions_of_saved_files(tmp_path: Path):
    (path,) = gs.compile(x * y).save(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_every_target_of_the_list_loads():
    assert gs.target_names() == ["c", "numpy", "python"]
    for name in gs.target_names():
        assert load_target(name).description
