"""LocalCut: keep of a mask the part that hangs together in 3D (Sick et al., CutS3D, ICCV 2025, section 3.2).

It needs masks and depth and nothing else, so it also works on the masks of another generator or of a detector.

Shape legend
    n      masks
    h, w   rows and columns of the grid, patches or pixels
    p      points of one mask
    T      thresholds
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import ndimage

from unseg_d2.graph.knn import NeighbourGraph, knn_graph
from unseg_d2.graph.mincut import minimum_cut
from unseg_d2.masks.cuts3d.point_cloud import DepthAxis, point_cloud, relief
from unseg_d2.masks.cuts3d.spatial_confidence import spatial_confidence, threshold_range
from unseg_d2.structures import DepthKind

PointSet = Literal["v1", "v3"]
Capacity = Literal["gaussian", "linear", "binary", "distance"]
Sink = Literal["signed", "absolute"]


@dataclass(frozen=True)
class LocalCutSettings:
    """How a mask is cut; `unseg_d2/config/pseudo_defaults.py` says where each default comes from.

    Attributes:
        tau_knn: longest edge between neighbouring points, in units of the image's longer side.
        k: neighbours of a point.
        depth_axis: what z is linear in, see :func:`~unseg_d2.masks.cuts3d.point_cloud.relief`.
        percentile: share of the depths, in percent, that is clipped at either end before z is brought to [0, 1].
        z_scale: factor of z.
        point_set: ``v3`` moves the points outside the mask far away, so that the part around the source is the
            result; ``v1`` leaves them out and needs a sink within the mask.
        capacity: of an edge in the minimum cut: ``gaussian`` exp(-(d / sigma)^2) with sigma = tau / 3, ``linear``
            1 - d / tau, ``binary`` 1, or ``distance`` d / tau, the edge weight of the paper.
        sink: which entry of an eigenvector marks the sink: the ``signed`` smallest or the ``absolute`` smallest.
        seeds: nearest points that join the source and the sink; 1 is these alone.
        gate: with more seeds than one, a cut is accepted if the mean capacity of the edges that it cuts is at most
            this share of the mean capacity of all edges. More than one seed force a cut where there is none.
        min_area: share of the grid below which a minimum cut is degenerate and the part around the source is taken.
        num_thresholds: T, thresholds of the spatial confidence.
        t_min: smallest threshold, as a share of ``tau_knn``; the largest is ``tau_knn`` itself.
        min_confidence: smallest confidence within a mask.

    Raises:
        ValueError: if one is out of range.
    """

    tau_knn: float = 0.115
    k: int = 10
    depth_axis: DepthAxis = "disparity"
    percentile: float = 1.0
    z_scale: float = 3.0
    point_set: PointSet = "v3"
    capacity: Capacity = "gaussian"
    sink: Sink = "signed"
    seeds: int = 1
    gate: float = 0.3
    min_area: float = 0.01
    num_thresholds: int = 6
    t_min: float = 0.5
    min_confidence: float = 0.5

    def __post_init__(self) -> None:
        for name, allowed in (
            ("depth_axis", DepthAxis),
            ("point_set", PointSet),
            ("capacity", Capacity),
            ("sink", Sink),
        ):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"{name} must be one of {', '.join(get_args(allowed))}, got '{getattr(self, name)}'")
        for name in ("k", "seeds", "num_thresholds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("tau_knn", "z_scale"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.percentile < 50:
            raise ValueError(f"percentile must lie in [0, 50), got {self.percentile}")
        for name in ("gate", "min_area", "t_min", "min_confidence"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")


@dataclass(frozen=True)
class LocalCuts:
    """What LocalCut makes of n masks.

    Attributes:
        masks: ``(n, h, w)`` bool, each a part of the mask that was given.
        confidence: ``(n, h, w)`` float32 spatial confidence, 0 outside the mask.
    """

    masks: np.ndarray
    confidence: np.ndarray


def localcut(
    masks: np.ndarray,
    depth: np.ndarray,
    kind: DepthKind = "relative",
    *,
    eigenvectors: np.ndarray | None = None,
    settings: LocalCutSettings | None = None,
) -> LocalCuts:
    """Cut masks of one image along the steps in its depth.

    The source is where the eigenvector is largest within the mask. Without eigenvectors it is the innermost place of
    the largest part that hangs together in 3D, and the sink, which only ``v1`` needs, is the point of the mask that is
    furthest from the source in 3D.

    Args:
        masks: ``(n, h, w)`` bool.
        depth: ``(h, w)`` finite, on the grid of the masks.
        kind: ``metric``, ``relative`` or ``inverse``.
        eigenvectors: ``(n, h, w)`` that say how much a place belongs to its mask, the more the larger, or ``None``.
        settings: `LocalCutSettings`; ``None`` takes the defaults.

    Raises:
        ValueError: if masks, depth and eigenvectors do not have the same grid, or `relief` raises it.
    """
    settings = settings or LocalCutSettings()
    if masks.ndim != 3 or masks.dtype != np.bool_:
        raise ValueError(f"masks must be bool of shape (n, h, w), got {masks.dtype} {masks.shape}")
    if depth.shape != masks.shape[1:]:
        raise ValueError(
            f"the masks lie on a grid of {masks.shape[1:]}, the depth of {depth.shape}; resize one of them"
        )
    if eigenvectors is not None and eigenvectors.shape != masks.shape:
        raise ValueError(f"masks of shape {masks.shape} need eigenvectors of it, got {eigenvectors.shape}")
    distance = relief(depth, kind, axis=settings.depth_axis, percentile=settings.percentile)
    points = point_cloud(distance, settings.z_scale)
    result = LocalCuts(np.zeros_like(masks), np.zeros(masks.shape, np.float32))
    for i in np.flatnonzero(masks.any((1, 2))):
        vector = None if eigenvectors is None else eigenvectors[i]
        result.masks[i], result.confidence[i] = cut_mask(masks[i], points, vector, settings)
    return result


def cut_mask(
    mask: np.ndarray, points: np.ndarray, eigenvector: np.ndarray | None, settings: LocalCutSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Cut one mask at all thresholds.

    Args:
        mask: ``(h, w)`` bool, not empty.
        points: ``(h, w, 3)`` point cloud.
        eigenvector: ``(h, w)`` or ``None``, as in :func:`localcut`.
        settings: see `LocalCutSettings`.

    Returns:
        The mask at ``tau_knn`` and its spatial confidence, both ``(h, w)``.
    """
    cloud = points[mask]
    graph = knn_graph(cloud, settings.k)
    source, sink = _terminals(mask, cloud, graph, eigenvector, settings)
    thresholds = threshold_range(settings.tau_knn, settings.t_min, settings.num_thresholds)
    cuts = np.zeros((len(thresholds), *mask.shape), bool)
    for cut, tau in zip(cuts, thresholds):
        cut[mask] = _cut_points(cloud, graph.up_to(tau), tau, source, sink, settings.min_area * mask.size, settings)
    return cuts[-1], spatial_confidence(cuts, cuts[-1], settings.min_confidence)


def _terminals(
    mask: np.ndarray,
    cloud: np.ndarray,
    graph: NeighbourGraph,
    eigenvector: np.ndarray | None,
    settings: LocalCutSettings,
) -> tuple[int, int | None]:
    """Indices among the p points of the source and, if it lies within the mask, of the sink."""
    if eigenvector is None:
        labels = graph.up_to(settings.tau_knn).components()
        part = np.zeros(mask.shape, bool)
        part[mask] = labels == np.bincount(labels).argmax()
        depth_within = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]  # the image's border is a border
        source = int(depth_within[mask].argmax())
        sink = None if settings.point_set == "v3" else int(np.linalg.norm(cloud - cloud[source], axis=1).argmax())
    else:
        entries = np.abs(eigenvector) if settings.sink == "absolute" else eigenvector
        source = int(entries[mask].argmax())
        # In v3 a sink outside the mask lies in the background, far away: nothing is left to cut.
        far = settings.point_set == "v3" and not mask.flat[entries.argmin()]
        sink = None if far else int(entries[mask].argmin())
    return source, None if sink == source else sink


def _cut_points(
    cloud: np.ndarray,
    graph: NeighbourGraph,
    tau: float,
    source: int,
    sink: int | None,
    fewest: float,
    settings: LocalCutSettings,
) -> np.ndarray:
    """Points on the side of the source, ``(p,)`` bool."""
    labels = graph.components()
    part = labels == labels[source]
    if sink is None or not part[sink]:
        return part
    capacities = _capacities(graph.lengths, tau, settings.capacity)
    sources, sinks = _nearest(cloud, part, source, sink, settings.seeds)
    side = part & minimum_cut(len(cloud), graph.edges, capacities, sources, sinks).maximal
    if np.count_nonzero(side) < fewest:
        return part
    if settings.seeds > 1:
        first, second = graph.edges.T
        crossing, within = side[first] != side[second], part[first]
        if capacities[crossing & within].mean() > settings.gate * capacities[within].mean():
            return part
    return side


def _capacities(lengths: np.ndarray, tau: float, capacity: Capacity) -> np.ndarray:
    """Capacities in [0, 1] of edges that are at most tau long."""
    if capacity == "gaussian":
        return np.exp(-np.square(3 * lengths / tau))
    if capacity == "linear":
        return 1 - lengths / tau
    return lengths / tau if capacity == "distance" else np.ones_like(lengths)


def _nearest(cloud: np.ndarray, part: np.ndarray, source: int, sink: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """The points of the part that are nearest to the source and to the sink, each to one of them only."""
    to_source, to_sink = (np.linalg.norm(cloud - cloud[end], axis=1) for end in (source, sink))
    nearest = []
    for distance, other in ((to_source, to_sink), (to_sink, to_source)):
        order = np.argsort(np.where(part & (distance < other), distance, np.inf), kind="stable")
        nearest.append(order[: min(seeds, np.count_nonzero(part & (distance < other)))])
    return nearest[0], nearest[1]
