"""COCO results on disk: a JSON list of detections, each with the id of its image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unseg_d2.data.coco import read_json
from unseg_d2.errors import UnsegError


def read_results(path: Path) -> list[dict[str, Any]]:
    """Read a file of COCO results.

    Args:
        path: the file.

    Returns:
        Dictionaries with an ``image_id`` each, and whatever else the file holds.

    Raises:
        UnsegError: the file is missing or damaged, or holds something else.
    """
    results = read_json(path)
    if not isinstance(results, list) or not all(isinstance(item, dict) and "image_id" in item for item in results):
        raise UnsegError(f"{path} is not a list of COCO results: each entry needs an image_id.")
    return results


def read_result_list(path: Path) -> list[dict[str, Any]] | None:
    """Return the content of a file of COCO results, ``None`` if it is a label set or not JSON.

    Raises:
        UnsegError: it is a damaged list, or a list of something else.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        is_list = file.read(100).lstrip().startswith(b"[")
    return read_results(path) if is_list else None
