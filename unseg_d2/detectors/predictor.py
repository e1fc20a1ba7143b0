"""Run a network on images: the same path for both engines."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from fvcore.common.config import CfgNode

from unseg_d2.data.image_input import ImageLike, as_rgb
from unseg_d2.data.loader import build_test_loader
from unseg_d2.data.sample import Sample, batches_of_one_size, image_sample
from unseg_d2.data.settings import InputSettings
from unseg_d2.detectors.postprocess import Detections, to_prediction
from unseg_d2.detectors.prediction import Prediction
from unseg_d2.devices import resolve_device

Network: TypeAlias = Callable[[Sequence[Sample]], Sequence[Detections]]
"""A network for inference: a batch of images of one size -> the detections of each, in pixels of its input."""


@dataclass(frozen=True)
class Predictor:
    """A network and how images are prepared for it.

    Attributes:
        network: built, loaded, and on its device.
        cfg: recipe; ``INPUT`` says how images are resized, ``TEST.IMS_PER_BATCH`` how many of one size form a batch.
    """

    network: Network
    cfg: CfgNode

    def on_records(self, records: Sequence[dict[str, Any]]) -> Iterator[Prediction]:
        """Yield the predictions of a data set in its order; loader processes read the images.

        Args:
            records: Detectron2's standard dataset dicts; annotations in them are not read.

        Raises:
            UnsegError: an image cannot be used.
        """
        yield from self._predict(build_test_loader(records, self.cfg), iter(records))

    def on_images(self, images: Iterable[ImageLike]) -> Iterator[Prediction]:
        """Yield the predictions of images in their order; each is read when it is needed.

        Args:
            images: paths, Pillow images or ``(H, W, 3)`` uint8 arrays; numbered from 0 in ``image_id``.

        Raises:
            UnsegError: an image cannot be used.
        """
        records: deque[dict[str, Any]] = deque()  # of the images that the network has not processed yet

        def samples() -> Iterator[Sample]:
            sizes = {"min_size": self.cfg.INPUT.MIN_SIZE_TEST, "max_size": self.cfg.INPUT.MAX_SIZE_TEST}
            reading = InputSettings.from_config(self.cfg).reading
            for index, image in enumerate(images):
                pixels = as_rgb(image, reading)
                name = str(image) if isinstance(image, (str, Path)) else ""
                records.append(
                    {"file_name": name, "image_id": index, "height": pixels.shape[0], "width": pixels.shape[1]}
                )
                yield image_sample(pixels, records[-1], **sizes)

        yield from self._predict(samples(), iter(records.popleft, None))

    def _detect(self, batch: Sequence[Sample]) -> list[Detections]:
        """Run the network as ``TEST.PRECISION`` says; what it finds is float32."""
        precision = getattr(torch, self.cfg.TEST.PRECISION)
        device = resolve_device(self.cfg.MODEL.DEVICE, "MODEL.DEVICE")
        with torch.autocast(device.type, enabled=precision != torch.float32, dtype=precision):
            return [found.as_float32() for found in self.network(batch)]

    def _predict(self, samples: Iterable[Sample], records: Iterator[dict[str, Any]]) -> Iterator[Prediction]:
        reading = InputSettings.from_config(self.cfg).reading
        for batch in batches_of_one_size(samples, self.cfg.TEST.IMS_PER_BATCH):
            for sample, found in zip(batch, self._detect(batch), strict=True):
                yield replace(to_prediction(next(records), sample, found), reading=reading)
