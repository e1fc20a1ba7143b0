"""The size of images: as the file states it, as its masks say, or as the picture has it.

Shape legend
    n   images
    m   annotations
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unseg_d2.data.annotations.columns import MASK, RUNS, SIZED, UNKNOWN, AnnotationColumns, ImageColumns
from unseg_d2.data.annotations.counts import Counts

Measure = Callable[[str], tuple[int, int] | None]
"""File name of an image to its height and width in px, ``None`` where the picture is not there."""


def settle(images: ImageColumns, annotations: AnnotationColumns, owners: np.ndarray, counts: Counts) -> None:
    """Exchange height and width where the run lengths say so, and fill in those that they know, in place.

    Published files of MaskCut have the sides of all images exchanged, those without masks too: where every object
    has run lengths and none contradicts, all images are turned; elsewhere only those whose run lengths say so.

    Args:
        images: with the sizes that the file states.
        annotations: of the images.
        owners: ``(m,)`` place of the image of each annotation.
        counts: of sizes that were put right.
    """
    heights, widths = images.heights, images.widths
    is_sized = annotations.flags & SIZED != 0
    other = bool((annotations.flags[~is_sized] & (MASK | RUNS)).any())
    rows = np.flatnonzero(is_sized)
    unknown = rows[heights[owners[rows]] == UNKNOWN]
    if len(unknown):
        first = unknown[np.unique(owners[unknown], return_index=True)[1]]
        heights[owners[first]], widths[owners[first]] = annotations.heights[first], annotations.widths[first]
        rows = np.setdiff1d(rows, first, assume_unique=True)
    of, stated_h, stated_w = owners[rows], annotations.heights[rows], annotations.widths[rows]
    is_right = (stated_h == heights[of]) & (stated_w == widths[of])
    is_turned = ~is_right & (stated_h == widths[of]) & (stated_w == heights[of])
    right, turned = np.zeros(len(images), bool), np.zeros(len(images), bool)
    right[of[is_right]], turned[of[is_turned]] = True, True
    turned &= ~right
    everywhere = turned.any() and not right.any() and not other
    if everywhere:
        turned[:] = True
    heights[turned], widths[turned] = widths[turned], heights[turned]
    counts.add("images have width and height exchanged; the size of their masks counts", int(turned.sum()))


def fill(
    images: ImageColumns, owners: np.ndarray, name: Callable[[int], str], measure: Measure, counts: Counts
) -> None:
    """Measure the pictures of images that have annotations and no size, in place.

    Args:
        images: with the sizes that are known.
        owners: ``(m,)`` place of the image of each annotation.
        name: file name of the image at a place.
        measure: reads the size of a picture.
        counts: of sizes that were put right.
    """
    for place in np.unique(owners[images.heights[owners] == UNKNOWN]).tolist():
        if size := measure(name(place)):
            images.heights[place], images.widths[place] = size
            counts.add("images state no size; that of the picture counts")
