"""The search of PriMaPs in a batch of images, whose steps all take together; made for a card.

Taken patches stay in the tensors and are masked, and so are images that have come to their end, so that a step has the
same shapes whatever it finds. Several steps are taken before the host waits to learn which images go on, and how many
of their patches are free. Everything is in float64, so that the masks are those of
:func:`unseg_d2.masks.primaps.search.search_one`.

Shape legend
    b      images
    n      patches of an image
    C      feature channels
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

FIRST_STEPS = 4  # before the host waits for the first time
MORE_STEPS = 1 / 2  # share of the steps so far that is taken until it waits again, at least two


def search_together(tokens: Tensor, settings: PriMaPsSettings) -> list[tuple[np.ndarray, list[float]]]:
    """Return the proposals of each image, as :func:`~unseg_d2.masks.primaps.search.search_one` does for one.

    Args:
        tokens: ``(b, n, C)`` on any device.
        settings: of PriMaPs.
    """
    tokens = torch.empty(tokens.shape, dtype=torch.float64, device=tokens.device).copy_(tokens)  # and row-major
    lengths = tokens.norm(dim=2)
    state, most = _State.start(tokens, lengths), tokens.shape[1]
    scores: list[Tensor] = []
    while most:
        number = _steps_until_looked_at(len(scores), settings)
        after, new, exact = _steps(tokens, lengths, state, most, number, settings)
        free, known = to_host(after.num_free(), torch.stack(exact))
        if not known.all():  # eigenvalues close together: up to there once more, and look at the iteration then
            first = int(known.numpy().argmin())
            after, new, _ = _steps(tokens, lengths, state, most, first + 1, settings, watched=first)
            (free,) = to_host(after.num_free())
        state, most = after, int(free.max())
        scores += new
    taken, found, all_scores = to_host(state.taken, state.found, torch.stack(scores, 1))
    return [(image.numpy(), mine[:count].tolist()) for image, mine, count in zip(taken, all_scores, found.tolist())]


def _steps_until_looked_at(so_far: int, settings: PriMaPsSettings) -> int:
    steps = max(2, int(so_far * MORE_STEPS)) if so_far else FIRST_STEPS
    limited = settings.mode == "default" and settings.max_masks > 0
    return min(steps, settings.max_masks - so_far) if limited else steps


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

    def num_free(self) -> Tensor:
        """Return the number of free patches of each image, ``(b,)``; 0 of those that are done."""
        return self.free.sum(1) * self.active


def _steps(
    tokens: Tensor,
    lengths: Tensor,
    state: _State,
    most: int,
    number: int,
    settings: PriMaPsSettings,
    watched: int = -1,
) -> tuple[_State, list[Tensor], list[Tensor]]:
    """Find more proposals in each active image.

    Args:
        tokens: ``(b, n, C)`` float64.
        lengths: ``(b, n)`` of the tokens.
        state: before the steps.
        most: free patches of an active image, at most.
        number: of steps.
        settings: of PriMaPs.
        watched: the step, if any, in which the host looks at the iteration for the directions.

    Returns:
        The state after the steps; the scores ``(b,)`` of each; and of each that is not watched ``()`` bool, whether it
        has found the directions of all active images.
    """
    scores, exact = [], []
    for index in range(number):
        covariance, scale = _covariance(lengths, state)
        if index == watched:
            values, vectors = leading_eigenpair(covariance)
        else:
            values, vectors, converged = leading_unwatched(covariance)
            exact.append((converged | ~state.active).all())
        directions = torch.where((values > NO_DIRECTION * scale)[:, None], vectors, 0)
        taken = _take(tokens, lengths, state, directions, settings)
        scores.append(taken.scores)
        state = _summed(tokens, state, taken, max(1, most // 2))
    return state, scores, exact


def _covariance(lengths: Tensor, state: _State) -> tuple[Tensor, Tensor]:
    """Scatter of the free tokens around their mean, ``(b, C, C)``, and their summed squared lengths, ``(b,)``."""
    count = state.free.sum(1, keepdim=True).clamp_min(1)
    covariance = torch.baddbmm(state.products, state.total[:, :, None], (state.total / count)[:, None], alpha=-1)
    return covariance, (lengths.square() * state.free).sum(1).clamp_min(1e-300)


@dataclass
class _Taken:
    """What a step took: masks ``(b, n)`` and the state ``(b,)`` after it, without the sums.

    ``subtract`` says whether the sums are over those that leave, as they are fewer than those that stay.
    """

    masks: Tensor
    scores: Tensor
    free: Tensor
    active: Tensor
    found: Tensor
    stalled: Tensor
    subtract: Tensor


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
    return _Taken(masks, scores, free, state.active & ~done, found, stalled, leaving < left)


def _summed(tokens: Tensor, state: _State, step: _Taken, most: int) -> _State:
    """Return the state after a step; in no image are more than ``most`` patches to sum."""
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
