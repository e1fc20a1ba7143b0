"""The spatial confidence loss against hand-computed weights and the plain loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from unseg_d2.losses import (
    confidence_weights,
    mask_cell_weights,
    mean_confidence,
    soft_mask_loss,
    spatial_confidence_loss,
)


def half_mask(height: int = 56, width: int = 56) -> torch.Tensor:
    mask = torch.zeros(1, height, width, dtype=torch.bool)
    mask[:, :, : width // 2] = True
    return mask


def test_confidence_one_gives_the_plain_loss() -> None:
    logits, targets = torch.randn(3, 28, 28), torch.rand(3, 28, 28) > 0.5
    boxes = torch.tensor([[3.0, 4, 50, 40], [0, 0, 56, 56], [20.5, 1.25, 33, 54]])
    certain = torch.full((1, 56, 56), 255, dtype=torch.uint8)
    weights = confidence_weights(certain, half_mask(), boxes, torch.zeros(3, dtype=torch.int64), 28)
    assert torch.equal(weights, torch.ones(3, 28, 28))
    plain = F.binary_cross_entropy_with_logits(logits, targets.float())
    torch.testing.assert_close(spatial_confidence_loss(logits, targets, weights), plain, atol=1e-6, rtol=1e-6)


def test_weights_are_the_confidence_within_the_mask_and_one_outside() -> None:
    confidence = torch.full((1, 56, 56), 0.6)
    weights = confidence_weights(confidence, half_mask(), torch.tensor([[0.0, 0, 56, 56]]), torch.tensor([0]), 28)
    torch.testing.assert_close(weights[0, :, :13], torch.full((28, 13), 0.6))
    torch.testing.assert_close(weights[0, :, 15:], torch.ones(28, 13))


def test_a_region_reads_the_confidence_of_its_own_instance() -> None:
    confidence = torch.stack([torch.full((56, 56), 51), torch.full((56, 56), 204)]).to(torch.uint8)
    masks = torch.ones(2, 56, 56, dtype=torch.bool)
    boxes = torch.tensor([[5.0, 5, 50, 50]] * 2)
    weights = confidence_weights(confidence, masks, boxes, torch.tensor([1, 0]), 14)
    torch.testing.assert_close(weights[:, 7, 7], torch.tensor([0.8, 0.2]))


def test_many_instances_are_read_in_parts_with_the_same_result() -> None:
    confidence, masks = torch.rand(19, 24, 24), torch.rand(19, 24, 24) > 0.5
    corners = torch.rand(40, 2) * 12
    boxes, instances = torch.cat([corners, corners + 10], 1), torch.randint(19, (40,))
    weights = confidence_weights(confidence, masks, boxes, instances, 7)
    for weight, box, instance in zip(weights, boxes, instances):
        one = slice(instance, instance + 1)
        alone = confidence_weights(confidence[one], masks[one], box[None], torch.tensor([0]), 7)
        torch.testing.assert_close(weight, alone[0])


def test_even_confidence_is_the_scalar_variant() -> None:
    logits, targets = torch.randn(2, 28, 28), torch.ones(2, 28, 28)
    loss = spatial_confidence_loss(logits, targets, torch.full((2, 28, 28), 0.7))
    torch.testing.assert_close(loss, soft_mask_loss(logits, targets, torch.full((2,), 0.7)))


def test_mean_confidence_of_a_mask() -> None:
    confidence = torch.tensor([[[51, 102], [255, 0]], [[7, 7], [7, 7]]], dtype=torch.uint8)
    masks = torch.tensor([[[1, 1], [0, 0]], [[0, 0], [0, 0]]], dtype=torch.bool)
    torch.testing.assert_close(mean_confidence(confidence, masks), torch.tensor([0.3, 1.0]))
    torch.testing.assert_close(mean_confidence(confidence / 255, masks), torch.tensor([0.3, 1.0]))
    assert mean_confidence(confidence[:0], masks[:0]).shape == (0,)


def test_weights_carry_no_gradient_and_none_is_zero() -> None:
    confidence = torch.rand(1, 8, 8, requires_grad=True)
    masks = torch.ones(1, 8, 8, dtype=torch.bool)
    assert not confidence_weights(confidence, masks, torch.tensor([[0.0, 0, 8, 8]]), torch.tensor([0]), 4).requires_grad
    logits = torch.zeros(0, 4, 4, requires_grad=True)
    loss = spatial_confidence_loss(logits, logits.detach(), logits.detach())
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None


@pytest.mark.parametrize("kind", ["spatial", "scalar"])
def test_cells_count_as_their_confidence(kind: str) -> None:
    """Both kinds agree where a map is even and the boxes are the masks."""
    boxes = torch.tensor([[8.0, 8, 16, 16], [0, 0, 8, 8]])
    masks = torch.zeros(2, 24, 24, dtype=torch.bool)
    masks[0, :8, :8] = masks[1, 8:16, 8:16] = True
    confidence = torch.stack([torch.full((24, 24), 51), torch.full((24, 24), 102)]).to(torch.uint8)
    weights = mask_cell_weights(confidence, masks, boxes, torch.tensor([1, 0]), 4, kind)
    torch.testing.assert_close(weights, torch.tensor([0.4, 0.2])[:, None, None].expand(2, 4, 4))
    assert torch.equal(mask_cell_weights(None, masks, boxes, torch.tensor([1, 0]), 4, kind), torch.ones(2, 4, 4))
    nothing = mask_cell_weights(confidence, masks, boxes[:0], torch.zeros(0, dtype=torch.int64), 4, kind)
    assert nothing.shape == (0, 4, 4)
