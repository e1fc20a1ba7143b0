"""Corrections as Label Studio exports them: "JSON", a list of tasks with the annotations that people submitted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit

from unseg_d2.data.annotations.counts import Counts
from unseg_d2.data.label_studio import DONE, decode_brush
from unseg_d2.errors import UnsegError
from unseg_d2.exchange.returned import Returned, Shape
from unseg_d2.rle import encode_mask

_UPLOAD_MARK = 9  # eight hexadecimal digits and a dash stand before the name of a file that was uploaded


def read_label_studio(tasks: list[Any], path: Path, counts: Counts) -> list[Returned]:
    """Read the tasks of an export.

    A task that nobody submitted is left out. Of several annotations of a task the one that is marked as ground truth
    counts, or else the one that was changed last.

    Args:
        tasks: content of the file.
        path: of the file, for messages.
        counts: of what was left out.

    Raises:
        UnsegError: a task or a mask is damaged.
    """
    returned = []
    for number, task in enumerate(tasks, 1):
        try:
            annotation = _chosen(task["annotations"], counts)
            if annotation is not None:
                returned.append(_image(_names(task["data"]), annotation["result"], counts))
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            detail = f"{type(error).__name__}: {error}" if isinstance(error, (KeyError, AttributeError)) else error
            raise UnsegError(
                f"{path}: task {number} is damaged ({detail}); export the project as JSON again."
            ) from None
    return returned


def _chosen(annotations: list[dict[str, Any]], counts: Counts) -> dict[str, Any] | None:
    submitted = [item for item in annotations if not item.get("was_cancelled")]
    if not submitted:
        counts.add("tasks that nobody submitted were left out")
        return None
    counts.add("tasks have several annotations, of which the last or the ground truth counts", len(submitted) > 1)
    return max(submitted, key=lambda item: (bool(item.get("ground_truth")), str(item.get("updated_at", ""))))


def _names(data: dict[str, Any]) -> tuple[str, ...]:
    """What a picture may be called: the name that we wrote, and those that its address means."""
    address = urlsplit(str(data["image"]))
    asked = parse_qs(address.query, encoding="utf-8", errors="surrogateescape").get("d", [])
    path = os.fsdecode(unquote_to_bytes(address.path))
    names = [str(data["file_name"])] if data.get("file_name") else []
    names += [*asked, path]
    last = path.rpartition("/")[2]
    if last[:_UPLOAD_MARK][-1:] == "-" and all(mark in "0123456789abcdef" for mark in last[: _UPLOAD_MARK - 1]):
        names.append(last[_UPLOAD_MARK:])
    return tuple(names)


def _image(names: tuple[str, ...], results: list[dict[str, Any]], counts: Counts) -> Returned:
    shapes, size, done = [], None, False
    for result in results:
        kind, value = result["type"], result["value"]
        if kind == "choices":
            done = done or DONE in value["choices"]
            continue
        if kind not in _KINDS:
            counts.add(f"results of the kind {kind} are neither masks nor boxes and were left out")
            continue
        size = int(result["original_height"]), int(result["original_width"])
        label = next(iter(value.get(kind) or ()), None)
        shapes.append(Shape(label, *_KINDS[kind](value, *size)))
    return Returned(names, size, shapes, done)


def _brush(value: dict[str, Any], height: int, width: int) -> tuple[list[float], Any]:
    return [0.0, 0.0, float(width), float(height)], encode_mask(decode_brush(value["rle"], height, width))


def _rectangle(value: dict[str, Any], height: int, width: int) -> tuple[list[float], Any]:
    left, top = value["x"] * width / 100, value["y"] * height / 100
    box = [left, top, value["width"] * width / 100, value["height"] * height / 100]
    if value.get("rotation"):
        raise ValueError("a box is turned; draw it upright")
    return box, None


def _polygon(value: dict[str, Any], height: int, width: int) -> tuple[list[float], Any]:
    corners = [[x * width / 100, y * height / 100] for x, y in value["points"]]
    return [0.0, 0.0, float(width), float(height)], [[number for corner in corners for number in corner]]


_KINDS: dict[str, Callable[[dict[str, Any], int, int], tuple[list[float], Any]]] = {
    "brushlabels": _brush,
    "rectanglelabels": _rectangle,
    "polygonlabels": _polygon,
}
