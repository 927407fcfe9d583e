"""What generated code meets at run time: loading, building, caching, checking, and bridges to torch.

This package never imports the compiler. Python source becomes a module with `load_python`, C becomes one
with `build_extension`; `compare` and `assert_matches_torch` prove a function against a reference;
`as_torch_function` lets torch differentiate through it. All errors derive from `GradsmithError`.
"""

from __future__ import annotations

from .build import DEFAULT_FLAGS, BuildOptions, Compiler, build_extension, find_compiler, is_built, quick_compiler
from .cache import cache_directory, cache_key, cached
from .check import assert_matches_torch
from .errors import (
    ArgumentError,
    CacheError,
    CompilerFailedError,
    CompilerNotFoundError,
    GradsmithError,
    LibraryNotFoundError,
    MismatchError,
    MissingExtraError,
    ShapeMismatchError,
)
from .load import Guard, guarded, load_python
from .measure import compare
from .points import EDGES, sample_points
from .processes import Stop
from .report import Entry, Finding, Report
from .tiers import SlowTierWarning, Tiers
from .torch_adapter import as_torch_function
from .ulp import ulp_distance

__all__ = [
    "DEFAULT_FLAGS",
    "EDGES",
    "ArgumentError",
    "BuildOptions",
    "CacheError",
    "Compiler",
    "CompilerFailedError",
    "CompilerNotFoundError",
    "Entry",
    "Finding",
    "GradsmithError",
    "Guard",
    "LibraryNotFoundError",
    "MismatchError",
    "MissingExtraError",
    "Report",
    "ShapeMismatchError",
    "SlowTierWarning",
    "Stop",
    "Tiers",
    "as_torch_function",
    "assert_matches_torch",
    "build_extension",
    "cache_directory",
    "cache_key",
    "cached",
    "compare",
    "find_compiler",
    "guarded",
    "is_built",
    "load_python",
    "quick_compiler",
    "sample_points",
    "ulp_distance",
]
