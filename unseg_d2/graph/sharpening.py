"""Thresholds per pair of patches: equivalent to one threshold on an affinity whose entries are raised to powers.

``cos ** e > tau`` is ``cos > tau ** (1 / e)``. So the sharpened matrix of CutS3D (section 3.3, equation 3) is never
computed: the cosine of each pair is compared with its own threshold.

Shape legend
    n      patches (nodes)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from unseg_d2.errors import Unusable

Pairing = Literal["mean", "product", "max", "row"]


@dataclass(frozen=True)
class PairThresholds:
    """Thresholds on the cosines of the pairs of one image, ``tau ** (1 / e_ij)`` with ``e_ij = 1 - s_ij``.

    A pair whose exponent is 0 is connected if its cosine is positive; by ``0 ** 0 = 1`` it would be connected to
    everything.

    Attributes:
        tau: threshold on the sharpened similarity, in [0, 1).
        importance: ``(n,)`` float64, s, in [0, 1].
        pairing: how the importance of a pair follows from that of its patches; the paper gives no rule. ``mean`` (the
            geometric mean of sharpening by rows and by columns), ``product`` or ``max``; ``row`` raises ``W_ij`` to
            ``1 - s_i`` and, as a normalised cut needs a symmetric matrix, keeps the edges that both directions have.
    """

    tau: float
    importance: Tensor
    pairing: Pairing

    def __post_init__(self) -> None:
        if self.pairing not in get_args(Pairing):
            raise ValueError(f"pairing must be one of {', '.join(get_args(Pairing))}, got '{self.pairing}'")
        if not (self.importance.min() >= 0 and self.importance.max() <= 1):  # NaN fails both
            raise Unusable("importance must lie in [0, 1]")

    def compensated(self, least: float) -> PairThresholds:
        """Return thresholds that leave a pair of the least important patches connected as without sharpening.

        Two such patches of importance beta are connected if ``cos ** e > tau'``, so ``tau' = tau ** e``, where e is
        their exponent: .352 instead of .15 for the mean and beta = .45. With the unchanged tau the graph is denser.

        Args:
            least: beta, in [0, 1).
        """
        both = torch.tensor(least, dtype=torch.float64)
        return replace(self, tau=self.tau ** (1 - float(_pair(both, both, self.pairing))))

    def between(self, i: Tensor | slice, j: Tensor | slice) -> Tensor:
        """Return the thresholds of the pairs of broadcast indices, float64."""
        return self._of(self.importance[i], self.importance[j])

    def block(self, rows: slice, columns: slice) -> Tensor:
        """Return the thresholds between some patches and others, ``(rows, columns)`` float32, to within 1e-6."""
        single = self.importance.float()
        return self._of(single[rows, None], single[columns])

    def _of(self, first: Tensor, second: Tensor) -> Tensor:
        if self.tau == 0:
            return torch.zeros_like(first + second)
        exponents = (1 - _pair(first, second, self.pairing)).clamp_min_(0)
        return torch.exp_(exponents.reciprocal_().mul_(math.log(self.tau)))


def _pair(first: Tensor, second: Tensor, pairing: Pairing) -> Tensor:
    """Importance of pairs, symmetric in its arguments."""
    if pairing == "mean":
        return (first + second) / 2
    if pairing == "product":
        return first * second
    return torch.maximum(first, second) if pairing == "max" else torch.minimum(first, second)
