"""Masks that are put into groups: those of a label set, or results for the images of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fvcore.common.config import CfgNode

from unseg_d2.content import files_content
from unseg_d2.data.annotations.index import AnnotationIndex
from unseg_d2.data.annotations.masks import draw_polygons
from unseg_d2.data.annotations.parse import quoted
from unseg_d2.data.coco import resolve_image
from unseg_d2.data.results import ResultsIndex, is_result_list
from unseg_d2.data.spec import join_spec, split_spec
from unseg_d2.errors import UnsegError
from unseg_d2.exchange.pictures import find_pictures
from unseg_d2.pseudo.inputs import Inputs, list_inputs
from unseg_d2.pseudo.label_set import labels_file, open_label_set
from unseg_d2.pseudo.shards import ShardFolder
from unseg_d2.storage.addresses import to_path

Entry = dict[str, Any]


class ImageMasks(Protocol):
    """Masks of images, which are known by their position."""

    def picture(self, position: int) -> Path:
        """Return the file of an image."""
        ...

    def image(self, position: int) -> Entry:
        """Return an image as COCO has it."""
        ...

    def masks(self, position: int) -> list[Entry]:
        """Return the annotations of an image, each with ``iscrowd``."""
        ...


@dataclass(frozen=True)
class MaskSource:
    """The masks of many images, read one image at a time.

    Attributes:
        path: what was named.
        file: COCO file that lists the images.
        labels: its content.
        inputs: its images, in the same order, with the names that they have on the disk.
        results: the masks, where ``labels`` only lists the images.
    """

    path: Path
    file: Path
    labels: AnnotationIndex
    inputs: Inputs
    results: ResultsIndex | None = None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def picture(self, position: int) -> Path:
        """Return the file of an image."""
        return resolve_image(self.inputs.root, self.inputs.file_names[position])

    def image(self, position: int) -> Entry:
        """Return an image as COCO has it, with the name that it has on the disk."""
        return self.labels.image(position) | {"file_name": self.inputs.file_names[position]}

    def masks(self, position: int) -> list[Entry]:
        """Return the annotations of an image; results are annotations without an id."""
        if self.results is None:
            return self.labels.annotations(position)
        image = self.labels.image(position)
        key, size = image["id"], (image.get("height"), image.get("width"))
        found = [item | {"image_id": key} for item in self.results.of_image(*_same(key))]
        return [item | {"iscrowd": 0} for item in draw_polygons(found, {key: size}, self.path)]

    def content(self) -> str:
        """Return the sha256 of the files that state the masks."""
        return files_content([self.file, *([self.path] if self.results is not None else [])])


def open_source(labels: Path, cfg: CfgNode, *, images: Path | None = None, data: Path | None = None) -> MaskSource:
    """Open a label set, or predictions together with the data set that they are for.

    Args:
        labels: COCO file, folder of a label set, or COCO results.
        cfg: settings of the images.
        images: folder of the images; by default the one that the label set names.
        data: COCO file or label set with the images of the results.

    Raises:
        UnsegError: a file is missing or damaged, results have no ``data``, a label set has, or is not finished; or its
            images are not found.
    """
    path = Path(split_spec(labels)[0])
    results = ResultsIndex(path) if is_result_list(path) else None
    if results is not None and data is None:
        raise UnsegError(f"{labels} holds results without file names; name the data set (--gt) that they are for.")
    if results is None and data is not None:
        raise UnsegError(f"{labels} is a label set, which names its images itself; leave --gt {data} out.")
    listing = data or labels
    file, root = labels_file(listing), split_spec(listing)[1]
    if file.name == "labels.json" and not file.is_file() and file.parent.is_dir():
        ShardFolder(file.parent).load()
        raise UnsegError(f"{listing} is not finished: run the command that made it again.")
    index = open_label_set(file)
    if results is not None:
        _check_images(results, index)
    folder = images or (to_path(root) if root else find_pictures(index, [file]))
    return MaskSource(path, file, index, list_inputs(join_spec(file, folder), cfg), results)


def _same(key: Any) -> tuple[Any, ...]:
    """Return the ids that mean an image: ``"7"`` in results is the image 7."""
    if isinstance(key, str):
        return (key, int(key)) if key.isdigit() else (key,)
    return key, str(key)


def _check_images(results: ResultsIndex, index: AnnotationIndex) -> None:
    known = set(map(str, index.ids()))
    stray = next((key for key in results.image_ids if str(key) not in known), None)
    if stray is not None:
        raise UnsegError(
            f"{results.path}: there is a result of image {quoted(stray)}, which the data set does not have."
        )
