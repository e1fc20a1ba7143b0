"""Soft masks of the salient object in images of any size.

Shape legend
    B      images
    H, W   height and width of an image in pixels
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from unseg_d2.errors import UnsegError
from unseg_d2.features import FeatureBackend
from unseg_d2.pixels import resize
from unseg_d2.refine.guided import guided_filter
from unseg_d2.saliency.heads import SempartHead
from unseg_d2.saliency.settings import GuidedMaskSettings, HeadSettings, Inversion, SaliencySettings
from unseg_d2.saliency.views import normalised, predicted_size


def build_head(cfg: CfgNode, feature_channels: int, patch_size: int) -> SempartHead:
    """Return the head of ``cfg.SALIENCY.HEAD`` for features of a width and a patch size.

    Raises:
        UnsegError: the settings or the patch size do not work.
    """
    settings = HeadSettings.from_config(cfg)
    try:
        return SempartHead(feature_channels, patch_size, settings)
    except ValueError as error:
        raise UnsegError(f"SALIENCY.HEAD does not work with these features: {error}.") from None


@dataclass(frozen=True)
class SempartMasks:
    """Masks of Sempart's head.

    Attributes:
        features: frozen backend.
        head: in evaluation mode.
        predict_size: length of the shorter side at which an image is looked at, px; 0 keeps its size.
    """

    features: FeatureBackend
    head: SempartHead
    predict_size: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Predict ``(H, W)`` in [0, 1] at a multiple of the patch, scaled back to the image ``(H, W, 3)`` uint8."""
        view = resize(image, predicted_size(image.shape[:2], self.features.patch_size, self.predict_size))
        device = next(self.head.parameters()).device
        tokens = self.features([view])[0].tokens[None].to(device)
        fine = self.head(tokens, normalised(view[None]).to(device)).fine[0, 0]
        return np.clip(resize(fine.float().cpu().numpy(), image.shape[:2]), 0, 1)


@dataclass(frozen=True)
class SaliencyModel:
    """A head, and what is done to its masks.

    Attributes:
        mask: an image ``(H, W, 3)`` uint8 RGB -> its mask ``(H, W)`` float32 in [0, 1].
        settings: which masks are inverted.
        guided: the filter of the masks.
    """

    mask: Callable[[np.ndarray], np.ndarray]
    settings: SaliencySettings
    guided: GuidedMaskSettings

    @torch.no_grad()
    def __call__(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Predict the salient object of a batch of images; each may have a size of its own.

        Args:
            images: ``(H, W, 3)`` uint8 RGB each.

        Returns:
            ``(H, W)`` float32 in [0, 1] each.
        """
        masks = invert_background([self.mask(image) for image in images], self.settings.invert)
        if self.guided.enabled:
            masks = [self._filtered(image, mask) for image, mask in zip(images, masks)]
        return masks

    def _filtered(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        guide = image.mean(2, dtype=np.float32)[None] / 255
        return np.clip(guided_filter(guide, mask[None], radius=self.guided.radius, eps=self.guided.eps)[0], 0, 1)


def invert_background(masks: Sequence[np.ndarray], mode: Inversion) -> list[np.ndarray]:
    """Invert soft masks that cover more than half of the image: the salient object is the smaller side.

    Args:
        masks: ``(H, W)`` in [0, 1] each.
        mode: each ``image`` by itself; the whole ``batch`` by the mean of its masks, as the published code does; or
            ``none``.
    """
    if mode == "none" or not masks:
        return list(masks)
    means = [float(mask.mean()) for mask in masks]
    if mode == "batch":
        means = [float(np.mean(means))] * len(masks)
    return [1 - mask if mean > 0.5 else mask for mask, mean in zip(masks, means)]


def stack_tokens(features: FeatureBackend, images: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """Return the features of images of one size as a batch ``(B, C, h, w)`` on a device."""
    return torch.stack([described.tokens for described in features(images)]).to(device)
