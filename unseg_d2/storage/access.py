"""One name for a file wherever it is: what is there, what is in a folder, and the bytes.

A path may lead to a file on the disk, through an archive (``train.tar/n01440764.tar/n01440764_10026.JPEG``,
``train-00000.parquet/000017.jpg``), or to a store behind an address, in the form that `to_path` gives it. An archive
counts as a folder of the name of its file.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from pathlib import Path
from typing import BinaryIO, NamedTuple

from unseg_d2.storage import archives, remote
from unseg_d2.storage.addresses import address_of, to_path, to_text
from unseg_d2.storage.listing import Listing

FEW = 100
"""Files of a folder behind an address that are asked for one by one; from then on the folder is listed once."""

_folders: dict[str, Listing] = {}  # of stores, by the path of the folder
_asked: Counter[str] = Counter()


class Found(NamedTuple):
    """What is known of a file without reading it.

    Attributes:
        size: bytes; ``None`` where it is known only when the file is read.
        changed: seconds since the epoch of the last change of the file, or of the archive that it is in.
        file: the file on the disk that holds the bytes; ``None`` where a store does.
    """

    size: int | None
    changed: float
    file: str | None


class StoredFile:
    """A file, wherever it is; one that is not on the disk is read once, when it is needed, and held.

    Args:
        path: see above.

    Attributes:
        path: as it was given.
        is_on_disk: whether it is a file, or nothing, on the disk.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = to_path(path)
        self._bytes: bytes | None = None
        path = os.fspath(self.path)
        self.is_on_disk = address_of(path) is None and _inside(path) is None

    def size(self) -> int:
        """Return its size in bytes; for errors see `read`."""
        return os.stat(self.path).st_size if self.is_on_disk else len(self.read())

    def read(self) -> bytes:
        """Return its bytes.

        Raises:
            OSError: it is not there, or may not be read.
            UnsegError: the archive that it is in is damaged, or the store does not answer.
        """
        if self.is_on_disk:
            return self.path.read_bytes()
        if self._bytes is None:
            self._bytes = read_bytes(self.path)
        return self._bytes

    def open(self) -> BinaryIO:
        """Open it for reading; for errors see `read`."""
        return open(self.path, "rb") if self.is_on_disk else io.BytesIO(self.read())

    def source(self) -> str | BinaryIO:
        """Return what libraries open: the name of a file on the disk, else the bytes as a file."""
        return os.fspath(self.path) if self.is_on_disk else self.open()


def as_stored(file: str | Path | StoredFile) -> StoredFile:
    """Return a path as a file that can be read."""
    return file if isinstance(file, StoredFile) else StoredFile(file)


def read_bytes(path: str | Path) -> bytes:
    """Return the bytes of a file; for errors see `StoredFile.read`."""
    path = os.fspath(to_path(path))
    if place := _inside(path):
        return archives.read(place)
    if address := address_of(path):
        return remote.read(address)
    return Path(path).read_bytes()


def look(path: str | Path) -> Found:
    """Return what is known of a file.

    Raises:
        OSError: it is not there.
        UnsegError: the archive that it is in is damaged, or the store does not answer.
    """
    path = os.fspath(to_path(path))
    address = address_of(path)
    if address is None:
        try:
            found = os.stat(path)
            return Found(found.st_size, found.st_ctime, path)
        except NotADirectoryError:
            pass
    place = _inside(path)
    if place is None:
        if address is None:
            raise NotADirectoryError(f"{path} leads through a file that is no archive")
        return _look_in_store(path, address)
    listed = archives.listing(place.archive)
    position = listed.find(place.name)
    if position is None:
        raise FileNotFoundError(f"{place.name} is not in {to_text(place.archive)}")
    size = int(listed.sizes[position])
    if address is None:
        return Found(size if size >= 0 else None, os.stat(place.archive).st_ctime, place.archive)
    return Found(size if size >= 0 else None, archives.version_of(place.archive)[1], None)


def is_there(path: str | Path) -> bool:
    """Whether there is a file or folder, or a link to nothing, of a name."""
    path = os.fspath(to_path(path))
    address = address_of(path)
    if address is None and os.path.lexists(path):
        return True
    if place := archives.split(path):
        listed = archives.listing(place.archive)
        return not place.name or listed.find(place.name) is not None or bool(listed.below(place.name))
    try:
        return address is not None and bool(_in_listed(path) or remote.look(address))
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_folder(path: str | Path) -> bool:
    """Whether a path leads to a folder: one on the disk, an archive or a folder in it, one behind an address."""
    path = os.fspath(to_path(path))
    if os.path.isdir(path):
        return True
    if place := archives.split(path):
        return not place.name or bool(archives.listing(place.archive).below(place.name))
    try:
        address = address_of(path)
        return address is not None and remote.look(address).is_folder
    except (FileNotFoundError, NotADirectoryError):
        return False


def names_in(folder: str | Path) -> list[str]:
    """Return the names in a folder, files and folders.

    Raises:
        OSError: there is no such folder.
        UnsegError: the archive that it is in is damaged, or the store does not answer.
    """
    path = os.fspath(to_path(folder))
    if place := archives.split(path):
        return archives.listing(place.archive).children(place.name)
    if address := address_of(path):
        return remote.names_in(address)
    return os.listdir(path)


def resolved(folder: str | Path) -> Path:
    """Return the absolute path of a folder with links followed; an archive keeps its name, which says what it is.

    Hugging Face's cache, for one, has links to files without an ending.
    """
    path = os.path.abspath(to_path(folder))
    place = None if address_of(path) or os.path.isdir(path) else archives.split(path)
    if address_of(path) or place is None:
        return Path(path) if address_of(path) else Path(path).resolve()
    archive = Path(place.archive)
    return archive.parent.resolve() / archive.name / place.name


def files_below(folder: str | Path) -> Listing:
    """Return all files below a folder that is in an archive or behind an address, as they are now.

    Raises:
        OSError: there is no such folder.
        UnsegError: the archive is damaged, or the store does not answer.
    """
    path = os.path.abspath(to_path(folder))
    if address_of(path):
        archives.forget(path)
    if place := archives.split(path):
        listed = archives.listing(place.archive)
        if not place.name:
            return listed
        chosen = ((listed.name(k)[len(place.name) + 1 :], k) for k in listed.below(place.name))
        return Listing.of((name, int(listed.places[k]), int(listed.sizes[k])) for name, k in chosen)
    _folders[path] = Listing.of(remote.walk(to_text(path)))
    return _folders[path]


def _inside(path: str) -> archives.Place | None:
    """Return the archive that a file is in; an archive itself is a file like others."""
    place = archives.split(path)
    return place if place and place.name else None


def _in_listed(path: str) -> Found | None:
    """Return what the list of a folder of a store, which has been made, says of a file in it."""
    for folder, listed in _folders.items():
        if path.startswith(folder + "/"):
            position = listed.find(path[len(folder) + 1 :])
            if position is not None:
                return Found(int(listed.sizes[position]), float(listed.places[position]), None)
    return None


def _look_in_store(path: str, address: str) -> Found:
    found, folder = _in_listed(path), os.path.dirname(path)
    if found is not None:
        return found
    _asked[folder] += 1
    if _asked[folder] >= FEW:
        del _asked[folder]
        files_below(folder)
    there = remote.look(address)
    if there.is_folder:
        raise IsADirectoryError(f"{address} is a folder")
    return Found(there.size, there.changed, None)
