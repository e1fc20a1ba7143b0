"""Overlays of a whole label set as JPEG files."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from unseg_d2.data.coco import resolve_image
from unseg_d2.data.images import EXTENSIONS
from unseg_d2.data.media import VIDEOS
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write, fitting_name
from unseg_d2.rle import decode_masks
from unseg_d2.viz.entries import ordered
from unseg_d2.viz.labels import LabelView, annotations_by_name, evenly_spaced, read_labelled_image
from unseg_d2.viz.overlay import draw_instances

_MARK = ".overlay"  # of files whose own name has no ending


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
        folder: where a JPEG file is written for each image, in sub-folders as the images are; see `drawn_name`.
        labels: the label set; instances without a mask are left out.
        image_root: folder that its file names are relative to.
        limit: most images to draw, evenly spaced over the set; 0 draws all.
        progress: wraps the list of images, to show how far the work is.

    Returns:
        File name and reason of each image that cannot be drawn.

    Raises:
        UnsegError: the disk is full, the folder cannot be written, or it holds images of the label set.
    """
    refuse_among_inputs(
        folder, [Path(os.path.abspath(image_root), image["file_name"]) for image in labels.dataset.images]
    )
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
    """Return where the overlay of an image goes, below a folder.

    Args:
        folder: of the overlays.
        name: ``file_name`` of the image, which must lie below its folder.

    Raises:
        UnsegError: the name points outside the folder.
    """
    path = resolve_image(folder, name)
    return path.with_name(drawn_name(path.name, ".jpg"))


def drawn_name(name: str, ending: str) -> str:
    """Return the name of what is drawn of a picture or a video; no two names give the same.

    Args:
        name: without folders.
        ending: of the format that is written. A name keeps its own ending where it is that one, and else gets it added;
            so does one with two endings, which could be the name of something drawn.

    >>> drawn_name("a.jpg", ".jpg"), drawn_name("a.png", ".jpg"), drawn_name("a.png.jpg", ".jpg")
    ('a.jpg', 'a.png.jpg', 'a.png.jpg.jpg')
    >>> drawn_name("a", ".jpg"), drawn_name("a.overlay.jpg", ".jpg")
    ('a.overlay.jpg', 'a.overlay.jpg.jpg')
    """
    stem, own = os.path.splitext(name)
    known = EXTENSIONS | VIDEOS
    if own.lower() == ending and os.path.splitext(stem)[1].lower() not in known | {_MARK}:
        return name
    return fitting_name(name, ending if own.lower() in known else f"{_MARK}{ending}")


def refuse_among_inputs(folder: Path, files: Iterable[Path]) -> None:
    """Raise `UnsegError` where a folder of results holds one of the inputs, which a result could replace."""
    result = os.path.join(os.path.realpath(folder), "")
    for file in files:
        if os.path.realpath(file).startswith(result):
            raise UnsegError(
                f"The results go to {folder}, but the input {file} lies there and could be replaced; choose another "
                "folder for the results."
            )


def _draw(pixels: np.ndarray, annotations: Sequence[dict[str, Any]]) -> np.ndarray:
    """Colours are those of the gallery, by score, then area; in a tracked video an object keeps its own."""
    height, width = pixels.shape[:2]
    annotations = [annotation for annotation in ordered(annotations) if annotation.get("segmentation")]
    masks = decode_masks([annotation["segmentation"] for annotation in annotations], height, width)
    scores: list[Any] = [annotation.get("score") for annotation in annotations]
    known = all(isinstance(score, (int, float)) and math.isfinite(score) for score in scores)
    tracks: list[Any] = [annotation.get("track_id") for annotation in annotations]
    identities = tracks if tracks and all(isinstance(track, int) for track in tracks) else None
    return draw_instances(pixels, masks, scores=scores if known else None, identities=identities)
