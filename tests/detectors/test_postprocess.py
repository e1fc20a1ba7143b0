from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from pycocotools import mask as mask_codec

from unseg_d2.detectors import postprocess
from unseg_d2.detectors.postprocess import Detections, paste_and_encode, rescale_boxes, to_prediction
from unseg_d2.rle import encode_mask, encode_runs


def paste(masks: torch.Tensor, boxes: torch.Tensor, height: int, width: int) -> torch.Tensor:
    rles = paste_and_encode(masks, boxes, height, width)
    return torch.from_numpy(mask_codec.decode(rles)).permute(2, 0, 1).bool()


def random_detections(count: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks, and boxes many of which are cut off by the edge of the image."""
    size = torch.tensor([width, height])
    centre, half = torch.rand(count, 2) * size, 1 + torch.rand(count, 2) * size / 2
    boxes = torch.cat([(centre - half).clamp(min=0), torch.minimum(centre + half, size)], dim=1)
    return torch.rand(count, 28, 28), boxes


def test_a_full_mask_fills_the_pixels_whose_centre_is_well_inside() -> None:
    pasted = paste(torch.ones(1, 28, 28), torch.tensor([[2.0, 1.0, 6.0, 4.0]]), 8, 10)
    expected = torch.zeros(1, 8, 10, dtype=torch.bool)
    expected[0, 1:4, 2:6] = True
    assert torch.equal(pasted, expected)


def test_the_box_is_not_rounded() -> None:
    left_half = torch.zeros(1, 28, 28)
    left_half[..., :14] = 1
    columns = paste(left_half, torch.tensor([[0.6, 0.0, 10.6, 4.0]]), 4, 12)[0, 2]
    assert columns.nonzero()[:, 0].tolist() == [1, 2, 3, 4, 5]  # centres between 0.6 and 5.6


def test_run_lengths_are_those_of_the_masks_at_image_size() -> None:
    masks, boxes = random_detections(30, 40, 50)
    masks[0], masks[1], masks[2] = 1.0, 0.0, 1.0
    boxes[0] = torch.tensor([-40.0, -40.0, 90.0, 90.0])  # all pixels
    boxes[2] = torch.tensor([20.0, -9.0, 30.0, 49.0])  # whole columns: one run
    whole = [postprocess._sample(masks[i : i + 1], boxes[i : i + 1], (0, 0, 50, 40))[0] >= 0.5 for i in range(30)]
    assert whole[0].all() and not whole[1].any()
    assert paste_and_encode(masks, boxes, 40, 50) == [encode_mask(mask.numpy()) for mask in whole]
    assert paste_and_encode(masks[:0], boxes[:0], 40, 50) == []


def test_many_at_once_as_on_an_accelerator() -> None:
    masks, boxes = random_detections(7, 40, 50)
    pasted = postprocess._sample(masks, boxes, (0, 0, 50, 40)) >= 0.5
    found = [encode_runs(ends, 40, 50) for ends in postprocess._boundaries(pasted, (0, 0, 50, 40), 40)]
    assert found == paste_and_encode(masks, boxes, 40, 50)


def test_boxes_return_to_the_original_size_and_empty_ones_are_dropped() -> None:
    boxes = torch.tensor([[99.0, 0.0, 99.0, 10.0], [10.0, 10.0, 60.0, 50.0]])
    rescaled, exists = rescale_boxes(boxes, (50, 100), (100, 110))
    torch.testing.assert_close(rescaled[1], torch.tensor([11.0, 20.0, 66.0, 100.0]))
    assert exists.tolist() == [False, True]
    found = Detections(boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]), torch.ones(2, 28, 28))
    sample = SimpleNamespace(image=torch.zeros(3, 50, 100), height=100, width=110)
    prediction = to_prediction({"image_id": 7}, sample, found)
    assert prediction.scores.tolist() == pytest.approx([0.8]) and prediction.classes.tolist() == [1]
    (mask,) = prediction.rles
    assert mask_codec.area(mask) == 55 * 80


def test_prediction_becomes_coco_results() -> None:
    found = Detections(
        torch.tensor([[2.0, 4.0, 10.0, 8.0]]), torch.tensor([0.5]), torch.tensor([0]), torch.ones(1, 28, 28)
    )
    sample = SimpleNamespace(image=torch.zeros(3, 16, 16), height=32, width=32)
    (result,) = to_prediction({"image_id": 7}, sample, found).to_coco()
    assert (result["image_id"], result["category_id"], result["score"]) == (7, 1, 0.5)
    assert result["bbox"] == [4.0, 8.0, 16.0, 8.0]
    assert mask_codec.area(result["segmentation"]) == 16 * 8
