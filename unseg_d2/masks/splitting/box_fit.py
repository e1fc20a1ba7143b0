"""Boxes moved to the outline of an object by a signed distance field (unMORE, Yang et al., ICML 2025).

unMORE predicts the fields of each box anew. Here the fields of the image stay what they are, and a pixel counts for the
object in a box where its vector points away from the centre of the box, else for a neighbour.

Shape legend
    H, W   height and width in pixels
    h, w   height and width of a box
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from unseg_d2.masks.splitting.fields import ObjectFields
from unseg_d2.masks.splitting.settings import FieldSettings

LEAST_SLACK = 2.0  # px; a side that grows from the last pixel of an object ends up so far outside
ROUNDING = 1e-3  # px; moves are rounded up, but not for what float32 leaves


class Box(NamedTuple):
    """Rows from ``top`` to before ``bottom``, columns from ``left`` to before ``right``."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def window(self) -> tuple[slice, slice]:
        """What it covers, as slices of an image."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def centre(self) -> tuple[float, float]:
        """Its middle, in coordinates of pixels."""
        return (self.top + self.bottom - 1) / 2, (self.left + self.right - 1) / 2

    @property
    def area(self) -> int:
        """Number of pixels."""
        return max(0, self.bottom - self.top) * max(0, self.right - self.left)

    def of(self, planes: np.ndarray) -> np.ndarray:
        """Return what lies in it of planes ``(n, H, W)``."""
        rows, columns = self.window
        return planes[:, rows, columns]

    def grown(self, factor: float, within: Box) -> Box:
        """Return it with its sides longer by a factor, as far as another box reaches."""
        rows = round((factor - 1) * (self.bottom - self.top) / 2)
        columns = round((factor - 1) * (self.right - self.left) / 2)
        return Box(self.top - rows, self.bottom + rows, self.left - columns, self.right + columns).clipped(within)

    def clipped(self, within: Box) -> Box:
        """Return what of it lies in another box."""
        return Box(
            max(self.top, within.top),
            min(self.bottom, within.bottom),
            max(self.left, within.left),
            min(self.right, within.right),
        )

    def shifted(self, down: int, right: int) -> Box:
        """Return it moved by so many rows and columns."""
        return Box(self.top + down, self.bottom + down, self.left + right, self.right + right)

    def iou(self, other: Box) -> float:
        """Return the intersection over union with another box; one of them is not empty."""
        shared = self.clipped(other).area
        return shared / (self.area + other.area - shared)


def box_of(mask: np.ndarray) -> Box | None:
    """Return the box of a mask ``(H, W)`` bool; ``None`` where it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def cosines(box: Box, vectors: np.ndarray, window: Box) -> np.ndarray:
    """Return how much vectors point away from the centre of a box.

    Args:
        box: whose centre counts.
        vectors: ``(2, h, w)`` of the pixels of a window.
        window: where they lie.

    Returns:
        ``(h, w)``: the cosine times the length of the vector; the length alone at the centre itself.
    """
    rows = np.arange(window.top, window.bottom)[:, None] - box.centre[0]
    columns = np.arange(window.left, window.right) - box.centre[1]
    lengths = np.hypot(rows, columns)
    along = vectors[0] * rows + vectors[1] * columns
    found: np.ndarray = np.where(lengths > 0, along / np.where(lengths > 0, lengths, 1), np.hypot(*vectors))
    return found


class BoxFit:
    """Fits boxes in one image.

    Args:
        fields: of the image.
        settings: ``rounds``, ``overshoot``, ``slack``, ``min_depth``, ``min_pixels``, ``min_cosine``, ``min_agreement``
            and ``nms``.
    """

    def __init__(self, fields: ObjectFields, settings: FieldSettings) -> None:
        self.fields, self.settings = fields, settings
        height, width = fields.boundary.shape
        self.whole = Box(0, height, 0, width)
        self.slopes = _slopes(fields.boundary)
        self.lengths = np.hypot(*fields.centre)

    def fit(self, box: Box) -> Box | None:
        """Move the sides of a box to the outline of the object in it.

        A side that lies in the object moves outwards by the largest distance to the outline along it, and by
        ``overshoot`` of it more; a field value becomes a distance in pixels by the slope of the field. A side that lies
        farther outside than ``slack`` moves to the last pixel of the object: the field says how far the nearest object
        is, whichever it is. At the end all sides do.

        Returns:
            The box; ``None`` where there is no object: the field stays low, the box is too small, or too much in it
            belongs to others.
        """
        found: Box | None = None
        for _ in range(self.settings.rounds):
            seen = self.seen(box)
            found = box_of(seen)
            if found is None or self.fields.boundary[box.window][seen].max() <= self.settings.min_depth:
                return None
            moved = self._moved(box, found, seen)
            found = found.shifted(box.top, box.left)
            if moved == box:
                break
            box = moved
        if found is None or found.area < self.settings.min_pixels:
            return None
        return found if self.agreement(found) >= self.settings.min_agreement else None

    def seen(self, box: Box) -> np.ndarray:
        """Return the pixels of the object in a box, ``(h, w)`` bool.

        They lie inside an outline, and their vectors point away from the centre of the box; of these, the largest
        connected part.
        """
        away = cosines(box, box.of(self.fields.centre), box)
        inside = self.fields.boundary[box.window] > 0
        pieces, _ = ndimage.label(inside & (away >= self.settings.min_cosine * self.lengths[box.window]))
        areas = np.bincount(pieces.ravel(), minlength=1)
        areas[0] = 0
        return np.asarray((pieces == areas.argmax()) & (pieces > 0))

    def agreement(self, box: Box) -> float:
        """Return which share of the pixels in a box that lie inside an outline are the object's, in [0, 1]."""
        inside = np.count_nonzero(self.fields.boundary[box.window] > 0)
        return np.count_nonzero(self.seen(box)) / inside if inside else 0.0

    def score(self, box: Box) -> float:
        """Return agreement times largest depth times the fourth root of the area (unMORE, without its existence)."""
        depths = self.fields.boundary[box.window][self.seen(box)]
        return self.agreement(box) * float(depths.max(initial=0)) * float(box.area) ** 0.25

    def best(self, boxes: Sequence[Box]) -> list[Box]:
        """Fit boxes, and drop those that overlap a better one; the best first."""
        found = [self.fit(box) for box in boxes]
        fitted = dict.fromkeys(box for box in found if box is not None)
        kept: list[Box] = []
        for box in sorted(fitted, key=lambda box: -self.score(box)):
            if all(box.iou(other) <= self.settings.nms for other in kept):
                kept.append(box)
        return kept

    def _moved(self, box: Box, found: Box, seen: np.ndarray) -> Box:
        """Return a box after one round; the same one where its sides may stay.

        Args:
            box: of the image.
            found: the box of the object, in coordinates of ``box``.
            seen: ``(h, w)`` bool, the object.
        """
        height, width = seen.shape
        distances = self.fields.boundary[box.window] * _pixels_per_unit(self.slopes[box.window][seen])
        distances = np.where(seen, distances, 0)
        sides = distances[0], distances[-1], distances[:, 0], distances[:, -1]
        gaps = found.top, height - found.bottom, found.left, width - found.right
        top, bottom, left, right = (
            self._step(float(side.max()), gap, length)
            for side, gap, length in zip(sides, gaps, (height, height, width, width))
        )
        return Box(box.top - top, box.bottom + bottom, box.left - left, box.right + right).clipped(self.whole)

    def _step(self, distance: float, gap: int, length: int) -> int:
        """Return by how many pixels a side moves outwards.

        Args:
            distance: largest distance to the outline along the side in pixels, 0 outside of the object.
            gap: pixels between the side and the object.
            length: of the box across the side.
        """
        if distance > 0:
            return max(1, math.ceil((1 + self.settings.overshoot) * distance - ROUNDING))
        return -gap if gap > max(LEAST_SLACK, self.settings.slack * length) else 0


def _pixels_per_unit(slopes: np.ndarray) -> float:
    """Return the distance in pixels that a field value of 1 stands for, 0 where no slope tells.

    It is the inverse of the slope. On ridges, half way between outlines, the field is flatter, and at outlines, where
    it changes its scale, steeper: a quarter of the slopes may be larger.
    """
    known = slopes[slopes > 0]
    return float(1 / np.percentile(known, 75)) if known.size else 0.0


def _slopes(field: np.ndarray) -> np.ndarray:
    """Return the length of the gradient of a field ``(H, W)`` at each pixel."""
    if min(field.shape) < 2:
        return np.zeros_like(field)
    down, right = np.gradient(field)
    return np.asarray(np.hypot(down, right))
