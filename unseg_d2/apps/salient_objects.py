"""Objects of a saliency head: the parts of its mask, as a detector would return them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode
from scipy import ndimage

from unseg_d2.data.images import read_image
from unseg_d2.data.settings import InputSettings
from unseg_d2.detectors.prediction import Prediction
from unseg_d2.rle import encode_in_box
from unseg_d2.saliency import SaliencyModel


class SalientObjects:
    """A saliency head in the place of a detector in :func:`~unseg_d2.apps.demo.run_demo`.

    Attributes:
        weights: the head, as the caller named it.
        cfg: its recipe.
        predictor: this object, which finds the objects of a data set's records.
    """

    def __init__(self, weights: str, model: SaliencyModel, cfg: CfgNode, score_threshold: float = 0.0) -> None:
        self.weights, self.cfg, self.model, self.score_threshold = weights, cfg, model, score_threshold
        self.predictor = self

    def on_records(self, records: Sequence[dict[str, Any]]) -> Iterator[Prediction]:
        """Yield the objects of each image with at least the lowest score.

        Args:
            records: Detectron2's standard dataset dicts; annotations in them are not read.
        """
        reading = InputSettings.from_config(self.cfg).reading
        for record in records:
            yield self._found(read_image(Path(record["file_name"]), reading), record)

    def on_images(self, images: Iterable[np.ndarray]) -> Iterator[Prediction]:
        """Yield the objects of images in their order; each is taken when it is needed.

        Args:
            images: ``(H, W, 3)`` uint8 RGB; numbered from 0 in ``image_id``.
        """
        for index, pixels in enumerate(images):
            yield self._found(pixels, {"image_id": index})

    def _found(self, pixels: np.ndarray, record: dict[str, Any]) -> Prediction:
        (mask,) = self.model([pixels])
        reading = InputSettings.from_config(self.cfg).reading
        return replace(objects(mask, record).above(self.score_threshold), reading=reading)


def objects(mask: np.ndarray, record: dict[str, Any]) -> Prediction:
    """Return the connected parts of a soft mask above one half, best first; their scores are their mean probability.

    Args:
        mask: ``(H, W)`` float32 in [0, 1].
        record: of the image.
    """
    parts, count = ndimage.label(mask > 0.5)
    numbers = np.arange(1, count + 1)
    scores = np.asarray(ndimage.mean(mask, parts, numbers), np.float32).reshape(count)
    order = np.argsort(-scores, kind="stable")
    height, width = mask.shape
    slices = ndimage.find_objects(parts)
    boxes, rles = [], []
    for index in order:
        rows, columns = slices[index]
        boxes.append([columns.start, rows.start, columns.stop, rows.stop])
        part = parts[rows, columns] == numbers[index]
        rles.append(encode_in_box(part, rows.start, columns.start, height, width))
    corners = np.asarray(boxes, np.float32).reshape(-1, 4)
    return Prediction(record, (height, width), corners, scores[order], rles)
