"""Match anchors or proposals with the ground truth, and sample those that enter the loss.

Shape legend
    G   ground-truth boxes of one image
    R   anchors or proposals of the same image
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou

from unseg_d2.transfer import to_card, to_host

IGNORE = -1


def match_boxes(
    gt_boxes: Tensor,
    boxes: Tensor,
    thresholds: Sequence[float],
    labels: Sequence[int],
    *,
    keep_best: bool = False,
) -> tuple[Tensor, Tensor]:
    """Match each box with the ground-truth box that it overlaps most.

    Args:
        gt_boxes: ``(G, 4)`` xyxy.
        boxes: ``(R, 4)`` xyxy.
        thresholds: ascending IoUs that bound the intervals.
        labels: of each interval, one more than there are thresholds: 1 foreground, 0 background, -1 ignored.
        keep_best: label the boxes that overlap a ground-truth box most as foreground, whatever their IoU (RPN).

    Returns:
        ``(R,)`` int64 index of the matched ground-truth box (0 if there is none) and ``(R,)`` int64 label.
    """
    if len(gt_boxes) == 0 or len(boxes) == 0:
        index = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
        return index, torch.full_like(index, labels[0])
    iou = box_iou(gt_boxes, boxes).nan_to_num_()
    best, index = iou.max(dim=0)
    interval = torch.bucketize(best, to_card(torch.tensor(thresholds, dtype=best.dtype), best.device), right=True)
    label = to_card(torch.tensor(labels), best.device)[interval]
    if keep_best:
        closest = (iou == iou.amax(dim=1, keepdim=True)).any(dim=0)
        label = label.masked_fill(closest, 1)
    return index, label


def sample_labels(is_foreground: Tensor, is_background: Tensor, number: int, positive_fraction: float) -> Tensor:
    """Draw a random subset: as many foreground boxes as allowed, the rest background.

    Args:
        is_foreground: ``(R,)`` bool.
        is_background: ``(R,)`` bool.
        number: size of the subset; it is smaller if there are too few candidates.
        positive_fraction: largest share of foreground.

    Returns:
        Indices of the subset, foreground first, each part in random order.
    """
    positive, negative = is_foreground.nonzero()[:, 0], is_background.nonzero()[:, 0]
    num_positive, num_negative = _numbers(len(positive), len(negative), number, positive_fraction)
    chosen_positive = torch.randperm(len(positive), device=positive.device)[:num_positive]
    chosen_negative = torch.randperm(len(negative), device=negative.device)[:num_negative]
    return torch.cat([positive[chosen_positive], negative[chosen_negative]])


def sample_images(
    flags: Sequence[tuple[Tensor, Tensor]], number: int, positive_fraction: float
) -> list[tuple[Tensor, int]]:
    """Draw the subset of each image that :func:`sample_labels` draws; a card is waited for once.

    Args:
        flags: of each image ``(R,)`` bool, foreground and background.
        number, positive_fraction: see :func:`sample_labels`.

    Returns:
        Of each image the indices of the subset, and how many of them, at the start, are foreground.
    """
    (counts,) = to_host(torch.stack([flag.sum() for image in flags for flag in image]))
    samples = []
    for image, (positive, negative) in zip(flags, counts.view(-1, 2).tolist()):
        numbers = _numbers(positive, negative, number, positive_fraction)
        if image[0].device.type == "cpu":
            chosen = sample_labels(*image, number, positive_fraction)
        else:
            chosen = torch.cat([_draw(*part) for part in zip(image, numbers)])
        samples.append((chosen, numbers[0]))
    return samples


def _numbers(positive: int, negative: int, number: int, positive_fraction: float) -> tuple[int, int]:
    """How many foreground and background boxes are drawn of those that there are."""
    num_positive = min(positive, int(number * positive_fraction))
    return num_positive, min(negative, number - num_positive)


def _draw(flags: Tensor, number: int) -> Tensor:
    """Indices of some flags that are set, at random, without a wait to count them: those of the lowest random keys."""
    keys = torch.rand(flags.shape, device=flags.device).masked_fill(~flags, 2)
    return keys.topk(number, largest=False).indices
