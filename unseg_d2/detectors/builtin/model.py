"""The detector: backbone, region proposal network and RoI heads, built from a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from unseg_d2.detectors.builtin.backbone import STRIDES, BackboneFPN, build_backbone
from unseg_d2.detectors.builtin.batch import make_batch
from unseg_d2.detectors.builtin.box_coder import BoxCoder
from unseg_d2.detectors.builtin.box_head import BoxHead, BoxPredictor
from unseg_d2.detectors.builtin.limits import check_network
from unseg_d2.detectors.builtin.mask_head import MaskHead
from unseg_d2.detectors.builtin.roi_heads import RoIHeads
from unseg_d2.detectors.builtin.roi_pool import PyramidRoIAlign
from unseg_d2.detectors.builtin.rpn import RegionProposalNetwork, build_rpn
from unseg_d2.detectors.heads import MASK_HEAD, ROI_HEADS, check_heads, stock_name
from unseg_d2.detectors.postprocess import Detections
from unseg_d2.errors import UnsegError, nearest
from unseg_d2.losses.registry import CLASSIFICATION_LOSSES, MASK_LOSSES
from unseg_d2.settings import look_up

if TYPE_CHECKING:
    from unseg_d2.data.sample import Sample

CASCADE, STANDARD, MASKS = "CascadeROIHeads", "StandardROIHeads", "MaskRCNNConvUpsampleHead"
HEADS = {ROI_HEADS: (CASCADE, STANDARD), MASK_HEAD: (MASKS,)}
"""The heads of this engine by Detectron2's names; all of them know the keys of this package."""


class GeneralizedRCNN(nn.Module):
    """Mask R-CNN or Cascade Mask R-CNN on a feature pyramid.

    Args:
        backbone: images to pyramid levels.
        rpn: levels to proposals.
        roi_heads: proposals to detections.
        rpn_levels, roi_levels: names of the levels that each of the two takes.
        pixel_mean, pixel_std: per channel, in the network's channel order.
        input_format: channel order "RGB" or "BGR".
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        backbone: BackboneFPN,
        rpn: RegionProposalNetwork,
        roi_heads: RoIHeads,
        *,
        rpn_levels: Sequence[str],
        roi_levels: Sequence[str],
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        input_format: str,
    ) -> None:
        super().__init__()
        self.backbone, self.rpn, self.roi_heads = backbone, rpn, roi_heads
        self.rpn_levels, self.roi_levels = tuple(rpn_levels), tuple(roi_levels)
        self.flip_channels = input_format == "BGR"
        self.memory_format = torch.contiguous_format
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(3, 1, 1), persistent=False)

    def forward(self, samples: Sequence[Sample]) -> dict[str, Tensor] | list[Detections]:
        """Return the losses of a batch in training mode, else the detections of each image.

        Args:
            samples: RGB uint8 images of any sizes; in training mode with boxes and masks.
        """
        batch = make_batch(
            samples, self.pixel_mean, self.pixel_std, flip_channels=self.flip_channels, training=self.training
        )
        features = self.backbone(batch.images.contiguous(memory_format=self.memory_format))
        proposals, losses = self.rpn([features[name] for name in self.rpn_levels], batch.sizes, batch.targets)
        roi_features = [features[name] for name in self.roi_levels]
        if not self.training:
            return self.roi_heads.predict(roi_features, proposals, batch.sizes)
        return {**self.roi_heads(roi_features, proposals, batch.sizes, batch.targets), **losses}


def build_model(cfg: CfgNode) -> GeneralizedRCNN:
    """Build the network that ``MODEL`` describes, with Detectron2's initialisation.

    Raises:
        UnsegError: the recipe asks for a part that the built-in engine does not have.
    """
    check_network(cfg)
    if cfg.INPUT.FORMAT not in ("RGB", "BGR"):
        raise UnsegError(f"INPUT.FORMAT is '{cfg.INPUT.FORMAT}'; choose RGB or BGR.")
    backbone = build_backbone(cfg)
    return GeneralizedRCNN(
        backbone=backbone,
        rpn=build_rpn(cfg, backbone.out_channels),
        roi_heads=build_roi_heads(cfg, backbone.out_channels),
        rpn_levels=cfg.MODEL.RPN.IN_FEATURES,
        roi_levels=cfg.MODEL.ROI_HEADS.IN_FEATURES,
        pixel_mean=cfg.MODEL.PIXEL_MEAN,
        pixel_std=cfg.MODEL.PIXEL_STD,
        input_format=cfg.INPUT.FORMAT,
    )


def _check_names(cfg: CfgNode) -> None:
    """Raise `UnsegError` for heads that this engine does not have, and where a key has no effect."""
    for part, own in HEADS.items():
        name = look_up(cfg, part).NAME
        if stock_name(name) not in own:
            raise UnsegError(
                f"{part}.NAME is {name}, but the built-in engine has only {' and '.join(own)}.{nearest(name, own)}"
            )
    check_heads(cfg, lambda part, name: True)


def build_roi_heads(cfg: CfgNode, channels: int) -> RoIHeads:
    """Build the cascade or the single-stage heads that ``MODEL.ROI_HEADS.NAME`` names."""
    _check_names(cfg)
    heads, box, mask = cfg.MODEL.ROI_HEADS, cfg.MODEL.ROI_BOX_HEAD, cfg.MODEL.ROI_MASK_HEAD
    iou_thresholds, regression_weights = _stages(cfg)
    strides = [STRIDES[name] for name in heads.IN_FEATURES]
    boxes_per_roi = 1 if box.CLS_AGNOSTIC_BBOX_REG else heads.NUM_CLASSES
    num_masks = 1 if mask.CLS_AGNOSTIC_MASK else heads.NUM_CLASSES
    box_heads = [BoxHead(channels * box.POOLER_RESOLUTION**2, [box.FC_DIM] * box.NUM_FC) for _ in iou_thresholds]
    return RoIHeads(
        box_pool=PyramidRoIAlign(box.POOLER_RESOLUTION, strides, box.POOLER_SAMPLING_RATIO),
        box_head=box_heads,
        box_predictor=[
            BoxPredictor(head.out_features, heads.NUM_CLASSES, boxes_per_roi, BoxCoder(weights))
            for head, weights in zip(box_heads, regression_weights)
        ],
        mask_pool=PyramidRoIAlign(mask.POOLER_RESOLUTION, strides, mask.POOLER_SAMPLING_RATIO),
        mask_head=MaskHead(channels, num_masks, mask.NUM_CONV, mask.CONV_DIM, mask.NORM) if cfg.MODEL.MASK_ON else None,
        iou_thresholds=iou_thresholds,
        num_classes=heads.NUM_CLASSES,
        batch_size_per_image=heads.BATCH_SIZE_PER_IMAGE,
        positive_fraction=heads.POSITIVE_FRACTION,
        append_ground_truth=heads.PROPOSAL_APPEND_GT,
        smooth_l1_beta=box.SMOOTH_L1_BETA,
        box_loss_weight=box.BBOX_REG_LOSS_WEIGHT,
        droploss_iou_thresh=heads.DROPLOSS_IOU_THRESH if heads.USE_DROPLOSS else None,
        droploss_reference=heads.DROPLOSS_REFERENCE,
        droploss_crowd_iou=heads.DROPLOSS_CROWD_IOU,
        soft_targets=heads.USE_SOFT_TARGETS,
        mask_confidence=mask.CONFIDENCE,
        classification_loss=CLASSIFICATION_LOSSES.build(cfg),
        mask_loss=MASK_LOSSES.build(cfg),
        score_thresh=heads.SCORE_THRESH_TEST,
        nms_thresh=heads.NMS_THRESH_TEST,
        topk=cfg.TEST.DETECTIONS_PER_IMAGE,
    )


def _stages(cfg: CfgNode) -> tuple[Sequence[float], Sequence[Sequence[float]]]:
    """Return the foreground IoU and the regression weights of each stage."""
    name = cfg.MODEL.ROI_HEADS.NAME
    if stock_name(name) == STANDARD:
        return cfg.MODEL.ROI_HEADS.IOU_THRESHOLDS, [cfg.MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS]
    cascade = cfg.MODEL.ROI_BOX_CASCADE_HEAD
    if not cfg.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG:
        raise UnsegError(f"{name} needs MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG True.")
    if len(cascade.IOUS) != len(cascade.BBOX_REG_WEIGHTS):
        raise UnsegError("MODEL.ROI_BOX_CASCADE_HEAD needs as many IOUS as BBOX_REG_WEIGHTS.")
    return cascade.IOUS, cascade.BBOX_REG_WEIGHTS
