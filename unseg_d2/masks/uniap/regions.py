"""The regions of a batch of images while they are joined: graph, means, features, and what need not be computed anew.

Shape legend
    b      images
    n      patches (tokens) of an image
    k      regions of all images, those of an image one after another
    e      pairs of neighbouring regions
    C      feature channels
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from unseg_d2.graph.regions import connected_groups, contract
from unseg_d2.masks.uniap.bounds import gaps, joining
from unseg_d2.masks.uniap.settings import UniAPSettings
from unseg_d2.masks.uniap.similarity import numbers_at_once, products, reaches, region_features, similarities, weighted
from unseg_d2.masks.uniap.tokens import Rows, Tokens
from unseg_d2.transfer import to_host

KEPT_PROFILES = 2**24  # numbers of profiles that are kept on a CPU, 64 MB; where there are more, some exist at a time


@dataclass(frozen=True)
class Groups:
    """Which regions become one.

    Attributes:
        of: ``(k,)`` int64, group of each region.
        first: ``(g,)`` int64, a region of each group.
        new: groups of several regions, ascending; the others stay as they are.
    """

    of: np.ndarray
    first: np.ndarray
    new: np.ndarray

    @classmethod
    def numbered(cls, groups: np.ndarray, count: int) -> Groups:
        """Return what follows from the number of groups and that of each region."""
        first = np.empty(count, dtype=np.int64)
        first[groups] = np.arange(len(groups))
        return cls(groups, first, np.flatnonzero(np.bincount(groups, minlength=count) > 1))

    @property
    def grown(self) -> np.ndarray:
        """Whether a group has several regions, ``(g,)`` bool."""
        found = np.zeros(len(self.first), dtype=bool)
        found[self.new] = True
        return found


@dataclass(frozen=True)
class Partition:
    """Connected regions that cover the images.

    Attributes:
        labels: ``(b n,)`` int64, region of each patch; regions are numbered by their first patches.
        images: ``(k,)`` int64, image of each region, ascending.
        areas: ``(k,)`` int64, patches.
        means: ``(k, C)`` float32, plain mean of the unit features of each; that of a single patch is its own feature.
    """

    labels: np.ndarray
    images: np.ndarray
    areas: np.ndarray
    means: Tensor

    @classmethod
    def of_patches(cls, tokens: Tokens) -> Partition:
        """Return a region for each patch."""
        labels = np.arange(tokens.count * tokens.per_image)
        return cls(labels, labels // tokens.per_image, np.ones_like(labels), tokens.single.flatten(0, 1))

    def joined(self, groups: Groups, tokens: Tokens) -> Partition:
        """Return the regions that groups of these make; sums are in float64."""
        areas = np.bincount(groups.of, weights=self.areas, minlength=len(groups.first)).astype(np.int64)
        means = self.means.index_select(0, tokens.index(groups.first))
        parts = np.flatnonzero(groups.grown[groups.of])
        places = tokens.index(np.searchsorted(groups.new, groups.of[parts]))
        rows = self.means.index_select(0, tokens.index(parts)).double().mul_(tokens.index(self.areas[parts, None]))
        sums = rows.new_zeros(len(groups.new), rows.shape[1]).index_add_(0, places, rows)
        means[tokens.index(groups.new)] = (sums / tokens.index(areas[groups.new, None])).float()
        return Partition(groups.of[self.labels], self.images[groups.first], areas, means)

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
    """The graph of the regions of a layer, and what is known of the similarity of neighbours.

    Attributes:
        partition: which regions there are.
        features: ``(k, C)`` float32 unit features.
        edges: ``(2, e)`` int64, neighbours.
        gaps: ``(2, e)`` float32, what the mean absolute difference of their profiles is at least, and at most; the same
            number where it was computed.
        least: ``(e,)`` float32, what the similarity is at least; on the host.
        most: ``(e,)`` float32, likewise.
        profiles: ``(k, n)`` float32 mean affinity of each region to each patch, where it is kept.
        attended: whether features are those of equation 5, and not those of patches.
    """

    partition: Partition
    features: Tensor
    edges: np.ndarray
    gaps: Tensor
    least: np.ndarray
    most: np.ndarray
    profiles: Tensor | None = None
    attended: bool = False

    @classmethod
    def compared(
        cls,
        partition: Partition,
        features: Tensor,
        edges: np.ndarray,
        alike: Tensor,
        gaps: Tensor,
        settings: UniAPSettings,
    ) -> Regions:
        """Add how alike neighbours are, whose features have the products ``(e,)``: on a card the one wait for them."""
        (bounds,) = to_host(weighted(alike, gaps, settings))
        most, least = bounds.numpy()
        return cls(partition, features, edges, gaps, least, most)

    def joined(self, along: np.ndarray, tokens: Tokens, settings: UniAPSettings) -> Regions:
        """Return the regions that the connected groups of edges ``(e,)`` bool make of these.

        What belongs to regions that stay as they are is taken over: profiles, features of equation 5, and what is known
        of the distances between them. Distances around regions that are large enough for a mask are computed, as its
        score follows from them; of others only bounds.
        """
        count, of = connected_groups(len(self.partition.areas), self.edges[:, along])
        if count == len(of) and self.attended:
            return self
        groups = Groups.numbered(of, count)
        partition = self.partition.joined(groups, tokens)
        profiles, features = self._attended(partition, groups, tokens, settings)
        edges, origin = contract(self.edges, of, count)
        known = self.gaps.index_select(1, tokens.index(origin))
        measured = _measured(partition.areas[edges], tokens, settings)
        anew = np.flatnonzero(groups.grown[edges].any(0) | (measured & (self.least < self.most)[origin]))
        if len(anew):
            known[:, tokens.index(anew)] = gaps(
                partition.means, edges[:, anew], measured[anew], partition.images, tokens, profiles
            )
        alike = products(features, features, *tokens.index(edges))
        found = self.compared(partition, features, edges, alike, known, settings)
        return replace(found, profiles=profiles, attended=True)

    def _attended(
        self, partition: Partition, groups: Groups, tokens: Tokens, settings: UniAPSettings
    ) -> tuple[Tensor | None, Tensor]:
        """Return the profiles, where they are kept, and the features ``(k, C)`` that groups of these have."""
        new = groups.new if self.attended else np.arange(len(groups.first))
        taken, chosen = tokens.index(groups.first), tokens.index(new)
        means, profiles = partition.means, None
        if len(means) * tokens.per_image <= numbers_at_once(tokens.device, KEPT_PROFILES):
            if self.profiles is None:
                profiles = Rows(partition.images, tokens).times(means, tokens.single.mT)
            else:
                profiles = self.profiles.index_select(0, taken)
                profiles[chosen] = Rows(partition.images[new], tokens).times(means[chosen], tokens.single.mT)
        if not self.attended:
            return profiles, partition.features(new, means, tokens, settings, profiles)
        features = self.features.index_select(0, taken)
        own = None if profiles is None else profiles[chosen]
        features[chosen] = partition.features(new, means[chosen], tokens, settings, own)
        return profiles, features

    def reaching(self, taus: np.ndarray, tokens: Tokens, settings: UniAPSettings) -> np.ndarray:
        """Return edges, ``(e,)`` bool, that connect the same regions as all that reach the threshold of their image.

        Args:
            taus: ``(b,)``.
            tokens: of the images.
            settings: of the method.
        """
        return self._reaching(self.edges, self.least, self.most, taus, tokens, settings)

    def pairs_reaching(
        self, pairs: np.ndarray, taus: np.ndarray, tokens: Tokens, settings: UniAPSettings
    ) -> np.ndarray:
        """Return which of pairs ``(2, p)`` of any regions of one image do so, ``(p,)`` bool; see :meth:`reaching`."""
        if _all_measured(tokens):
            least, most = np.full(pairs.shape[1], -np.inf), np.full(pairs.shape[1], np.inf)
        else:
            known = gaps(self.partition.means, pairs, np.zeros(pairs.shape[1], bool), self.partition.images, tokens)
            alike = products(self.features, self.features, *tokens.index(pairs))
            most, least = weighted(alike, known, settings).numpy()
        return self._reaching(pairs, least, most, taus, tokens, settings)

    def _reaching(
        self,
        pairs: np.ndarray,
        least: np.ndarray,
        most: np.ndarray,
        taus: np.ndarray,
        tokens: Tokens,
        settings: UniAPSettings,
    ) -> np.ndarray:
        """Compare the pairs that their bounds leave open, in float64 where it is close."""
        images, means = self.partition.images, self.partition.means
        wanted = taus[images[pairs[0]]]

        def reach(left: np.ndarray) -> np.ndarray:
            some = pairs[:, left]
            (found,) = to_host(similarities(self.features, means, some, images, tokens, settings, self.profiles))
            return reaches(found.numpy(), wanted[left], lambda near: self.exact(some[:, near], tokens, settings))

        return joining(pairs, len(images), least, most, wanted, reach)

    def exact(self, pairs: np.ndarray, tokens: Tokens, settings: UniAPSettings) -> np.ndarray:
        """Return how alike pairs ``(2, p)`` of regions are, ``(p,)`` in float64."""
        nodes, ends = np.unique(pairs, return_inverse=True)
        means = self.partition.exact_means(nodes, tokens)
        features = self.partition.features(nodes, means, tokens, settings) if self.attended else means
        images = self.partition.images[nodes]
        (found,) = to_host(similarities(features, means, ends.reshape(2, -1), images, tokens, settings))
        return found.numpy()


def _measured(areas: np.ndarray, tokens: Tokens, settings: UniAPSettings) -> np.ndarray:
    """Return the edges whose distance is computed, ``(e,)`` bool, from the areas ``(2, e)`` of their regions."""
    if _all_measured(tokens):
        return np.ones(areas.shape[1], dtype=bool)
    return np.asarray((areas >= settings.min_patches).any(0))


def _all_measured(tokens: Tokens) -> bool:
    """Return whether bounds cost more than distances: with few patches, and on a card, which then waits twice."""
    return tokens.few or tokens.device.type != "cpu"
