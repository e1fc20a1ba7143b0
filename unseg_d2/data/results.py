"""COCO results on disk: a JSON list of detections, each with the id of its image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from msgspec import UNSET

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.annotations.masks import Unusable, box_of, check_run_lengths, outline
from unseg_d2.data.annotations.parse import parse, quoted, read_bytes
from unseg_d2.data.annotations.read import identity
from unseg_d2.data.annotations.structs import Result
from unseg_d2.errors import UnsegError

_BLANK = b"\xef\xbb\xbf \t\r\n"  # what may stand before the first bracket


def read_results(path: Path) -> list[dict[str, Any]]:
    """Read a file of COCO results.

    Args:
        path: the file.

    Returns:
        ``{image_id, category_id, bbox (XYWH, px)}`` each and, where there are any, ``score`` and ``segmentation``:
        compressed run lengths or polygons. A missing box follows from the mask.

    Raises:
        UnsegError: the file is missing or damaged, or holds something else: the message names the result and the field.
    """
    data = read_bytes(path)
    if data.lstrip(_BLANK)[:1] == b"{":
        raise UnsegError(f"{path} is not a list of COCO results: it is an object with keys.")
    counts, kept, numbers = Counts(), [], []
    for number, entry in enumerate(parse(data, list[Result], str(path)), 1):
        try:
            kept.append(_result(entry, counts))
            numbers.append(number)
        except Unusable:
            raise UnsegError(f'{path}: result {number} has neither a "bbox" nor a "segmentation".') from None
        except UnsegError as error:
            raise UnsegError(f"{path}: result {number} (image {quoted(entry.image_id)}): {error}") from None

    def name(at: int) -> str:
        return f"{path}: the mask of result {numbers[at]} (image {quoted(kept[at]['image_id'])})"

    check_run_lengths(kept, name)
    for result in kept:
        if "bbox" not in result:
            result["bbox"] = box_of(Result(image_id=0), result["segmentation"], None, None)
    counts.say(path)
    return kept


def _result(entry: Result, counts: Counts) -> dict[str, Any]:
    segmentation = outline(entry, None, None, counts)
    result: dict[str, Any] = {
        "image_id": identity(entry.image_id),
        "category_id": 1 if entry.category_id is None else entry.category_id,
    }
    if entry.bbox:
        result["bbox"] = box_of(entry, segmentation, None, None)
    elif segmentation is None:
        raise Unusable
    elif isinstance(segmentation, list):
        corners = [value for polygon in segmentation for value in polygon]
        left, top = min(corners[::2]), min(corners[1::2])
        result["bbox"] = [left, top, max(corners[::2]) - left, max(corners[1::2]) - top]
    if segmentation is not None:
        result["segmentation"] = segmentation
    return result if entry.score is UNSET else result | {"score": entry.score}


def read_result_list(path: Path) -> list[dict[str, Any]] | None:
    """Return the content of a file of COCO results, ``None`` if it is a label set or not JSON.

    Raises:
        UnsegError: it is a damaged list, or a list of something else.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            is_list = file.read(100).lstrip(_BLANK).startswith(b"[")
    except OSError as error:
        raise UnsegError(f"{path} cannot be read: {error.strerror}.") from None
    return read_results(path) if is_list else None
