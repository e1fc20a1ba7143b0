"""RoI heads: Detectron2's keys and defaults, DropLoss, soft targets and spatial confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unseg_d2.settings import Settings, section, setting


@section("MODEL.ROI_HEADS")
@dataclass(frozen=True)
class RoIHeadsSettings(Settings):
    """Sampling, the losses of uncertain ground truth, and detections."""

    name: str = setting("Res5ROIHeads", "which heads: CascadeROIHeads, StandardROIHeads or CutLER's Custom* names")
    num_classes: int = setting(80, "classes; 1 for class-agnostic detection", low=1)
    in_features: Sequence[str] = setting(["res4"], "pyramid levels RoIs are pooled from")
    iou_thresholds: Sequence[float] = setting([0.5], "IoU from which a proposal is foreground", low=0, high=1)
    iou_labels: Sequence[int] = setting([0, 1], "labels of the two intervals", low=-1, high=1, builtin=([0, 1],))
    batch_size_per_image: int = setting(512, "RoIs per image in the loss", low=1)
    positive_fraction: float = setting(0.25, "largest share of foreground in the loss", low=0, high=1)
    score_thresh_test: float = setting(0.05, "detections below are dropped", low=0, high=1)
    nms_thresh_test: float = setting(0.5, "IoU of the NMS at test time", low=0, high=1)
    proposal_append_gt: bool = setting(True, "add the ground-truth boxes to the proposals")
    use_soft_targets: bool = setting(False, "an instance counts as much as its score (CuVLER, section 3.3)", symbol="s")
    use_droploss: bool = setting(False, "ignore RoIs whose box overlaps no pseudo-mask (CutLER, section 3.3)")
    droploss_iou_thresh: float = setting(
        0.0, "IoU of DropLoss that a kept RoI exceeds", symbol="tau^IoU", low=-1, high=1
    )
    droploss_reference: str = setting(
        "all", "all: every box of the image | published: CutLER's partial set", choices=("all", "published")
    )


@section("MODEL.ROI_BOX_HEAD")
@dataclass(frozen=True)
class BoxHeadSettings(Settings):
    """The box branch."""

    name: str = setting("", "which head; empty is FastRCNNConvFCHead", builtin=("FastRCNNConvFCHead", ""))
    bbox_reg_loss_type: str = setting("smooth_l1", "loss of the boxes", builtin=("smooth_l1",))
    bbox_reg_loss_weight: float = setting(1.0, "weight of the box loss", low=0)
    bbox_reg_weights: Sequence[float] = setting((10.0, 10.0, 5.0, 5.0), "scale of (dx, dy, dw, dh)", above=0)
    smooth_l1_beta: float = setting(0.0, "where the smooth L1 loss turns linear; 0 is the L1 loss", low=0)
    pooler_resolution: int = setting(14, "cells per side of a pooled RoI", low=1)
    pooler_sampling_ratio: int = setting(0, "samples per cell, 0 = adaptive", low=0)
    pooler_type: str = setting("ROIAlignV2", "how RoIs are pooled", builtin=("ROIAlignV2",))
    num_fc: int = setting(0, "fully connected layers", low=0)
    fc_dim: int = setting(1024, "width of the fully connected layers", low=1)
    num_conv: int = setting(0, "3x3 convolutions", low=0, builtin=(0,))
    conv_dim: int = setting(256, "channels of the convolutions", low=1)
    norm: str = setting("", "normalisation of the convolutions: empty or GN")
    cls_agnostic_bbox_reg: bool = setting(False, "one box for all classes")
    train_on_pred_boxes: bool = setting(False, "train the mask branch on predicted boxes", builtin=(False,))


@section("MODEL.ROI_BOX_CASCADE_HEAD")
@dataclass(frozen=True)
class CascadeSettings(Settings):
    """The stages of a cascade."""

    bbox_reg_weights: Sequence[Sequence[float]] = setting(
        ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0)),
        "scale of (dx, dy, dw, dh) per stage",
        above=0,
    )
    ious: Sequence[float] = setting((0.5, 0.6, 0.7), "foreground threshold per stage", low=0, high=1)


@section("MODEL.ROI_MASK_HEAD")
@dataclass(frozen=True)
class MaskHeadSettings(Settings):
    """The mask branch."""

    name: str = setting("MaskRCNNConvUpsampleHead", "which head; CuVLER calls it CustomMaskRCNNConvUpsampleHead")
    confidence: str = setting(
        "none",
        "none | spatial: per cell SC (CutS3D, equation 6) | scalar: mean SC",
        choices=("none", "spatial", "scalar"),
    )
    pooler_resolution: int = setting(14, "cells per side of a pooled RoI; the mask has twice as many", low=1)
    pooler_sampling_ratio: int = setting(0, "samples per cell, 0 = adaptive", low=0)
    num_conv: int = setting(0, "3x3 convolutions", low=0)
    conv_dim: int = setting(256, "channels of the convolutions", low=1)
    norm: str = setting("", "normalisation: empty or GN")
    cls_agnostic_mask: bool = setting(False, "one mask for all classes")
    pooler_type: str = setting("ROIAlignV2", "how RoIs are pooled", builtin=("ROIAlignV2",))
