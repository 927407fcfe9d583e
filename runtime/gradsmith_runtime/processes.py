"""Run compilers: several at once, none left behind.

In: commands, without a shell. Out: what each said and how it ended. Guaranteed: when a command fails, hangs or is
interrupted (Ctrl-C, the end of the process), the others are killed with all the processes that they started, before
the error goes on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

__all__ = ["Ended", "Stop", "cpus", "run_all"]

_TICK = 0.05  # seconds between two looks at running commands, at most


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status (0 is success) and all that it printed, or why it could not run."""

    command: tuple[str, ...]
    status: int
    output: str


class Stop(threading.Event):
    """Set it from another thread, and `run_all` kills its commands and raises KeyboardInterrupt."""


def cpus() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_all(
    commands: Sequence[Sequence[str]],
    folder: Path | None = None,
    *,
    timeout: float | None = None,
    stop: Stop | None = None,
    told: Callable[[int], object] = lambda done: None,
) -> list[Ended]:
    """Run the commands in `folder`, as many at once as there are processors; those that ended, in their order.

    No further one is started, and all that run are killed, once one fails; so a failure is the last thing to happen.
    Each may take `timeout` seconds. `told` hears how many are done, each time one is. They run in the C locale.
    """
    waiting = list(enumerate(commands))[::-1]
    running: dict[int, _Running] = {}
    ended: dict[int, Ended] = {}
    wait = 0.001
    try:
        while waiting or running:
            while waiting and len(running) < cpus():
                number, command = waiting.pop()
                with _interrupted_later():  # or a process could run that nobody knows of
                    running[number] = _Running(command, folder)
            for number, process in [*running.items()]:
                found = process.ended(timeout)
                if found is not None:
                    ended[number] = found
                    del running[number]
                    told(len(ended))
                    if found.status != 0:
                        return [ended[n] for n in sorted(ended)]
                    wait = 0.001
            if stop is not None and stop.is_set():
                raise KeyboardInterrupt
            if running:
                time.sleep(wait)
                wait = min(_TICK, wait * 2)
        return [ended[n] for n in sorted(ended)]
    finally:
        for process in running.values():
            process.kill()


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """Inside, Ctrl-C waits for the end."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # the interrupt goes elsewhere
        return
    seen: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if seen:
            before(*seen[0])


class _Running:
    """A command that was started, in a session of its own, so that it ends with all of its own processes."""

    def __init__(self, command: Sequence[str], folder: Path | None) -> None:
        self._command, self._since = tuple(command), time.monotonic()
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in the end; a pipe would stay open in its children
        self._process: subprocess.Popen[bytes] | None = None
        self._refusal = ""
        try:
            self._process = subprocess.Popen(
                self._command,
                cwd=folder,
                env={**os.environ, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:  # found on PATH, yet not a program this machine can run
            self._refusal = f"cannot be run: {error.strerror}"

    def ended(self, timeout: float | None) -> Ended | None:
        """How it ended; None while it runs."""
        if self._process is None:
            return self._told(126, self._refusal)
        status = self._process.poll()
        if status is None:
            if timeout is None or time.monotonic() - self._since < timeout:
                return None
            self._end()
            return self._told(124, f"did not end within {timeout:g} s, and was killed")
        why = f"was killed by signal {-status} ({_signal(-status)})" if status < 0 else ""
        return self._told(status, why)

    def kill(self) -> None:
        self._end()
        self._output.close()

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
            self._process.wait()

    def _told(self, status: int, why: str) -> Ended:
        self._output.seek(0)
        output = self._output.read().decode("utf-8", "replace")
        self._output.close()
        lines = [line for line in (output.rstrip("\n"), why) if line]
        return Ended(self._command, status, "\n".join(lines))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
