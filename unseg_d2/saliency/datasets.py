"""Data sets of images with a mask of what is salient: folders of images and folders of masks.

A data set is a name of :data:`SALIENCY_DATASETS`, ``images::masks``, a folder that holds a folder of images and one of
masks, or, for training, any folder of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unseg_d2.data.beside import by_name
from unseg_d2.data.builtin import SALIENCY_DATASETS, datasets_root
from unseg_d2.data.images import ImageFile, ImageProblem, list_images, read_image
from unseg_d2.data.pictures.reading import DEFAULT_READING, Reading
from unseg_d2.data.pictures.stored import read_grey
from unseg_d2.data.spec import split_spec
from unseg_d2.errors import UnsegError, nearest
from unseg_d2.storage.access import is_folder
from unseg_d2.storage.addresses import to_path

IMAGE_FOLDERS = ("images", "image", "img", "imgs", "*-image")
MASK_FOLDERS = ("masks", "mask", "gt", "ground_truth_mask", "*-mask", "pixelwisegt*")
"""Names, in any case, that the two folders of a data set may have."""


@dataclass(frozen=True)
class SalientImage:
    """An image and where its mask lies.

    Attributes:
        path: of the image.
        name: relative to the folder of images, without extension.
        mask: of its mask, or ``None``.
    """

    path: Path
    name: str
    mask: Path | None = None
    reading: Reading = DEFAULT_READING


def load_saliency(spec: str, *, masks: bool = True, reading: Reading = DEFAULT_READING) -> list[SalientImage]:
    """List the images of a data set, sorted by name.

    Args:
        spec: see the top of this module.
        masks: whether every image must have a mask; if not, any folder of images will do.
        reading: how the images become RGB.

    Raises:
        UnsegError: the data set is not on disk, images have no masks, an image has two, or two images share one.
    """
    images, truth = _folders(spec, masks)
    files = list_images(images)
    known: dict[str, Path] = {}
    if truth:
        known = by_name(map(_named, list_images(truth)), "either could be the mask of that image")
        by_name(map(_named, files), "they would share a mask")
    found = [SalientImage(path, name, known.get(name), reading) for name, path in map(_named, files)]
    missing = [image.name for image in found if image.mask is None]
    if masks and missing:
        raise UnsegError(
            f"{len(missing)} of {len(found)} images in {images} have no mask in {truth}, such as {missing[0]}."
        )
    return found


def read_salient(image: SalientImage) -> tuple[np.ndarray, np.ndarray | None]:
    """Read an image ``(H, W, 3)`` uint8 and its mask ``(H, W)`` float32 in [0, 1], or ``None``.

    Raises:
        UnsegError: a file is damaged, or the mask has another size than the image.
    """
    try:
        pixels = read_image(image.path, image.reading)
    except UnsegError as error:
        raise UnsegError(f"{image.path} cannot be used: {error}.") from None
    if image.mask is None:
        return pixels, None
    mask = read_mask(image.mask)
    if mask.shape != pixels.shape[:2]:
        raise UnsegError(
            f"The mask {image.mask} has {mask.shape[1]}x{mask.shape[0]} px, but its image {image.path} has "
            f"{pixels.shape[1]}x{pixels.shape[0]}."
        )
    return pixels, mask


def read_mask(path: Path) -> np.ndarray:
    """Read a mask as ``(H, W)`` float32 in [0, 1]; white is 1. Levels 0 and 1 alone mean black and white."""
    try:
        mask = read_grey(path).astype(np.float32)
    except ImageProblem as error:
        raise UnsegError(f"The mask {path} cannot be read: {error}.") from None
    return mask / (255 if mask.max() > 1 else 1)


def _named(file: ImageFile) -> tuple[str, Path]:
    """Return the name of a file, relative to its folder and without extension, and where it is."""
    return str(Path(file.file_name).with_suffix("")), file.path


def check_names(images: Sequence[SalientImage], folder: Path) -> None:
    """Refuse images of one name, such as those of two data sets, whose masks would be one file of a folder.

    Raises:
        UnsegError: two images have one name.
    """
    by_name(((image.name, image.path) for image in images), f"they would share a mask in {folder}")


def _folders(spec: str, masks: bool) -> tuple[Path, Path | None]:
    """Return the folders of images and of masks that a specification means."""
    if spec in SALIENCY_DATASETS:
        *parts, source = SALIENCY_DATASETS[spec]
        paths = [datasets_root() / part for part in parts]
        for path in paths if masks else paths[:1]:
            if not path.is_dir():
                raise UnsegError(f"{spec} is not there: {path} is missing. It is available from {source}")
        return paths[0], paths[1] if masks else None
    images, truth = split_spec(spec)
    root = to_path(images).expanduser()
    if not is_folder(root):
        hint = nearest(spec, SALIENCY_DATASETS) or f" Built-in names are {', '.join(SALIENCY_DATASETS)}."
        raise UnsegError(f"'{spec}' is neither a saliency data set nor a folder.{hint}")
    if truth:
        return root, Path(truth).expanduser()
    inner, outer = _child(root, IMAGE_FOLDERS), _child(root, MASK_FOLDERS)
    if masks and (inner is None or outer is None):
        raise UnsegError(
            f"{root} must hold a folder of images and one of masks, named for example 'images' and 'masks'; "
            f"or write 'folder/of/images::folder/of/masks'."
        )
    return inner or root, outer if masks else None


def _child(root: Path, patterns: tuple[str, ...]) -> Path | None:
    """Return the folder in ``root`` whose name matches the first pattern that any does."""
    children = [path for path in sorted(root.iterdir()) if path.is_dir()] if root.is_dir() else []
    matching = (path for pattern in patterns for path in children if Path(path.name.lower()).match(pattern))
    return next(matching, None)
