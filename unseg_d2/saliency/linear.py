"""FOUND's and UnionSeg's published heads: one linear layer that separates objects from the background.

Both are a 1x1 convolution on the keys of DINO's ViT-S/8, 384 weights and a bias (Simeoni et al., CVPR 2023; Wu et al.,
ICCV 2025). They differ in how an image is brought to the network and in where the mask is cut.

Shape legend
    h, w   rows and columns of the patch grid
    H, W   height and width of an image in pixels
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from unseg_d2.features import FeatureBackend
from unseg_d2.features.linear_head import LinearLayer
from unseg_d2.pseudo.geometry import network_input
from unseg_d2.refine import BilateralSettings, bilateral_solver
from unseg_d2.refine.holes import fill_holes
from unseg_d2.saliency.settings import LinearSettings

HALF = 0.5
"""Probability above which a patch or pixel is foreground, and least IoU of a solved mask with the one before."""


@dataclass(frozen=True)
class LinearMasks:
    """Masks of a linear head: what :class:`~unseg_d2.saliency.predict.SaliencyModel` takes them from.

    Attributes:
        features: frozen backend.
        layer: see :class:`LinearLayer`.
        settings: how images are brought to the network, and where masks are cut.
        solver: of the bilateral solver, where ``settings`` asks for it.
    """

    features: FeatureBackend
    layer: LinearLayer
    settings: LinearSettings
    solver: BilateralSettings

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the mask of an image.

        Args:
            image: ``(H, W, 3)`` uint8 RGB.

        Returns:
            ``(H, W)`` float32 in [0, 1]; 0 or 1 where it is cut on the patch grid or solved.
        """
        height, width = image.shape[:2]
        if self.settings.square:
            # Bilinear: the published call passes Lanczos' filter in the place of another argument.
            shown = cv2.resize(image, (self.settings.square, self.settings.square))
            size = (height, width)
        else:
            shown = network_input(image, self.features.patch_size, "pad", 0).image
            size = shown.shape[:2]
        logits = self.layer(self.features([shown])[0].tokens)
        mask = scaled(logits, size, self.settings.cut)[:height, :width]
        if self.settings.bilateral:
            mask = solved(image, mask > HALF, self.solver).astype(np.float32)
        return mask


def scaled(logits: Tensor, size: tuple[int, int], cut: str) -> np.ndarray:
    """Return the mask of logits on the patch grid, at the size of the image.

    Args:
        logits: ``(h, w)``.
        size: height and width of what the grid covers, in pixels.
        cut: ``pixels`` scales the logits bilinearly and leaves the mask soft (FOUND); ``patches`` cuts it at one half
            on the grid, and scales it bilinearly to 0 or 1 (UnionSeg).

    Returns:
        float32 of that size, in [0, 1].
    """
    if cut == "pixels":
        grown = F.interpolate(logits[None, None], size=size, mode="bilinear", align_corners=False)
        return np.asarray(grown[0, 0].sigmoid().cpu().numpy(), dtype=np.float32)
    cells = (logits.sigmoid() > HALF).cpu().numpy().astype(np.uint8)
    return np.asarray(cv2.resize(cells, (size[1], size[0])), dtype=np.float32)


def solved(image: np.ndarray, mask: np.ndarray, settings: BilateralSettings | None = None) -> np.ndarray:
    """Smooth a mask with the bilateral solver as FOUND's code does.

    What the solver finds is cut at one half, its holes are filled, and its largest region is taken for the background.
    The rest replaces the mask if the two have an IoU of more than one half, and is dropped otherwise.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        mask: ``(H, W)`` bool.
        settings: of the solver; the defaults are FOUND's too.

    Returns:
        ``(H, W)`` bool.
    """
    if not mask.any():
        return mask
    found = bilateral_solver(image, mask[None].astype(np.float32), settings) > HALF
    regions, _ = ndimage.label(fill_holes(found)[0])
    objects = regions != np.argsort(np.bincount(regions.ravel()), kind="stable")[-1]
    common, either = np.count_nonzero(objects & mask), np.count_nonzero(objects | mask)
    return objects if common > HALF * either else mask
