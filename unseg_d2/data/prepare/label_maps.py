"""Images whose pixels name instances, as run lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.data.pictures.reading import ImageProblem
from unseg_d2.data.pictures.stored import read_stored, stored_size
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_mask


def read_map(path: Path) -> np.ndarray:
    """Return the values of a label image as they are stored, ``(H, W)`` integers; palettes are not applied."""
    try:
        values = read_stored(path)
    except ImageProblem as error:
        raise UnsegError(f"{path} is not a label image: {error}.") from None
    if values.ndim != 2 or values.dtype.kind not in "uib":
        raise UnsegError(f"{path} is {values.shape} {values.dtype}, but a label image has one channel of integers.")
    return values


def mask_annotation(mask: np.ndarray, *, iscrowd: int = 0) -> dict[str, Any]:
    """Return the COCO annotation of a mask ``(H, W)`` bool: run lengths, box (XYWH, px) and area."""
    rle = encode_mask(mask)
    bbox = [float(value) for value in mask_utils.toBbox(rle)]
    return {"segmentation": rle, "bbox": bbox, "area": float(mask.sum()), "iscrowd": iscrowd}


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width of an image, from its header.

    Raises:
        UnsegError: it does not exist, or is not an image.
    """
    try:
        return stored_size(path)
    except ImageProblem as problem:
        raise UnsegError(f"The image {path} cannot be used ({problem}); its size is needed.") from None
