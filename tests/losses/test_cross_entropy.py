"""The losses of Mask R-CNN: equal to the bit to what torch computes, and to those of uncertain ground truth."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from unseg_d2.losses import (
    classification_loss,
    cross_entropy,
    mask_cross_entropy,
    soft_classification_loss,
    spatial_confidence_loss,
)

LOGITS, LABELS = torch.randn(6, 3), torch.tensor([0, 2, 1, 2, 2, 0])
SCORES, WEIGHTS = torch.rand(6), torch.tensor([1.0, 0, 1, 1, 0, 1])
MASKS, TARGETS = torch.randn(4, 28, 28), torch.rand(4, 28, 28) > 0.5


def test_what_is_given_decides_about_the_classification_loss():
    assert torch.equal(cross_entropy(LOGITS, LABELS), F.cross_entropy(LOGITS, LABELS, reduction="none").mean())
    assert torch.equal(cross_entropy(LOGITS, LABELS, None, WEIGHTS), classification_loss(LOGITS, LABELS, WEIGHTS))
    soft = soft_classification_loss(LOGITS, LABELS, SCORES, WEIGHTS)
    assert torch.equal(cross_entropy(LOGITS, LABELS, SCORES, WEIGHTS), soft)
    assert not torch.equal(cross_entropy(LOGITS, LABELS, SCORES), soft)


def test_what_is_given_decides_about_the_mask_loss():
    plain = F.binary_cross_entropy_with_logits(MASKS, TARGETS.float())
    assert torch.equal(mask_cross_entropy(MASKS, TARGETS), plain)
    weights = torch.rand(4, 28, 28)
    weighted = spatial_confidence_loss(MASKS, TARGETS, weights)
    assert torch.equal(mask_cross_entropy(MASKS, TARGETS, weights), weighted) and not torch.equal(weighted, plain)


def test_one_weight_per_mask_counts_for_all_its_cells():
    weights = torch.tensor([0.0, 0.25, 1.0, 0.5])[:, None, None]
    each = F.binary_cross_entropy_with_logits(MASKS, TARGETS.float(), reduction="none").mean((1, 2))
    torch.testing.assert_close(mask_cross_entropy(MASKS, TARGETS, weights), (each * weights[:, 0, 0]).sum() / 4)
