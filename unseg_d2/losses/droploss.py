"""DropLoss: regions that no pseudo-mask covers are not pushed to the background (CutLER, section 3.3).

Shape legend
    R   regions of interest (RoIs), of one image unless stated otherwise
    G   pseudo ground-truth boxes of the same image
    K   classes; the logits have K + 1 columns, the last one is the background
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

PUBLISHED_UNIQUE_ROWS = 100  # the released code looks for distinct boxes among the first 100 RoIs only


def droploss_weights(
    pred_boxes: Tensor, reference_boxes: Tensor, iou_threshold: float, *, done: bool = False
) -> Tensor:
    """Return weight 1 for RoIs whose predicted box overlaps a pseudo ground-truth box, 0 for the others.

    An image without references keeps nothing: all its weights are 0, because none of its regions is known to be
    background.

    Args:
        pred_boxes: ``(R, 4)`` boxes decoded from the head's own deltas, not clipped; xyxy in pixels.
        reference_boxes: ``(G, 4)`` pseudo ground truth of the same image; xyxy in pixels.
        iou_threshold: tau^IoU; an RoI is kept when its largest IoU is above it.
        done: every object of the image has its box, so that all RoIs are kept: what overlaps none is background.

    Returns:
        ``(R,)`` float32 of 0 and 1, without gradient.

    >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [50.0, 50.0, 60.0, 60.0]])
    >>> droploss_weights(boxes, torch.tensor([[2.0, 0.0, 6.0, 4.0]]), 0.01).tolist()
    [1.0, 0.0]
    """
    pred_boxes, reference_boxes = pred_boxes.detach().float(), reference_boxes.float()
    if done:
        return pred_boxes.new_ones(len(pred_boxes))
    if len(pred_boxes) == 0 or len(reference_boxes) == 0:
        return pred_boxes.new_zeros(len(pred_boxes))
    # Two boxes without area give 0 / 0; NaN is not above the threshold, so such an RoI is dropped.
    iou = box_iou(reference_boxes, pred_boxes).nan_to_num_()
    return (iou.amax(dim=0) > iou_threshold).float()


def spare_crowds(
    weights: Tensor, background: Tensor, pred_boxes: Tensor, crowds: Tensor | None, iou_threshold: float
) -> Tensor:
    """Return weights in which RoIs on crowd regions do not count as background.

    A crowd region says that something is there without saying what, as a mask of a video that is no key mask. S2D's
    temporal DropLoss (Sick et al., arXiv:2512.14440) trains on the frames in which an object has its mask; how is not
    known to us. This is the simplest reading for single images: where an object is known to be, but is not labelled,
    nothing is learnt.

    Args:
        weights: ``(R,)`` float32, from :func:`droploss_weights`.
        background: ``(R,)`` bool, RoIs that are matched to no object.
        pred_boxes: ``(R, 4)``, see :func:`droploss_weights`.
        crowds: ``(M, 4)`` boxes of the crowd regions of the same image, or ``None``; xyxy in pixels.
        iou_threshold: a background RoI gets weight 0 when its largest IoU with a crowd region is above it.

    Returns:
        ``(R,)`` float32, without gradient.

    >>> boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.0], [3.0, 0.0, 7.0, 4.0]])
    >>> background = torch.tensor([False, True, True])
    >>> spare_crowds(torch.ones(3), background, boxes, boxes[:1], 0.5).tolist()
    [1.0, 0.0, 1.0]
    """
    if crowds is None or not len(crowds) or not len(weights):
        return weights
    iou = box_iou(crowds.float(), pred_boxes.detach().float()).nan_to_num_()
    return weights.masked_fill(background & (iou.amax(dim=0) > iou_threshold), 0.0)


def published_references(matched_boxes: Tensor) -> Tensor:
    """Return the reference boxes that CutLER's released code compares with.

    It counts the distinct boxes among the first hundred matched ones and takes *that many rows from the start*, so
    one box usually occurs twice and another is missing.

    Args:
        matched_boxes: ``(R, 4)`` ground-truth box matched to each RoI, in sampling order.

    Returns:
        ``(U, 4)`` the first ``U`` rows, ``U`` being the number of distinct ones.

    >>> published_references(torch.tensor([[1.0] * 4, [1.0] * 4, [2.0] * 4]))[:, 0].tolist()
    [1.0, 1.0]
    """
    unique = torch.unique(matched_boxes[:PUBLISHED_UNIQUE_ROWS], dim=0)
    return matched_boxes[: len(unique)]


def classification_loss(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the weighted cross entropy, averaged over all RoIs whether dropped or not.

    Args:
        logits: ``(R, K + 1)``, here over all images of the batch.
        labels: ``(R,)`` int64 in [0, K]; K is the background.
        weights: ``(R,)`` from :func:`droploss_weights`, or ``None`` for the plain loss.

    Returns:
        Scalar; 0 (with a gradient path) when there are no RoIs.
    """
    if len(labels) == 0:
        return logits.sum() * 0.0
    loss = F.cross_entropy(logits, labels, reduction="none")
    return (loss if weights is None else loss * weights).mean()
