"""Depth on the patch grid: checked, without holes, and kept on disk where it is expensive.

Shape legend
    H, W   height and width of a depth map in pixels
    h, w   rows and columns of the patch grid
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from unseg_d2.data.images import ImageFile, ImageProblem
from unseg_d2.depth.registry import DepthSource, FileSource
from unseg_d2.files import atomic_write
from unseg_d2.plugin_code import code_of
from unseg_d2.structures import DepthMap

MOST_STRETCH = 1.05  # a depth map whose aspect ratio differs by more than this factor belongs to another image
FEWEST_READINGS = 0.02  # share of pixels that a sensor must have read; projected LiDAR has a twentieth


@dataclass(frozen=True)
class GridDepth:
    """A depth source seen through the patch grid.

    Attributes:
        source: where depth comes from.
        cache: folder that keeps what a model predicted, at patch resolution; ``None`` keeps nothing. Entries are keyed
            by the pixels of the image, so files may be renamed or changed, and by the code of a plug-in.
    """

    source: DepthSource
    cache: Path | None = None

    def __call__(
        self,
        images: Sequence[np.ndarray],
        files: Sequence[ImageFile],
        grid: tuple[int, int],
        shown: tuple[float, float] = (1.0, 1.0),
    ) -> list[DepthMap]:
        """Return the depth of each image on a grid of ``(h, w)`` patches.

        Args:
            images: ``(H, W, 3)`` uint8 RGB each.
            files: where they come from.
            grid: rows and columns.
            shown: share of the grid, from the top left, that shows the image; less than 1 where it is padded.

        Raises:
            ImageProblem: the depth of an image is missing, belongs to another image, is flat, or is not finite.
        """
        paths = [self._path(image, grid, shown) for image in images]
        found: dict[int, DepthMap] = {}
        for index, path in enumerate(paths):
            kept = self._load(path) if path is not None and path.is_file() else None
            if kept is not None:
                found[index] = kept
        missing = [index for index in range(len(images)) if index not in found]
        if missing:
            maps = self.source([images[index] for index in missing], [files[index] for index in missing])
            for index, depth in zip(missing, maps, strict=True):
                height, width = images[index].shape[:2]
                found[index] = to_grid(depth, (height, width), grid, shown)
                self._save(paths[index], found[index])
        return [found[index] for index in range(len(images))]

    @functools.cached_property
    def identity(self) -> dict[str, str]:
        """What results depend on: the name of the source, the kind of its numbers, the checksum of a model's files."""
        checksum = getattr(self.source, "checksum", "")
        return {"name": self.source.name, "kind": self.source.kind} | ({"checksum": checksum} if checksum else {})

    @property
    def reads_files(self) -> bool:
        """Whether the depth of an image lies in a file of its own."""
        return isinstance(self.source, FileSource)

    def file(self, image: ImageFile) -> Path | None:
        """Return the file with the depth of an image, ``None`` where there is none; see :class:`FileSource`."""
        return self.source.file(image) if isinstance(self.source, FileSource) else None

    @functools.cached_property
    def _model(self) -> tuple[str, ...]:
        return tuple(value for key, value in self.identity.items() if key != "kind")

    @functools.cached_property
    def _outside(self) -> tuple[str, ...]:
        """The sha256 of the code of a plug-in's source; empty for the sources of this package."""
        return tuple(code_of([type(self.source).__module__]).values())

    def _path(self, image: np.ndarray, grid: tuple[int, int], shown: tuple[float, float]) -> Path | None:
        if self.cache is None or not self.source.predicts:
            return None
        described = repr((image.shape, *self._model, shown, *self._outside)).encode()
        key = hashlib.sha256(np.ascontiguousarray(image).tobytes() + described)
        name = f"{key.hexdigest()}_{grid[0]}x{grid[1]}.npy"
        return self.cache / self.source.name.replace("/", "_") / name[:2] / name

    def _load(self, path: Path) -> DepthMap | None:
        try:
            return DepthMap(torch.from_numpy(np.load(path, allow_pickle=False)), self.source.kind)
        except Exception:  # cut short by a full disk or by hand: predict it again
            return None

    @staticmethod
    def _save(path: Path | None, depth: DepthMap) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                np.save(file, depth.depth.numpy())


def to_grid(
    depth: DepthMap, image_size: tuple[int, int], grid: tuple[int, int], shown: tuple[float, float] = (1.0, 1.0)
) -> DepthMap:
    """Sample a depth map at the centres of the patches of its image.

    Points, not means: a mean over a patch that lies on a border would invent a depth half way between an object and
    what is behind it, and so a bridge between the two. Pixels without a reading (0 in metric depth) take the depth of
    the nearest one that has it.

    Args:
        depth: ``(H, W)``, of any size with the aspect ratio of the image.
        image_size: height and width of the image.
        grid: rows and columns ``(h, w)``.
        shown: share of the grid that shows the image; patches beyond it take the depth of its edge.

    Returns:
        ``(h, w)`` float32 of the same kind, finite.

    Raises:
        ImageProblem: the map has another aspect ratio than the image, values that are not finite, hardly any readings,
            negative distances, or the same depth everywhere.
    """
    values = depth.depth.numpy()
    _check(values, depth.kind, image_size)
    if depth.kind == "metric" and (values == 0).any():
        rows, columns = ndimage.distance_transform_edt(values == 0, return_distances=False, return_indices=True)
        values = values[rows, columns]
    rows, columns = (
        ((np.arange(n) + 0.5) / (n * share) * size).astype(int).clip(max=size - 1)
        for n, share, size in zip(grid, shown, values.shape)
    )
    return DepthMap(_as_tensor(values[rows[:, None], columns]), depth.kind)


def _check(values: np.ndarray, kind: str, image_size: tuple[int, int]) -> None:
    height, width = values.shape
    stretch = (height / width) / (image_size[0] / image_size[1])
    slack = 1 + 1 / min(height, width)  # sides are whole numbers
    if not 1 / (MOST_STRETCH * slack) <= stretch <= MOST_STRETCH * slack:
        size = f"{image_size[1]}x{image_size[0]}"
        raise ImageProblem(f"its depth has {width}x{height} pixels, another aspect ratio than the image's {size}")
    broken = 1 - np.isfinite(values).mean()
    if broken:
        raise ImageProblem(f"{100 * broken:.2g} % of its depth is NaN or infinite")
    if kind == "metric":
        if values.min() < 0:
            raise ImageProblem("its depth is negative in places, so it is not metric; check DEPTH.KIND")
        readings = np.count_nonzero(values) / values.size
        if readings < FEWEST_READINGS:
            raise ImageProblem(f"only {100 * readings:.2g} % of its pixels have a depth")
        values = values[values > 0]
    if values.min() == values.max():
        raise ImageProblem(f"its depth is {values.flat[0]:g} everywhere")


def _as_tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
