"""The mask proposals of PriMaPs written straight from their description, one proposal after the other.

It shares no code with the package, whose results and times are compared with it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def primaps_loops(tokens: Tensor, psi: float = 0.4, coverage: float = 0.95) -> Tensor:
    """Return the label map ``(h, w)`` of ``(C, h, w)`` tokens: 0 is no proposal, 1 to K are the proposals in order.

    The sign of the principal direction, which the randomised decomposition leaves open, is the one that makes the
    larger extreme cosine over the free patches positive.
    """
    _, h, w = tokens.shape
    unit = tokens / tokens.norm(dim=0, keepdim=True)
    free = torch.ones(h, w, dtype=torch.bool)
    history: list[Tensor] = []
    proposals: list[Tensor] = []
    while (~free).sum() / (h * w) < coverage:
        direction = principal_direction(tokens[:, free].T)
        similarity = torch.einsum("c,chw->hw", direction, unit) * free
        inside = similarity[free]
        if -inside.min() > inside.max():
            similarity = -similarity
        index = int(similarity.argmax())
        anchor = unit[:, index // w, index % w]
        similarity = torch.einsum("c,chw->hw", anchor, unit) * free
        similarity[similarity < psi * similarity.max()] = 0
        similarity = similarity / similarity.max()
        proposals.append(similarity)
        free = free & ~(similarity > 0)
        history.append(free)
        if len(history) > 3 and all(torch.equal(free, earlier) for earlier in history[-3:]):
            break
    smooth = torch.stack([median3x3(proposal) for proposal in proposals])
    smooth = (smooth * 10).clamp(0, 1)
    background = (smooth[smooth > 0].mean() - smooth.sum(0)).clamp(0, 1)
    return torch.cat([background[None], smooth]).argmax(0)


def principal_direction(samples: Tensor) -> Tensor:
    """First principal direction of ``(n, C)`` samples, as the published code computes it."""
    _, _, directions = torch.pca_lowrank(samples, q=min(3, *samples.shape), niter=100)
    return directions[:, 0]


def median3x3(plane: Tensor) -> Tensor:
    """Median of the nine neighbours of each cell, with a reflected border."""
    padded = F.pad(plane[None, None], (1, 1, 1, 1), mode="reflect")
    windows = F.unfold(padded, kernel_size=3)[0]
    return windows.median(0).values.view_as(plane)
