"""LOST: the one object of an image, grown from the patch that is least like the others (Simeoni et al., BMVC 2021).

Shape legend
    b      images
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unseg_d2.graph.affinity import items_per_chunk
from unseg_d2.masks.batches import check_tokens, map_batches, to_proposals
from unseg_d2.masks.bipartition import connected_component
from unseg_d2.masks.registry import MASK_GENERATORS
from unseg_d2.settings import Settings, setting
from unseg_d2.structures import PatchFeatures, Proposals
from unseg_d2.transfer import to_host

ROWS_PER_CHUNK = 512  # rows of the Gram matrix that exist at a time


@dataclass(frozen=True)
class LOSTSettings(Settings):
    """Settings of :func:`lost`; both values of ``MASKS.MODE`` mean the same here.

    Features without negative entries, such as descriptors, need ``center``: all their products are positive, so that
    nothing is found.
    """

    max_seeds: int = setting(100, "number of patches of lowest degree that may join the seed", symbol="k", low=1)
    center: bool = setting(False, "subtract the image's mean feature first (not published; needed for descriptors)")

    def when_empty(self) -> str:
        """Return what to change where LOST finds nothing."""
        if self.center:
            return "take other features: to LOST, all patches of these images are alike."
        return (
            "set MASKS.LOST.CENTER True; features without negative entries, like descriptors, are all alike otherwise."
        )


@MASK_GENERATORS.register(settings=LOSTSettings)
class LOST:
    """Mask generator that calls :func:`lost` with fixed settings.

    Args:
        settings: see :class:`LOSTSettings`; ``None`` takes the defaults.
    """

    def __init__(self, settings: LOSTSettings | None = None) -> None:
        self.settings = settings or LOSTSettings()

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image; images of one grid go through a GPU together."""
        return map_batches(lambda tokens: lost(tokens, self.settings), features)


def lost(tokens: Tensor, settings: LOSTSettings | None = None) -> list[Proposals]:
    """Find one object in each image: the patches that correlate with its seeds (arXiv 2109.14279, section 3).

    Two patches are similar if the product of their features, not normalised, is at least 0. The seed is the patch that
    is similar to the fewest patches, since objects are mostly smaller than the background. It is joined by those of the
    ``max_seeds`` patches of lowest degree that are similar to it; patches similar to the sum of these seeds form the
    mask, of which the part connected to the seed is kept. Of equal degrees the first in row-major order is taken.

    Args:
        tokens: ``(b, C, h, w)`` patch features of any float type.
        settings: see :class:`LOSTSettings`; ``None`` takes the defaults.

    Returns:
        One proposal per image, or none if all patches are similar, on the CPU. The score is the share of patches that
        are not similar to the seed, in [0, 1]: low if the seed resembles most of the image and is hardly an object.

    Raises:
        ValueError: if the features are not finite.
    """
    settings = settings or LOSTSettings()
    check_tokens(tokens)
    h, w = tokens.shape[2:]
    seeds, scores, alike = to_host(*_seed_expansion(tokens.flatten(2), settings.max_seeds, settings.center))
    results = []
    for seed, score, similar in zip(seeds.tolist(), scores.tolist(), alike.view(-1, h, w).numpy()):
        mask = connected_component(similar, seed)
        results.append(
            to_proposals([] if mask.all() else [(mask, score)], (h, w), when_none="patches that are all similar")
        )
    return results


def _seed_expansion(tokens: Tensor, max_seeds: int, center: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return of ``(b, C, n)`` tokens the seed patches ``(b,)``, scores ``(b,)``, and what is alike ``(b, n)`` bool."""
    features = tokens.double()  # so that the sign of a product does not depend on the device
    if center:
        features = features - features.mean(2, keepdim=True)
    degrees = _degrees(features)
    lowest = degrees.argsort(dim=1, stable=True)[:, :max_seeds]
    candidates = features.gather(2, lowest[:, None].expand(-1, features.shape[1], -1))
    joins = candidates.mT @ candidates[:, :, :1] >= 0
    alike = features.mT @ (candidates @ joins.double()) >= 0
    scores = 1 - degrees.gather(1, lowest[:, :1])[:, 0].double() / degrees.shape[1]
    return lowest[:, 0], scores, alike[:, :, 0]


def _degrees(features: Tensor) -> Tensor:
    """Number of patches that each of ``(b, C, n)`` features is like, itself included, ``(b, n)``."""
    b, _, n = features.shape
    rows = items_per_chunk(ROWS_PER_CHUNK, b * n, features.device)
    return torch.cat([(part.mT @ features >= 0).sum(2) for part in features.split(rows, dim=2)], 1)
