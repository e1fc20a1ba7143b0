"""Samples of the shared loader in the form that Detectron2's networks take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from detectron2.structures import BitMasks, Boxes, Instances

from unseg_d2.data.sample import Sample


def to_input(
    sample: Sample, *, channel_order: str, with_instances: bool = True, with_masks: bool = True
) -> dict[str, Any]:
    """Return one element of the list that ``GeneralizedRCNN`` takes.

    Args:
        sample: RGB image and its instances.
        channel_order: ``RGB`` or ``BGR``, order of the network's input.
        with_instances: add the ground truth, as one class.
        with_masks: the ground truth has masks.

    Returns:
        ``{image uint8 (3, H, W), height, width, file_name, image_id}`` and ``instances``; height and width are those
        of the image file, which detections are scaled back to.
    """
    image = sample.image if channel_order == "RGB" else sample.image.flip(0)
    data = {"image": image, "height": sample.height, "width": sample.width}
    data |= {"file_name": sample.file_name, "image_id": sample.image_id}
    if with_instances:
        instances = Instances(tuple(image.shape[1:]))
        instances.gt_boxes = Boxes(sample.boxes)
        instances.gt_classes = torch.zeros(len(sample.boxes), dtype=torch.int64)
        if with_masks:
            instances.gt_masks = BitMasks(sample.masks)
        data["instances"] = instances
    return data


class TrainingInputs:
    """Batches of the shared loader, translated one by one as they are asked for.

    Args:
        batches: what ``build_train_loader`` returns.
        channel_order: ``RGB`` or ``BGR``.
        with_masks: the network predicts masks.
    """

    def __init__(self, batches: Iterable[Sequence[Sample]], *, channel_order: str, with_masks: bool) -> None:
        self.batches = batches
        self.channel_order = channel_order
        self.with_masks = with_masks

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        for batch in self.batches:
            yield [to_input(s, channel_order=self.channel_order, with_masks=self.with_masks) for s in batch]
