"""The search of PriMaPs in a batch of images, whose steps all take together; made for a card.

Taken patches stay in the tensors and are masked, so that a step has the same shapes whatever it finds. The host waits
once per step, to learn which images go on and how many patches leave. Everything is in float64, so that the masks are
those of :func:`unseg_d2.masks.primaps.search.search_one`.

Shape legend
    b      images
    n      patches of an image
    C      feature channels
    m      patches whose features are summed in a step
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unseg_d2.graph.principal import leading_eigenpair, leading_unwatched
from unseg_d2.masks.primaps.search import NO_DIRECTION, find_masks, varied
from unseg_d2.masks.primaps.settings import PriMaPsSettings
from unseg_d2.transfer import to_host


def search_together(tokens: Tensor, settings: PriMaPsSettings) -> list[tuple[np.ndarray, list[float]]]:
    """Return the proposals of each image, as :func:`~unseg_d2.masks.primaps.search.search_one` does for one.

    Args:
        tokens: ``(b, n, C)`` on any device.
        settings: of PriMaPs.
    """
    tokens = torch.empty(tokens.shape, dtype=torch.float64, device=tokens.device).copy_(tokens)  # and row-major
    lengths = tokens.norm(dim=2)
    state = _State.start(tokens, lengths)
    scores: list[Tensor] = []
    goes_on = True
    while goes_on:
        state, new_scores, goes_on = _step(tokens, lengths, state, settings)
        scores.append(new_scores)
    taken, found, all_scores = to_host(state.taken, state.found, torch.stack(scores, 1))
    return [(image.numpy(), mine[:count].tolist()) for image, mine, count in zip(taken, all_scores, found.tolist())]


@dataclass
class _State:
    """What is known before a step; nothing in it is overwritten.

    Attributes:
        free: ``(b, n)`` bool.
        taken: ``(b, n)`` number of the proposal that has the patch, from 1; 0 is none.
        total: ``(b, C)`` sum of the free tokens.
        products: ``(b, C, C)`` sum of their outer products.
        active: ``(b,)`` bool, images that are not done.
        found: ``(b,)`` number of proposals.
        stalled: ``(b,)`` steps in a row that took nothing.
    """

    free: Tensor
    taken: Tensor
    total: Tensor
    products: Tensor
    active: Tensor
    found: Tensor
    stalled: Tensor

    @staticmethod
    def start(tokens: Tensor, lengths: Tensor) -> _State:
        total = tokens.sum(1)
        none = torch.zeros(len(tokens), dtype=torch.long, device=tokens.device)
        taken = torch.zeros(lengths.shape, dtype=torch.long, device=tokens.device)
        return _State(lengths > 0, taken, total, tokens.mT @ tokens, varied(lengths, total), none, none)


def _step(tokens: Tensor, lengths: Tensor, state: _State, settings: PriMaPsSettings) -> tuple[_State, Tensor, bool]:
    """Find one more proposal in each active image; also return its score ``(b,)`` and whether any image goes on."""
    covariance, scale = _covariance(lengths, state)
    values, vectors, converged = leading_unwatched(covariance)
    taken = _take(tokens, lengths, state, torch.where((values > NO_DIRECTION * scale)[:, None], vectors, 0), settings)
    known = to_host(taken.active, taken.summed, converged | ~state.active)
    if not known[2].all():  # eigenvalues close together: once more, and look at the iteration meanwhile
        values, vectors = leading_eigenpair(covariance)
        directions = torch.where((values > NO_DIRECTION * scale)[:, None], vectors, 0)
        taken = _take(tokens, lengths, state, directions, settings)
        known = to_host(taken.active, taken.summed)
    return _summed(tokens, state, taken, int(known[1].max())), taken.scores, bool(known[0].any())


def _covariance(lengths: Tensor, state: _State) -> tuple[Tensor, Tensor]:
    """Scatter of the free tokens around their mean, ``(b, C, C)``, and their summed squared lengths, ``(b,)``."""
    count = state.free.sum(1, keepdim=True).clamp_min(1)
    covariance = torch.baddbmm(state.products, state.total[:, :, None], (state.total / count)[:, None], alpha=-1)
    return covariance, (lengths.square() * state.free).sum(1).clamp_min(1e-300)


@dataclass
class _Taken:
    """What a step took: masks ``(b, n)`` and the state ``(b,)`` after it, without the sums.

    ``summed`` is the number of patches to sum: those that leave, or those that stay where they are fewer.
    """

    masks: Tensor
    scores: Tensor
    free: Tensor
    active: Tensor
    found: Tensor
    stalled: Tensor
    subtract: Tensor
    summed: Tensor


def _take(tokens: Tensor, lengths: Tensor, state: _State, directions: Tensor, settings: PriMaPsSettings) -> _Taken:
    masks, scores = find_masks(tokens, lengths, state.free, directions, settings)
    masks = masks & state.active[:, None]
    free = state.free & ~masks
    leaving, left = masks.sum(1), free.sum(1)
    found = state.found + state.active
    stalled = torch.where(leaving > 0, 0, state.stalled + 1)
    covered = ((state.taken > 0) | masks).double().mean(1)
    done = (covered >= settings.coverage) | (left == 0)
    if settings.mode == "parity":
        done |= (found >= 4) & (stalled >= 2)
    elif settings.max_masks > 0:
        done |= found >= settings.max_masks
    subtract = leaving < left
    summed = torch.where(subtract, leaving, left)
    return _Taken(masks, scores, free, state.active & ~done, found, stalled, subtract, summed)


def _summed(tokens: Tensor, state: _State, step: _Taken, most: int) -> _State:
    """Return the state after a step; ``most`` is the largest number of patches to sum in any image."""
    subtract = step.subtract
    chosen = torch.where(subtract[:, None], step.masks, step.free)
    rows = (~chosen).byte().argsort(dim=1, stable=True)[:, :most]
    part = tokens.gather(1, rows[:, :, None].expand(-1, -1, tokens.shape[2]))
    part = part * chosen.gather(1, rows)[:, :, None]
    total, products = part.sum(1), part.mT @ part
    return _State(
        free=step.free,
        taken=torch.where(step.masks, step.found[:, None], state.taken),
        total=torch.where(subtract[:, None], state.total - total, total),
        products=torch.where(subtract[:, None, None], state.products - products, products),
        active=step.active,
        found=step.found,
        stalled=step.stalled,
    )
