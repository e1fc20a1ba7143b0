"""Backbones of timm under a feature pyramid, ``MODEL.BACKBONE.NAME build_timm_fpn_backbone``."""

from __future__ import annotations

from dataclasses import dataclass

from unseg_d2.settings import Settings, section, setting

TIMM_FPN = "build_timm_fpn_backbone"
"""Value of ``MODEL.BACKBONE.NAME`` that selects them; ``MODEL.RESNETS`` then has no effect."""
REGISTERED = "build_unseg_timm_fpn_backbone"
"""Name in Detectron2's registry, where other projects have the first one for functions of their own."""


@section("MODEL.TIMM")
@dataclass(frozen=True)
class TimmSettings(Settings):
    """The network of timm; it takes RGB images."""

    base_name: str = setting(
        "resnet101",
        "name of the network in timm: a ResNet, Swin or other one with strides 4 to 32, or a ViT with patches of 8 or "
        "16 px, whose last map becomes a pyramid",
    )
    norm: str = setting(
        "",
        "what replaces BatchNorm in the network: FrozenBN or SyncBN; empty keeps its own layers",
        choices=("", "BN", "FrozenBN", "SyncBN"),
    )
    pretrained: bool = setting(
        False, "start from timm's weights, which are downloaded; MODEL.WEIGHTS, a file of timm or DINO, has precedence"
    )
