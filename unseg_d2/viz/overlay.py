"""Instance masks drawn on an image.

Shape legend
    H, W   height and width of the image in pixels
    n      number of instances
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np

from unseg_d2.viz.palette import instance_colour

Colour: TypeAlias = "tuple[int, int, int]"


def draw_instances(
    image: np.ndarray,
    masks: np.ndarray,
    *,
    scores: Sequence[float] | None = None,
    identities: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    colours: Sequence[Colour] | None = None,
    opacity: float = 0.45,
    outline: bool = True,
) -> np.ndarray:
    """Draw every instance as a translucent area with an outline, large ones below small ones.

    Args:
        image: ``(H, W, 3)`` uint8 RGB; it is not changed.
        masks: ``(n, H, W)`` bool. The colour of an instance depends on its place ``0 … n-1`` alone, or its identity.
        scores: ``n`` numbers written next to the instances, or ``None`` for no text.
        identities: ``n`` numbers of objects, which keep their colour from frame to frame and stand before the scores.
        names: ``n`` words that stand before the scores; OpenCV writes ASCII only.
        colours: ``n`` colours, red, green and blue in [0, 255], in place of those of the places.
        opacity: of the areas, in [0, 1]; 0 leaves the outlines only.
        outline: whether to draw outlines.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        ValueError: if shapes, types or the opacity do not fit.
    """
    _check(image, masks, scores, opacity)
    for given, what in ((identities, "identities"), (names, "names"), (colours, "colours")):
        _check_number(masks, given, what)
    canvas = image.copy()
    places = range(len(masks)) if identities is None else identities
    parts = _largest_first(masks, [instance_colour(n) for n in places] if colours is None else colours)
    for part in parts:
        _fill(canvas, part, opacity)
        if outline:
            _outline(canvas, part)
    for part in parts:
        numbers = [f"#{identities[part.index]}"] if identities is not None else []
        words = [*numbers, *([names[part.index]] if names is not None else [])]
        words += [f"{scores[part.index]:.2f}"] if scores is not None else []
        if words:
            _write(canvas, part, " ".join(words))
    return canvas


@dataclass(frozen=True)
class _Part:
    """An instance in its box: work on a large image costs what its instances cover."""

    index: int
    mask: np.ndarray  # (rows, columns) bool, the part of the mask in the box
    top: int
    left: int
    colour: Colour


def _check(image: np.ndarray, masks: np.ndarray, scores: Sequence[float] | None, opacity: float) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image must be uint8 of shape (H, W, 3), got {image.dtype} {image.shape}")
    if masks.dtype != np.bool_ or masks.ndim != 3 or masks.shape[1:] != image.shape[:2]:
        raise ValueError(f"masks must be bool of shape (n, {image.shape[0]}, {image.shape[1]}), got {masks.shape}")
    if scores is not None and len(scores) != len(masks):
        raise ValueError(f"{len(masks)} masks need as many scores, got {len(scores)}")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must lie in [0, 1], got {opacity}")


def _check_number(masks: np.ndarray, given: Sequence[Any] | None, what: str) -> None:
    if given is not None and len(given) != len(masks):
        raise ValueError(f"{len(masks)} masks need as many {what}, got {len(given)}")


def _largest_first(masks: np.ndarray, colours: Sequence[Colour]) -> list[_Part]:
    """The non-empty masks in drawing order."""
    parts = []
    for index, mask in enumerate(masks):
        left, top, columns, rows = cv2.boundingRect(mask.view(np.uint8))
        if columns:
            parts.append(_Part(index, mask[top : top + rows, left : left + columns], top, left, colours[index]))
    return sorted(parts, key=lambda part: -np.count_nonzero(part.mask))


def _fill(canvas: np.ndarray, part: _Part, opacity: float) -> None:
    rows, columns = part.mask.shape
    box = canvas[part.top : part.top + rows, part.left : part.left + columns]
    levels = np.arange(256)[:, None]
    table = np.rint((1 - opacity) * levels + opacity * np.array(part.colour)).astype(np.uint8)[None]
    cv2.copyTo(cv2.LUT(box, table), part.mask.astype(np.uint8), box)


def _line_width(canvas: np.ndarray) -> int:
    """Two pixels on a 640-pixel image, and in proportion elsewhere."""
    return max(1, round(max(canvas.shape[:2]) / 320))


def _outline(canvas: np.ndarray, part: _Part) -> None:
    contours, _ = cv2.findContours(part.mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    place = (part.left, part.top)
    cv2.drawContours(canvas, contours, -1, part.colour, _line_width(canvas), cv2.LINE_AA, offset=place)


def _write(canvas: np.ndarray, part: _Part, text: str) -> None:
    """Put a small label at the top left of the mask's box, moved inside the image."""
    colour = part.colour
    scale = max(canvas.shape[:2]) / 1400
    (width, height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    left = int(min(part.left, max(0, canvas.shape[1] - width - 4)))
    top = int(min(part.top, max(0, canvas.shape[0] - height - baseline - 4)))
    cv2.rectangle(canvas, (left, top), (left + width + 4, top + height + baseline + 2), colour, cv2.FILLED)
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    ink = (0, 0, 0) if luminance > 120 else (255, 255, 255)
    cv2.putText(canvas, text, (left + 2, top + height + 2), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)
