"""VoteCut: what an ensemble of backends agrees on (Arica et al., CuVLER, CVPR 2024, section 3.1).

Shape legend
    b      images
    C      feature channels of a member
    h, w   rows and columns of a member's patch grid
    H, W   rows and columns of the grid on which votes are counted
    n      proposals of one image, of all members
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from torch import Tensor

from unseg_d2.errors import Unusable
from unseg_d2.graph.affinity import binary_affinity
from unseg_d2.graph.ncut import second_eigenvector, usable_vectors
from unseg_d2.masks.batches import NOT_FINITE, all_finite, check_shape, map_batches, to_proposals
from unseg_d2.masks.registry import MASK_GENERATORS, Mode, mode_setting
from unseg_d2.masks.votecut.clusters import greedy_clusters, pairwise_iou, vote
from unseg_d2.masks.votecut.kmeans_1d import kmeans_1d
from unseg_d2.masks.votecut.kmeans_lloyd import lloyd_kmeans_1d
from unseg_d2.settings import Settings, setting
from unseg_d2.structures import PatchFeatures, Proposals

MAX_CORNERS = 1  # a cluster of patches that touches more corners of the image is the background
MAX_COMPONENTS = 30  # a cluster in more pieces is noise
MIN_SIDE = 5  # a piece with both sides of its box shorter than this is noise, patches of the member's own grid
MAX_INSPECTED = 100  # clusters of proposals that the published code looks at


@dataclass(frozen=True)
class VoteCutSettings(Settings):
    """Settings of :func:`cut_vectors` (the first two) and :func:`votecut`."""

    tau: float = setting(0.15, "cosine above which two patches are connected", symbol="tau^ncut", low=0, below=1)
    eps: float = setting(1e-5, "weight of an edge between patches that are not connected", low=0, below=1)
    num_clusters: Sequence[int] = setting(
        [2, 3], "numbers of clusters that k-means divides each eigenvector into", symbol="K", low=2
    )
    min_iou: float = setting(0.6, "IoU above which two pieces may show the same object", low=0, high=1)
    min_votes: float = setting(
        0.2, "share of a group's pieces above which a patch belongs to its mask", symbol="tau_m", low=0, below=1
    )
    max_masks: int = setting(10, "largest number of objects per image", low=1)
    grid: int = setting(
        0, "side of the square grid of votes (published: 60); 0 takes the finest grid of the members", low=0
    )
    mode: Mode = mode_setting()

    def check(self) -> None:
        """Raise ValueError without a number of clusters."""
        if not self.num_clusters:
            raise ValueError("num_clusters must name at least one number of clusters")

    def when_empty(self) -> str:
        """Return what to change where VoteCut finds nothing: no member has a piece that may be an object."""
        return (
            f"add backends to FEATURES.MEMBERS, whose pieces vote, numbers of clusters to MASKS.VOTECUT.NUM_CLUSTERS "
            f"(now {', '.join(map(str, self.num_clusters))}), or raise FEATURES.IMAGE_SIZE."
        )


@MASK_GENERATORS.register(settings=VoteCutSettings)
class VoteCut:
    """Mask generator of the members of an ensemble, or of the features alone where there are none.

    Args:
        settings: see :class:`VoteCutSettings`; ``None`` takes the defaults.
    """

    def __init__(self, settings: VoteCutSettings | None = None) -> None:
        self.settings = settings or VoteCutSettings()

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image, on the finest grid of its members.

        Eigenvectors of one grid go through a GPU together, whatever their image or member.
        """
        members = [image.members or (image,) for image in features]
        _check_members(members)
        flat = [member for image in members for member in image]
        vectors = iter(map_batches(lambda tokens: cut_vectors(tokens, self.settings), flat))
        return [votecut([next(vectors) for _ in image], self.settings) for image in members]


def cut_vectors(tokens: Tensor, settings: VoteCutSettings | None = None) -> list[np.ndarray]:
    """Return the second eigenvector of the symmetric normalised Laplacian of each image's patches (stage A).

    Unlike in MaskCut it is not scaled back by ``D^-1/2`` to the generalised eigenvector.

    Args:
        tokens: ``(b, C, h, w)`` patch features of one member, of any float type.
        settings: ``tau`` and ``eps`` of :class:`VoteCutSettings`; ``None`` takes the defaults.

    Returns:
        ``(h, w)`` float64 each, of norm 1 and canonical sign; 0 everywhere if all patches are alike.

    Raises:
        ValueError: if the features are not finite.
    """
    settings = settings or VoteCutSettings()
    check_shape(tokens)
    b, _, h, w = tokens.shape
    cut = second_eigenvector(binary_affinity(tokens.flatten(2), settings.tau, settings.eps), generalized=False)
    return list(usable_vectors(cut).reshape(b, h, w))


def votecut(vectors: Sequence[np.ndarray], settings: VoteCutSettings | None = None) -> Proposals:
    """Find the objects of one image on which the eigenvectors of an ensemble agree (stage B).

    The pieces into which k-means cuts each eigenvector are compared on one grid, grouped by IoU, and each group is
    merged by a vote of its members on every patch. ``default`` finds the optimum of k-means, lets each piece vote once
    and keeps the largest groups. ``parity`` does what the published code does: it stops k-means early
    (:func:`lloyd_kmeans_1d`), may lose pieces (:func:`greedy_clusters`), and keeps the first ``max_masks`` groups.

    Args:
        vectors: ``(h, w)`` float64 per member, each on its own grid, in the order of their votes.
        settings: see :class:`VoteCutSettings`; ``None`` takes the defaults.

    Returns:
        Proposals on that grid, on the CPU; the score is the number of votes over that of the largest group.

    Raises:
        ValueError: if there is no vector.
    """
    settings = settings or VoteCutSettings()
    if not vectors:
        raise ValueError("an ensemble needs at least one member")
    grid, mode = settings.grid, settings.mode
    shape = (grid, grid) if grid else max((vector.shape for vector in vectors), key=lambda shape: shape[0] * shape[1])
    rejected = Counter[str]()
    masks = np.concatenate([pieces(vector, shape, settings.num_clusters, mode, rejected) for vector in vectors])
    clusters = greedy_clusters(pairwise_iou(masks), settings.min_iou, mode)
    if mode == "parity":
        clusters = clusters[: min(settings.max_masks, MAX_INSPECTED)]
    clusters = sorted(clusters, key=lambda cluster: -cluster.size)[: settings.max_masks]
    found = [
        (vote(masks[cluster.members], settings.min_votes), cluster.size / clusters[0].size) for cluster in clusters
    ]
    return to_proposals(found, shape, rejected, when_none="eigenvectors that are constant")


def pieces(
    vector: np.ndarray,
    grid: tuple[int, int],
    num_clusters: Sequence[int],
    mode: Mode,
    rejected: Counter[str] | None = None,
) -> np.ndarray:
    """Return the connected pieces of an eigenvector's clusters that may be objects.

    Args:
        vector: ``(h, w)`` float64.
        grid: ``(H, W)`` of the result.
        num_clusters: numbers of clusters of k-means.
        mode: ``default`` finds the best clusters; ``parity`` searches for them as the published code does.
        rejected: gets the number of clusters and pieces that are left out, by reason.

    Returns:
        ``(n, H, W)`` bool, by number of clusters, cluster, then row-major order.
    """
    if not np.ptp(vector):
        return np.zeros((0, *grid), dtype=bool)
    values = vector.ravel()
    if mode == "parity":
        clusterings = [lloyd_kmeans_1d(values, k) for k in num_clusters]
    else:
        clusterings = kmeans_1d(values, num_clusters)
    return np.concatenate([label_pieces(labels.reshape(vector.shape), grid, rejected) for labels in clusterings])


def label_pieces(labels: np.ndarray, grid: tuple[int, int], rejected: Counter[str] | None = None) -> np.ndarray:
    """Return the connected pieces of an ``(h, w)`` label map that may be objects, ``(n, H, W)`` bool.

    A label that touches two corners or more, or falls into more than 30 pieces, is left out, and so is a piece with a
    box smaller than five patches both ways. Pieces are connected by sides, not by corners. ``rejected`` counts them.
    """
    rejected = Counter() if rejected is None else rejected
    rows, columns = (np.arange(side) * length // side for side, length in zip(grid, labels.shape))
    found = [np.zeros((0, *grid), dtype=bool)]
    for label in range(labels.max() + 1):
        cluster = labels == label
        if cluster[[0, 0, -1, -1], [0, -1, 0, -1]].sum() > MAX_CORNERS:
            rejected["clusters that touch two corners or more"] += 1
            continue
        components, count = ndimage.label(cluster)
        if count > MAX_COMPONENTS:
            rejected["clusters in more than 30 pieces"] += 1
            continue
        boxes = ndimage.find_objects(components)
        kept = [k + 1 for k, box in enumerate(boxes) if max(side.stop - side.start for side in box) >= MIN_SIDE]
        rejected["pieces of less than 5 patches"] += count - len(kept)
        resized = components[rows[:, None], columns]
        found.append(resized == np.array(kept, dtype=resized.dtype)[:, None, None])
    masks = np.concatenate(found)
    return masks[masks.any((1, 2))]  # a coarser grid may lose a thin piece


def _check_members(ensembles: Sequence[Sequence[PatchFeatures]]) -> None:
    """Raise ValueError that names the member of an ensemble whose features are invalid."""
    places = [(len(members), number) for members in ensembles for number in range(len(members))]
    tokens = [member.tokens for members in ensembles for member in members]
    for one in tokens:
        check_shape(one[None])
    for (count, number), finite in zip(places, all_finite(tokens)):
        if not finite:
            raise Unusable(f"member {number} of the ensemble: {NOT_FINITE}" if count > 1 else NOT_FINITE)
