"""Masks as Label Studio's tasks, to be corrected by hand there, and the masks of its brush read again.

Label Studio keeps a painted mask as the run lengths of an RGBA image, bit by bit (its ``brush`` format, from the
JavaScript package rle-pack): 32 bits number of values, 5 bits word size - 1, four times 4 bits length size - 1, then
the runs. A run is one bit 1, two bits that choose a length size, its length - 1 in that size, and the value.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from unseg_d2.rle import decode_mask

LABEL = "object"
DONE = "every object has a mask"
"""What a person ticks in an image that is done."""
LOCAL_FILES = "/data/local-files/?d="
"""Address under which Label Studio serves files below its document root."""

_LENGTH_BITS = (3, 4, 8, 16)
_WORD_BITS = 8
_CHANNELS = 4  # RGBA, all equal
_BYTE = [f"{byte:08b}" for byte in range(256)]


def labeling_config(names: Sequence[str] = (LABEL,)) -> str:
    """Return the labelling interface that tasks are made for.

    Args:
        names: of the classes.
    """
    labels = "".join(f"<Label value={quoteattr(name)}/>" for name in names)
    return f"""<View>
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="mask" toName="image">{labels}</BrushLabels>
  <RectangleLabels name="box" toName="image">{labels}</RectangleLabels>
  <Choices name="done" toName="image" choice="multiple"><Choice value={quoteattr(DONE)}/></Choices>
</View>
"""


def to_task(
    image: dict[str, Any],
    annotations: Sequence[dict[str, Any]],
    *,
    model: str,
    prefix: str = LOCAL_FILES,
    names: Mapping[Any, str] | None = None,
) -> dict[str, Any]:
    """Return the task of one image with its pre-annotations.

    Args:
        image: COCO image with ``id``, ``file_name``, ``height`` and ``width``, and ``done`` where it is.
        annotations: its COCO annotations with ``bbox`` and, where there are any, ``segmentation`` and ``score``.
        model: name of what made them.
        prefix: what comes before the file name in the address of the image.
        names: label of each category by its id; by default all are objects.
    """
    height, width = image["height"], image["width"]
    results = []
    for index, annotation in enumerate(annotations):
        result = {"id": f"{image['id']}-{index + 1}", "to_name": "image", "image_rotation": 0}
        result |= {"original_width": width, "original_height": height}
        result |= {"score": annotation["score"]} if "score" in annotation else {}
        labels = [LABEL if names is None else names[annotation["category_id"]]]
        if annotation.get("segmentation"):
            runs = encode_brush(decode_mask(annotation["segmentation"], height, width))
            value: dict[str, Any] = {"format": "rle", "rle": runs, "brushlabels": labels}
            results.append(result | {"type": "brushlabels", "from_name": "mask", "value": value})
        else:
            left, top, box_width, box_height = annotation["bbox"]
            value = {"x": 100 * left / width, "y": 100 * top / height, "rotation": 0, "rectanglelabels": labels}
            value |= {"width": 100 * box_width / width, "height": 100 * box_height / height}
            results.append(result | {"type": "rectanglelabels", "from_name": "box", "value": value})
    if image.get("done"):
        result = {"id": f"{image['id']}-done", "to_name": "image", "from_name": "done", "type": "choices"}
        results.append(result | {"value": {"choices": [DONE]}})
    scores = [annotation["score"] for annotation in annotations if "score" in annotation]
    prediction = {"model_version": model, "score": float(np.mean(scores)) if scores else 0.0, "result": results}
    name = image["file_name"]
    data = {"image": prefix + quote(os.fsencode(name))}
    if name.isprintable():  # others are found again by their address
        data["file_name"] = name
    return {"data": data, "predictions": [prediction]}


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


def decode_brush(encoded: Sequence[int], height: int, width: int) -> np.ndarray:
    """Return the mask that a brush has painted: the pixels that are not wholly transparent.

    Args:
        encoded: bytes, as integers in [0, 255].
        height: H of the image.
        width: W of the image.

    Returns:
        ``(H, W)`` bool.

    Raises:
        ValueError: it is damaged, or of an image of another size.
    """
    data = np.asarray(encoded, dtype=np.int64)
    if data.ndim != 1 or data.size < 8 or data.min() < 0 or data.max() > 255:
        raise ValueError("its run lengths are not bytes")
    bits = "".join(map(_BYTE.__getitem__, data.tolist()))
    total, word = int(bits[:32], 2), int(bits[32:37], 2) + 1
    sizes = [int(bits[37 + 4 * index : 41 + 4 * index], 2) + 1 for index in range(4)]
    if total != height * width * _CHANNELS:
        raise ValueError(f"its run lengths are for {total} values, but {width}x{height} pixels have four each")
    values = np.zeros(total, np.uint8)
    place, at = 53, 0
    while at < total:
        size = sizes[int(bits[place + 1 : place + 3] or "0", 2)]
        length = int(bits[place + 3 : place + 3 + size] or "0", 2) + 1
        start, is_run = place + 3 + size, bits[place : place + 1] == "1"
        place = start + word * (1 if is_run else length)
        if at + length > total or place > len(bits):
            raise ValueError("its run lengths end too early or too late")
        if is_run:
            values[at : at + length] = int(bits[start:place], 2) > 0
        else:
            words = [bits[begin : begin + word] for begin in range(start, place, word)]
            values[at : at + length] = ["1" in item for item in words]
        at += length
    painted: np.ndarray = values.reshape(height, width, _CHANNELS)[..., -1] > 0
    return painted
