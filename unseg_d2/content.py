"""What is in a file, whatever its name and date: how a kept result knows that it was made from something else.

Size and sha256 are recorded when a file is read. To look whether it is still the same costs one ``stat``, and another
pass over the file only where it, or a folder on the way to it, has been touched since, or up to :data:`MARGIN` before:
what Linux calls the change time cannot be set by hand, and copying, unpacking or renaming over a file updates it. A
data set that has not been touched is so compared at the speed of listing it; a fresh copy of it is read once. A file in
an archive has been touched where the archive has been.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import Any, NamedTuple

from unseg_d2.files import explained
from unseg_d2.storage.access import StoredFile, as_stored, look

MARGIN = 24 * 3600.0
"""Seconds: covers what lies between reading a file and writing what was made from it, and clocks that differ."""
BLOCK = 1 << 20
LEDGER = "made_from.jsonl"
"""File of a folder of results, with a line for each that names the content it was made from."""


class Content(NamedTuple):
    """Size in bytes and sha256 (hex) of a file."""

    size: int
    sha256: str


def content_of(file: str | Path | StoredFile) -> Content | None:
    """Return the content of a file, or ``None`` where there is none that can be read.

    Raises:
        UnsegError: a store does not answer, or an archive is damaged.
    """
    stored = as_stored(file)
    try:
        if stored.is_on_disk and not S_ISREG(os.stat(stored.path).st_mode):
            return None  # to open a FIFO waits for somebody who writes to it
        with stored.open() as opened:
            digest = hashlib.sha256()
            while block := opened.read(BLOCK):
                digest.update(block)
            return Content(opened.tell(), digest.hexdigest())
    except OSError:
        return None


def files_content(paths: Iterable[Path]) -> str:
    """Return one sha256 (hex) for the contents of files, in their order, whatever their names."""
    return hashlib.sha256(json.dumps([content_of(path) for path in paths]).encode()).hexdigest()


def folder_content(folder: Path) -> str:
    """Return one sha256 (hex) for the names and contents of all files below a folder, such as that of a model."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    seen = [(path.relative_to(folder).as_posix(), content_of(path)) for path in files]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


class Comparison:
    """Compares files with what they held when a result was made from them.

    Args:
        result: the file, or a folder of files, that was made; renaming a folder that holds both changes nothing.
        made: seconds since the epoch when it was finished.
    """

    def __init__(self, result: str | Path, made: float) -> None:
        self._before = made - MARGIN
        self._result = os.path.abspath(result)
        self._touched: dict[str, bool] = {}

    def has_changed(self, path: str | Path, recorded: Content | None) -> bool:
        """Whether a file holds something else now; one that has gone since has not changed.

        Args:
            path: the file.
            recorded: what :func:`content_of` returned then.
        """
        try:
            found = look(path)
        except OSError:
            return False
        if recorded is None or found.size not in (None, recorded.size):
            return True
        folder = None if found.file is None else os.path.dirname(os.path.abspath(found.file))
        if found.changed < self._before and not (folder and self._is_touched(folder)):
            return False
        return content_of(path) not in (None, recorded)

    def _is_touched(self, folder: str) -> bool:
        """Whether a folder, or one above it that does not hold the result too, has other entries or another name."""
        if folder not in self._touched:
            above = os.path.dirname(folder)
            if above == folder or os.path.commonpath([folder, self._result]) == folder:
                self._touched[folder] = False
            else:
                recent = os.lstat(folder).st_ctime >= self._before or os.stat(folder).st_ctime >= self._before
                self._touched[folder] = recent or self._is_touched(above)
        return self._touched[folder]


class Ledger:
    """What each file of a folder was made from, one line in :data:`LEDGER` per file made; the last line counts.

    Args:
        folder: of the results.
        by: what else they were made from, such as the sha256 of a checkpoint; results by another are not current.
    """

    def __init__(self, folder: Path, by: str = "") -> None:
        self._folder, self._by = folder, by
        self._known: Mapping[str, dict[str, Any]] = dict(self._lines())

    def is_known(self, result: Path) -> bool:
        """Whether a result in the folder has a line."""
        return self._name(result) in self._known

    def is_current(self, result: Path, source: Path | None) -> bool:
        """Whether a result is there, and was made from its source as it is; one without a line is taken as it is."""
        if not result.is_file():
            return False
        line = self._known.get(self._name(result))
        if line is None:
            return True
        if source is None or line["by"] != self._by:
            return bool(line["by"] == self._by)
        seen = Content(*line["content"]) if line["content"] else None
        return not Comparison(result, result.stat().st_mtime).has_changed(source, seen)

    @contextmanager
    def making(self, result: Path, source: Path | None) -> Iterator[None]:
        """Record a result that the block makes; killed in between, the result is not there.

        Raises:
            UnsegError: the disk is full or the folder cannot be written to.
        """
        line = {"file": self._name(result), "by": self._by, "content": None if source is None else content_of(source)}
        path = self._folder / LEDGER
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            result.unlink(missing_ok=True)
            with open(path, "ab") as file:
                file.write(b"\n" * self._is_cut_short(path) + json.dumps(line).encode() + b"\n")
        except OSError as error:
            raise explained(error, path) from error
        yield

    def _name(self, result: Path) -> str:
        return result.relative_to(self._folder).as_posix()

    def _lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        path = self._folder / LEDGER
        for text in path.read_bytes().splitlines() if path.is_file() else ():
            try:
                line = json.loads(text)
                yield str(line["file"]), line if self._is_sound(line) else {"by": None}
            except (ValueError, TypeError, KeyError, RecursionError):  # cut short by a kill
                continue

    @staticmethod
    def _is_sound(line: dict[str, Any]) -> bool:
        """Whether a line says what the file was made from; where it does not, the file is not current."""
        content = line.get("content", "")
        sound = content is None or (isinstance(content, list) and [type(part) for part in content] == [int, str])
        return sound and isinstance(line.get("by"), str)

    @staticmethod
    def _is_cut_short(path: Path) -> bool:
        if not path.stat().st_size:
            return False
        with open(path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
