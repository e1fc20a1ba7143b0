"""Maps of stuff on disk: a label map for each image, as a PNG file or in the pictures of a panoptic file.

Shape legend
    H, W   height and width of an image in pixels
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np

from unseg_d2.data.annotations.panoptic import check_there, is_panoptic, place_of, segment_numbers
from unseg_d2.data.annotations.parse import parse, quoted, read_bytes
from unseg_d2.data.annotations.read import identity
from unseg_d2.data.annotations.structs import Content
from unseg_d2.data.pictures.reading import ImageProblem
from unseg_d2.data.pictures.stored import read_stored
from unseg_d2.errors import UnsegError
from unseg_d2.files import same_name

Image = Mapping[str, Any]
WHOLE = "SEMANTIC.TEST.WHOLE True"
"""With this, `evaluate semantic` writes maps of the size of their images."""


class Maps(Protocol):
    """The label maps of images."""

    def of(self, image: Image) -> np.ndarray:
        """Return the number of each pixel, ``(H, W)`` integers, -1 for none.

        Args:
            image: COCO image: ``id``, ``file_name``, ``height``, ``width``.

        Raises:
            UnsegError: there is no map of the image, it is damaged, or it has another size.
        """
        ...


@dataclass(frozen=True)
class StuffOnDisk:
    """Maps that were found and those of the ground truth, see `unseg_d2.evaluation.stuff.StuffMaps`."""

    of_results: Maps
    of_truth: Maps

    def found(self, image: Image) -> np.ndarray:
        """Return the cluster of each pixel, ``(H, W)``, -1 for none."""
        return self.of_results.of(image)

    def known(self, image: Image) -> np.ndarray:
        """Return the class of stuff of each pixel, ``(H, W)``, -1 for none."""
        return self.of_truth.of(image)


def open_stuff(
    maps: str | Path, truth: str | Path, truth_maps: str | Path | None, images: Sequence[Image]
) -> StuffOnDisk:
    """Find the maps of stuff of the images of a ground truth.

    Args:
        maps: folder of label maps that were found: PNG files that are called as their images, in which 255 means none;
            or the folder that ``evaluate semantic --write-masks`` wrote.
        truth: COCO file of the ground truth; a panoptic file has maps of its own.
        truth_maps: folder of label maps with the stuff of the ground truth, in place of such pictures.
        images: of the ground truth.

    Raises:
        UnsegError: a folder or a map is missing, or the ground truth has no stuff.
    """
    inside = Path(maps) / "labels"
    found = FolderMaps(inside if inside.is_dir() else Path(maps), images)
    if truth_maps is not None:
        return StuffOnDisk(found, FolderMaps(Path(truth_maps), images))
    content = parse(read_bytes(Path(truth)), Content, str(truth))
    if not is_panoptic(content):
        raise UnsegError(
            f"{truth} has objects and no stuff; name a panoptic file of COCO, or the folder of label maps with the "
            "stuff of the ground truth (--stuff-gt)."
        )
    return StuffOnDisk(found, PanopticMaps(Path(truth), content))


class FolderMaps:
    """Label maps in a folder: PNG files of 8 or 16 bit, called as their images or as the ends of their names.

    Args:
        folder: of the maps.
        images: each of which has one.

    Raises:
        UnsegError: there is no folder, an image has no map, or two images have the same.
    """

    def __init__(self, folder: Path, images: Sequence[Image]) -> None:
        if not folder.is_dir():
            raise UnsegError(f"There is no folder {folder}, which should hold a label map for each image.")
        self.folder = folder
        taken: dict[Path, str] = {}
        missing = []
        for image in images:
            path = self._path(image["file_name"])
            if path is None:
                missing.append(image["file_name"])
            elif path in taken:
                both = f"{taken[path]} and {image['file_name']}"
                raise UnsegError(f"{path} would be the map of both {both}; put maps into folders as the images.")
            else:
                taken[path] = image["file_name"]
        if missing:
            name = PurePosixPath(same_name(missing[0])).with_suffix(".png").name
            raise UnsegError(
                f"{len(missing)} of {len(images)} images have no label map in {folder}; the first is {missing[0]}, "
                f"whose map would be {name}."
            )

    def of(self, image: Image) -> np.ndarray:
        """Return the map of an image, see :class:`Maps`."""
        path = self._path(image["file_name"])
        if path is None:
            raise UnsegError(f"{self.folder} has no label map of {image['file_name']} any more.")
        try:
            numbers = read_stored(path)
        except ImageProblem as problem:
            raise UnsegError(f"The label map {path} cannot be read: {problem}.") from None
        if numbers.ndim != 2:
            raise UnsegError(f"{path} is a colour picture, but a label map has one number per pixel.")
        none = 255 if numbers.dtype == np.uint8 else 65535
        found: np.ndarray = np.where(numbers == none, -1, numbers.astype(np.int64))
        return _sized(found, image, path)

    def _path(self, name: str) -> Path | None:
        """Return the map of an image: by its whole name, else by ever shorter ends of it."""
        parts = [part for part in PurePosixPath(same_name(name)).with_suffix(".png").parts if part not in ("/", "..")]
        tails = (self.folder.joinpath(*parts[start:]) for start in range(len(parts)))
        return next((path for path in tails if path.is_file()), None)


class PanopticMaps:
    """The segments of stuff (``isthing`` 0) in the pictures of a panoptic file; their classes are ids of categories.

    Args:
        path: the file; its pictures lie in the folder ``NAME/`` beside ``NAME.json``.
        content: of the file.

    Raises:
        UnsegError: it has no stuff, pictures are missing, or ids of categories are no numbers.
    """

    def __init__(self, path: Path, content: Content) -> None:
        stuff = {str(c.id) for c in content.categories or () if not isinstance(c, str) and c.isthing in (0, False)}
        folder = path.with_suffix("")
        if not stuff:
            raise UnsegError(f"{path} has no category of stuff (isthing 0).")
        if stray := next((key for key in sorted(stuff) if not key.isdigit()), None):
            raise UnsegError(f"{path}: the id {quoted(stray)} of a category of stuff is no whole number.")
        if not folder.is_dir():
            raise UnsegError(f"The stuff of {path} lies in pictures, and there is no folder {folder}; put them there.")
        self._parts: dict[str, tuple[str, dict[int, int]]] = {}
        for entry in content.annotations or ():
            places = [(place_of(folder, entry, part), str(part.category_id)) for part in entry.segments_info or ()]
            if places:
                classes = {place.segment: int(label) for place, label in places if label in stuff}
                self._parts[str(identity(entry.image_id))] = (places[0][0].picture, classes)
        check_there(folder, [picture for picture, _ in self._parts.values()])

    def of(self, image: Image) -> np.ndarray:
        """Return the map of an image, see :class:`Maps`; of one without segments there is nothing but -1."""
        if str(image["id"]) not in self._parts:
            height, width = _size(image, "the ground truth")
            return np.full((height, width), -1, np.int64)
        picture, classes = self._parts[str(image["id"])]
        numbers = segment_numbers(picture)
        found = np.full(numbers.shape, -1, np.int64)
        for segment, label in classes.items():
            found[numbers == segment] = label
        return _sized(found, image, picture)


def _sized(numbers: np.ndarray, image: Image, where: object) -> np.ndarray:
    """Return a map, or raise `UnsegError` where it does not have the size of its image."""
    height, width = _size(image, where)
    if numbers.shape != (height, width):
        raise UnsegError(
            f"{where} has {numbers.shape[1]}x{numbers.shape[0]} pixels, but its image {image['file_name']} has "
            f"{width}x{height}; write maps of whole images (evaluate semantic: {WHOLE})."
        )
    return numbers


def _size(image: Image, where: object) -> tuple[int, int]:
    height, width = image.get("height"), image.get("width")
    if height is None or width is None:
        raise UnsegError(f"{where}: the size of the image {image['file_name']} is not known; state height and width.")
    return height, width
