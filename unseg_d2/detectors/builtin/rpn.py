"""Region proposal network (Ren et al., Faster R-CNN, section 3) with Detectron2's numerics.

Shape legend
    N      images
    A      anchors of one image on all levels; a, anchors per position
    M      anchors of one image that are decoded
    R      proposals of one image
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torchvision.models.detection.rpn import RPNHead

from unseg_d2.detectors.builtin.anchors import AnchorGenerator
from unseg_d2.detectors.builtin.backbone import STRIDES
from unseg_d2.detectors.builtin.batch import Targets
from unseg_d2.detectors.builtin.box_coder import BoxCoder, clip_boxes, is_nonempty
from unseg_d2.detectors.builtin.matching import match_boxes, sample_images
from unseg_d2.detectors.builtin.nms import grouped_nms
from unseg_d2.transfer import to_card


@dataclass(frozen=True)
class ProposalSelection:
    """How many proposals are kept, in training or in evaluation mode.

    Attributes:
        pre_nms_topk: anchors per level that are decoded, those with the highest scores.
        post_nms_topk: proposals per image.
        nms_thresh: IoU above which the lower-scoring of two proposals of a level is dropped.
        min_size: both sides must be longer than this, in pixels.
    """

    pre_nms_topk: int
    post_nms_topk: int
    nms_thresh: float
    min_size: float


class RegionProposalNetwork(nn.Module):
    """Propose boxes and, in training, compute the losses.

    Args:
        head: maps pyramid levels to objectness logits ``(N, a, h, w)`` and deltas ``(N, 4a, h, w)``.
        anchors: the anchor generator.
        coder: parametrisation of the deltas.
        train_selection, test_selection: see :class:`ProposalSelection`.
        iou_thresholds, iou_labels: see :func:`~unseg_d2.detectors.builtin.matching.match_boxes`.
        batch_size_per_image: anchors per image in the loss.
        positive_fraction: largest share of foreground among them.
        smooth_l1_beta: 0 is the L1 loss.
        loss_weights: factors on ``loss_rpn_cls`` and ``loss_rpn_loc``.
    """

    def __init__(
        self,
        head: nn.Module,
        anchors: AnchorGenerator,
        coder: BoxCoder,
        *,
        train_selection: ProposalSelection,
        test_selection: ProposalSelection,
        iou_thresholds: Sequence[float],
        iou_labels: Sequence[int],
        batch_size_per_image: int,
        positive_fraction: float,
        smooth_l1_beta: float,
        loss_weights: tuple[float, float],
    ) -> None:
        super().__init__()
        self.head = head
        self.anchors = anchors
        self.coder = coder
        self.train_selection, self.test_selection = train_selection, test_selection
        self.iou_thresholds, self.iou_labels = tuple(iou_thresholds), tuple(iou_labels)
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction
        self.smooth_l1_beta = smooth_l1_beta
        self.loss_weights = loss_weights

    def forward(
        self, features: Sequence[Tensor], sizes: Sequence[tuple[int, int]], targets: Sequence[Targets] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Propose boxes for a batch.

        Args:
            features: one ``(N, C, h, w)`` map per level.
            sizes: height and width of each image before padding.
            targets: ground truth; required in training mode.

        Returns:
            Per image the proposals ``(R, 4)`` xyxy, best first, without gradient; and in training mode the losses
            ``loss_rpn_cls`` and ``loss_rpn_loc``.

        Raises:
            ValueError: there are no targets in training mode.
        """
        anchors = self.anchors(features)
        logits, deltas = self.head(list(features))
        logits = [level.permute(0, 2, 3, 1).flatten(1) for level in logits]
        deltas = [level.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3) for level in deltas]
        losses = {}
        if self.training:
            if targets is None:
                raise ValueError("the region proposal network needs targets in training mode")
            losses = self._losses(torch.cat(anchors), torch.cat(logits, dim=1), torch.cat(deltas, dim=1), targets)
        selection = self.train_selection if self.training else self.test_selection
        with torch.no_grad():
            per_image = zip(*self._candidates(anchors, logits, deltas, selection), sizes)
            proposals = [
                select_proposals(boxes, scores, levels, size, selection) for boxes, scores, levels, size in per_image
            ]
        return proposals, losses

    def _candidates(
        self, anchors: list[Tensor], logits: list[Tensor], deltas: list[Tensor], selection: ProposalSelection
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode the best anchors of each level: boxes ``(N, M, 4)``, scores and levels ``(N, M)``."""
        boxes, scores, levels = [], [], []
        for level, (level_anchors, level_logits, level_deltas) in enumerate(zip(anchors, logits, deltas)):
            topk = min(level_logits.shape[1], selection.pre_nms_topk)
            score, index = level_logits.topk(topk, dim=1)
            chosen = level_deltas.gather(1, index[:, :, None].expand(-1, -1, 4))
            decoded = self.coder.decode(chosen.flatten(0, 1), level_anchors[index].flatten(0, 1))
            boxes.append(decoded.view(*index.shape, 4))
            scores.append(score)
            levels.append(torch.full_like(index, level))
        return torch.cat(boxes, dim=1), torch.cat(scores, dim=1), torch.cat(levels, dim=1)

    def _losses(self, anchors: Tensor, logits: Tensor, deltas: Tensor, targets: Sequence[Targets]) -> dict[str, Tensor]:
        """Return objectness loss of the sampled anchors and L1 loss of the foreground ones, both per sampled anchor."""
        objectness, wanted, sampled_logits, sampled_deltas = [], [], [], []
        matched = [
            match_boxes(target.boxes, anchors, self.iou_thresholds, self.iou_labels, keep_best=True)
            for target in targets
        ]
        flags = [(label == 1, label == 0) for _, label in matched]
        samples = sample_images(flags, self.batch_size_per_image, self.positive_fraction)
        for image, (target, (index, label), (sampled, positive)) in enumerate(zip(targets, matched, samples)):
            foreground = sampled[:positive]
            objectness.append(label[sampled])
            sampled_logits.append(logits[image, sampled])
            sampled_deltas.append(deltas[image, foreground])
            wanted.append(self.coder.encode(anchors[foreground], target.boxes[index[foreground]]))
        normaliser = self.batch_size_per_image * len(targets)
        loss_cls = F.binary_cross_entropy_with_logits(
            torch.cat(sampled_logits).float(), torch.cat(objectness).float(), reduction="sum"
        )
        loss_loc = F.smooth_l1_loss(
            torch.cat(sampled_deltas).float(), torch.cat(wanted), beta=self.smooth_l1_beta, reduction="sum"
        )
        return {
            "loss_rpn_cls": loss_cls * (self.loss_weights[0] / normaliser),
            "loss_rpn_loc": loss_loc * (self.loss_weights[1] / normaliser),
        }


def select_proposals(
    boxes: Tensor, scores: Tensor, levels: Tensor, size: tuple[int, int], selection: ProposalSelection
) -> Tensor:
    """Clip the boxes of one image, drop small and non-finite ones, apply NMS within each level and keep the best.

    Args:
        boxes: ``(M, 4)`` xyxy.
        scores: ``(M,)`` objectness logits.
        levels: ``(M,)`` int64 pyramid level of each box.
        size: height and width of the image before padding.
        selection: see :class:`ProposalSelection`.

    Returns:
        ``(R, 4)`` boxes, best first.
    """
    height, width = size
    finite = torch.isfinite(boxes).all(dim=1) & torch.isfinite(scores)
    limits = to_card(torch.tensor([width, height, width, height], dtype=boxes.dtype), boxes.device)
    boxes = clip_boxes(boxes, limits)
    keep = (finite & is_nonempty(boxes, selection.min_size)).nonzero()[:, 0]
    boxes, scores, levels = boxes[keep], scores[keep].float(), levels[keep]
    kept = grouped_nms(boxes, scores, levels, selection.nms_thresh)
    return boxes[kept[: selection.post_nms_topk]]


def build_rpn(cfg: CfgNode, in_channels: int) -> RegionProposalNetwork:
    """Build the RPN that ``MODEL.RPN``, ``MODEL.ANCHOR_GENERATOR`` and ``MODEL.PROPOSAL_GENERATOR`` describe."""
    rpn, generator = cfg.MODEL.RPN, cfg.MODEL.ANCHOR_GENERATOR
    strides = [STRIDES[name] for name in rpn.IN_FEATURES]
    anchors = AnchorGenerator(generator.SIZES, generator.ASPECT_RATIOS, strides, generator.OFFSET)
    min_size = cfg.MODEL.PROPOSAL_GENERATOR.MIN_SIZE
    return RegionProposalNetwork(
        RPNHead(in_channels, anchors.num_anchors),
        anchors,
        BoxCoder(rpn.BBOX_REG_WEIGHTS),
        train_selection=ProposalSelection(rpn.PRE_NMS_TOPK_TRAIN, rpn.POST_NMS_TOPK_TRAIN, rpn.NMS_THRESH, min_size),
        test_selection=ProposalSelection(rpn.PRE_NMS_TOPK_TEST, rpn.POST_NMS_TOPK_TEST, rpn.NMS_THRESH, min_size),
        iou_thresholds=rpn.IOU_THRESHOLDS,
        iou_labels=rpn.IOU_LABELS,
        batch_size_per_image=rpn.BATCH_SIZE_PER_IMAGE,
        positive_fraction=rpn.POSITIVE_FRACTION,
        smooth_l1_beta=rpn.SMOOTH_L1_BETA,
        loss_weights=(rpn.LOSS_WEIGHT, rpn.LOSS_WEIGHT * rpn.BBOX_REG_LOSS_WEIGHT),
    )
