"""Inversion by hand, and masks of images of any size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.features import build_features
from unseg_d2.refine.guided import guided_filter
from unseg_d2.saliency import SaliencyModel, SempartMasks, build_head, invert_background
from unseg_d2.saliency.settings import GuidedMaskSettings, SaliencySettings


def test_masks_that_are_mostly_foreground_are_inverted():
    small, large = np.full((2, 3), 0.2), np.full((4, 4), 0.9)
    found = invert_background([small, large], "image")
    assert found[0][0, 0] == 0.2 and found[1][0, 0] == pytest.approx(0.1)
    both = invert_background([small, large], "batch")  # their mean is .55
    assert both[0][0, 0] == pytest.approx(0.8) and both[1][0, 0] == pytest.approx(0.1)
    assert invert_background([large], "none")[0] is large and invert_background([], "batch") == []


@pytest.fixture(scope="module")
def model():
    cfg = load_cfg(None, ["FEATURES.NAME", "descriptors", "SALIENCY.HEAD.CHANNELS", "[4]"])
    torch.manual_seed(0)
    masks = SempartMasks(build_features(cfg), build_head(cfg, 64, 8).eval(), 0)
    return SaliencyModel(masks, SaliencySettings(), GuidedMaskSettings())


@pytest.mark.parametrize("size", [(50, 75), (3, 40), (64, 64)])
def test_a_mask_has_the_size_of_its_image(model, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    (mask,) = model([image])
    assert mask.shape == size and mask.dtype == np.float32 and 0 <= mask.min() and mask.max() <= 1


def test_masks_are_filtered_with_the_gray_image(model):
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    (plain,) = model([image])
    (filtered,) = replace(model, guided=GuidedMaskSettings(enabled=True, radius=5))([image])
    gray = image.mean(2, dtype=np.float32)[None] / 255
    expected = np.clip(guided_filter(gray, plain[None], radius=5, eps=1e-3)[0], 0, 1)
    np.testing.assert_allclose(filtered, expected, atol=1e-6)


def test_unknown_settings_are_named():
    with pytest.raises(UnsegError, match=r"SALIENCY\.INVERT .* must be one of 'image', 'batch', 'none'"):
        load_cfg(None, ["SALIENCY.INVERT", "all"])
    with pytest.raises(UnsegError, match="power of two, got 14"):
        build_head(load_cfg(), 384, 14)
