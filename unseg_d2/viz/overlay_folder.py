"""Overlays of a whole label set as JPEG files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from unseg_d2.data.coco import resolve_image
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write, fitting_name
from unseg_d2.rle import decode_masks
from unseg_d2.viz.entries import ordered
from unseg_d2.viz.labels import LabelView, annotations_by_name, evenly_spaced, read_labelled_image
from unseg_d2.viz.overlay import draw_instances


def write_overlays(
    folder: Path,
    labels: LabelView,
    image_root: str | Path,
    *,
    limit: int = 0,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> list[tuple[str, str]]:
    """Draw the masks of a label set on its images, at their full size.

    Args:
        folder: where ``<file_name>.jpg`` is written for each image, in sub-folders as the images are.
        labels: the label set; instances without a mask are left out.
        image_root: folder that its file names are relative to.
        limit: most images to draw, evenly spaced over the set; 0 draws all.
        progress: wraps the list of images, to show how far the work is.

    Returns:
        File name and reason of each image that cannot be drawn.

    Raises:
        UnsegError: if the disk is full or the folder cannot be written.
    """
    by_name = annotations_by_name(labels.dataset)
    problems = []
    for image in progress(evenly_spaced(labels.dataset.images, limit)):
        name = image["file_name"]
        try:
            pixels = read_labelled_image(Path(image_root), image, labels.reading)
            drawn = _draw(pixels, by_name.get(name, []))
        except UnsegError as error:
            problems.append((name, str(error)))
            continue
        with atomic_write(overlay_path(folder, name)) as file:
            file.write(cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))[1].tobytes())
    return problems


def overlay_path(folder: Path, name: str) -> Path:
    """Return where the overlay of an image goes, ``<file_name>.jpg``, with a name that the file system takes.

    Args:
        folder: of the overlays.
        name: ``file_name`` of the image, which must lie below its folder.

    Raises:
        UnsegError: the name points outside the folder.
    """
    path = resolve_image(folder, name)
    return path.with_name(fitting_name(path.name, ".jpg"))


def _draw(pixels: np.ndarray, annotations: Sequence[dict[str, Any]]) -> np.ndarray:
    """Colours are those of the gallery: by score, then area."""
    height, width = pixels.shape[:2]
    annotations = [annotation for annotation in ordered(annotations) if annotation.get("segmentation")]
    masks = decode_masks([annotation["segmentation"] for annotation in annotations], height, width)
    scores: list[Any] = [annotation.get("score") for annotation in annotations]
    known = all(isinstance(score, (int, float)) and math.isfinite(score) for score in scores)
    return draw_instances(pixels, masks, scores=scores if known else None)
