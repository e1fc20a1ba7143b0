"""The losses of Mask R-CNN, with the weights and soft targets of uncertain ground truth where they are given.

Shape legend
    R   regions of interest (RoIs) over all images of the batch
    K   classes; the logits have K + 1 columns, the last one is the background
    F   foreground RoIs
    M   cells per side of a predicted mask
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from unseg_d2.losses.droploss import classification_loss
from unseg_d2.losses.soft_target import soft_classification_loss
from unseg_d2.losses.spatial_confidence import spatial_confidence_loss


def cross_entropy(
    logits: Tensor, labels: Tensor, scores: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    """Return the softmax cross entropy, averaged over all RoIs.

    Args:
        logits: ``(R, K + 1)``.
        labels: ``(R,)`` int64 in [0, K]; K is the background.
        scores: ``(R,)`` soft targets (CuVLER, section 3.3), or ``None`` for hard ones.
        weights: ``(R,)`` of DropLoss (CutLER, section 3.3), or ``None`` where all RoIs count the same.

    Returns:
        Scalar; 0 (with a gradient path) when there are no RoIs.
    """
    if scores is None:
        return classification_loss(logits, labels, weights)
    return soft_classification_loss(logits, labels, scores, weights)


def mask_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the binary cross entropy, averaged over all cells (He et al., Mask R-CNN, section 3).

    Args:
        logits: ``(F, M, M)``.
        targets: ``(F, M, M)`` bool or in [0, 1].
        weights: ``(F, M, M)`` or ``(F, 1, 1)``, from spatial confidence (CutS3D, equation 6) and soft targets, or
            ``None`` where all cells count the same.

    Returns:
        Scalar; 0 (with a gradient path) when there are no foreground RoIs.
    """
    if weights is not None:
        return spatial_confidence_loss(logits, targets, weights)
    if len(logits) == 0:
        return logits.sum() * 0.0
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))
