"""Normalised cut of a soft mask on the graph of an image's patches (Two Tricks, equations 4 and 5; Sempart).

Shape legend
    B      images
    C      feature channels
    h, w   rows and columns of the patch grid, N = h w patches
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_SOFT = 1e-6
"""Masks are kept this far from 0 and 1."""

MIN_VOLUME = 1e-6
"""Lower bound of the volume of a side, its affinity to all patches, by which the cut is divided."""


@torch.no_grad()
def binary_graph(tokens: Tensor, tau: float, eps: float) -> Tensor:
    """Return the affinity W of equation 4: 1 where the cosine of two patches is above tau, eps elsewhere.

    Args:
        tokens: ``(B, C, h, w)``.
        tau: cosine above which two patches are connected.
        eps: weight of an edge between patches that are not connected.

    Returns:
        ``(B, N, N)`` float32, symmetric.
    """
    with torch.autocast(tokens.device.type, enabled=False):  # half precision would change edges near tau
        unit = F.normalize(tokens.flatten(2).float(), dim=1)
        return torch.where(unit.transpose(1, 2) @ unit > tau, 1.0, eps)


def ncut_loss(mask: Tensor, affinity: Tensor) -> Tensor:
    """Return the normalised cut of soft masks, averaged over the images (equation 5).

    Args:
        mask: ``(B, 1, h, w)`` in [0, 1], S.
        affinity: ``(B, N, N)`` from :func:`binary_graph`, W.

    Returns:
        Scalar in [0, 2]: 0 for a cut that crosses no edge, 1 for a mask that is one half everywhere.

    Raises:
        ValueError: the mask is not on the grid of the graph.
    """
    if mask.shape[1] != 1 or affinity.shape[1:] != (mask[0].numel(),) * 2:
        raise ValueError(f"masks of {tuple(mask.shape)} do not fit a graph of {tuple(affinity.shape)}")
    with torch.autocast(mask.device.type, enabled=False):
        side = mask.flatten(1).float().clamp(MIN_SOFT, 1 - MIN_SOFT)
        degree = affinity.sum(2)
        cut = (side * torch.bmm(affinity, (1 - side)[..., None])[..., 0]).sum(1)
        inside, outside = ((part * degree).sum(1).clamp(min=MIN_VOLUME) for part in (side, 1 - side))
        return (cut / inside + cut / outside).mean()
