"""One process at a time, on every platform and file system: locks of the system, else a file that its owner touches.

Where the file system has no locks, a file beside the lock says that somebody holds it. Its owner touches it every few
seconds; once it has not done so for :data:`LEASE`, it is dead, on whatever machine it was, and another process takes
over. A process that was only stopped for so long then shares the lock: what is written under one must bear that.
"""

from __future__ import annotations

import errno
import logging
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from unseg_d2.errors import UnsegError
from unseg_d2.files import explained, no_link, temporary_name

try:
    import fcntl
except ImportError:  # Windows, which has locks of its own
    fcntl = None  # type: ignore[assignment]

_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK}
"""What ``flock`` says on file systems of clusters that have none."""
_POLL = 0.2
BEAT = 5.0
"""Seconds after which the owner of a lock on a file system without locks touches its file again."""
LEASE = 60.0
"""Seconds without that after which it counts as dead."""

logger = logging.getLogger(__name__)


class Claim(Protocol):
    """A lock that this process holds."""

    def release(self) -> None:
        """Let others have it."""


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
    lock = claimed(path)
    if lock is None and seconds < 0:
        logger.info("Another process %s; waiting for it.", busy)
    end = time.monotonic() + seconds
    while lock is None:
        if 0 <= seconds and time.monotonic() >= end:
            raise UnsegError(
                f"Another process {busy}; wait for it or end it. If there is none, on this machine or another, delete "
                f"{path} and {_owner(path).name}."
            )
        time.sleep(_POLL)
        lock = claimed(path)
    try:
        yield
    finally:
        lock.release()
        if until.is_file():
            with suppress(OSError):  # Windows, where somebody waits for it
                path.unlink()


def claimed(path: Path) -> Claim | None:
    """Return a lock, or ``None`` where another process holds it; one whose process is dead, anywhere, is taken over.

    Args:
        path: the lock file; its folder is created.

    Raises:
        UnsegError: the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _has_locks(path.parent):
            owner = _OwnerFile(_owner(path))
            return owner if owner.acquire() else None
        lock = FileLock(path)
        lock.acquire(timeout=0)
        return lock
    except Timeout:
        return None
    except OSError as error:
        raise explained(error, path) from error


def _has_locks(folder: Path) -> bool:
    """Whether the file system of a folder has locks; filelock's own way without them knows no dead machines."""
    if fcntl is None:
        return True
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


def _owner(path: Path) -> Path:
    return path.with_name(f"{path.name}.owner")


class _OwnerFile:
    """A lock on a file system without locks: a file with a name of its owner's, which the owner touches."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = uuid.uuid4().hex
        self._ended = threading.Event()

    def acquire(self) -> bool:
        """Take the lock where nobody alive has it."""
        if not self._created() and not (self._take_away() and self._created()):
            return False
        threading.Thread(target=self._touch, daemon=True).start()
        return True

    def release(self) -> None:
        """Let others have it; one that was taken over is left to its new owner."""
        self._ended.set()
        with suppress(OSError):
            if self._is_ours():
                self.path.unlink()

    def _created(self) -> bool:
        try:
            with open(self.path, "x", opener=no_link) as file:
                file.write(self.name)
        except FileExistsError:
            return False
        return True

    def _take_away(self) -> bool:
        """Remove the file of a dead owner; of several processes that try, one succeeds."""
        if not self._is_abandoned(self.path):
            return False
        taken = temporary_name(self.path)
        try:
            os.rename(self.path, taken)
        except FileNotFoundError:  # somebody else was quicker
            return True
        if not self._is_abandoned(taken):  # and has made it anew in between
            with suppress(OSError):
                os.link(taken, self.path)
            os.unlink(taken)
            return False
        os.unlink(taken)
        return True

    @staticmethod
    def _is_abandoned(path: Path) -> bool:
        """Whether a file has not been touched for long, by the clock that dates files there."""
        try:
            touched = path.stat().st_mtime
        except FileNotFoundError:
            return True
        with tempfile.TemporaryFile(dir=path.parent) as probe:
            return os.fstat(probe.fileno()).st_mtime - touched > LEASE

    def _touch(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(OSError):  # a file system that is away for a moment
                if not self._is_ours():
                    return
                os.utime(self.path)

    def _is_ours(self) -> bool:
        with open(self.path, opener=no_link) as file:
            return file.read() == self.name
