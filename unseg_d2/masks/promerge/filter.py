"""The filter and the merging of ProMerge, on sets of patches kept as the bits of Python integers (ECCV 2024, 3.2, 3.3).

Both rules look at one mask after the other, so they cannot be batched; but a set of 3600 patches in one integer makes
an intersection and its size cost less than a microsecond.

Shape legend
    m      masks
    n      patches
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np


def to_sets(masks: np.ndarray) -> list[int]:
    """Return the set of patches of each mask: bits of an integer, from ``(m, n)`` bool."""
    return [int.from_bytes(row, "big") for row in np.packbits(masks, axis=1)]


def to_masks(sets: Sequence[int], n: int) -> np.ndarray:
    """Undo :func:`to_sets`: ``(m, n)`` bool."""
    size = -(-n // 8)
    packed = np.frombuffer(b"".join(members.to_bytes(size, "big") for members in sets), dtype=np.uint8)
    return np.unpackbits(packed.reshape(len(sets), size), axis=1, count=n).astype(bool)


def cascade_filter(
    sets: Sequence[int],
    likeness: Sequence[float],
    background: int,
    *,
    max_background: float,
    max_likeness: float,
    rejected: Counter[str] | None = None,
) -> list[int]:
    """Return the indices of the masks that show foreground, smallest first.

    Masks are taken in ascending order of area. What a mask adds to those accepted so far must lie outside the
    background for the most part, and the mask must differ from the background. A mask that adds nothing is a duplicate
    or a union of smaller ones, and is not accepted (in the published code its share is NaN).

    Args:
        sets: patches of each mask; of masks of one size the first one goes first.
        likeness: mean feature of each mask times mean feature of the background.
        background: patches of the background.
        max_background: share of the new patches in the background from which a mask is rejected.
        max_likeness: likeness from which a mask is rejected.
        rejected: gets the number of masks that each of the two limits rejects.
    """
    rejected = Counter() if rejected is None else rejected
    accepted: list[int] = []
    covered = 0
    for i in sorted(range(len(sets)), key=lambda i: sets[i].bit_count()):
        new = sets[i] & ~covered
        if not new:
            continue
        if likeness[i] >= max_likeness:
            rejected["max_likeness"] += 1
        elif (new & background).bit_count() / new.bit_count() < max_background:
            accepted.append(i)
            covered |= sets[i]
        else:
            rejected["max_background"] += 1
    return accepted


def merge(
    sets: Sequence[int],
    similarity: Callable[[int, int], float],
    *,
    merge_above: float,
    compare_above: float,
    min_similarity: float,
) -> list[int]:
    """Merge masks that overlap into clusters, and return the patches of each cluster.

    Masks are taken in descending order of area. A mask joins every cluster that covers a large share of it, or a
    smaller share if both look similar; the clusters that it joins are merged. All decisions about a mask are
    taken before any cluster changes, so the order of the clusters does not matter.

    Args:
        sets: patches of each mask, none empty; of masks of one size the first one goes first.
        similarity: of two sets of patches, the product of their mean features; asked for only where it decides.
        merge_above: covered share of a mask above which it joins.
        compare_above: covered share above which it joins if the similarity is large enough.
        min_similarity: smallest such similarity.

    Returns:
        Clusters in the order of their largest masks.
    """
    clusters: list[int] = []
    for mask in sorted(sets, key=lambda members: -members.bit_count()):
        joined = []
        for i, cluster in enumerate(clusters):
            share = (cluster & mask).bit_count() / mask.bit_count()
            if share > merge_above or (share > compare_above and similarity(mask, cluster) >= min_similarity):
                joined.append(i)
        if not joined:
            clusters.append(mask)
            continue
        for i in joined:
            mask |= clusters[i]
        clusters[joined[0]] = mask
        clusters = [cluster for i, cluster in enumerate(clusters) if i not in joined[1:]]
    return clusters
