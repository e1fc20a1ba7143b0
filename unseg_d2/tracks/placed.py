"""A mask cut to its box, which can be moved and compared without pictures of full size.

Shape legend
    H, W   height and width of the image in pixels
    h, w   height and width of the box
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils


@dataclass(frozen=True)
class PlacedMask:
    """A mask that is not empty.

    Attributes:
        top: first row of its box, px; it may lie outside the image, as may the others.
        left: first column of its box, px.
        pixels: ``(h, w)`` bool.
    """

    top: int
    left: int
    pixels: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray) -> PlacedMask | None:
        """Return a mask ``(H, W)`` bool cut to its box; ``None`` where it is empty."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return None
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return cls(int(rows[0]), int(columns[0]), mask[box].copy())

    @classmethod
    def of_rle(cls, rle: dict[str, Any]) -> PlacedMask | None:
        """Return a compressed COCO RLE cut to its box; ``None`` where it is empty."""
        left, top, width, height = (int(side) for side in mask_utils.toBbox(rle))
        if not width or not height:
            return None
        box = mask_utils.decode(rle)[top : top + height, left : left + width]
        return cls(top, left, box.astype(bool))

    @cached_property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.pixels))

    @cached_property
    def centre(self) -> np.ndarray:
        """Mean row and column of its pixels, ``(2,)`` px."""
        rows, columns = np.nonzero(self.pixels)
        return np.array([self.top + rows.mean(), self.left + columns.mean()])

    @cached_property
    def diagonal(self) -> float:
        """Length of the diagonal of its box, px."""
        return float(np.hypot(*self.pixels.shape))

    def moved(self, shift: np.ndarray) -> PlacedMask:
        """Return it moved by whole pixels, those nearest to ``shift``: rows and columns ``(2,)``."""
        down, right = np.rint(shift).astype(int).tolist()
        return replace(self, top=self.top + down, left=self.left + right)

    def shared(self, other: PlacedMask) -> int:
        """Return the number of pixels that both have."""
        mine, theirs = _common(self, other)
        return int(np.count_nonzero(self.pixels[mine] & other.pixels[theirs]))

    def iou(self, other: PlacedMask) -> float:
        """Return the intersection over union, in [0, 1]."""
        shared = self.shared(other)
        return shared / (self.area + other.area - shared)

    def aligned_iou(self, other: PlacedMask) -> float:
        """Return the intersection over union with the other moved so that their centres lie on each other."""
        return self.iou(other.moved(self.centre - other.centre))

    def in_image(self, size: tuple[int, int]) -> np.ndarray:
        """Return what of it lies in an image of ``(H, W)`` px, as ``(H, W)`` bool."""
        mask = np.zeros(size, bool)
        image = PlacedMask(0, 0, mask)
        mine, theirs = _common(self, image)
        mask[theirs] = self.pixels[mine]
        return mask

    def sides_touched(self, size: tuple[int, int]) -> frozenset[str]:
        """Return the sides of an image of ``(H, W)`` px that its box touches."""
        (height, width), (h, w) = size, self.pixels.shape
        ends = {
            "top": self.top <= 0,
            "left": self.left <= 0,
            "bottom": self.top + h >= height,
            "right": self.left + w >= width,
        }
        return frozenset(side for side, touched in ends.items() if touched)


def _common(one: PlacedMask, other: PlacedMask) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the part that both boxes cover, as slices of each; empty ones where there is none."""
    parts = []
    for start, length, other_start, other_length in zip(
        (one.top, one.left), one.pixels.shape, (other.top, other.left), other.pixels.shape
    ):
        low = max(start, other_start)
        high = max(low, min(start + length, other_start + other_length))
        parts.append((slice(low - start, high - start), slice(low - other_start, high - other_start)))
    (rows, other_rows), (columns, other_columns) = parts
    return (rows, columns), (other_rows, other_columns)
