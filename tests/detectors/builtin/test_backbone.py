from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from unseg_d2.detectors.builtin.backbone import FrozenBatchNorm, ResNet, build_backbone
from unseg_d2.errors import UnsegError


@pytest.mark.parametrize(("depth", "channels"), [(18, 512), (50, 2048), (101, 2048)])
def test_levels(depth: int, channels: int, tiny_cfg: Callable) -> None:
    options = {"MODEL__RESNETS__DEPTH": depth, "MODEL__RESNETS__RES2_OUT_CHANNELS": channels // 8}
    backbone = build_backbone(tiny_cfg(**options)).eval()
    image = torch.randn(1, 3, 64, 96)
    assert backbone.bottom_up(image)["res5"].shape == (1, channels, 2, 3)
    levels = backbone(image)
    assert {name: tuple(level.shape[1:]) for name, level in levels.items()} == {
        "p2": (32, 16, 24),
        "p3": (32, 8, 12),
        "p4": (32, 4, 6),
        "p5": (32, 2, 3),
        "p6": (32, 1, 2),
    }
    assert torch.equal(levels["p6"], levels["p5"][:, :, ::2, ::2])
    with pytest.raises(
        UnsegError, match=rf"RES2_OUT_CHANNELS is 32, but a ResNet of depth {depth} has {channels // 8}"
    ):
        build_backbone(tiny_cfg(**options | {"MODEL__RESNETS__RES2_OUT_CHANNELS": 32}))


def test_where_the_stride_is() -> None:
    for in_1x1 in (True, False):
        block = ResNet(50, "BN", stride_in_1x1=in_1x1, freeze_at=2, groups=1, width_per_group=64).res4[0]
        assert (block.conv1.stride, block.conv2.stride) == (((2, 2), (1, 1)) if in_1x1 else ((1, 1), (2, 2)))


def test_frozen_stages_neither_learn_nor_count() -> None:
    resnet = ResNet(18, "BN", stride_in_1x1=True, freeze_at=2, groups=1, width_per_group=64).train()
    before = {name: tensor.clone() for name, tensor in resnet.state_dict().items() if not name.startswith("res5")}
    resnet(torch.randn(2, 3, 64, 64))["res5"].sum().backward()
    frozen = [name for name, parameter in resnet.named_parameters() if parameter.grad is None]
    assert frozen and all(name.startswith(("stem", "res2")) for name in frozen)
    assert torch.equal(resnet.res2[0].bn1.running_mean, before["res2.0.bn1.running_mean"])
    assert not torch.equal(resnet.res3[0].bn1.running_mean, before["res3.0.bn1.running_mean"])


def test_frozen_norm_is_the_same_with_and_without_gradient() -> None:
    norm = FrozenBatchNorm(4)
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(norm(x), x)  # identity at first
    for buffer in norm.buffers():
        buffer.uniform_(0.5, 2.0)
    torch.testing.assert_close(norm(x), norm(x.clone().requires_grad_()))


def test_synchronised_norm_falls_back_on_a_cpu(tiny_cfg: Callable) -> None:
    backbone = build_backbone(tiny_cfg(MODEL__RESNETS__NORM="SyncBN"))
    assert type(backbone.bottom_up.stem.norm) is torch.nn.BatchNorm2d


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"MODEL__RESNETS__NORM": "LN"}, "Unknown normalisation 'LN'"),
        ({"MODEL__RESNETS__DEPTH": 20}, "DEPTH in .* is 20, but must be one of 18, 34, 50"),
    ],
)
def test_what_does_not_exist_is_reported(override: dict, message: str, tiny_cfg: Callable) -> None:
    with pytest.raises(UnsegError, match=message):
        build_backbone(tiny_cfg(**override))
