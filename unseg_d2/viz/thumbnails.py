"""Images and masks made small enough that thousands fit into one page.

Shape legend
    H, W   height and width of the original image in pixels
"""

from __future__ import annotations

import base64
import math

import cv2
import numpy as np

UNITS = 512
"""Outlines are drawn on a grid whose long side has this many units, whatever the size of the image."""


def canvas_size(height: int, width: int) -> tuple[int, int]:
    """Return the height and width in units of the grid on which an image's outlines are drawn.

    >>> canvas_size(480, 640)
    (384, 512)
    """
    scale = UNITS / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def thumbnail(image: np.ndarray, *, side: int = 256, quality: int = 75) -> str:
    """Return an image as base64 of a small JPEG.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        side: longest side of the thumbnail in pixels; smaller images keep their size.
        quality: of the JPEG, 1 to 100.
    """
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return base64.b64encode(encoded.tobytes()).decode("ascii")


def mask_path(mask: np.ndarray, *, tolerance: float = 0.8) -> str:
    """Return the outline of a mask as SVG path data, to be filled by the even-odd rule.

    Args:
        mask: ``(H, W)`` bool.
        tolerance: largest distance of the simplified outline from the exact one, in units.

    Returns:
        Closed outlines, holes included, in whole units of `canvas_size`; empty for an empty mask.
    """
    height, width = mask.shape
    scale = np.array(canvas_size(height, width)[::-1]) / (width, height)
    binary = mask.astype(np.uint8)
    left, top, columns, rows = cv2.boundingRect(binary)  # small masks of large images are many
    part = np.ascontiguousarray(binary[top : top + rows, left : left + columns])
    # A contour runs through the centres of its pixels, half a pixel inside the mask; on a coarse image that shows.
    zoom = max(1, math.ceil(2 * scale.max())) if scale.max() > 1 else 1
    part = part.repeat(zoom, axis=0).repeat(zoom, axis=1)
    contours = cv2.findContours(part, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0] if part.size else ()
    outlines = []
    for contour in contours:
        points = (((contour[:, 0] + 0.5) / zoom + (left, top)) * scale).astype(np.float32)
        simplified = cv2.approxPolyDP(points[:, None], tolerance, closed=True)[:, 0]
        outlines.append(np.rint(simplified).astype(int))
    visible = [outline for outline in outlines if np.ptp(outline, axis=0).max() >= 2]
    return "".join(_outline_path(outline) for outline in visible or outlines)


def box_path(box: list[float], height: int, width: int) -> str:
    """Return a box as SVG path data, for instances that have no mask.

    Args:
        box: x, y, width and height in pixels of the original image.
        height: H of the image.
        width: W of the image.

    >>> box_path([320, 0, 320, 480], 480, 640)
    'M256 0h256v384h-256z'
    """
    rows, columns = canvas_size(height, width)
    left, right = (round(value * columns / width) for value in (box[0], box[0] + box[2]))
    top, bottom = (round(value * rows / height) for value in (box[1], box[1] + box[3]))
    return f"M{left} {top}h{right - left}v{bottom - top}h{left - right}z"


def _outline_path(points: np.ndarray) -> str:
    """One closed outline: an absolute start, then steps."""
    steps = np.diff(points, axis=0)
    steps = steps[(steps != 0).any(axis=1)]
    text = "".join(f"{dx if dx < 0 else f' {dx}'}{dy if dy < 0 else f' {dy}'}" for dx, dy in steps)
    return f"M{points[0, 0]} {points[0, 1]}l{text.lstrip() or '0 0'}z"
