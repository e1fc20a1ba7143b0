"""Masks as polygons, such that the readers of other tools draw the same pixels again.

An outline runs a quarter of a pixel inside the edge of its mask. Both ways in which tools draw polygons then give the
mask back exactly: pycocotools, which takes pixels as areas, and OpenCV's ``fillPoly`` after coordinates were cut to
whole pixels, which takes them as points. Holes are joined to their outline by a cut of no width.
"""

from __future__ import annotations

import cv2
import numpy as np

ZOOM = 2
"""Steps per pixel at which outlines are found."""


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Return the outline of each connected part of a mask.

    Args:
        mask: ``(H, W)`` bool.

    Returns:
        ``(K, 2)`` float64 x, y in pixels each, K at least 3; the parts touch at no side and no corner.

    >>> outlines(np.ones((2, 3), bool))[0].tolist()
    [[0.25, 0.25], [0.25, 1.75], [2.75, 1.75], [2.75, 0.25]]
    """
    binary = mask.astype(np.uint8)
    left, top, columns, rows = cv2.boundingRect(binary)  # most masks are small beside their image
    part = binary[top : top + rows, left : left + columns].repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    if not part.size:
        return []
    contours, tree = cv2.findContours(part, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [(contour[:, 0] + 0.5) / ZOOM + (left, top) for contour in contours]
    parts = {index: ring for index, ring in enumerate(rings) if tree[0, index, 3] < 0}
    for index, ring in enumerate(rings):
        if (outer := int(tree[0, index, 3])) >= 0:
            parts[outer] = joined(parts[outer], ring)
    return list(parts.values())


def joined(ring: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return one ring that runs round both, along a cut between their nearest corners and back.

    Args:
        ring: ``(K, 2)`` corners.
        other: ``(L, 2)`` corners, of a hole or of another part.

    Returns:
        ``(K + L + 2, 2)``.
    """
    best = (np.inf, 0, 0)
    for place, corner in enumerate(other):
        distance = ((ring - corner) ** 2).sum(axis=1)
        nearest = int(distance.argmin())
        best = min(best, (float(distance[nearest]), nearest, place))
    _, at, start = best
    around = np.concatenate([other[start:], other[: start + 1]])
    return np.concatenate([ring[: at + 1], around, ring[at:]])


def one_outline(mask: np.ndarray) -> np.ndarray | None:
    """Return a mask as a single polygon, for formats that hold one per object; parts are joined by cuts of no width.

    Args:
        mask: ``(H, W)`` bool.

    Returns:
        ``(K, 2)`` float64 x, y in pixels; ``None`` for an empty mask.
    """
    parts = sorted(outlines(mask), key=len, reverse=True)
    if not parts:
        return None
    ring = parts[0]
    for part in parts[1:]:
        ring = joined(ring, part)
    return ring
