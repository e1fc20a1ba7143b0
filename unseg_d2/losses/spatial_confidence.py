"""Spatial confidence loss: cells of a mask are weighted by the agreement of 3D cuts (Sick et al., CutS3D, equation 6).

Shape legend
    G      instances of one image
    H, W   height and width of the image in pixels
    F      foreground RoIs
    M      cells per side of a predicted mask
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from unseg_d2.losses.roi_crop import crop_to_rois

ConfidenceKind = Literal["spatial", "scalar"]


def mask_cell_weights(
    confidence: Tensor | None, masks: Tensor, boxes: Tensor, instances: Tensor, size: int, kind: ConfidenceKind
) -> Tensor:
    """Return the weight of each cell of the mask targets of the foreground RoIs of one image.

    Args:
        confidence: ``(G, H, W)`` as in :func:`confidence_weights`; ``None`` where there is none, which counts as 1.
        masks: ``(G, H, W)`` bool.
        boxes: ``(F, 4)`` RoIs; xyxy in pixels.
        instances: ``(F,)`` int64, the instance that each RoI is matched to.
        size: M.
        kind: ``spatial``, the confidence at the cell, or ``scalar``, the instance's mean over its mask.

    Returns:
        ``(F, M, M)`` float32 without gradient.
    """
    if confidence is None or len(boxes) == 0:
        return boxes.new_ones(len(boxes), size, size)
    if kind == "scalar":
        return mean_confidence(confidence, masks)[instances, None, None].expand(-1, size, size)
    return confidence_weights(confidence, masks, boxes, instances, size)


def confidence_weights(confidence: Tensor, masks: Tensor, boxes: Tensor, instances: Tensor, size: int) -> Tensor:
    """Crop the weight of the mask loss to RoIs, as mask targets are cropped, but without a threshold.

    Args:
        confidence: ``(G, H, W)`` uint8, 255 meaning 1, or float in [0, 1]; read within the masks only.
        masks: ``(G, H, W)`` bool.
        boxes: ``(F, 4)`` RoIs; xyxy in pixels.
        instances: ``(F,)`` int64, the instance that each RoI is matched to.
        size: M.

    Returns:
        ``(F, M, M)`` float32: the confidence within the mask and 1 outside, without gradient.
    """
    certain = 255 if confidence.dtype == torch.uint8 else 1

    def write_weights(part: slice, maps: Tensor) -> None:
        maps.copy_(confidence[part]).div_(certain).masked_fill_(~masks[part], 1.0)

    return crop_to_rois(write_weights, masks.shape, boxes, instances, size)


@torch.no_grad()
def mean_confidence(confidence: Tensor, masks: Tensor) -> Tensor:
    """Return the mean confidence of each instance over its mask, for the scalar variant of the loss.

    Args:
        confidence: ``(G, H, W)`` as in :func:`confidence_weights`.
        masks: ``(G, H, W)`` bool.

    Returns:
        ``(G,)`` float32 in [0, 1]; 1 for an empty mask.
    """
    certain = 255 if confidence.dtype == torch.uint8 else 1
    means = torch.ones(len(masks), device=masks.device)
    buffer = torch.empty(masks.shape[1:], device=masks.device)  # summing uint8 and bool would copy them
    for number, (values, inside) in enumerate(zip(confidence, masks)):
        area = buffer.copy_(inside).sum()
        total = buffer.copy_(values).masked_fill_(~inside, 0.0).sum() / certain
        means[number] = torch.where(area > 0, total / area.clamp(min=1), 1.0)
    return means


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
