"""Write a file or a folder completely or not at all."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from unseg_d2.errors import UnsegError

try:
    import fcntl
except ImportError:  # Windows, where no file is deleted that a process has opened
    fcntl = None  # type: ignore[assignment]

_LONGEST = 255
"""Bytes of a name that every common file system takes."""
_TEMPORARY = re.compile(r"^\..+\.tmp-([0-9a-f]{32}|\d+)$", re.DOTALL)
_LAST_NUMBER = re.compile(r"(\d+)\D*$")
_HERE = re.compile(r"(?<![^/])(\./+)+(?=[^/])")
_OLD = 24 * 3600.0
"""Seconds after which nobody writes a temporary file of an earlier version, or on a file system without locks."""
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
    file = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        file = _new_file(path)
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
    except OSError as error:
        raise explained(error, path) from error
    finally:
        if file is not None:
            with suppress(OSError):
                os.unlink(file.name)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Make a folder beside a path, of an unguessable name, and remove it with what is left in it.

    A killed process leaves it, and the next one that writes there removes it.

    Args:
        path: what is made in it; its folder is created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path.parent)
    while True:
        folder = temporary_name(path)
        folder.mkdir()  # who may read it is the umask's business
        if fcntl is None:
            descriptor = None
            break
        with suppress(FileNotFoundError):  # a process that tidies up may be quicker
            descriptor = os.open(folder, os.O_RDONLY)
            if _is_held(descriptor, folder):
                break
            os.close(descriptor)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def atomic_folder(path: Path, *, replace: bool) -> Iterator[Path]:
    """Make a folder that appears under its name when the block succeeds.

    Args:
        path: of the folder; the one above it is created.
        replace: whether the new folder takes the place of one that is there by then; otherwise that one stays.
    """
    with temporary_folder(path) as folder:
        yield folder
        if replace:
            shutil.rmtree(path, ignore_errors=True)
        try:
            os.rename(folder, path)
        except OSError as error:
            if replace or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


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


def temporary_name(path: Path) -> Path:
    """Return a name that nobody else uses: process ids of containers and machines may be equal."""
    return path.with_name(fitting_name(f".{path.name}", f".tmp-{uuid.uuid4().hex}"))


def _new_file(path: Path) -> BinaryIO:
    """Open a temporary file beside a path for writing, locked as long as it is open."""
    while True:
        name = temporary_name(path)
        file = open(name, "xb", opener=_for_both)  # noqa: SIM115 (closed by the caller); links are not followed
        if _is_held(file.fileno(), name):
            return file
        file.close()


def _for_both(path: str, flags: int) -> int:
    """Open for reading too, without which some file systems of networks do not lock."""
    return os.open(path, flags & ~(os.O_RDONLY | os.O_WRONLY) | os.O_RDWR, 0o666)


def _is_held(descriptor: int, path: Path) -> bool:
    """Lock what was just made; ``False`` where a process that tidies up took it before it was locked."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


@functools.cache
def _remove_abandoned(folder: Path) -> None:
    """Remove what killed writers left in a folder; what a living process holds is kept."""
    with suppress(OSError), os.scandir(folder) as found:
        for entry in found:
            name = _TEMPORARY.search(entry.name)
            if name and not entry.is_symlink():
                with suppress(OSError):
                    _remove_unless_held(entry.path, locked=len(name[1]) == 32)


def _remove_unless_held(path: str, *, locked: bool) -> None:
    """Remove a temporary file or folder that nobody writes; one that its writer does not lock, only when it is old."""
    is_old = time.time() - os.stat(path).st_mtime > _OLD
    is_folder = os.path.isdir(path)
    if fcntl is None or not locked:
        if is_old:
            (shutil.rmtree if is_folder else os.unlink)(path)
        return
    descriptor = os.open(path, os.O_NOFOLLOW | (os.O_RDONLY if is_folder else os.O_RDWR))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (shutil.rmtree if is_folder else os.unlink)(path)
    except OSError as error:
        if not isinstance(error, BlockingIOError) and is_old:  # a file system without locks
            (shutil.rmtree if is_folder else os.unlink)(path)
    finally:
        os.close(descriptor)


def write_json(path: str | Path, value: Any, *, indent: int | None = None) -> None:
    """Write a value as JSON, completely or not at all.

    Args:
        path: the file to make or replace.
        value: anything ``json`` can write.
        indent: spaces per level, ``None`` for one line.
    """
    with atomic_write(path) as file:
        file.write(json.dumps(value, indent=indent).encode())


def check_can_write(path: Path) -> None:
    """Check that a file can be written, before the work whose result it is; its folder is created.

    Raises:
        UnsegError: its folder cannot be created or written to, or it is a folder itself.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise explained(error, path) from error


def check_apart(output: Path, *inputs: Path) -> None:
    """Refuse to write a file or a folder that is one of those that are read.

    Raises:
        UnsegError: it is.
    """
    for path in inputs:
        with suppress(OSError):
            if output.samefile(path):
                raise UnsegError(f"{output} is what is read, and would be overwritten; choose another --output.")


def check_can_read(*paths: Path) -> None:
    """Check that files or folders can be read, before the work that needs them all.

    Raises:
        UnsegError: one is missing, may not be read, or is neither a file nor a folder.
    """
    for path in paths:
        try:
            if path.is_dir():
                with os.scandir(path):
                    continue
            if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
                raise UnsegError(f"{path} is neither a file nor a folder.")
            with path.open("rb") as file:
                file.read(1)
        except FileNotFoundError:
            raise UnsegError(f"There is no file {path}.") from None
        except OSError as error:
            raise UnsegError(f"{path} cannot be read: {error.strerror}.") from None


def explained(error: OSError, path: Path) -> OSError | UnsegError:
    """Turn a failure of writing that the user can fix into one sentence; other errors are returned unchanged."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UnsegError(f"The disk is full: {path} was not written. Free some space and run the same command again.")
    if error.errno == errno.ELOOP:
        return UnsegError(f"{path} is a symbolic link, which is not followed; remove it, or choose another place.")
    if error.errno in _WRONG_PLACE:
        return UnsegError(f"{path} cannot be written: {os.strerror(error.errno)}. Choose another place for it.")
    return error


def same_name(name: str) -> str:
    """Return a file name in the form in which names are compared: with ``/``, and accents composed with their letter.

    macOS writes an accent as a character of its own, Windows separates folders by a backslash, some tools begin with ./

    >>> same_name(".\\\\photos\\\\cafe\u0301.png") == "photos/caf\u00e9.png"
    True
    """
    name = name.replace("\\", "/")
    if "./" in name:
        name = _HERE.sub("", name)
    return unicodedata.normalize("NFC", name)


def frame_number(name: str, stated: object = None) -> int | None:
    """Return the number of a frame of a video: the one that is stated, else the last in its name; ``None`` without any.

    Args:
        name: of the frame's file.
        stated: its ``frame_id``, a whole number in any form; what is none does not count.

    >>> frame_number("film_2/10.png"), frame_number("10.png", 3.0), frame_number("10.png", "7"), frame_number("a.png")
    (10, 3, 7, None)
    """
    if (isinstance(stated, float) and stated.is_integer()) or (isinstance(stated, str) and stated.isdecimal()):
        stated = int(stated)
    if isinstance(stated, int) and not isinstance(stated, bool):
        return stated
    found = _LAST_NUMBER.search(PurePosixPath(same_name(name)).stem)
    return None if found is None else int(found[1])
