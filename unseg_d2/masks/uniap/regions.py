"""The regions of a batch of images while they are joined: graph, means, features, and what need not be computed anew.

Shape legend
    b      images
    n      patches (tokens) of an image
    k      regions of all images, those of an image one after another
    e      pairs of neighbouring regions
    C      feature channels
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from unseg_d2.graph.regions import connected_groups, contract
from unseg_d2.masks.uniap.settings import UniAPSettings
from unseg_d2.masks.uniap.similarity import (
    distances,
    numbers_at_once,
    reaches,
    region_features,
    similarities,
    weighted,
)
from unseg_d2.masks.uniap.tokens import Rows, Tokens
from unseg_d2.transfer import to_host

KEPT_PROFILES = 2**24  # numbers of profiles that are kept on a CPU, 64 MB; where there are more, some exist at a time


@dataclass(frozen=True)
class Partition:
    """Connected regions that cover the images.

    Attributes:
        labels: ``(b n,)`` int64, region of each patch; regions are numbered by their first patches.
        images: ``(k,)`` int64, image of each region, ascending.
        areas: ``(k,)`` int64, patches.
        sums: ``(k, C)`` float64, sum of the float32 unit features of each.
        means: ``(k, C)`` float32, their plain mean.
    """

    labels: np.ndarray
    images: np.ndarray
    areas: np.ndarray
    sums: Tensor
    means: Tensor

    @classmethod
    def of(cls, labels: np.ndarray, count: int, tokens: Tokens) -> Partition:
        """Return the regions that patches are labelled with."""
        images = np.empty(count, dtype=np.int64)
        images[labels] = np.arange(len(labels)) // tokens.per_image
        rows = tokens.single.flatten(0, 1).double()
        sums = rows.new_zeros(count, rows.shape[1]).index_add_(0, tokens.index(labels), rows)
        return cls._averaged(labels, images, np.bincount(labels, minlength=count), sums, tokens)

    def joined(self, groups: np.ndarray, count: int, tokens: Tokens) -> Partition:
        """Return the regions that groups ``(k,)`` of these make."""
        images = np.empty(count, dtype=np.int64)
        images[groups] = self.images
        sums = self.sums.new_zeros(count, self.sums.shape[1]).index_add_(0, tokens.index(groups), self.sums)
        areas = np.bincount(groups, weights=self.areas, minlength=count).astype(np.int64)
        return self._averaged(groups[self.labels], images, areas, sums, tokens)

    @classmethod
    def _averaged(
        cls, labels: np.ndarray, images: np.ndarray, areas: np.ndarray, sums: Tensor, tokens: Tokens
    ) -> Partition:
        return cls(labels, images, areas, sums, (sums / tokens.index(areas[:, None])).float())

    def exact_means(self, nodes: np.ndarray, tokens: Tokens) -> Tensor:
        """Return the mean of the float64 unit features of some regions, ``(r, C)``, ``(r,)`` ascending."""
        members = np.flatnonzero(np.isin(self.labels, nodes))
        rows = tokens.double.flatten(0, 1)[tokens.index(members)]
        places = tokens.index(np.searchsorted(nodes, self.labels[members]))
        sums = rows.new_zeros(len(nodes), rows.shape[1]).index_add_(0, places, rows)
        return sums / tokens.index(self.areas[nodes, None])

    def features(
        self, nodes: np.ndarray, means: Tensor, tokens: Tokens, settings: UniAPSettings, profiles: Tensor | None = None
    ) -> Tensor:
        """Return the features of some regions by equation 5, ``(r, C)``, in the precision of the means.

        Args:
            nodes: ``(r,)`` regions, ascending.
            means: ``(r, C)`` of these.
            tokens: of the images.
            settings: of the method.
            profiles: ``(r, n)`` of these, where they are kept.
        """
        weight = self.areas[nodes] if settings.aggregate == "sum" else np.ones(len(nodes))
        scale = tokens.index(weight[:, None] / settings.sigma).to(means.dtype)
        members = None
        if settings.attend == "region":
            own = self.labels.reshape(tokens.count, -1)[self.images[nodes]]
            members = tokens.index(own == nodes[:, None])
        return region_features(means, self.images[nodes], tokens, scale, profiles, members)


@dataclass(frozen=True)
class Regions:
    """The graph of the regions of a layer.

    Attributes:
        partition: which regions there are.
        features: ``(k, C)`` float32 unit features.
        edges: ``(2, e)`` int64, neighbours.
        distances: ``(e,)`` float32, mean absolute difference of their profiles.
        similarity: ``(e,)`` float32, how alike they are; on the host.
        profiles: ``(k, n)`` float32 mean affinity of each region to each patch, where it is kept.
    """

    partition: Partition
    features: Tensor
    edges: np.ndarray
    distances: Tensor
    similarity: np.ndarray
    profiles: Tensor | None

    @classmethod
    def of_patches(cls, edges: np.ndarray, along: np.ndarray, tokens: Tokens, settings: UniAPSettings) -> Regions:
        """Return the regions that the connected groups of edges make of patches.

        Args:
            edges: ``(2, b e)`` neighbouring patches.
            along: ``(b e,)`` bool, edges whose patches become one region.
            tokens: of the images.
            settings: of the method.
        """
        count, labels = connected_groups(tokens.count * tokens.per_image, edges[:, along])
        partition = Partition.of(labels, count, tokens)
        profiles = _profiles(partition, tokens)
        features = partition.features(np.arange(count), partition.means, tokens, settings, profiles)
        between, _ = contract(edges, labels, count)
        apart = distances(partition.means, between, partition.images, tokens, profiles)
        return cls._compared(partition, features, between, apart, profiles, tokens, settings)

    def joined(self, along: np.ndarray, tokens: Tokens, settings: UniAPSettings) -> Regions:
        """Return the regions that the connected groups of edges ``(e,)`` bool make of these.

        What belongs to regions that stay as they are is taken over: profiles, features, and distances between them.
        """
        before = len(self.partition.areas)
        count, groups = connected_groups(before, self.edges[:, along])
        if count == before:
            return self
        partition = self.partition.joined(groups, count, tokens)
        stays = np.bincount(groups, minlength=count) == 1
        old = np.zeros(count, dtype=np.int64)
        old[groups] = np.arange(before)  # for regions that stay, themselves
        taken, new = tokens.index(old), np.flatnonzero(~stays)
        chosen = tokens.index(new)
        means, profiles = partition.means[chosen], None
        if self.profiles is None:
            profiles = _profiles(partition, tokens)
        else:
            profiles = self.profiles[taken]
            profiles[chosen] = Rows(partition.images[new], tokens).times(means, tokens.single.mT)
        features = self.features[taken]
        own = None if profiles is None else profiles[chosen]
        features[chosen] = partition.features(new, means, tokens, settings, own)
        edges, origin = contract(self.edges, groups, count)
        apart = self.distances[tokens.index(origin)]
        changed = np.flatnonzero(~stays[edges].all(0))
        apart[tokens.index(changed)] = distances(partition.means, edges[:, changed], partition.images, tokens, profiles)
        return self._compared(partition, features, edges, apart, profiles, tokens, settings)

    @classmethod
    def _compared(
        cls,
        partition: Partition,
        features: Tensor,
        edges: np.ndarray,
        apart: Tensor,
        profiles: Tensor | None,
        tokens: Tokens,
        settings: UniAPSettings,
    ) -> Regions:
        """Add how alike neighbours are: on a card the one wait for them."""
        first, second = tokens.index(edges)
        alike = (features[first] * features[second]).sum(1)
        (similarity,) = to_host(weighted(alike, apart, settings))
        return cls(partition, features, edges, apart, similarity.numpy(), profiles)

    def reaching(
        self, taus: np.ndarray, tokens: Tokens, settings: UniAPSettings, pairs: np.ndarray | None = None
    ) -> np.ndarray:
        """Return which pairs reach the threshold of their image, ``(p,)`` bool, decided in float64 where it is close.

        Args:
            taus: ``(b,)``.
            tokens: of the images.
            settings: of the method.
            pairs: ``(2, p)`` of any regions of one image each; ``None`` takes the neighbours.
        """
        images = self.partition.images
        if pairs is None:
            pairs, similarity = self.edges, self.similarity
        else:
            found = similarities(self.features, self.partition.means, pairs, images, tokens, settings, self.profiles)
            similarity = to_host(found)[0].numpy()
        return reaches(similarity, taus[images[pairs[0]]], lambda near: self.exact(pairs[:, near], tokens, settings))

    def exact(self, pairs: np.ndarray, tokens: Tokens, settings: UniAPSettings) -> np.ndarray:
        """Return how alike pairs ``(2, p)`` of regions are, ``(p,)`` in float64."""
        nodes, ends = np.unique(pairs, return_inverse=True)
        means = self.partition.exact_means(nodes, tokens)
        features = self.partition.features(nodes, means, tokens, settings)
        images = self.partition.images[nodes]
        (found,) = to_host(similarities(features, means, ends.reshape(2, -1), images, tokens, settings))
        return found.numpy()


def _profiles(partition: Partition, tokens: Tokens) -> Tensor | None:
    """Return the profile of every region, ``(k, n)``; ``None`` where they are too many to be kept."""
    if len(partition.areas) * tokens.per_image > numbers_at_once(tokens.device, KEPT_PROFILES):
        return None
    return Rows(partition.images, tokens).times(partition.means, tokens.single.mT)
