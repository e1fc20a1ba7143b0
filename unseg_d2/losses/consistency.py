"""Two predictions of one mask agree: across resolutions, across scales, and with a given mask.

Shape legend
    B        images
    H, W     height and width of the image in pixels
    h, w     rows and columns of the patch grid
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def subresolution_loss(coarse: Tensor, fine: Tensor) -> Tensor:
    """Return the mean squared difference of the coarse mask and the downscaled fine one (Two Tricks, equation 6).

    Args:
        coarse: ``(B, 1, h, w)``.
        fine: ``(B, 1, H, W)``; scaled bilinearly without antialiasing.
    """
    small = F.interpolate(fine.float(), size=coarse.shape[2:], mode="bilinear", align_corners=False)
    return F.mse_loss(small, coarse.float())


def multi_scale_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of a mask's enlarged crop and the mask of the enlarged crop (section 4).

    Args:
        student: ``(B, 1, H, W)``, the crop of the mask; the gradient flows into it alone.
        teacher: ``(B, 1, H, W)``, the mask of the crop.
    """
    return F.mse_loss(student.float(), teacher.detach().float())


def dice_loss(mask: Tensor, target: Tensor) -> Tensor:
    """Return one minus the Dice coefficient of soft masks, averaged over the images.

    Args:
        mask: ``(B, 1, H, W)`` in [0, 1].
        target: the same.

    Returns:
        Scalar in [0, 1]; 1 is added to numerator and denominator, so that it is 0 for two empty masks.
    """
    mask, target = mask.flatten(1).float(), target.flatten(1).float()
    return (1 - (2 * (mask * target).sum(1) + 1) / (mask.sum(1) + target.sum(1) + 1)).mean()
