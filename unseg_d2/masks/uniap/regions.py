"""The regions of one image while they are joined: graph, means, features, and what need not be computed anew.

Shape legend
    n      patches (tokens)
    k      regions
    e      pairs of neighbouring regions
    C      feature channels
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unseg_d2.graph.regions import connected_groups, contract, grid_edges
from unseg_d2.masks.uniap.settings import UniAPSettings
from unseg_d2.masks.uniap.similarity import distances, grid_distances, region_features
from unseg_d2.transfer import to_card, to_host

KEPT_PROFILES = 2**24  # numbers: up to 64x64 patches the affinity is kept, 64 MB; above, its rows are computed again


@dataclass(frozen=True)
class Tokens:
    """The unit features of an image, row-major.

    Attributes:
        single: ``(n, C)`` float32.
        double: ``(n, C)`` float64.
        grid: ``(h, w)``.
    """

    single: Tensor
    double: Tensor
    grid: tuple[int, int]

    @classmethod
    def of(cls, tokens: Tensor) -> Tokens:
        """Return the unit features of ``(C, h, w)`` tokens; one that is 0 stays 0."""
        double = F.normalize(tokens.flatten(1).T.double(), dim=1).contiguous()
        return cls(double.float(), double, (tokens.shape[1], tokens.shape[2]))


@dataclass(frozen=True)
class Regions:
    """Connected regions of an image that cover it, and which of them are neighbours.

    Attributes:
        labels: ``(n,)`` int64, region of each patch; regions are numbered by their first patches.
        areas: ``(k,)`` int64, patches.
        sums: ``(k, C)`` float64, sum of the unit features of each.
        features: ``(k, C)`` float32 unit features.
        edges: ``(2, e)`` int64, neighbours.
        distances: ``(e,)`` float32, mean absolute difference of their profiles.
        profiles: ``(k, n)`` float32 mean affinity of each region to each patch, where it is kept.
        is_grid: each region is a patch, and its feature that of the patch.
    """

    labels: np.ndarray
    areas: np.ndarray
    sums: Tensor
    features: Tensor
    edges: np.ndarray
    distances: Tensor
    profiles: Tensor | None
    is_grid: bool = False

    @property
    def means(self) -> Tensor:
        """Plain mean of the unit features of each region, ``(k, C)`` float32."""
        return (self.sums / self._areas[:, None]).float()

    @property
    def _areas(self) -> Tensor:
        return to_card(torch.from_numpy(self.areas), self.sums.device)

    @classmethod
    def patches(cls, tokens: Tokens) -> Regions:
        """Return the graph that a layer begins with: a region for each patch."""
        h, w = tokens.grid
        n = h * w
        profiles = tokens.single @ tokens.single.T if n * n <= KEPT_PROFILES else None
        apart = grid_distances(tokens.single, h, w, profiles)
        ones = np.ones(n, dtype=np.int64)
        return cls(np.arange(n), ones, tokens.double, tokens.single, grid_edges(h, w), apart, profiles, is_grid=True)

    def similarities(self, settings: UniAPSettings) -> np.ndarray:
        """Return how alike neighbours are, ``(e,)`` float32: on a card the one wait for them."""
        first, second = to_card(torch.from_numpy(self.edges), self.features.device)
        alike = (self.features[first] * self.features[second]).sum(1)
        (similarity,) = to_host(weighted(alike, self.distances, settings))
        return similarity.numpy()

    def exact(self, pairs: np.ndarray, tokens: Tokens, settings: UniAPSettings) -> np.ndarray:
        """Return how alike pairs of regions are, in float64.

        Args:
            pairs: ``(2, p)`` regions.
            tokens: of the image.
            settings: of the method.
        """
        nodes, ends = np.unique(pairs, return_inverse=True)
        ends = ends.reshape(2, -1)
        chosen = to_card(torch.from_numpy(nodes), self.sums.device)
        means = self.sums[chosen] / self._areas[chosen, None]
        features = means if self.is_grid else region_features(means, tokens.double, *self._softmax(nodes, settings))
        first, second = to_card(torch.from_numpy(ends), self.sums.device)
        alike = (features[first] * features[second]).sum(1)
        apart = distances(means, tokens.double, ends)
        (similarity,) = to_host(weighted(alike, apart, settings))
        return similarity.numpy()

    def joined(self, along: np.ndarray, tokens: Tokens, settings: UniAPSettings) -> Regions:
        """Return the regions that the connected groups of edges make of these.

        What belongs to regions that stay as they are is taken over: profiles, features, and distances between them.

        Args:
            along: ``(e,)`` bool, edges whose regions become one.
            tokens: of the image.
            settings: of the method.
        """
        k, device = len(self.areas), self.sums.device
        count, groups = connected_groups(k, self.edges[:, along])
        if count == k and not self.is_grid:
            return self
        edges, origin = contract(self.edges, groups, count)
        stays = np.bincount(groups, minlength=count) == 1
        before = np.zeros(count, dtype=np.int64)
        before[groups] = np.arange(k)  # for regions that stay, themselves
        on_card = to_card(torch.from_numpy(groups), device)
        sums = self.sums.new_zeros(count, self.sums.shape[1]).index_add_(0, on_card, self.sums)
        areas = np.bincount(groups, weights=self.areas, minlength=count).astype(np.int64)
        labels = groups[self.labels]
        made = Regions(labels, areas, sums, self.features, edges, self.distances, None)
        profiles = self._profiles(made, stays, before, tokens)
        fresh = np.arange(count) if self.is_grid else np.flatnonzero(~stays)
        features = made._features(fresh, profiles, tokens, settings, self.features[_index(before, device)])
        known = stays[edges].all(0)
        apart = self.distances[_index(origin, device)]
        new = np.flatnonzero(~known)
        apart[_index(new, device)] = distances(made.means, tokens.single, edges[:, new], profiles)
        return Regions(labels, areas, sums, features, edges, apart, profiles)

    def _profiles(self, made: Regions, stays: np.ndarray, before: np.ndarray, tokens: Tokens) -> Tensor | None:
        """Return the profiles of new regions, those of regions that stay taken over; ``None`` if they are not kept."""
        if self.profiles is None:
            return None
        profiles = self.profiles[_index(before, self.sums.device)]
        new = _index(np.flatnonzero(~stays), self.sums.device)
        profiles[new] = made.means[new] @ tokens.single.T
        return profiles

    def _features(
        self, fresh: np.ndarray, profiles: Tensor | None, tokens: Tokens, settings: UniAPSettings, before: Tensor
    ) -> Tensor:
        """Return ``before`` ``(k, C)`` with the features of some regions computed."""
        chosen = _index(fresh, self.sums.device)
        own = profiles if profiles is None or len(fresh) == len(profiles) else profiles[chosen]
        scale, _, members = self._softmax(fresh, settings)
        before[chosen] = region_features(self.means[chosen], tokens.single, scale.float(), own, members)
        return before

    def _softmax(self, nodes: np.ndarray, settings: UniAPSettings) -> tuple[Tensor, None, Tensor | None]:
        """Return what `region_features` takes for some regions: scale, no profiles, and members."""
        device = self.sums.device
        weight = self.areas[nodes] if settings.aggregate == "sum" else np.ones(len(nodes))
        scale = to_card(torch.from_numpy(weight[:, None] / settings.sigma), device)
        if settings.attend == "all":
            return scale, None, None
        return scale, None, to_card(torch.from_numpy(self.labels == nodes[:, None]), device)


def weighted(alike: Tensor, apart: Tensor, settings: UniAPSettings) -> Tensor:
    """Return ``omega_f S_f + omega_s S_s`` of the similarity of features and the distance of profiles."""
    return settings.feature_weight * alike + settings.spatial_weight * (1 - apart)


def _index(positions: np.ndarray, device: torch.device) -> Tensor:
    return to_card(torch.from_numpy(positions), device)
