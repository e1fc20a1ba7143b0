"""RoI heads: Detectron2's keys and defaults, DropLoss, soft targets and spatial confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from unseg_d2.settings import Settings, section, setting

DropLossReference = Literal["all", "published"]
MaskConfidence = Literal["none", "spatial", "scalar"]


@section("MODEL.ROI_HEADS")
@dataclass(frozen=True)
class RoIHeadsSettings(Settings):
    """Sampling, the losses of uncertain ground truth, and detections."""

    name: str = setting(
        "Res5ROIHeads", "class of the RoI heads: CascadeROIHeads, StandardROIHeads or CutLER's Custom* names"
    )
    num_classes: int = setting(80, "number of classes; 1 for class-agnostic detection", low=1)
    in_features: Sequence[str] = setting(["res4"], "pyramid levels that RoIs are pooled from")
    iou_thresholds: Sequence[float] = setting(
        [0.5], "IoU with an object from which a proposal is foreground", low=0, high=1
    )
    iou_labels: Sequence[int] = setting(
        [0, 1],
        "labels below and above the threshold: 0 background, 1 foreground, -1 ignored",
        low=-1,
        high=1,
        builtin=([0, 1],),
    )
    batch_size_per_image: int = setting(512, "RoIs sampled per image for the loss", low=1)
    positive_fraction: float = setting(0.25, "largest share of foreground among the sampled RoIs", low=0, high=1)
    score_thresh_test: float = setting(0.05, "detections with a lower score are dropped", low=0, high=1)
    nms_thresh_test: float = setting(
        0.5, "IoU above which non-maximum suppression drops the lower-scoring detection", low=0, high=1
    )
    proposal_append_gt: bool = setting(True, "add the ground-truth boxes to the proposals")
    use_soft_targets: bool = setting(
        False, "weight each instance by its score in the losses (CuVLER, section 3.3)", symbol="s"
    )
    use_droploss: bool = setting(False, "ignore RoIs whose box overlaps no pseudo-mask (CutLER, section 3.3)")
    droploss_iou_thresh: float = setting(
        0.0, "IoU with a pseudo-mask's box above which DropLoss keeps a RoI", symbol="tau^IoU", low=-1, high=1
    )
    droploss_reference: DropLossReference = setting(
        "all",
        "boxes DropLoss compares with: all of the image | published (those that CutLER's code takes)",
        choices=get_args(DropLossReference),
    )
    droploss_crowd_iou: float = setting(
        1.0,
        "IoU with the box of a crowd region (iscrowd 1) above which DropLoss ignores a background RoI; 1 ignores none",
        above=0,
        high=1,
    )

    def check(self) -> None:
        """Raise ValueError where crowd regions are to be spared by a loss that is off."""
        if self.droploss_crowd_iou < 1 and not self.use_droploss:
            raise ValueError(
                "DROPLOSS_CROWD_IOU has no effect without USE_DROPLOSS; set USE_DROPLOSS to True, or leave it out"
            )


@section("MODEL.ROI_BOX_HEAD")
@dataclass(frozen=True)
class BoxHeadSettings(Settings):
    """The box branch."""

    name: str = setting("", "class of the box head; empty is FastRCNNConvFCHead", builtin=("FastRCNNConvFCHead", ""))
    bbox_reg_loss_type: str = setting("smooth_l1", "kind of box regression loss", builtin=("smooth_l1",))
    bbox_reg_loss_weight: float = setting(1.0, "weight of the box regression loss", low=0)
    bbox_reg_weights: Sequence[float] = setting(
        (10.0, 10.0, 5.0, 5.0), "scale of the regression targets (dx, dy, dw, dh)", above=0
    )
    smooth_l1_beta: float = setting(0.0, "error at which the smooth L1 loss becomes linear; 0 is the L1 loss", low=0)
    pooler_resolution: int = setting(14, "cells per side of a pooled RoI", low=1)
    pooler_sampling_ratio: int = setting(0, "samples per side of a cell; 0 depends on the size of the RoI", low=0)
    pooler_type: str = setting("ROIAlignV2", "operator that pools RoIs", builtin=("ROIAlignV2",))
    num_fc: int = setting(0, "number of fully connected layers", low=0)
    fc_dim: int = setting(1024, "width of the fully connected layers", low=1)
    num_conv: int = setting(0, "number of 3x3 convolutions", low=0, builtin=(0,))
    conv_dim: int = setting(256, "channels of the 3x3 convolutions", low=1)
    norm: str = setting("", "normalisation of the convolutions: empty or GN")
    cls_agnostic_bbox_reg: bool = setting(False, "predict one box for all classes instead of one per class")
    train_on_pred_boxes: bool = setting(
        False, "train the mask head on predicted boxes instead of proposals", builtin=(False,)
    )


@section("MODEL.ROI_BOX_CASCADE_HEAD")
@dataclass(frozen=True)
class CascadeSettings(Settings):
    """The stages of a cascade."""

    bbox_reg_weights: Sequence[Sequence[float]] = setting(
        ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0)),
        "scale of the regression targets (dx, dy, dw, dh), per stage",
        above=0,
    )
    ious: Sequence[float] = setting(
        (0.5, 0.6, 0.7), "IoU from which a proposal is foreground, per stage", low=0, high=1
    )


@section("MODEL.ROI_MASK_HEAD")
@dataclass(frozen=True)
class MaskHeadSettings(Settings):
    """The mask branch."""

    name: str = setting(
        "MaskRCNNConvUpsampleHead",
        "class of the mask head; CustomMaskRCNNConvUpsampleHead is CuVLER's name for the default",
    )
    confidence: MaskConfidence = setting(
        "none",
        "weights of the mask loss: none | spatial (confidence per cell; CutS3D, equation 6) | scalar (its mean)",
        choices=get_args(MaskConfidence),
    )
    pooler_resolution: int = setting(14, "cells per side of a pooled RoI; the mask has twice as many", low=1)
    pooler_sampling_ratio: int = setting(0, "samples per side of a cell; 0 depends on the size of the RoI", low=0)
    num_conv: int = setting(0, "number of 3x3 convolutions", low=0)
    conv_dim: int = setting(256, "channels of the 3x3 convolutions", low=1)
    norm: str = setting("", "normalisation: empty or GN")
    cls_agnostic_mask: bool = setting(False, "predict one mask for all classes instead of one per class")
    pooler_type: str = setting("ROIAlignV2", "operator that pools RoIs", builtin=("ROIAlignV2",))
