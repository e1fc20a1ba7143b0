"""Tiny images and label files that several tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (6, 8)


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def picture(level: int = 0) -> np.ndarray:
    return np.full((*SIZE, 3), level, dtype=np.uint8)


def numbers(values: list[int]) -> np.ndarray:
    """A label map that begins with given numbers and goes on with 255."""
    labels = np.full(SIZE, 255, dtype=np.uint8)
    labels.flat[: len(values)] = values
    return labels
