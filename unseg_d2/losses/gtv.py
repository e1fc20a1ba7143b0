"""Graph total variation: neighbours that look alike take the same value (Two Tricks, equations 7 to 9; Sempart).

Shape legend
    B      images
    C      feature channels
    H, W   rows and columns of a mask: of the patch grid, or of the image
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

CHANNELS_AT_A_TIME = 32
"""Feature channels that are compared at a time: a copy of all of them would take most of the memory of the loss."""


@torch.no_grad()
def feature_weights(tokens: Tensor, tau: float, eps: float) -> Tensor:
    """Return the similarity of each patch to its eight neighbours: 1 where the cosine is above tau, eps elsewhere.

    Args:
        tokens: ``(B, C, H, W)``, at least 2 by 2.
        tau: cosine above which two neighbours are similar.
        eps: weight of neighbours that are not similar.

    Returns:
        ``(B, 8, H, W)`` float32; beyond the border the grid is reflected.
    """
    shape = (tokens.shape[0], 8, *tokens.shape[2:])
    dots = torch.zeros(shape, device=tokens.device)
    squares = torch.zeros(shape[0], 1, *shape[2:], device=tokens.device)
    for part in tokens.split(CHANNELS_AT_A_TIME, dim=1):
        part = part.float()
        squares += part.square().sum(1, keepdim=True)
        for dot, neighbour in zip(dots.unbind(1), neighbours(part)):
            dot += (part * neighbour).sum(1)
    norms = squares.sqrt().clamp(min=1e-12)
    lengths = torch.cat(list(neighbours(norms)), dim=1)
    return torch.where(dots > tau * norms * lengths, 1.0, eps)


@torch.no_grad()
def image_weights(image: Tensor, sigma: float) -> Tensor:
    """Return the similarity of each pixel to its eight neighbours: ``exp(-||I_i - I_j||^2 / sigma)``.

    Args:
        image: ``(B, 3, H, W)`` normalised by ImageNet's mean and standard deviation, at least 2 by 2.
        sigma: squared difference at which the weight has dropped to 1 / e.

    Returns:
        ``(B, 8, H, W)`` float32 in (0, 1]; beyond the border the image is reflected.
    """
    image = image.float()
    squared = [(image - neighbour).square().sum(1) for neighbour in neighbours(image)]
    return torch.stack(squared, dim=1).div_(-sigma).exp_()


def gtv_loss(mask: Tensor, weights: Tensor) -> Tensor:
    """Return the mean over pixels and neighbours of ``a_ij (s_i - s_j)^2``.

    Args:
        mask: ``(B, 1, H, W)``.
        weights: ``(B, 8, H, W)``, a, from :func:`feature_weights` or :func:`image_weights`.

    Returns:
        Scalar.

    Raises:
        ValueError: mask and weights differ in size.
    """
    if mask.shape[1] != 1 or weights.shape[2:] != mask.shape[2:]:
        raise ValueError(f"masks of {tuple(mask.shape)} do not fit weights of {tuple(weights.shape)}")
    mask = mask.float()
    return (weights * (mask - torch.cat(list(neighbours(mask)), dim=1)).square()).mean()


def neighbours(maps: Tensor) -> Iterator[Tensor]:
    """Yield maps ``(B, C, H, W)`` shifted to each of the eight neighbours, reflected beyond the border."""
    height, width = maps.shape[2:]
    padded = F.pad(maps, (1, 1, 1, 1), mode="reflect")
    for row in range(3):
        for column in range(3):
            if (row, column) != (1, 1):
                yield padded[:, :, row : row + height, column : column + width]
