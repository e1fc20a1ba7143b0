"""Agreement of two predictions, by hand and against what the published code returned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.losses import dice_loss, multi_scale_loss, subresolution_loss


def test_subresolution_takes_the_middle_of_a_cell():
    """Without antialiasing, a cell of 4 by 4 pixels takes the mean of its inner four."""
    fine = torch.zeros(1, 1, 4, 8)
    fine[..., 1:3, 1:3] = 0.5
    fine[..., :, 4] = 1.0  # an outer column: not looked at
    coarse = torch.tensor([[[[0.2, 0.1]]]])
    assert subresolution_loss(coarse, fine).item() == pytest.approx((0.3**2 + 0.1**2) / 2, rel=1e-5)


def test_golden_subresolution(golden):
    published = np.load(golden / "losses/tricks.npz")
    coarse, fine = torch.from_numpy(published["sp_coarse"]), torch.from_numpy(published["sp_fine"])
    expected = float(published["loss_sr_coarse_vs_downsampled_fine"])
    assert subresolution_loss(coarse, fine).item() == pytest.approx(expected, rel=1e-5)


def test_only_the_student_learns():
    student = torch.tensor([[[[0.2, 0.6]]]], requires_grad=True)
    teacher = torch.tensor([[[[0.4, 0.6]]]], requires_grad=True)
    loss = multi_scale_loss(student, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(0.02)
    assert teacher.grad is None and student.grad.flatten().tolist() == pytest.approx([-0.2, 0.0])


def test_dice_by_hand():
    mask = torch.tensor([[[[1.0, 0.5]]], [[[0.0, 0.0]]]])
    target = torch.tensor([[[[1.0, 0.0]]], [[[0.0, 0.0]]]])
    assert dice_loss(mask, target).item() == pytest.approx(((1 - 3 / 3.5) + 0) / 2)
