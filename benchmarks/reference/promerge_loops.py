"""ProMerge written straight from its description, one prompt, mask and cluster after the other.

It shares no code with the package, whose results and times are compared with it.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor


def promerge_loops(tokens: Tensor, stride: int = 4, tau: float = 0.2) -> list[Tensor]:
    """Return the clusters ``(h, w)`` bool of ``(C, h, w)`` tokens; none if there is too little background."""
    proposals, votes = propose(tokens, stride, tau)
    if not proposals or not votes:
        return []
    background = torch.stack(votes).float().mean(0) > 0.5
    if background.float().mean() < 0.1:
        return []
    unit = normalise(tokens)
    return merge(unit, cascade_filter(unit, proposals, background))


def normalise(tokens: Tensor) -> Tensor:
    return tokens / (tokens.norm(dim=0, keepdim=True) + 1e-5)


def propose(tokens: Tensor, stride: int, tau: float) -> tuple[list[Tensor], list[Tensor]]:
    """Return the foreground proposals and the votes for the background."""
    _, h, w = tokens.shape
    proposals, votes = [], []
    for row in range(0, h, stride):
        for column in range(0, w, stride):
            unit = normalise(tokens)  # as published, for every prompt
            mask = torch.einsum("c,chw->hw", unit[:, row, column], unit) > tau
            strips = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
            if sum(int(torch.round(strip.float().mean())) for strip in strips) >= 2:
                votes.append(mask)
                continue
            labels, count = ndimage.label(mask.numpy())
            sizes = dict(enumerate(np.bincount(labels.ravel(), minlength=count + 1)))
            del sizes[0]  # the complement of the mask
            own = sizes.get(int(labels[row, column]), np.inf)
            for label in sorted(sizes, key=lambda label: -sizes[label]):
                if sizes[label] < 0.5 * own:
                    break
                proposals.append(torch.from_numpy(labels == label))
    return proposals, votes


def mean_feature(unit: Tensor, mask: Tensor) -> Tensor:
    return unit[:, mask].mean(1)


def cascade_filter(unit: Tensor, proposals: list[Tensor], background: Tensor) -> list[Tensor]:
    """Return the proposals of the foreground, smallest first."""
    behind = mean_feature(unit, background)
    covered = torch.zeros_like(background)
    accepted = []
    for mask in sorted(proposals, key=lambda mask: int(mask.sum())):
        new = mask & ~covered
        share = (new & background).sum() / new.sum()  # NaN, which is not below any limit, if nothing is new
        if share < 0.8 and mean_feature(unit, mask) @ behind < 0.1:
            accepted.append(mask)
            covered = covered | mask
    return accepted


def merge(unit: Tensor, accepted: list[Tensor]) -> list[Tensor]:
    """Return the clusters of masks that overlap."""
    clusters: list[Tensor] = []
    for mask in sorted(accepted, key=lambda mask: -int(mask.sum())):
        joined = []
        for i, cluster in enumerate(clusters):
            overlap = (cluster & mask).sum() / mask.sum()
            similar = overlap > 0.1 and mean_feature(unit, mask) @ mean_feature(unit, cluster) >= 0.1
            if overlap > 0.5 or similar:
                joined.append(i)
        union = mask
        for i in joined:
            union = union | clusters[i]
        clusters = [cluster for i, cluster in enumerate(clusters) if i not in joined] + [union]
    return clusters
