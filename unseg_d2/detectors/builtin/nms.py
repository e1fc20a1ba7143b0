"""Non-maximum suppression within groups of boxes."""

from __future__ import annotations

from torch import Tensor
from torchvision.ops import batched_nms, nms


def grouped_nms(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
    """Drop boxes that overlap one of their group that scores higher.

    Args:
        boxes: ``(R, 4)`` float32 xyxy, not negative.
        scores: ``(R,)``.
        groups: ``(R,)`` int64, a class or a level; boxes of different groups do not meet.
        iou_threshold: IoU above which the lower-scoring of two boxes is dropped.

    Returns:
        Indices of the boxes that are kept, best first.
    """
    if boxes.device.type == "cpu" or len(boxes) == 0:
        return batched_nms(boxes, scores, groups, iou_threshold)
    # torchvision does the same with few boxes, but a number that it copies to the card makes the host wait.
    return nms(boxes + (groups.to(boxes) * (boxes.max() + 1))[:, None], scores, iou_threshold)
