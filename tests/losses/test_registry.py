"""What the section of losses refuses by itself; tests/detectors/test_losses.py has what the engines refuse."""

from __future__ import annotations

import pytest

from unseg_d2.losses.registry import LossSettings


def test_a_mask_loss_without_masks_is_refused():
    with pytest.raises(ValueError, match=r"LOSSES\.MASK dice has no effect while MODEL\.MASK_ON is False"):
        LossSettings(mask="dice")
    assert LossSettings().mask == "cross_entropy"
