"""Masks of boxes as run lengths of the image, in NumPy alone.

Shape legend
    n      detections of one image
    M      side of a predicted mask
    H, W   height and width of the image
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unseg_d2.rle import encode_in_box


def paste_masks(
    masks: np.ndarray, boxes: np.ndarray, height: int, width: int, threshold: float = 0.5
) -> list[dict[str, Any]]:
    """Sample each mask at the pixel centres of its box, bilinearly, and encode it; the image is never filled.

    Args:
        masks: ``(n, M, M)`` probabilities within the box.
        boxes: ``(n, 4)`` xyxy in pixels of the image, within it.
        height, width: size of the image.
        threshold: lowest probability of a pixel that belongs to the object.

    Returns:
        n compressed run-length encodings, as `Prediction` holds them.
    """
    rles = []
    for mask, box in zip(masks, boxes.astype(np.float64)):
        left, top = (max(int(side), 0) for side in np.floor(box[:2] - 1))
        right, bottom = (min(int(side), end) for side, end in zip(np.ceil(box[2:] + 1), (width, height)))
        x, y = np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5
        columns = (x - box[0]) / (box[2] - box[0]) * mask.shape[1] - 0.5
        rows = (y - box[1]) / (box[3] - box[1]) * mask.shape[0] - 0.5
        inside = _between(_between(np.pad(mask, 1), rows).T, columns).T >= threshold
        rles.append(encode_in_box(inside, top, left, height, width))
    return rles


def _between(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Interpolate between rows: place -1 is the first row of ``values``; beyond the ends the nearest row counts."""
    places = (places + 1).clip(0, len(values) - 1)
    below = np.floor(places).astype(int).clip(max=len(values) - 2)
    share = (places - below)[:, None]
    mixed: np.ndarray = values[below] * (1 - share) + values[below + 1] * share
    return mixed
