"""What Sempart's head minimises: the graph losses, those of a crop, or the distance from given masks.

Shape legend
    B      images
    C      feature channels
    h, w   rows and columns of the patch grid
    H, W   height and width of the image in pixels
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from fvcore.common.config import CfgNode
from torch import Tensor

from unseg_d2.losses import (
    binary_graph,
    dice_loss,
    feature_weights,
    gtv_loss,
    image_weights,
    multi_scale_loss,
    ncut_loss,
    subresolution_loss,
)
from unseg_d2.refine.guided import guided_filter_batch
from unseg_d2.saliency.crops import crop_and_enlarge
from unseg_d2.saliency.heads import SoftMasks
from unseg_d2.saliency.settings import GuidedMaskSettings, LossSettings, MultiScaleSettings, SaliencySettings
from unseg_d2.saliency.views import luminance

MARGIN = 1e-6
"""Targets are kept this far from 0 and 1."""


@dataclass(frozen=True)
class Objective:
    """The losses with their settings.

    Attributes:
        settings: of the graphs.
        weights: the lambdas of equation 10 and section 4.
        multi_scale: of the crops.
        guided: of the guided filter of a crop's mask.
    """

    settings: SaliencySettings
    weights: LossSettings
    multi_scale: MultiScaleSettings
    guided: GuidedMaskSettings

    @classmethod
    def from_config(cls, cfg: CfgNode) -> Objective:
        """Return the objective of ``cfg.SALIENCY``."""
        return cls(
            SaliencySettings.from_config(cfg),
            LossSettings.from_config(cfg),
            MultiScaleSettings.from_config(cfg),
            GuidedMaskSettings.from_config(cfg),
        )

    def whole(self, masks: SoftMasks, tokens: Tensor, images: Tensor) -> dict[str, Tensor]:
        """Return Sempart's four losses, weighted (equation 10).

        Args:
            masks: what the head predicts.
            tokens: ``(B, C, h, w)`` frozen features.
            images: ``(B, 3, H, W)`` normalised.
        """
        tau, eps = self.settings.tau, self.settings.eps
        return self._weighted(
            ncut=ncut_loss(masks.coarse, binary_graph(tokens, tau, eps)),
            gtv_coarse=gtv_loss(masks.coarse, feature_weights(tokens, tau, eps)),
            gtv_fine=gtv_loss(masks.fine, image_weights(images, self.settings.sigma)),
            subresolution=subresolution_loss(masks.coarse, masks.fine),
        )

    def crop(
        self,
        masks: SoftMasks,
        crop_masks: SoftMasks,
        crop_tokens: Tensor,
        crops: Tensor,
        corners: np.ndarray,
    ) -> dict[str, Tensor]:
        """Return the two losses of multi-scale consistency, weighted (section 4).

        Args:
            masks: prediction for the whole images; the gradient of the consistency flows into it.
            crop_masks: prediction of the same head for the crops; it learns by the crops' normalised cut alone.
            crop_tokens: ``(B, C, h, w)``, features of the crops.
            crops: ``(B, 3, H, W)`` normalised crops, enlarged to the size of the images.
            corners: ``(B, 2)``, where the crops begin in the images.
        """
        teacher = crop_masks.fine.detach()
        if self.multi_scale.guided_target:
            teacher = guided_filter_batch(luminance(crops), teacher, radius=self.guided.radius, eps=self.guided.eps)
        teacher = teacher.clamp(MARGIN, 1 - MARGIN)
        student = crop_and_enlarge(masks.fine, corners, self.multi_scale.fraction)
        return self._weighted(
            crop_ncut=ncut_loss(crop_masks.coarse, binary_graph(crop_tokens, self.settings.tau, self.settings.eps)),
            multi_scale=multi_scale_loss(student, teacher),
        )

    def _weighted(self, **losses: Tensor) -> dict[str, Tensor]:
        return {f"loss_{name}": getattr(self.weights, name) * loss for name, loss in losses.items()}


def target_losses(masks: SoftMasks, targets: Tensor) -> dict[str, Tensor]:
    """Return how far both masks are from given ones: cross entropy and Dice, as SelfMask's second round.

    Args:
        masks: what the head predicts.
        targets: ``(B, 1, H, W)`` in [0, 1].
    """
    small = F.interpolate(targets, size=masks.coarse.shape[2:], mode="area")
    losses = {}
    with torch.autocast(targets.device.type, enabled=False):  # cross entropy of probabilities needs full precision
        for name, mask, target in (("coarse", masks.coarse, small), ("fine", masks.fine, targets)):
            losses[f"loss_bce_{name}"] = F.binary_cross_entropy(mask, target)
            losses[f"loss_dice_{name}"] = dice_loss(mask, target)
    return losses
