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

from unseg_d2.masks.batches import check_tokens, map_batches, to_proposals
from unseg_d2.masks.bipartition import connected_component
from unseg_d2.masks.registry import MASK_GENERATORS
from unseg_d2.settings import Settings, setting
from unseg_d2.structures import PatchFeatures, Proposals

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
    return [_seed_expansion(image, settings.max_seeds, settings.center) for image in tokens]


def _seed_expansion(tokens: Tensor, max_seeds: int, center: bool) -> Proposals:
    """The object of one image from its ``(C, h, w)`` tokens."""
    h, w = tokens.shape[1:]
    features = tokens.flatten(1).double()  # so that the sign of a product does not depend on the device
    if center:
        features = features - features.mean(1, keepdim=True)
    degrees = _degrees(features)
    lowest = degrees.argsort(stable=True)[:max_seeds]
    seed = lowest[0]
    seeds = lowest[features[:, lowest].T @ features[:, seed] >= 0]
    alike = features.T @ features[:, seeds].sum(1) >= 0
    mask = connected_component(alike.view(h, w).cpu().numpy(), int(seed))
    score = 1 - float(degrees[seed]) / len(degrees)
    found = [] if mask.all() else [(mask, score)]
    return to_proposals(found, (h, w), when_none="patches that are all similar")


def _degrees(features: Tensor) -> Tensor:
    """Number of patches that each of ``(C, n)`` features is like, itself included, ``(n,)``."""
    return torch.cat([(rows.T @ features >= 0).sum(1) for rows in features.split(ROWS_PER_CHUNK, dim=1)])
