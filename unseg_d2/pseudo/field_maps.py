"""Object-centric fields in files, one per image: what unMORE's networks, or others, have predicted.

Shape legend
    H, W   height and width of the image in pixels
    h, w   height and width of a map
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from unseg_d2.data.images import ImageFile
from unseg_d2.errors import UnsegError
from unseg_d2.masks.splitting import ObjectFields
from unseg_d2.pseudo.map_files import MapFiles
from unseg_d2.structures import DepthMap


class FieldFiles(MapFiles):
    """Fields in a folder: ``.npz`` with ``centre`` (2, h, w) and ``boundary`` (h, w), or ``.npy`` with three planes.

    See :class:`~unseg_d2.masks.splitting.ObjectFields` for what the numbers mean.
    """

    name = "field files"
    what = "field map"
    extensions = (".npz", ".npy")

    def __call__(self, images: Sequence[np.ndarray], files: Sequence[ImageFile]) -> list[DepthMap]:
        """Return the boundary field of each image, which is a map of distances, ``(H, W)``."""
        fields = (self.fields(image, file) for image, file in zip(images, files, strict=True))
        return [DepthMap(torch.from_numpy(found.boundary), self.kind) for found in fields]

    def fields(self, image: np.ndarray, file: ImageFile) -> ObjectFields:
        """Return the fields of an image ``(H, W, 3)`` at its own size; those of any size with its aspect ratio will do.

        Raises:
            ImageProblem: they are missing, damaged or out of range, or belong to another image.
        """
        path = self.existing_file(file)
        try:
            found = ObjectFields(*read_fields(path))
        except Exception as error:  # the readers of arrays and archives raise nearly anything on damaged files
            raise self.unreadable(path, error) from None
        height, width = found.boundary.shape
        size = (image.shape[0], image.shape[1])
        self.check_size(path, (height, width), size)
        if (height, width) == size:
            return found
        centre = np.stack([cv2.resize(plane, size[::-1], interpolation=cv2.INTER_NEAREST) for plane in found.centre])
        boundary = cv2.resize(found.boundary, size[::-1], interpolation=cv2.INTER_LINEAR)
        return ObjectFields(centre, np.clip(boundary, -1, 1))


def read_fields(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a centre field ``(2, h, w)`` and a boundary field ``(h, w)``, both float32.

    Raises:
        ValueError: the file is damaged or holds something else.
    """
    values = np.load(path, allow_pickle=False)
    if isinstance(values, np.lib.npyio.NpzFile):
        with values as archive:
            missing = {"centre", "boundary"} - set(archive.files)
            if missing:
                names = ", ".join(archive.files) or "nothing"
                raise ValueError(f"it has no {' and no '.join(sorted(missing))}, but {names}")
            centre, boundary = archive["centre"], archive["boundary"]
    else:
        if values.ndim != 3 or len(values) != 3:
            raise ValueError(f"expected the planes rows, columns and boundary (3, H, W), found {values.shape}")
        centre, boundary = values[:2], values[2]
    if not boundary.size or {centre.dtype.kind, boundary.dtype.kind} - set("uif"):
        raise ValueError(f"expected numbers, found {centre.dtype} {centre.shape} and {boundary.dtype} {boundary.shape}")
    return np.ascontiguousarray(centre, np.float32), np.ascontiguousarray(boundary, np.float32)


def build_field_files(folder: Path | None) -> FieldFiles:
    """Return the fields in a folder.

    Raises:
        UnsegError: none is named, or it is not there.
    """
    if folder is None:
        raise UnsegError(
            "MASKS.SPLIT.METHOD centre_field needs fields: name a folder of field maps with --fields, or set it to bgp."
        )
    if not folder.is_dir():
        raise UnsegError(f"There is no folder {folder}; name the one that holds the field maps with --fields.")
    return FieldFiles(folder)
