"""Stage B of VoteCut written straight from its description, loop by loop.

It shares no code with the package, whose results and times are compared with it.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def votecut_loops(vectors: list[np.ndarray], side: int = 60) -> tuple[list[np.ndarray], list[int]]:
    """Return the masks of an image and how many proposals voted for each, most votes first.

    Args:
        vectors: ``(h, w)`` float64 second eigenvector of each member, on its own grid.
        side: of the square grid that votes are counted on.

    Returns:
        Masks ``(side, side)`` bool, at most 10.
    """
    proposals = []
    for vector in vectors:
        for k in (2, 3):
            labels = kmeans(vector.ravel(), k).reshape(vector.shape)
            for label in range(k):
                proposals += components(labels == label, side)
    found = []
    for members in clusters(proposals)[:10]:
        mean = np.mean([proposals[member] for member in members], axis=0)
        found.append((len(members), mean > 0.2))
    found.sort(key=lambda pair: -pair[0])
    return [mask for _, mask in found], [size for size, _ in found]


def kmeans(values: np.ndarray, k: int, restarts: int = 10, steps: int = 300, tolerance: float = 1e-4) -> np.ndarray:
    """Labels of Lloyd's k-means, the best of ten greedy k-means++ starts with a fixed seed; scikit-learn's defaults."""
    random = np.random.RandomState(0)
    points = (values - values.mean())[:, None]
    best_labels, best_cost = None, np.inf
    for _ in range(restarts):
        centres = plus_plus(points, k, random)
        labels = np.full(len(points), -1)
        strict = False
        for _ in range(steps):
            new_labels = nearest(points, centres)
            new_centres = centres.copy()
            for j in range(k):
                if (new_labels == j).any():
                    new_centres[j] = points[new_labels == j].mean(0)
            shift = ((new_centres - centres) ** 2).sum()
            centres = new_centres
            strict = np.array_equal(new_labels, labels)
            labels = new_labels
            if strict or shift <= tolerance * points.var():
                break
        if not strict:
            labels = nearest(points, centres)
        cost = ((points - centres[labels]) ** 2).sum()
        if best_labels is None or (cost < best_cost and not same_clustering(labels, best_labels, k)):
            best_labels, best_cost = labels, cost
    return best_labels


def plus_plus(points: np.ndarray, k: int, random: np.random.RandomState) -> np.ndarray:
    """Start centres: each the best of a few points drawn with probability by squared distance to the chosen ones."""
    n = len(points)
    chosen = [points[random.choice(n, p=np.full(n, 1 / n))]]
    distance = ((points - chosen[0]) ** 2).sum(1)
    for _ in range(1, k):
        draws = random.uniform(size=2 + int(np.log(k))) * distance.sum()
        best = None
        for candidate in np.clip(np.searchsorted(np.cumsum(distance), draws), None, n - 1):
            nearer = np.minimum(distance, ((points - points[candidate]) ** 2).sum(1))
            if best is None or nearer.sum() < best[0]:
                best = (nearer.sum(), nearer, points[candidate])
        distance = best[1]
        chosen.append(best[2])
    return np.array(chosen)


def nearest(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Index of the nearest centre of each point."""
    return ((points[:, None] - centres[None]) ** 2).sum(2).argmin(1)


def same_clustering(first: np.ndarray, second: np.ndarray, k: int) -> bool:
    """Whether two labelings differ in the numbers of their labels only."""
    return all(len(set(second[first == label].tolist())) <= 1 for label in range(k))


def components(cluster: np.ndarray, side: int) -> list[np.ndarray]:
    """Connected pieces of a cluster that may be objects, resized to ``(side, side)``."""
    if sum(bool(cluster[y, x]) for y in (0, -1) for x in (0, -1)) >= 2:
        return []
    labels, count = ndimage.label(cluster)
    if count > 30:
        return []
    found = []
    for label in range(1, count + 1):
        piece = labels == label
        rows, columns = np.nonzero(piece)
        if rows.max() - rows.min() + 1 < 5 and columns.max() - columns.min() + 1 < 5:
            continue
        y, x = (np.arange(side) * length // side for length in piece.shape)
        found.append(piece[y][:, x])
    return found


def clusters(proposals: list[np.ndarray]) -> list[list[int]]:
    """Members of the clusters in the order in which they are found."""
    n = len(proposals)
    iou = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            iou[i, j] = (proposals[i] & proposals[j]).sum() / (proposals[i] | proposals[j]).sum()
    neighbours = [{j for j in range(n) if iou[i, j] > 0.6} for i in range(n)]
    used: set[int] = set()
    found = []
    for first in np.argsort([len(group) for group in neighbours], kind="stable")[::-1].tolist():
        if first in used:
            continue
        pivot, cluster = first, {first}
        for _ in range(5):
            grown = cluster | neighbours[pivot]
            if grown == cluster:
                break
            cluster = grown
            pivot = max(sorted(cluster), key=lambda i: round(sum(iou[i, j] for j in sorted(cluster)), 9))
        if pivot not in used:
            found.append(sorted(cluster - used))
        used |= cluster
    return found


def refine_on_crops(image: np.ndarray, masks: np.ndarray) -> list[np.ndarray]:
    """The published post-processing: dense CRF on each mask's box with a third added, else the mask as it was.

    Args:
        image: ``(H, W, 3)`` uint8.
        masks: ``(n, H, W)`` bool, none of them empty.
    """
    from pydensecrf import densecrf

    return [refine_on_crop(image, mask, densecrf) for mask in masks]


def refine_on_crop(image: np.ndarray, mask: np.ndarray, densecrf) -> np.ndarray:
    """One mask; ``densecrf`` is pydensecrf's module."""
    top, left, bottom, right = box(mask)
    dy, dx = (bottom - top) // 3, (right - left) // 3
    y, x = slice(max(0, top - dy), bottom + dy), slice(max(0, left - dx), right + dx)
    crop, inside = np.ascontiguousarray(image[y, x]), mask[y, x]
    logits = np.stack([1.0 - inside, inside.astype(np.float64)])
    unary = -np.log(np.exp(logits) / np.exp(logits).sum(0))
    model = densecrf.DenseCRF2D(inside.shape[1], inside.shape[0], 2)
    model.setUnaryEnergy(np.ascontiguousarray(unary.reshape(2, -1), dtype=np.float32))
    model.addPairwiseGaussian(sxy=3, compat=7)
    model.addPairwiseBilateral(sxy=50, srgb=5, rgbim=crop, compat=10)
    labels = np.argmax(model.inference(10), axis=0).reshape(inside.shape)
    refined = np.zeros_like(mask)
    refined[y, x] = ndimage.binary_fill_holes(labels)
    if not refined.any():
        return mask
    a, b = (top, left, bottom, right), box(refined)
    overlap = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - overlap
    return refined if overlap / union >= 0.5 else mask


def box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Top, left, bottom and right (exclusive)."""
    rows, columns = np.nonzero(mask)
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
