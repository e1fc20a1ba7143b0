"""LocalCut: keep the part of a mask that is connected in 3D (Sick et al., CutS3D, ICCV 2025, section 3.2).

It needs only masks and depth, so it also works on the masks of another generator or of a detector.

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
from unseg_d2.settings import Settings, section, setting
from unseg_d2.structures import DepthKind

PointSet = Literal["v1", "v3"]
Capacity = Literal["gaussian", "linear", "binary", "distance"]
Sink = Literal["signed", "absolute"]


@section("MASKS.CUTS3D.LOCALCUT")
@dataclass(frozen=True)
class LocalCutSettings(Settings):
    """How a mask is cut; [...] says where a default comes from, see :class:`CutS3DSettings`.

    ``v3`` moves the points outside the mask far away, so that the part around the source is the result; ``v1`` leaves
    them out and needs a sink within the mask. Capacities of an edge of length d are exp(-(d / sigma)^2) with sigma =
    tau / 3 (``gaussian``), 1 - d / tau (``linear``), 1 (``binary``) and d / tau (``distance``, the edge weight of the
    paper). With more than one seed a cut is forced even where there is none; ``gate`` rejects such a cut.
    """

    tau_knn: float = setting(
        0.115, "length of the longest edge [paper; unit inferred]", symbol="tau^knn", unit="image sides", above=0
    )
    k: int = setting(10, "number of neighbours of a point [inferred]", symbol="k", low=1)
    depth_axis: DepthAxis = setting(
        "disparity", "quantity that z is linear in: disparity | depth | metres [inferred]", choices=get_args(DepthAxis)
    )
    percentile: float = setting(
        1.0, "share of depths that is clipped at either end before they become z [inferred]", unit="%", low=0, below=50
    )
    z_scale: float = setting(3.0, "length of the z axis; with metres, a factor [inferred]", unit="image sides", above=0)
    point_set: PointSet = setting(
        "v3", "points outside the mask: v3, moved far away [notes] | v1, dropped [paper]", choices=get_args(PointSet)
    )
    capacity: Capacity = setting(
        "gaussian",
        "capacity of an edge: gaussian | linear | binary [inferred] | distance [paper]",
        choices=get_args(Capacity),
    )
    sink: Sink = setting(
        "signed",
        "sink at the smallest entry of the eigenvector: signed [inferred] | absolute [paper]",
        choices=get_args(Sink),
    )
    seeds: int = setting(1, "number of points that act as source, and as sink [paper: 1]", low=1)
    gate: float = setting(
        0.3,
        "with several seeds: largest mean capacity of the cut edges, relative to all edges [inferred]",
        low=0,
        high=1,
    )
    min_area: float = setting(
        0.01, "share of the grid below which a minimum cut is rejected as degenerate [inferred]", low=0, high=1
    )
    num_thresholds: int = setting(
        6, "number of thresholds of Spatial Confidence [inferred from its values, which are sixths]", symbol="T", low=1
    )
    t_min: float = setting(
        0.5, "lowest threshold of Spatial Confidence, as a share of tau^knn [inferred]", low=0, high=1
    )
    min_confidence: float = setting(0.5, "lowest Spatial Confidence within a mask [paper]", low=0, high=1)


@dataclass(frozen=True)
class LocalCuts:
    """The result of LocalCut on n masks.

    Attributes:
        masks: ``(n, h, w)`` bool, each a part of the given mask.
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

    The source is where the eigenvector is largest within the mask. Without eigenvectors it is the innermost point of
    the largest part that is connected in 3D, and the sink, which only ``v1`` needs, is the point of the mask that is
    farthest from the source in 3D.

    Args:
        masks: ``(n, h, w)`` bool.
        depth: ``(h, w)`` finite, on the grid of the masks.
        kind: ``metric``, ``relative`` or ``inverse``.
        eigenvectors: ``(n, h, w)``, larger where a patch or pixel belongs more clearly to its mask, or ``None``.
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
        raise ValueError(f"masks and eigenvectors must have the same shape, got {masks.shape} and {eigenvectors.shape}")
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
        depth_within = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]  # the image's border counts
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
