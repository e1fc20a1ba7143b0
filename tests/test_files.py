"""Atomic writing: the old file or the new one, never a part."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.files import (
    _remove_abandoned,
    atomic_folder,
    atomic_write,
    check_can_read,
    check_can_write,
    fitting_name,
    temporary_folder,
    write_json,
)


def test_json_round_trip_makes_the_folder(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b.json", {"x": [1, 2.5]})
    assert json.loads((tmp_path / "a" / "b.json").read_text()) == {"x": [1, 2.5]}


def test_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"half of the new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(UnsegError, match="The disk is full"):
        write_json(tmp_path / "file", 1)
    assert not list(tmp_path.iterdir())


def test_a_file_where_a_folder_should_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(UnsegError, match="cannot be written"):
        write_json(tmp_path / "file" / "labels.json", 1)
    assert (tmp_path / "file").read_text() == "old"


def test_what_killed_writers_left_is_removed_and_what_a_living_one_writes_is_kept(tmp_path: Path) -> None:
    code = """
import sys, time
from unseg_d2.files import atomic_write
with atomic_write(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("ready", flush=True)
    time.sleep(600)
"""
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / name)], stdout=subprocess.PIPE)
        for name in ("model_1.pth", "model_2.pth")
    ]
    try:
        for writer in writers:
            assert writer.stdout.readline() == b"ready\n"
        writers[0].kill()
        writers[0].wait()
        (tmp_path / ".notes.tmp-draft").write_text("not ours")
        (tmp_path / ".old.pth.tmp-4711").write_text("an earlier version's")
        (tmp_path / ".new.pth.tmp-4712").write_text("perhaps still being written")
        (tmp_path / f".scenes.tmp-{'0' * 32}").mkdir()
        os.utime(tmp_path / ".old.pth.tmp-4711", (1, 1))
        _remove_abandoned.cache_clear()
        write_json(tmp_path / "file", 1)
        left = sorted(entry.name.partition(".tmp-")[0] for entry in tmp_path.iterdir())
        assert left == [".model_2.pth", ".new.pth", ".notes", "file"]
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
            writer.stdout.close()


@pytest.mark.parametrize("length", [235, 244, 255])
def test_the_longest_names_can_be_written(length: int, tmp_path: Path) -> None:
    write_json(tmp_path / ("n" * length), 1)
    assert os.listdir(tmp_path) == ["n" * length]


def test_long_names_are_cut_and_stay_apart() -> None:
    first, second = (fitting_name("é" * 126 + end, ".jpg") for end in ("1", "2"))
    assert first != second and all(len(os.fsencode(name)) <= 255 and name.endswith(".jpg") for name in (first, second))


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    folder = tmp_path / "page_chunks"
    for replace, expected in ((False, "0"), (False, "0"), (True, "2")):
        with atomic_folder(folder, replace=replace) as made:
            assert made.parent == tmp_path and not (made / "0.js").exists()
            (made / "0.js").write_text(str(len(os.listdir(tmp_path)) - 1 + replace))
        assert (folder / "0.js").read_text() == expected
    with pytest.raises(RuntimeError), atomic_folder(folder, replace=True) as made:
        raise RuntimeError
    assert os.listdir(tmp_path) == ["page_chunks"] and (folder / "0.js").read_text() == "2"


def test_a_process_that_tidies_up_at_the_wrong_moment_takes_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making a file or folder and locking it, another process finds it unlocked and removes it."""
    lock, taken = fcntl.flock, []

    def late(descriptor: object, kind: int) -> None:
        before = os.listdir(tmp_path)
        if kind & fcntl.LOCK_SH and not any(".tmp-" in name for name in taken):
            _remove_abandoned.__wrapped__(tmp_path)
            taken.extend(set(before) - set(os.listdir(tmp_path)))
        lock(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", late)
    write_json(tmp_path / "file", 1)
    assert [name.partition(".tmp-")[0] for name in taken] == [".file"] and os.listdir(tmp_path) == ["file"]
    taken.clear()
    with temporary_folder(tmp_path / "film.mp4") as folder:
        assert folder.is_dir()
    assert [name.partition(".tmp-")[0] for name in taken] == [".film.mp4"] and os.listdir(tmp_path) == ["file"]


def test_places_are_checked_before_they_are_needed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check_can_write(tmp_path / "new" / "a.json")
    check_can_read(tmp_path, tmp_path / "file")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "new"]
    for place in (tmp_path / "file" / "a.json", tmp_path / "new", tmp_path / ("x" * 300) / "a.json"):
        with pytest.raises(UnsegError, match="cannot be written"):
            check_can_write(place)
    with pytest.raises(UnsegError, match="There is no file"):
        check_can_read(tmp_path / "file", tmp_path / "nothing")
