"""Soft targets: an instance is weighted by its score (Arica et al., CuVLER, CVPR 2024, section 3.3).

Shape legend
    R   regions of interest (RoIs) over all images of the batch
    F   foreground RoIs among them
    K   classes; the logits have K + 1 columns, the last one is the background
    M   cells per side of a predicted mask
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_classification_loss(logits: Tensor, labels: Tensor, scores: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the cross entropy with the target s on the matched class and 1 - s on the background.

    Args:
        logits: ``(R, K + 1)``.
        labels: ``(R,)`` int64 in [0, K]; K is the background, whose target is 1.
        scores: ``(R,)`` score s in [0, 1] of the instance that each RoI is matched to; ignored for background.
        weights: ``(R,)`` of DropLoss, or ``None``.

    Returns:
        Scalar, the mean over all RoIs; 0 (with a gradient path) when there are none.

    >>> logits, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    >>> hard = torch.nn.functional.cross_entropy(logits, labels)
    >>> torch.equal(soft_classification_loss(logits, labels, torch.ones(1)), hard)
    True
    """
    if len(labels) == 0:
        return logits.sum() * 0.0
    background = logits.shape[1] - 1
    certainty = torch.where(labels < background, scores.to(logits.dtype), 1.0)
    log_probabilities = F.log_softmax(logits, dim=1)
    matched = log_probabilities.gather(1, labels[:, None]).squeeze(1)
    loss = -(certainty * matched + (1 - certainty) * log_probabilities[:, background])
    return (loss if weights is None else loss * weights).mean()


def soft_box_loss(deltas: Tensor, target_deltas: Tensor, scores: Tensor, num_rois: int, beta: float) -> Tensor:
    """Return the (smooth) L1 loss of the foreground RoIs, times the scores of their instances, over all RoIs.

    Args:
        deltas: ``(F, 4)`` predicted (dx, dy, dw, dh).
        target_deltas: ``(F, 4)``.
        scores: ``(F,)`` in [0, 1].
        num_rois: R, foreground and background.
        beta: where the smooth L1 loss turns from quadratic to linear; 0 is the L1 loss.

    Returns:
        Scalar.
    """
    loss = F.smooth_l1_loss(deltas, target_deltas, beta=beta, reduction="none")
    return (loss.sum(1) * scores).sum() / max(num_rois, 1)


def soft_mask_loss(mask_logits: Tensor, targets: Tensor, scores: Tensor) -> Tensor:
    """Return the binary cross entropy of each mask times the score of its instance, averaged over all cells.

    This is also the scalar variant of CutS3D's spatial confidence loss, with the mean confidence as the score.

    Args:
        mask_logits: ``(F, M, M)``.
        targets: ``(F, M, M)`` bool or in [0, 1].
        scores: ``(F,)`` in [0, 1]; the mean is not divided by their sum.

    Returns:
        Scalar; 0 (with a gradient path) when there are no foreground RoIs.
    """
    if len(mask_logits) == 0:
        return mask_logits.sum() * 0.0
    loss = F.binary_cross_entropy_with_logits(mask_logits, targets.to(mask_logits.dtype), reduction="none")
    return (loss * scores[:, None, None]).mean()
