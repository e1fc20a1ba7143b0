"""Predictions as Label Studio's tasks, to be corrected by hand there.

Label Studio keeps a painted mask as the run lengths of an RGBA image, bit by bit (its ``brush`` format, from the
JavaScript package rle-pack): 32 bits number of values, 5 bits word size - 1, four times 4 bits length size - 1, then
the runs. A run is one bit 1, two bits that choose a length size, its length - 1 in that size, and the value.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from unseg_d2.rle import decode_mask

LABEL = "object"
LABELING_CONFIG = f"""<View>
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="mask" toName="image"><Label value="{LABEL}"/></BrushLabels>
  <RectangleLabels name="box" toName="image"><Label value="{LABEL}"/></RectangleLabels>
</View>
"""
"""Labelling interface that the tasks are made for."""
LOCAL_FILES = "/data/local-files/?d="
"""Address under which Label Studio serves files below its document root."""

_LENGTH_BITS = (3, 4, 8, 16)
_WORD_BITS = 8
_CHANNELS = 4  # RGBA, all equal


def to_task(
    image: dict[str, Any], annotations: Sequence[dict[str, Any]], *, model: str, prefix: str = LOCAL_FILES
) -> dict[str, Any]:
    """Return the task of one image with its pre-annotations.

    Args:
        image: COCO image with ``id``, ``file_name``, ``height`` and ``width``.
        annotations: its COCO annotations with ``bbox``, ``score`` and, for masks, ``segmentation``.
        model: name of what made them.
        prefix: what comes before the file name in the address of the image.
    """
    height, width = image["height"], image["width"]
    results = []
    for index, annotation in enumerate(annotations):
        result = {"id": f"{image['id']}-{index + 1}", "to_name": "image", "image_rotation": 0}
        result |= {"original_width": width, "original_height": height, "score": annotation["score"]}
        if annotation.get("segmentation"):
            runs = encode_brush(decode_mask(annotation["segmentation"], height, width))
            value: dict[str, Any] = {"format": "rle", "rle": runs, "brushlabels": [LABEL]}
            results.append(result | {"type": "brushlabels", "from_name": "mask", "value": value})
        else:
            left, top, box_width, box_height = annotation["bbox"]
            value = {"x": 100 * left / width, "y": 100 * top / height, "rotation": 0, "rectanglelabels": [LABEL]}
            value |= {"width": 100 * box_width / width, "height": 100 * box_height / height}
            results.append(result | {"type": "rectanglelabels", "from_name": "box", "value": value})
    scores = [annotation["score"] for annotation in annotations]
    prediction = {"model_version": model, "score": float(np.mean(scores)) if scores else 0.0, "result": results}
    return {"data": {"image": prefix + quote(os.fsencode(image["file_name"]))}, "predictions": [prediction]}


def encode_brush(mask: np.ndarray) -> list[int]:
    """Compress a mask as Label Studio's brush does.

    Args:
        mask: ``(H, W)`` bool.

    Returns:
        Bytes, as integers in [0, 255]; the value of the mask is 255 in all four channels.
    """
    flat = np.ravel(mask)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.append(starts, flat.size)) * _CHANNELS
    bits = [f"{flat.size * _CHANNELS:032b}{_WORD_BITS - 1:05b}", *(f"{size - 1:04b}" for size in _LENGTH_BITS)]
    longest = 1 << _LENGTH_BITS[-1]
    for length, value in zip(lengths.tolist(), flat[starts].tolist()):
        word = "1" * _WORD_BITS if value else "0" * _WORD_BITS
        whole, rest = divmod(length, longest)
        bits += [_run(longest) + word] * whole + ([_run(rest) + word] if rest else [])
    text = "".join(bits)
    return np.packbits(np.frombuffer(text.encode(), np.uint8) - ord("0")).tolist()


def _run(length: int) -> str:
    """Head of a run, without its value."""
    choice = next(index for index, size in enumerate(_LENGTH_BITS) if length <= 1 << size)
    return f"1{choice:02b}{length - 1:0{_LENGTH_BITS[choice]}b}"
