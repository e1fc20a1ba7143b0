from __future__ import annotations

import torch
from torchvision.ops import roi_align

from unseg_d2.detectors.builtin.roi_pool import PyramidRoIAlign, assign_levels

STRIDES = (4, 8, 16, 32)


def test_levels_double_with_the_size() -> None:
    sides = torch.tensor([1.0, 111.9, 112.0, 223.9, 224.0, 448.0, 5000.0])
    boxes = torch.stack([torch.zeros(7), torch.zeros(7), sides, sides], dim=1)
    assert assign_levels(boxes, STRIDES).tolist() == [0, 0, 1, 1, 2, 3, 3]


def test_each_region_comes_from_its_level_and_image_in_order() -> None:
    features = [torch.full((2, 1, 64, 64), 10.0 * level) for level in range(4)]
    for level in features:
        level[1] += 1
    boxes = torch.tensor([[0.0, 0, 240, 240], [0.0, 0, 20, 20], [0.0, 0, 250, 250], [0.0, 0, 120, 120]])
    pooled = PyramidRoIAlign(2, STRIDES)(features, boxes, torch.tensor([0, 1, 1, 0]))
    assert pooled.shape == (4, 1, 2, 2)
    assert pooled[:, 0, 0, 0].tolist() == [20, 1, 21, 10]


def test_a_pixel_is_its_centre() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)  # the value at pixel centre x + 0.5 is x
    pooled = PyramidRoIAlign(1, (1,))([ramp], torch.tensor([[2.0, 2.0, 4.0, 4.0]]), torch.tensor([0]))
    assert pooled.item() == 2.5  # mean of the pixels 2 and 3


def test_gradient_reaches_the_pooled_level() -> None:
    features = [torch.randn(1, 2, 64 // 2**level, 64 // 2**level, requires_grad=True) for level in range(4)]
    boxes = torch.tensor([[0.0, 0, 130, 130], [3.0, 5, 40, 50]])
    pooled = PyramidRoIAlign(3, STRIDES)(features, boxes, torch.tensor([0, 0]))
    weight = torch.randn_like(pooled)
    (pooled * weight).sum().backward()
    direct = features[1].detach().requires_grad_()
    rois = torch.cat([torch.zeros(1, 1), boxes[:1]], dim=1)
    (roi_align(direct, rois, 3, 1 / 8, 0, aligned=True) * weight[:1]).sum().backward()
    torch.testing.assert_close(features[1].grad, direct.grad)


def test_no_regions() -> None:
    features = [torch.zeros(1, 5, 4, 4) for _ in STRIDES]
    assert PyramidRoIAlign(7, STRIDES)(features, torch.zeros(0, 4), torch.zeros(0)).shape == (0, 5, 7, 7)
