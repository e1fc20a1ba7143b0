"""From a list of samples to what the network sees: one padded tensor and the targets.

Shape legend
    N      images of the batch
    H, W   height and width, padded to multiples of 32; before padding if of a single image
    G      ground-truth instances of one image
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unseg_d2.transfer import to_card

if TYPE_CHECKING:
    from unseg_d2.data.sample import Sample

SIZE_DIVISIBILITY = 32  # largest stride of the backbone


@dataclass(frozen=True)
class Targets:
    """Ground truth of one image.

    Attributes:
        boxes: ``(G, 4)`` float32 xyxy in pixels of the network's input.
        classes: ``(G,)`` int64 in [0, K).
        masks: ``(G, H, W)`` bool, not padded.
        scores: ``(G,)`` float32 in [0, 1], or ``None`` if all are 1.
        confidence: ``(G, H, W)`` uint8 spatial confidence, 255 meaning 1, or ``None`` if it is 1 everywhere.
        done: these are all objects of the image; DropLoss spares nothing in it.
        crowds: ``(M, 4)`` boxes of crowd regions, which DropLoss may spare, or ``None``.
    """

    boxes: Tensor
    classes: Tensor
    masks: Tensor
    scores: Tensor | None = None
    confidence: Tensor | None = None
    done: bool = False
    crowds: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """Images of one step.

    Attributes:
        images: ``(N, 3, H, W)`` float32, normalised; padding is 0.
        sizes: height and width of each image before padding.
        targets: one per image, or ``None`` in evaluation mode.
    """

    images: Tensor
    sizes: list[tuple[int, int]]
    targets: list[Targets] | None


def make_batch(samples: Sequence[Sample], mean: Tensor, std: Tensor, *, flip_channels: bool, training: bool) -> Batch:
    """Normalise, pad and stack samples on the device of ``mean``.

    Args:
        samples: RGB uint8 images ``(3, H, W)`` with their instances.
        mean, std: ``(3, 1, 1)`` in the network's channel order.
        flip_channels: the network takes BGR.
        training: also return the targets.
    """
    sizes = [(sample.image.shape[-2], sample.image.shape[-1]) for sample in samples]
    height, width = (_round_up(max(size[side] for size in sizes)) for side in (0, 1))
    images = mean.new_zeros(len(samples), 3, height, width)
    for canvas, sample in zip(images, samples):
        image = to_card(sample.image, mean.device)
        image = image.flip(0) if flip_channels else image
        canvas[:, : image.shape[1], : image.shape[2]] = (image - mean) / std
    targets = [_targets(sample, mean.device) for sample in samples] if training else None
    return Batch(images, sizes, targets)


def _targets(sample: Sample, device: torch.device) -> Targets:
    given = (sample.boxes, sample.class_numbers(), sample.masks, sample.scores)
    boxes, classes, masks, scores = (to_card(tensor, device) for tensor in given)
    rest = sample.confidence, sample.crowds
    confidence, crowds = (None if tensor is None else to_card(tensor, device) for tensor in rest)
    return Targets(boxes, classes, masks, scores, confidence, sample.done, crowds)


def _round_up(length: int) -> int:
    return -(-length // SIZE_DIVISIBILITY) * SIZE_DIVISIBILITY
