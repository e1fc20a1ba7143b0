"""Where the edges of an image come from when masks are split: files, the steps of its depth, or the image itself.

Shape legend
    H, W   height and width of the image in pixels
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from fvcore.common.config import CfgNode

from unseg_d2.data.images import ImageFile, ImageProblem
from unseg_d2.data.pictures.stored import read_numbers
from unseg_d2.depth import GridDepth, build_depth
from unseg_d2.depth.files import EXTENSIONS, is_png, read_depth
from unseg_d2.errors import UnsegError
from unseg_d2.masks.splitting import SplitSettings, canny_edges, depth_edges
from unseg_d2.pseudo.map_files import MapFiles
from unseg_d2.structures import DepthMap

DARKEST = 1.5  # grey levels below which a picture seems to hold 0 for nothing and 1 for an edge


class EdgeFiles(MapFiles):
    """Edge maps in a folder: ``.npy``, ``.npz`` or ``.png``, numbers in [0, 1], or grey levels of 8 or 16 bits."""

    name = "edge files"
    what = "edge map"
    extensions = EXTENSIONS

    def __call__(self, images: Sequence[np.ndarray], files: Sequence[ImageFile]) -> list[DepthMap]:
        """Read the edges of each image, ``(H, W)`` float32 in [0, 1], of any size with its aspect ratio.

        Raises:
            ImageProblem: they are missing, damaged or out of range, or belong to another image.
        """
        return [
            DepthMap(torch.from_numpy(self._read(file, (image.shape[0], image.shape[1]))), self.kind)
            for image, file in zip(images, files, strict=True)
        ]

    def _read(self, file: ImageFile, size: tuple[int, int]) -> np.ndarray:
        path, white = self.existing_file(file), 1
        try:
            edges = read_depth(path)
            if is_png(path):
                edges /= (white := np.iinfo(read_numbers(path).dtype).max)
        except Exception as error:  # the readers of arrays and archives raise nearly anything on damaged files
            if isinstance(error, MemoryError) and is_png(path):  # arrays may state sizes that cannot be
                raise
            raise self.unreadable(path, error) from None
        if not (edges.min() >= 0 and edges.max() <= 1):  # NaN fails both
            raise ImageProblem(f"the edge map {path} has values outside of [0, 1]")
        if white > 1 and 0 < edges.max() * white < DARKEST:
            raise ImageProblem(
                f"the edge map {path} has no grey level above 1 of {white}; white is an edge of strength 1"
            )
        self.check_size(path, (edges.shape[0], edges.shape[1]), size)
        return edges


@dataclass(frozen=True)
class EdgeMaps:
    """The edges of images at their own size.

    Attributes:
        source: files or depth; ``None`` takes the contours of the image.
        settings: where edges come from, and what is one.
    """

    source: GridDepth | None
    settings: SplitSettings

    def __call__(self, images: Sequence[np.ndarray], files: Sequence[ImageFile]) -> list[np.ndarray]:
        """Return ``(H, W)`` float32 in [0, 1] for each image ``(H, W, 3)`` uint8 RGB.

        Raises:
            ImageProblem: the edges or the depth of an image are missing or cannot be used.
        """
        return [self._of(image, file) for image, file in zip(images, files, strict=True)]

    def _of(self, image: np.ndarray, file: ImageFile) -> np.ndarray:
        size = (image.shape[0], image.shape[1])
        if self.source is None:
            return canny_edges(image, self.settings.canny_low, self.settings.canny_high)
        if self.settings.edges == "depth":
            (depth,) = self.source([image], [file], size)
            return depth_edges(depth.depth.numpy(), depth.kind, self.settings.step)
        (edges,) = self.source.source([image], [file])
        values = edges.depth.numpy()
        return resized_edges(values, size)


def build_edge_maps(cfg: CfgNode, folder: Path | None) -> EdgeMaps:
    """Return the source of edges that ``cfg.MASKS.SPLIT`` describes.

    Args:
        cfg: whole configuration; with ``MASKS.SPLIT.EDGES depth`` its ``DEPTH`` says where depth comes from.
        folder: of the edge maps, for ``files`` and for nothing else.

    Raises:
        UnsegError: the folder or the source of depth is missing, or one is named that has no effect.
    """
    settings = SplitSettings.from_config(cfg)
    if folder is not None and settings.edges != "files":
        raise UnsegError(f"--edges has no effect with MASKS.SPLIT.EDGES {settings.edges}; leave one of them out.")
    if settings.edges == "canny":
        return EdgeMaps(None, settings)
    if settings.edges == "depth":
        source = build_depth(cfg)
        if source is None:
            raise UnsegError("Edges of depth need depth: set DEPTH.SOURCE to files, synthetic, hub or marigold.")
        return EdgeMaps(GridDepth(source, Path(cfg.DEPTH.CACHE) if cfg.DEPTH.CACHE else None), settings)
    if folder is None:
        raise UnsegError(
            "Splitting needs edges: name a folder of edge maps with --edges, or set MASKS.SPLIT.EDGES to depth or "
            "canny."
        )
    if not folder.is_dir():
        raise UnsegError(f"There is no folder {folder}; name the one that holds the edge maps with --edges.")
    return EdgeMaps(GridDepth(EdgeFiles(folder)), settings)


def resized_edges(edges: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring edges to the size of their image, so that no line gets lost between the pixels.

    Args:
        edges: ``(h, w)`` float32 in [0, 1].
        size: H and W.

    Returns:
        ``(H, W)`` in [0, 1], bilinear; where the map is larger than the image, lines are made thicker before.
    """
    if edges.shape == size:
        return edges
    reach = tuple(max(0, math.ceil(length / wanted) - 1) for length, wanted in zip(edges.shape, size))
    thick = cv2.dilate(edges, np.ones((2 * reach[0] + 1, 2 * reach[1] + 1), np.uint8)) if any(reach) else edges
    return np.clip(cv2.resize(thick, (size[1], size[0]), interpolation=cv2.INTER_LINEAR), 0, 1)
