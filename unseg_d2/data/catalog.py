"""Data sets by name, annotation file or folder: three ways to say where the images are, one list of records.

Built-in names have the folder layout of CutLER and Detectron2 below ``$DETECTRON2_DATASETS`` (default ``./datasets``).
All annotations are of one class, whatever the categories in the file.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.data.coco import CocoDataset, find_image_root, read_coco, to_records
from unseg_d2.data.images import list_images
from unseg_d2.data.synthetic.dataset import SPLITS, ensure_synthetic
from unseg_d2.errors import UnsegError, nearest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuiltinDataset:
    """Where a built-in data set lies.

    Attributes:
        images: folder of the images, relative to `datasets_root`.
        annotations: COCO json, relative to `datasets_root`.
        script: in ``datasets/``, with its arguments: makes the annotations; empty where they have to be downloaded.
    """

    images: str
    annotations: str
    script: str = ""


def _imagenet(annotations: str) -> BuiltinDataset:
    return BuiltinDataset("imagenet/train", f"imagenet/annotations/{annotations}.json")


BUILTIN: dict[str, BuiltinDataset] = {
    "imagenet_train": _imagenet("imagenet_train_fixsize480_tau0.15_N3"),
    "imagenet_train_r1": _imagenet("cutler_imagenet1k_train_r1"),
    "imagenet_train_r2": _imagenet("cutler_imagenet1k_train_r2"),
    "imagenet_train_r3": _imagenet("cutler_imagenet1k_train_r3"),
    "coco_2017_train": BuiltinDataset("coco/train2017", "coco/annotations/instances_train2017.json"),
    "coco_2017_val": BuiltinDataset("coco/val2017", "coco/annotations/instances_val2017.json"),
    "cls_agnostic_coco": BuiltinDataset(
        "coco/val2017", "coco/annotations/coco_cls_agnostic_instances_val2017.json", "prepare_coco.py"
    ),
    "cls_agnostic_coco20k": BuiltinDataset(
        "coco/train2014", "coco/annotations/coco20k_trainval_gt.json", "prepare_coco20k.py --image-list FILE"
    ),
    "cls_agnostic_lvis": BuiltinDataset(
        "coco", "coco/annotations/lvis1.0_cocofied_val_cls_agnostic.json", "prepare_lvis.py"
    ),
    "cls_agnostic_voc": BuiltinDataset("voc", "voc/annotations/trainvaltest_2007_cls_agnostic.json", "prepare_voc.py"),
    "cls_agnostic_kitti": BuiltinDataset("kitti", "kitti/annotations/trainval_cls_agnostic.json", "prepare_kitti.py"),
    "cls_agnostic_kitti_instances": BuiltinDataset(
        "kitti", "kitti/annotations/instances_cls_agnostic.json", "prepare_kitti_instances.py"
    ),
    "cls_agnostic_clipart": BuiltinDataset("clipart", "clipart/annotations/traintest_cls_agnostic.json"),
    "cls_agnostic_watercolor": BuiltinDataset("watercolor", "watercolor/annotations/traintest_cls_agnostic.json"),
    "cls_agnostic_comic": BuiltinDataset("comic", "comic/annotations/traintest_cls_agnostic.json"),
    "cls_agnostic_objects365": BuiltinDataset(
        "objects365/val", "objects365/annotations/zhiyuan_objv2_val_cls_agnostic.json", "prepare_objects365.py"
    ),
    "cls_agnostic_openimages": BuiltinDataset(
        "openImages/validation", "openImages/annotations/openimages_val_cls_agnostic.json", "prepare_openimages.py"
    ),
    "cls_agnostic_openimages_masks": BuiltinDataset(
        "openImages/validation",
        "openImages/annotations/openimages_val_masks_cls_agnostic.json",
        "prepare_openimages_masks.py",
    ),
    "cls_agnostic_sa1b": BuiltinDataset("sa1b", "sa1b/annotations/sa1b_cls_agnostic.json", "prepare_sa1b.py"),
    "cls_agnostic_uvo": BuiltinDataset(
        "uvo/all_UVO_frames", "uvo/annotations/val_sparse_cleaned_cls_agnostic.json", "prepare_uvo.py"
    ),
    "promerge_objects365": BuiltinDataset("objects365/val", "objects365/annotations/objects365_16-40.json"),
    "promerge_sa1b": BuiltinDataset("sa1b", "sa1b/annotations/sa1b.json"),
}
"""Built-in data sets that have to be there; see datasets/README.md for how to get them."""

ALIASES = {
    "coco_val2017": "cls_agnostic_coco",
    "coco20k": "cls_agnostic_coco20k",
    "lvis_v1_val": "cls_agnostic_lvis",
    "voc07": "cls_agnostic_voc",
    "kitti": "cls_agnostic_kitti",
    "kitti_instances": "cls_agnostic_kitti_instances",
    "clipart": "cls_agnostic_clipart",
    "watercolor": "cls_agnostic_watercolor",
    "comic": "cls_agnostic_comic",
    "objects365": "cls_agnostic_objects365",
    "openimages": "cls_agnostic_openimages",
    "openimages_masks": "cls_agnostic_openimages_masks",
    "sa1b": "cls_agnostic_sa1b",
    "uvo": "cls_agnostic_uvo",
}
"""Short names of benchmarks, and the published ones."""

SYNTHETIC = {f"synthetic_{split}": split for split in SPLITS}
"""Built-in data sets that are made on first use, and their splits."""


def datasets_root() -> Path:
    """Folder of the built-in data sets: ``$DETECTRON2_DATASETS`` or ``./datasets``."""
    return Path(os.environ.get("DETECTRON2_DATASETS") or "datasets").expanduser()


def load_dataset(spec: str, cfg: CfgNode) -> list[dict[str, Any]]:
    """Return the records of a data set.

    Args:
        spec: a built-in name; a COCO json (``labels.json``, or ``labels.json::image/root`` where the file does not
            know its images); or a folder of images, which has no annotations.
        cfg: configuration; its ``SYNTHETIC`` block describes the synthetic sets.

    Returns:
        Detectron2's standard dataset dicts of one class, see `to_records`; those of a folder have no height and width.

    Raises:
        UnsegError: no such data set, or it is not where it should be; the message names the expected path.
    """
    spec = ALIASES.get(spec, spec)
    if spec in SYNTHETIC:
        images, annotations = ensure_synthetic(cfg, SYNTHETIC[spec])
        return to_records(read_coco(annotations), images)
    if spec in BUILTIN:
        return _builtin(spec)
    path, _, root = spec.partition("::")
    if path.lower().endswith(".json") or Path(path).is_file():
        return _annotated(Path(path), Path(root) if root else None)
    if Path(spec).is_dir():
        return _folder(Path(spec))
    known = [*BUILTIN, *ALIASES, *SYNTHETIC]
    hint = nearest(spec, known) or f" Built-in names are {', '.join(known)}."
    raise UnsegError(f"'{spec}' is no built-in data set, COCO json or folder of images.{hint}")


def find_annotations(spec: str, cfg: CfgNode) -> Path:
    """Return the annotation file of a data set, whose images need not be there.

    Args:
        spec: see `load_dataset`; not a folder.
        cfg: configuration; its ``SYNTHETIC`` block describes the synthetic sets.

    Raises:
        UnsegError: there is no such data set, or it has no annotation file.
    """
    spec = ALIASES.get(spec, spec)
    if spec in SYNTHETIC:
        return ensure_synthetic(cfg, SYNTHETIC[spec])[1]
    if spec in BUILTIN:
        return _there(spec, BUILTIN[spec].annotations)
    path = Path(spec.partition("::")[0])
    if path.is_file():
        return path
    if path.suffix.lower() == ".json":
        raise UnsegError(f"There is no file {path}.")
    hint = nearest(spec, [*BUILTIN, *ALIASES, *SYNTHETIC])
    raise UnsegError(f"'{spec}' is no built-in data set and no COCO json, so it has no annotations.{hint}")


def _builtin(name: str) -> list[dict[str, Any]]:
    annotations = _there(name, BUILTIN[name].annotations)
    images = _there(name, BUILTIN[name].images)
    return _records(read_coco(annotations), images, name)


def _there(name: str, relative: str) -> Path:
    """Return a path of a built-in data set, or say how to get it."""
    path, dataset = datasets_root() / relative, BUILTIN[name]
    if path.exists():
        return path
    is_file = relative == dataset.annotations
    make = f"make it with: python datasets/{dataset.script}" if is_file and dataset.script else "put it there"
    if is_file and name.startswith("imagenet"):
        make = "unseg-d2 generate-masks makes such a set (--train-dataset OUTPUT/labels.json); or put it there"
    raise UnsegError(
        f"The data set {name} needs the {'file' if is_file else 'folder'} {path}, which is not there; {make}, "
        "or set the environment variable DETECTRON2_DATASETS to the folder of your data sets (see datasets/README.md)."
    )


def _annotated(path: Path, root: Path | None) -> list[dict[str, Any]]:
    """Records of an annotation file, whose images have to be there."""
    dataset = read_coco(path, need_annotations=False)
    if root is not None and not root.is_dir():
        raise UnsegError(f"There is no folder {root}, which should hold the images of {path}.")
    root = root or find_image_root(dataset, path)
    records = _records(dataset, root, str(path))
    if records and not os.path.isfile(records[0]["file_name"]):
        raise UnsegError(
            f"The images of {path} are not in {root}: there is no {records[0]['file_name']}; "
            f"name their folder with {path}::FOLDER."
        )
    return records


def _records(dataset: CocoDataset, root: Path, name: str) -> list[dict[str, Any]]:
    """Records of one class; says so where the file has several."""
    categories = {annotation["category_id"] for annotation in dataset.annotations}
    if len(categories) > 1:
        logger.info("%s has objects of %d categories, which count as one.", name, len(categories))
    return to_records(dataset, root)


def _folder(root: Path) -> list[dict[str, Any]]:
    return [
        {"file_name": os.path.abspath(image.path), "image_id": number, "annotations": []}
        for number, image in enumerate(list_images(root), start=1)
    ]
