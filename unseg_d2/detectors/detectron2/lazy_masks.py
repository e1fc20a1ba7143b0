"""Ground-truth masks that are indexed without being copied.

Shapes: G masks of the image, R regions of interest, (H, W) image size, M side of a mask target.

Detectron2 repeats an image's masks once per sampled region, ``gt_masks[sampled]``: R x H x W bytes, 500 MB for 512
regions of an 800 x 1216 image. `LazyMasks` repeats an index instead and reads the G masks when targets are cropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.structures import BitMasks
from torch import Tensor

from unseg_d2.losses.roi_crop import mask_targets


class LazyMasks:
    """A field of Detectron2's ``Instances`` that behaves like ``BitMasks`` but copies no mask when indexed.

    Args:
        masks: bool (G, H, W), shared with all containers that are made from this one by indexing.
        index: int64 (R,), the mask of each of the R elements; by default all G in order.
    """

    def __init__(self, masks: Tensor, index: Tensor | None = None) -> None:
        if masks.dim() != 3:
            raise ValueError(f"masks must have three dimensions (G, H, W), not {tuple(masks.shape)}")
        self.masks = masks
        self.index = torch.arange(len(masks), device=masks.device) if index is None else index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: int | slice | Tensor) -> LazyMasks:
        """Select elements as ``BitMasks`` does; an integer gives a container of one."""
        index = self.index[item]
        return LazyMasks(self.masks, index.reshape(1) if index.dim() == 0 else index)

    def to(self, *args: Any, **kwargs: Any) -> LazyMasks:
        """Move to a device, with the arguments of ``Tensor.to``."""
        masks = self.masks.to(*args, **kwargs)
        return LazyMasks(masks, self.index.to(masks.device))

    @property
    def device(self) -> torch.device:
        """Device of the masks."""
        return self.masks.device

    @property
    def tensor(self) -> Tensor:
        """The masks themselves, bool (R, H, W): a copy, made on demand for code that expects ``BitMasks``."""
        return self.masks[self.index]

    @staticmethod
    def cat(containers: Sequence[LazyMasks]) -> LazyMasks:
        """Concatenate containers of one image; shared masks are stored once."""
        first = containers[0]
        if all(other.masks is first.masks for other in containers):
            return LazyMasks(first.masks, torch.cat([c.index for c in containers]))
        offsets = torch.tensor([0, *(len(c.masks) for c in containers)]).cumsum(0).tolist()
        index = torch.cat([c.index + offset for c, offset in zip(containers, offsets)])
        return LazyMasks(torch.cat([c.masks for c in containers]), index)

    def crop_and_resize(self, boxes: Tensor, mask_size: int) -> Tensor:
        """Crop each element to its box and resize it, exactly like ``BitMasks.crop_and_resize``.

        Args:
            boxes: float (R, 4), xyxy in pixels.
            mask_size: M.

        Returns:
            bool (R, M, M): where the resized mask is at least one half (Mask R-CNN, section 3).
        """
        if len(boxes) != len(self):
            raise ValueError(f"{len(boxes)} boxes for {len(self)} masks")
        return mask_targets(self.masks, boxes.to(self.device), self.index, mask_size)

    @classmethod
    def from_bit_masks(cls, masks: BitMasks) -> LazyMasks:
        """Wrap Detectron2's container, sharing its memory."""
        return cls(masks.tensor)

    def __repr__(self) -> str:
        return f"LazyMasks(num_instances={len(self)}, num_masks={len(self.masks)})"
