"""Two builds of one module: a quick one to call at once, and the optimised one, which takes its place when it is ready.

In: how each is built. Out: the functions by name, in a dict that changes once. Guaranteed: a call finds the functions
of one build or of the other, never none; a background build that fails is a warning at the next call, and what runs
goes on; the end of the process neither waits for a compiler nor leaves one behind. Who looks at stderr is told.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from .notices import outside, tell
from .processes import Stop

__all__ = ["SlowTierWarning", "Tiers"]

_log = logging.getLogger("gradsmith")
_GRACE = 2.0  # seconds that the end of the process gives the background build to clean up behind itself


class SlowTierWarning(RuntimeWarning):
    """The optimised build failed, so unoptimised code goes on running; the message says why it failed."""


class Tiers:
    """The functions of a module called `name`, quick now and optimised later: `names` in it by what they are called.

    `quick` builds the module soon and says by which compiler, or returns None where the optimised one costs no more
    (it was built before); `optimised` builds it well, and breaks off with KeyboardInterrupt once its argument is set.
    """

    def __init__(
        self,
        name: str,
        names: Mapping[str, str],
        quick: Callable[[], tuple[ModuleType, str] | None],
        optimised: Callable[[Stop], ModuleType],
    ) -> None:
        self.functions: dict[str, Callable[..., Any]] = {}
        self.module: ModuleType | None = None
        self.tier = "quick"
        self._name, self._names, self._quick, self._optimised = name, names, quick, optimised
        self._error: Exception | None = None
        self._lock, self._stop = threading.RLock(), Stop()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Have some functions, and the build of better ones under way, if need be; the first call does that."""
        with self._lock:
            if self.module is not None:
                return
            since = time.monotonic()
            quick = self._quick()
            if quick is None:
                self._install(self._optimised(self._stop), "optimised")
                return
            module, compiler = quick
            self._install(module, "quick")
            _log.info("%s runs unoptimised code after %.1f s; building it well", self._name, time.monotonic() - since)
            tell(f"{self._name} runs quick code ({compiler}) while the optimised build goes on ...")
            self._thread = threading.Thread(target=self._work, name=f"gradsmith build of {self._name}", daemon=True)
            atexit.register(self._abandon)
            self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the background build has ended; whether optimised code runs. Its error is raised here."""
        self.start()
        if self._thread is not None:
            self._thread.join(timeout)
        if self._error is not None:
            raise self._error
        return self.tier == "optimised"

    def _install(self, module: ModuleType, tier: str) -> None:
        self.module, self.tier = module, tier
        self.functions.update({key: getattr(module, name) for key, name in self._names.items()})

    def _work(self) -> None:
        since = time.monotonic()
        try:
            module = self._optimised(self._stop)
            with self._lock:
                self._install(module, "optimised")
            spent = time.monotonic() - since
            _log.info("%s runs optimised code, built in %.1f s", self._name, spent)
            tell(f"{self._name} runs optimised code after {spent:.1f} s")
        except KeyboardInterrupt:  # abandoned
            pass
        except Exception as error:
            with self._lock:
                self._error = error
                self.functions.update({key: self._warning(key) for key in self._names})
            _log.info("the optimised build of %s failed", self._name)
            tell(f"{self._name} stays with quick code: the optimised build failed, and the next call says why")
        finally:
            if not self._stop.is_set():
                atexit.unregister(self._abandon)

    def _warning(self, key: str) -> Callable[..., Any]:
        """A function that tells at the next call that all stay slow."""

        def called(*args: Any, **named: Any) -> Any:
            assert self.module is not None
            with self._lock:
                told = self.functions[key] is not called  # by a call in another thread
                self._install(self.module, "quick")
            if not told:
                warnings.warn(
                    f"{self._name} goes on with unoptimised code, as its optimised build failed: {self._error}",
                    SlowTierWarning,
                    stacklevel=outside(),
                )
            return self.functions[key](*args, **named)

        return called

    def _abandon(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_GRACE)
