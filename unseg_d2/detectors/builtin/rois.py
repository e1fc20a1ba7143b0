"""Regions of interest of a batch.

Shape legend
    R   RoIs of all images of the batch, one image after the other
    F   foreground RoIs among them
    N   images
    K   classes; label K is the background
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unseg_d2.transfer import to_card


@dataclass(frozen=True)
class RoIs:
    """Regions of interest of a batch.

    Attributes:
        boxes: ``(R, 4)`` xyxy in pixels of the network's input.
        counts: number of RoIs of each image; their sum is R.
    """

    boxes: Tensor
    counts: list[int]

    def image_index(self) -> Tensor:
        """Return ``(R,)`` int64, the image of each RoI."""
        index = torch.repeat_interleave(torch.arange(len(self.counts)), torch.tensor(self.counts))
        return to_card(index, self.boxes.device)

    def limits(self, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Return ``(R, 4)``: width, height, width, height of each RoI's image, from height and width of the images."""
        images = torch.tensor([[width, height, width, height] for height, width in sizes], dtype=self.boxes.dtype)
        return to_card(torch.repeat_interleave(images, torch.tensor(self.counts), dim=0), self.boxes.device)


@dataclass(frozen=True)
class LabelledRoIs(RoIs):
    """Regions of interest matched with the ground truth, for training.

    Attributes:
        labels: ``(R,)`` int64 class in [0, K], K for background.
        gt_index: ``(R,)`` int64 matched instance within its image; 0 where the image has none.
        gt_boxes: ``(R, 4)`` box of that instance; zeros where the image has none.
        foreground: ``(F,)`` int64, the RoIs that are not background, ascending.
        foreground_counts: number of these of each image; their sum is F.
    """

    labels: Tensor
    gt_index: Tensor
    gt_boxes: Tensor
    foreground: Tensor
    foreground_counts: list[int]
