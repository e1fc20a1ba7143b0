"""The guided filter of many maps and images at once, in whole-tensor steps; made for a card, which it never waits for.

Shape legend
    B      images
    c      guide channels, 1 or 3
    N      maps of all images, one image after another
    H, W   height and width in pixels
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from unseg_d2.refine.on_device import owners
from unseg_d2.refine.registry import FOREGROUND
from unseg_d2.transfer import to_card

MOST_PIXELS = 2**24  # of the maps that are filtered at a time; each takes about 100 bytes meanwhile


def guided_together(images: Tensor, masks: Tensor, counts: Sequence[int], *, radius: int, eps: float) -> Tensor:
    """Snap masks to the colour edges of their images; see :class:`~unseg_d2.refine.on_device.Together`.

    Args:
        images, masks, counts: as there.
        radius: half width r of the square window in pixels.
        eps: regularisation, in squared units of the guide in [0, 1].
    """
    guides = to_card(images, masks.device).float() / 255
    filtered = guided_filter_tensors(guides, masks.float(), owners(counts, masks.device), radius=radius, eps=eps)
    return (filtered > FOREGROUND) & masks.flatten(1).any(1)[:, None, None]


def guided_filter_tensors(
    guides: Tensor, sources: Tensor, guide_of: Tensor | None = None, *, radius: int, eps: float
) -> Tensor:
    """Filter each map by its guide, as :func:`~unseg_d2.refine.guided.guided_filter` does.

    Args:
        guides: ``(B, c, H, W)`` float32 in [0, 1].
        sources: ``(N, H, W)`` float32.
        guide_of: ``(N,)`` int64, the guide of each map; ``None`` gives each its own, with N = B.
        radius: half width r of the square window in pixels; windows are truncated at the border.
        eps: regularisation, in squared units of the guide.

    Returns:
        ``(N, H, W)`` float32; not clipped to the range of the sources.
    """
    fit, filtered = _Fit.of(guides, radius, eps), []
    step = max(1, MOST_PIXELS // (sources.shape[1] * sources.shape[2]))
    for start in range(0, len(sources), step):
        part = slice(start, start + step)
        filtered.append(fit.taken(part if guide_of is None else guide_of[part])(sources[part]))
    return torch.cat(filtered) if filtered else sources


@dataclass(frozen=True)
class _Fit:
    """What depends on the guides alone: means and covariance of every window, the latter as ``L D L^T``.

    A slope is then found by substitution: the inverse itself would lose the digits that differ where the channels are
    nearly equal.

    Attributes:
        guides: ``(B, c, H, W)``.
        means: ``(B, c, H, W)`` of the windows.
        inverse: ``(B, c, H, W)``, one over D.
        lower: ``(B, c (c - 1) / 2, H, W)``, L below its diagonal, by rows.
        radius: of the windows.
    """

    guides: Tensor
    means: Tensor
    inverse: Tensor
    lower: Tensor
    radius: int

    @classmethod
    def of(cls, guides: Tensor, radius: int, eps: float) -> _Fit:
        """Return the fit of guides ``(B, c, H, W)``."""
        channels = guides.unbind(1)
        pairs = _pairs(len(channels))
        products = torch.stack([channels[i] * channels[j] for i, j in pairs], 1)
        found = _box_mean(torch.cat([guides, products], 1), radius)
        means = found[:, : len(channels)].unbind(1)
        rest = {(i, j): plane - means[i] * means[j] for (i, j), plane in zip(pairs, found.unbind(1)[len(channels) :])}
        inverse: list[Tensor] = []
        lower: dict[tuple[int, int], Tensor] = {}
        for i, j in pairs:
            for k in range(j):  # what is left is L[i, j] D[j], on the diagonal D[i]
                rest[i, j] = rest[i, j] - rest[i, k] * lower[j, k]
            if j < i:
                lower[i, j] = rest[i, j] * inverse[j]
            else:
                inverse.append((rest[i, i] + eps).reciprocal())
        below = torch.stack(list(lower.values()), 1) if lower else guides[:, :0]
        return cls(guides, found[:, : len(channels)], torch.stack(inverse, 1), below, radius)

    def taken(self, which: Tensor | slice) -> _Fit:
        """Return the fits of some guides, in the order in which they are named."""

        def chosen(part: Tensor) -> Tensor:
            return part[which] if isinstance(which, slice) else part.index_select(0, which)

        return replace(
            self,
            guides=chosen(self.guides),
            means=chosen(self.means),
            inverse=chosen(self.inverse),
            lower=chosen(self.lower),
        )

    def __call__(self, sources: Tensor) -> Tensor:
        """Filter a map ``(N, H, W)`` by each of N guides."""
        given = sources[:, None]
        averaged = _box_mean(torch.cat([given, self.guides * given], 1), self.radius)
        slopes = averaged[:, 1:] - self.means * averaged[:, :1]
        below = [pair for pair in _pairs(slopes.shape[1]) if pair[0] > pair[1]]
        for place, (i, j) in enumerate(below):  # in the order (1, 0), (2, 0), (2, 1)
            slopes[:, i].addcmul_(self.lower[:, place], slopes[:, j], value=-1)
        slopes *= self.inverse
        for place, (i, j) in reversed(list(enumerate(below))):
            slopes[:, j].addcmul_(self.lower[:, place], slopes[:, i], value=-1)
        offset = averaged[:, :1] - (slopes * self.means).sum(1, keepdim=True)
        averaged = _box_mean(torch.cat([slopes, offset], 1), self.radius)
        return (averaged[:, :-1] * self.guides).sum(1) + averaged[:, -1]


def _pairs(channels: int) -> list[tuple[int, int]]:
    """Places on and below the diagonal, by rows."""
    return [(i, j) for i in range(channels) for j in range(i + 1)]


def _box_mean(maps: Tensor, radius: int) -> Tensor:
    """Means over windows of ``2 radius + 1`` pixels, truncated at the border, of ``(N, C, H, W)``."""
    for size, padding in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))):
        maps = F.avg_pool2d(maps, size, stride=1, padding=padding, count_include_pad=False)
    return maps
