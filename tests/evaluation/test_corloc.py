"""CorLoc by hand, and its boxes against torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from unseg_d2.evaluation.corloc import box_ious, located, object_box, part_boxes


@pytest.fixture
def two_parts():
    """A block of 12 pixels, and an L of 9 with a larger box."""
    mask = np.zeros((10, 12), bool)
    mask[1:4, 1:5] = True
    mask[5:10, 6] = mask[9, 6:11] = True
    return mask


def test_the_largest_part_by_area_or_by_its_box(two_parts):
    assert object_box(two_parts).tolist() == [1, 1, 5, 4]
    assert object_box(two_parts, "box").tolist() == [6, 5, 11, 10]
    assert object_box(np.zeros((3, 3), bool)) is None
    with pytest.raises(ValueError, match="one of area, box"):
        object_box(two_parts, "mass")


def test_parts_of_a_mask_that_touch_at_a_corner_are_one_object_of_the_truth_but_not_of_a_prediction():
    mask = np.eye(2, dtype=bool)
    assert part_boxes(mask).tolist() == [[0, 0, 2, 2]]
    assert object_box(mask).tolist() == [0, 0, 1, 1]
    assert part_boxes(np.zeros((2, 2), bool)).shape == (0, 4)


def test_ious_equal_torchvision():
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 50, (20, 4))
    boxes[:, 2:] += boxes[:, :2]
    expected = box_iou(torch.from_numpy(boxes[:1]), torch.from_numpy(boxes))[0]
    np.testing.assert_allclose(box_ious(boxes[0], boxes), expected, rtol=1e-12)


def test_any_object_will_do_and_one_half_is_enough():
    half = np.array([0, 0, 10, 5.0])
    truth = np.array([[50, 50, 60, 60], [0, 0, 10, 10.0]])
    nothing = np.zeros((0, 4))
    boxes, truths = [half, half - 0.1, None, half], [truth, truth, truth, nothing]
    assert located(boxes, truths, strict=False).tolist() == [
        True,
        False,
        False,
    ]  # the last has no objects
    assert located(boxes, truths, strict=True).tolist() == [False, False, False]
