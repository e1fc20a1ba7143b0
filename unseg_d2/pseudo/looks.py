"""An image as the pipeline needs it: made from a file on a CPU, before any network sees it.

Shape legend
    H, W   height and width of the image in pixels
    h, w   rows and columns of the patch grid
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unseg_d2.data.images import ImageFile
from unseg_d2.depth import GridDepth
from unseg_d2.features.registry import Resize
from unseg_d2.pseudo.geometry import NetworkInput, network_input
from unseg_d2.structures import DepthMap

USUAL_IMAGE = 2 << 20
"""Bytes that most photos of data sets stay below, 836 pixels square."""


@dataclass(frozen=True)
class Look:
    """An image, ready for the network.

    Attributes:
        size: ``(H, W)``.
        file: where it comes from.
        views: how each network of an ensemble, or the only one, sees it.
        image: ``(H, W, 3)`` uint8 RGB, or ``None`` where nothing needs it any more.
        depth: on the grid ``(h, w)`` of the first network, where depth lies in files.
    """

    size: tuple[int, int]
    file: ImageFile
    views: tuple[NetworkInput, ...]
    image: np.ndarray | None
    depth: DepthMap | None = None


@dataclass(frozen=True)
class Looking:
    """Makes a `Look`; a pure function of the image, and picklable, so that other processes can do it.

    Attributes:
        frames: patch size and side of the square, both in pixels, of each network; see `network_input`.
        resize: how images are brought to multiples of the patch.
        keeps_image: whether a later step needs the image at its own size.
        depth: depth that lies in files; ``None`` where there is none, or a network predicts it.
    """

    frames: Sequence[tuple[int, int]]
    resize: Resize
    keeps_image: bool
    depth: GridDepth | None = None

    def __call__(self, image: np.ndarray, file: ImageFile) -> Look:
        """Look at an image.

        Args:
            image: ``(H, W, 3)`` uint8 RGB.
            file: where it comes from.

        Raises:
            ImageProblem: it has no usable depth.
        """
        views = tuple(network_input(image, patch_size, self.resize, side) for patch_size, side in self.frames)
        depth = None
        if self.depth is not None:
            patch_size, shape = self.frames[0][0], views[0].image.shape
            grid = (shape[0] // patch_size, shape[1] // patch_size)
            (depth,) = self.depth([image], [file], grid, views[0].shown_share)
        height, width = image.shape[:2]
        return Look((height, width), file, views, image if self.keeps_image else None, depth)

    @property
    def usual_bytes(self) -> int:
        """Size of what most looks hold."""
        if self.resize != "square":
            return USUAL_IMAGE * (len(self.frames) + self.keeps_image)
        sides = [max(1, round(side / patch_size)) * patch_size for patch_size, side in self.frames]
        return 3 * sum(side * side for side in sides) + USUAL_IMAGE * self.keeps_image
