"""Convert samples of the shared loader to the input of Detectron2's networks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from detectron2.structures import BitMasks, Instances
from fvcore.common.config import CfgNode

from unseg_d2.data.loader import build_test_loader
from unseg_d2.data.sample import Sample
from unseg_d2.detectors.detectron2.uncertain import LazyConfidence, ScoredBoxes
from unseg_d2.detectors.training_data import LoaderFactory

MARKER = "unseg_d2"
"""Key of a network's input that says what was done to it: ``{"copy_paste": bool}``. A network that is trained with
``DATALOADER.COPY_PASTE`` refuses input that nothing was or could have been pasted into."""


def to_input(
    sample: Sample,
    *,
    channel_order: str,
    with_instances: bool = True,
    with_masks: bool = True,
    copy_paste: bool = False,
) -> dict[str, Any]:
    """Return one element of the list that ``GeneralizedRCNN`` takes.

    Args:
        sample: RGB image and its instances.
        channel_order: of the network's input, ``RGB`` or ``BGR``.
        with_instances: include the ground truth.
        with_masks: include its masks.
        copy_paste: the sample went through copy-paste.

    Returns:
        ``{image uint8 (3, H, W), height, width, file_name, image_id}``, and with ground truth ``instances`` and
        `MARKER`; height and width are those of the image file, to which detections are scaled.
    """
    image = sample.image if channel_order == "RGB" else sample.image.flip(0)
    data = {"image": image, "height": sample.height, "width": sample.width}
    data |= {"file_name": sample.file_name, "image_id": sample.image_id}
    if with_instances:
        instances = Instances(tuple(image.shape[1:]))
        instances.gt_boxes = ScoredBoxes(sample.boxes, sample.scores, sample.done, sample.crowds)
        instances.gt_classes = sample.class_numbers()
        if with_masks:
            instances.gt_masks = BitMasks(sample.masks)
            if sample.confidence is not None:
                instances.gt_confidence = LazyConfidence(sample.confidence, sample.masks)
        data |= {"instances": instances, MARKER: {"copy_paste": copy_paste}}
    return data


def input_options(cfg: CfgNode) -> dict[str, Any]:
    """Return the arguments of `to_input` for samples to train on.

    Args:
        cfg: recipe of the loader; ``INPUT.FORMAT`` is the channel order, ``MODEL.MASK_ON`` includes masks, and
            ``DATALOADER.COPY_PASTE`` is what the samples went through.
    """
    options = {"channel_order": cfg.INPUT.FORMAT, "with_masks": cfg.MODEL.MASK_ON}
    return {**options, "copy_paste": cfg.DATALOADER.COPY_PASTE}


class TrainingInputs:
    """Batches of the shared loader, each converted when it is needed.

    Args:
        batches: of ``build_train_loader``.
        cfg: recipe of the loader, see `input_options`.
    """

    def __init__(self, batches: Iterable[Sequence[Sample]], cfg: CfgNode) -> None:
        self.batches = batches
        self.options = input_options(cfg)

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        for batch in self.batches:
            yield [to_input(sample, **self.options) for sample in batch]


class ResumableInputs(TrainingInputs):
    """Batches of the shared loader that can start at any iteration.

    Args:
        make_loader: returns the batches of this process from an iteration on.
        cfg: recipe of the loader, see `input_options`.
    """

    def __init__(self, make_loader: LoaderFactory, cfg: CfgNode) -> None:
        super().__init__(make_loader(cfg, 0), cfg)
        self.make_loader, self.cfg = make_loader, cfg

    def start_at(self, iteration: int) -> None:
        """Make ``iteration`` the number of the first batch."""
        if iteration:
            self.batches = self.make_loader(self.cfg, iteration)


class TestInputs:
    """Images of a data set in batches of one, as ``inference_on_dataset`` expects them.

    Args:
        records: Detectron2's standard dataset dicts.
        cfg: recipe; ``INPUT`` says how images are resized and in which order their channels come.
    """

    __test__ = False  # no tests, for pytest

    def __init__(self, records: Sequence[dict[str, Any]], cfg: CfgNode) -> None:
        self.records = records
        self.cfg = cfg

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        for sample in build_test_loader(self.records, self.cfg):
            yield [to_input(sample, channel_order=self.cfg.INPUT.FORMAT, with_instances=False)]
