"""Images whose pixels name instances, as run lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as mask_utils

from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_mask


def read_map(path: Path) -> np.ndarray:
    """Return the values of a label image as they are stored, ``(H, W)`` integers; palettes are not applied."""
    try:
        with Image.open(path) as image:
            values = np.array(image)
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise UnsegError(f"{path} is not a label image: {' '.join(str(error).split())}.") from None
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
        with Image.open(path) as image:
            return image.height, image.width
    except Exception:  # as above
        raise UnsegError(f"There is no image {path}, or it is damaged; its size is needed.") from None
