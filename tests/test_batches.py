"""Functions of many points: the same numbers as the function of one, however the points lie and however many there are."""

import itertools
import platform
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs

BLOCK = gs.Tuning().batch_points


def mixed(a: Any, v: Any, m: Any, k: Any) -> Any:
    """Numbers, a vector, a matrix and an integer; sums, a choice, and functions of libm."""
    return gs.sum(gs.tanh(m @ v) * a) + gs.where(k > 2, gs.exp(-a * a), gs.sum(v[1:] * v[:-1]) / (1.0 + v[0] ** 2)) * k


MIXED = ((), (3,), (2, 3), gs.spec((), "int32"))


def looped(m: Any, v: Any) -> Any:
    """A loop stays one, so that points are taken one by one."""
    return gs.sum(gs.scan(lambda c, _: (gs.sin(c) * 1.1, c), m @ v, None, length=4)[0] ** 2)


def network(w: Any, b: Any, x: Any, t: Any) -> Any:
    return (gs.sum(gs.tanh(w @ x + b)) - t) ** 2


@pytest.fixture(scope="module")
def f() -> gs.CompiledFunction:
    return gs.compile(mixed, args=MIXED, target="c", batch=True, strict=True, name="mixed")


@pytest.fixture(scope="module")
def g() -> gs.CompiledFunction:
    return gs.compile(looped, args=((3, 3), (3,)), target="c", batch=True, name="looped")


def points(n: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(n)
    return [rng.uniform(-1.5, 1.5, (n, *shape)) for shape in shapes]


def mixed_points(n: int) -> list[np.ndarray]:
    return [*points(n, (), (3,), (2, 3)), np.arange(n, dtype=np.int32) % 5]


def one_by_one(function: Any, arrays: list[np.ndarray], n: int) -> list[list[Any]]:
    """What each point gives alone, flat."""
    return [flat(function(*(a[i] for a in arrays))) for i in range(n)]


def flat(result: Any) -> list[Any]:
    return [r for part in result for r in flat(part)] if isinstance(result, tuple | list) else [result]


def same(many: Any, single: list[list[Any]]) -> bool:
    return all(np.array_equal(a[i], b) for i, row in enumerate(single) for a, b in zip(flat(many), row, strict=True))


# --- how many, and how they lie ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 7, BLOCK - 1, BLOCK, BLOCK + 1, 1000])
def test_strict_code_gives_each_point_the_bits_that_it_has_alone(f: gs.CompiledFunction, n: int) -> None:
    arrays = mixed_points(n)
    found = f.value_and_grad_batch(*arrays)
    assert [r.shape for r in flat(found)] == [(n,), (n,), (n, 3), (n, 2, 3)]
    assert same(found, one_by_one(f.value_and_grad, arrays, n))
    assert np.array_equal(f.value_batch(*arrays), found[0])
    assert all(map(np.array_equal, f.grad_batch(*arrays), found[1]))


def _components_first(a: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 0, -1)), -1, 0)


def _spread(a: np.ndarray) -> np.ndarray:
    wide = np.zeros((3 * len(a) + 1, *(2 * d for d in a.shape[1:])), a.dtype)
    view = wide[1::3][(slice(None), *(slice(1, None, 2) for _ in a.shape[1:]))]
    view[...] = a
    return view


LAYOUTS = {
    "structure of arrays": _components_first,
    "backwards": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "components backwards": lambda a: np.flip(np.ascontiguousarray(np.flip(a, a.ndim - 1)), a.ndim - 1),
    "gaps": _spread,
    "axes swapped": lambda a: np.ascontiguousarray(np.swapaxes(a, -1, -2)).swapaxes(-1, -2) if a.ndim == 3 else a,
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "misaligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
    "lists": lambda a: a.tolist(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("which", ["f", "g"])
def test_any_layout_gives_the_same(which: str, layout: str, request: pytest.FixtureRequest) -> None:
    function = request.getfixturevalue(which)
    n = BLOCK + 5
    arrays = mixed_points(n) if which == "f" else points(n, (3, 3), (3,))
    wanted = function.value_and_grad_batch(*arrays)
    laid = [LAYOUTS[layout](a) for a in arrays]
    assert all(map(np.array_equal, flat(function.value_and_grad_batch(*laid)), flat(wanted)))
    if layout in ("structure of arrays", "backwards", "components backwards", "gaps", "axes swapped"):
        value, gradient = wanted
        out = (LAYOUTS[layout](np.zeros_like(value)), tuple(LAYOUTS[layout](np.zeros_like(d)) for d in gradient))
        found = function.value_and_grad_batch(*laid, out=out)
        assert all(a is b for a, b in zip(flat(found), flat(out), strict=True))
        assert all(map(np.array_equal, flat(out), flat(wanted)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_results_stored_past_the_caches_are_the_same(dtype: str) -> None:
    """Rows that begin anywhere in a line of memory, blocks and runs that end anywhere in it, and rows with gaps."""
    options: dict[str, Any] = {"args": ((3,), (2, 2)), "wrt": 0, "target": "c", "batch": True, "threads": "openmp"}
    formula = lambda v, m: gs.sum(gs.exp(v) * v[::-1]) - m[0, 1] * m[1, 0] * m[1, 0]
    as_rows = lambda a: np.ascontiguousarray(a.T).T
    layouts = (
        as_rows,
        np.ascontiguousarray,
        lambda a: as_rows(a) if a.ndim == 2 else as_rows(a.swapaxes(1, 2)).swapaxes(1, 2),
    )
    stored, headed, streamed = (
        gs.compile(
            formula, **options, dtype=dtype, tuning=gs.Tuning(stream_bytes=1, stream_lines=14, stream_run=64, **more)
        )
        for more in ({}, {"head_points": 1}, {"head_points": 1, "stream_rows": 11})
    )
    assert "f_value_and_grad_batch_past(" not in stored.source
    assert "f_value_and_grad_batch_past(" in streamed.source
    for n, f in itertools.product((1, 15, 16, 17, 300, 387), (headed, streamed)):
        v, m = (a.astype(dtype) for a in points(n, (3,), (2, 2)))
        expected = stored.value_and_grad_batch(v, m)
        for start, step, laid in itertools.product((0, 1, 5), (1, 2), layouts):
            memory = np.full((4, 5 + step * n), 7.0, dtype)
            value, slope = memory[0, start : start + step * n : step], memory[1:, start : start + step * n : step].T
            f.value_and_grad_batch(laid(v), laid(m), out=(value, slope), threads=2)
            assert np.array_equal(value, expected[0])
            assert np.array_equal(slope, expected[1])
            value[...] = slope[...] = 7.0
            assert np.all(memory == 7.0)  # nothing else was written


def test_points_of_so_many_numbers_that_no_block_is_small() -> None:
    """Those of a single point are more lines of memory than a block that stores past the caches may ask for."""
    formula = lambda v: v[0] * v[1199] + v[7]
    f = gs.compile(
        formula,
        args=((1200,),),
        target="c",
        batch=True,
        derivatives="grad",
        tuning=gs.Tuning(stream_bytes=1, batch_bytes=1_000_000),
    )
    assert "gs_past_double" in f.source
    (v,) = points(21, (1200,))
    slope = f.grad_batch(np.asfortranarray(v))
    right = np.zeros_like(v)
    right[:, 0], right[:, 1199], right[:, 7] = v[:, 1199], v[:, 0], 1.0
    assert np.array_equal(slope, right)


def _bytes_of_arrays(source: str) -> int:
    """The bytes of the arrays of a batch function and the largest function that it calls, from their text."""
    words = {"double": 8, "float": 4, "gs_row": 16}
    found = {"": 0, "_block": 0, "_past": 0, "_lanes": 0}
    for end, text in re.findall(r"^(?:static )?void f_\w*_batch(\w*)\((.*?)^}", source, flags=re.DOTALL | re.MULTILINE):
        for word, to, size in re.findall(r"^ +(double|float|gs_row) (\*?)gs_\w+\[(\d+)\]", text, flags=re.MULTILINE):
            found[end] += int(size) * (8 if to else words[word])
    assert found["_lanes"] == 0
    return found[""] + max(found["_block"], found["_past"])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", [1, 53, 863, 864, 1727, 1728])
def test_blocks_take_no_more_of_the_stack_than_the_header_says_and_the_tuning_allows(size: int, dtype: str) -> None:
    """Points of which eight would not fit are computed one by one."""
    most, words = gs.Tuning().batch_bytes, {"float64": 8, "float32": 4}
    for shared, reduce in ((2000, None), (20, "sum")):
        f = gs.compile(
            lambda v, w: gs.sum(v * v * w[0]),
            args=((size,), (shared,)),
            wrt=(0, 1) if reduce else (0,),
            target="c",
            name="f",
            batch="v",
            reduce=reduce,
            derivatives="value_and_grad",
            dtype=dtype,
            selftest=False,
            tuning=gs.Tuning(batch_statements=100_000),
        )
        taken = _bytes_of_arrays(f.source)
        told = re.findall(r"Its arrays take (\d+) bytes of the C stack", f.files["f.h"])
        assert taken <= most
        assert told == ([str(taken)] if taken else [])
        sums = shared if reduce else 0
        assert (taken == 0) == ((8 * (2 * size + 1 + sums) + sums) * words[dtype] > most)
        assert (taken == 0) == ("_lanes(" not in f.source)


def test_points_too_large_for_a_block_are_right() -> None:
    f = gs.compile(lambda v: gs.sum(v * v), args=((5000,),), target="c", batch=True, derivatives="value_and_grad")
    (v,) = points(3, (5000,))
    for laid in (v, np.asfortranarray(v)):
        value, slope = f.value_and_grad_batch(laid)
        assert np.allclose(value, np.sum(v * v, axis=1), rtol=1e-14)
        assert np.array_equal(slope, 2.0 * v)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the options are those of x86")
@pytest.mark.parametrize("flags", [["-O2", "-march=x86-64-v4"], ["-O2", "-march=x86-64-v3"], ["-O0"]])
def test_a_batch_of_a_network_runs_on_the_smallest_usual_stacks(flags: list[str], tmp_path: Path) -> None:
    """128 KiB, with all that the compiler puts aside."""
    shapes = {"w": (8, 4), "b": (8,), "v": (8,), "c": (), "x": (4,)}
    f = gs.compile(
        lambda w, b, v, c, x: gs.sum(v * gs.tanh(w @ x + b)) + c,
        args=tuple(shapes.values()),
        wrt=(0, 1, 2, 3),
        target="c",
        name="f",
        batch=True,
        derivatives="value_and_grad",
        selftest=False,
    )
    for name, text in f.files.items():
        (tmp_path / name).write_text(text)
    subprocess.run(["gcc", "-std=c99", *flags, "-fstack-usage", "-c", "f.c"], cwd=tmp_path, check=True)
    frames: dict[str, int] = {}
    for line in (tmp_path / "f.su").read_text().splitlines():
        place, size, _ = line.split("\t")
        (name,) = re.findall(r":f_value_and_grad_batch(\w*)", place) or [None]
        if name is not None:
            frames[name] = int(size)
    path = frames[""] + max(frames["_block"], frames["_past"]) + frames.get("_lanes", 0)
    assert frames["_block"] > 64 * 1024
    assert path < 128 * 1024


def test_which_points_share_a_block_depends_on_addresses_where_nothing_else_does() -> None:
    """The order of a sum does, and where angles may be far, by a rounding, what lies in one block with such an angle."""
    x = gs.symbol("x")
    cases: list[tuple[Any, dict[str, Any]]] = [(gs.exp, {}), (gs.sin, {}), (gs.exp, {"reduce": "sum"})]
    options: dict[str, Any] = {"args": (x,), "target": "c", "batch": True, "derivatives": "value"}
    sources = [gs.compile(f(x), **options, **more).source for f, more in cases]
    assert ["gs_head" in source for source in sources] == [True, False, False]


def test_all_rows_say_where_blocks_begin_and_many_rows_are_asked_for_into_the_second_cache() -> None:
    v, k = gs.symbol("v", shape=(3,)), gs.symbol("k", dtype="int32")
    for near, second in ((3, 1), (4, 0)):  # of v, and k
        tuning = gs.Tuning(stream_rows=1, near_rows=near)
        f = gs.compile(gs.sum(v) * k, args=(v, k), wrt=(v,), target="c", batch=True, derivatives="grad", tuning=tuning)
        voters = re.findall(r"gs_vote_double\(gs_votes, (\w+) \+ gs_k", f.source)
        assert voters == ["v", "d_v"]
        assert re.findall(r"gs_past_double\(gs_to,.* (\d)\);", f.source) == [str(second)]


def test_arguments_without_the_axis_are_the_same_for_all_points(f: gs.CompiledFunction) -> None:
    a, v, m, _ = mixed_points(50)
    found = f.value_and_grad_batch(a, v[0], m=m[1], k=3)
    every = [a, np.tile(v[0], (50, 1)), np.tile(m[1], (50, 1, 1)), np.full(50, 3, np.int32)]
    assert all(map(np.array_equal, flat(found), flat(f.value_and_grad_batch(*every))))


def test_loops_go_point_by_point(g: gs.CompiledFunction) -> None:
    arrays = points(9, (3, 3), (3,))
    assert same(g.value_and_grad_batch(*arrays), one_by_one(g.value_and_grad, arrays, 9))


def test_short_recurrences_stay_straight_lines_and_long_ones_are_scans() -> None:
    x, y = gs.symbols("x y")

    def steps(count: int) -> gs.Expr:
        total = y
        for _ in range(count):
            total = 0.5 * total * x + y
        return total

    options: dict[str, Any] = {"args": (x, y), "target": "c", "derivatives": "value", "selftest": False}
    alone, short, long = (
        gs.compile(steps(count), batch=batch, **options).source
        for count, batch in ((100, False), (100, True), (300, True))
    )
    assert "for (" in alone
    assert "_lanes(" in short
    assert "_lanes(" not in long


def test_every_kind_in_float32() -> None:
    kinds = ("jvp", "vjp", "jacobian", "hessian", "hvp")
    f = gs.compile(lambda x, v: gs.exp(x) * gs.sum(v * v * v), args=((), (2,)), target="c", batch=True, dtype="float32",
                   derivatives=kinds, name="kinds")  # fmt: skip
    x, v = (a.astype(np.float32) for a in points(11, (), (2,)))
    dx, dv = (a.astype(np.float32) for a in points(12, (), (2,)))
    many = [f.jvp_batch((x, v), (dx[:11], dv[0])), f.vjp_batch((x, v), 2.0), f.jacobian_batch(x, v),
            f.hessian_batch(x, v), f.hvp_batch((x, v), (dx[:11], dv[:11]))]  # fmt: skip
    assert {a.dtype for a in flat(many)} == {np.dtype("float32")}
    for i in range(11):
        one = [f.jvp((x[i], v[i]), (dx[i], dv[0])), (lambda r: (r[0], r[1](2.0)))(f.vjp(x[i], v[i])),
               f.jacobian(x[i], v[i]), f.hessian(x[i], v[i]), f.hvp((x[i], v[i]), (dx[i], dv[i]))]  # fmt: skip
        for a, b in zip(flat(many), flat(one), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=2e-6, atol=1e-6)


@pytest.mark.skipif(not platform.libc_ver()[0].startswith("glibc"), reason="malloc of others")
def test_memory_of_several_results_is_kept_between_calls() -> None:
    import resource

    a, b = gs.symbol("a"), gs.symbol("b")
    f = gs.compile(a * b, wrt=(a, b), target="c", batch=True, name="kept", selftest=False, derivatives="value_and_grad")
    given = np.ones(100_000), np.ones(100_000)
    faults = [
        (f.value_and_grad_batch(*given), resource.getrusage(resource.RUSAGE_SELF).ru_minflt)[1] for _ in range(22)
    ]
    assert faults[-1] - faults[1] < 20 * 100  # of 586 pages a call


# --- sums and threads -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [network, lambda w, b, x, t: network(w, b, gs.sort(x), t)], ids=["lanes", "points"])
def test_sums_are_those_of_torch_for_any_number_of_threads(source: Any) -> None:
    torch = pytest.importorskip("torch")
    f = gs.compile(source, args=((4, 3), (4,), (3,), ()), target="c", name="loss", batch=("x", "t"), reduce="sum",
                   threads="openmp")  # fmt: skip
    assert (f._program.batches[0].lanes is None) == (source is not network)
    w, b = points(1, (4, 3), (4,))
    w, b, n = w[0], b[0], 3 * BLOCK + 11
    x, t = points(n, (3,), ())
    value, gradient = f.value_and_grad_batch(w, b, x, t)
    tw, tb, tx, tt = (torch.tensor(a, requires_grad=True) for a in (w, b, x, t))
    sorted_x = tx if source is network else tx.sort(dim=1).values
    total = ((torch.tanh(sorted_x @ tw.T + tb).sum(1) - tt) ** 2).sum()
    total.backward()
    assert isinstance(value, float)
    np.testing.assert_allclose(value, total.item(), rtol=1e-13)
    for mine, theirs in zip(gradient, (tw, tb, tx, tt), strict=True):
        np.testing.assert_allclose(mine, theirs.grad.numpy(), rtol=1e-11, atol=1e-12)
    for threads in (1, 2, 3):
        again = f.value_and_grad_batch(w, b, x, t, threads=threads)
        assert all(map(np.array_equal, flat(again), flat((value, gradient))))
    nothing = f.value_and_grad_batch(w, b, x[:0], t[:0])
    assert nothing[0] == 0.0
    assert not nothing[1][0].any()


def test_a_compiler_without_openmp_warns_and_runs_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "plain-cc"
    compiler.write_text('#!/bin/sh\ncase " $* " in *-fopenmp\\ *) exit 1;; esac\nexec cc "$@"\n')
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("GRADSMITH_CACHE_DIR", str(tmp_path / "cache"))
    x = gs.symbol("x")
    f = gs.compile(x * x, target="c", batch=True, threads="openmp", derivatives="value")
    with pytest.warns(RuntimeWarning, match=r"plain-cc cannot compile with -fopenmp, so f runs in one thread: install"):
        assert f.value_batch([1.0, 2.0, 3.0], threads=2).tolist() == [1.0, 4.0, 9.0]


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_files_of_batches_lie_together_in_one_unit(compiler: str, tmp_path: Path) -> None:
    """Helpers that each file brings along are defined once; with stores past the caches, in both widths, and sums."""
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    options: list[dict[str, Any]] = [{}, {"tuning": gs.Tuning(stream_rows=1)}, {"reduce": "sum"}, {"dtype": "float32"}]
    lines = []
    for number, more in enumerate([*options, *({**o, "threads": "openmp"} for o in options)]):
        one = gs.compile(
            lambda v, a: gs.sum(gs.exp(v)) * a, args=((5,), ()), target="c", batch=True, name=f"part{number}", **more
        )
        for name, text in one.files.items():
            (tmp_path / name).write_text(text)
        lines += [f'#include "part{number}.c"']
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wdouble-promotion", "-Werror"]
    for order in ("forwards", "backwards"):
        (tmp_path / "all.c").write_text("\n".join(lines if order == "forwards" else reversed(lines)) + "\n")
        command = [compiler, "-std=c99", "-O1", "-march=x86-64-v3", *warnings, "-c", "all.c", "-o", "all.o"]
        command = [w for w in command if "march" not in w or platform.machine() == "x86_64"]
        made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr[:2000]


# --- what is refused --------------------------------------------------------------------------------------------------


def test_results_share_no_memory(f: gs.CompiledFunction) -> None:
    a, v, m, k = mixed_points(40)
    whole = np.zeros((40, 10))
    whole[:, 0], whole[:, 1:4], whole[:, 4:] = a, v, m.reshape(40, 6)
    own = [whole[:, 0], whole[:, 1:4], whole[:, 4:].reshape(40, 2, 3), k]
    results = np.zeros((40, 11))
    out = (results[:, 10], (results[:, 0], results[:, 1:4], results[:, 4:10].reshape(40, 2, 3)))
    found = f.value_and_grad_batch(*own, out=out)  # columns of one array take turns
    assert all(map(np.array_equal, flat(found), flat(f.value_and_grad_batch(a, v, m, k))))
    for bad in (whole[:, 1], a, results[:, 3], whole.ravel()[20:60]):
        with pytest.raises(gs.ArgumentError, match=r"out for '.*' shares memory with (argument|out for) '"):
            f.value_and_grad_batch(a, *own[1:], out=(bad, out[1]))
    for bad in (np.lib.stride_tricks.as_strided(np.zeros(9), (40,), (0,)),):
        with pytest.raises(gs.ArgumentError, match="out for 'value' has elements that share memory"):
            f.value_batch(a, v, m, k, out=bad)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"v": np.zeros((3, 3))}, gs.ShapeMismatchError, "'v' has 3 points, but 'a' has 2"),
        ({"v": np.zeros((2, 4))}, gs.ShapeMismatchError, r"'v' has shape \(2, 4\), expected \(3,\) for each point"),
        ({"a": 1.0, "v": np.zeros(3), "k": 1, "m": np.zeros((2, 3))}, gs.ShapeMismatchError, "no argument has an axis"),
        ({"a": np.zeros(2, complex)}, gs.ArgumentError, "must be a real number, not numpy.ndarray of dtype complex128"),
        ({"k": np.zeros(2)}, gs.ArgumentError, "'k' must be an integer, not"),
        ({"out": np.zeros(3)}, gs.ShapeMismatchError, r"out for 'value' has shape \(3,\), expected \(\) for each of 2"),
        ({"out": np.zeros(2, np.float32)}, gs.ArgumentError, "of format 'd', not 'f'"),
        ({"out": np.broadcast_to(0.0, 2)}, gs.ArgumentError, "out for 'value' must be a writable array"),
        ({"threads": 2}, gs.ArgumentError, 'needs compile\\(threads="openmp"\\)'),
        ({"none": 2}, gs.ArgumentError, "there is no argument 'none'"),
    ],
)
def test_wrong_arguments_are_told(f: gs.CompiledFunction, change: dict, error: type, text: str) -> None:
    arguments = dict(zip("avmk", mixed_points(2), strict=True))
    with pytest.raises(error, match=text):
        f.value_batch(**{**arguments, **change})


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"target": "python"}, gs.TargetError, 'has no functions of many points: use target="c"'),
        ({"batch": "z"}, gs.SpecError, "batch='z' is no argument: choose from x"),
        ({"batch": 3}, gs.SpecError, "choose True, False, or names"),
        ({"reduce": "mean"}, gs.SpecError, 'choose "sum"'),
        ({"threads": 4}, gs.SpecError, 'choose "openmp"'),
        ({"batch": False, "reduce": "sum"}, gs.SpecError, "add batch=True"),
        ({"derivatives": "jacobian", "sparse": "csr"}, gs.SpecError, "leave sparse='csr' out"),
        ({"args": (("n",),)}, gs.SpecError, "named dimensions"),
    ],
)
def test_wrong_options_are_told(options: dict, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        gs.compile(lambda x: gs.sum(x * x), **{"args": ((2,),), "target": "c", "batch": True, **options})


@pytest.mark.parametrize(
    ("threads", "text"),
    [(0, "=0: give 1 to 4096"), (10**400, "give 1 to"), ("2", "an integer, not str")],
    ids=["none", "many", "text"],
)
def test_a_number_of_threads_that_is_none_is_no_error_of_shapes(threads: Any, text: str) -> None:
    f = gs.compile(lambda x: x * x, args=((),), target="c", batch=True, threads="openmp", derivatives="value", name="f")
    with pytest.raises(gs.ArgumentError, match=f"threads.*{text}"):
        f.value_batch([1.0, 2.0], threads=threads)


def test_one_point_at_a_time_says_how_to_get_more() -> None:
    with pytest.raises(gs.DerivativeError, match="add batch=True"):
        gs.compile(gs.symbol("x") ** 2, target="c").grad_batch([1.0])


def test_the_self_test_sees_a_wrong_number_in_the_batch(tmp_path: Path) -> None:
    x, y = gs.symbols("x y")
    gs.compile(x * y + gs.tanh(x), target="c", batch="x", reduce="sum").save(tmp_path)
    text = (tmp_path / "f.c").read_text()
    for old, new, good in (("", "", True), ("value_lanes[gs_lane] = x * y", "value_lanes[gs_lane] = 1.001*x * y", False),
                           ("sums[7]))", "sums[6]))", False)):  # fmt: skip
        assert old in text
        (tmp_path / "f.c").write_text(text.replace(old, new))
        command = ["cc", "-std=c99", "-DF_SELFTEST", "f.c", "-o", "program", "-lm"]
        subprocess.run(command, cwd=tmp_path, check=True)
        run = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=False)
        assert (run.returncode == 0) == good, run.stdout
