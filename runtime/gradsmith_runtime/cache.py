"""The per-user cache of built artefacts.

In: a key and a function that produces a file in a directory it is given. Out: the path of the finished
file. Guaranteed: a file becomes visible only whole (it is produced aside and moved into place by one
rename), at most one process produces a given key at a time, a file whose SHA-256 no longer matches is
produced anew, and the directory belongs to the current user and is closed to writers other than them (it
holds code we will execute).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from .errors import CacheError

VARIABLE = "GRADSMITH_CACHE_DIR"
DIGEST = "sha256"  # the file beside each artefact that holds its digest
ABANDONED_AFTER = 24 * 3600.0  # seconds; older work directories belong to killed processes


def cache_directory() -> Path:
    """Return $GRADSMITH_CACHE_DIR, else the platform's cache directory; created with mode 0700 if missing.

    Errors: `CacheError` if it cannot be created, belongs to another user, or others can write to it.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        path = Path(chosen).expanduser().absolute()
    else:
        from platformdirs import user_cache_path

        path = user_cache_path("gradsmith", appauthor=False)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise CacheError(str(path), f"cannot be created ({error.strerror})") from error
    if sys.platform != "win32":
        if status.st_uid != os.getuid():
            raise CacheError(str(path), f"belongs to another user (uid {status.st_uid}, not {os.getuid()})")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise CacheError(str(path), f"can be written by other users (run: chmod go-w '{path}')")
    return path


def cache_key(parts: Iterable[str]) -> str:
    """Return the SHA-256 of a sequence of texts, each counted with its length so that no two sequences meet.

    >>> cache_key(["ab", "c"]) == cache_key(["a", "bc"])
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8")
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()


def cached(key: str, filename: str, produce: Callable[[Path], None]) -> Path:
    """Return the path of `filename` under `key`, calling ``produce(directory)`` to write it there if needed.

    An intact artefact is returned without taking a lock or writing, so a read-only, filled cache works.
    Whatever else `produce` leaves in the directory is kept beside the artefact.

    Errors: `CacheError` if the cache cannot be read or written; whatever `produce` raises.
    """
    root = cache_directory()
    entry = root / key
    try:
        if not _intact(entry, filename):
            from filelock import FileLock  # it imports asyncio: not worth paying for on a hit

            with FileLock(root / f"{key}.lock"):
                if not _intact(entry, filename):  # another process may have built it meanwhile
                    _publish(root, entry, filename, produce)
    except CacheError:
        raise
    except OSError as error:
        raise CacheError(str(root), f"cannot be used ({error.strerror or error})") from error
    return entry / filename


def is_cached(key: str, filename: str) -> bool:
    """Whether `cached` finds an intact artefact."""
    return _intact(cache_directory() / key, filename)


def forget(key: str) -> None:
    """Remove what is under `key`, if anything is, so that the next call produces it anew."""
    shutil.rmtree(cache_directory() / key, ignore_errors=True)


def _intact(entry: Path, filename: str) -> bool:
    """Say whether the artefact is there with the digest that was stored when it was made."""
    try:
        return (entry / DIGEST).read_text(encoding="ascii", errors="replace") == _digest(entry / filename)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _publish(root: Path, entry: Path, filename: str, produce: Callable[[Path], None]) -> None:
    """Produce an entry aside and rename it into place; the caller holds the key's lock."""
    _sweep(root)
    work = Path(tempfile.mkdtemp(prefix="tmp-", dir=root))
    try:
        stage = work / "stage"
        stage.mkdir()
        produce(stage)
        (stage / DIGEST).write_text(_digest(stage / filename), encoding="ascii")
        if os.path.lexists(entry):  # damaged: move it away whole, some process may still have it mapped
            entry.rename(work / "damaged")
        stage.rename(entry)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Remove the work directories that killed processes left behind."""
    oldest = time.time() - ABANDONED_AFTER
    for path in root.glob("tmp-*"):
        try:
            abandoned = path.stat().st_mtime < oldest
        except FileNotFoundError:  # its owner finished just now
            continue
        if abandoned:
            shutil.rmtree(path, ignore_errors=True)
