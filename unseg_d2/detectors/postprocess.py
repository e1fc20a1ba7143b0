"""Bring detections from the network's input to the original image.

Shape legend
    n      detections of one image
    M      side of a predicted mask
    H, W   height and width of the original image
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import clip_boxes_to_image

from unseg_d2.detectors.prediction import Prediction
from unseg_d2.rle import encode_runs
from unseg_d2.transfer import to_card, to_host

if TYPE_CHECKING:
    from unseg_d2.data.sample import Sample

CHUNK_PIXELS = 64 * 1024**2  # pixels pasted at once on an accelerator


@dataclass(frozen=True)
class Detections:
    """The detections of one image, best first, in pixels of the network's input.

    Attributes:
        boxes: ``(n, 4)`` float32 xyxy.
        scores: ``(n,)`` float32 in [0, 1].
        classes: ``(n,)`` int64.
        masks: ``(n, M, M)`` float32 probabilities within the box, or ``None`` without a mask branch.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor
    masks: Tensor | None = None

    def as_float32(self) -> Detections:
        """Return them in float32, whatever the precision of the network."""
        masks = None if self.masks is None else self.masks.float()
        return Detections(self.boxes.float(), self.scores.float(), self.classes, masks)


def to_prediction(record: dict[str, Any], sample: Sample, detections: Detections) -> Prediction:
    """Bring detections to the size of the original image and encode their masks.

    Args:
        record: the data set's record of the image.
        sample: what the network saw; ``height`` and ``width`` are those of the original image.
        detections: in pixels of the network's input.
    """
    size = (sample.height, sample.width)
    boxes, exists = rescale_boxes(detections.boxes, (sample.image.shape[-2], sample.image.shape[-1]), size)
    *columns, kept = to_host(boxes, detections.scores, detections.classes, exists)  # a card is waited for once
    rles = []
    if detections.masks is not None:
        index = to_card(kept.nonzero()[:, 0], boxes.device)
        rles = paste_and_encode(detections.masks[index], boxes[index], *size)
    found_boxes, scores, classes = (column[kept].numpy() for column in columns)
    return Prediction(record, size, found_boxes, scores, rles, classes)


def rescale_boxes(boxes: Tensor, input_size: tuple[int, int], output_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Scale boxes from the network's input to the original image.

    Args:
        boxes: ``(n, 4)`` xyxy in pixels of the network's input.
        input_size: its height and width.
        output_size: height and width of the original image.

    Returns:
        Boxes ``(n, 4)`` in pixels of the original image, and ``(n,)`` bool: whether they have an area there.
    """
    scale_y, scale_x = output_size[0] / input_size[0], output_size[1] / input_size[1]
    scale = to_card(torch.tensor([scale_x, scale_y, scale_x, scale_y], dtype=boxes.dtype), boxes.device)
    boxes = clip_boxes_to_image(boxes * scale, output_size)
    return boxes, (boxes[:, 2:] > boxes[:, :2]).all(dim=1)


def paste_and_encode(
    masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float = 0.5
) -> list[dict[str, Any]]:
    """Sample each mask at the pixel centres of the image, without rounding its box, and encode it.

    On a CPU only the pixels around the box are sampled, because the rest of the image is empty.

    Args:
        masks: ``(n, M, M)`` probabilities within the box.
        boxes: ``(n, 4)`` xyxy in pixels of the image.
        height, width: size of the image.
        threshold: lowest probability of a pixel that belongs to the object.

    Returns:
        n compressed run-length encodings, with ``counts`` as text.
    """
    windows, chunk = [[0, 0, width, height]] * len(masks), max(1, CHUNK_PIXELS // (height * width))
    if masks.device.type == "cpu":  # an accelerator would have to wait for a loop over single masks
        around = torch.cat([(boxes[:, :2] - 1).floor(), (boxes[:, 2:] + 1).ceil()], dim=1)
        windows, chunk = clip_boxes_to_image(around, (height, width)).int().tolist(), 1
    rles = []
    for start in range(0, len(masks), chunk):
        part = slice(start, start + chunk)
        pasted = _sample(masks[part], boxes[part], windows[start]) >= threshold
        rles += [encode_runs(ends, height, width) for ends in _boundaries(pasted, windows[start], height)]
    return rles


def _boundaries(masks: Tensor, window: Sequence[int], height: int) -> list[np.ndarray]:
    """Return where the runs of masks ``(n, y1 - y0, x1 - x0)`` begin and end in an image read column by column."""
    columns = F.pad(masks.transpose(1, 2), (1, 1))
    changes = (columns[..., 1:] != columns[..., :-1]).flatten().nonzero()[:, 0].cpu().numpy()
    column, row = np.divmod(changes, columns.shape[2] - 1)
    number, column = np.divmod(column, columns.shape[1])
    places = (window[0] + column) * height + window[1] + row
    return np.split(places, np.searchsorted(number, np.arange(1, len(masks))))


def _sample(masks: Tensor, boxes: Tensor, window: Sequence[int]) -> Tensor:
    """Return bilinear samples ``(n, y1 - y0, x1 - x0)`` of the masks at the pixel centres of a window."""
    x0, y0, x1, y1 = window
    x = torch.arange(x0, x1, device=boxes.device, dtype=torch.float32) + 0.5
    y = torch.arange(y0, y1, device=boxes.device, dtype=torch.float32) + 0.5
    x = (x - boxes[:, 0:1]) / (boxes[:, 2:3] - boxes[:, 0:1]) * 2 - 1
    y = (y - boxes[:, 1:2]) / (boxes[:, 3:4] - boxes[:, 1:2]) * 2 - 1
    shape = (len(masks), y.shape[1], x.shape[1])
    grid = torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], dim=3)
    return F.grid_sample(masks[:, None], grid.to(masks.dtype), align_corners=False)[:, 0]
