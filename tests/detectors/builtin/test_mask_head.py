from __future__ import annotations

import torch

from unseg_d2.detectors.builtin.mask_head import MaskHead, select_masks
from unseg_d2.losses import mask_cross_entropy


def mask_loss(logits: torch.Tensor, classes: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return mask_cross_entropy(select_masks(logits, classes), targets)


def test_loss_uses_the_channel_of_the_class() -> None:
    logits = torch.zeros(2, 3, 4, 4)
    logits[0, 2], logits[1, 0] = 50.0, -50.0
    targets = torch.stack([torch.ones(4, 4), torch.zeros(4, 4)])
    assert mask_loss(logits, torch.tensor([2, 0]), targets).item() < 1e-6
    assert abs(mask_loss(logits, torch.tensor([1, 1]), targets).item() - 0.6931) < 1e-4
    assert torch.equal(select_masks(logits[:, :1], torch.tensor([2, 1])), logits[:, 0])


def test_no_foreground_trains_nothing_and_does_not_fail() -> None:
    head = MaskHead(8, 1, num_conv=1, conv_dim=8, norm="")
    loss = mask_loss(head(torch.zeros(0, 8, 14, 14)), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 28, 28))
    loss.backward()
    assert loss.item() == 0
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in head.parameters())


def test_predictions_start_undecided() -> None:
    probability = MaskHead(16, 2, num_conv=4, conv_dim=16, norm="")(torch.randn(3, 16, 14, 14)).sigmoid()
    assert probability.shape == (3, 2, 28, 28)
    assert (probability - 0.5).abs().max() < 0.05
