"""Data sets that come as COCO files: COCO, COCO20K, LVIS v1, Objects365 v2, UVO."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from unseg_d2.data.annotations.parse import quoted
from unseg_d2.data.annotations.read import identity, image_of
from unseg_d2.data.annotations.structs import Annotation, Image
from unseg_d2.data.prepare.records import listed_names, plain_mask, read_instances, sized
from unseg_d2.data.prepare.writer import CocoWriter, Prepared, coco_writer, one_record
from unseg_d2.errors import UnsegError

COCO20K_IMAGES = 19817
"""Length of the published list of COCO20K."""

FULL = {"val2017": 5000, "train2017": 118287, "lvis_v1_val.json": 19809, "UVO_frame_val.json": 7356}
"""Number of images of a complete benchmark; that of Objects365 is not checked."""


def prepare_coco(root: Path, *, split: str = "val2017") -> Prepared:
    """Convert ``coco/annotations/instances_SPLIT.json``.

    Args:
        root: folder of the data sets.
        split: ``val2017`` or ``train2017``.
    """
    folder = root / "coco/annotations"
    protocol = f"All images of COCO {split}; all annotations as one class; crowd regions stay crowd regions."
    target = folder / f"coco_cls_agnostic_instances_{split}.json"
    return _convert(folder / f"instances_{split}.json", target, protocol, full=FULL.get(split))


def prepare_coco20k(root: Path, *, image_list: Path) -> Prepared:
    """Convert the images of ``coco/annotations/instances_train2014.json`` that a list names.

    Args:
        root: folder of the data sets.
        image_list: text file with one image per line (``COCO_train2014_000000000009.jpg``, with or without folders).

    Raises:
        UnsegError: the list has another length than the published one, or names images that COCO does not have.
    """
    names = listed_names(image_list)
    numbers = {_number(name, image_list) for name in names}
    if len(numbers) != COCO20K_IMAGES:
        raise UnsegError(
            f"{image_list} names {len(numbers)} images, but COCO20K has {COCO20K_IMAGES}: take LOST's list "
            "https://github.com/valeoai/LOST/blob/master/datasets/coco_20k_filenames.txt."
        )
    return _subset(root, image_list, numbers)


def prepare_lvis(root: Path, *, source: str = "lvis_v1_val.json") -> Prepared:
    """Convert LVIS v1, whose images name their folder of COCO 2017 only in ``coco_url``.

    Args:
        root: folder of the data sets.
        source: file in ``coco/annotations`` (or ``lvis``) to convert.
    """
    folder = root / "coco/annotations"
    path = next((p for p in (folder / source, root / "lvis" / source) if p.is_file()), folder / source)
    protocol = (
        "All images and annotations of LVIS v1 val as one class. LVIS is federated: a class is annotated exhaustively "
        "only in some images, so a result on an object that nobody annotated counts as false."
    )
    return _convert(
        path, folder / "lvis1.0_cocofied_val_cls_agnostic.json", protocol, file_name=_lvis_name, full=FULL.get(source)
    )


def prepare_objects365(root: Path, *, source: str = "zhiyuan_objv2_val.json") -> Prepared:
    """Convert the boxes of Objects365 v2, whatever depth of folders the images were unpacked to.

    Args:
        root: folder of the data sets.
        source: file in ``objects365/annotations`` to convert.
    """
    folder = root / "objects365"
    target = folder / "annotations/zhiyuan_objv2_val_cls_agnostic.json"
    protocol = "All images and boxes of the validation set of Objects365 v2 as one class; crowd boxes stay crowd."

    def file_name(image: Image) -> str:
        return unpacked_name(folder / "val", image_of(image)["file_name"])

    return _convert(folder / "annotations" / source, target, protocol, file_name=file_name)


def prepare_uvo(root: Path, *, source: str = "UVO_frame_val.json") -> Prepared:
    """Convert UVO's sparse frames.

    Args:
        root: folder of the data sets.
        source: file in ``uvo/annotations`` to convert.
    """
    folder = root / "uvo/annotations"
    protocol = (
        f"All frames and masks of {source} as one class. The published file val_sparse_cleaned is said to be cleaned; "
        "how is not documented, so this one may list other frames."
    )
    target = folder / "val_sparse_cleaned_cls_agnostic.json"
    return _convert(folder / source, target, protocol, full=FULL.get(source))


def unpacked_name(folder: Path, name: str) -> str:
    """Return the ending of a file name under which the image lies in a folder, the whole name where none does.

    >>> unpacked_name(Path("/nowhere"), "images/v2/patch16/objects365_v2_00908726.jpg")
    'images/v2/patch16/objects365_v2_00908726.jpg'
    """
    parts = PurePosixPath(name).parts
    endings = ["/".join(parts[start:]) for start in range(len(parts))]
    return next((ending for ending in endings if (folder / ending).is_file()), name)


def _convert(
    source: Path,
    target: Path,
    protocol: str,
    *,
    file_name: Callable[[Image], str] = lambda image: str(image_of(image)["file_name"]),
    keep: Callable[[Image], bool] = lambda image: True,
    full: int | None = None,
) -> Prepared:
    """Write the images of a COCO file with their annotations as one class."""
    content = read_instances(source)
    annotations = by_image(content.annotations)
    with coco_writer(target, source=source.name, protocol=protocol, full=full) as writer:
        for image in content.images:
            if keep(image):
                with one_record(source, f"image {quoted(image.id)}"):
                    entry = {**sized(image, source), "file_name": file_name(image)}
                    writer.add(entry, _objects(annotations[identity(image.id)], writer))
    return writer.prepared


def by_image(annotations: Iterable[Annotation]) -> dict[Any, list[Annotation]]:
    """Return annotations by the id of their image."""
    grouped: dict[Any, list[Annotation]] = defaultdict(list)
    for annotation in annotations:
        grouped[identity(annotation.image_id)].append(annotation)
    return grouped


def _objects(annotations: list[Annotation], writer: CocoWriter) -> Iterator[dict[str, Any]]:
    for annotation in annotations:
        if not annotation.segmentation and not annotation.bbox:
            writer.leave_out("no box and no mask")
            continue
        yield {key: value for key, value in plain_mask(annotation).items() if key != "category_id"}


def _subset(root: Path, image_list: Path, numbers: set[int]) -> Prepared:
    folder = root / "coco/annotations"
    protocol = (
        f"The {len(numbers)} images of COCO train2014 that {image_list.name} names; all annotations as one class; "
        "crowd regions stay crowd regions."
    )
    prepared = _convert(
        folder / "instances_train2014.json",
        folder / "coco20k_trainval_gt.json",
        protocol,
        keep=lambda image: image.id in numbers,
    )
    if prepared.images != len(numbers):
        prepared.path.unlink()
        raise UnsegError(
            f"{len(numbers) - prepared.images} images of {image_list} are not in instances_train2014.json."
        )
    return prepared


def _number(name: str, path: Path) -> int:
    match = re.search(r"(\d{12})\.jpg$", name)
    if not match:
        raise UnsegError(f"{path} has the line {name!r}, but names like COCO_train2014_000000000009.jpg are needed.")
    return int(match[1])


def _lvis_name(image: Image) -> str:
    """Return ``val2017/000000397133.jpg`` from ``http://images.cocodataset.org/val2017/000000397133.jpg``."""
    if not image.coco_url:
        raise UnsegError(
            f"Image {quoted(image.id)} of the LVIS file has no coco_url; LVIS v1 is needed, v0.5 has none."
        )
    return "/".join(image.coco_url.split("/")[-2:])
