"""A label set in the making: a manifest and append-only shards, one line per image.

::

    OUTPUT/manifest.json               settings, versions and number of images
    OUTPUT/shards/000007.jsonl         a finished shard, renamed into place
    OUTPUT/shards/000008.jsonl.part    a shard being written; its complete lines are used when it is taken up again
    OUTPUT/shards/.000008.jsonl.lock   held by the process that writes it

A line is ``{"id", "file_name", "content", "height", "width", "annotations"}`` or, for an image that could not be used,
``{"id", "file_name", "content", "failure"}``; ``content`` is the size and sha256 of the image's file, and ``depth``,
where depth lies in files, that of its depth file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from unseg_d2.data.annotations.parse import convert, quoted
from unseg_d2.data.annotations.structs import Line
from unseg_d2.data.others import Others
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write, explained, no_link
from unseg_d2.locks import locked
from unseg_d2.manifest import LABEL_SET, LABEL_SET_WARNED, open_or_refuse, read_manifest
from unseg_d2.settings import defaults_below

LOCK_SECONDS = 30.0
"""How long a shard that another process holds is waited for; a killed command's workers need some time to end."""
MOST_IMAGES, MOST_SHARDS = 10**10, 10**6
"""Beyond, a manifest is damaged, and looking for its shards would not end."""
REMEDY = "choose another --output"


class ShardFolder:
    """The folder of a label set and what is finished in it."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest: dict[str, Any] = {}
        self.others = Others()

    def open(self, manifest: dict[str, Any]) -> None:
        """Begin the label set, or resume it.

        Args:
            manifest: ``num_images``, ``shard_size`` and everything else that the result depends on.

        Raises:
            UnsegError: the folder holds a label set made of other images or with other settings.
        """
        path = self.folder / "manifest.json"
        if not path.is_file() and (self.folder / "labels.json").is_file():
            raise UnsegError(f"{self.folder} holds a label set that was not made here; choose another --output.")
        self.manifest = open_or_refuse(
            path,
            manifest,
            holds=f"{self.folder} holds a label set that was made",
            may_change=LABEL_SET,
            warned=LABEL_SET_WARNED,
            remedy=REMEDY,
            kept=("shard_size",),
            causes="settings.",  # they usually make another checksum too, which tells nobody anything
            gained=defaults_below("settings"),
        )

    def load(self) -> None:
        """Read the manifest of a label set that is there already.

        Raises:
            UnsegError: there is none.
        """
        path = self.folder / "manifest.json"
        if not path.is_file():
            raise UnsegError(f"{self.folder} holds no label set: there is no manifest.json in it.")
        manifest = read_manifest(path, REMEDY)
        counts = [manifest.get(key) for key in ("num_images", "shard_size")]
        if not all(type(count) is int and 1 <= count <= MOST_IMAGES for count in counts):
            raise UnsegError(f"{path} is damaged (its numbers of images); {REMEDY}.")
        try:
            self.others = Others.from_json(manifest.get("not_images"))
        except TypeError:
            raise UnsegError(f"{path} is damaged (its list not_images); {REMEDY}.") from None
        root = manifest.get("image_root", "")
        if not isinstance(root, str) or "\0" in root:
            raise UnsegError(f"{path} is damaged (image_root is no text); {REMEDY}.")
        if (counts[0] or 0) // (counts[1] or 1) > MOST_SHARDS:
            raise UnsegError(f"{path} is damaged (it tells of more than {MOST_SHARDS} shards); {REMEDY}.")
        self.manifest = manifest

    @property
    def num_shards(self) -> int:
        """Number of shards, the last one possibly shorter."""
        return -(-self.manifest["num_images"] // self.manifest["shard_size"])

    def positions(self, shard: int) -> range:
        """Positions, in the list of images, of those of a shard."""
        size = self.manifest["shard_size"]
        return range(shard * size, min((shard + 1) * size, self.manifest["num_images"]))

    def path(self, shard: int) -> Path:
        """File of a finished shard."""
        return self.folder / "shards" / f"{shard:06d}.jsonl"

    def is_finished(self, shard: int) -> bool:
        """Whether the shard is complete."""
        return self.path(shard).is_file()

    def unfinished(self) -> list[int]:
        """Shards that are still to be made."""
        return [shard for shard in range(self.num_shards) if not self.is_finished(shard)]

    def num_missing(self) -> int:
        """Number of images in them."""
        return sum(len(self.positions(shard)) for shard in self.unfinished())

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of all finished shards, in the order of the images.

        Raises:
            UnsegError: a shard is damaged, or holds images of another one.
        """
        shard_of: dict[int, int] = {}  # hash of an id, to save memory
        for shard in range(self.num_shards):
            if self.is_finished(shard):
                for line in self.lines_of(shard):
                    before = shard_of.setdefault(hash(line["id"]), shard)
                    if before != shard:
                        other = self.path(before).name
                        raise self._damaged(shard, f"image {quoted(line['id'])} is in {other} too, so one is a copy")
                    yield line

    def lines_of(self, shard: int) -> Iterator[dict[str, Any]]:
        """Yield the lines of a finished shard.

        Raises:
            UnsegError: one is damaged, occurs twice, or is missing.
        """
        ids = set()
        try:
            with self.path(shard).open("rb") as file:
                for number, text in enumerate(file, 1):
                    line = _parsed(text, number)
                    if line["id"] in ids:
                        raise UnsegError(f"image {quoted(line['id'])} occurs twice")
                    ids.add(line["id"])
                    yield line
        except UnsegError as error:
            raise self._damaged(shard, str(error).rstrip(".")) from None
        except OSError as error:
            raise self._damaged(shard, f"it cannot be read: {error.strerror}") from None
        if len(ids) != (expected := len(self.positions(shard))):
            raise self._damaged(shard, f"it has {len(ids)} lines for {expected} images")

    def _damaged(self, shard: int, reason: str) -> UnsegError:
        return UnsegError(
            f"{self.path(shard)} is damaged: {reason}. Delete this file and run the command that made it again; it "
            "makes these images anew and keeps the others."
        )

    def replace(self, shard: int, lines: Sequence[dict[str, Any]]) -> None:
        """Write a finished shard anew, completely or not at all."""
        with atomic_write(self.path(shard)) as file:
            file.writelines(map(_encoded, lines))


class ShardWriter:
    """Appends the lines of one shard and renames it into place when it is complete.

    Use as a context manager. An unfinished shard is continued; ``done`` says how many lines it has.

    Raises:
        UnsegError: the disk is full, or another process keeps writing the same shard.
    """

    def __init__(self, shards: ShardFolder, shard: int) -> None:
        self.path = shards.path(shard)
        self.part = self.path.with_name(self.path.name + ".part")
        self.length = len(shards.positions(shard))
        self.done = 0
        self._file: BinaryIO
        self._opened = ExitStack()

    def __enter__(self) -> ShardWriter:
        with self._opened as opened:
            lock, busy = self.path.with_name(f".{self.path.name}.lock"), f"is writing {self.part}"
            opened.enter_context(locked(lock, until=self.path, busy=busy, seconds=LOCK_SECONDS))
            try:
                self._file = opened.enter_context(open(self.part, "a+b", opener=no_link))
            except OSError as error:
                raise explained(error, self.part) from error
            if self.path.is_file():  # another process finished it while we waited
                self.part.unlink()
                self.done = self.length
            self._opened = opened.pop_all()
        return self

    def truncate(self, multiple: int, is_current: Callable[[dict[str, Any]], bool] = lambda _: True) -> None:
        """Keep the complete lines of an earlier run, in whole batches, up to the first whose image has changed since.

        Args:
            multiple: images per batch; a batch that was cut short is computed again.
            is_current: whether the image of a line is what it was.
        """
        if self.path.is_file():
            return
        self._file.seek(0)
        ends, lines = [0], 0
        for line in self._file:
            if not _is_complete(line) or not is_current(json.loads(line)):
                break
            ends.append(ends[-1] + len(line))
            lines += 1
        self.done = lines if lines == self.length else lines // multiple * multiple
        self._file.truncate(ends[self.done])

    def append(self, lines: list[dict[str, Any]]) -> None:
        """Write the lines of a batch of images."""
        try:
            for line in lines:
                self._file.write(_encoded(line))
            self._file.flush()
        except OSError as error:
            raise explained(error, self.part) from error
        self.done += len(lines)

    def finish(self) -> None:
        """Bring the complete shard to the disk and rename it into place."""
        if self.path.is_file():
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            os.replace(self.part, self.path)
        except OSError as error:
            raise explained(error, self.path) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._opened.close()
        except OSError as failure:  # the rest of a line that did not fit on the disk
            if error is None:
                raise explained(failure, self.part) from failure


def _encoded(line: dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _parsed(text: bytes, number: int) -> dict[str, Any]:
    """Return a line of a shard.

    Raises:
        UnsegError: it does not hold what a line holds.
    """
    try:
        line: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        raise UnsegError(f"line {number} is not JSON") from None
    checked = convert(line, Line, record=f"line {number}")
    if checked.failure is None and not (checked.height and checked.width):
        raise UnsegError(f"line {number} has neither a failure nor a height and width")
    if not isinstance(line.get("annotations", []), list):
        raise UnsegError(f"line {number} has annotations that are no list")
    return line


def _is_complete(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
