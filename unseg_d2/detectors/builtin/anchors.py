"""Anchor boxes of the RPN, not rounded to whole pixels (torchvision's are).

Shape legend
    A      anchors per position
    h, w   rows and columns of a feature map
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class AnchorGenerator(nn.Module):
    """Place the same anchors at every position of each pyramid level (Faster R-CNN, section 3.1.1).

    Args:
        sizes: per level, the square roots of the anchor areas in pixels; a single list applies to all levels.
        aspect_ratios: per level, height / width; a single list applies to all levels.
        strides: pixels between neighbouring positions, per level.
        offset: position of the first anchor, in units of the stride.

    Raises:
        ValueError: the numbers of levels differ.
    """

    def __init__(
        self,
        sizes: Sequence[Sequence[float]],
        aspect_ratios: Sequence[Sequence[float]],
        strides: Sequence[int],
        offset: float,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.offset = offset
        sizes, aspect_ratios = _per_level(sizes, len(strides)), _per_level(aspect_ratios, len(strides))
        for level, (level_sizes, ratios) in enumerate(zip(sizes, aspect_ratios)):
            self.register_buffer(f"cell{level}", cell_anchors(level_sizes, ratios), persistent=False)

    @property
    def num_anchors(self) -> int:
        """Anchors per position."""
        return len(self.get_buffer("cell0"))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return per level the anchors ``(h * w * A, 4)``, xyxy in pixels, for feature maps ``(N, C, h, w)``."""
        return [self._level(level, feature.shape[-2], feature.shape[-1]) for level, feature in enumerate(features)]

    def _level(self, level: int, rows: int, columns: int) -> Tensor:
        cell, stride = self.get_buffer(f"cell{level}"), self.strides[level]
        y, x = (torch.arange(count, dtype=torch.float32, device=cell.device) for count in (rows, columns))
        y, x = torch.meshgrid((y + self.offset) * stride, (x + self.offset) * stride, indexing="ij")
        shifts = torch.stack([x, y, x, y], dim=-1)
        return (shifts[:, :, None] + cell).reshape(-1, 4)


def cell_anchors(sizes: Sequence[float], aspect_ratios: Sequence[float]) -> Tensor:
    """Return ``(A, 4)`` anchors centred on the origin, xyxy in pixels; ratios vary fastest.

    >>> cell_anchors([32], [1.0]).tolist()
    [[-16.0, -16.0, 16.0, 16.0]]
    """
    size = torch.tensor(sizes, dtype=torch.float64)[:, None]
    ratio = torch.tensor(aspect_ratios, dtype=torch.float64)
    width = torch.sqrt(size**2 / ratio)
    height = ratio * width
    return torch.stack([-width, -height, width, height], dim=-1).reshape(-1, 4).float() / 2


def _per_level(values: Sequence[Sequence[float]], levels: int) -> list[Sequence[float]]:
    if len(values) == 1:
        return list(values) * levels
    if len(values) != levels:
        raise ValueError(f"{len(values)} lists of anchor sizes or ratios were given for {levels} pyramid levels")
    return list(values)
