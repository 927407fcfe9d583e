"""Turn generated Python source into a live module whose source stays visible.

In: the text of a module. Out: the executed module. Guaranteed: tracebacks, `inspect.getsource` and pdb show
the text for as long as any function of the module lives (`linecache.checkcache` does not evict it), and the
text is forgotten once the last of them is garbage. The module is not entered in `sys.modules`.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.util
import linecache
import weakref
from dataclasses import dataclass
from types import ModuleType


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
        entry = (len(source), None, lines, filename)  # mtime None: checkcache keeps the entry
        if linecache.cache.setdefault(filename, entry) is entry:  # one atomic step: safe with threads
            return filename
        copy += 1
