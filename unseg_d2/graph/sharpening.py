"""Thresholds per pair of patches: equivalent to one threshold on an affinity whose entries are raised to powers.

``cos ** e > tau`` is ``cos > tau ** (1 / e)``. So the sharpened matrix of CutS3D (section 3.3, equation 3) is never
computed: the cosine of each pair is compared with its own threshold.

Shape legend
    b      images
    n      patches (nodes)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from unseg_d2.errors import Unusable
from unseg_d2.transfer import to_card, to_host

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
        least, most = to_host(torch.stack(self.importance.aminmax()))[0].tolist()
        if not (least >= 0 and most <= 1):  # NaN fails both
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

    def to(self, device: torch.device) -> PairThresholds:
        """Return the thresholds on a device."""
        return self if self.importance.device == device else replace(self, importance=self.importance.to(device))

    def between(self, i: Tensor, j: Tensor) -> Tensor:
        """Return the thresholds of the pairs of broadcast indices, float64."""
        return self._of(self.importance[i], self.importance[j])

    def block(self, rows: slice, columns: slice) -> Tensor:
        """Return the thresholds between some patches and others, ``(rows, columns)`` float32, to within 1e-6."""
        single = self.importance.float()
        return self._of(single[rows, None], single[columns])

    def _of(self, first: Tensor, second: Tensor) -> Tensor:
        if self.tau == 0:
            return torch.zeros_like(first + second)
        return _sharpened(math.log(self.tau), first, second, self.pairing)


@dataclass(frozen=True)
class ThresholdBatch:
    """Thresholds on the cosines of several images, on their device.

    Attributes:
        taus: ``(b,)`` float64.
        importance: ``(b, n)`` float64, as in :class:`PairThresholds`; ``None`` where no image has any.
        even: ``(b,)`` bool, images with the same threshold for all pairs; ``None`` where there are none.
        pairing: as in :class:`PairThresholds`.
    """

    taus: Tensor
    importance: Tensor | None
    even: Tensor | None
    pairing: Pairing

    @staticmethod
    def of(thresholds: Sequence[float | PairThresholds], tokens: Tensor) -> ThresholdBatch:
        """Return the thresholds of ``(b, C, n)`` tokens; nothing waits where importance is on the host."""
        pairs = [threshold if isinstance(threshold, PairThresholds) else None for threshold in thresholds]
        pairings = {pair.pairing for pair in pairs if pair is not None}
        if len(pairings) > 1:
            raise ValueError("the images of a batch must have one pairing")
        values = [t.tau if isinstance(t, PairThresholds) else t for t in thresholds]
        taus = to_card(torch.tensor(values, dtype=torch.float64), tokens.device)
        if not pairings:
            return ThresholdBatch(taus, None, None, "mean")
        none = torch.zeros(tokens.shape[2], dtype=torch.float64)
        importance = torch.stack([none if pair is None else pair.importance.cpu() for pair in pairs])
        even = torch.tensor([pair is None for pair in pairs])
        return ThresholdBatch(
            taus,
            to_card(importance, tokens.device),
            to_card(even, tokens.device) if even.any() else None,
            pairings.pop(),
        )

    def block(self) -> Tensor:
        """Return the thresholds of all pairs, ``(b, n, n)`` or ``(b, 1, 1)`` float32, to within 1e-6."""
        taus = self.taus.float()[:, None, None]
        if self.importance is None:
            return taus
        single = self.importance.float()
        sharpened = _sharpened(taus.log(), single[:, :, None], single[:, None], self.pairing)
        return sharpened if self.even is None else torch.where(self.even[:, None, None], taus, sharpened)

    def between(self, image: Tensor, i: Tensor, j: Tensor) -> Tensor:
        """Return the thresholds of pairs of patches, float64, from ``(p,)`` indices of each pair."""
        taus = self.taus[image]
        if self.importance is None:
            return taus
        sharpened = _sharpened(taus.log(), self.importance[image, i], self.importance[image, j], self.pairing)
        return sharpened if self.even is None else torch.where(self.even[image], taus, sharpened)


def _sharpened(log_tau: Tensor | float, first: Tensor, second: Tensor, pairing: Pairing) -> Tensor:
    """Thresholds of pairs from the logarithm of tau and the importance of their patches."""
    exponents = (1 - _pair(first, second, pairing)).clamp_min_(0)
    return torch.exp_(exponents.reciprocal_().mul_(log_tau))


def _pair(first: Tensor, second: Tensor, pairing: Pairing) -> Tensor:
    """Importance of pairs, symmetric in its arguments."""
    if pairing == "mean":
        return (first + second) / 2
    if pairing == "product":
        return first * second
    return torch.maximum(first, second) if pairing == "max" else torch.minimum(first, second)
