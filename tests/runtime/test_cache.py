"""The cache: whole files or none, once per key, only where it is safe."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from gradsmith_runtime import CacheError, cache_directory, cache_key, cached


def produce(text="artefact"):
    """A producer that counts its calls."""
    calls = []

    def write(folder: Path) -> None:
        calls.append(folder)
        (folder / "a.so").write_text(text)

    return write, calls


def test_a_hit_does_not_produce_again(cache):
    write, calls = produce()
    path = cached("k", "a.so", write)
    assert path.read_text() == "artefact"
    assert path == cache / "k" / "a.so"
    assert cached("k", "a.so", write) == path
    assert len(calls) == 1
    cached("other", "a.so", write)
    assert len(calls) == 2


def test_the_directory_is_private(cache):
    assert cache_directory() == cache
    assert cache.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", ["artefac", "", "something longer"])
def test_a_damaged_artefact_is_produced_anew(damage):
    write, calls = produce()
    path = cached("k", "a.so", write)
    path.write_text(damage)
    assert cached("k", "a.so", write).read_text() == "artefact"
    assert len(calls) == 2


@pytest.mark.parametrize("lost", ["a.so", "sha256"])
def test_a_lost_file_is_produced_anew(lost, cache):
    write, calls = produce()
    cached("k", "a.so", write)
    (cache / "k" / lost).unlink()
    assert cached("k", "a.so", write).read_text() == "artefact"
    assert len(calls) == 2


def test_a_failing_producer_leaves_nothing_visible(cache):
    def fail(folder: Path) -> None:
        (folder / "a.so").write_text("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        cached("k", "a.so", fail)
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []
    write, _ = produce()
    assert cached("k", "a.so", write).read_text() == "artefact"


def _stall(folder: Path) -> None:
    (folder / "a.so").write_text("half")
    (folder.parent.parent / "started").touch()
    time.sleep(60)


def test_a_killed_process_leaves_nothing_visible_and_no_lock(cache):
    process = multiprocessing.get_context("spawn").Process(target=cached, args=("k", "a.so", _stall))
    process.start()
    deadline = time.monotonic() + 30
    while not (cache / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (cache / "k").exists()
    write, calls = produce()
    assert cached("k", "a.so", write).read_text() == "artefact"
    assert len(calls) == 1


def test_work_of_killed_processes_is_swept_after_a_day(cache):
    cache_directory()
    old, new = cache / "tmp-old", cache / "tmp-new"
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    cached("k", "a.so", produce()[0])
    assert not old.exists()
    assert new.exists()


def _slow(folder: Path) -> None:
    with (folder.parent.parent / "log").open("a") as log:
        log.write("built\n")
    time.sleep(0.3)
    (folder / "a.so").write_text("artefact")


def _fetch(_: int) -> str:
    return cached("k", "a.so", _slow).read_text()


def test_two_processes_at_once_produce_once(cache):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_fetch, range(4), chunksize=1) == ["artefact"] * 4
    assert (cache / "log").read_text() == "built\n"


def test_a_place_that_cannot_be_created_is_named_with_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRADSMITH_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(CacheError, match=r"file/cache cannot be created.*set GRADSMITH_CACHE_DIR"):
        cached("k", "a.so", produce()[0])


def test_a_read_only_cache_still_serves_what_it_has(cache, monkeypatch):
    path = cached("k", "a.so", produce()[0])

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)  # root ignores chmod: simulate the file system
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    assert cached("k", "a.so", produce()[0]) == path
    with pytest.raises(CacheError, match=r"Read-only file system.*GRADSMITH_CACHE_DIR"):
        cached("new", "a.so", produce()[0])


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720])
def test_a_directory_others_can_write_is_refused(cache, mode):
    cache.mkdir()
    cache.chmod(mode)
    with pytest.raises(CacheError, match=r"can be written by other users.*chmod go-w"):
        cache_directory()


def test_another_users_directory_is_refused(cache, monkeypatch):
    cache.mkdir(mode=0o700)
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.raises(CacheError, match="belongs to another user"):
        cache_directory()


def test_without_the_variable_the_platform_decides(tmp_path, monkeypatch):
    monkeypatch.delenv("GRADSMITH_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert tmp_path in cache_directory().parents


def test_keys_keep_sequences_apart():
    keys = [cache_key(parts) for parts in (["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], [])]
    assert len(set(keys)) == 5
