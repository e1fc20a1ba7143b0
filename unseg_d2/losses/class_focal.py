"""Class-level focal loss of PriMaPs-EM (Hahn et al., TMLR 2024): frequent classes count less.

Shape legend
    b      images
    K      classes
    H, W   height and width in pixels
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = 255
"""Label of pixels without a class."""


def class_weights(logits: Tensor, gamma: float) -> Tensor:
    """Return the weight (1 - p)^gamma of each class, p its mean probability over all pixels of the batch.

    Args:
        logits: ``(b, K, H, W)``.
        gamma: 0 makes all weights 1.

    Returns:
        ``(K,)`` in [0, 1], without a gradient path.
    """
    with torch.no_grad():
        return (1 - logits.softmax(1).mean((0, 2, 3))).pow(gamma)


def class_focal_loss(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """Return the cross entropy of each pixel times the weight of its class, averaged over all pixels.

    This is not the focal loss of Lin et al., which weighs each pixel by its own probability.

    Args:
        logits: ``(b, K, H, W)``.
        labels: ``(b, H, W)`` int64 in [0, K), or :data:`IGNORE`.
        gamma: see :func:`class_weights`.

    Returns:
        Scalar. Pixels without a class add 0 to the mean, so an image with few labels has a small loss.

    >>> class_focal_loss(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 255]]]), gamma=1.0)  # ln 2 / 2 (weight) / 2 pixels
    tensor(0.1733)
    """
    loss = F.cross_entropy(logits, labels, reduction="none", ignore_index=IGNORE)
    weights = torch.cat([class_weights(logits, gamma), logits.new_zeros(1)])
    return (weights[labels.clamp(max=logits.shape[1])] * loss).mean()
