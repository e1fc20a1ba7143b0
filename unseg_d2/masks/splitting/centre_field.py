"""Masks of several objects, divided by object-centric fields: the reasoning of unMORE (Yang et al., ICML 2025).

Where two objects touch, the vectors of the centre field meet. A mask in which they do is cut there into boxes, each box
is fitted to the object in it, and the pixels of the mask go to the box whose centre their vectors point away from. How
pixels are shared out is our own: unMORE predicts the fields of each box anew and takes its mask from them.

Shape legend
    n      masks
    H, W   height and width in pixels
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from scipy import ndimage

from unseg_d2.masks.splitting.bgp import Fragment, check_masks, merged, parts_of_labels, shared_out
from unseg_d2.masks.splitting.box_fit import Box, BoxFit, box_of, cosines
from unseg_d2.masks.splitting.fields import ObjectFields, anti_centre
from unseg_d2.masks.splitting.settings import FieldSettings, SplitSettings

FEWEST = 2  # boxes that a mask is divided into, else it stays as it is


def split_by_fields(masks: np.ndarray, fields: ObjectFields, settings: SplitSettings | None = None) -> list[Fragment]:
    """Divide masks by object-centric fields, and merge the parts that are the same object.

    Args:
        masks: ``(n, H, W)`` bool.
        fields: of the image.
        settings: ``field``, ``min_area`` and ``merge_above`` count; ``None`` takes the defaults.

    Returns:
        The parts in the order of their first mask, then of size. Together they cover what the masks cover. A mask in
        which no vectors meet, or fewer than two boxes hold an object, stays as it is.

    Raises:
        ValueError: if masks and fields have other shapes or types.
    """
    settings = settings or SplitSettings()
    check_masks(masks, fields.boundary.shape, "fields")
    fit = BoxFit(fields, settings.field)
    found = [Fragment(part, (i,)) for i, mask in enumerate(masks) for part in parts_by_fields(mask, fit, settings)]
    return merged(found, settings.merge_above)


def parts_by_fields(mask: np.ndarray, fit: BoxFit, settings: SplitSettings) -> list[np.ndarray]:
    """Divide one mask ``(H, W)`` bool; return its parts, the largest first: disjoint, and together the mask."""
    whole = box_of(mask)
    if whole is None:
        return []
    candidates = [whole]
    for _ in range(settings.field.checks):
        looked_at = [boxes_of_objects(mask, fit.fields.centre, box, settings.field) for box in candidates]
        candidates = [part for parts in looked_at for part in parts]
    boxes = fit.best(candidates) if len(candidates) >= FEWEST else []
    if len(boxes) < FEWEST:
        return [mask]
    region = mask[whole.window]
    labels = seeds(region, whole.of(fit.fields.centre), whole, boxes, settings)
    if labels.max() < FEWEST:
        return [mask]
    labels = shared_out(labels, region, np.zeros(region.shape), 0.0)
    return parts_of_labels(labels, mask, whole.window)


def boxes_of_objects(mask: np.ndarray, centre: np.ndarray, box: Box, settings: FieldSettings) -> list[Box]:
    """Return the boxes in which objects are looked for, where a box seems to hold several, else the box itself.

    The mask in the box is brought to a size, and eroded, as vectors end at its outline. If it falls apart, they are the
    boxes of its parts, made larger; if vectors meet in it, those above, below, left and right of the place where they
    do so most.

    Args:
        mask: ``(H, W)`` bool, with a pixel in the box.
        centre: ``(2, H, W)`` float32.
        box: in the mask.
        settings: ``side``, ``erosion``, ``peak`` and ``grow``.
    """
    height, width = box.bottom - box.top, box.right - box.left
    scale = settings.side / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    inner = _eroded(_resized(mask[box.window].astype(np.uint8), size), settings.erosion)
    pieces, count = ndimage.label(inner)
    if count >= FEWEST:
        found = []
        for rows, columns in ndimage.find_objects(pieces):
            top, bottom = (edge * height // size[0] for edge in (rows.start, rows.stop))
            left, right = (edge * width // size[1] for edge in (columns.start, columns.stop))
            part = Box(box.top + top, box.top + max(bottom, top + 1), box.left + left, box.left + max(right, left + 1))
            found.append(part.grown(settings.grow, box))
        return found
    vectors = np.stack([_resized(plane, size) for plane in box.of(centre)])
    response = np.where(inner, anti_centre(vectors), -1)
    if response.max() <= settings.peak:
        return [box]
    row, column = np.unravel_index(int(response.argmax()), size)
    down, right = int((row + 0.5) * height / size[0]), int((column + 0.5) * width / size[1])
    cuts = (
        box._replace(bottom=box.top + down),
        box._replace(top=box.top + down),
        box._replace(right=box.left + right),
        box._replace(left=box.left + right),
    )
    return [cut for cut in cuts if mask[cut.window].any()]


def seeds(
    region: np.ndarray, vectors: np.ndarray, window: Box, boxes: Sequence[Box], settings: SplitSettings
) -> np.ndarray:
    """Return which pixels certainly belong to the object of which box.

    A pixel belongs to the box whose centre its vector points away from the most, among those that it lies in if there
    are any. Of each box the largest connected part counts, if it has ``min_area`` of the mask.

    Args:
        region: ``(h, w)`` bool, the mask in its box.
        vectors: ``(2, h, w)`` there.
        window: the box of the mask.
        boxes: of the objects.
        settings: ``min_area`` and ``field.min_length``.

    Returns:
        ``(h, w)`` int64, labels from 1 on without a gap, 0 where nothing is certain.
    """
    rows = np.arange(window.top, window.bottom)[:, None]
    columns = np.arange(window.left, window.right)
    likeness = []
    for box in boxes:
        outside = (rows < box.top) | (rows >= box.bottom) | (columns < box.left) | (columns >= box.right)
        likeness.append(cosines(box, vectors, window) - 4 * outside)  # more than two cosines can differ
    nearest = np.argmax(likeness, axis=0)
    certain = region & (np.hypot(*vectors) > settings.field.min_length)
    labels, count = np.zeros(region.shape, np.int64), 0
    least = max(1.0, settings.min_area * np.count_nonzero(region))
    for number in range(len(boxes)):
        pieces, _ = ndimage.label(certain & (nearest == number))
        areas = np.bincount(pieces.ravel())
        areas[0] = 0
        if areas.max() >= least:
            count += 1
            labels[pieces == areas.argmax()] = count
    return labels


def _resized(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale a plane to height and width by the nearest pixels: vectors of two objects have no mean."""
    return np.asarray(cv2.resize(plane, size[::-1], interpolation=cv2.INTER_NEAREST))


def _eroded(mask: np.ndarray, reach: int) -> np.ndarray:
    """Return the pixels of a mask ``(h, w)`` uint8 that have nothing else within a square; the border is outside."""
    square = np.ones((2 * reach + 1,) * 2, np.uint8)
    kept: np.ndarray = cv2.erode(mask, square, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    return kept
