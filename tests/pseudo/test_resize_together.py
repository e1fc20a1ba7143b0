"""Resizing of many masks in whole-tensor steps, against Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.masks.registry import Mode
from unseg_d2.pseudo.post_process import resize_mask
from unseg_d2.pseudo.resize_together import resize_together


def masks_of(height: int, width: int) -> np.ndarray:
    """Noise, blocks, a thin line, nothing and everything."""
    rng = np.random.default_rng(0)
    masks = np.zeros((5, height, width), bool)
    masks[0] = rng.random((height, width)) < 0.5
    masks[1] = (rng.random((-(-height // 8), -(-width // 8))) < 0.5).repeat(8, 0).repeat(8, 1)[:height, :width]
    masks[2, height // 2] = True
    masks[4] = True
    return masks


@pytest.mark.parametrize("mode", ["default", "parity"])
@pytest.mark.parametrize("before", [(48, 48), (480, 480), (1, 7)])
@pytest.mark.parametrize("after", [(37, 53), (427, 640), (48, 30), (3, 480), (1, 1), (97, 48)])
def test_it_is_pillow_to_the_bit(mode: Mode, before: tuple[int, int], after: tuple[int, int]) -> None:
    masks = masks_of(*before)
    found = resize_together(torch.from_numpy(masks), *after, mode).numpy()
    np.testing.assert_array_equal(found, [resize_mask(mask, *after, mode) for mask in masks])


def test_on_a_card(card: None) -> None:
    masks = masks_of(40, 40)
    found = resize_together(torch.from_numpy(masks).cuda(), 33, 61, "default").cpu().numpy()
    np.testing.assert_array_equal(found, [resize_mask(mask, 33, 61, "default") for mask in masks])
