from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pycocotools import mask as mask_codec

from unseg_d2.detectors.builtin import postprocess
from unseg_d2.detectors.builtin.postprocess import encode_masks, paste_masks, rescale_detections, to_prediction
from unseg_d2.detectors.builtin.roi_heads import Detections


def test_a_full_mask_fills_the_pixels_whose_centre_is_well_inside() -> None:
    pasted = paste_masks(torch.ones(1, 28, 28), torch.tensor([[2.0, 1.0, 6.0, 4.0]]), 8, 10)
    expected = torch.zeros(1, 8, 10, dtype=torch.bool)
    expected[0, 1:4, 2:6] = True
    assert torch.equal(pasted, expected)


def test_the_box_is_not_rounded() -> None:
    left_half = torch.zeros(1, 28, 28)
    left_half[..., :14] = 1
    columns = paste_masks(left_half, torch.tensor([[0.6, 0.0, 10.6, 4.0]]), 4, 12)[0, 2]
    assert columns.nonzero()[:, 0].tolist() == [1, 2, 3, 4, 5]  # centres between 0.6 and 5.6


def test_pasting_one_by_one_equals_pasting_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = torch.rand(7, 28, 28)
    corner = torch.rand(7, 2) * 30 - 5
    boxes = torch.cat([corner, corner + 1 + torch.rand(7, 2) * 40], dim=1)
    window = (0, 0, 50, 40)
    whole = torch.stack([postprocess._sample(masks[i : i + 1], boxes[i : i + 1], window)[0] >= 0.5 for i in range(7)])
    assert torch.equal(paste_masks(masks, boxes, 40, 50), whole)


def test_encoding_round_trip() -> None:
    masks = torch.rand(3, 9, 13) > 0.5
    rles = encode_masks(masks)
    assert rles[0]["size"] == [9, 13] and isinstance(rles[0]["counts"], str)
    assert np.array_equal(mask_codec.decode(rles).transpose(2, 0, 1), masks.numpy())
    assert encode_masks(masks[:0]) == []


def test_boxes_return_to_the_original_size_and_empty_ones_go() -> None:
    boxes = torch.tensor([[10.0, 10.0, 60.0, 50.0], [99.0, 0.0, 99.0, 10.0]])
    found = Detections(boxes, torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.int64), torch.ones(2, 28, 28))
    rescaled = rescale_detections(found, (50, 100), (100, 110))
    torch.testing.assert_close(rescaled.boxes, torch.tensor([[11.0, 20.0, 66.0, 100.0]]))
    assert rescaled.scores.tolist() == pytest.approx([0.9]) and len(rescaled.masks) == 1


def test_prediction_becomes_coco_results() -> None:
    found = Detections(
        torch.tensor([[2.0, 4.0, 10.0, 8.0]]), torch.tensor([0.5]), torch.tensor([0]), torch.ones(1, 28, 28)
    )
    sample = SimpleNamespace(image=torch.zeros(3, 16, 16), height=32, width=32)
    (result,) = to_prediction({"image_id": 7}, sample, found).to_coco_results()
    assert (result["image_id"], result["category_id"], result["score"]) == (7, 1, 0.5)
    assert result["bbox"] == [4.0, 8.0, 16.0, 8.0]
    assert mask_codec.area(result["segmentation"]) == 16 * 8
