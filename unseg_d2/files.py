"""Write a file completely or not at all."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from unseg_d2.errors import UnsegError

_WRONG_PLACE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
}


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside the target for writing and rename it into place when the block succeeds.

    A reader sees the old file or the new one, never a part; a killed writer leaves at most ``.<name>.tmp-<pid>``.

    Args:
        path: the file to make or replace; its folder is created.

    Raises:
        UnsegError: the disk is full or the folder cannot be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise explained(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


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
    if error.errno in _WRONG_PLACE:
        return UnsegError(f"{path} cannot be written: {os.strerror(error.errno)}. Choose another --output.")
    return error
