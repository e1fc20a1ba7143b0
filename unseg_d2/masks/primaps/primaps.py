"""PriMaPs: masks around principal directions of the features, one after another (Hahn et al., TMLR 2024, section 3.2).

Shape legend
    b      images
    h, w   rows and columns of the patch grid, n = h w patches
    C      feature channels
    K      proposals
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from torch import Tensor

from unseg_d2.masks.batches import check_tokens, map_batches, to_proposals
from unseg_d2.masks.primaps.search import search_one
from unseg_d2.masks.primaps.search_together import search_together
from unseg_d2.masks.primaps.settings import PriMaPsSettings
from unseg_d2.masks.registry import MASK_GENERATORS
from unseg_d2.structures import PatchFeatures, Proposals


@MASK_GENERATORS.register(settings=PriMaPsSettings)
class PriMaPs:
    """Mask generator that calls :func:`primaps` with fixed settings.

    Args:
        settings: see :class:`PriMaPsSettings`; ``None`` takes the defaults.
    """

    def __init__(self, settings: PriMaPsSettings | None = None) -> None:
        self.settings = settings or PriMaPsSettings()

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image; images of one grid go through a GPU together."""
        return map_batches(lambda tokens: primaps(tokens, self.settings), features)


def primaps(tokens: Tensor, settings: PriMaPsSettings | None = None) -> list[Proposals]:
    """Divide each image into masks of similar patches, which do not overlap and cover most of it.

    The patch closest to the first principal direction of the free patches is the anchor, and the free patches similar
    to it are the mask; this repeats until most of the image is covered. A 3x3 majority vote smooths the masks.

    Args:
        tokens: ``(b, C, h, w)`` patch features of any float type.
        settings: see :class:`PriMaPsSettings`; ``None`` takes the defaults.

    Returns:
        Proposals per image, on the CPU; none if all its patches are alike. The score is the mean cosine to the anchor
        of the patches that were taken with it; in ``default`` the best comes first, in ``parity`` the first found, and
        scores are 1.

    Raises:
        ValueError: if the features are not finite.
    """
    settings = settings or PriMaPsSettings()
    results = []
    for image in primaps_labels(tokens, settings):
        masks = image.channels[1:] > 0
        if settings.mode == "parity":
            found = [(mask, 1.0) for mask in masks]
        else:
            found = sorted(zip(masks, image.scores.tolist()), key=lambda entry: -entry[1])
        h, w = image.labels.shape
        rejected = {"masks that the 3x3 majority vote empties": image.voted_away}
        results.append(to_proposals(found, (h, w), rejected, when_none="patches that are all alike"))
    return results


@dataclass(frozen=True)
class PriMaPsLabels:
    """The proposals of one image as a label map.

    Attributes:
        labels: ``(h, w)`` int64; 0 is no proposal, 1 to K the proposals in the order in which they were found.
        scores: ``(K,)`` mean cosine to the anchor, in [0, 1].
        voted_away: further proposals that the majority vote left without patches.
    """

    labels: np.ndarray
    scores: np.ndarray
    voted_away: int = 0

    @property
    def channels(self) -> np.ndarray:
        """One-hot channels of the labels, ``(K + 1, h, w)`` float32: the logits of the published CRF."""
        return (self.labels == np.arange(len(self.scores) + 1)[:, None, None]).astype(np.float32)


def primaps_labels(tokens: Tensor, settings: PriMaPsSettings) -> list[PriMaPsLabels]:
    """Return the label map of each image, see :func:`primaps`.

    In ``parity`` a proposal that the majority vote leaves without patches keeps its label.
    """
    check_tokens(tokens)
    b, _, h, w = tokens.shape
    rows = tokens.flatten(2).transpose(1, 2)
    found = search_together(rows, settings) if b > 1 or tokens.device.type != "cpu" else [search_one(rows, settings)]
    return [_labels(taken.reshape(h, w), scores, settings) for taken, scores in found]


def _labels(taken: np.ndarray, scores: list[float], settings: PriMaPsSettings) -> PriMaPsLabels:
    labels = majority_filter(taken, len(scores))
    if settings.mode == "parity":
        return PriMaPsLabels(labels, np.array(scores))
    left = np.unique(labels[labels > 0])
    renumbered = np.searchsorted(left, labels, side="right") * (labels > 0)
    return PriMaPsLabels(renumbered, np.array(scores)[left - 1], len(scores) - len(left))


def majority_filter(labels: np.ndarray, count: int) -> np.ndarray:
    """Give each patch the label that five or more of its 3x3 neighbours have, or 0; the border is reflected.

    Args:
        labels: ``(h, w)`` integers from 0 to ``count``; 0 does not vote.
        count: number of labels.

    Returns:
        ``(h, w)`` int64.
    """
    result = np.zeros(labels.shape, dtype=np.int64)
    for label in range(1, count + 1):
        votes = (labels == label).astype(np.uint8)
        votes = cv2.boxFilter(votes, -1, (3, 3), normalize=False, borderType=cv2.BORDER_REFLECT_101)
        result[votes >= 5] = label
    return result
