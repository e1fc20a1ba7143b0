"""Data sets by name, annotation file or folder: three ways to say where the images are, one form of records.

Built-in names have the folder layout of CutLER and Detectron2 below ``$DETECTRON2_DATASETS`` (default ``./datasets``).
All annotations are of one class, whatever the categories in the file, unless classes are asked for.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fvcore.common.config import CfgNode

from unseg_d2.data.annotations.index import AnnotationIndex
from unseg_d2.data.annotations.locate import check_there, locate
from unseg_d2.data.builtin import ALIASES, BUILTIN, datasets_root
from unseg_d2.data.classes import OF_THE_DATA, categories_of
from unseg_d2.data.coco import find_image_root, open_coco
from unseg_d2.data.images import list_images
from unseg_d2.data.records import IndexPart, Records
from unseg_d2.data.spec import split_spec
from unseg_d2.data.synthetic.dataset import SPLITS, ensure_synthetic
from unseg_d2.data.synthetic.film_dataset import ensure_film
from unseg_d2.errors import UnsegError, nearest
from unseg_d2.storage.access import is_folder
from unseg_d2.storage.addresses import to_text
from unseg_d2.storage.archives import is_archive
from unseg_d2.storage.patterns import image_root, is_pattern

logger = logging.getLogger(__name__)


SYNTHETIC = {f"synthetic_{split}": split for split in SPLITS}
"""Built-in data sets of scenes, each with its split."""
GENERATED: dict[str, Callable[[CfgNode], tuple[Path, Path]]] = {
    **{name: partial(ensure_synthetic, split=split) for name, split in SYNTHETIC.items()},
    "synthetic_film": ensure_film,
}
"""Built-in data sets that are made on first use, each with what returns its images and annotations."""


def load_dataset(spec: str, cfg: CfgNode, num_classes: int = 1) -> Records:
    """Return the records of a data set.

    Args:
        spec: a built-in name; a COCO json (``labels.json``, or ``labels.json::image/root`` where the file does not
            say where its images are); or a folder of images, or what else `scan_images` takes, which has no
            annotations.
        cfg: configuration; its ``SYNTHETIC`` block describes the synthetic sets.
        num_classes: of the detector; 1 takes all annotations as one class, whatever the categories in the file, and
            `OF_THE_DATA` takes these, which a detector's groups are matched with.

    Returns:
        Detectron2's standard dataset dicts, see `to_records`, with their categories where there are several classes;
        those of a folder have no height and width.

    Raises:
        UnsegError: the data set is unknown, has another number of categories, or is not where it should be; the
            message names the expected path.
    """
    spec = ALIASES.get(spec, spec)
    if spec in GENERATED:
        images, annotations = GENERATED[spec](cfg)
        return _records(open_coco(annotations), images, spec, num_classes)
    if spec in BUILTIN:
        return _builtin(spec, num_classes)
    path, root = split_spec(spec)
    if not root and is_folder(spec):
        return _folder(spec)
    if path.lower().endswith(".json") or Path(path).is_file():
        return _annotated(Path(path), image_root(root) if root else None, num_classes)
    if is_pattern(spec):
        return _folder(spec)
    known = [*BUILTIN, *ALIASES, *GENERATED]
    hint = nearest(spec, known) or f" Built-in names are {', '.join(known)}."
    raise UnsegError(f"'{spec}' is not a built-in data set, COCO json or folder of images.{hint}")


def find_annotations(spec: str, cfg: CfgNode) -> Path:
    """Return the annotation file of a data set; its images need not exist.

    Args:
        spec: see `load_dataset`; not a folder.
        cfg: configuration; its ``SYNTHETIC`` block describes the synthetic sets.

    Raises:
        UnsegError: the data set is unknown, or has no annotation file.
    """
    spec = ALIASES.get(spec, spec)
    if spec in GENERATED:
        return GENERATED[spec](cfg)[1]
    if spec in BUILTIN:
        return _there(spec, BUILTIN[spec].annotations)
    path = Path(split_spec(spec)[0])
    if path.is_file() and not is_archive(path.name):
        return path
    if path.suffix.lower() == ".json":
        raise UnsegError(f"There is no file {path}.")
    hint = nearest(spec, [*BUILTIN, *ALIASES, *GENERATED])
    raise UnsegError(f"'{spec}' is neither a built-in data set nor a COCO json, so it has no annotations.{hint}")


def _builtin(name: str, num_classes: int) -> Records:
    annotations = _there(name, BUILTIN[name].annotations)
    images = _there(name, BUILTIN[name].images)
    return _records(open_coco(annotations), images, name, num_classes)


def _there(name: str, relative: str) -> Path:
    """Return a path of a built-in data set, or say how to get it."""
    path, dataset = datasets_root() / relative, BUILTIN[name]
    if path.exists():
        return path
    is_file = relative == dataset.annotations
    make = f"make it with: unseg-d2 prepare-data {dataset.prepare}" if is_file and dataset.prepare else "put it there"
    if is_file and dataset.command:
        make = f"{dataset.command} makes such a set (--labels OUTPUT/labels.json); or put it there"
    raise UnsegError(
        f"The data set {name} needs the {'file' if is_file else 'folder'} {path}, which is not there; {make}, "
        "or set the environment variable DETECTRON2_DATASETS to the folder of your data sets (see datasets/README.md)."
    )


def _annotated(path: Path, root: Path | None, num_classes: int) -> Records:
    """Records of an annotation file, whose images must exist."""
    index = open_coco(path, need_annotations=False)
    if root is not None and not is_folder(root):
        raise UnsegError(f"There is no folder {to_text(root)}, which should hold the images of {path}.")
    root = root or find_image_root(index, path)
    return _records(index, root, str(path), num_classes)


def _records(index: AnnotationIndex, root: Path, name: str, num_classes: int) -> Records:
    """Records with their classes, or of one class; logs it where the file has several, refuses missing pictures."""

    def name_at(position: int) -> str:
        return str(index.image(position)["file_name"])

    located = locate(index.names, name_at, root, name)
    check_there(located, name_at, root, name)
    categories = categories_of(index, num_classes, name)
    numbers = {category["id"]: number for number, category in enumerate(categories)} or None
    if not categories and len(index.present) > 1:
        logger.info("%s has objects of %d categories, which are treated as one.", name, len(index.present))
    others = num_classes == OF_THE_DATA
    parts = [IndexPart(index, str(root), numbers, located.renamed)]
    return Records(parts=parts, categories=categories, are_others=others)


def _folder(named: str) -> Records:
    images = enumerate(list_images(named), start=1)
    return Records(
        [{"file_name": os.path.abspath(image.path), "image_id": number, "annotations": []} for number, image in images]
    )
