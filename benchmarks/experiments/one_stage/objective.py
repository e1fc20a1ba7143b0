"""Which query learns from which region, and what is minimised (QuerySD, section 3.3 of S2-UniSeg).

Shape legend
    q      queries of a crop
    n      targets of a crop
    m      matched pairs
    S      side of a crop's masks
    K      prototypes
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from unseg_d2.losses import dice_loss


def dice(masks: Tensor, targets: Tensor) -> Tensor:
    """Return the Dice coefficient of soft masks with targets, ``(q, n)`` in [0, 1].

    Args:
        masks: ``(q, S, S)`` in [0, 1].
        targets: ``(n, S, S)`` bool, none empty.
    """
    first, second = masks.flatten(1), targets.flatten(1).to(masks.dtype)
    return 2 * first @ second.T / (first.sum(1)[:, None] + second.sum(1))


def match(overlap: Tensor, queries: int, targets: int) -> tuple[Tensor, Tensor]:
    """Pair queries with targets so that the sum of their overlaps is largest, each group by itself.

    Args:
        overlap: ``(q, n)`` of all queries with all targets.
        queries: how many of the queries are of the first group; the others are of the second.
        targets: how many of the targets are.

    Returns:
        Positions of the queries and of the targets, ``(m,)`` int64 each: in each group as many as the smaller side has.
    """
    first = linear_sum_assignment(overlap[:queries, :targets].numpy(), maximize=True)
    second = linear_sum_assignment(overlap[queries:, targets:].numpy(), maximize=True)
    pairs = [
        torch.cat([torch.from_numpy(one), torch.from_numpy(other) + start])
        for one, other, start in zip(first, second, (queries, targets))
    ]
    return pairs[0], pairs[1]


def teacher_distribution(logits: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """Return ``softmax((logits - centre) / temperature)`` over the prototypes, ``(m, K)`` (DINO)."""
    return ((logits - centre) / temperature).softmax(-1)


def query_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy ``-sum_k p_k log softmax(student / temperature)_k``, the mean over the pairs.

    Args:
        student: ``(m, K)`` logits.
        teacher: ``(m, K)`` distributions.
        temperature: of the student.

    Returns:
        Scalar; 0 without pairs.
    """
    each = -(teacher * (student / temperature).log_softmax(-1)).sum(-1)
    return each.sum() / max(1, len(each))


def moved_centre(centre: Tensor, logits: Tensor, momentum: float) -> Tensor:
    """Return the running mean ``(K,)`` of the teacher's logits ``(m, K)`` after a step; without any it stays."""
    return momentum * centre + (1 - momentum) * logits.mean(0) if len(logits) else centre


def mask_losses(masks: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return binary cross-entropy and Dice loss, means over the pairs; 0 without any.

    Args:
        masks: ``(m, S, S)`` logits.
        targets: ``(m, S, S)`` bool.
    """
    if not len(masks):
        return masks.sum(), masks.sum()
    wanted = targets.to(masks.dtype)
    return F.binary_cross_entropy_with_logits(masks, wanted), dice_loss(masks.sigmoid()[:, None], wanted[:, None])


def learning_rate(t: int, steps: int, base: float, warmup: float) -> float:
    """Return the rate of step ``t``, from 0: a linear rise over a share of the steps, then a cosine down to 0.

    >>> [round(learning_rate(t, 10, 1.0, 0.2), 2) for t in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.04]
    """
    rising = max(1, round(warmup * steps))
    if t < rising:
        return base * (t + 1) / rising
    return base * (1 + math.cos(math.pi * (t - rising) / max(1, steps - rising))) / 2


def risen(t: int, steps: int, ends: Sequence[float], share: float = 1.0) -> float:
    """Return what rises, or falls, linearly from the first end to the second over a share of the steps.

    >>> [risen(t, 5, (0.0, 1.0)) for t in (0, 2, 4)]
    [0.0, 0.5, 1.0]
    """
    last = share * (steps - 1)
    return ends[0] + (ends[1] - ends[0]) * (min(1.0, t / last) if last > 0 else 1.0)
