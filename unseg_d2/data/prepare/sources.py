"""Where the data sets of the benchmarks come from, and what makes their annotation files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unseg_d2.data.prepare.coco_like import (
    prepare_coco,
    prepare_coco20k,
    prepare_lvis,
    prepare_objects365,
    prepare_uvo,
)
from unseg_d2.data.prepare.coco_semi import prepare_coco_semi
from unseg_d2.data.prepare.kitti import prepare_kitti, prepare_kitti_instances
from unseg_d2.data.prepare.openimages import prepare_openimages, prepare_openimages_masks
from unseg_d2.data.prepare.sa1b import prepare_sa1b
from unseg_d2.data.prepare.voc import prepare_voc
from unseg_d2.data.prepare.writer import Prepared

_COCO = "annotations CC BY 4.0; images of Flickr, each under its own licence"
_CUTLER = "http://dl.fbaipublicfiles.com/cutler"
UNVERIFIED = "not verified"
"""Marks facts that were not checked at their source."""


@dataclass(frozen=True)
class Source:
    """A data set as its owners publish it.

    Attributes:
        title: its name.
        downloads: what to download from where, and how large it is.
        licence: of annotations and images; the owners' page is authoritative.
        layout: where to put it, below the folder of the data sets.
        published: file of the authors of CutLER, which can be used in place of the converted one.
        prepare: makes the annotation file.
    """

    title: str
    downloads: tuple[str, ...]
    licence: str
    layout: str
    published: str
    prepare: Callable[..., Prepared]

    def lines(self, root: Path) -> list[str]:
        """Return what to print before anything is converted."""
        lines = [f"data set  {self.title}", *(f"download  {item}" for item in self.downloads)]
        lines += [f"licence   {self.licence}", f"layout    {root}/{self.layout}"]
        return lines + ([f"instead   {self.published} (published with CutLER)"] if self.published else [])


SOURCES = {
    "coco": Source(
        "COCO val2017",
        (
            "http://images.cocodataset.org/zips/val2017.zip (1 GB, 5000 images)",
            "http://images.cocodataset.org/annotations/annotations_trainval2017.zip (241 MB)",
        ),
        _COCO,
        "coco/{val2017/*.jpg, annotations/instances_val2017.json}",
        f"{_CUTLER}/coco/coco_cls_agnostic_instances_val2017.json",
        prepare_coco,
    ),
    "coco_semi": Source(
        "A share of COCO's labels",
        (
            "http://images.cocodataset.org/zips/train2017.zip (18 GB, 118287 images)",
            "http://images.cocodataset.org/annotations/annotations_trainval2017.zip (241 MB)",
        ),
        _COCO,
        "coco/{train2017/*.jpg, annotations/instances_train2017.json}",
        f"{_CUTLER}/coco-smi/annotations.zip, the ten splits",
        prepare_coco_semi,
    ),
    "coco20k": Source(
        "COCO20K",
        (
            f"http://images.cocodataset.org/zips/train2014.zip (13 GB, {UNVERIFIED})",
            f"http://images.cocodataset.org/annotations/annotations_trainval2014.zip (241 MB, {UNVERIFIED})",
            "https://github.com/valeoai/LOST/blob/master/datasets/coco_20k_filenames.txt (the list: 19817 images)",
        ),
        _COCO,
        "coco/{train2014/*.jpg, annotations/instances_train2014.json}",
        f"{_CUTLER}/coco/coco20k_trainval_gt.json",
        prepare_coco20k,
    ),
    "lvis": Source(
        "LVIS v1 val",
        (
            f"https://www.lvisdataset.org/dataset: lvis_v1_val.json.zip (64 MB, {UNVERIFIED})",
            "images: COCO train2017 and val2017; the validation set of LVIS v1 uses both",
        ),
        f"annotations CC BY 4.0 ({UNVERIFIED}); images as COCO's",
        "coco/{train2017/*.jpg, val2017/*.jpg, annotations/lvis_v1_val.json}",
        f"{_CUTLER}/coco/lvis1.0_cocofied_val_cls_agnostic.json",
        prepare_lvis,
    ),
    "voc": Source(
        "Pascal VOC 2007",
        (
            f"http://host.robots.ox.ac.uk/pascal/VOC/voc2007: VOCtrainval_06-Nov-2007.tar (439 MB, {UNVERIFIED})",
            f"the same page: VOCtest_06-Nov-2007.tar (431 MB, {UNVERIFIED})",
        ),
        "images of Flickr, under Flickr's terms",
        "voc/VOC2007/{JPEGImages, Annotations, ImageSets/Main}",
        f"{_CUTLER}/voc/trainvaltest_2007_cls_agnostic.json",
        prepare_voc,
    ),
    "kitti": Source(
        "KITTI object benchmark",
        (
            "https://www.cvlibs.net/datasets/kitti/eval_object.php?obj_benchmark=2d, with registration: "
            f"left color images (12 GB, {UNVERIFIED}) and training labels (5 MB, {UNVERIFIED})",
        ),
        "CC BY-NC-SA 3.0",
        "kitti/training/{image_2/*.png, label_2/*.txt}",
        "https://dl.fbaipublicfiles.com/cutler/kitti/trainval_cls_agnostic.json, for images in kitti/JPEGImages",
        prepare_kitti,
    ),
    "kitti_instances": Source(
        "KITTI instance benchmark (2015)",
        (
            "http://www.cvlibs.net/datasets/kitti/eval_instance_seg.php?benchmark=instanceSeg2015: data_semantics.zip "
            f"(314 MB, {UNVERIFIED}; 200 training images)",
        ),
        "CC BY-NC-SA 3.0",
        "kitti/semantics/training/{image_2/*.png, instance/*.png}",
        "",
        prepare_kitti_instances,
    ),
    "objects365": Source(
        "Objects365 v2 val",
        (f"https://www.objects365.org/download.html, with registration (size {UNVERIFIED})",),
        f"annotations CC BY 4.0 ({UNVERIFIED}); images of Flickr, each under its own licence",
        "objects365/{val/..., annotations/zhiyuan_objv2_val.json}",
        f"{_CUTLER}/objects365/zhiyuan_objv2_val_cls_agnostic.json",
        prepare_objects365,
    ),
    "openimages": Source(
        "Open Images V6 validation",
        (
            "https://storage.googleapis.com/openimages/web/download_v6.html: validation images (41620; 12 GB, "
            f"{UNVERIFIED}) and validation-annotations-bbox.csv",
        ),
        f"annotations CC BY 4.0, images listed as CC BY 2.0 ({UNVERIFIED})",
        "openImages/{validation/*.jpg, annotations/validation-annotations-bbox.csv}",
        f"{_CUTLER}/openImages/openimages_val_cls_agnostic.json",
        prepare_openimages,
    ),
    "openimages_masks": Source(
        "Open Images V6 validation, masks",
        (
            "https://storage.googleapis.com/openimages/web/download_v6.html: validation images, "
            f"validation-annotations-object-segmentation.csv and validation-masks-{{0..f}}.zip (size {UNVERIFIED})",
        ),
        f"annotations CC BY 4.0, images listed as CC BY 2.0 ({UNVERIFIED})",
        "openImages/{validation/*.jpg, masks/*.png, annotations/validation-annotations-object-segmentation.csv}",
        "",
        prepare_openimages_masks,
    ),
    "sa1b": Source(
        "SA-1B",
        (
            "https://ai.meta.com/datasets/segment-anything-downloads, after agreeing: 1000 archives sa_000000.tar ... "
            f"(11 GB each, {UNVERIFIED}); take as many as you like and state how many with the results",
        ),
        f"SA-1B Dataset Research License: research only ({UNVERIFIED})",
        "sa1b/sa_000000/{sa_*.jpg, sa_*.json}",
        "",
        prepare_sa1b,
    ),
    "uvo": Source(
        "UVO v1.0, FrameSet",
        (
            "https://sites.google.com/view/unidentified-video-object/dataset: UVO_frame_val.json (7356 frames of 2452 "
            f"videos) and the frames, or the Kinetics-400 videos to cut them from (size {UNVERIFIED})",
        ),
        f"annotations: see the page ({UNVERIFIED}); videos of Kinetics-400",
        "uvo/{all_UVO_frames/..., annotations/UVO_frame_val.json}",
        f"{_CUTLER}/uvo/val_sparse_cleaned_cls_agnostic.json",
        prepare_uvo,
    ),
}
"""Name of each data set as in ``datasets/prepare_NAME.py``."""
