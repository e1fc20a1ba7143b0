"""What a foreground union decides while an image is cut: the side of each cut, and when to stop (UnionCut, ICCV 2025).

Shape legend
    b      images
    h, w   rows and columns of the patch grid
    C      feature channels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from unseg_d2.masks.bipartition import (
    MIN_FOREGROUND_CORNERS,
    connected_component,
    corners,
    foreground_side,
    other_side,
)
from unseg_d2.masks.priors.settings import PriorSettings
from unseg_d2.masks.priors.unioncut import foreground_union
from unseg_d2.structures import PatchFeatures
from unseg_d2.transfer import to_host

HALF = 0.5  # probability above which a patch belongs to an object
NO_HEAD = (
    "the features have no foreground of a head, which MASKS.PRIOR.SOURCE head asks for; make them with build_pipeline"
)


@dataclass(frozen=True)
class Guide:
    """Chooses sides and ends the search in one image.

    The published rule also ends the search where a mask has an IoU of more than one half with the one before. That can
    only happen where patches stay in the graph when they have a mask; here masks have no patch in common.

    Attributes:
        union: ``(h, w)`` bool, the patches of all objects; ``None`` leaves the side to the published rule of MaskCut,
            and the end to the number of cuts.
        settings: what counts as inside and as covered.
    """

    union: np.ndarray | None
    settings: PriorSettings

    def side(self, eigenvector: np.ndarray, live: np.ndarray | None, *, first: bool) -> tuple[np.ndarray, int]:
        """Split an eigenvector at its mean and choose the side that is the object.

        It is the side of which more lies in the union; where both have as much, that of the peak. In the first cut of
        an image, a side that touches three corners or more is the background, unless the other one does too.

        Args:
            eigenvector: ``(h, w)`` float64.
            live: ``(h, w)`` bool, patches that take part, at least one; ``None`` is all.
            first: whether it is the first cut of the image.

        Returns:
            The side ``(h, w)`` bool, all false if the eigenvector is constant, and the row-major index of its seed.
        """
        if self.union is None:
            return foreground_side(eigenvector, live)
        side, seed = foreground_side(eigenvector, live, corner_rule=False)
        if not side.any():
            return side, seed
        other, other_seed = other_side(eigenvector, live, side)
        at_corners = [corners(part) >= MIN_FOREGROUND_CORNERS for part in (side, other)]
        if first and at_corners[0] != at_corners[1]:
            swap = at_corners[0]
        else:
            swap = share_within(other, self.union) > share_within(side, self.union)
        return (other, other_seed) if swap else (side, seed)

    def mask(self, eigenvector: np.ndarray, live: np.ndarray | None, *, first: bool) -> np.ndarray:
        """Return the mask of the object that an eigenvector shows.

        It is the 4-connected component of the side that holds the side's seed (CutLER, section 3.2). Args are those of
        :meth:`side`.

        Returns:
            ``(h, w)`` bool, all false if the eigenvector is constant.
        """
        return connected_component(*self.side(eigenvector, live, first=first))

    def refuses(self, mask: np.ndarray) -> bool:
        """Whether too little of a mask ``(h, w)`` bool, which is not the image's first, lies in the union."""
        return self.union is not None and share_within(mask, self.union) < self.settings.min_precision

    def is_covered(self, taken: np.ndarray) -> bool:
        """Whether the masks so far, together ``(h, w)`` bool, cover enough of the union; an empty one is covered."""
        if self.union is None:
            return False
        return bool(not self.union.any() or share_within(self.union, taken) >= self.settings.coverage)


def share_within(mask: np.ndarray, region: np.ndarray) -> float:
    """Return the share of a bool mask that lies in a region, in [0, 1]; 0 for an empty mask.

    >>> share_within(np.array([True, True, False]), np.array([True, False, True]))
    0.5
    """
    size = int(np.count_nonzero(mask))
    return int(np.count_nonzero(mask & region)) / size if size else 0.0


def guides(
    tokens: Tensor, settings: PriorSettings, *, asked: bool, unions: Sequence[np.ndarray] | None = None
) -> list[Guide]:
    """Return the guide of each image.

    Args:
        tokens: ``(b, C, h, w)`` patch features of any float type.
        settings: of the prior.
        asked: ``False`` returns guides without a union.
        unions: b of ``(h, w)`` bool from elsewhere; ``None`` takes UnionCut's.

    Raises:
        ValueError: if the features are not finite, a union has another grid, unions are given but not asked for, or
            those of a head are asked for but not given.
    """
    if not asked:
        if unions is not None:
            raise ValueError("foreground unions have no effect with these settings")
        return [Guide(None, settings)] * len(tokens)
    if unions is None:
        if settings.source != "unioncut":
            raise ValueError(NO_HEAD)
        unions = [foreground_union(image, settings.unioncut) for image in tokens]
    grid = tuple(tokens.shape[2:])
    if len(unions) != len(tokens) or any(union.shape != grid or union.dtype != np.bool_ for union in unions):
        raise ValueError(f"expected {len(tokens)} bool unions of shape {grid}, one per image")
    return [Guide(union, settings) for union in unions]


def unions_of_heads(
    features: Sequence[PatchFeatures], settings: PriorSettings, *, asked: bool
) -> list[np.ndarray] | None:
    """Return the foreground unions that a head has found; ``None`` where UnionCut's are taken, or none is asked for.

    Args:
        features: of the images.
        settings: of the prior.
        asked: whether a union is asked for.

    Raises:
        ValueError: an image has no foreground of a head.
    """
    if not asked or settings.source == "unioncut":
        return None
    foregrounds = [image.foreground for image in features if image.foreground is not None]
    if len(foregrounds) < len(features):
        raise ValueError(NO_HEAD)
    return [probabilities.numpy() > HALF for probabilities in to_host(*foregrounds)]
