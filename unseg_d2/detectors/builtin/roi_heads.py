"""Box and mask branches on the proposals: Cascade R-CNN with any number of stages, and DropLoss.

One stage is the ordinary Mask R-CNN head; three are the cascade (Cai and Vasconcelos, Cascade R-CNN, section 4).

Shape legend
    R   RoIs of all images of the batch, one image after the other
    N   images
    G   ground-truth instances of one image
    K   classes; label K is the background
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from unseg_d2.config.sections.heads import DropLossReference, MaskConfidence, RoIHeadsSettings
from unseg_d2.detectors.builtin.batch import Targets
from unseg_d2.detectors.builtin.box_coder import clip_boxes, is_nonempty
from unseg_d2.detectors.builtin.box_head import BoxHead, BoxPredictor, box_regression_loss, select_detections
from unseg_d2.detectors.builtin.mask_head import MaskHead, select_masks
from unseg_d2.detectors.builtin.matching import match_boxes, sample_images
from unseg_d2.detectors.builtin.roi_pool import PyramidRoIAlign
from unseg_d2.detectors.builtin.rois import LabelledRoIs, RoIs
from unseg_d2.detectors.postprocess import Detections
from unseg_d2.losses.droploss import droploss_weights, published_references, spare_crowds
from unseg_d2.losses.registry import ClassificationLoss, MaskLoss, check_classification_loss, check_mask_loss
from unseg_d2.losses.roi_crop import mask_targets
from unseg_d2.losses.spatial_confidence import mask_cell_weights
from unseg_d2.transfer import to_card, to_host


class RoIHeads(nn.Module):
    """Refine, classify and segment proposals.

    Args:
        box_pool: pools the features of the box branch.
        box_head: one per stage.
        box_predictor: one per stage.
        mask_pool, mask_head: the mask branch; ``mask_head`` is ``None`` for boxes only.
        iou_thresholds: per stage, the lowest IoU of a foreground RoI.
        num_classes: K.
        batch_size_per_image, positive_fraction: sampling of the proposals in training.
        append_ground_truth: add the ground-truth boxes to the proposals in training.
        smooth_l1_beta: error at which the box loss turns from quadratic to linear; 0 is the L1 loss.
        box_loss_weight: factor on the box loss.
        droploss_iou_thresh: tau^IoU, or ``None`` for the plain classification loss.
        droploss_reference: "all" compares with every box of the image, "published" with those that CutLER's released
            code takes.
        droploss_crowd_iou: IoU with a crowd region above which a background RoI is dropped too.
        soft_targets: weight each instance by its score, in all losses.
        mask_confidence: "spatial" weights each cell of the mask loss by its confidence, "scalar" each mask by its mean.
        classification_loss: loss of the class logits of each stage.
        mask_loss: loss of the masks.
        score_thresh, nms_thresh, topk: see :func:`~unseg_d2.detectors.builtin.box_head.select_detections`.

    Raises:
        UnsegError: a loss cannot use the scores or weights that are passed to it.
    """

    def __init__(
        self,
        box_pool: PyramidRoIAlign,
        box_head: Sequence[BoxHead],
        box_predictor: Sequence[BoxPredictor],
        mask_pool: PyramidRoIAlign | None,
        mask_head: MaskHead | None,
        *,
        iou_thresholds: Sequence[float],
        num_classes: int,
        batch_size_per_image: int,
        positive_fraction: float,
        append_ground_truth: bool,
        smooth_l1_beta: float,
        box_loss_weight: float,
        droploss_iou_thresh: float | None,
        droploss_reference: DropLossReference,
        droploss_crowd_iou: float = RoIHeadsSettings.droploss_crowd_iou,
        soft_targets: bool,
        mask_confidence: MaskConfidence,
        classification_loss: ClassificationLoss,
        mask_loss: MaskLoss,
        score_thresh: float,
        nms_thresh: float,
        topk: int,
    ) -> None:
        super().__init__()
        dropping = droploss_iou_thresh is not None
        check_classification_loss(classification_loss, soft_targets=soft_targets, droploss=dropping)
        check_mask_loss(mask_loss, soft_targets=soft_targets, confidence=mask_confidence)
        self.classification_loss, self.mask_loss = classification_loss, mask_loss
        self.box_pool, self.box_head = box_pool, nn.ModuleList(box_head)
        self.box_predictor = nn.ModuleList(box_predictor)
        self.coders = tuple(predictor.coder for predictor in box_predictor)
        self.mask_pool, self.mask_head = mask_pool, mask_head
        self.iou_thresholds = tuple(iou_thresholds)
        self.num_classes = num_classes
        self.batch_size_per_image, self.positive_fraction = batch_size_per_image, positive_fraction
        self.append_ground_truth = append_ground_truth
        self.smooth_l1_beta, self.box_loss_weight = smooth_l1_beta, box_loss_weight
        self.droploss_iou_thresh, self.droploss_reference = droploss_iou_thresh, droploss_reference
        self.droploss_crowd_iou = droploss_crowd_iou
        self.soft_targets, self.mask_confidence = soft_targets, mask_confidence
        self.selection: dict[str, Any] = {"score_thresh": score_thresh, "nms_thresh": nms_thresh, "topk": topk}

    def forward(
        self,
        features: Sequence[Tensor],
        proposals: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[Targets],
    ) -> dict[str, Tensor]:
        """Return the losses of a batch: ``loss_cls`` and ``loss_box_reg`` per stage, and ``loss_mask``.

        Args:
            features: one ``(N, C, h, w)`` map per level.
            proposals: per image ``(P, 4)`` boxes.
            sizes: height and width of each image.
            targets: ground truth of each image.
        """
        sampled = rois = self.sample(proposals, targets)
        losses, stages = {}, len(self.box_head)
        for stage in range(stages):
            logits, deltas = self._run_stage(features, rois, stage)
            boxes = self.coders[stage].decode(deltas.detach(), rois.boxes)
            suffix = f"_stage{stage}" if stages > 1 else ""
            for name, loss in self._box_losses(logits, deltas, boxes, rois, targets, stage).items():
                losses[name + suffix] = loss
            if stage + 1 < stages:
                rois = self._next_rois(boxes, rois, sizes, targets, stage + 1)
        if self.mask_head is not None:
            losses["loss_mask"] = self._mask_loss(features, sampled, targets)
        return losses

    @torch.no_grad()
    def predict(
        self, features: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> list[Detections]:
        """Return the detections of each image: scores averaged over the stages, boxes of the last stage."""
        rois = RoIs(torch.cat(list(proposals)), [len(boxes) for boxes in proposals])
        limits = rois.limits(sizes)
        stages, mean_scores = len(self.box_head), torch.zeros((), device=rois.boxes.device)
        for stage in range(stages):
            logits, deltas = self._run_stage(features, rois, stage)
            boxes = self.coders[stage].decode(deltas, rois.boxes)
            mean_scores = mean_scores + logits.float().softmax(dim=1)
            if stage + 1 < stages:
                rois = replace(rois, boxes=clip_boxes(boxes, limits))
        mean_scores = mean_scores * (1.0 / stages)
        per_image = zip(boxes.split(rois.counts), mean_scores.split(rois.counts), sizes)
        found = [Detections(*select_detections(*image, **self.selection)) for image in per_image]
        return found if self.mask_head is None else self._with_masks(features, found)

    @torch.no_grad()
    def sample(self, proposals: Sequence[Tensor], targets: Sequence[Targets]) -> LabelledRoIs:
        """Sample the RoIs of one training step: of each image foreground first, each part in random order."""
        if self.append_ground_truth:
            proposals = [torch.cat([boxes, target.boxes]) for boxes, target in zip(proposals, targets)]
        labels, gt_index, gt_boxes = self._label(proposals, targets, self.iou_thresholds[0])
        counts = [len(boxes) for boxes in proposals]
        flags = [(image < self.num_classes, image == self.num_classes) for image in labels.split(counts)]
        chosen = sample_images(flags, self.batch_size_per_image, self.positive_fraction)
        starts = [sum(counts[:image]) for image in range(len(counts))]
        index = torch.cat([part + start for (part, _), start in zip(chosen, starts)])
        counts, num_foreground = [len(part) for part, _ in chosen], [positive for _, positive in chosen]
        starts = [sum(counts[:image]) for image in range(len(counts))]
        foreground = torch.cat([torch.arange(start, start + n) for start, n in zip(starts, num_foreground)])
        foreground = to_card(foreground, index.device)
        boxes = torch.cat(list(proposals))[index]
        return LabelledRoIs(boxes, counts, labels[index], gt_index[index], gt_boxes[index], foreground, num_foreground)

    def _label(
        self, boxes: Sequence[Tensor], targets: Sequence[Targets], iou_threshold: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Match the boxes of each image with its ground truth: labels, index and box, as in `LabelledRoIs`."""
        columns = []
        for image_boxes, target in zip(boxes, targets):
            index, foreground = match_boxes(target.boxes, image_boxes, (iou_threshold,), (0, 1))
            if len(target.boxes):
                labels, gt_boxes = target.classes[index], target.boxes[index]
            else:
                labels, gt_boxes = index, torch.zeros_like(image_boxes)
            columns.append((labels.masked_fill(foreground == 0, self.num_classes), index, gt_boxes))
        labels, index, gt_boxes = (torch.cat(column) for column in zip(*columns))
        return labels, index, gt_boxes

    @torch.no_grad()
    def _next_rois(
        self, boxes: Tensor, rois: RoIs, sizes: Sequence[tuple[int, int]], targets: Sequence[Targets], stage: int
    ) -> LabelledRoIs:
        """Turn the boxes of one stage into the labelled RoIs of the next; a card is waited for once."""
        boxes = clip_boxes(boxes, rois.limits(sizes))
        labels, gt_index, gt_boxes = self._label(boxes.split(rois.counts), targets, self.iou_thresholds[stage])
        exists, is_foreground = to_host(is_nonempty(boxes), labels < self.num_classes)
        counts = [int(image.sum()) for image in exists.split(rois.counts)]
        is_foreground = is_foreground[exists]
        foreground = to_card(is_foreground.nonzero()[:, 0], boxes.device)
        foreground_counts = [int(image.sum()) for image in is_foreground.split(counts)]
        if len(is_foreground) < len(boxes):
            kept = to_card(exists.nonzero()[:, 0], boxes.device)
            boxes, labels, gt_index, gt_boxes = (column[kept] for column in (boxes, labels, gt_index, gt_boxes))
        return LabelledRoIs(boxes, counts, labels, gt_index, gt_boxes, foreground, foreground_counts)

    def _run_stage(self, features: Sequence[Tensor], rois: RoIs, stage: int) -> tuple[Tensor, Tensor]:
        pooled = self.box_pool(features, rois.boxes, rois.image_index())
        if self.training and len(self.box_head) > 1:
            # The stages' losses are added; the gradient of the shared features is their average.
            pooled = ScaleGradient.apply(pooled, 1.0 / len(self.box_head))
        return self.box_predictor[stage](self.box_head[stage](pooled))

    def _box_losses(
        self, logits: Tensor, deltas: Tensor, boxes: Tensor, rois: LabelledRoIs, targets: Sequence[Targets], stage: int
    ) -> dict[str, Tensor]:
        weights = self._droploss(boxes, rois, targets, stage)
        scores = gather_scores(rois, targets) if self.soft_targets else None
        loss_cls = self.classification_loss(logits.float(), rois.labels, scores, weights)
        loss_box = box_regression_loss(
            deltas,
            rois.boxes,
            rois.gt_boxes,
            rois.labels,
            self.coders[stage],
            num_classes=self.num_classes,
            beta=self.smooth_l1_beta,
            scores=scores,
            foreground=rois.foreground,
        )
        return {"loss_cls": loss_cls, "loss_box_reg": loss_box * self.box_loss_weight}

    def _droploss(self, boxes: Tensor, rois: LabelledRoIs, targets: Sequence[Targets], stage: int) -> Tensor | None:
        """Return weights ``(R,)`` of the classification loss, or ``None`` where nothing is dropped."""
        threshold = self.droploss_iou_thresh
        if threshold is None:
            return None
        references = [target.boxes for target in targets]
        if self.droploss_reference == "published":
            if stage == 0 and any(len(target.boxes) == 0 and not target.done for target in targets):
                return None  # the released code drops nothing from a batch with an empty image, in the first stage
            references = [published_references(image) for image in rois.gt_boxes.split(rois.counts)]
        boxes = self._own_class(boxes, rois.labels)
        background = rois.labels == self.num_classes
        per_image = zip(boxes.split(rois.counts), background.split(rois.counts), references, targets)
        return torch.cat(
            [
                spare_crowds(
                    droploss_weights(part, near, threshold, done=target.done),
                    *(others, part, target.crowds, self.droploss_crowd_iou),
                )
                for part, others, near, target in per_image
            ]
        )

    def _own_class(self, boxes: Tensor, labels: Tensor) -> Tensor:
        """Return ``(R, 4)``: from ``(R, 4K)``, the box of each RoI's class, for background that of the last class."""
        boxes = boxes.unflatten(1, (-1, 4))
        chosen = labels.clamp(max=boxes.shape[1] - 1)
        return boxes[torch.arange(len(labels), device=labels.device), chosen]

    def _mask_loss(self, features: Sequence[Tensor], rois: LabelledRoIs, targets: Sequence[Targets]) -> Tensor:
        foreground, counts = rois.foreground, rois.foreground_counts
        image, boxes, index = rois.image_index()[foreground], rois.boxes[foreground], rois.gt_index[foreground]
        logits = self._mask_logits(features, boxes, image)
        size = logits.shape[-1]
        per_image = list(zip(targets, boxes.split(counts), index.split(counts)))
        wanted = torch.cat([mask_targets(target.masks, part, matched, size) for target, part, matched in per_image])
        weights = None
        if self.mask_confidence != "none":
            weights = torch.cat(
                [
                    mask_cell_weights(target.confidence, target.masks, part, matched, size, self.mask_confidence)
                    for target, part, matched in per_image
                ]
            )
        if self.soft_targets:
            scores = gather_scores(rois, targets)[foreground, None, None]
            weights = scores if weights is None else weights * scores
        return self.mask_loss(select_masks(logits, rois.labels[foreground]).float(), wanted, weights)

    def _with_masks(self, features: Sequence[Tensor], found: Sequence[Detections]) -> list[Detections]:
        rois = RoIs(torch.cat([image.boxes for image in found]), [len(image.boxes) for image in found])
        logits = self._mask_logits(features, rois.boxes, rois.image_index())
        masks = select_masks(logits, torch.cat([image.classes for image in found])).float().sigmoid()
        return [replace(image, masks=part) for image, part in zip(found, masks.split(rois.counts))]

    def _mask_logits(self, features: Sequence[Tensor], boxes: Tensor, image_index: Tensor) -> Tensor:
        assert self.mask_pool is not None and self.mask_head is not None  # only called where there is a mask branch
        return self.mask_head(self.mask_pool(features, boxes, image_index))


def gather_scores(rois: LabelledRoIs, targets: Sequence[Targets]) -> Tensor:
    """Return ``(R,)`` float32, the score of the instance that each RoI is matched to; 1 where it has none."""
    columns = []
    for target, index in zip(targets, rois.gt_index.split(rois.counts)):
        if target.scores is not None and len(target.scores) > 0:
            columns.append(target.scores[index])
        else:
            columns.append(torch.ones_like(index, dtype=torch.float32))
    return torch.cat(columns)


class ScaleGradient(torch.autograd.Function):
    """The identity, with a gradient multiplied by a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        """Return ``x``."""
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Scale the gradient."""
        return gradient * ctx.scale, None
