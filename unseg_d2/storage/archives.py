"""The listings of archives, each made once: held by the process, and the long ones kept for the next."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write
from unseg_d2.storage import parquet, remote, tar
from unseg_d2.storage.addresses import address_of, to_text
from unseg_d2.storage.listing import Listing

ENDINGS = {tar.ENDING: tar.list_tar, parquet.ENDING: parquet.list_parquet}
"""Endings of files that count as folders of what is in them, with what lists them."""
MANY = 500
"""Files of an archive from which on its listing is kept on the disk."""
FOLDER = "UNSEG_D2_LISTINGS"
"""Environment variable with the folder of kept listings."""

Version = tuple[int, float, int]
_held: dict[str, tuple[Version, Listing]] = {}
_versions: dict[str, Version] = {}  # of archives behind addresses: to ask for each image anew would take as long as it


class Place(NamedTuple):
    """Where a path leads that goes through an archive.

    Attributes:
        archive: path of the archive, absolute.
        name: of the file or folder in it; empty for the archive itself.
    """

    archive: str
    name: str


def is_archive(name: str) -> bool:
    """Whether a name has the ending of an archive."""
    return name.lower().endswith(tuple(ENDINGS))


def split(path: str) -> Place | None:
    """Return the archive that a path leads into; ``None`` where it leads into none."""
    lowered = path.lower()
    if not any(ending in lowered for ending in ENDINGS):
        return None
    parts = os.path.abspath(path).split(os.sep)
    for count, part in enumerate(parts, 1):
        archive = os.sep.join(parts[:count])
        if is_archive(part) and _is_file(archive):
            return Place(archive, "/".join(parts[count:]))
    return None


def listing(archive: str) -> Listing:
    """Return what is in an archive.

    Raises:
        UnsegError: see `unseg_d2.storage.tar.list_tar` and `unseg_d2.storage.parquet.list_parquet`.
        FileNotFoundError: it is not there.
    """
    version = version_of(archive)
    if archive in _held and _held[archive][0] == version:
        return _held[archive][1]
    kept = _kept_at(archive, version)
    found = _read(kept)
    if found is None:
        found = _made(archive, kept)
    _held[archive] = version, found
    return found


def read(place: Place) -> bytes:
    """Return the bytes of a file in an archive.

    Raises:
        FileNotFoundError: it is not there.
        UnsegError: the archive cannot be read.
    """
    found = listing(place.archive)
    position = found.find(place.name)
    if position is None:
        raise FileNotFoundError(f"{place.name} is not in {to_text(place.archive)}")
    start, size = int(found.places[position]), int(found.sizes[position])
    if place.archive.lower().endswith(parquet.ENDING):
        return parquet.read_row(_opened(place.archive), to_text(place.archive), start, version_of(place.archive))
    if address := address_of(place.archive):
        return remote.read(address, start, start + size) if size else b""
    with open(place.archive, "rb", buffering=0) as file:
        file.seek(start)
        return file.read(size)


def version_of(archive: str) -> Version:
    """Return what tells an archive from another one of the same name: size, last change, number of the file.

    Raises:
        FileNotFoundError: it is not there.
    """
    address = address_of(archive)
    if address is None:
        found = os.stat(archive)
        return found.st_size, float(found.st_mtime_ns), found.st_ino
    if archive not in _versions:
        there = remote.look(address)
        _versions[archive] = there.size, there.changed, 0
    return _versions[archive]


def forget(folder: str) -> None:
    """Look anew at the archives behind an address when they are next used."""
    for archive in [name for name in _versions if name.startswith(folder)]:
        del _versions[archive]


def listings_folder() -> Path:
    """Folder of kept listings: ``$UNSEG_D2_LISTINGS``, else ``unseg_d2/listings`` in the user's cache."""
    if folder := os.environ.get(FOLDER):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "unseg_d2" / "listings"


def _is_file(path: str) -> bool:
    address = address_of(path)
    if address is None:
        return os.path.isfile(path)
    if path in _versions:
        return True
    try:
        found = remote.look(address)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not found.is_folder:
        _versions[path] = found.size, found.changed, 0
    return not found.is_folder


def _made(archive: str, kept: Path) -> Listing:
    with _opened(archive) as file:
        ending = os.path.splitext(archive)[1].lower()
        found = ENDINGS[ending](file, to_text(archive))
    if len(found) >= MANY:
        with contextlib.suppress(UnsegError, OSError):  # a full disk costs time, nothing else
            _write(kept, found)
    return found


@contextmanager
def _opened(archive: str) -> Iterator[BinaryIO]:
    if address := address_of(archive):
        with remote.opened(address) as file:
            yield file
    else:
        with open(archive, "rb") as file:
            yield file


def _kept_at(archive: str, version: Version) -> Path:
    key = hashlib.sha256(json.dumps([to_text(archive), version]).encode("utf-8", "surrogatepass")).hexdigest()
    return listings_folder() / f"{key[:32]}.npz"


def _write(path: Path, found: Listing) -> None:
    problems = np.frombuffer(json.dumps(found.problems).encode(), np.uint8)
    with atomic_write(path) as file:
        np.savez(file, problems=problems, **found.arrays())


def _read(path: Path) -> Listing | None:
    """Return a kept listing; one that is damaged is made again."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            problems = [cast("tuple[str, str]", tuple(pair)) for pair in json.loads(kept["problems"].tobytes())]
            found = Listing(kept["names"].tobytes(), kept["ends"], kept["places"], kept["sizes"], problems)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return found if _is_sound(found) else None


def _is_sound(found: Listing) -> bool:
    columns = (found.ends, found.places, found.sizes)
    same = all(column.dtype == np.int64 and column.shape == found.ends.shape for column in columns)
    last = int(found.ends[-1]) if same and len(found) else 0
    return same and last == len(found.names) and bool((np.diff(found.ends, prepend=0) > 0).all())
