"""The class-level focal loss against hand-computed losses and numbers from the released PriMaPs-EM code."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from unseg_d2.losses import class_focal_loss, class_weights


def test_two_classes_by_hand() -> None:
    # Probabilities of class 0 are 3/4 and 1/4, so that both classes have the mean 1/2; the third pixel has no class.
    logits = torch.tensor([math.log(3.0), 0.0, 0.0, math.log(3.0)]).view(2, 2).T.reshape(1, 2, 1, 2)
    labels = torch.tensor([[[0, 0]]])
    expected = 0.25 * (math.log(4 / 3) + math.log(4)) / 2
    torch.testing.assert_close(class_focal_loss(logits, labels, gamma=2.0), torch.tensor(expected))
    ignored = torch.tensor([[[0, 255]]])
    torch.testing.assert_close(class_focal_loss(logits, ignored, gamma=2.0), torch.tensor(0.25 * math.log(4 / 3) / 2))


def test_pixels_without_a_class_count_in_the_mean_and_in_the_probabilities() -> None:
    logits = torch.zeros(1, 2, 1, 4)
    logits[0, 0, 0, 1:] = math.log(9.0)  # three of four pixels, which have no class, say class 0 with 0.9
    labels = torch.tensor([[[0, 255, 255, 255]]])
    mean = (0.5 + 3 * 0.9) / 4
    torch.testing.assert_close(class_focal_loss(logits, labels, gamma=1.0), torch.tensor((1 - mean) * math.log(2) / 4))


def test_no_class_at_all_is_zero_with_a_gradient_path() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = class_focal_loss(logits, torch.full((1, 2, 2), 255), gamma=2.0)
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


@pytest.mark.parametrize("gamma", [0, 1, 2, 3])
def test_equals_published(golden: Path, gamma: int) -> None:
    with np.load(golden / "detector" / "primaps_em.npz") as published:
        logits = torch.from_numpy(published["logits"]).requires_grad_()
        loss = class_focal_loss(logits, torch.from_numpy(published["labels"]), gamma=float(gamma))
        loss.backward()
        np.testing.assert_allclose(loss.item(), published[f"loss_gamma{gamma}"], rtol=1e-6)
        np.testing.assert_allclose(logits.grad, published[f"grad_gamma{gamma}"], rtol=1e-4, atol=1e-9)
        if gamma == 2:
            np.testing.assert_allclose(class_weights(logits, 2.0), published["class_weight_gamma2"], rtol=1e-6)
