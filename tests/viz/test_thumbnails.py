from __future__ import annotations

import base64
import re

import cv2
import numpy as np
import pytest

from unseg_d2.viz.thumbnails import box_path, canvas_size, mask_path, thumbnail


def draw(path: str, height: int, width: int) -> np.ndarray:
    """Fill the path data by the even-odd rule, on the grid of units: the opposite of `mask_path`."""
    rows, columns = canvas_size(height, width)
    drawn = np.zeros((rows, columns), np.uint8)
    for outline in re.findall(r"M(\d+) (\d+)l([^z]*)z", path):
        steps = np.array(re.findall(r"-?\d+", outline[2]), dtype=int).reshape(-1, 2)
        points = np.cumsum(np.vstack([[int(outline[0]), int(outline[1])], steps]), axis=0)
        filled = np.zeros_like(drawn)
        cv2.fillPoly(filled, [points.astype(np.int32)], 1)
        drawn ^= filled
    return drawn.astype(bool)


def disc(height: int, width: int, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 427), (1500, 1000), (100, 130)])
def test_outline_fills_to_the_mask(height, width):
    x, y, unit = 0.4 * width, 0.5 * height, 0.01 * min(height, width)
    ring = disc(height, width, x, y, 30 * unit) & ~disc(height, width, x, y, 15 * unit)
    mask = ring | disc(height, width, 0.9 * width, 0.2 * height, 8 * unit)
    drawn = draw(mask_path(mask), height, width)
    mask = cv2.resize(mask.astype(np.uint8), drawn.shape[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
    assert (drawn & mask).sum() / (drawn | mask).sum() > 0.93


def test_outline_is_short_for_a_rectangle():
    mask = np.zeros((384, 512), bool)
    mask[100:200, 50:150] = True
    assert len(mask_path(mask)) < 40


def test_tiny_and_empty_masks():
    mask = np.zeros((480, 640), bool)
    assert mask_path(mask) == ""
    mask[10, 20] = True
    assert re.fullmatch(r"M16 8l0 0z", mask_path(mask))


def test_specks_beside_a_mask_are_left_out():
    mask = disc(512, 512, 200, 200, 50)
    alone = mask_path(mask)
    mask[400, 400] = True
    assert mask_path(mask) == alone


def test_box_is_on_the_same_grid_as_masks():
    assert box_path([0, 0, 100, 50], 50, 100) == "M0 0h512v256h-512z"


@pytest.mark.parametrize(("size", "expected"), [((480, 640), (192, 256)), ((640, 20), (256, 8)), ((30, 40), (30, 40))])
def test_thumbnail_keeps_the_shape_and_never_enlarges(size, expected):
    colour = np.array([200, 60, 20], np.uint8)
    encoded = np.frombuffer(base64.b64decode(thumbnail(np.tile(colour, (*size, 1)))), np.uint8)
    decoded = cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert decoded.shape[:2] == expected
    assert np.abs(decoded.astype(int) - colour).max() < 8
