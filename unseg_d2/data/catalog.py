"""Data sets by name, annotation file or folder: three ways to say where the images are, one list of records.

Built-in names have the folder layout of CutLER and Detectron2 below ``$DETECTRON2_DATASETS`` (default ``./datasets``).
All annotations are of one class, whatever the categories in the file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.data.coco import find_image_root, read_coco, to_records
from unseg_d2.data.images import list_images
from unseg_d2.data.synthetic import SPLITS, ensure_synthetic
from unseg_d2.errors import UnsegError, nearest


@dataclass(frozen=True)
class BuiltinDataset:
    """Where a built-in data set lies.

    Attributes:
        images: folder of the images, relative to `datasets_root`.
        annotations: COCO json, relative to `datasets_root`.
    """

    images: str
    annotations: str


def _imagenet(annotations: str) -> BuiltinDataset:
    return BuiltinDataset("imagenet/train", f"imagenet/annotations/{annotations}.json")


BUILTIN: dict[str, BuiltinDataset] = {
    "imagenet_train": _imagenet("imagenet_train_fixsize480_tau0.15_N3"),
    "imagenet_train_r1": _imagenet("cutler_imagenet1k_train_r1"),
    "imagenet_train_r2": _imagenet("cutler_imagenet1k_train_r2"),
    "imagenet_train_r3": _imagenet("cutler_imagenet1k_train_r3"),
    "coco_2017_train": BuiltinDataset("coco/train2017", "coco/annotations/instances_train2017.json"),
    "coco_2017_val": BuiltinDataset("coco/val2017", "coco/annotations/instances_val2017.json"),
    "cls_agnostic_coco": BuiltinDataset("coco/val2017", "coco/annotations/coco_cls_agnostic_instances_val2017.json"),
    "cls_agnostic_coco20k": BuiltinDataset("coco/train2014", "coco/annotations/coco20k_trainval_gt.json"),
    "cls_agnostic_lvis": BuiltinDataset("coco", "coco/annotations/lvis1.0_cocofied_val_cls_agnostic.json"),
    "cls_agnostic_voc": BuiltinDataset("voc", "voc/annotations/trainvaltest_2007_cls_agnostic.json"),
    "cls_agnostic_kitti": BuiltinDataset("kitti", "kitti/annotations/trainval_cls_agnostic.json"),
    "cls_agnostic_clipart": BuiltinDataset("clipart", "clipart/annotations/traintest_cls_agnostic.json"),
    "cls_agnostic_watercolor": BuiltinDataset("watercolor", "watercolor/annotations/traintest_cls_agnostic.json"),
    "cls_agnostic_comic": BuiltinDataset("comic", "comic/annotations/traintest_cls_agnostic.json"),
    "cls_agnostic_objects365": BuiltinDataset(
        "objects365/val", "objects365/annotations/zhiyuan_objv2_val_cls_agnostic.json"
    ),
    "cls_agnostic_openimages": BuiltinDataset(
        "openImages/validation", "openImages/annotations/openimages_val_cls_agnostic.json"
    ),
    "cls_agnostic_uvo": BuiltinDataset("uvo/all_UVO_frames", "uvo/annotations/val_sparse_cleaned_cls_agnostic.json"),
}
"""Built-in data sets that have to be there; see datasets/README.md for how to get them."""

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
    known = [*BUILTIN, *SYNTHETIC]
    hint = nearest(spec, known) or f" Built-in names are {', '.join(known)}."
    raise UnsegError(f"'{spec}' is no built-in data set, COCO json or folder of images.{hint}")


def _builtin(name: str) -> list[dict[str, Any]]:
    dataset, root = BUILTIN[name], datasets_root()
    for path, what in ((root / dataset.annotations, "file"), (root / dataset.images, "folder")):
        if not path.exists():
            raise UnsegError(
                f"The data set {name} needs the {what} {path}, which is not there; "
                "put it there, or set the environment variable DETECTRON2_DATASETS to the folder of your data sets."
            )
    return to_records(read_coco(root / dataset.annotations), root / dataset.images)


def _annotated(path: Path, root: Path | None) -> list[dict[str, Any]]:
    """Records of an annotation file, whose images have to be there."""
    dataset = read_coco(path, need_annotations=False)
    if root is not None and not root.is_dir():
        raise UnsegError(f"There is no folder {root}, which should hold the images of {path}.")
    root = root or find_image_root(dataset, path)
    records = to_records(dataset, root)
    if records and not os.path.isfile(records[0]["file_name"]):
        raise UnsegError(
            f"The images of {path} are not in {root}: there is no {records[0]['file_name']}; "
            f"name their folder with {path}::FOLDER."
        )
    return records


def _folder(root: Path) -> list[dict[str, Any]]:
    return [
        {"file_name": os.path.abspath(image.path), "image_id": number, "annotations": []}
        for number, image in enumerate(list_images(root), start=1)
    ]
