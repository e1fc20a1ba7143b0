"""Normalised cut: the second smallest generalised eigenvector of a binary affinity.

Shape legend
    b      images
    n      patches (nodes) per image
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unseg_d2.errors import Unusable
from unseg_d2.graph.affinity import BinaryAffinity
from unseg_d2.graph.lanczos import largest_eigenpair
from unseg_d2.transfer import to_card, to_host

TIE = 1e-9  # relative difference up to which two entries of an eigenvector count as equal
NO_CUT = 1 - 1e-6  # eigenvalue from which no cut is better than a random one: all patches of the graph are alike


@dataclass(frozen=True)
class NormalizedCut:
    """Relaxed normalised cuts of a batch of graphs.

    Attributes:
        vectors: ``(b, n)`` float64, D-orthonormal (``x^T D x = 1``), of canonical sign; 0 on dropped patches. Of the
            symmetric normalised Laplacian they are orthonormal instead.
        values: ``(b,)`` float64 eigenvalues in [0, 2]; 0 is a graph in two pieces, 1 or more has no cut.
    """

    vectors: Tensor
    values: Tensor


def second_eigenvector(
    affinity: BinaryAffinity,
    live: Tensor | None = None,
    *,
    generalized: bool = True,
    tolerance: float = 1e-10,
    max_steps: int = 256,
) -> NormalizedCut:
    """Solve ``(D - A) x = lambda D x`` for the second smallest eigenvalue (Shi and Malik 2000, section 2.1).

    The problem is the second largest eigenpair of the symmetric ``M = D^-1/2 A D^-1/2``, whose largest one,
    ``(1, D^1/2 1)``, is known and deflated. Lanczos from a fixed start vector finds it in 10 to 20 products on real
    images; a graph on which it does not converge is solved by the dense solver of SciPy. Where the eigenvalue is
    multiple, the result is the projection of the start vector on its eigenspace.

    Args:
        affinity: graphs of b images.
        live: ``(b, n)`` bool, patches that take part; at least one per image. ``None`` is all.
        generalized: ``False`` returns the eigenvector ``D^1/2 x`` of the symmetric normalised Laplacian
            ``D^-1/2 (D - A) D^-1/2``, which VoteCut clusters; the eigenvalue is the same.
        tolerance: bound on the angle between computed and true eigenvector, radians.
        max_steps: Lanczos steps before the dense solver takes over.

    Raises:
        ValueError: if an image has no live patch, or a patch has degree 0 (eps is 0 and nothing is connected to it).
    """
    n, device = affinity.num_nodes, affinity.bits.device
    if live is None:
        live = torch.ones(affinity.num_images, n, dtype=torch.bool, device=device)
    mask = live.double()
    product = affinity.products()
    degrees = product(mask)
    scale = torch.where(live, degrees, 1).rsqrt() * mask  # D^-1/2, 0 on dropped patches
    trivial = degrees.sqrt() * mask
    trivial = trivial / trivial.norm(dim=1, keepdim=True)

    def operator(vectors: Tensor) -> Tensor:
        return scale * product(scale * vectors)

    start = _deflate(to_card(_start_vector(n), device) * mask, trivial)
    start = torch.where(live.sum(1, keepdim=True) > 1, start, 0)  # of a single patch, only rounding is left
    pairs = largest_eigenpair(operator, start, known=trivial[:, None], tolerance=tolerance, max_steps=max_steps)
    if not pairs.finite.all():  # looked at only now, as a card would have to be waited for
        raise Unusable(_fault(live))
    values, vectors = pairs.values, pairs.vectors
    for i in torch.nonzero(~pairs.converged)[:, 0].tolist():
        values[i], vectors[i] = _dense(affinity[[i]], live[i], scale[i], trivial[i])
    vectors = _polish(lambda found: _deflate(operator(found), trivial), values, vectors)
    return NormalizedCut(canonical_sign(vectors * scale if generalized else vectors), 1 - values)


def usable_vectors(cut: NormalizedCut) -> np.ndarray:
    """Return the eigenvectors on the host, ``(b, n)`` float64; 0 where a graph has no cut, as all patches are alike."""
    return to_host(torch.where(cut.values[:, None] < NO_CUT, cut.vectors, 0))[0].numpy()


def _fault(live: Tensor) -> str:
    """Why a graph has no number as its eigenvalue."""
    if not live.any(1).all():
        return "every graph needs at least one live patch"
    return "a patch has degree 0; eps must be positive where a patch is connected to nothing"


def cohesion(affinity: BinaryAffinity, masks: Tensor, live: Tensor | None = None) -> Tensor:
    """Return the share of a mask's affinity with the live patches that stays within it, ``1 - cut / volume``.

    Args:
        affinity: graphs of b images.
        masks: ``(b, n)`` bool, a part of the live patches.
        live: ``(b, n)`` bool; ``None`` is all.

    Returns:
        ``(b,)`` float64 in [0, 1]; 1 is a mask unlike everything around it. 0 for an empty mask.
    """
    inside = masks.double()
    volumes = affinity.product(torch.ones_like(inside) if live is None else live.double())
    within = (affinity.product(inside) * inside).sum(1)
    return within / (volumes * inside).sum(1).clamp_min(torch.finfo(torch.float64).tiny)


def canonical_sign(vectors: Tensor) -> Tensor:
    """Give each of ``(b, n)`` vectors the sign that makes its entry of largest magnitude positive, the first in a tie.

    An eigenvector's sign is arbitrary, yet MaskCut's choice of the foreground depends on it when one side of the cut
    touches three corners or more; this makes that choice reproducible.
    """
    magnitude = vectors.abs()
    # argmax returns an arbitrary one of equal elements on CUDA; on bytes of 0 and 1 the cumulative sum finds the first.
    peaks = magnitude >= (1 - TIE) * magnitude.amax(1, keepdim=True)
    first = (peaks.cumsum(1) == 0).sum(1, keepdim=True)
    return vectors * torch.where(vectors.gather(1, first) < 0, -1.0, 1.0)


def _start_vector(n: int) -> Tensor:
    """A generic vector, ``(1, n)`` float64, the same on every device and for every image."""
    return torch.from_numpy(np.random.default_rng(0).standard_normal(n))[None]


def _deflate(vectors: Tensor, trivial: Tensor) -> Tensor:
    """Remove the component along the known first eigenvector."""
    return torch.addcmul(vectors, (vectors * trivial).sum(1, keepdim=True), trivial, value=-1)


def _polish(operator: Callable[[Tensor], Tensor], values: Tensor, vectors: Tensor) -> Tensor:
    """Apply the operator once, so that patches with identical rows get identical entries; norm 1."""
    applied = operator(vectors)
    polished = torch.where(values[:, None].abs() > 1e-6, applied / values[:, None], vectors)
    return polished / polished.norm(dim=1, keepdim=True).clamp_min(1e-300)


def _dense(affinity: BinaryAffinity, live: Tensor, scale: Tensor, trivial: Tensor) -> tuple[float, Tensor]:
    """Eigenpair of one graph by the dense symmetric solver; the first eigenvalue is moved from 1 to -1."""
    import scipy.linalg  # here, because it is rarely needed and takes memory in every worker process

    matrix = (scale[:, None] * affinity.dense()[0] * scale)[live][:, live].cpu().numpy()
    first = trivial[live].cpu().numpy()
    matrix -= 2 * np.outer(first, first)
    size = len(matrix)
    values, vectors = scipy.linalg.eigh(matrix, subset_by_index=[size - 1, size - 1], overwrite_a=True)
    result = torch.zeros_like(scale)
    result[live] = torch.from_numpy(vectors[:, 0]).to(scale)
    return float(values[0]), result
