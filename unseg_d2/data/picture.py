"""A picture of a sample as the detector gets it, to see with one's own eyes what augmentation does."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from unseg_d2.data.sample import Sample
from unseg_d2.files import atomic_write

_GOLDEN_ANGLE = 137.508  # degrees; hues this far apart stay apart however many there are


def draw_sample(sample: Sample) -> np.ndarray:
    """Draw boxes and outlines of masks into the image of a sample, ``(H, W, 3)`` uint8 RGB."""
    canvas = np.ascontiguousarray(sample.image.permute(1, 2, 0).cpu().numpy())
    for index, (mask, box) in enumerate(zip(sample.masks.cpu().numpy(), sample.boxes.round().int().tolist())):
        hue = int(index * _GOLDEN_ANGLE % 360 / 2)
        colour = cv2.cvtColor(np.uint8([[[hue, 255, 255]]]), cv2.COLOR_HSV2RGB)[0, 0].tolist()
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, outlines, -1, colour, 1)
        cv2.rectangle(canvas, (box[0], box[1]), (box[2] - 1, box[3] - 1), colour, 1)
    return canvas


def write_sample(path: str | Path, sample: Sample) -> None:
    """Write `draw_sample` to a PNG file.

    Raises:
        UnsegError: the disk is full or the folder cannot be written to.
    """
    with atomic_write(path) as file:
        file.write(cv2.imencode(".png", draw_sample(sample)[..., ::-1])[1].tobytes())
