"""One process at a time, on every platform and file system: locks of the system, else a file that names its owner."""

from __future__ import annotations

import errno
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from unseg_d2.errors import UnsegError
from unseg_d2.files import explained

_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK}
"""What ``flock`` says on file systems of clusters that have none."""

logger = logging.getLogger(__name__)


@contextmanager
def locked(path: Path, *, until: Path, busy: str, seconds: float = -1) -> Iterator[None]:
    """Hold a lock file while the block runs; whoever has waited for it looks whether the work is done.

    Args:
        path: the lock file; its folder is created, and the file may stay until the work is done.
        until: the file that is there when it is.
        busy: what another process does that holds it, such as ``is fetching a.pth``; logged while it is waited for.
        seconds: how long it is waited for; -1 for as long as it takes.

    Raises:
        UnsegError: another process holds it all the time, or the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _acquired(path, busy, seconds)
    except Timeout as error:
        raise UnsegError(
            f"Another process {busy}; wait for it or end it. If there is none, on this machine or another, delete "
            f"{error.lock_file}."
        ) from None
    except OSError as error:
        raise explained(error, path) from error
    try:
        yield
    finally:
        lock.release()
        if until.is_file():
            with suppress(OSError):  # Windows, where somebody waits for it
                path.unlink()


def _acquired(path: Path, busy: str, seconds: float) -> BaseFileLock:
    owner = path.with_name(f"{path.name}.owner")
    for lock in (FileLock(path), SoftFileLock(owner)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of the fallback: it is what we want
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    if seconds < 0:
                        logger.info("Another process %s; waiting for it.", busy)
                    lock.acquire(timeout=seconds, poll_interval=0.2)
            return lock
        except NotImplementedError:  # older versions of filelock, where there is no flock
            continue
        except OSError as error:
            if isinstance(lock, SoftFileLock) or error.errno not in _NO_LOCKS:
                raise
    raise AssertionError("unreachable: a lock was acquired or an error raised")
