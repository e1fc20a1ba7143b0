"""Find groups among the features of masks: PCA, then k-means or HDBSCAN, all of scikit-learn.

Shape legend
    m   masks
    C   channels of the features
    D   dimensions that are kept of them
    K   groups
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unseg_d2.errors import UnsegError, missing_extra
from unseg_d2.groups.prototypes import Prototypes
from unseg_d2.groups.settings import GroupSettings

WITHIN = 95
"""Percentage of a group's own masks that lie within its spread."""
FEW = 5
"""Masks below which a group has the usual spread of the others, as so few say little about it."""


@dataclass(frozen=True)
class Fitted:
    """Groups that were found.

    Attributes:
        prototypes: of the groups, the largest group first.
        silhouette: silhouette coefficient in [-1, 1] of each number of groups that was tried.
        explained: share of the variance that the kept dimensions have.
        noise: masks that HDBSCAN put into no group.
        wanted: number of groups that k-means was asked for; of fewer different masks there are fewer.
    """

    prototypes: Prototypes
    silhouette: Mapping[int, float] = field(default_factory=dict)
    explained: float = 1.0
    noise: int = 0
    wanted: int | None = None


def fit_groups(features: np.ndarray, settings: GroupSettings) -> Fitted:
    """Find groups of masks that look alike.

    Args:
        features: ``(m, C)`` float32, finite.
        settings: see :class:`GroupSettings`.

    Raises:
        UnsegError: there are too few masks for the settings, or scikit-learn is not installed.
    """
    if len(features) < ((settings.number if settings.method == "kmeans" else 0) or 2):
        few = f"There are {len(features)} masks with features, too few for"
        if settings.method == "kmeans" and settings.number > 1:
            raise UnsegError(f"{few} {settings.number} groups; set GROUPS.NUMBER lower.")
        raise UnsegError(f"{few} groups; take more images, or let more masks be found in them.")
    mean, components, explained = _principal(features, settings)
    points = (features.astype(np.float64) - mean) @ components.T
    silhouette: dict[int, float] = {}
    wanted = None
    if settings.method == "hdbscan":
        labels = _hdbscan(points, settings)
    else:
        wanted = settings.number
        if not wanted:
            silhouette = silhouettes(points, settings)
            wanted = max(silhouette, key=lambda tried: (silhouette[tried], -tried))
        labels = _kmeans(points, wanted, settings)
    sizes = np.bincount(labels[labels >= 0])
    order = [int(label) for label in np.argsort(-sizes, kind="stable") if sizes[label]]
    members = [points[labels == label] for label in order]
    centres = np.stack([own.mean(0) for own in members])
    prototypes = Prototypes(mean, components, centres, _spreads(members, centres))
    return Fitted(prototypes, silhouette, explained, int((labels < 0).sum()), wanted)


def silhouettes(points: np.ndarray, settings: GroupSettings) -> dict[int, float]:
    """Return the silhouette coefficient (Rousseeuw 1987) of each number of groups, on a sample.

    Args:
        points: ``(m, D)``.
        settings: ``candidates`` of which the sample has twice as many masks, and the size of the sample.

    Raises:
        UnsegError: there are too few masks for all of them.
    """
    metrics = _library("metrics")
    drawn = np.random.default_rng(settings.random_seed).permutation(len(points))[: settings.sample]
    sample = points[np.sort(drawn)]
    found = {}
    for number in sorted(set(settings.candidates)):
        if 2 * number > len(sample):
            continue
        labels = _kmeans(sample, number, settings)
        several = 1 < len(np.unique(labels)) < len(sample)
        found[number] = float(metrics.silhouette_score(sample, labels)) if several else -1.0
    if not found:
        raise UnsegError(
            f"There are {len(sample)} masks, too few to choose a number of groups from GROUPS.CANDIDATES; set "
            "GROUPS.NUMBER."
        )
    return found


def _principal(features: np.ndarray, settings: GroupSettings) -> tuple[np.ndarray, np.ndarray, float]:
    """Return mean ``(C,)`` and principal components ``(D, C)``, and the share of the variance that they have."""
    _, channels = features.shape
    most = min(features.shape)
    if not settings.dimensions or settings.dimensions >= most:
        return features.mean(0, dtype=np.float64), np.eye(channels), 1.0
    pca = _library("decomposition").PCA(n_components=settings.dimensions, random_state=settings.random_seed)
    pca.fit(features.astype(np.float64))
    return pca.mean_, pca.components_, float(np.nan_to_num(pca.explained_variance_ratio_.sum(), nan=1.0))


def _kmeans(points: np.ndarray, number: int, settings: GroupSettings) -> np.ndarray:
    """Return the group of each point ``(m,)``; equal points may leave some numbers without any."""
    library = _library("cluster")
    kmeans = library.KMeans(number, n_init=settings.starts, random_state=settings.random_seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different points than groups
        labels: np.ndarray = kmeans.fit_predict(points)
    return labels


def _hdbscan(points: np.ndarray, settings: GroupSettings) -> np.ndarray:
    """Return the group of each point ``(m,)``, -1 for those in none."""
    library = _library("cluster")
    few = len(points) < settings.min_size
    labels: np.ndarray = np.full(len(points), -1)
    if not few:
        labels = library.HDBSCAN(min_cluster_size=settings.min_size, copy=True).fit_predict(points)
    if (labels < 0).all():
        raise UnsegError(
            f"hdbscan finds no group of {settings.min_size} masks or more among {len(points)}; lower GROUPS.MIN_SIZE, "
            "or take GROUPS.METHOD kmeans."
        )
    return labels


def _spreads(members: list[np.ndarray], centres: np.ndarray) -> np.ndarray:
    """Return how far from its centre the masks of each group are, ``(K,)``."""
    distances = [np.linalg.norm(own - centre, axis=1) for own, centre in zip(members, centres)]
    spread = np.array([np.percentile(own, WITHIN) for own in distances])
    few = np.array([len(own) < FEW for own in distances])
    usual = np.median(spread[~few]) if (~few).any() else np.median(spread)
    return np.where(few, np.maximum(spread, usual), spread)


def _library(name: str) -> Any:
    """Return a module of scikit-learn.

    Raises:
        UnsegError: it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(f"sklearn.{name}")
    except ImportError:
        raise missing_extra("scikit-learn", "groups") from None
