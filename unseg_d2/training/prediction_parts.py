"""A part of a prediction on disk: what its images held, and what was found in them.

::

    {"images": [[size, sha256], ...], "sha256": of the results, "results": [
    {"image_id": ..., ...},
    ...
    ]}
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from unseg_d2.content import Content
from unseg_d2.data.annotations.parse import parse, read_bytes
from unseg_d2.data.annotations.structs import Result
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write

logger = logging.getLogger(__name__)


class _Part(msgspec.Struct):
    images: list[tuple[int, str] | None]
    results: msgspec.Raw
    sha256: str | None = None  # earlier versions did not record it


def part_path(folder: Path, index: int) -> Path:
    """Return the file of a part."""
    return folder / f"part_{index:06d}.json"


def write_part(path: Path, seen: Sequence[Content | None], results: Iterable[dict[str, Any]]) -> None:
    """Write a part, completely or not at all.

    Args:
        path: the file.
        seen: content of each image, ``None`` where there was none.
        results: COCO results of the images.

    Raises:
        UnsegError: the disk is full.
    """
    lines = ",\n".join(json.dumps(result, separators=(",", ":")) for result in results).encode()
    found = b"[\n" + lines + b"\n]"
    with atomic_write(path) as file:
        about = json.dumps({"images": seen, "sha256": hashlib.sha256(found).hexdigest()})
        file.write(about[:-1].encode() + b', "results": ' + found + b"}")


def images_of_part(path: Path, num_images: int) -> list[Content | None] | None:
    """Return what the images of a part held; ``None`` where there is no part, or one that has to be made again.

    One that is damaged is named in the log.

    Args:
        path: the file.
        num_images: that it must be of.
    """
    if not path.is_file():
        return None
    try:
        part = _read(path)
        if len(part.images) != num_images:
            raise UnsegError(f"{path} is of {len(part.images)} images instead of {num_images}.")
        if part.sha256 is None:
            parse(bytes(part.results), list[Result], str(path))
        elif part.sha256 != hashlib.sha256(bytes(part.results)).hexdigest():
            raise UnsegError(f"{path} holds other results than were written.")
    except UnsegError as error:
        logger.warning("A part of the predictions is damaged and made again: %s", error)
        return None
    return [Content(*seen) if seen else None for seen in part.images]


def lines_of_part(path: Path) -> list[bytes]:
    """Return the results of a part, each as JSON in one line.

    Raises:
        UnsegError: it is damaged.
    """
    entries = msgspec.json.decode(_read(path).results, type=list[msgspec.Raw])
    return [bytes(entry) for entry in entries]


def _read(path: Path) -> _Part:
    return parse(read_bytes(path), _Part, str(path))
