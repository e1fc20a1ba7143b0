"""Atomic writing: the old file or the new one, never a part."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write, write_json


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
