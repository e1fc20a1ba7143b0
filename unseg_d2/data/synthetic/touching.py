"""Pictures of flat objects that touch others of the same colour, with exact instances, edges and depth.

What clustering of colours takes for one object is a row of one to three ellipses. Only weak shading shows where one
ends and the next begins; `Scene` of ``scenes.py`` has objects that stand apart.

Shape legend
    H, W   height and width of the image in pixels
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

FAR, NEAREST = 8.0, 2.0  # m, of the background and of the nearest object
APART = 0.05  # gap between two rows, in shorter sides of the image
MOST_IN_A_ROW = 3


@dataclass(frozen=True)
class TouchingScene:
    """A rendered picture.

    Attributes:
        image: ``(H, W, 3)`` uint8 RGB.
        instances: ``(H, W)`` int, 0 for the background, from 1 for the objects.
        depth: ``(H, W)`` float64 in m: each object has one of its own, the background another.
        edges: ``(H, W)`` float32, 1 on both sides of a border between two instances or to the background, else 0.
    """

    image: np.ndarray
    instances: np.ndarray
    depth: np.ndarray
    edges: np.ndarray


def touching_scene(rng: np.random.Generator, *, size: tuple[int, int], most_rows: int, shading: float) -> TouchingScene:
    """Draw one picture.

    Args:
        rng: source of everything random; the same state gives the same picture.
        size: height and width, px.
        most_rows: of touching objects; the fewest is 1.
        shading: how much the brightness of an object changes across it, in [0, 1]; 0 leaves no border between two.

    Raises:
        ValueError: no rows are asked for, or the shading is out of range.
    """
    if most_rows < 1 or not 0 <= shading <= 1:
        raise ValueError(f"need at least 1 row and a shading in [0, 1], got {most_rows} and {shading}")
    instances = np.zeros(size, dtype=np.int64)
    depth = np.full(size, FAR)
    image = _background(rng, size)
    hue = rng.random()
    for row in range(int(rng.integers(1, most_rows + 1))):
        colour = np.array(colorsys.hsv_to_rgb((hue + 0.5 + 0.37 * row) % 1, 0.8, 0.75))
        _draw_row(rng, image, instances, depth, colour, shading)
    edges = border_map(instances)
    image = cv2.GaussianBlur(image, (0, 0), 0.6) + 0.01 * rng.standard_normal(image.shape)
    return TouchingScene((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8), instances, depth, edges)


def border_map(instances: np.ndarray) -> np.ndarray:
    """Return 1 on both sides of a border between instances ``(H, W)`` int, else 0, as ``(H, W)`` float32."""
    edges = np.zeros(instances.shape, dtype=np.float32)
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        differ = instances[one] != instances[other]
        edges[one][differ] = edges[other][differ] = 1
    return edges


def _background(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Two shades of grey in soft patches, ``(H, W, 3)``."""
    coarse = rng.standard_normal((6, 8)).astype(np.float32)
    texture = cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    return np.repeat(np.clip(0.5 + 0.06 * texture, 0, 1)[..., None], 3, axis=2).astype(np.float64)


def _draw_row(
    rng: np.random.Generator,
    image: np.ndarray,
    instances: np.ndarray,
    depth: np.ndarray,
    colour: np.ndarray,
    shading: float,
) -> None:
    """Draw a row of touching ellipses where there is room; nothing where 30 tries find none."""
    height, width = instances.shape
    y, x = np.mgrid[:height, :width]
    shorter = min(height, width)
    gap = np.ones((2 * round(APART * shorter) + 1,) * 2, np.uint8)
    taken = cv2.dilate((instances > 0).astype(np.uint8), gap) > 0
    count = int(rng.integers(1, MOST_IN_A_ROW + 1))
    for _ in range(30):
        radii = shorter * rng.uniform(0.09, 0.15, 2)
        along = rng.uniform(0, np.pi)
        step = 1.5 * np.hypot(radii[1] * np.cos(along), radii[0] * np.sin(along))
        centres = np.array([rng.uniform(0.15, 0.85) * height, rng.uniform(0.15, 0.85) * width])
        centres = centres + np.arange(count)[:, None] * step * np.array([np.sin(along), np.cos(along)])
        places = [((y - cy) / radii[0]) ** 2 + ((x - cx) / radii[1]) ** 2 <= 1 for cy, cx in centres]
        inside = (centres > radii).all() and (centres < np.array([height, width]) - radii).all()
        if inside and not (np.any(places, axis=0) & taken).any():
            break
    else:
        return
    for place, (cy, cx) in zip(places, centres):  # the later one lies in front
        turn = rng.uniform(0, 2 * np.pi)
        slope = ((y - cy) / radii[0] * np.sin(turn) + (x - cx) / radii[1] * np.cos(turn))[place]
        image[place] = colour * (1 + 0.5 * shading * slope[:, None])
        instances[place] = instances.max() + 1
        depth[place] = NEAREST + (FAR - NEAREST) * rng.uniform(0, 0.8)
