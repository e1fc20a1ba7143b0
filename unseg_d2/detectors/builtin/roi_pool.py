"""RoIAlign over a feature pyramid with Detectron2's conventions (torchvision's pooler shifts by half a pixel).

Shape legend
    R      RoIs of all images of the batch
    N, C   images, channels
    S      cells per side of a pooled RoI
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from unseg_d2.transfer import to_host

CANONICAL_SIZE = 224  # a box of this size in pixels is pooled ...
CANONICAL_LEVEL = 4  # ... from the level with stride 2**4


class PyramidRoIAlign(nn.Module):
    """Pool each RoI from the pyramid level that fits its size (FPN, equation 1).

    Args:
        output_size: S.
        strides: stride of each level, consecutive powers of two.
        sampling_ratio: samples per cell and direction; 0 takes one per pixel.
    """

    def __init__(self, output_size: int, strides: Sequence[int], sampling_ratio: int = 0) -> None:
        super().__init__()
        self.output_size = output_size
        self.strides = tuple(strides)
        self.sampling_ratio = sampling_ratio

    def forward(self, features: Sequence[Tensor], boxes: Tensor, image_index: Tensor) -> Tensor:
        """Pool RoIs.

        Args:
            features: one ``(N, C, h, w)`` map per level.
            boxes: ``(R, 4)`` xyxy in pixels of the network's input.
            image_index: ``(R,)`` int64, the image of each RoI.

        Returns:
            ``(R, C, S, S)``.
        """
        rois = torch.cat([image_index[:, None].to(boxes), boxes], dim=1)
        if len(features) == 1:
            return self._pool(features[0], rois, self.strides[0])
        levels = assign_levels(boxes, self.strides)
        order = levels.argsort(stable=True)
        (counts,) = to_host((levels[:, None] == torch.arange(len(features), device=levels.device)).sum(0))
        parts = zip(features, rois[order].split(counts.tolist()), self.strides)
        together = torch.cat([self._pool(*part) for part in parts])
        return torch.empty_like(together).index_copy(0, order, together)

    def _pool(self, feature: Tensor, rois: Tensor, stride: int) -> Tensor:
        return roi_align(feature, rois, self.output_size, 1.0 / stride, self.sampling_ratio, aligned=True)


def assign_levels(boxes: Tensor, strides: Sequence[int]) -> Tensor:
    """Return ``(R,)`` int64, the position in ``strides`` of the level that each of the boxes ``(R, 4)`` is pooled from.

    >>> assign_levels(torch.tensor([[0.0, 0.0, 224.0, 224.0], [0.0, 0.0, 10.0, 10.0]]), [4, 8, 16, 32]).tolist()
    [2, 0]
    """
    size = torch.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    level = torch.floor(CANONICAL_LEVEL + torch.log2(size / CANONICAL_SIZE + 1e-8))
    lowest, highest = int(math.log2(strides[0])), int(math.log2(strides[-1]))
    return level.clamp(lowest, highest).to(torch.int64) - lowest
