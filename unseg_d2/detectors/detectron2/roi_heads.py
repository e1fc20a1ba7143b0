"""Detectron2's RoI heads with DropLoss (CutLER) and soft targets (CuVLER), and without a copy of the mask per region.

Shapes: R_b sampled regions of image b, K classes.

The heads are stock Detectron2 heads with three hooks overridden: the construction of the box predictors, their
losses and the sampling of proposals. Every part takes explicit arguments, so the classes serve yacs configurations as
well as LazyConfig.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec, cat
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.roi_heads import (
    CascadeROIHeads,
    FastRCNNOutputLayers,
    Res5ROIHeads,
    ROIHeads,
    StandardROIHeads,
)
from detectron2.structures import BitMasks, Instances
from torch import Tensor, nn

from unseg_d2.config.sections.heads import DropLossReference, RoIHeadsSettings
from unseg_d2.detectors.detectron2.lazy_masks import LazyMasks
from unseg_d2.detectors.detectron2.uncertain import check_targets, region_scores
from unseg_d2.detectors.heads import require_keys
from unseg_d2.errors import UnsegError
from unseg_d2.losses.cross_entropy import cross_entropy
from unseg_d2.losses.droploss import droploss_weights, published_references, spare_crowds
from unseg_d2.losses.registry import CLASSIFICATION_LOSSES, ClassificationLoss, check_classification_loss
from unseg_d2.losses.soft_target import soft_box_loss


class PseudoLabelOutputLayers(FastRCNNOutputLayers):
    """Box predictor with losses for uncertain ground truth.

    Args:
        input_shape: shape of the features of one region.
        droploss_iou_thresh: tau^IoU; a region counts in the classification loss if its predicted box has a larger IoU
            than this with a reference box (CutLER, section 3.3). ``None`` counts all.
        droploss_reference: ``all`` compares with every ground-truth box of the image, ``published`` with the partial
            set of CutLER's released code.
        droploss_crowd_iou: IoU with a crowd region above which DropLoss drops a background region too; 1 drops none.
        soft_targets: weight each instance by its score (CuVLER, section 3.3).
        classification_loss: loss of the class logits.
        **kwargs: arguments of ``FastRCNNOutputLayers``.

    Raises:
        ValueError: an unknown reference.
        UnsegError: Detectron2's sigmoid cross entropy, soft targets with another box loss than smooth L1, or a loss
            that cannot use the scores or weights that are passed to it.
    """

    @configurable
    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        droploss_iou_thresh: float | None,
        droploss_reference: DropLossReference = RoIHeadsSettings.droploss_reference,
        droploss_crowd_iou: float = RoIHeadsSettings.droploss_crowd_iou,
        soft_targets: bool = RoIHeadsSettings.use_soft_targets,
        classification_loss: ClassificationLoss = cross_entropy,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_shape, **kwargs)
        if droploss_reference not in get_args(DropLossReference):
            raise ValueError(f"DROPLOSS_REFERENCE must be 'all' or 'published', not {droploss_reference!r}")
        if self.use_sigmoid_ce:
            raise UnsegError(
                "DropLoss, soft targets and LOSSES.CLASSIFICATION do not work with USE_SIGMOID_CE True in "
                "MODEL.ROI_BOX_HEAD; set that to False."
            )
        if soft_targets and self.box_reg_loss_type != "smooth_l1":
            raise UnsegError(
                "MODEL.ROI_HEADS.USE_SOFT_TARGETS is True, but has no effect on the box loss "
                f"{self.box_reg_loss_type}; set MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE to smooth_l1."
            )
        dropping = droploss_iou_thresh is not None
        check_classification_loss(classification_loss, soft_targets=soft_targets, droploss=dropping)
        self.classification_loss = classification_loss
        self.droploss_iou_thresh = droploss_iou_thresh
        self.droploss_reference = droploss_reference
        self.droploss_crowd_iou = droploss_crowd_iou
        self.soft_targets = soft_targets
        self.targets: list[Instances] | None = None  # set by the heads while they run

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        """Read the arguments from ``MODEL.ROI_HEADS``, ``MODEL.ROI_BOX_HEAD`` and ``LOSSES``."""
        arguments = super().from_config(cfg, input_shape)
        heads = cfg.MODEL.ROI_HEADS
        arguments["droploss_iou_thresh"] = heads.DROPLOSS_IOU_THRESH if heads.USE_DROPLOSS else None
        arguments["droploss_reference"] = heads.DROPLOSS_REFERENCE
        arguments["droploss_crowd_iou"] = heads.DROPLOSS_CROWD_IOU
        arguments["soft_targets"] = heads.USE_SOFT_TARGETS
        arguments["classification_loss"] = CLASSIFICATION_LOSSES.build(cfg)
        return arguments

    def losses(self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]) -> dict[str, Tensor]:
        """Return the classification loss of this predictor and Detectron2's box loss, or that of soft targets."""
        losses = super().losses(predictions, proposals)
        weights = self.region_weights(predictions, proposals)
        labels = cat([p.gt_classes for p in proposals])
        scores = None
        if self.soft_targets:
            scores = cat([region_scores(p) for p in proposals])
            loss_box = self._soft_box_loss(predictions[1], labels, scores, proposals)
            losses["loss_box_reg"] = loss_box * self.loss_weight.get("loss_box_reg", 1)
        loss_cls = self.classification_loss(predictions[0], labels, scores, weights)
        losses["loss_cls"] = loss_cls * self.loss_weight.get("loss_cls", 1)
        return losses

    def _soft_box_loss(self, deltas: Tensor, labels: Tensor, scores: Tensor, proposals: list[Instances]) -> Tensor:
        foreground = (labels < self.num_classes).nonzero()[:, 0]
        boxes = cat([p.proposal_boxes.tensor for p in proposals])[foreground]
        wanted = cat([(p.gt_boxes if p.has("gt_boxes") else p.proposal_boxes).tensor for p in proposals])[foreground]
        deltas = deltas[foreground].unflatten(1, (-1, 4))
        chosen = labels[foreground] if deltas.shape[1] > 1 else torch.zeros_like(foreground)
        deltas = deltas[torch.arange(len(foreground), device=deltas.device), chosen]
        targets = self.box2box_transform.get_deltas(boxes, wanted)
        return soft_box_loss(deltas, targets, scores[foreground], len(labels), self.smooth_l1_beta)

    @torch.no_grad()
    def region_weights(self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]) -> Tensor | None:
        """Return the weight that DropLoss gives every sampled region.

        Args:
            predictions: logits (sum R_b, K + 1) and box deltas of the regions.
            proposals: per image, with ``proposal_boxes``, ``gt_classes`` and ``gt_boxes``.

        Returns:
            float32 (sum R_b,) of 0 and 1, or ``None`` where nothing is dropped.

        Raises:
            RuntimeError: the predictor is not part of this module's heads.
        """
        threshold = self.droploss_iou_thresh
        if threshold is None:
            return None
        done = [getattr(t.gt_boxes, "done", False) for t in self.targets or ()] or [False] * len(proposals)
        if self.droploss_reference == "published":
            # In the released code, an image without ground truth switches DropLoss off for the batch of stage 0.
            if not all(p.has("gt_boxes") or part for p, part in zip(proposals, done)):
                return None
            references = [
                published_references((p.gt_boxes if p.has("gt_boxes") else p.proposal_boxes).tensor) for p in proposals
            ]
        elif self.targets is None:
            raise RuntimeError("PseudoLabelOutputLayers needs the heads DropLossCascadeROIHeads or its siblings")
        else:
            references = [t.gt_boxes.tensor for t in self.targets]
        pred_boxes = self.predict_boxes_for_gt_classes(predictions, proposals)
        crowds = [getattr(t.gt_boxes, "crowds", None) for t in self.targets or ()] or [None] * len(proposals)
        weights = []
        for regions, boxes, near, part, beside in zip(proposals, pred_boxes, references, done, crowds):
            kept = droploss_weights(boxes, near, threshold, done=part)
            background = regions.gt_classes == self.num_classes
            weights.append(spare_crowds(kept, background, boxes, beside, self.droploss_crowd_iou))
        return torch.cat(weights)


class PseudoGroundTruthROIHeads(ROIHeads):
    """What our heads add to Detectron2's: all targets for DropLoss, and lazily indexed masks."""

    def forward(
        self,
        images: Any,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Run the heads; the box predictors can read all targets during the call.

        Raises:
            UnsegError: in training, the targets lack scores, confidence or crowd regions, by which a loss is weighted.
        """
        if self.training and targets is not None:
            predictors = [layer for layer in self.modules() if isinstance(layer, PseudoLabelOutputLayers)]
            masks = getattr(self, "mask_head", None)
            check_targets(
                targets,
                scores=any(getattr(part, "soft_targets", False) for part in (*predictors, masks)),
                confidence=getattr(masks, "confidence", "none") != "none",
                crowds=any(layer.droploss_crowd_iou < 1 for layer in predictors),
            )
        with _lent_to_droploss(self.box_predictor, targets):
            return super().forward(images, features, proposals, targets)

    @torch.no_grad()
    def label_and_sample_proposals(self, proposals: list[Instances], targets: list[Instances]) -> list[Instances]:
        """Sample regions as Detectron2 does, but without a copy of the mask per region."""
        return super().label_and_sample_proposals(proposals, [_with_lazy_masks(t) for t in targets])


@ROI_HEADS_REGISTRY.register()
class DropLossCascadeROIHeads(PseudoGroundTruthROIHeads, CascadeROIHeads):
    """Cascade R-CNN heads, with DropLoss at every stage if ``MODEL.ROI_HEADS.USE_DROPLOSS`` is on."""

    @classmethod
    def _init_box_head(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        parts = super()._init_box_head(cfg, input_shape)
        if _is_uncertain(cfg):
            parts["box_predictors"] = [
                PseudoLabelOutputLayers(cfg, head.output_shape, box2box_transform=stock.box2box_transform)
                for head, stock in zip(parts["box_heads"], parts["box_predictors"])
            ]
        return parts


@ROI_HEADS_REGISTRY.register()
class DropLossStandardROIHeads(PseudoGroundTruthROIHeads, StandardROIHeads):
    """Mask R-CNN heads, with DropLoss if ``MODEL.ROI_HEADS.USE_DROPLOSS`` is on."""

    @classmethod
    def _init_box_head(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        parts = super()._init_box_head(cfg, input_shape)
        if _is_uncertain(cfg):
            parts["box_predictor"] = PseudoLabelOutputLayers(cfg, parts["box_head"].output_shape)
        return parts


@ROI_HEADS_REGISTRY.register()
class DropLossRes5ROIHeads(PseudoGroundTruthROIHeads, Res5ROIHeads):
    """Heads on one feature map (C4 networks), with DropLoss if ``MODEL.ROI_HEADS.USE_DROPLOSS`` is on."""

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        """Read the arguments from ``MODEL``."""
        parts: dict[str, Any] = super().from_config(cfg, input_shape)
        if _is_uncertain(cfg):
            channels = parts["box_predictor"].cls_score.in_features
            parts["box_predictor"] = PseudoLabelOutputLayers(cfg, ShapeSpec(channels=channels, height=1, width=1))
        return parts


@contextmanager
def _lent_to_droploss(box_predictor: nn.Module, targets: list[Instances] | None) -> Iterator[None]:
    """Give the targets to the DropLoss predictors within a module, and take them back at the end."""
    layers = [module for module in box_predictor.modules() if isinstance(module, PseudoLabelOutputLayers)]
    for layer in layers:
        layer.targets = targets
    try:
        yield
    finally:
        for layer in layers:
            layer.targets = None


def _is_uncertain(cfg: CfgNode) -> bool:
    """Return whether the box predictors must be this module's."""
    require_keys(cfg)
    heads = cfg.MODEL.ROI_HEADS
    return heads.USE_DROPLOSS or heads.USE_SOFT_TARGETS or cfg.LOSSES.CLASSIFICATION.lower() != "cross_entropy"


def _with_lazy_masks(targets: Instances) -> Instances:
    """Return the targets with bit masks in a lazy container; other kinds of masks stay as they are."""
    if not targets.has("gt_masks") or not isinstance(targets.gt_masks, BitMasks):
        return targets
    fields = dict(targets.get_fields())
    fields["gt_masks"] = LazyMasks.from_bit_masks(fields["gt_masks"])
    return Instances(targets.image_size, **fields)
