"""Crops of a batch, enlarged to the size of the whole (Two Tricks, multi-scale consistency).

Shape legend
    B      images
    H, W   height and width in pixels
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unseg_d2.saliency.settings import CropPosition

RELEASED_ROW = 1 / 4  # of the height
RELEASED_COLUMNS = (10, 29)  # patch indices that the published code takes for pixels


def draw_corners(
    count: int,
    size: tuple[int, int],
    fraction: float,
    rng: np.random.Generator,
    *,
    mode: CropPosition,
    step: int = 1,
) -> np.ndarray:
    """Draw where crops begin.

    Args:
        count: B.
        size: ``(H, W)``.
        fraction: of either side that a crop has.
        rng: what the positions are drawn from.
        mode: ``uniform`` draws both coordinates. ``released`` is what the published code comes to: the row is fixed at
            a quarter of the height, and the column lies between 10 and 29 px.
        step: positions are multiples of it in pixels, such as the side of a patch.

    Returns:
        ``(B, 2)`` int64, row and column of the upper left corner.

    Raises:
        ValueError: the fraction leaves no crop.
    """
    if not 0 < fraction <= 1 or min(size) * fraction < 1:
        raise ValueError(f"a crop must have a share of the side in (0, 1], got {fraction}")
    last = [length - round(length * fraction) for length in size]
    if mode == "uniform":
        corners = [rng.integers(0, room // step + 1, count) * step for room in last]
    else:
        columns = rng.integers(*RELEASED_COLUMNS, count, endpoint=True)
        corners = [np.full(count, round(RELEASED_ROW * size[0])), columns]
        corners = [np.minimum(starts, room) for starts, room in zip(corners, last)]
    return np.stack(corners, axis=1)


def crop_and_enlarge(maps: Tensor, corners: np.ndarray, fraction: float) -> Tensor:
    """Cut a window out of each image and bring it back to the size of the whole, bilinearly.

    Args:
        maps: ``(B, k, H, W)``.
        corners: ``(B, 2)`` from :func:`draw_corners`.
        fraction: of either side that the window has.

    Returns:
        ``(B, k, H, W)``.
    """
    height, width = (round(length * fraction) for length in maps.shape[2:])
    windows = [
        image[:, row : row + height, column : column + width] for image, (row, column) in zip(maps, corners.tolist())
    ]
    return F.interpolate(torch.stack(windows), size=maps.shape[2:], mode="bilinear", align_corners=False)
