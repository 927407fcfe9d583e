"""Each op on arrays of named sizes: value and gradient equal those of the compile for the very sizes; or why not."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradsmith as gs
from gradsmith import c_builds
from gradsmith.passes.specialise import resolved, size_names
from gradsmith.types import normalize_shape

from ..conformance.harness import COMPILERS
from .named_ops import FAMILIES, ROWS, Row

SIZES = (0, 1, 2, 7)
QUICK = ("-std=c99", "-O0", "-ffp-contract=off")


def sizes_at(n: int) -> dict[str, int]:
    return {"n": n, "m": n + 2}


def shape_of(argument: Any) -> tuple[Any, ...]:
    return normalize_shape(argument.type.shape if hasattr(argument, "type") else argument)


def is_places(argument: Any) -> bool:
    return hasattr(argument, "type") and argument.type.dtype.kind == "int"


def leaves(args: Sequence[Any], n: int) -> list[np.ndarray]:
    generator = np.random.default_rng(n)
    shapes = [resolved(shape_of(a), sizes_at(n)) for a in args]
    return [
        generator.integers(0, min(3, max(n, 1)), size=shape) if is_places(a) else generator.normal(size=shape)
        for a, shape in zip(args, shapes, strict=True)
    ]


def at_sizes(args: Sequence[Any], n: int) -> list[Any]:
    shapes = [resolved(shape_of(a), sizes_at(n)) for a in args]
    return [gs.spec(s, "int64") if is_places(a) else s for a, s in zip(args, shapes, strict=True)]


def differentiable(rows: Sequence[Row]) -> tuple[int, ...]:
    return tuple(i for i, a in enumerate([a for r in rows for a in r.args]) if not is_places(a))


def together(rows: Sequence[Row]) -> Any:
    """The results of some rows as one function, beside something that every argument has a slope of."""

    def joined(*xs: Any) -> Any:
        results, at = [], 0
        for r in rows:
            given = xs[at : at + len(r.args)]
            results.append(r.function(*given) * 1.0)
            at += len(r.args)
        return (*results, sum((gs.sum(x * x) for x in xs), 0.0))

    return joined


def built(rows: Sequence[Row], args: Sequence[Any], target: str) -> gs.CompiledFunction:
    options: dict[str, Any] = {"derivatives": ("value", "vjp"), "selftest": False, "name": "f"}
    return gs.compile(together(rows), args=tuple(args), wrt=differentiable(rows), target=target, **options)


@functools.cache
def of_group(group: str, target: str) -> gs.CompiledFunction:
    """All rows of a group at named sizes."""
    return built(GROUPS[group], [a for r in GROUPS[group] for a in r.args], target)


@functools.cache
def wanted(group: str, n: int) -> tuple[Any, Any, Any]:
    """Seeds, results and slopes by the compile for the very sizes."""
    rows = GROUPS[group]
    args = [a for r in rows for a in r.args]
    fixed = built(rows, at_sizes(args, n), "numpy")
    results, back = fixed.vjp(*leaves(args, n))
    types = [fixed.graph.node(k).type for k in fixed.graph.outputs]
    seeds = tuple(0.5 * (1.0 + np.arange(float(t.size))).reshape(t.shape) for t in types)
    return seeds, results, back(seeds)


def groups() -> Mapping[str, list[Row]]:
    """The rows of each family that need an element, and those that do not."""
    found: dict[str, list[Row]] = {}
    for family, rows in FAMILIES.items():
        for r in rows:
            if not r.refuses:
                found.setdefault(f"{family}, n >= {r.least}", []).append(r)
    return found


GROUPS = groups()
REFUSED = [name for name, r in ROWS.items() if r.refuses]
NEEDY = [name for name, r in ROWS.items() if r.least and not r.nan and not any(map(is_places, r.args))]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_by_whom(name: str) -> None:
    with pytest.raises(gs.GradsmithError) as caught:
        gs.compile(ROWS[name].function, args=ROWS[name].args, target="numpy", derivatives="value", selftest=False)
    assert ROWS[name].refuses in str(caught.value)


@pytest.mark.parametrize("name", NEEDY)
def test_too_few_elements(name: str) -> None:
    r = ROWS[name]
    f = gs.compile(r.function, args=r.args, target="numpy", derivatives="value", selftest=False)
    with pytest.raises(gs.ShapeMismatchError, match=f"n is {r.least - 1}, and must be {r.least} or more"):
        f(*leaves(r.args, r.least - 1))


@pytest.mark.parametrize("target", ["numpy", "c"])
@pytest.mark.parametrize("group", GROUPS)
def test_it_equals_the_compile_for_the_very_sizes(group: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c_builds, "BuildOptions", functools.partial(c_builds.BuildOptions, flags=QUICK))
    rows = GROUPS[group]
    args = [a for r in rows for a in r.args]
    f = of_group(group, target)
    before = dict(f.files)
    whose = [r.name for r in rows for a in r.args if not is_places(a)]
    for n in SIZES:
        if n < rows[0].least:
            continue
        seeds, results, slopes = wanted(group, n)
        got, back = f.vjp(*leaves(args, n))
        for name, y, w in zip([r.name for r in rows] + ["squares"], got, results, strict=True):
            assert np.shape(y) == np.shape(w) or np.size(w) == 0, name
            close(y, w, 1e-11, f"{name}, n = {n}")
        for name, y, w in zip(whose, back(seeds), slopes, strict=True):
            close(y, w, 1e-10, f"slope of {name}, n = {n}")
    assert f.files == before


def close(got: Any, want: Any, tolerance: float, what: str) -> None:
    scale = max(1.0, float(np.max(np.abs(want), initial=0.0)))
    np.testing.assert_allclose(
        np.reshape(got, np.shape(want)), want, rtol=tolerance, atol=tolerance * scale, err_msg=what
    )


@pytest.mark.parametrize("group", GROUPS)
def test_c_stays_within_its_arrays(group: str, tmp_path: Path) -> None:
    """Every array, and the workspace, has exactly the elements that it must have, under the sanitizers."""
    rows = GROUPS[group]
    f = of_group(group, "c")
    f.save(tmp_path)
    blocks = [called(f, kind, group, n) for kind in ("value", "vjp") for n in SIZES if n >= rows[0].least]
    head = '#include <stdlib.h>\n#include "f.h"\nint main(void) {\n'
    (tmp_path / "main.c").write_text("".join([head, *blocks, "    return 0;\n}\n"]))
    flags = ["-std=c99", "-O0", "-w", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run([COMPILERS[0], *flags, "main.c", "f.c", "-o", "t", "-lm"], cwd=tmp_path, check=True)
    done = subprocess.run(["./t"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]


def called(f: gs.CompiledFunction, kind: str, group: str, n: int) -> str:
    """A block of C that calls a function with arrays of exactly these sizes."""
    emitted = f._emitted[kind]
    seeds, results, slopes = wanted(group, n)
    given = leaves([a for r in GROUPS[group] for a in r.args], n)
    arrays = [*given, *results] if kind == "value" else [*given, *seeds, *results, *slopes]
    names = size_names(f.graph)
    lines, call = [], [str(sizes_at(n)[name]) for name in names]
    for k, a in enumerate((*emitted.inputs, *emitted.outputs)):
        is_given = k < len(emitted.inputs)
        if is_given and not a.shape:
            call.append("0.5")
            continue
        size = np.size(arrays[k])
        type = {"float64": "double", "int64": "int64_t"}[a.dtype]
        value = "0" if type != "double" else "0.3 + 0.1 * (double)((7 * i) % 11)"
        lines.append(f"{type} *a{k} = malloc({size} * sizeof *a{k});")
        if is_given:
            lines.append(f"for (int i = 0; i < {size}; ++i) a{k}[i] = {value};")
        call.append(f"a{k}")
    frees = [f"free({c});" for c in call if c.startswith("a")]
    for w in emitted.work:
        size = f"f_{w.name}_size({', '.join(call[: len(names)])})"
        size = size if f"f_{w.name}_size(" in f.files["f.h"] else f"F_{w.macro}"
        lines.append(f"{w.ctype} *{w.name} = malloc({size} * sizeof *{w.name});")
        call.append(w.name)
        frees.append(f"free({w.name});")
    lines += [f"{emitted.name}({', '.join(call)});", *frees]
    return "    {\n" + "".join(f"        {line}\n" for line in lines) + "    }\n"
