"""Refinement of each mask on its neighbourhood in the original image, as VoteCut does it.

Shape legend
    H, W   height and width of the image in pixels
    n      masks
"""

from __future__ import annotations

from functools import partial

import numpy as np

from unseg_d2.refine import Refiner
from unseg_d2.refine.threads import map_in_threads


def refine_crops(
    image: np.ndarray, masks: np.ndarray, refiner: Refiner, *, min_box_iou: float, margin: float = 1 / 3
) -> tuple[np.ndarray, np.ndarray]:
    """Refine each mask on a crop around it; a mask whose box changes too much stays as it was.

    No mask is lost: unlike a mask that fails on the whole image, one that fails here is kept unrefined (Arica et al.,
    CuVLER, CVPR 2024, published code).

    Args:
        image: ``(H, W, 3)`` uint8 RGB, at its original size.
        masks: ``(n, H, W)`` bool.
        refiner: called with each crop and its masks, mostly one, which it must treat independently of each other, from
            several threads where PyTorch takes several; whatever it raises is raised here. Masks with the same crop,
            often the whole image, go together, so that a CRF builds one lattice for them.
        min_box_iou: IoU of the boxes before and after, in [0, 1], below which the mask stays as it was.
        margin: share of a mask's width and height that is added to its box on each side, at least 0.

    Returns:
        Masks ``(n, H, W)`` bool, and ``(n,)`` bool that says which of them were refined; empty masks are not.

    Raises:
        ValueError: if masks and image differ in size.
    """
    if masks.ndim != 3 or masks.shape[1:] != image.shape[:2]:
        raise ValueError(f"expected (n, {image.shape[0]}, {image.shape[1]}) masks, got {masks.shape}")
    results, refined = masks.copy(), np.zeros(len(masks), dtype=bool)
    boxes = {index: mask_box(mask) for index, mask in enumerate(masks) if mask.any()}
    windows: dict[tuple[int, int, int, int], list[int]] = {}
    for index, box in boxes.items():
        windows.setdefault(expand(box, margin, image.shape), []).append(index)
    # Crops are too small for a refiner to use several threads well, so that each has a thread of its own.
    refine = partial(_refine_window, image, masks, refiner)
    crops = map_in_threads(refine, windows.items())
    for (top, left, bottom, right), group, found in zip(windows, windows.values(), crops):
        for index, crop in zip(group, found):
            if crop.any() and box_iou(boxes[index], _moved(mask_box(crop), top, left)) >= min_box_iou:
                results[index, top:bottom, left:right] = crop  # the mask lies in its window, outside is nothing
                refined[index] = True
    return results, refined


def _refine_window(
    image: np.ndarray, masks: np.ndarray, refiner: Refiner, item: tuple[tuple[int, int, int, int], list[int]]
) -> np.ndarray:
    (top, left, bottom, right), group = item
    return refiner(image[top:bottom, left:right], masks[group][:, top:bottom, left:right])


def _moved(box: tuple[int, int, int, int], top: int, left: int) -> tuple[int, int, int, int]:
    return box[0] + top, box[1] + left, box[2] + top, box[3] + left


def mask_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right (exclusive) of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def expand(box: tuple[int, int, int, int], margin: float, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return a box with a share of its sides added on each side, rounded down, clipped to an image of a shape."""
    top, left, bottom, right = box
    dy, dx = (int(length * margin + 1e-9) for length in (bottom - top, right - left))  # a third of 3 is 1, not .9999
    return max(0, top - dy), max(0, left - dx), min(shape[0], bottom + dy), min(shape[1], right + dx)


def box_iou(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> float:
    """Return the IoU of two boxes ``(top, left, bottom, right)`` that are not empty."""
    height = min(first[2], second[2]) - max(first[0], second[0])
    width = min(first[3], second[3]) - max(first[1], second[1])
    overlap = max(0, height) * max(0, width)
    areas = [(bottom - top) * (right - left) for top, left, bottom, right in (first, second)]
    return overlap / (sum(areas) - overlap)
