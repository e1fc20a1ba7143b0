"""Write a file completely or not at all."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import re
import time
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from unseg_d2.errors import UnsegError

try:
    import fcntl
except ImportError:  # Windows, where no file is deleted that a process has opened
    fcntl = None  # type: ignore[assignment]

_LONGEST = 255
"""Bytes of a name that every common file system takes."""
_TEMPORARY = re.compile(r"^\..+\.tmp-([0-9a-f]{32}|\d+)$", re.DOTALL)
_NEW, _OLD = 5.0, 24 * 3600.0
"""Seconds in which a temporary file may not be locked yet; after which nobody writes it where there are no locks."""
_WRONG_PLACE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
}


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside the target for writing and rename it into place when the block succeeds.

    A reader sees the old file or the new one, never a part. A killed writer leaves at most ``.<name>.tmp-<attempt>``,
    which the next process that writes into the folder removes.

    Args:
        path: the file to make or replace; its folder is created.

    Raises:
        UnsegError: the disk is full or the folder cannot be written to.
    """
    path = Path(path)
    temporary = path.with_name(fitting_name(f".{path.name}", f".tmp-{uuid.uuid4().hex}"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        with open(temporary, "xb") as file:  # the name is new; a link that somebody put there is not followed
            _hold(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
    except OSError as error:
        raise explained(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def fitting_name(name: str, suffix: str) -> str:
    """Return a file name with a suffix; a name too long for the file system is cut and made unique by its checksum.

    Args:
        name: without folders.
        suffix: what it must end with.

    >>> fitting_name("photo.png", ".jpg")
    'photo.png.jpg'
    >>> len(fitting_name("n" * 254, ".jpg"))
    255
    """
    whole = name + suffix
    if len(os.fsencode(whole)) <= _LONGEST:
        return whole
    ending = f"~{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}{suffix}"
    return os.fsdecode(os.fsencode(name)[: _LONGEST - len(os.fsencode(ending))]) + ending


def no_link(path: str, flags: int) -> int:
    """Open a file that is written to piece by piece, as ``opener`` of ``open``; a symbolic link is not followed."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _hold(file: BinaryIO) -> bool:
    """Lock a temporary file as long as it is written: process ids of containers and machines may be equal."""
    with suppress(OSError):
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
    return False  # a file system without locks


def _is_abandoned(path: str) -> bool:
    """Whether nobody writes a temporary file any more."""
    with open(path, "rb") as file:
        age = time.time() - os.fstat(file.fileno()).st_mtime
        if age <= _NEW:
            return False
        if not _hold(file):
            return age > _OLD
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


@functools.cache
def _remove_abandoned(folder: Path) -> None:
    """Remove what killed writers left in a folder; files that a living process writes are kept."""
    with suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            if _TEMPORARY.search(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    if _is_abandoned(entry.path):
                        os.unlink(entry.path)


def write_json(path: str | Path, value: Any, *, indent: int | None = None) -> None:
    """Write a value as JSON, completely or not at all.

    Args:
        path: the file to make or replace.
        value: anything ``json`` can write.
        indent: spaces per level, ``None`` for one line.
    """
    with atomic_write(path) as file:
        file.write(json.dumps(value, indent=indent).encode())


def explained(error: OSError, path: Path) -> OSError | UnsegError:
    """Turn a failure of writing that the user can fix into one sentence; other errors are returned unchanged."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UnsegError(f"The disk is full: {path} was not written. Free some space and run the same command again.")
    if error.errno == errno.ELOOP:
        return UnsegError(f"{path} is a symbolic link, which is not followed; remove it, or choose another --output.")
    if error.errno in _WRONG_PLACE:
        return UnsegError(f"{path} cannot be written: {os.strerror(error.errno)}. Choose another --output.")
    return error


def same_name(name: str) -> str:
    """Return a file name in the form in which names are compared: with ``/``, and accents composed with their letter.

    macOS writes an accent as a character of its own, Windows separates folders by a backslash.

    >>> same_name("photos\\\\cafe\u0301.png") == "photos/caf\u00e9.png"
    True
    """
    return unicodedata.normalize("NFC", name.replace("\\", "/"))
