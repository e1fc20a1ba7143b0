"""DropLoss against hand-computed weights and against numbers from the released CutLER code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unseg_d2.losses import classification_loss, droploss_weights, published_references, spare_crowds

SCALE_CLAMP = np.log(1000 / 16)


def test_weights_compare_the_largest_iou_with_the_threshold() -> None:
    reference = torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]])
    boxes = torch.tensor([[0.0, 0.0, 10.0, 5.0], [10.0, 0.0, 20.0, 10.0], [25.0, 0.0, 35.0, 10.0]])
    assert droploss_weights(boxes, reference, 0.01).tolist() == [1, 0, 1]  # IoU 1/2, 0, 1/3
    assert droploss_weights(boxes, reference, 0.4).tolist() == [1, 0, 0]
    assert droploss_weights(boxes, reference, 0.5).tolist() == [0, 0, 0]  # above, not at


def test_an_image_without_references_keeps_nothing() -> None:
    assert droploss_weights(torch.rand(3, 4), torch.zeros(0, 4), 0.01).tolist() == [0, 0, 0]
    assert droploss_weights(torch.zeros(0, 4), torch.rand(3, 4), 0.01).shape == (0,)


def test_boxes_without_area_are_far_and_weights_have_no_gradient() -> None:
    boxes = torch.zeros(1, 4, requires_grad=True)
    weights = droploss_weights(boxes, torch.zeros(1, 4), 0.01)
    assert weights.tolist() == [0] and not weights.requires_grad


def test_published_references_look_at_the_first_hundred_rows() -> None:
    first, second = torch.tensor([[1.0, 1, 2, 2]]), torch.tensor([[3.0, 3, 4, 4]])
    matched = torch.cat([first.repeat(100, 1), second])
    assert torch.equal(published_references(matched), first)
    matched = torch.cat([first.repeat(99, 1), second])
    assert torch.equal(published_references(matched), first.repeat(2, 1))


def test_loss_is_averaged_over_dropped_regions_too() -> None:
    logits, labels = torch.randn(4, 2), torch.tensor([0, 1, 1, 0])
    each = F.cross_entropy(logits, labels, reduction="none")
    loss = classification_loss(logits, labels, torch.tensor([1.0, 0, 1, 0]))
    torch.testing.assert_close(loss, (each[0] + each[2]) / 4)
    torch.testing.assert_close(classification_loss(logits, labels), each.mean())


def test_no_regions_give_zero_with_a_gradient_path() -> None:
    logits = torch.zeros(0, 2, requires_grad=True)
    loss = classification_loss(logits, torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None


def decode(deltas: Tensor, boxes: Tensor, weights: np.ndarray) -> Tensor:
    size = boxes[:, 2:] - boxes[:, :2]
    centre = boxes[:, :2] + size / 2 + deltas[:, :2] / torch.tensor(weights[:2]) * size
    half = torch.exp((deltas[:, 2:] / torch.tensor(weights[2:])).clamp(max=SCALE_CLAMP)) * size / 2
    return torch.cat([centre - half, centre + half], dim=1)


@pytest.mark.parametrize("case", ["two_images", "single_gt", "one_empty"])
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_released_code(case: str, stage: int, golden: Path) -> None:
    with np.load(golden / "detector" / "droploss.npz") as published:
        data = {key: published[key] for key in published.files}
    entry = {key.removeprefix(f"{case}_stage{stage}_"): torch.as_tensor(value) for key, value in data.items()}
    counts = entry["num_props"].tolist()
    boxes = decode(entry["deltas"], entry["proposal_boxes"], data["bbox_reg_weights"][stage]).split(counts)
    threshold = float(data["droploss_iou_thresh"])

    every_box = torch.as_tensor(data[f"{case}_target_boxes"]).split(data[f"{case}_num_targets"].tolist())
    weights = torch.cat([droploss_weights(*image, threshold) for image in zip(boxes, every_box)])
    assert torch.equal(weights, entry["fullgt_weights"])
    loss = classification_loss(entry["scores"], entry["gt_classes"], weights)
    assert loss.item() == pytest.approx(float(entry["fullgt_loss_cls"]), abs=1e-6)

    weights = None
    if entry["weights_applied"]:
        references = [published_references(image) for image in entry["matched_gt_boxes"].split(counts)]
        weights = torch.cat([droploss_weights(*image, threshold) for image in zip(boxes, references)])
        assert torch.equal(weights, entry["weights"])
    loss = classification_loss(entry["scores"], entry["gt_classes"], weights)
    assert loss.item() == pytest.approx(float(entry["loss_cls"]), abs=1e-6)


def test_everything_counts_in_an_image_that_is_done() -> None:
    reference = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    boxes = torch.tensor([[0.0, 0.0, 10.0, 5.0], [10.0, 0.0, 20.0, 10.0]])
    assert droploss_weights(boxes, reference, 0.01, done=True).tolist() == [1, 1]
    assert droploss_weights(boxes, torch.zeros(0, 4), 0.01, done=True).tolist() == [1, 1]


def test_crowd_regions_are_no_background() -> None:
    """IoUs with the crowd: 1/3, 1, 1 and 0; only background that overlaps it by more is spared."""
    crowd = torch.tensor([[10.0, 0.0, 20.0, 10.0], [90.0, 90.0, 99.0, 99.0]])
    boxes = torch.tensor([[5.0, 0, 15, 10], [10, 0, 20, 10], [10, 0, 20, 10], [30, 0, 40, 10]])
    background = torch.tensor([True, True, False, True])
    weights = torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert spare_crowds(weights, background, boxes, crowd, 0.3).tolist() == [0, 0, 1, 0]
    assert spare_crowds(weights, background, boxes, crowd, 0.4).tolist() == [1, 0, 1, 0]
    assert spare_crowds(weights, background, boxes, crowd, 1.0).tolist() == [1, 1, 1, 0]  # above, not at
    assert weights.tolist() == [1, 1, 1, 0]  # as it was
    for nothing in (None, torch.zeros(0, 4)):
        assert spare_crowds(weights, background, boxes, nothing, 0.1).tolist() == [1, 1, 1, 0]
    assert spare_crowds(weights[:0], background[:0], boxes[:0], crowd, 0.1).shape == (0,)
