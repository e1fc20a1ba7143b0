"""What Sempart's head minimises: the graph losses, those of a crop, or the distance from given masks.

Shape legend
    B      images
    C      feature channels
    h, w   rows and columns of the patch grid
    H, W   height and width of the image in pixels
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
from unseg_d2.saliency.views import luminance

MARGIN = 1e-6
"""Targets are kept this far from 0 and 1."""

WEIGHTS = {
    "ncut": 1.0,
    "gtv_coarse": 1.0,
    "gtv_fine": 1.0,
    "subresolution": 1.0,
    "crop_ncut": 0.01,
    "multi_scale": 0.01,
}
"""The lambdas of equation 10 and section 4."""


@dataclass(frozen=True)
class Objective:
    """The losses with their settings.

    Attributes:
        tau: cosine above which two patches are connected.
        eps: weight of an edge between patches that are not.
        sigma: see :func:`unseg_d2.losses.image_weights`.
        weights: the lambdas by name.
        radius: of the guided filter of a crop's mask; 0 leaves the filter out.
        guided_eps: its epsilon.
    """

    tau: float = 0.4
    eps: float = 1e-6
    sigma: float = 1.0
    weights: Mapping[str, float] = field(default_factory=lambda: dict(WEIGHTS))
    radius: int = 9
    guided_eps: float = 1e-3

    @classmethod
    def from_config(cls, cfg: CfgNode) -> Objective:
        """Return the objective of ``cfg.SALIENCY``."""
        node = cfg.SALIENCY
        weights = {key.lower(): value for key, value in node.LOSS.items()}
        radius = node.GUIDED.RADIUS if node.MULTI_SCALE.GUIDED_TARGET else 0
        return cls(node.TAU, node.EPS, node.SIGMA, weights, radius, node.GUIDED.EPS)

    def whole(self, masks: SoftMasks, tokens: Tensor, images: Tensor) -> dict[str, Tensor]:
        """Return Sempart's four losses, weighted (equation 10).

        Args:
            masks: what the head predicts.
            tokens: ``(B, C, h, w)`` frozen features.
            images: ``(B, 3, H, W)`` normalised.
        """
        return self._weighted(
            ncut=ncut_loss(masks.coarse, binary_graph(tokens, self.tau, self.eps)),
            gtv_coarse=gtv_loss(masks.coarse, feature_weights(tokens, self.tau, self.eps)),
            gtv_fine=gtv_loss(masks.fine, image_weights(images, self.sigma)),
            subresolution=subresolution_loss(masks.coarse, masks.fine),
        )

    def crop(
        self,
        masks: SoftMasks,
        crop_masks: SoftMasks,
        crop_tokens: Tensor,
        crops: Tensor,
        corners: np.ndarray,
        fraction: float,
    ) -> dict[str, Tensor]:
        """Return the two losses of multi-scale consistency, weighted (section 4).

        Args:
            masks: prediction for the whole images; the gradient of the consistency flows into it.
            crop_masks: prediction of the same head for the crops; it learns by the crops' normalised cut alone.
            crop_tokens: ``(B, C, h, w)``, features of the crops.
            crops: ``(B, 3, H, W)`` normalised crops, enlarged to the size of the images.
            corners: ``(B, 2)``, where the crops begin in the images.
            fraction: of either side that a crop has.
        """
        teacher = crop_masks.fine.detach()
        if self.radius:
            teacher = guided_filter_batch(luminance(crops), teacher, radius=self.radius, eps=self.guided_eps)
        teacher = teacher.clamp(MARGIN, 1 - MARGIN)
        return self._weighted(
            crop_ncut=ncut_loss(crop_masks.coarse, binary_graph(crop_tokens, self.tau, self.eps)),
            multi_scale=multi_scale_loss(crop_and_enlarge(masks.fine, corners, fraction), teacher),
        )

    def _weighted(self, **losses: Tensor) -> dict[str, Tensor]:
        return {f"loss_{name}": self.weights[name] * loss for name, loss in losses.items()}


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
