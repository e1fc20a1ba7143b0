"""Similarity of neighbouring patches by one convolution that shifts all channels eight ways at once.

Written from the description of the published loss: a kernel per channel and neighbour takes the difference to the
neighbour, so that C channels become 8 C; the squared differences are summed per neighbour, and cos = 1 - d^2 / 2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def feature_weights_by_convolution(tokens: Tensor, tau: float, eps: float) -> Tensor:
    """Return 1 where the cosine of neighbours is above tau and eps elsewhere, ``(B, 8, h, w)`` of ``(B, C, h, w)``."""
    channels = tokens.shape[1]
    unit = F.normalize(tokens, dim=1)
    kernels = torch.zeros(8, 3, 3)
    for k, (row, column) in enumerate((r, c) for r in range(3) for c in range(3) if (r, c) != (1, 1)):
        kernels[k, 1, 1], kernels[k, row, column] = 1, -1
    weight = kernels.repeat(channels, 1, 1)[:, None]
    padded = F.pad(unit, (1, 1, 1, 1), mode="reflect")
    differences = F.conv2d(padded, weight.to(tokens), groups=channels)  # C -> 8 C
    squared = differences.square().unflatten(1, (channels, 8)).sum(1)
    return torch.where(1 - squared / 2 > tau, 1.0, eps)
