"""From lists of images to batches and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from unseg_d2.errors import Unusable
from unseg_d2.structures import PatchFeatures, Proposals
from unseg_d2.transfer import to_host

NOT_FINITE = "the patch features contain NaN or infinite values; check the feature backend"
Result = TypeVar("Result")  # of one image, mostly Proposals


def map_batches(
    function: Callable[..., list[Result]], features: Sequence[PatchFeatures], *beside: Sequence[Any]
) -> list[Result]:
    """Apply a function of ``(b, C, h, w)`` tokens to images, those of one shape on a GPU together.

    On the CPU images are processed one by one: batching gains nothing there and costs memory.

    Args:
        function: of the tokens, and of a list for each of ``beside``.
        features: of the images.
        *beside: more about each image.
    """
    results: dict[int, Result] = {}
    for members in batch_by_shape(features):
        tokens = torch.stack([features[i].tokens for i in members])
        results.update(zip(members, function(tokens, *([one[i] for i in members] for one in beside))))
    return [results[i] for i in range(len(features))]


def batch_by_shape(features: Sequence[PatchFeatures]) -> list[list[int]]:
    """Return the indices of the images that go through a generator together, see :func:`map_batches`."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, image in enumerate(features):
        alone = i if image.tokens.device.type == "cpu" else None
        groups.setdefault((image.tokens.shape, image.tokens.device, alone), []).append(i)
    return list(groups.values())


def check_tokens(tokens: Tensor) -> None:
    """Raise ValueError unless the tokens are ``(b, C, h, w)``, floating, finite and not empty."""
    check_shape(tokens)
    if not all_finite([tokens])[0]:
        raise Unusable(NOT_FINITE)


def check_shape(tokens: Tensor) -> None:
    """Raise ValueError unless the tokens are ``(b, C, h, w)``, floating and not empty."""
    if tokens.dim() != 4 or tokens.numel() == 0 or not tokens.is_floating_point():
        raise ValueError(f"expected floating (b, C, h, w) tokens, got {tuple(tokens.shape)} {tokens.dtype}")


def all_finite(tensors: Sequence[Tensor]) -> list[bool]:
    """Return whether each tensor, none empty, is free of NaN and infinite values; on a card with one wait for all."""
    extremes = [torch.isfinite(torch.stack(tensor.aminmax())).all() for tensor in tensors]  # NaN is both extremes
    return [bool(flag) for flag in to_host(*extremes)]


def to_proposals(
    found: Sequence[tuple[np.ndarray, float]],
    grid: tuple[int, int],
    rejected: Mapping[str, int] | None = None,
    *,
    when_none: str = "",
) -> Proposals:
    """Return the proposals of one image from ``(h, w)`` bool masks and scores, in order, without empty masks.

    Args:
        found: masks and their scores.
        grid: ``(h, w)``.
        rejected: see :class:`~unseg_d2.structures.Proposals`; counts of 0 are left out.
        when_none: reason that counts once where nothing was found and nothing rejected.
    """
    found = [(mask, score) for mask, score in found if mask.any()]
    counts = dict(+Counter(rejected or {}))
    if not found:
        return Proposals.empty(grid, counts or ({when_none: 1} if when_none else {}))
    masks, scores = zip(*found)
    return Proposals(torch.from_numpy(np.stack(masks)), torch.tensor(scores, dtype=torch.float32), rejected=counts)
