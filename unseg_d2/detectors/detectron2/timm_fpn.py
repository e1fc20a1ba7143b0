"""Networks of timm under a feature pyramid, in Detectron2's registry of backbones."""

from __future__ import annotations

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import FPN, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool

from unseg_d2.config.sections.timm import REGISTERED, TIMM_FPN
from unseg_d2.detectors.timm_backbone import TimmFeatures, build_timm_features, level_shapes


class TimmBackbone(TimmFeatures, Backbone):
    """`unseg_d2.detectors.timm_backbone.TimmFeatures` as one of Detectron2's backbones."""

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride of each map."""
        return {name: ShapeSpec(channels=width, stride=stride) for name, width, stride in level_shapes(self)}

    @property
    def size_divisibility(self) -> int:
        """Number that height and width of the images are multiples of."""
        return 32


@BACKBONE_REGISTRY.register()
def build_unseg_timm_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec | None = None) -> FPN:
    """Build the network of ``MODEL.TIMM`` under the pyramid of ``MODEL.FPN``.

    Raises:
        UnsegError: see `unseg_d2.detectors.timm_backbone.build_timm_features`.
    """
    return FPN(
        bottom_up=build_timm_features(cfg, TimmBackbone),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


def use_our_backbone(cfg: CfgNode) -> None:
    """Name the registered function, in place, where a recipe asks for a network of timm.

    A function that another project has registered under the recipe's name stays.
    """
    if cfg.MODEL.BACKBONE.NAME == TIMM_FPN and TIMM_FPN not in BACKBONE_REGISTRY:
        cfg.MODEL.BACKBONE.NAME = REGISTERED
