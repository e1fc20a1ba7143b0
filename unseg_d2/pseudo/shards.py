"""A label set in the making: a manifest and append-only shards, one line per image.

::

    OUTPUT/manifest.json               settings, versions and number of images
    OUTPUT/shards/000007.jsonl         a finished shard, renamed into place
    OUTPUT/shards/000008.jsonl.part-*  a shard being written; its complete lines are used when it is taken up again
    OUTPUT/shards/.000008.jsonl.lock   held by the command that makes it (`unseg_d2.pseudo.claims`)

A line is ``{"id", "file_name", "content", "height", "width", "annotations"}`` or, for an image that could not be used,
``{"id", "file_name", "content", "failure"}``; ``content`` is the size and sha256 of the image's file, and ``depth``,
where depth lies in files, that of its depth file.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from unseg_d2.data.annotations.parse import convert, quoted
from unseg_d2.data.annotations.structs import Line
from unseg_d2.data.others import Others
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write
from unseg_d2.locks import locked
from unseg_d2.manifest import LABEL_SET, LABEL_SET_WARNED, open_or_refuse, read_manifest
from unseg_d2.settings import defaults_below

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

    def absolute(self) -> ShardFolder:
        """Return the same folder for processes that work in another one."""
        other = copy.copy(self)
        other.folder = self.folder.absolute()
        return other

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

    def lock(self, shard: int) -> Path:
        """File that the command holds which makes a shard."""
        return self.folder / "shards" / f".{shard:06d}.jsonl.lock"

    def parts(self, shard: int) -> list[Path]:
        """Return the unfinished attempts at a shard, the longest first; those of earlier versions end with .part."""
        sizes = {}
        for part in (self.folder / "shards").glob(f"{shard:06d}.jsonl.part*"):
            with suppress(FileNotFoundError):  # another process has just finished the shard
                sizes[part] = part.lstat().st_size
        return sorted(sizes, key=lambda part: (-sizes[part], part.name))

    def wait_for_writers(self) -> None:
        """Wait for commands that make finished shards again, and remove what killed ones have left of them."""
        folder = self.folder / "shards"
        for left in [*folder.glob(".*.jsonl.lock*"), *folder.glob("*.jsonl.part*")]:
            shard = int(left.name.lstrip(".").partition(".")[0])
            if not self.is_finished(shard):
                continue
            with locked(self.lock(shard), until=self.path(shard), busy=f"makes {self.path(shard)} again"):
                left.unlink(missing_ok=True)

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
            file.writelines(map(encoded, lines))


def encoded(line: dict[str, Any]) -> bytes:
    """Return a line of a shard as it is written."""
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
