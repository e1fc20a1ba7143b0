"""Polygons in any of the forms that tools write, as the flat lists that COCO has."""

from __future__ import annotations

from typing import Any

from unseg_d2.data.annotations.structs import Point, Polygons

LEAST = 6  # numbers: three corners


def flat_polygons(polygons: Polygons) -> tuple[list[list[float]], int]:
    """Return polygons as flat lists, and how many were left out: with less than three corners, or half a corner.

    Args:
        polygons: one polygon, flat (``[x, y, x, y, x, y]``), of pairs (``[[x, y], ...]``) or of points
            (``[{"x": x, "y": y}, ...]``), or a list of such polygons, or of lists of flat ones.

    >>> flat_polygons([0.0, 0.0, 4.0, 0.0, 4.0, 4.0])
    ([[0.0, 0.0, 4.0, 0.0, 4.0, 4.0]], 0)
    >>> flat_polygons([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0]])
    ([[0.0, 0.0, 4.0, 0.0, 4.0, 4.0]], 0)
    >>> flat_polygons([[[0.0, 0.0], [4.0, 0.0], [4.0, 4.0]], [1.0, 1.0, 2.0, 2.0]])
    ([[0.0, 0.0, 4.0, 0.0, 4.0, 4.0]], 1)
    >>> flat_polygons([[[0.0, 0.0, 4.0, 0.0, 4.0, 4.0]], [1.0, 1.0, 2.0, 2.0, 3.0]])
    ([[0.0, 0.0, 4.0, 0.0, 4.0, 4.0]], 1)
    """
    candidates = [polygons] if _is_one(polygons) else [part for polygon in polygons for part in _parts(polygon)]
    flat = [_flat(polygon) for polygon in candidates]
    kept = [polygon for polygon in flat if len(polygon) >= LEAST and len(polygon) % 2 == 0]
    return kept, len(flat) - len(kept)


def _is_one(polygons: Polygons) -> bool:
    """Whether a list is one polygon and not a list of polygons."""
    if not polygons or not isinstance(polygons[0], list):
        return bool(polygons)
    if len(polygons[0]) != 2:  # as nearly always
        return False
    return all(
        isinstance(item, list) and len(item) == 2 and not isinstance(item[0], (list, Point)) for item in polygons
    )


def _parts(polygon: Any) -> list[Any]:
    """Return the flat polygons in a list of them, and anything else as it is."""
    if not isinstance(polygon, list) or not polygon or not isinstance(polygon[0], list):
        return [polygon]
    return polygon if all(isinstance(part, list) and len(part) >= LEAST for part in polygon) else [polygon]


def _flat(polygon: Any) -> list[float]:
    if not isinstance(polygon, list):
        return []
    kinds = set(map(type, polygon))
    if kinds == {float}:
        return polygon
    if kinds == {Point}:
        return [value for corner in polygon for value in (corner.x, corner.y)]
    if kinds == {list} and all(len(corner) == 2 for corner in polygon):
        return [value for corner in polygon for value in corner]
    return []
