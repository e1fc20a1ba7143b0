"""Spatial confidence loss: a cell of a mask counts as much as 3D cuts agree on it (Sick et al., CutS3D, equation 6).

Shape legend
    G      instances of one image
    H, W   height and width of the image in pixels
    F      foreground RoIs
    M      cells per side of a predicted mask
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

INSTANCES_AT_A_TIME = 8  # as float maps: 31 MB at 800 x 1216


@torch.no_grad()
def confidence_weights(confidence: Tensor, masks: Tensor, boxes: Tensor, instances: Tensor, size: int) -> Tensor:
    """Crop the weight of the mask loss to RoIs, as mask targets are cropped, but without a threshold.

    Args:
        confidence: ``(G, H, W)`` uint8, 255 meaning 1, or float in [0, 1]; looked at within the masks only.
        masks: ``(G, H, W)`` bool.
        boxes: ``(F, 4)`` RoIs; xyxy in pixels.
        instances: ``(F,)`` int64, the instance that each RoI is matched to.
        size: M.

    Returns:
        ``(F, M, M)`` float32: the confidence within the mask and 1 outside, without gradient.
    """
    scale = 255.0 if confidence.dtype == torch.uint8 else 1.0
    result = torch.ones(len(boxes), size, size, device=boxes.device)
    for start in range(0, len(masks), INSTANCES_AT_A_TIME):
        part = slice(start, start + INSTANCES_AT_A_TIME)
        chosen = ((instances >= start) & (instances < part.stop)).nonzero()[:, 0]
        if len(chosen):
            weights = torch.where(masks[part], confidence[part].float() / scale, 1.0)
            rois = torch.cat([(instances[chosen] - start)[:, None].to(boxes.dtype), boxes[chosen]], dim=1).float()
            result[chosen] = roi_align(weights[:, None], rois, (size, size), 1.0, 0, aligned=True).squeeze(1)
    return result


def mean_confidence(confidence: Tensor, masks: Tensor) -> Tensor:
    """Return the mean confidence of each instance over its mask, for the scalar variant of the loss.

    Args:
        confidence: ``(G, H, W)`` as in :func:`confidence_weights`.
        masks: ``(G, H, W)`` bool.

    Returns:
        ``(G,)`` float32 in [0, 1]; 1 for an empty mask.
    """
    scale = 255.0 if confidence.dtype == torch.uint8 else 1.0
    area = masks.flatten(1).sum(1)
    total = (confidence * masks).flatten(1).sum(1, dtype=torch.float32) / scale
    return torch.where(area > 0, total / area.clamp(min=1), 1.0)


def spatial_confidence_loss(mask_logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the binary cross entropy with a weight per cell, averaged over all cells.

    The paper writes a sum; the mean is Detectron2's reduction, so that with confidence 1 everywhere nothing changes.

    Args:
        mask_logits: ``(F, M, M)``.
        targets: ``(F, M, M)`` bool or in [0, 1].
        weights: ``(F, M, M)`` from :func:`confidence_weights`.

    Returns:
        Scalar; 0 (with a gradient path) when there are no foreground RoIs.
    """
    if len(mask_logits) == 0:
        return mask_logits.sum() * 0.0
    return F.binary_cross_entropy_with_logits(mask_logits, targets.to(mask_logits.dtype), weight=weights)
