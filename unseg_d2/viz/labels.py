"""What is shown: a label set with its name, and the pixels of its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unseg_d2.data.coco import CocoDataset, resolve_image
from unseg_d2.data.images import read_image
from unseg_d2.data.pictures.reading import DEFAULT_READING, Reading
from unseg_d2.errors import UnsegError


@dataclass(frozen=True)
class LabelView:
    """A label set and the name under which it is shown."""

    title: str
    dataset: CocoDataset

    @property
    def reading(self) -> Reading:
        """How the images were read when the labels were made, as far as their ``info`` tells."""
        settings = self.dataset.info.get("settings")
        changes = settings.get("INPUT") if isinstance(settings, dict) else None
        return Reading.of_changes(changes if isinstance(changes, dict) else {})


def evenly_spaced(items: Sequence[Any], limit: int) -> Sequence[Any]:
    """Return at most ``limit`` items, evenly spaced, in order; all for 0.

    >>> evenly_spaced(range(10), 4)
    [0, 2, 5, 7]
    """
    if limit <= 0 or len(items) <= limit:
        return items
    return [items[i * len(items) // limit] for i in range(limit)]


def annotations_by_name(dataset: CocoDataset) -> dict[str, list[dict[str, Any]]]:
    """Group the annotations by the file name of their image; images without any are left out."""
    names = {image["id"]: image["file_name"] for image in dataset.images}
    grouped: dict[str, list[dict[str, Any]]] = {}
    for annotation in dataset.annotations:
        grouped.setdefault(names[annotation["image_id"]], []).append(annotation)
    return grouped


def read_labelled_image(root: Path, image: dict[str, Any], reading: Reading = DEFAULT_READING) -> np.ndarray:
    """Read an image of a label set.

    Args:
        root: folder that file names are relative to.
        image: its COCO entry.
        reading: how it was read when its labels were made, see :attr:`LabelView.reading`.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        UnsegError: it cannot be read, lies outside the folder, or has another size than the label set says.
    """
    pixels = read_image(resolve_image(root, image["file_name"]), reading)
    stated, found = (image.get("height"), image.get("width")), pixels.shape[:2]
    if None not in stated and stated != found:
        raise UnsegError(f"the image has {found[1]}x{found[0]} pixels, its annotations say {stated[1]}x{stated[0]}")
    return pixels
