"""Where the edges of an image come from when masks are split: files, the steps of its depth, or the image itself.

Shape legend
    H, W   height and width of the image in pixels
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import torch
from fvcore.common.config import CfgNode

from unseg_d2.data.images import ImageFile, ImageProblem
from unseg_d2.data.pictures.stored import read_numbers
from unseg_d2.depth import GridDepth, build_depth
from unseg_d2.depth.files import EXTENSIONS, read_depth
from unseg_d2.errors import UnsegError
from unseg_d2.masks.splitting import SplitSettings, canny_edges, depth_edges
from unseg_d2.settings import own_settings
from unseg_d2.structures import DepthKind, DepthMap

MOST_STRETCH = 1.05  # an edge map whose aspect ratio differs by more than this factor belongs to another image

READ_BY = {"step": "depth", "canny_low": "canny", "canny_high": "canny"}
"""Setting of ``MASKS.SPLIT`` to the source of edges that reads it, where only one does."""

logger = logging.getLogger(__name__)


class EdgeFiles:
    """Edge maps in a folder, one per image and named like it; to label sets they are what depth files are.

    Args:
        root: folder of ``NAME.npy``, ``.npz`` or ``.png``: numbers in [0, 1], or grey levels of 8 or 16 bits.
    """

    name = "edge files"
    predicts = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.kind: DepthKind = "relative"  # to the manifest, which records edges in the place of depth

    def __call__(self, images: Sequence[np.ndarray], files: Sequence[ImageFile]) -> list[DepthMap]:
        """Read the edges of each image, ``(H, W)`` float32 in [0, 1], of any size with its aspect ratio.

        Raises:
            ImageProblem: they are missing, damaged or out of range, or belong to another image.
        """
        return [
            DepthMap(torch.from_numpy(self._read(file, (image.shape[0], image.shape[1]))), self.kind)
            for image, file in zip(images, files, strict=True)
        ]

    def file(self, image: ImageFile) -> Path | None:
        """Return the file with the edges of an image, ``None`` where there is none."""
        stem = self._stem(image)
        paths = (stem.with_name(stem.name + extension) for extension in EXTENSIONS)
        return next((path for path in paths if path.is_file()), None)

    def _stem(self, image: ImageFile) -> Path:
        relative = PurePosixPath(image.file_name)
        return self.root / relative.parent / relative.stem

    def _read(self, file: ImageFile, size: tuple[int, int]) -> np.ndarray:
        path = self.file(file)
        if path is None:
            raise ImageProblem(f"it has no edge map: there is no {self._stem(file)}{{{','.join(EXTENSIONS)}}}")
        try:
            edges = read_depth(path)
            if path.suffix == ".png":
                edges /= np.iinfo(read_numbers(path).dtype).max
        except Exception as error:  # the readers of arrays and archives raise nearly anything on damaged files
            if isinstance(error, MemoryError) and path.suffix == ".png":  # arrays may state sizes that cannot be
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ImageProblem(f"the edge map {path} cannot be read: {reason}") from None
        if not (edges.min() >= 0 and edges.max() <= 1):  # NaN fails both
            raise ImageProblem(f"the edge map {path} has values outside of [0, 1]")
        stretch = (edges.shape[0] / edges.shape[1]) / (size[0] / size[1])
        slack = MOST_STRETCH * (1 + 1 / min(edges.shape))  # sides are whole numbers
        if not 1 / slack <= stretch <= slack:
            raise ImageProblem(
                f"the edge map {path} has {edges.shape[1]}x{edges.shape[0]} pixels, another aspect ratio than the "
                f"image's {size[1]}x{size[0]}"
            )
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
        if values.shape == size:
            return values
        return np.clip(cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_LINEAR), 0, 1)


def build_edge_maps(cfg: CfgNode, folder: Path | None) -> EdgeMaps:
    """Return the source of edges that ``cfg.MASKS.SPLIT`` describes.

    Args:
        cfg: whole configuration; with ``MASKS.SPLIT.EDGES depth`` its ``DEPTH`` says where depth comes from.
        folder: of the edge maps, for ``files`` and for nothing else.

    Raises:
        UnsegError: the folder or the source of depth is missing, or one is named that has no effect.
    """
    settings = SplitSettings.from_config(cfg)
    _say_what_is_idle(cfg, settings)
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


def _say_what_is_idle(cfg: CfgNode, settings: SplitSettings) -> None:
    """Name the settings that somebody has changed and this source of edges does not read."""
    known = own_settings(SplitSettings)
    idle = {
        f"MASKS.SPLIT.{name.upper()}": getattr(settings, name)
        for name, reader in READ_BY.items()
        if settings.edges != reader and getattr(settings, name) != known[name].default
    }
    if settings.edges != "depth" and cfg.DEPTH.SOURCE.lower() != "none":
        idle["DEPTH.SOURCE"] = cfg.DEPTH.SOURCE
    for key, value in idle.items():
        logger.info("%s is %r, which has no effect with MASKS.SPLIT.EDGES %s.", key, value, settings.edges)
