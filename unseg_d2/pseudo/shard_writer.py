"""Writing one shard: an attempt has a part of its own, which is renamed into place when it is complete.

All attempts write the same lines. So a shard that two processes make, because one of them was taken for dead or a file
system has locks within a machine only, costs time and harms nothing.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from unseg_d2.files import explained, no_link
from unseg_d2.pseudo.shards import ShardFolder, encoded


class ShardWriter:
    """Appends the lines of one shard to a part of its own and renames it into place when it is complete.

    Use as a context manager. ``done`` says how many lines the shard has.

    Raises:
        UnsegError: the disk is full.
    """

    def __init__(self, shards: ShardFolder, shard: int) -> None:
        self.path = shards.path(shard)
        self.part = self.path.with_name(f"{self.path.name}.part-{uuid.uuid4().hex}")
        self.length = len(shards.positions(shard))
        self.done = 0
        self._parts = partial(shards.parts, shard)
        self._earlier: list[Path] = []
        self._file: BinaryIO | None = None

    def __enter__(self) -> ShardWriter:
        if self.path.is_file():  # another process has finished it
            self.done = self.length
            return self
        try:
            self.part.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self.part, "xb", opener=no_link)
        except OSError as error:
            raise explained(error, self.part) from error
        return self

    def resume(
        self, multiple: int, is_current_in: Callable[[Path], Callable[[dict[str, Any]], bool]] | None = None
    ) -> None:
        """Take over the complete lines of an earlier attempt, in whole batches, up to the first that is not current.

        Args:
            multiple: images per batch; a batch that was cut short is computed again.
            is_current_in: returns, for an earlier attempt, whether the image of a line is what it was.
        """
        if self._file is None:
            return
        self._earlier = [part for part in self._parts() if part != self.part]
        for part in self._earlier:
            try:
                with open(part, "rb", opener=no_link) as file:
                    lines = _current(file, is_current_in(part) if is_current_in else lambda _: True)
            except FileNotFoundError:  # another process has finished the shard
                continue
            except OSError as error:
                raise explained(error, part) from error
            kept = len(lines) if len(lines) == self.length else len(lines) // multiple * multiple
            self._write(lines[:kept])
            return

    def append(self, lines: list[dict[str, Any]]) -> None:
        """Write the lines of a batch of images."""
        self._write(list(map(encoded, lines)))

    def _write(self, lines: list[bytes]) -> None:
        assert self._file is not None
        try:
            self._file.writelines(lines)
            self._file.flush()
        except OSError as error:
            raise explained(error, self.part) from error
        self.done += len(lines)

    def finish(self) -> None:
        """Bring the complete shard to the disk and rename it into place; earlier attempts have become useless."""
        if self._file is None:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            os.replace(self.part, self.path)
        except FileNotFoundError as error:
            if not self.path.is_file():  # another process has finished it
                raise explained(error, self.path) from error
        except OSError as error:
            raise explained(error, self.path) from error
        for part in self._earlier:
            with suppress(OSError):
                part.unlink()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            return
        try:
            self._file.close()
            if not self.done:
                self.part.unlink(missing_ok=True)
        except OSError as failure:  # the rest of a line that did not fit on the disk
            if error is None:
                raise explained(failure, self.part) from failure


def _current(file: BinaryIO, is_current: Callable[[dict[str, Any]], bool]) -> list[bytes]:
    """Return the complete lines of a part up to the first that is not current."""
    lines = []
    for line in file:
        if not _is_complete(line) or not is_current(json.loads(line)):
            break
        lines.append(line)
    return lines


def _is_complete(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
