"""Products of the mean features of sets of patches: on the CPU from the tokens, on a card from regions.

The merge asks for one product after another. A card would be waited for each time, so it is asked once for all images:
the masks divide an image into regions, of patches that lie in the same masks, and the products of the sums over regions
give those of all unions of masks.

Shape legend
    b      images
    C      feature channels
    n      patches
    a      masks of one image
    r      regions
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from unseg_d2.masks.promerge.filter import to_masks
from unseg_d2.transfer import to_card, to_host


@dataclass(frozen=True)
class Features:
    """Features ``(b, C, n)`` and their divisors ``(b, n)``: unit features that are never stored."""

    tokens: Tensor
    lengths: Tensor

    def mean(self, masks: Tensor) -> Tensor:
        """Mean unit feature of one mask per image, ``(b, C)`` of ``(b, n)`` bool; 0 of an empty one."""
        total = torch.bmm(self.tokens, (masks / self.lengths)[:, :, None])[:, :, 0]
        return total / masks.sum(1, keepdim=True).clamp_min(1)

    def products(self, vectors: Tensor) -> Tensor:
        """Product of each patch's unit feature and its image's vector ``(b, C)``, ``(b, n)``."""
        return torch.bmm(vectors[:, None], self.tokens)[:, 0] / self.lengths


class MeanProducts(Protocol):
    """Sets of patches of one image are bits of integers, as in :mod:`unseg_d2.masks.promerge.filter`."""

    def product(self, first: int, second: int) -> float:
        """Return the product of the mean features of two sets, none empty."""
        ...

    def cosines(self, sets: Sequence[int], other: int) -> np.ndarray:
        """Return the mean product of the features of each set and the direction of another set's mean feature."""
        ...


def mean_products(features: Features, masks: Sequence[np.ndarray]) -> Sequence[MeanProducts]:
    """Return the products of each image.

    Args:
        features: of b images.
        masks: ``(a, n)`` bool per image; on a card only unions of these, and the rest of the image, are asked for.
    """
    if features.tokens.device.type != "cpu":
        return _from_regions(features, masks)
    return [
        FromTokens(Features(*(part[i : i + 1] for part in (features.tokens, features.lengths))))
        for i in range(len(masks))
    ]


class FromTokens:
    """Products of one image, computed when they are asked for."""

    def __init__(self, image: Features) -> None:
        self.image = image
        self.means: dict[int, Tensor] = {}

    def product(self, first: int, second: int) -> float:
        """Return the product of the mean features of two sets, none empty."""
        return float(self._mean(first) @ self._mean(second))

    def cosines(self, sets: Sequence[int], other: int) -> np.ndarray:
        """Return the mean product of the features of each set and the direction of another set's mean feature."""
        mean = self.image.mean(self._mask(other))
        masks = to_masks(sets, self.image.tokens.shape[2])
        length = max(float(mean.norm()), 1e-12)
        return masks @ self.image.products(mean).numpy()[0] / masks.sum(1) / length

    def _mean(self, members: int) -> Tensor:
        if members not in self.means:
            self.means[members] = self.image.mean(self._mask(members))[0].double()
        return self.means[members]

    def _mask(self, members: int) -> Tensor:
        return torch.from_numpy(to_masks([members], self.image.tokens.shape[2]))


@dataclass(frozen=True)
class FromRegions:
    """Products of one image from those of its regions.

    Attributes:
        products: ``(r, r)`` float64, of the sums of unit features over regions.
        patches: ``(r,)`` a patch of each region.
        num_patches: n.
    """

    products: np.ndarray
    patches: np.ndarray
    num_patches: int

    def product(self, first: int, second: int) -> float:
        """Return the product of the mean features of two sets, none empty."""
        return self._sum(first, second) / (first.bit_count() * second.bit_count())

    def cosines(self, sets: Sequence[int], other: int) -> np.ndarray:
        """Return the mean product of the features of each set and the direction of another set's mean feature."""
        length = math.sqrt(max(self._sum(other, other), 0)) / max(other.bit_count(), 1)
        means = [self._sum(members, other) / members.bit_count() / max(other.bit_count(), 1) for members in sets]
        return np.array(means) / max(length, 1e-12)

    def _sum(self, first: int, second: int) -> float:
        inside = to_masks([first, second], self.num_patches)[:, self.patches]
        return float(inside[0] @ self.products @ inside[1])


def _from_regions(features: Features, masks: Sequence[np.ndarray]) -> list[FromRegions]:
    """Sum the features over the regions of all images together; the host waits once."""
    regions = [_regions(image) for image in masks]
    most = max(len(patches) for _, patches in regions)
    labels = to_card(torch.from_numpy(np.stack([labels for labels, _ in regions])), features.tokens.device)
    members = labels[:, :, None] == torch.arange(most, device=labels.device)
    sums = torch.bmm(features.tokens, members / features.lengths[:, :, None]).double()
    (products,) = to_host(torch.bmm(sums.mT, sums))
    return [
        FromRegions(image.numpy()[: len(patches), : len(patches)], patches, labels.shape[1])
        for image, (_, patches) in zip(products, regions)
    ]


def _regions(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the region of each patch ``(n,)``, numbered from 0, and a patch of each region ``(r,)``."""
    if not len(masks):
        return np.zeros(masks.shape[1], np.int64), np.zeros(1, np.int64)
    _, patches, labels = np.unique(np.packbits(masks, axis=0), axis=1, return_index=True, return_inverse=True)
    return labels.reshape(-1), patches
