"""Depth from files: sensor readings, the output of another program, the exact depth of synthetic scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

import numpy as np
import torch
from fvcore.common.config import CfgNode

from unseg_d2.data.beside import file_beside
from unseg_d2.data.images import ImageFile, ImageProblem
from unseg_d2.data.pictures.stored import read_numbers
from unseg_d2.depth.registry import DEPTH_SOURCES
from unseg_d2.errors import UnsegError
from unseg_d2.settings import Settings, setting
from unseg_d2.structures import DepthKind, DepthMap

Zero = Literal["hole", "far"]

EXTENSIONS = (".npy", ".npz", ".png")
BEYOND = 1.1  # "far" is this many times farther than the farthest reading
BESIDE = "depth"  # folder next to that of the images, which is searched by default


@dataclass(frozen=True)
class FilesDepthSettings(Settings):
    """Where the files are, and how they are read."""

    root: str = setting(
        "", "folder of .npy, .npz or .png files named like the images; empty is 'depth' next to their folder"
    )
    scale: float = setting(1.0, "factor to metres: 0.001 for millimetres, 1 / 256 for KITTI", above=0)
    zero: Zero = setting(
        "hole",
        "meaning of 0 in metric files: hole (no reading) | far (beyond the range, such as the sky)",
        choices=get_args(Zero),
    )
    suffix: str = setting("", "text between the image's name and the extension, such as _zoedepth")


@DEPTH_SOURCES.register("files", settings=FilesDepthSettings)
class FilesDepth:
    """Depth from files on disk, one per image and named like it: ``.npy``, ``.npz`` or ``.png``.

    An image with two such files is refused: nothing tells which of them is its depth.

    Args:
        kind: what the numbers mean.
        settings: see :class:`FilesDepthSettings`; ``None`` takes the defaults.
        name: goes into the ``info`` of label sets.

    Raises:
        UnsegError: there is no such folder.
    """

    predicts = False

    def __init__(self, kind: DepthKind, settings: FilesDepthSettings | None = None, *, name: str = "files") -> None:
        settings = settings or FilesDepthSettings()
        if settings.root and not Path(settings.root).is_dir():
            raise UnsegError(
                f"There is no folder {settings.root}; set DEPTH.FILES.ROOT to the folder with the depth files."
            )
        self.kind = kind
        self.settings = settings
        self.name = name

    @classmethod
    def from_config(cls, cfg: CfgNode) -> FilesDepth:
        """Return the source of ``cfg.DEPTH.FILES``; the kind must be declared, because files do not state it."""
        if not cfg.DEPTH.KIND:
            raise UnsegError(
                "Depth files do not say what their numbers mean: set DEPTH.KIND to metric (metres), relative (far is "
                "large) or inverse (near is large, as MiDaS and Depth Anything give it)."
            )
        return cls(cfg.DEPTH.KIND, FilesDepthSettings.from_config(cfg))

    def __call__(self, images: Sequence[np.ndarray], files: Sequence[ImageFile]) -> list[DepthMap]:
        """Read the depth of each image."""
        return [DepthMap(torch.from_numpy(self._read(file)), self.kind) for file in files]

    def _read(self, file: ImageFile) -> np.ndarray:
        path = self.file(file)
        if path is None:
            raise ImageProblem(f"it has no depth file: there is no {self._stem(file)}{{{','.join(EXTENSIONS)}}}")
        try:
            depth = read_depth(path) * np.float32(self.settings.scale)
        except Exception as error:  # the readers of arrays and archives raise nearly anything on damaged files
            if isinstance(error, MemoryError) and is_png(path):  # arrays may state sizes that cannot be
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ImageProblem(f"the depth file {path} cannot be read: {reason}") from None
        if self.kind == "metric" and self.settings.zero == "far":
            depth[depth == 0] = BEYOND * depth.max()
        return depth

    def file(self, image: ImageFile) -> Path | None:
        """Return the file with the depth of an image, ``None`` where there is none.

        Raises:
            ImageProblem: there are several.
        """
        return file_beside(self._stem(image), EXTENSIONS, "depth file")

    def _stem(self, image: ImageFile) -> Path:
        relative = PurePosixPath(image.file_name)
        root = Path(self.settings.root) if self.settings.root else _image_root(image).parent / BESIDE
        return root / relative.parent / (relative.stem + self.settings.suffix)


@DEPTH_SOURCES.register("synthetic")
class SyntheticDepth(FilesDepth):
    """The exact depth of the scenes of :mod:`unseg_d2.data.synthetic`: 16-bit millimetres next to the images."""

    supervision = ("none",)  # rendered with the scenes, no network

    def __init__(self) -> None:
        super().__init__("metric", FilesDepthSettings(scale=0.001, zero="far"), name="synthetic")

    @classmethod
    def from_config(cls, cfg: CfgNode) -> SyntheticDepth:
        """Return the source; nothing can be set."""
        return cls()


def read_depth(path: Path) -> np.ndarray:
    """Read a map of numbers as it is stored.

    Args:
        path: ``.npy``; ``.npz``, its entry ``depth`` or the only one; ``.png`` with 8 or 16 bit, of which a colour one
            must have equal channels.

    Returns:
        ``(H, W)`` float32; singleton axes in front or at the end are removed.

    Raises:
        ValueError: the file is damaged or holds something else.
    """
    if is_png(path):
        try:
            values = read_numbers(path)
        except ImageProblem as problem:
            raise ValueError(str(problem)) from None
        if (values == values[..., :1]).all():
            values = values[..., 0]
    else:
        values = np.load(path, allow_pickle=False)
        if isinstance(values, np.lib.npyio.NpzFile):
            with values as archive:
                if "depth" not in archive.files and len(archive.files) != 1:
                    raise ValueError(f"it has no entry 'depth', but {', '.join(archive.files) or 'nothing'}")
                values = archive["depth" if "depth" in archive.files else archive.files[0]]
        while values.ndim > 2 and 1 in (values.shape[0], values.shape[-1]):
            values = values[0] if values.shape[0] == 1 else values[..., 0]
    if values.ndim != 2 or not values.size or values.dtype.kind not in "uif":
        raise ValueError(f"expected numbers (H, W), found {values.shape} {values.dtype}")
    return np.ascontiguousarray(values, dtype=np.float32)


def is_png(path: Path) -> bool:
    """Whether a file is a picture by its name; the others are arrays."""
    return path.suffix.lower() == ".png"


def _image_root(file: ImageFile) -> Path:
    """Folder that the file name is relative to."""
    return file.path.parents[len(PurePosixPath(file.file_name).parts) - 1]
