"""The box branch of one stage: class logits and box deltas of RoIs, the box loss and the selection of detections.

Shape legend
    R   RoIs of all images of the batch
    K   classes; label K is the background
    k   boxes per RoI: 1, or K with class-specific regression
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unseg_d2.detectors.builtin.box_coder import BoxCoder, clip_boxes
from unseg_d2.detectors.builtin.nms import grouped_nms
from unseg_d2.losses.soft_target import soft_box_loss
from unseg_d2.transfer import to_card


class BoxHead(nn.Sequential):
    """Fully connected layers on flattened RoI features.

    Args:
        in_features: channels times cells of a pooled RoI.
        dims: width of each layer.
    """

    def __init__(self, in_features: int, dims: Sequence[int]) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        for number, dim in enumerate(dims, start=1):
            layers[f"fc{number}"] = layer = nn.Linear(in_features, dim)
            layers[f"fc_relu{number}"] = nn.ReLU()
            nn.init.kaiming_uniform_(layer.weight, a=1)  # Caffe2's "xavier fill"
            nn.init.zeros_(layer.bias)
            in_features = dim
        super().__init__(layers)
        self.out_features = in_features


class BoxPredictor(nn.Module):
    """The last two linear layers of a stage.

    Args:
        in_features: width of the box head.
        num_classes: K.
        boxes_per_roi: k.
        coder: parametrisation of the deltas of this stage.
    """

    def __init__(self, in_features: int, num_classes: int, boxes_per_roi: int, coder: BoxCoder) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.coder = coder
        self.cls_score = nn.Linear(in_features, num_classes + 1)
        self.bbox_pred = nn.Linear(in_features, 4 * boxes_per_roi)
        for layer, std in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``(R, K + 1)`` and deltas ``(R, 4k)`` for features ``(R, D)``."""
        return self.cls_score(x), self.bbox_pred(x)


def box_regression_loss(
    deltas: Tensor,
    boxes: Tensor,
    gt_boxes: Tensor,
    labels: Tensor,
    coder: BoxCoder,
    num_classes: int,
    beta: float,
    scores: Tensor | None = None,
    foreground: Tensor | None = None,
) -> Tensor:
    """Return the (smooth) L1 loss of the foreground RoIs, summed and divided by the number of all RoIs.

    Args:
        deltas: ``(R, 4k)`` predictions.
        boxes: ``(R, 4)`` boxes that the deltas are relative to.
        gt_boxes: ``(R, 4)`` matched ground truth; ignored for background.
        labels: ``(R,)`` int64 in [0, K].
        coder: parametrisation of the deltas.
        num_classes: K.
        beta: where the smooth L1 loss turns from quadratic to linear; 0 is the L1 loss.
        scores: ``(R,)`` weight of each RoI's instance, or ``None`` if all weigh the same.
        foreground: int64 indices of the RoIs with labels below K, where they are known.
    """
    if foreground is None:
        foreground = (labels < num_classes).nonzero()[:, 0]
    deltas = deltas.unflatten(1, (-1, 4))
    chosen = labels[foreground] if deltas.shape[1] > 1 else torch.zeros_like(foreground)
    wanted = coder.encode(boxes[foreground], gt_boxes[foreground])
    if scores is None:
        loss = F.smooth_l1_loss(deltas[foreground, chosen].float(), wanted, beta=beta, reduction="sum")
        return loss / max(len(labels), 1)
    return soft_box_loss(deltas[foreground, chosen].float(), wanted, scores[foreground], len(labels), beta)


def select_detections(
    boxes: Tensor, scores: Tensor, size: tuple[int, int], *, score_thresh: float, nms_thresh: float, topk: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Clip, threshold and apply NMS per class to the RoIs of one image.

    Args:
        boxes: ``(R, 4k)`` decoded boxes.
        scores: ``(R, K + 1)`` probabilities.
        size: height and width of the image.
        score_thresh: detections must score above this.
        nms_thresh: IoU above which the lower-scoring of two boxes of a class is dropped.
        topk: largest number of detections; a negative number keeps all.

    Returns:
        Boxes ``(n, 4)``, scores ``(n,)``, classes ``(n,)`` int64, best first.
    """
    height, width = size
    finite = torch.isfinite(boxes).all(dim=1) & torch.isfinite(scores).all(dim=1)
    boxes, scores = boxes.unflatten(1, (-1, 4)), scores[:, :-1]
    limits = to_card(torch.tensor([width, height, width, height], dtype=boxes.dtype), boxes.device)
    boxes = clip_boxes(boxes, limits)
    roi, label = ((scores > score_thresh) & finite[:, None]).nonzero(as_tuple=True)
    boxes = boxes[roi, label if boxes.shape[1] > 1 else 0]
    scores = scores[roi, label]
    keep = grouped_nms(boxes.float(), scores, label, nms_thresh)
    keep = keep[:topk] if topk >= 0 else keep
    return boxes[keep], scores[keep], label[keep]
