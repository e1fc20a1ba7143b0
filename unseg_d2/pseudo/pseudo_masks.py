"""The pseudo-masks of one image, and the formats they are converted to.

Shape legend
    n      masks
    H, W   height and width of the image in pixels
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.data.image_input import ImageLike, as_rgb
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_confidence, encode_mask
from unseg_d2.structures import PseudoMask
from unseg_d2.viz.overlay import draw_instances


class PseudoMasks(list[PseudoMask]):
    """The masks of one image, best first.

    Attributes:
        left_out: number of proposals that were skipped, because there were more than the settings allow.
        rejected: candidates that were turned down, by the key of a setting, by a field of the generator's settings, or
            by a reason in words.
    """

    left_out: int = 0
    rejected: Mapping[str, int] = MappingProxyType({})

    def to_coco(self, image_id: int | str = 0, category_id: int = 1) -> list[dict[str, Any]]:
        """Return COCO annotations without ids, as a label set has them.

        Args:
            image_id: of the image.
            category_id: the one category of pseudo-masks.

        Returns:
            ``{image_id, category_id, iscrowd (0), bbox (XYWH, px), area (px), segmentation (RLE), score}`` each, and
            ``confidence`` where a mask has a spatial one; ``level``, ``granularity``, ``node`` and ``parent`` where it
            has a place among others.
        """
        about = {"image_id": image_id, "category_id": category_id, "iscrowd": 0}
        return [about | to_annotation(mask) for mask in self]

    def draw(self, image: ImageLike) -> np.ndarray:
        """Draw the masks with their scores.

        Args:
            image: the image that the masks are of: a path, a Pillow image or an ``(H, W, 3)`` uint8 array.

        Returns:
            ``(H, W, 3)`` uint8 RGB.

        Raises:
            UnsegError: the image cannot be read, or has another size than the masks.
        """
        pixels = as_rgb(image)
        masks = np.zeros((len(self), *pixels.shape[:2]), bool)
        for area, found in zip(masks, self):
            if found.mask.shape != area.shape:
                height, width = found.mask.shape
                raise UnsegError(
                    f"The image has {area.shape[0]}x{area.shape[1]} pixels (height x width), but the masks are for one "
                    f"of {height}x{width}."
                )
            area[:] = found.mask
        return draw_instances(pixels, masks, scores=[found.score for found in self])


def to_annotation(found: PseudoMask) -> dict[str, Any]:
    """Return a mask as a label set has it: ``{bbox (XYWH, px), area, segmentation, score}``, and what else is known.

    That is ``confidence``, and the fields of its `Place`; a mask that lies in no other has no ``parent``.
    """
    rle = encode_mask(found.mask)
    annotation: dict[str, Any] = {
        "bbox": [float(value) for value in mask_utils.toBbox(rle)],
        "area": int(mask_utils.area(rle)),
        "segmentation": rle,
        "score": round(found.score, 6),
    }
    if found.confidence is not None:
        annotation["confidence"] = encode_confidence(found.confidence)
    if found.place is not None:
        place = asdict(found.place)
        place["granularity"] = round(place["granularity"], 6)
        annotation |= {key: value for key, value in place.items() if value is not None}
    return annotation
