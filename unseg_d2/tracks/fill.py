"""Masks for the frames of a gap in a track, between the mask before it and the one after it.

Source of the shapes: Raya and Udupa, Shape-based interpolation of multidimensional objects, 1990: the signed distances
to the outlines are interpolated. Both masks are moved to a common centre before.

Shape legend
    H, W   height and width of the image in pixels
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from unseg_d2.tracks.placed import PlacedMask
from unseg_d2.tracks.settings import TrackSettings


def between(before: PlacedMask, after: PlacedMask, share: float) -> PlacedMask | None:
    """Return a mask between two.

    Args:
        before: the one.
        after: the other.
        share: how much of the way from the one to the other, in [0, 1]; at the ends it is the one or the other.

    Returns:
        ``None`` where nothing is left in between, as of shapes that have nothing in common.
    """
    shift = np.rint(before.centre - after.centre)
    moved = after.moved(shift)
    top, left = (min(getattr(before, side), getattr(moved, side)) - 1 for side in ("top", "left"))
    high, low = (
        max(mask.top + mask.pixels.shape[0] for mask in (before, moved)) + 1,
        max(mask.left + mask.pixels.shape[1] for mask in (before, moved)) + 1,
    )
    size = (high - top, low - left)
    distances = [_signed_distance(mask.moved(np.array([-top, -left])).in_image(size)) for mask in (before, moved)]
    mask = PlacedMask.of((1 - share) * distances[0] + share * distances[1] > 0)
    if mask is None:
        return None
    return mask.moved(np.array([top, left]) - share * shift)


def fill_gap(
    before: PlacedMask,
    after: PlacedMask,
    others: Mapping[float, np.ndarray],
    size: tuple[int, int],
    settings: TrackSettings,
) -> dict[float, np.ndarray]:
    """Return the masks of an object for the frames in which it was not found.

    An object that left the picture and came back was not to be found in between: where the masks around a gap touch the
    same side of the picture, nothing is filled. Where other masks lie, the object is taken for hidden.

    Args:
        before: its mask before the gap.
        after: its mask after the gap.
        others: what other masks cover, ``(H, W)`` bool, for each frame by its place in the gap, in (0, 1).
        size: ``(H, W)``.
        settings: ``min_visible`` is the share of a mask that must be left.

    Returns:
        Masks ``(H, W)`` bool by the place in the gap; none where it is taken for hidden or gone.
    """
    if before.sides_touched(size) & after.sides_touched(size):
        return {}
    masks = {}
    for share, covered in others.items():
        found = between(before, after, share)
        if found is None:
            continue
        seen = found.in_image(size) & ~covered
        if seen.sum() >= max(1, settings.min_visible * found.area):
            masks[share] = seen
    return masks


def _signed_distance(mask: np.ndarray) -> np.ndarray:
    """Return the distance of each pixel to the outline of a mask, positive inside; no border pixel is in the mask."""
    inside: np.ndarray = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    return inside
