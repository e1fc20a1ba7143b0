"""Object-centric fields: where the centre of each pixel's object is, and how far its outline (Yang et al., ICML 2025).

The networks of unMORE predict them; here they come from files, or are computed from masks that are known.

Shape legend
    n      masks
    H, W   height and width in pixels
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

REACH = 2  # of the 5 x 5 kernel (unMORE)
LONGEST = 1.01  # of a component of a unit vector, with what 16 bits may add


@dataclass(frozen=True)
class ObjectFields:
    """The fields of one image.

    Attributes:
        centre: ``(2, H, W)`` float32, finite: rows and columns of vectors that point away from the centre of the box of
            a pixel's object, of length 1 in an object and 0 outside.
        boundary: ``(H, W)`` float32 in [-1, 1], distance to the outline of the object, divided by the largest one in
            it; negative outside of all objects, there divided by the largest one in the image.

    Raises:
        ValueError: the shapes do not fit together, or a value is out of range or not finite.
    """

    centre: np.ndarray
    boundary: np.ndarray

    def __post_init__(self) -> None:
        if self.boundary.ndim != 2 or self.centre.shape != (2, *self.boundary.shape):
            raise ValueError(
                f"expected a centre field (2, H, W) and a boundary field (H, W), got {self.centre.shape} and "
                f"{self.boundary.shape}"
            )
        if not np.isfinite(self.centre).all():
            raise ValueError("the centre field has values that are not finite")
        if self.centre.size and np.abs(self.centre).max() > LONGEST:
            raise ValueError("the centre field has values outside of [-1, 1]; divide each vector by its length")
        if self.boundary.size and not (self.boundary.min() >= -1 and self.boundary.max() <= 1):  # NaN fails both
            raise ValueError("the boundary field has values outside of [-1, 1]")


def fields_of_masks(masks: np.ndarray) -> ObjectFields:
    """Return the fields that unMORE trains its networks with.

    The border of the image counts as an outline.

    Args:
        masks: ``(n, H, W)`` bool, an object each; where two overlap, the later one lies in front.
    """
    size = masks.shape[1:]
    owner = np.zeros(size, np.int64)
    for number, mask in enumerate(masks, start=1):
        owner[mask] = number
    centre, inside = np.zeros((2, *size), np.float32), np.zeros(size, np.float32)
    for number, window in enumerate(ndimage.find_objects(owner), start=1):
        if window is None:
            continue
        seen = owner[window] == number
        rows, columns = np.nonzero(seen)
        away = np.stack([rows, columns]) - (np.array(seen.shape)[:, None] - 1) / 2
        lengths = np.linalg.norm(away, axis=0)
        vectors = np.zeros((2, *seen.shape), np.float32)
        vectors[:, rows, columns] = away / np.where(lengths > 0, lengths, 1)
        depths = ndimage.distance_transform_edt(np.pad(seen, 1))[1:-1, 1:-1]
        np.copyto(centre[:, window[0], window[1]], vectors, where=seen)
        np.copyto(inside[window], (depths / depths.max()).astype(np.float32), where=seen)
    if not owner.any():
        return ObjectFields(centre, np.full(size, -1, np.float32))
    if owner.all():
        return ObjectFields(centre, inside)
    outside = ndimage.distance_transform_edt(owner == 0)
    return ObjectFields(centre, np.where(owner > 0, inside, -outside / outside.max()).astype(np.float32))


def anti_centre(centre: np.ndarray) -> np.ndarray:
    """Return how much the vectors around each pixel point to it.

    Vectors point away from the centre of their object, and so towards each other on both sides of a border between two:
    within one object the values are negative, at such a border positive. The publication states a 5 x 5 convolution and
    a division by 24; that its weights are the directions is our reading.

    Args:
        centre: ``(2, H, W)`` float32, see :class:`ObjectFields`.

    Returns:
        ``(H, W)`` float32 in [-1, 1]: the mean over the 24 neighbours of the cosine between their vector and the
        direction from there to the pixel; vectors beyond the border are 0.
    """
    along = np.arange(-REACH, REACH + 1, dtype=np.float32)
    down, right = np.meshgrid(along, along, indexing="ij")
    lengths = np.hypot(down, right)
    lengths[REACH, REACH] = 1
    weights = lengths * (lengths.size - 1)
    response = np.zeros(centre.shape[1:], np.float32)
    for plane, offset in zip(np.asarray(centre, np.float32), (down, right)):
        response += cv2.filter2D(plane, cv2.CV_32F, -offset / weights, borderType=cv2.BORDER_CONSTANT)
    return response
