"""From an image to the input of the network, and from masks back to the image.

Shape legend
    H, W     height and width of the image in pixels
    H', W'   height and width of the network's input, multiples of the patch size
    h, w     rows and columns of the patch grid, ``H' / patch_size`` and ``W' / patch_size``
    n        masks
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from unseg_d2.features.registry import Resize
from unseg_d2.pixels import IMAGENET_MEAN

PADDING_COLOUR = tuple(255 * value for value in IMAGENET_MEAN)
"""Colour that the normalisation of all our transformers maps to 0, RGB in [0, 255]."""


@dataclass(frozen=True)
class NetworkInput:
    """An image as a feature backend gets it.

    Attributes:
        image: ``(H', W', 3)`` RGB, uint8; float32 in [0, 255] where it is padded.
        size: ``(H, W)`` of the original image.
        shown: height and width of the part, at the top left, that shows the image; less than ``(H', W')`` only where
            the image is padded.
    """

    image: np.ndarray
    size: tuple[int, int]
    shown: tuple[int, int]

    @property
    def shown_share(self) -> tuple[float, float]:
        """Share of the rows and of the columns that shows the image."""
        return self.shown[0] / self.image.shape[0], self.shown[1] / self.image.shape[1]

    @property
    def rounded(self) -> np.ndarray:
        """The same pixels in whole numbers, ``(H', W', 3)`` uint8: those of the image are, padding is rounded."""
        return self.image if self.image.dtype == np.uint8 else np.rint(self.image).astype(np.uint8)

    def to_image(self, masks: np.ndarray) -> np.ndarray:
        """Return masks at the size of the original image, by the nearest neighbour.

        Args:
            masks: ``(n, k, l)`` of any type, which cover the whole input: masks on the patch grid, or on its pixels.

        Returns:
            ``(n, H, W)`` of the same type.
        """
        rows, columns = self.sources(masks.shape[1:])
        return masks[:, rows[:, None], columns]

    def sources(self, grid: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return which row and column of a mask on a grid ``(k, l)`` each row and column of the image shows."""
        rows, columns = (
            self._source(length, total, shown, original)
            for length, total, shown, original in zip(grid, self.image.shape[:2], self.shown, self.size)
        )
        return rows, columns

    def boxes(self, masks: np.ndarray) -> np.ndarray:
        """Return the boxes of masks in pixels of the original image, not rounded.

        Args:
            masks: ``(n, k, l)`` bool, none of them empty, which cover the whole input.

        Returns:
            ``(n, 4)`` float64 ``x1, y1, x2, y2``: the outer edges of the outermost cells, clipped to the image.
        """
        sides = []
        for axis in (1, 0):  # x runs over columns
            occupied = np.any(masks, axis=1 + (1 - axis))
            cell = self.image.shape[axis] / occupied.shape[1] * self.size[axis] / self.shown[axis]
            first = occupied.argmax(1)
            last = occupied.shape[1] - occupied[:, ::-1].argmax(1)
            sides.append([np.minimum(edge * cell, self.size[axis]) for edge in (first, last)])
        (left, right), (top, bottom) = sides
        return np.stack([left, top, right, bottom], axis=1)

    @staticmethod
    def _source(length: int, total: int, shown: int, original: int) -> np.ndarray:
        """Index of the mask's cell for each of ``original`` pixels along an axis; integers, so that nothing rounds."""
        return np.arange(original) * shown * length // (original * total)


def network_input(image: np.ndarray, patch_size: int, resize: Resize, side: int) -> NetworkInput:
    """Bring an image to a size that is a multiple of the patch.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        patch_size: side of a patch in pixels.
        resize: ``square`` stretches to a square with Lanczos' filter (MaskCut, CutLER). ``nearest_multiple`` stretches
            to the nearest multiple of the patch along each side (TokenCut's saliency; Python's rounding, half to even).
            ``pad`` keeps the size and pads at the right and bottom (TokenCut's and LOST's detection) with the colour
            that is 0 after normalisation, which is not a level of uint8.
        side: wanted side of the square, which is rounded to the nearest multiple of the patch; only ``square`` uses it.
    """
    height, width = image.shape[:2]
    if resize == "pad":
        rows, columns = (-(-length // patch_size) * patch_size for length in (height, width))
        if (rows, columns) == (height, width):
            return NetworkInput(image, (height, width), (height, width))
        padded = np.empty((rows, columns, 3), dtype=np.float32)
        padded[:] = PADDING_COLOUR
        padded[:height, :width] = image
        return NetworkInput(padded, (height, width), (height, width))
    wanted = (side, side) if resize == "square" else (height, width)
    rows, columns = (max(1, round(length / patch_size)) * patch_size for length in wanted)
    resized = image
    if (rows, columns) != (height, width):
        resized = np.array(Image.fromarray(image).resize((columns, rows), Image.Resampling.LANCZOS))
    return NetworkInput(resized, (height, width), (rows, columns))
