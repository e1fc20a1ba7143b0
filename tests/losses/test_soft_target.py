"""Soft targets against hand-computed losses and against numbers from the released CuVLER code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unseg_d2.losses import soft_box_loss, soft_classification_loss, soft_mask_loss


def test_half_a_score_is_half_way_between_object_and_background() -> None:
    logits = torch.tensor([[1.0, -1.0], [0.5, 0.0]])
    as_object = F.cross_entropy(logits, torch.tensor([0, 0]), reduction="none")
    as_background = F.cross_entropy(logits, torch.tensor([1, 1]), reduction="none")
    loss = soft_classification_loss(logits, torch.tensor([0, 1]), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(loss, ((as_object[0] + as_background[0]) / 2 + as_background[1]) / 2)


def test_certain_targets_give_the_plain_losses() -> None:
    logits, labels, ones = torch.randn(6, 2), torch.tensor([0, 1, 0, 1, 1, 0]), torch.ones(6)
    torch.testing.assert_close(soft_classification_loss(logits, labels, ones), F.cross_entropy(logits, labels))
    masks, targets = torch.randn(6, 28, 28), torch.rand(6, 28, 28) > 0.5
    plain = F.binary_cross_entropy_with_logits(masks, targets.float())
    torch.testing.assert_close(soft_mask_loss(masks, targets, ones), plain)


def test_no_regions_give_zero_with_a_gradient_path() -> None:
    logits = torch.zeros(0, 2, requires_grad=True)
    masks = torch.zeros(0, 28, 28, requires_grad=True)
    none = torch.zeros(0)
    loss = soft_classification_loss(logits, none.long(), none) + soft_mask_loss(masks, masks.detach(), none)
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and masks.grad is not None
    assert soft_box_loss(torch.zeros(0, 4), torch.zeros(0, 4), none, 0, 0.0).item() == 0


@pytest.fixture(scope="module")
def published(golden: Path) -> dict[str, Tensor]:
    with np.load(golden / "detector" / "soft_targets.npz") as arrays:
        return {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files}


def encode(boxes: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    size, target_size = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    shift = (targets[:, :2] + target_size / 2 - boxes[:, :2] - size / 2) / size
    return torch.cat([shift, torch.log(target_size / size)], 1) * weights


def test_classification_equals_published(published: dict[str, Tensor]) -> None:
    arguments = published["scores"], published["gt_classes"], published["gt_scores"]
    for weights, name in ((None, "loss_cls"), (published["weights"], "loss_cls_weighted")):
        loss = soft_classification_loss(*arguments, weights)
        np.testing.assert_allclose(loss, published[name], rtol=1e-5)


def test_box_loss_equals_published(published: dict[str, Tensor]) -> None:
    foreground = published["gt_classes"] == 0
    targets = encode(published["proposal_boxes"], published["gt_boxes"], published["bbox_reg_weights"].float())
    picked = published["deltas"][foreground], targets[foreground]
    scores = published["gt_scores"][foreground]
    soft, hard = (soft_box_loss(*picked, s, len(foreground), 0.0) for s in (scores, torch.ones_like(scores)))
    np.testing.assert_allclose(soft, published["loss_box_reg_soft"], rtol=1e-5)
    np.testing.assert_allclose(hard, published["loss_box_reg_hard"], rtol=1e-5)


def test_mask_loss_equals_published(published: dict[str, Tensor]) -> None:
    logits, targets = published["mask_logits"][:, 0], published["mask_targets28"]
    soft = soft_mask_loss(logits, targets, published["mask_weights"])
    np.testing.assert_allclose(soft, published["loss_mask_soft"], rtol=1e-5)
    hard = soft_mask_loss(logits, targets, torch.ones(len(logits)))
    np.testing.assert_allclose(hard, published["loss_mask_hard"], rtol=1e-5)
