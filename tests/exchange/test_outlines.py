"""Polygons are drawn again by pycocotools and by OpenCV, as the readers of other tools do."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pycocotools import mask as mask_utils

from unseg_d2.exchange.outlines import one_outline, outlines


def masks() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    ring = np.zeros((30, 40), bool)
    ring[3:25, 5:30] = True
    ring[8:15, 10:20] = ring[18:20, 12:14] = False
    smooth = cv2.GaussianBlur(rng.random((50, 70)).astype(np.float32), (0, 0), 4)
    dot = np.zeros((5, 6), bool)
    dot[4, 5] = True
    return {
        "a ring with two holes": ring,
        "all of the image": np.ones((7, 9), bool),
        "a corner": dot,
        "blobs": smooth > np.quantile(smooth, 0.6),
        "noise": rng.random((30, 40)) < 0.5,
    }


@pytest.mark.parametrize("name", masks())
def test_pycocotools_draws_the_mask_again(name: str) -> None:
    mask = masks()[name]
    polygons = [ring.round(2).ravel().tolist() for ring in outlines(mask)]
    drawn = mask_utils.decode(mask_utils.merge(mask_utils.frPyObjects(polygons, *mask.shape)))
    np.testing.assert_array_equal(drawn.astype(bool), mask)


@pytest.mark.parametrize("name", ["a ring with two holes", "all of the image", "a corner"])
def test_opencv_draws_a_mask_of_one_part_again(name: str) -> None:
    mask = masks()[name]
    drawn = np.zeros(mask.shape, np.uint8)
    cv2.fillPoly(drawn, [one_outline(mask).astype(np.int32)], 1)
    np.testing.assert_array_equal(drawn.astype(bool), mask)


def test_parts_are_joined_by_a_line_of_one_pixel_at_most() -> None:
    mask = np.zeros((20, 40), bool)
    mask[5:15, 3:10] = mask[5:15, 20:30] = True
    drawn = np.zeros(mask.shape, np.uint8)
    cv2.fillPoly(drawn, [one_outline(mask).astype(np.int32)], 1)
    assert (drawn.astype(bool) & mask).sum() == mask.sum() and drawn.sum() - mask.sum() <= 11


def test_nothing_has_no_outline() -> None:
    assert outlines(np.zeros((4, 5), bool)) == [] and one_outline(np.zeros((4, 5), bool)) is None
