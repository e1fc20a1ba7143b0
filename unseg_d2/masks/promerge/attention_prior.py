"""The backbone's [CLS] attention as evidence of foreground.

Shape legend
    h, w   rows and columns of the patch grid
"""

from __future__ import annotations

import torch
from torch import Tensor

from unseg_d2.errors import Unusable
from unseg_d2.structures import Proposals


def foreground_probability(masks: Tensor, attention: Tensor) -> Tensor:
    """Return how probable it is that each mask is foreground, by the attention of the [CLS] token.

    The probability is the mean attention inside the mask, divided by the sum of the means inside and outside: 0.5 is a
    mask that gets the same attention per patch as the rest of the image, whatever its size.

    Args:
        masks: ``(n, h, w)`` bool, none empty.
        attention: ``(h, w)`` float, finite, not negative.

    Returns:
        ``(n,)`` float64 in [0, 1]; 0.5 where there is no attention, or no patch outside the mask.
    """
    weight = attention.double().flatten()
    flat = masks.flatten(1).double()
    inside, area = flat @ weight, flat.sum(1)
    outside = (weight.sum() - inside).clamp_min(0) / (weight.numel() - area)
    inside = inside / area
    probability = inside / (inside + outside)
    return torch.where(torch.isfinite(probability), probability, 0.5)


def drop_unattended(proposals: Proposals, attention: Tensor | None, min_probability: float) -> Proposals:
    """Return the proposals whose :func:`foreground_probability` is large enough.

    Raises:
        ValueError: if there is no attention, or it is of another grid, or not finite, or negative.
    """
    if attention is None:
        raise ValueError("min_attention needs the [CLS] attention that this feature backend lacks; set it to 0")
    attention = attention.cpu()
    if attention.shape != proposals.masks.shape[1:]:
        grid = tuple(proposals.masks.shape[1:])
        raise ValueError(
            f"the masks lie on a grid of {grid}, but the [CLS] attention on one of {tuple(attention.shape)}"
        )
    if not (torch.isfinite(attention) & (attention >= 0)).all():
        raise Unusable("the [CLS] attention contains NaN, infinite or negative values; check the feature backend")
    kept = foreground_probability(proposals.masks, attention) >= min_probability
    dropped = int((~kept).sum())
    rejected = {**proposals.rejected, **({"min_attention": dropped} if dropped else {})}
    return Proposals(proposals.masks[kept], proposals.scores[kept], rejected=rejected)
