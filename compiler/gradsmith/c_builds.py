"""What a compiler is given for C code: the files and their units, the glue that Python calls, flags and libraries.

In: a program, its target and its files. Out: `Built`, as the runtime's `build_extension` takes it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType

from gradsmith_runtime import BuildOptions, Stop, Tiers, build_extension, find_compiler, is_built, quick_compiler
from gradsmith_runtime.build import OPENMP, VECTOR_FLAGS

from .errors import CompilerFailedError
from .program import Program
from .target import Target, render_template

__all__ = ["Built", "build", "built_of", "tiers_of"]

_log = logging.getLogger("gradsmith")

#: Sources by their names, the module's name, and how it is built.
Built = tuple[dict[str, str], str, BuildOptions]


def built_of(program: Program, target: Target, files: Mapping[str, str]) -> Built:
    """The extension module of a program: its files, with the glue."""
    glue = render_template(target, "module.c.j2", {**vars(program), "tuning": target.tuning})
    sources, units = _units(program, files)
    headers = {name: text for name, text in files.items() if name.endswith(".h")}
    march = [f"-march={target.march}"] if target.march else []
    options = BuildOptions(
        optional=(*VECTOR_FLAGS, *march, *([OPENMP] if program.threads else [])),
        libraries=program.libraries,
        numpy=program.has_arrays,
        units=units,
    )
    return {**headers, **sources, f"_gs_{program.name}.c": glue}, f"_gs_{program.name}", options


def _units(program: Program, files: Mapping[str, str]) -> tuple[dict[str, str], dict[str, list[list[str]]]]:
    """The C file, or what each of its units is made of if it has several, and the options to compile that with.

    A compiler reads what belongs to other units as well, which would make all of them together quadratic. And
    straight-line code that runs once has nothing of -O2 but a compiler that takes twice as long.
    """
    units, guard, name = program.units, program.guard, program.name
    if len(units) < 2:
        return {f"{name}.c": files[f"{name}.c"]}, {}
    begin = f"#if !defined({guard}_UNIT) || {guard}_UNIT == "
    head, *sections = files[f"{name}.c"].split(begin)
    light = [["-O1"] if all(p.is_straight for p in unit) else [] for unit in units]
    sources = {f"{name}_{s.partition(chr(10))[0]}.c": f"{head}{begin}{s}" for s in sections}
    options = [[f"-D{guard}_UNIT={i}", *more] for i, more in enumerate([[], *light])]
    return sources, {f"{name}_{i}.c": [words] for i, words in enumerate(options)}


def build(built: Built) -> ModuleType:
    """Compile it, or take it from the cache, and import it."""
    return build_extension(*built)


def tiers_of(program: Program, built: Callable[[], Built]) -> Tiers:
    """The quick build and the optimised one, for `tier="auto"`; `built` is asked for when the first of them begins."""

    def quick() -> tuple[ModuleType, str] | None:
        sources, module, options = built()
        if is_built(sources, module, options):
            return None
        compiler, flags = quick_compiler()
        units = {file: [words[:1] for words in each] for file, each in options.units.items()}  # without -O1
        quickly = replace(options, flags=flags, optional=(), units=units)
        try:
            return build_extension(sources, module, replace(quickly, compiler=compiler)), compiler.name
        except CompilerFailedError:
            _log.debug("%s cannot build %s", compiler.name, program.name)
            other = find_compiler()  # which has to do it anyway
            return build_extension(sources, module, replace(quickly, compiler=other)), other.name

    def optimised(stop: Stop) -> ModuleType:
        return build_extension(*built(), stop=stop)

    return Tiers(program.name, {f.kind: f.name for f in program.functions}, quick, optimised)
