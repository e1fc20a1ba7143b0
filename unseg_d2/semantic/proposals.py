"""Mask proposals of a set of images on disk, one label map per image, made once.

    <folder>/settings.json      what the proposals depend on
    <folder>/<image name>.png   8 bit: 1, 2 ... are proposals, 255 is none
    <folder>/made_from.jsonl    the content of the image that each was made from

A file that is there is complete; the rest is made by the same command, and those of images that have changed since.

Shape legend
    S      side of the square that is cut out of an image
    n      proposals
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from unseg_d2.content import Ledger
from unseg_d2.data.at_work import at_work
from unseg_d2.data.pictures.reading import ImageProblem
from unseg_d2.data.pictures.stored import read_stored
from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write
from unseg_d2.losses.class_focal import IGNORE
from unseg_d2.manifest import PROPOSALS, open_or_refuse
from unseg_d2.progress import progress_bar
from unseg_d2.semantic.em import MAX_PROPOSALS

Propose = Callable[[np.ndarray], np.ndarray]
"""``(S, S, 3)`` uint8 RGB -> ``(n, S, S)`` bool, best first."""
logger = logging.getLogger(__name__)


def cache_proposals(
    folder: Path,
    names: Sequence[str],
    read: Callable[[int], np.ndarray],
    propose: Propose,
    settings: dict[str, Any],
    files: Sequence[Path] | None = None,
) -> int:
    """Make the label maps that are not there yet, or whose image has changed since.

    Args:
        folder: where they go.
        names: of the images.
        read: image of an index, ``(S, S, 3)`` uint8.
        propose: its masks.
        settings: what the masks depend on; plain values.
        files: of the images; without them, changes of an image are not noticed.

    Returns:
        How many were made.

    Raises:
        UnsegError: the folder holds proposals that were made with other settings.
    """
    open_or_refuse(
        folder / "settings.json",
        settings,
        holds=f"{folder} holds proposals that were made",
        may_change=PROPOSALS,
        remedy="choose another SEMANTIC.PROPOSALS or OUTPUT_DIR",
    )
    ledger = Ledger(folder)
    sources: Sequence[Path | None] = files or [None] * len(names)
    maps = [proposal_file(folder, name) for name in names]
    todo = [index for index, path in enumerate(maps) if not ledger.is_current(path, sources[index])]
    changed = sum(maps[index].is_file() for index in todo)
    if todo and len(todo) < len(names):
        logger.info("%d of %d images have proposals in %s already.", len(names) - len(todo), len(names), folder)
    if changed:
        logger.info("%d images have changed since their proposals were made, which are made again.", changed)
    for index in progress_bar(todo, desc="mask proposals", unit="image", leave=False):
        with at_work(names[index], needed=True), ledger.making(maps[index], sources[index]):
            image = read(index)
            labels = label_map(propose(image), image.shape[:2])
            with atomic_write(maps[index]) as file:
                file.write(cv2.imencode(".png", labels)[1].tobytes())
    return len(todo)


def read_proposals(folder: Path, name: str, size: tuple[int, int]) -> np.ndarray:
    """Return the label map of an image, ``(S, S)`` uint8.

    Raises:
        UnsegError: it is missing, damaged or of another size.
    """
    path = proposal_file(folder, name)
    if not path.is_file():
        raise UnsegError(f"There are no proposals {path}; the same command makes them.")
    try:
        labels: np.ndarray | None = read_stored(path)
    except ImageProblem:
        labels = None
    if labels is None or labels.dtype != np.uint8 or labels.ndim != 2:
        raise UnsegError(f"{path} is damaged or no 8-bit label map; delete it, the same command makes it again.")
    if labels.shape != tuple(size):
        raise UnsegError(
            f"The proposals {path} have {labels.shape[1]}x{labels.shape[0]} pixels, but the image is cut to "
            f"{size[1]}x{size[0]}; choose another SEMANTIC.PROPOSALS."
        )
    return labels


def proposal_file(folder: Path, name: str) -> Path:
    """Return where the label map of an image is."""
    return folder / f"{name}.png"


def label_map(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Turn masks ``(n, S, S)`` bool, best first, into a label map; a pixel of several goes to the best.

    Raises:
        ValueError: the masks have another size.
    """
    if masks.shape[1:] != tuple(size):
        raise ValueError(f"the masks {masks.shape[1:]} do not have the size of the image {tuple(size)}")
    labels = np.full(size, IGNORE, dtype=np.uint8)
    for index, mask in enumerate(masks[:MAX_PROPOSALS], start=1):
        labels[mask & (labels == IGNORE)] = index
    return labels
