"""Holes of many masks at once, against SciPy's filling of one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from unseg_d2.refine import holes_together
from unseg_d2.refine.holes_together import fill_holes_together


def filled(masks: np.ndarray) -> np.ndarray:
    return np.stack([ndimage.binary_fill_holes(mask) for mask in masks])


def rings(side: int) -> np.ndarray:
    """Rings within rings; every second one has a gap."""
    rows, columns = np.mgrid[:side, :side]
    distance = np.maximum(abs(rows - side // 2), abs(columns - side // 2))
    mask = distance % 4 == 2
    mask[side // 2, columns[0] < side // 2] &= distance[side // 2, : side // 2] % 8 != 2
    return mask


def spiral(side: int, *, closed: bool) -> np.ndarray:
    """A corridor of background that winds to the middle, open at the left border or closed."""
    mask = np.ones((side, side), bool)
    y, x = 1, 0
    mask[y, x] = closed
    legs = [side - 2] + [side - k for k in range(3, side, 2) for _ in range(2)]
    for number, length in enumerate(legs):
        down, right = ((0, 1), (1, 0), (0, -1), (-1, 0))[number % 4]
        for _ in range(length):
            y, x = y + down, x + right
            mask[y, x] = False
    return mask


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (17, 23), (40, 31)])
@pytest.mark.parametrize("share", [0.3, 0.55, 0.8])
def test_noise_of_any_size(shape: tuple[int, int], share: float) -> None:
    masks = np.random.default_rng(0).random((5, *shape)) < share
    np.testing.assert_array_equal(fill_holes_together(torch.from_numpy(masks)).numpy(), filled(masks))


def test_holes_in_holes_and_long_ways_out() -> None:
    masks = np.stack([rings(65), spiral(65, closed=False), spiral(65, closed=True), np.zeros((65, 65), bool)])
    found = fill_holes_together(torch.from_numpy(masks)).numpy()
    np.testing.assert_array_equal(found, filled(masks))
    np.testing.assert_array_equal(found[1], masks[1])
    assert (~masks[1]).sum() > 65 * 10 and found[2].all()


def test_parts_of_a_batch_and_no_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holes_together, "MOST_PIXELS", 2 * 20 * 20)
    masks = np.random.default_rng(1).random((5, 20, 20)) < 0.6
    np.testing.assert_array_equal(fill_holes_together(torch.from_numpy(masks)).numpy(), filled(masks))
    assert fill_holes_together(torch.zeros(0, 4, 5, dtype=torch.bool)).shape == (0, 4, 5)


def test_on_a_card(card: None) -> None:
    masks = np.random.default_rng(2).random((4, 30, 44)) < 0.6
    np.testing.assert_array_equal(fill_holes_together(torch.from_numpy(masks).cuda()).cpu().numpy(), filled(masks))
