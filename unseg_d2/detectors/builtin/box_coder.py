"""The box parametrisation of R-CNN: a box as (dx, dy, dw, dh) relative to a reference box.

Shape legend
    R   boxes
    k   boxes predicted per reference box (1, or one per class)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from unseg_d2.transfer import to_card

SCALE_CLAMP = math.log(1000.0 / 16)  # largest dw and dh: a box of 16 px may grow to 1000 px


class BoxCoder:
    """Encode and decode boxes (Girshick et al., R-CNN, appendix C).

    Args:
        weights: factors on (dx, dy, dw, dh); the larger they are, the more an offset counts in the loss.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self.weights = tuple(float(weight) for weight in weights)

    def encode(self, boxes: Tensor, targets: Tensor) -> Tensor:
        """Return the deltas ``(R, 4)`` that turn ``boxes`` into ``targets``, both ``(R, 4)`` xyxy with area > 0."""
        centre, size = _centre_and_size(boxes)
        target_centre, target_size = _centre_and_size(targets)
        deltas = torch.cat([(target_centre - centre) / size, torch.log(target_size / size)], dim=1)
        return deltas * self._factors(deltas)

    def decode(self, deltas: Tensor, boxes: Tensor) -> Tensor:
        """Apply deltas to boxes.

        Args:
            deltas: ``(R, 4 * k)``.
            boxes: ``(R, 4)`` xyxy in pixels.

        Returns:
            ``(R, 4 * k)`` float32 boxes, not clipped to the image.
        """
        deltas, boxes = deltas.float(), boxes.float()
        centre, size = _centre_and_size(boxes)
        scaled = deltas.unflatten(1, (-1, 4)) / self._factors(deltas)
        new_centre = scaled[..., :2] * size[:, None] + centre[:, None]
        half = 0.5 * torch.exp(scaled[..., 2:].clamp(max=SCALE_CLAMP)) * size[:, None]
        return torch.cat([new_centre - half, new_centre + half], dim=-1).reshape(deltas.shape)

    def _factors(self, deltas: Tensor) -> Tensor:
        return to_card(torch.tensor(self.weights, dtype=deltas.dtype), deltas.device)


def clip_boxes(boxes: Tensor, limits: Tensor) -> Tensor:
    """Return boxes ``(..., 4)`` clipped to ``limits``: width, height, width, height, ``(4,)`` or per box."""
    return torch.minimum(boxes.clamp(min=0), limits)


def is_nonempty(boxes: Tensor, min_size: float = 0.0) -> Tensor:
    """Return ``(R,)`` bool: whether both sides are longer than ``min_size`` pixels."""
    return (boxes[:, 2:] - boxes[:, :2] > min_size).all(dim=1)


def _centre_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    size = boxes[:, 2:] - boxes[:, :2]
    return boxes[:, :2] + 0.5 * size, size
