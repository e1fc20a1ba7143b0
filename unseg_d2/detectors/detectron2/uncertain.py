"""Scores and spatial confidence of pseudo-masks in Detectron2's heads.

Detectron2 indexes ``gt_boxes`` and ``gt_masks`` with the sampled regions, between the stages of a cascade ``gt_boxes``
alone. So scores travel with the boxes, and confidence has a lazy container like that of masks.

Shapes: G instances of the image, R regions of interest, (H, W) image size, M side of a mask target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import ROI_MASK_HEAD_REGISTRY, MaskRCNNConvUpsampleHead
from detectron2.structures import Boxes, Instances
from torch import Tensor

from unseg_d2.config.sections.heads import MaskConfidence, MaskHeadSettings, RoIHeadsSettings
from unseg_d2.detectors.heads import require_keys
from unseg_d2.errors import UnsegError
from unseg_d2.losses.cross_entropy import mask_cross_entropy
from unseg_d2.losses.registry import MASK_LOSSES, MaskLoss, check_mask_loss
from unseg_d2.losses.spatial_confidence import ConfidenceKind, mask_cell_weights

LOADERS = "UnsegDatasetMapper (unseg_d2.detectron2) or this project's own loader"
"""Who provides what the losses need, for messages."""


class ScoredBoxes(Boxes):
    """Ground-truth boxes with the score of each instance.

    Args:
        tensor: (G, 4) xyxy in pixels.
        scores: (G,) float32 in [0, 1].
        done: these are all objects of the image; DropLoss spares nothing in it.
        crowds: (M, 4) boxes of crowd regions of the image, which DropLoss may spare, or ``None``.
    """

    def __init__(self, tensor: Tensor, scores: Tensor, done: bool = False, crowds: Tensor | None = None) -> None:
        super().__init__(tensor)
        self.scores, self.done, self.crowds = scores, done, crowds

    def __getitem__(self, item: int | slice | Tensor) -> ScoredBoxes:
        """Select boxes and their scores."""
        boxes = super().__getitem__(item)
        return ScoredBoxes(boxes.tensor, self.scores[item].reshape(len(boxes)), self.done, self.crowds)

    def to(self, device: torch.device) -> ScoredBoxes:
        """Move to a device."""
        crowds = None if self.crowds is None else self.crowds.to(device)
        return ScoredBoxes(self.tensor.to(device), self.scores.to(device), self.done, crowds)

    def clone(self) -> ScoredBoxes:
        """Return a copy."""
        return ScoredBoxes(self.tensor.clone(), self.scores.clone(), self.done, self.crowds)


class LazyConfidence:
    """The spatial confidence of masks as a field of ``Instances``; indexing it copies no map.

    Args:
        confidence: uint8 (G, H, W), 255 meaning 1, shared by all containers that are made from this one.
        masks: bool (G, H, W), shared likewise.
        index: int64 (R,), the instance of each of the R elements; all G in order by default.
    """

    def __init__(self, confidence: Tensor, masks: Tensor, index: Tensor | None = None) -> None:
        self.confidence, self.masks = confidence, masks
        self.index = torch.arange(len(masks), device=masks.device) if index is None else index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: int | slice | Tensor) -> LazyConfidence:
        """Select elements; an integer selects a container of one."""
        return LazyConfidence(self.confidence, self.masks, self.index[item].reshape(-1))

    def to(self, *args: Any, **kwargs: Any) -> LazyConfidence:
        """Move to a device; takes the arguments of ``Tensor.to``."""
        confidence, masks = self.confidence.to(*args, **kwargs), self.masks.to(*args, **kwargs)
        return LazyConfidence(confidence, masks, self.index.to(masks.device))

    def weights(self, boxes: Tensor, size: int, kind: ConfidenceKind) -> Tensor:
        """Return the weights (R, M, M) of the mask loss.

        Args:
            boxes: (R, 4) regions, xyxy in pixels.
            size: M.
            kind: ``spatial`` or ``scalar``.
        """
        return mask_cell_weights(self.confidence, self.masks, boxes, self.index, size, kind)


@ROI_MASK_HEAD_REGISTRY.register()
class ConfidenceMaskHead(MaskRCNNConvUpsampleHead):
    """Detectron2's mask head with a loss weighted by spatial confidence and by the scores of instances.

    Args:
        input_shape: shape of the features of one region.
        confidence: ``none``, ``spatial`` (CutS3D, equation 6) or ``scalar``.
        soft_targets: multiply the loss of a mask by the score of its instance (CuVLER, section 3.3).
        mask_loss: loss of the masks.
        **kwargs: arguments of ``MaskRCNNConvUpsampleHead``.

    Raises:
        ValueError: the kind of confidence is unknown.
        UnsegError: the loss cannot use the weights that are passed to it.
    """

    @configurable
    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        confidence: MaskConfidence = MaskHeadSettings.confidence,
        soft_targets: bool = RoIHeadsSettings.use_soft_targets,
        mask_loss: MaskLoss = mask_cross_entropy,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_shape, **kwargs)
        if confidence not in get_args(MaskConfidence):
            raise ValueError(
                f"MODEL.ROI_MASK_HEAD.CONFIDENCE must be 'none', 'spatial' or 'scalar', not {confidence!r}"
            )
        check_mask_loss(mask_loss, soft_targets=soft_targets, confidence=confidence)
        self.confidence, self.soft_targets = confidence, soft_targets
        # A loss that is a Module must not become a submodule: Detectron2 applies every submodule as a layer.
        object.__setattr__(self, "mask_loss", mask_loss)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        """Read the arguments from ``MODEL.ROI_MASK_HEAD``, ``MODEL.ROI_HEADS`` and ``LOSSES``."""
        require_keys(cfg)
        arguments = super().from_config(cfg, input_shape)
        arguments["confidence"] = cfg.MODEL.ROI_MASK_HEAD.CONFIDENCE
        arguments["soft_targets"] = cfg.MODEL.ROI_HEADS.USE_SOFT_TARGETS
        arguments["mask_loss"] = MASK_LOSSES.build(cfg)
        return arguments

    def forward(self, x: Tensor, instances: list[Instances]) -> dict[str, Tensor] | list[Instances]:
        """Return the loss in training, otherwise the instances with their masks."""
        weighted = self.confidence != "none" or self.soft_targets
        if not self.training or (not weighted and self.mask_loss is mask_cross_entropy):
            return super().forward(x, instances)
        logits = self.layers(x)
        instances = [image for image in instances if len(image)]
        if not instances:
            return {"loss_mask": logits.sum() * 0.0}
        size = logits.shape[-1]
        targets = [image.gt_masks.crop_and_resize(image.proposal_boxes.tensor, size) for image in instances]
        weights = torch.cat([self._weights(image, size) for image in instances]) if weighted else None
        chosen = logits[:, 0]
        if logits.shape[1] > 1:
            classes = torch.cat([image.gt_classes for image in instances])
            chosen = logits[torch.arange(len(logits), device=logits.device), classes]
        loss = self.mask_loss(chosen.float(), torch.cat(targets).to(chosen.device), weights)
        return {"loss_mask": loss * self.loss_weight}

    def _weights(self, image: Instances, size: int) -> Tensor:
        boxes = image.proposal_boxes.tensor
        weights = boxes.new_ones(len(image), size, size)
        if self.confidence != "none" and image.has("gt_confidence"):
            weights = image.gt_confidence.weights(boxes, size, self.confidence)
        return weights * region_scores(image)[:, None, None] if self.soft_targets else weights


def check_targets(targets: Sequence[Instances], *, scores: bool, confidence: bool, crowds: bool = False) -> None:
    """Refuse ground truth that lacks what the losses weight it by.

    Args:
        targets: of each image; images without instances need nothing.
        scores: the losses weight instances by their scores.
        confidence: the mask loss is weighted by spatial confidence. Instances with scores need none, because loaders
            that know scores have looked for it: single masks without it are fully certain.
        crowds: DropLoss spares crowd regions, which the same loaders know of.

    Raises:
        UnsegError: it lacks them, so the losses would be those without weights.
    """
    for image in targets:
        if not len(image) or isinstance(image.gt_boxes, ScoredBoxes):
            continue
        if crowds:
            raise _missing("MODEL.ROI_HEADS.DROPLOSS_CROWD_IOU", "crowd regions")
        if scores:
            raise _missing("MODEL.ROI_HEADS.USE_SOFT_TARGETS", "scores")
        if confidence and not image.has("gt_confidence"):
            raise _missing("MODEL.ROI_MASK_HEAD.CONFIDENCE", "spatial confidence")


def _missing(key: str, what: str) -> UnsegError:
    return UnsegError(
        f"{key} is on, but the instances of a training batch have no {what}; load the data with {LOADERS}, or switch "
        "the key off."
    )


def region_scores(regions: Instances) -> Tensor:
    """Return (R,) float32, the score of the instance that each region is matched to; 1 where it has none."""
    boxes = regions.gt_boxes if regions.has("gt_boxes") else None
    if isinstance(boxes, ScoredBoxes):
        return boxes.scores
    return torch.ones(len(regions), device=regions.gt_classes.device)
