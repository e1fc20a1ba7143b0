"""Names and locations of the built-in data sets; they are read elsewhere, so that listing the names is cheap."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BuiltinDataset:
    """Where the files of a built-in data set are.

    Attributes:
        images: folder of the images, relative to `datasets_root`.
        annotations: COCO json, relative to `datasets_root`.
        prepare: what ``unseg-d2 prepare-data`` is told to make the annotations; empty if they are downloaded.
        command: command that makes such a label set, where it is made of pseudo-masks.
    """

    images: str
    annotations: str
    prepare: str = ""
    command: str = ""


_NEXT_LABELS = "unseg-d2 self-train"


def _imagenet(annotations: str, command: str = "unseg-d2 generate-masks") -> BuiltinDataset:
    return BuiltinDataset("imagenet/train", f"imagenet/annotations/{annotations}.json", command=command)


LABEL_SHARES = (1, 2, 5, 10, 20, 30, 40, 50, 60, 80)
"""Percent of COCO's labels in the published splits; the experiment with all of them takes ``coco_2017_train``."""


def _coco_semi(percent: int) -> BuiltinDataset:
    annotations = f"coco/annotations/{percent}perc_instances_train2017.json"
    return BuiltinDataset("coco/train2017", annotations, f"coco_semi --percent {percent}")


BUILTIN: dict[str, BuiltinDataset] = {
    "imagenet_train": _imagenet("imagenet_train_fixsize480_tau0.15_N3"),
    "imagenet_train_r1": _imagenet("cutler_imagenet1k_train_r1", _NEXT_LABELS),
    "imagenet_train_r2": _imagenet("cutler_imagenet1k_train_r2", _NEXT_LABELS),
    "imagenet_train_r3": _imagenet("cutler_imagenet1k_train_r3", _NEXT_LABELS),
    "votecut_imagenet_train": _imagenet(
        "imagenet_train_votecut_kmax_3_tuam_0.2", "unseg-d2 generate-masks MASKS.GENERATOR votecut"
    ),
    "coco_train_17_self_training": BuiltinDataset(
        "coco/train2017",
        "coco/annotations/coco_cls_agnostic_instances_train2017_thresh0.2.json",
        command=_NEXT_LABELS,
    ),
    "coco_2017_train": BuiltinDataset("coco/train2017", "coco/annotations/instances_train2017.json"),
    "coco_2017_val": BuiltinDataset("coco/val2017", "coco/annotations/instances_val2017.json"),
    **{f"coco_semi_{percent}perc": _coco_semi(percent) for percent in LABEL_SHARES},
    "cls_agnostic_coco": BuiltinDataset(
        "coco/val2017", "coco/annotations/coco_cls_agnostic_instances_val2017.json", "coco"
    ),
    "cls_agnostic_coco20k": BuiltinDataset(
        "coco/train2014", "coco/annotations/coco20k_trainval_gt.json", "coco20k --image-list FILE"
    ),
    "cls_agnostic_lvis": BuiltinDataset("coco", "coco/annotations/lvis1.0_cocofied_val_cls_agnostic.json", "lvis"),
    "cls_agnostic_voc": BuiltinDataset("voc", "voc/annotations/trainvaltest_2007_cls_agnostic.json", "voc"),
    "cls_agnostic_voc07_trainval": BuiltinDataset(
        "voc", "voc/annotations/trainval_2007_cls_agnostic.json", "voc --subset trainval"
    ),
    "cls_agnostic_voc12_trainval": BuiltinDataset(
        "voc", "voc/annotations/trainval_2012_cls_agnostic.json", "voc --subset trainval --year 2012"
    ),
    "cls_agnostic_kitti": BuiltinDataset("kitti", "kitti/annotations/trainval_cls_agnostic.json", "kitti"),
    "cls_agnostic_kitti_instances": BuiltinDataset(
        "kitti", "kitti/annotations/instances_cls_agnostic.json", "kitti_instances"
    ),
    "cls_agnostic_clipart": BuiltinDataset("clipart", "clipart/annotations/traintest_cls_agnostic.json"),
    "cls_agnostic_watercolor": BuiltinDataset("watercolor", "watercolor/annotations/traintest_cls_agnostic.json"),
    "cls_agnostic_comic": BuiltinDataset("comic", "comic/annotations/traintest_cls_agnostic.json"),
    "cls_agnostic_objects365": BuiltinDataset(
        "objects365/val", "objects365/annotations/zhiyuan_objv2_val_cls_agnostic.json", "objects365"
    ),
    "cls_agnostic_openimages": BuiltinDataset(
        "openImages/validation", "openImages/annotations/openimages_val_cls_agnostic.json", "openimages"
    ),
    "cls_agnostic_openimages_masks": BuiltinDataset(
        "openImages/validation",
        "openImages/annotations/openimages_val_masks_cls_agnostic.json",
        "openimages_masks",
    ),
    "cls_agnostic_sa1b": BuiltinDataset("sa1b", "sa1b/annotations/sa1b_cls_agnostic.json", "sa1b"),
    "cls_agnostic_uvo": BuiltinDataset(
        "uvo/all_UVO_frames", "uvo/annotations/val_sparse_cleaned_cls_agnostic.json", "uvo"
    ),
    "promerge_objects365": BuiltinDataset("objects365/val", "objects365/annotations/objects365_16-40.json"),
    "promerge_sa1b": BuiltinDataset("sa1b", "sa1b/annotations/sa1b.json"),
}
"""Built-in data sets that the user has to provide; datasets/README.md says how to get them."""

ALIASES = {
    "cls_agnostic_coco_val_17": "cls_agnostic_coco",  # CuVLER's name
    "coco_val2017": "cls_agnostic_coco",
    "coco20k": "cls_agnostic_coco20k",
    "lvis_v1_val": "cls_agnostic_lvis",
    "voc07": "cls_agnostic_voc",
    "voc07_trainval": "cls_agnostic_voc07_trainval",
    "voc12_trainval": "cls_agnostic_voc12_trainval",
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

DUTS, OMRON = "http://saliencydetection.net/duts/", "http://saliencydetection.net/dut-omron/"
ECSSD = "https://www.cse.cuhk.edu.hk/leojia/projects/hsaliency/dataset.html"
SALIENCY_DATASETS = {
    "duts_tr": ("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask", DUTS),
    "duts_te": ("DUTS-TE/DUTS-TE-Image", "DUTS-TE/DUTS-TE-Mask", DUTS),
    "dut_omron": ("DUT-OMRON/DUT-OMRON-image", "DUT-OMRON/pixelwiseGT-new-PNG", OMRON),
    "ecssd": ("ECSSD/images", "ECSSD/ground_truth_mask", ECSSD),
}
"""Name to the folders of images and masks below ``$DETECTRON2_DATASETS``, as the archives unpack, and their source."""


def datasets_root() -> Path:
    """Folder of the built-in data sets: ``$DETECTRON2_DATASETS`` or ``./datasets``."""
    return Path(os.environ.get("DETECTRON2_DATASETS") or "datasets").expanduser()
