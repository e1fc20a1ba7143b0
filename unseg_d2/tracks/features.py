"""The features of the masks of a video, frame by frame, by the backend that a recipe names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.data.images import ImageProblem, Reading, read_image
from unseg_d2.data.settings import InputSettings
from unseg_d2.errors import UnsegError
from unseg_d2.features import FeatureBackend, single_backend
from unseg_d2.features.registry import Resize
from unseg_d2.pseudo.geometry import network_input
from unseg_d2.rle import decode_masks
from unseg_d2.tracks.pooled import pooled_features


@dataclass(frozen=True)
class MaskFeatures:
    """Describes masks by the patches that they cover.

    Attributes:
        backend: describes images.
        image_size: wanted side of the square that images are stretched to, px; see `network_input`.
        resize: how images are brought to multiples of the patch.
        batch_size: frames that are described together.
        reading: how images are read.
    """

    backend: FeatureBackend
    image_size: int
    resize: Resize
    batch_size: int
    reading: Reading

    @classmethod
    def from_config(cls, cfg: CfgNode) -> MaskFeatures:
        """Return what ``cfg.FEATURES`` describes.

        Raises:
            UnsegError: it is an ensemble, its weights are missing, or a name is unknown.
        """
        backend, _ = single_backend(cfg)
        reading = InputSettings.from_config(cfg).reading
        return cls(backend, cfg.FEATURES.IMAGE_SIZE, cfg.FEATURES.RESIZE, cfg.FEATURES.BATCH_SIZE, reading)

    def __call__(
        self, paths: Sequence[Path], masks: Sequence[Sequence[dict[str, Any]]], size: tuple[int, int]
    ) -> Iterator[np.ndarray]:
        """Yield the features of the masks of each frame, ``(n, C)``; ``(0, 0)`` where there are none.

        A frame without masks is not read, and the network does not see it.

        Args:
            paths: of the frames.
            masks: RLE or polygons of each frame, n of them.
            size: height and width of the frames, px.

        Raises:
            UnsegError: a frame with masks cannot be read, or has another size than they.
        """
        described = self._described([(path, found) for path, found in zip(paths, masks, strict=True) if found], size)
        for found in masks:
            yield next(described) if found else np.zeros((0, 0), np.float32)

    def _described(
        self, frames: Sequence[tuple[Path, Sequence[dict[str, Any]]]], size: tuple[int, int]
    ) -> Iterator[np.ndarray]:
        """Yield the features of frames that all have masks, ``(n, C)``; a batch is read when its first is asked for."""
        for start in range(0, len(frames), self.batch_size):
            batch = frames[start : start + self.batch_size]
            views = [
                network_input(self._read(path, size), self.backend.patch_size, self.resize, self.image_size)
                for path, _ in batch
            ]
            for view, (_, masks), found in zip(views, batch, self.backend([view.image for view in views]), strict=True):
                tokens = found.tokens.float().cpu().numpy()
                yield pooled_features(tokens, decode_masks(masks, *size), view.shown_share)

    def _read(self, path: Path, size: tuple[int, int]) -> np.ndarray:
        try:
            image = read_image(path, self.reading)
        except ImageProblem as problem:
            raise UnsegError(
                f"The frame {path} cannot be used: {problem}; put it there, or set TRACKS.APPEARANCE 0, which reads no "
                "image."
            ) from None
        if image.shape[:2] != size:
            raise UnsegError(
                f"The frame {path} has {image.shape[0]}x{image.shape[1]} px, but its masks {size[0]}x{size[1]}; name "
                "the folder of the images that the masks were made of."
            )
        return image
