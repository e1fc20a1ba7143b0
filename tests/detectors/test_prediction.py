"""A prediction in the formats of other libraries, against masks drawn by hand."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from unseg_d2.detectors.prediction import Prediction
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_mask


def rectangles() -> np.ndarray:
    masks = np.zeros((2, 20, 30), bool)
    masks[0, 2:8, 3:13] = True
    masks[1, 10:20, 15:30] = True
    return masks


def prediction(*, with_masks: bool = True) -> Prediction:
    boxes = np.array([[3, 2, 13, 8], [15, 10, 30, 20]], np.float32)
    rles = [encode_mask(mask) for mask in rectangles()] if with_masks else []
    return Prediction({"image_id": "a"}, (20, 30), boxes, np.array([0.75, 0.25], np.float32), rles)


def test_masks_are_decoded_once() -> None:
    found = prediction()
    np.testing.assert_array_equal(found.masks, rectangles())
    assert found.masks is found.masks and len(found) == 2


def test_without_masks_there_are_none() -> None:
    assert prediction(with_masks=False).masks.shape == (0, 20, 30)


def test_coco_results() -> None:
    first, second = prediction().to_coco(3)
    assert first["segmentation"] == encode_mask(rectangles()[0])
    first.pop("segmentation"), second.pop("segmentation")
    assert first == {"image_id": "a", "category_id": 3, "bbox": [3.0, 2.0, 10.0, 6.0], "score": 0.75}
    assert second == {"image_id": "a", "category_id": 3, "bbox": [15.0, 10.0, 15.0, 10.0], "score": 0.25}


def test_coco_results_without_masks() -> None:
    assert all("segmentation" not in result for result in prediction(with_masks=False).to_coco())


@pytest.mark.parametrize(("threshold", "count"), [(0.0, 2), (0.25, 2), (0.26, 1), (1.0, 0)])
def test_above(threshold: float, count: int) -> None:
    found = prediction().above(threshold)
    assert len(found) == len(found.boxes) == len(found.rles) == len(found.masks) == count
    assert found.masks.shape == (count, 20, 30)


def test_above_leaves_masks_that_were_decoded() -> None:
    found = prediction()
    assert len(found.masks) == 2
    np.testing.assert_array_equal(found.above(0.5).masks, rectangles()[:1])


@pytest.mark.parametrize("with_masks", [True, False])
@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_supervision(with_masks: bool, threshold: float) -> None:
    supervision = pytest.importorskip("supervision")
    detections = prediction(with_masks=with_masks).above(threshold).to_supervision()
    assert isinstance(detections, supervision.Detections)
    assert len(detections) == (0 if threshold else 2)
    if not threshold:
        np.testing.assert_array_equal(detections.xyxy, [[3, 2, 13, 8], [15, 10, 30, 20]])
        np.testing.assert_array_equal(detections.confidence, [0.75, 0.25])
        np.testing.assert_array_equal(detections.class_id, [0, 0])
        assert (detections.mask is not None) == with_masks
    if with_masks and not threshold:
        np.testing.assert_array_equal(detections.mask, rectangles())


def test_supervision_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(UnsegError, match=r"pip install 'unseg-d2\[supervision\]'"):
        prediction().to_supervision()


def test_draw() -> None:
    image = np.full((20, 30, 3), 200, np.uint8)
    drawn = prediction().draw(image)
    assert drawn.dtype == np.uint8 and drawn.shape == image.shape and (image == 200).all()
    assert (drawn[4:7, 9:12] != 200).any(axis=2).all()  # inside of the first mask, beyond its label
    assert (drawn[:9, 20:] == 200).all()
    np.testing.assert_array_equal(prediction().draw(Image.fromarray(image)), drawn)


def test_draw_boxes() -> None:
    drawn = prediction(with_masks=False).above(0.5).draw(np.full((20, 30, 3), 200, np.uint8))
    assert (drawn != 200).any() and (drawn[4:6, 11] == 200).all()  # an outline alone


def test_draw_needs_the_image_of_the_prediction() -> None:
    with pytest.raises(UnsegError, match=r"30x20 pixels .* one of 20x30"):
        prediction().draw(np.zeros((30, 20, 3), np.uint8))
