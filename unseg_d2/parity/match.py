"""Match what two runs found in the same images, each one's boxes or masks with the best of the other's.

Shape legend
    n, m   boxes or masks of an image in the published and in our run
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.corloc import box_ious, located
from unseg_d2.parity.outputs import Outputs

IDENTICAL = 1.0


@dataclass(frozen=True)
class ImageMatch:
    """An image in two runs.

    Attributes:
        name: of the image.
        published: ``(n,)`` for each published box or mask the largest IoU with one of ours; 0 if there is none.
        ours: ``(m,)`` for each of ours the largest IoU with a published one.
    """

    name: str
    published: np.ndarray
    ours: np.ndarray

    @property
    def mean(self) -> float:
        """Mean of both directions, in [0, 1]; 1 where neither run found anything."""
        every = np.concatenate([self.published, self.ours])
        return float(every.mean()) if every.size else 1.0

    @property
    def identical(self) -> bool:
        """Whether both runs found the same."""
        return len(self.published) == len(self.ours) and bool((self.published == IDENTICAL).all())


def match(published: Outputs, ours: Outputs) -> list[ImageMatch]:
    """Match two runs on the images of the published one that we have too, in the order of the published one.

    Raises:
        UnsegError: they are of different kinds, share no image, or an image has another size in one of them.
    """
    if published.kind != ours.kind:
        raise UnsegError(f"The published file has {published.kind} and ours {ours.kind}; they cannot be compared.")
    shared = [name for name in published.found if name in ours.found]
    if not shared:
        first, second = next(iter(published.found), "no image"), next(iter(ours.found), "no image")
        raise UnsegError(f"No image is in both: the published file begins with {first}, ours with {second}.")
    overlap = box_overlap if published.kind == "boxes" else mask_overlap
    return [match_image(name, published.found[name], ours.found[name], overlap) for name in shared]


def match_image(
    name: str, published: Sequence[Any], ours: Sequence[Any], overlap: Callable[[Any, Any], np.ndarray]
) -> ImageMatch:
    """Match one image.

    Args:
        name: of the image, for messages.
        published: n boxes or masks.
        ours: m boxes or masks.
        overlap: returns their IoUs, ``(n, m)``.

    Raises:
        UnsegError: masks have different sizes.
    """
    if not len(published) or not len(ours):
        return ImageMatch(name, np.zeros(len(published)), np.zeros(len(ours)))
    try:
        ious = overlap(published, ours)
    except ValueError as error:
        raise UnsegError(f"{name}: {error}; are these the same images?") from None
    return ImageMatch(name, ious.max(1), ious.max(0))


def box_overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the IoU of each of ``(n, 4)`` with each of ``(m, 4)``."""
    return np.stack([box_ious(box, second) for box in first])


def mask_overlap(first: Sequence[Any], second: Sequence[Any]) -> np.ndarray:
    """Return the IoU ``(n, m)`` of each with each of two lists of RLEs.

    Raises:
        ValueError: masks of different sizes.
    """
    sizes = {tuple(mask["size"]) for mask in (*first, *second)}
    if len(sizes) > 1:
        raise ValueError(f"masks have sizes {' and '.join(f'{h}x{w}' for h, w in sorted(sizes))}")
    return np.asarray(mask_utils.iou(list(first), list(second), [0] * len(second)), dtype=float)


def corloc(outputs: Outputs, truth: dict[str, np.ndarray]) -> tuple[float, int]:
    """Return CorLoc in percent and the number of images that count: those with objects in the truth.

    Args:
        outputs: boxes; only the first of an image counts.
        truth: ``(g, 4)`` boxes of the objects by image.

    Raises:
        UnsegError: no image of the outputs has an object in the truth.
    """
    names = [name for name in outputs.found if len(truth.get(name, ()))]
    if not names:
        raise UnsegError("The ground truth has no object in any of these images; does it belong to them?")
    boxes = [outputs.found[name][0] if len(outputs.found[name]) else None for name in names]
    found = located(boxes, [truth[name] for name in names], strict=False)
    return 100 * float(found.mean()), len(found)
