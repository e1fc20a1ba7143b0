"""The weighted sum, and where gradients flow."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.config import load_cfg
from unseg_d2.losses import binary_graph, ncut_loss
from unseg_d2.refine.guided import guided_filter
from unseg_d2.saliency import Objective, SoftMasks, crop_and_enlarge
from unseg_d2.saliency.objective import target_losses
from unseg_d2.saliency.views import luminance, normalised


@pytest.fixture
def scene():
    """Tokens, images and the masks of a head, two of each; patches of 8 px."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 6, 4, 5, generator=generator)
    images = normalised(torch.randint(0, 256, (2, 32, 40, 3), generator=generator))
    masks = SoftMasks(torch.rand(2, 1, 4, 5, generator=generator), torch.rand(2, 1, 32, 40, generator=generator))
    return tokens, images, SoftMasks(*(mask.requires_grad_() for mask in masks))


def test_losses_carry_their_weights(scene):
    tokens, images, masks = scene
    plain = Objective.from_config(load_cfg()).whole(masks, tokens, images)
    weighted = Objective.from_config(
        load_cfg(None, ["SALIENCY.LOSS.NCUT", "2.0", "SALIENCY.LOSS.GTV_FINE", "0.5"])
    ).whole(masks, tokens, images)
    factors = {"loss_ncut": 2.0, "loss_gtv_coarse": 1.0, "loss_gtv_fine": 0.5, "loss_subresolution": 1.0}
    assert weighted.keys() == factors.keys()
    for name, factor in factors.items():
        assert weighted[name].item() == pytest.approx(factor * plain[name].item(), rel=1e-6)


@pytest.mark.parametrize("radius", [0, 2])
def test_a_crop_teaches_the_whole_and_learns_by_its_own_cut(scene, radius):
    tokens, images, masks = scene
    crops = images.flip(3)
    teacher = SoftMasks(*(mask.detach().flip(3).requires_grad_() for mask in masks))
    filtering = ["SALIENCY.MULTI_SCALE.GUIDED_TARGET", str(radius > 0), "SALIENCY.GUIDED.RADIUS", str(radius or 9)]
    corners, objective = np.array([[0, 8], [16, 16]]), Objective.from_config(load_cfg(None, filtering))
    losses = objective.crop(masks, teacher, tokens, crops, corners)
    target = teacher.fine.detach()
    if radius:
        pairs = zip(luminance(crops).double().numpy(), target.double().numpy())
        target = torch.from_numpy(np.stack([guided_filter(g, m, radius=radius, eps=1e-3) for g, m in pairs]))
    expected = (crop_and_enlarge(masks.fine, corners, 0.5) - target.clamp(1e-6, 1 - 1e-6)).square().mean()
    assert losses["loss_multi_scale"].item() == pytest.approx(0.01 * expected.item(), rel=1e-4)
    cut = ncut_loss(teacher.coarse, binary_graph(tokens, 0.4, 1e-6))
    assert losses["loss_crop_ncut"].item() == pytest.approx(0.01 * cut.item(), rel=1e-6)
    sum(losses.values()).backward()
    assert teacher.fine.grad is None and masks.coarse.grad is None
    assert teacher.coarse.grad.abs().max() > 0 and masks.fine.grad.abs().max() > 0


def test_a_given_mask_is_met_on_both_scales(scene):
    _, _, masks = scene
    target = torch.zeros(2, 1, 32, 40)
    target[..., :16, :] = 1
    right = SoftMasks(target[..., ::8, ::8], target)
    perfect = target_losses(right, target)
    assert len(perfect) == 4 and max(value.item() for value in perfect.values()) < 1e-6
    assert all(value.item() > 0.1 for value in target_losses(masks, target).values())
