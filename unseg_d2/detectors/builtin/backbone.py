"""torchvision's ResNet, or a network of timm, and torchvision's feature pyramid, arranged as in Detectron2.

Levels: res2 ... res5 and p2 ... p5 have strides 4 ... 32; p6 is every second position of p5.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torchvision
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from unseg_d2.config.sections.timm import REGISTERED, TIMM_FPN
from unseg_d2.detectors.norms import available_norms
from unseg_d2.detectors.timm_backbone import TimmFeatures, build_timm_features
from unseg_d2.devices import resolve_device
from unseg_d2.errors import UnsegError

STAGES = ("res2", "res3", "res4", "res5")
STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32, "p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64}


class FrozenBatchNorm(FrozenBatchNorm2d):
    """torchvision's frozen batch norm, as one fused operation if no gradient is needed."""

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__(num_features, eps)
        self.running_var -= eps  # so that the initial transformation is exactly the identity, as in Detectron2

    def forward(self, x: Tensor) -> Tensor:
        """Apply the fixed affine transformation to ``(N, C, H, W)``."""
        if x.requires_grad:
            return super().forward(x)
        return nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def get_norm(name: str) -> Callable[[int], nn.Module] | None:
    """Return the normalisation layer of a name, or ``None`` for the empty name.

    Args:
        name: "" | FrozenBN | BN | SyncBN | GN.

    Raises:
        UnsegError: the name is unknown.
    """
    layers: dict[str, Callable[[int], nn.Module] | None] = {
        "": None,
        "FrozenBN": FrozenBatchNorm,
        "BN": nn.BatchNorm2d,
        "SyncBN": nn.SyncBatchNorm,
        "GN": partial(nn.GroupNorm, 32),
    }
    if name not in layers:
        raise UnsegError(f"Unknown normalisation '{name}': choose one of {', '.join(k for k in layers if k)}.")
    return layers[name]


class ResNet(nn.Module):
    """The stages res2 ... res5 of a torchvision ResNet.

    Args:
        depth: 18, 34, 50, 101 or 152.
        norm: see :func:`get_norm`.
        stride_in_1x1: put the stride of a bottleneck in its first convolution instead of the 3x3 one.
        freeze_at: 0 freezes nothing, 1 the stem, 2 also res2, and so on.
        groups: groups of the 3x3 convolutions.
        width_per_group: width of the bottlenecks of res2, per group.
    """

    def __init__(
        self,
        depth: int,
        norm: str,
        *,
        stride_in_1x1: bool,
        freeze_at: int,
        groups: int,
        width_per_group: int,
    ) -> None:
        super().__init__()
        build = getattr(torchvision.models, f"resnet{depth}")
        resnet = build(norm_layer=get_norm(norm), groups=groups, width_per_group=width_per_group)
        self.stem = nn.Sequential(
            OrderedDict(conv1=resnet.conv1, norm=resnet.bn1, relu=resnet.relu, maxpool=resnet.maxpool)
        )
        self.res2, self.res3 = resnet.layer1, resnet.layer2
        self.res4, self.res5 = resnet.layer3, resnet.layer4
        self.channels = [resnet.inplanes // 8, resnet.inplanes // 4, resnet.inplanes // 2, resnet.inplanes]
        if stride_in_1x1 and depth >= 50:
            for stage in (self.res3, self.res4, self.res5):
                stage[0].conv1.stride, stage[0].conv2.stride = stage[0].conv2.stride, stage[0].conv1.stride
        for name in ("stem", *STAGES)[:freeze_at]:
            setattr(self, name, freeze(getattr(self, name)))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return res2 ... res5 of images ``(N, 3, H, W)``."""
        x = self.stem(x)
        features = {}
        for name in STAGES:
            features[name] = x = getattr(self, name)(x)
        return features


class BackboneFPN(nn.Module):
    """A ResNet, or a network of timm, under a feature pyramid (Lin et al., Feature Pyramid Networks).

    Args:
        bottom_up: the network, which returns res2 ... res5.
        out_channels: channels of every level.
        norm: normalisation after each convolution of the pyramid; "" for none, with biases instead.
    """

    def __init__(self, bottom_up: ResNet | TimmFeatures, out_channels: int, norm: str) -> None:
        super().__init__()
        self.bottom_up = bottom_up
        self.fpn = FeaturePyramidNetwork(
            bottom_up.channels, out_channels, extra_blocks=LastLevelMaxPool(), norm_layer=get_norm(norm)
        )
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return p2 ... p6 of images ``(N, 3, H, W)``; H and W are multiples of 32."""
        levels = self.fpn(self.bottom_up(x)).values()
        return {f"p{number}": level for number, level in enumerate(levels, start=2)}


def build_backbone(cfg: CfgNode) -> BackboneFPN:
    """Build the backbone that ``MODEL.BACKBONE``, ``MODEL.RESNETS`` or ``MODEL.TIMM``, and ``MODEL.FPN`` describe.

    Raises:
        UnsegError: ``MODEL.RESNETS.RES2_OUT_CHANNELS`` is not what a ResNet of that depth has.
    """
    resnets = cfg.MODEL.RESNETS
    device = resolve_device(cfg.MODEL.DEVICE, "MODEL.DEVICE")
    if cfg.MODEL.BACKBONE.NAME in (TIMM_FPN, REGISTERED):
        (fpn_norm,) = available_norms(device, cfg.MODEL.FPN.NORM)
        return BackboneFPN(build_timm_features(cfg), cfg.MODEL.FPN.OUT_CHANNELS, fpn_norm)
    bottom_up_norm, fpn_norm = available_norms(device, resnets.NORM, cfg.MODEL.FPN.NORM)
    bottom_up = ResNet(
        resnets.DEPTH,
        bottom_up_norm,
        stride_in_1x1=resnets.STRIDE_IN_1X1,
        freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT,
        groups=resnets.NUM_GROUPS,
        width_per_group=resnets.WIDTH_PER_GROUP,
    )
    if resnets.RES2_OUT_CHANNELS != bottom_up.channels[0]:
        raise UnsegError(
            f"MODEL.RESNETS.RES2_OUT_CHANNELS is {resnets.RES2_OUT_CHANNELS}, but a ResNet of depth {resnets.DEPTH} "
            f"has {bottom_up.channels[0]}; set it to that."
        )
    return BackboneFPN(bottom_up, cfg.MODEL.FPN.OUT_CHANNELS, fpn_norm)


def freeze(module: nn.Module) -> nn.Module:
    """Freeze a module: its parameters get no gradients, and its batch norms keep their statistics."""
    for parameter in module.parameters():
        parameter.requires_grad = False
    return _freeze_batch_norm(module)


def _freeze_batch_norm(module: nn.Module) -> nn.Module:
    if isinstance(module, (nn.BatchNorm2d, nn.SyncBatchNorm)):
        frozen = FrozenBatchNorm(module.num_features, module.eps)
        frozen.load_state_dict(module.state_dict())
        return frozen
    for name, child in module.named_children():
        setattr(module, name, _freeze_batch_norm(child))
    return module
