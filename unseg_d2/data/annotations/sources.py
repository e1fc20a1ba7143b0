"""Where the entries of an index are: in files, from which each is read again when it is needed, or in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from unseg_d2.data.annotations.parse import parse, unreadable
from unseg_d2.data.annotations.structs import Annotation, Image
from unseg_d2.errors import UnsegError

Entry = TypeVar("Entry", Image, Annotation)

MOST_OPEN = 16
"""Files that are kept open; a label set in the making may have thousands."""

_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)  # Windows lacks the one, Unix the other


class Source(Protocol):
    """Entries by their addresses, two whole numbers each: what they mean is the source's own matter."""

    def image(self, start: int, extent: int) -> Image:
        """Return the entry of an image."""

    def images(self, starts: np.ndarray, extents: np.ndarray) -> Sequence[Image]:
        """Return the entries of images, in the order of their addresses, ``(n,)`` int64 and int32."""

    def annotations(self, starts: np.ndarray, extents: np.ndarray) -> Sequence[Annotation]:
        """Return the entries of annotations, in the same way."""


class Files:
    """Reads pieces of files; a file that is replaced meanwhile is noticed and not read as if it were the first.

    Args:
        paths: the files; their bytes are counted through, from the first to the last.

    Attributes:
        starts: ``(n + 1,)`` int64, where the bytes of each file begin.

    Raises:
        UnsegError: one is not there, is a folder, or may not be read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self._open: dict[int, int] = {}
        self._states = [_state(path) for path in self.paths]
        self.starts = np.cumsum([0, *(state[0] for state in self._states)], dtype=np.int64)

    def read(self, start: int, length: int) -> bytes:
        """Return bytes that lie in one file.

        Raises:
            UnsegError: the file has changed since the first look at it, or cannot be read.
        """
        number = self._number(start)
        path = self.paths[number]
        try:
            file = self._file(number)
            self._check(number, os.fstat(file))
            found = _read_at(file, length, start - int(self.starts[number]))
        except OSError as error:
            raise unreadable(error, path) from None
        if len(found) < length:
            raise _changed(path)
        return found

    def path_of(self, start: int) -> Path:
        """Return the file in which a byte lies."""
        return self.paths[self._number(start)]

    def _number(self, start: int) -> int:
        return int(np.searchsorted(self.starts, start, side="right")) - 1 if len(self.paths) > 1 else 0

    def check(self) -> None:
        """Raise `UnsegError` where a file is not the one it was."""
        for number, path in enumerate(self.paths):
            try:
                self._check(number, os.stat(path))
            except OSError:
                raise _changed(path) from None

    def _check(self, number: int, found: os.stat_result) -> None:
        if _identity(found) != self._states[number]:
            raise _changed(self.paths[number])

    def _file(self, number: int) -> int:
        if number not in self._open:
            if len(self._open) >= MOST_OPEN:
                os.close(self._open.pop(next(iter(self._open))))
            self._open[number] = os.open(self.paths[number], _READ)
        return self._open[number]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}

    def __del__(self) -> None:
        for file in self.__dict__.get("_open", {}).values():
            os.close(file)


def _read_at(file: int, length: int, start: int) -> bytes:
    """Read from a place; the position of an open file is shared by forked processes, so it is used only on Windows."""
    if hasattr(os, "pread"):
        return os.pread(file, length, start)
    os.lseek(file, start, os.SEEK_SET)
    return os.read(file, length)


class FileSource:
    """Entries with a place of their own in a file: an address is where one begins and how long it is, in bytes."""

    def __init__(self, files: Files) -> None:
        self.files = files

    def image(self, start: int, extent: int) -> Image:
        """Return the entry of an image."""
        return parse(self.files.read(start, extent), Image, str(self.files.paths[0]), "an image")

    def images(self, starts: np.ndarray, extents: np.ndarray) -> list[Image]:
        """Return the entries of images; those that follow one another are read at once."""
        return self._parsed(starts, extents, Image, "an image")

    def annotations(self, starts: np.ndarray, extents: np.ndarray) -> list[Annotation]:
        """Return the entries of annotations; those that follow one another are read at once."""
        return self._parsed(starts, extents, Annotation, "an annotation")

    def _parsed(self, starts: np.ndarray, extents: np.ndarray, kind: type[Entry], called: str) -> list[Entry]:
        if not len(starts):
            return []
        first, last = int(starts[0]), int(starts[-1]) + int(extents[-1])
        if 0 < last - first <= 2 * int(extents.sum()) + 1024 and (np.diff(starts) > 0).all():
            data = self.files.read(first, last - first)
            places = zip((starts - first).tolist(), extents.tolist())
            texts = [data[start : start + extent] for start, extent in places]
        else:
            texts = [self.files.read(start, extent) for start, extent in zip(starts.tolist(), extents.tolist())]
        return [parse(text, kind, str(self.files.paths[0]), called) for text in texts]


class MemorySource:
    """Entries that have been parsed already: an address is the place in its list.

    Attributes:
        pictures: the entries of all images.
        entries: those of all annotations.
    """

    def __init__(self, images: Sequence[Image], entries: Sequence[Annotation]) -> None:
        self.pictures, self.entries = images, entries

    def image(self, start: int, extent: int) -> Image:
        """Return the entry of an image."""
        return self.pictures[start]

    def images(self, starts: np.ndarray, extents: np.ndarray) -> list[Image]:
        """Return the entries of images."""
        return [self.pictures[number] for number in starts.tolist()]

    def annotations(self, starts: np.ndarray, extents: np.ndarray) -> list[Annotation]:
        """Return the entries of annotations."""
        return [self.entries[number] for number in starts.tolist()]


def _state(path: Path) -> tuple[int, int]:
    try:
        with path.open("rb") as file:
            return _identity(os.fstat(file.fileno()))
    except OSError as error:
        raise unreadable(error, path) from None


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns


def _changed(path: Path) -> UnsegError:
    return UnsegError(f"{path} has changed since it was opened; start the command again.")
