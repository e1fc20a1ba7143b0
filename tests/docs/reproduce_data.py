"""Stand-ins for the data sets, weights and commands that the pages of docs/reproduce name: small, in the same layout.

All sets hold the same few rendered scenes, as their owners would lay them out, below one folder.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from PIL import Image
from scipy.io import savemat

from unseg_d2.config import load_cfg
from unseg_d2.data.synthetic.dataset import ensure_synthetic
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.checkpoints import save_checkpoint
from unseg_d2.zoo.registry import find

NUM_SCENES = 2
SCENES = ["SYNTHETIC.SIZE", "(96, 128)", "SYNTHETIC.NUM_TRAIN", str(NUM_SCENES), "SYNTHETIC.ONE_COLOUR", "0.0"]
SCENES += ["SYNTHETIC.MAX_OBJECTS", "4", "SYNTHETIC.PITCH", "(36.0, 60.0)", "SYNTHETIC.FLOOR_CONTRAST", "0.04"]
CITY = {0: 7, 1: 11, 2: 24, 3: 26, 4: 33, 5: 23}
"""A label of Cityscapes for each class of the scenes."""


class Scenes:
    """The scenes, and how to write them as somebody's data set."""

    def __init__(self, root: Path) -> None:
        self.root = root
        cfg = load_cfg(None, [*SCENES, "SYNTHETIC.ROOT", str(root / "scenes")])
        images, annotations = ensure_synthetic(cfg, "train")
        self.images = sorted(images.iterdir())
        self.folder = images.parent
        self.coco = json.loads(annotations.read_text())

    def copy(self, pattern: str, masks: str = "") -> list[str]:
        """Write the images under names such as ``coco/val2017/{:012d}.jpg``; return the names below the root."""
        names = []
        for number, image in enumerate(self.images, start=1):
            names.append(pattern.format(number))
            path = self.root / names[-1]
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.open(image).convert("RGB").save(path, **({} if path.suffix == ".png" else {"format": "JPEG"}))
            if masks:
                self._mask(number).save(_parent(self.root / masks.format(number)))
        return names

    def annotate(self, path: str, names: list[str], **more: Any) -> None:
        """Write a COCO file of the scenes, whose images have other names and numbers."""
        content = json.loads(json.dumps(self.coco)) | {"info": {}}
        for image, name in zip(content["images"], names, strict=True):
            image["file_name"] = name
            image |= {key: value.format(name) for key, value in more.items()}
        _parent(self.root / path).write_text(json.dumps(content))

    def boxes(self, number: int) -> list[list[float]]:
        return [a["bbox"] for a in self.coco["annotations"] if a["image_id"] == number]

    def classes(self, number: int) -> np.ndarray:
        return np.asarray(Image.open(self.folder / "semantic" / f"{number:06d}.png"))

    def _mask(self, number: int) -> Image.Image:
        """Everything that is neither sky nor floor, in white."""
        return Image.fromarray(((self.classes(number) > 1) * 255).astype(np.uint8))


def lay_out(root: Path) -> Scenes:
    """Write every data set that a page names, and depth of ImageNet's images in ``root/depth``."""
    scenes = Scenes(root)
    _imagenet(scenes)
    _coco(scenes)
    _boxes(scenes)
    _saliency(scenes)
    _semantic(scenes)
    return scenes


def _imagenet(scenes: Scenes) -> None:
    for number, name in enumerate(scenes.copy("imagenet/train/n0144076{0}/n0144076{0}_1.JPEG"), start=1):
        depth = scenes.root / "depth" / Path(name).relative_to("imagenet/train").with_suffix(".png")
        shutil.copy(scenes.folder / "depth" / f"{number:06d}.png", _parent(depth))


def _coco(scenes: Scenes) -> None:
    for split in ("val2017", "train2017", "train2014"):
        prefix = "COCO_train2014_" if split == "train2014" else ""
        names = [Path(name).name for name in scenes.copy(f"coco/{split}/{prefix}{{:012d}}.jpg")]
        scenes.annotate(f"coco/annotations/instances_{split}.json", names)
        if split == "train2017":
            _repeat(scenes.root / "coco/annotations/instances_train2017.json", 50)
        (scenes.root / "coco_20k_filenames.txt").write_text("\n".join(names))
    names = [f"{number:012d}.jpg" for number in range(1, NUM_SCENES + 1)]
    scenes.annotate("coco/annotations/lvis_v1_val.json", names, coco_url="http://images.cocodataset.org/val2017/{}")


def _repeat(path: Path, times: int) -> None:
    """List each image several times, as images of their own, so that there is a share of one in a hundred."""
    content = json.loads(path.read_text())
    images, annotations = content["images"], content["annotations"]
    content["images"] = [{**i, "id": i["id"] + k * len(images)} for k in range(times) for i in images]
    content["annotations"] = [
        {**a, "id": a["id"] + k * len(annotations), "image_id": a["image_id"] + k * len(images)}
        for k in range(times)
        for a in annotations
    ]
    path.write_text(json.dumps(content))


def _boxes(scenes: Scenes) -> None:
    """Those that have files of their own instead of COCO's, and those whose file is fetched."""
    names = [Path(name).name for name in scenes.copy("objects365/val/{:08d}.jpg")]
    scenes.annotate("objects365/annotations/zhiyuan_objv2_val.json", names)
    scenes.annotate("objects365/annotations/objects365_16-40.json", names)
    names = [Path(name).name for name in scenes.copy("uvo/all_UVO_frames/{:04d}.png")]
    scenes.annotate("uvo/annotations/UVO_frame_val.json", names)
    scenes.annotate("sa1b/annotations/sa1b.json", [name[len("sa1b/") :] for name in scenes.copy("sa1b/sa_{}.jpg")])
    for name in ("clipart", "comic", "watercolor"):
        names = [image[len(name) + 1 :] for image in scenes.copy(f"{name}/JPEGImages/{{}}.jpg")]
        scenes.annotate(f"{name}/annotations/traintest_cls_agnostic.json", names)
    for year in (2007, 2012):
        _voc(scenes, year)
    scenes.copy("kitti/training/image_2/{:06d}.png")
    rows = ["ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsIn"]
    for number in range(1, NUM_SCENES + 1):
        corners = [(x, y, x + w, y + h) for x, y, w, h in scenes.boxes(number)]
        text = "".join(f"Car 0 0 0 {x} {y} {r} {b} 1 1 1 1 1 1 1\n" for x, y, r, b in corners)
        _parent(scenes.root / f"kitti/training/label_2/{number:06d}.txt").write_text(text)
        rows += [f"{number:016x},x,/m/1,1,{x / 128},{r / 128},{y / 96},{b / 96},0,0,0,0,0" for x, y, r, b in corners]
    scenes.copy("openImages/validation/{:016x}.jpg")
    _parent(scenes.root / "openImages/annotations/validation-annotations-bbox.csv").write_text("\n".join(rows) + "\n")


def _voc(scenes: Scenes, year: int) -> None:
    folder = scenes.root / f"voc/VOC{year}"
    prefix = "" if year == 2007 else "2008_"
    names = [Path(name).stem for name in scenes.copy(f"voc/VOC{year}/JPEGImages/{prefix}{{:06d}}.jpg")]
    for number, name in enumerate(names, start=1):
        tree = ElementTree.Element("annotation")
        size = ElementTree.SubElement(tree, "size")
        for key, value in (("width", 128), ("height", 96), ("depth", 3)):
            ElementTree.SubElement(size, key).text = str(value)
        for x, y, width, height in scenes.boxes(number):
            box = ElementTree.SubElement(ElementTree.SubElement(tree, "object"), "bndbox")
            for key, value in (("xmin", x + 1), ("ymin", y + 1), ("xmax", x + width), ("ymax", y + height)):
                ElementTree.SubElement(box, key).text = str(value)
        ElementTree.ElementTree(tree).write(_parent(folder / "Annotations" / f"{name}.xml"))
    for split, part in (("trainval", names[:1]), ("test", names[1:])):
        _parent(folder / f"ImageSets/Main/{split}.txt").write_text("\n".join(part) + "\n")


def _saliency(scenes: Scenes) -> None:
    for images, masks in (
        ("DUTS-TR/DUTS-TR-Image", "DUTS-TR/DUTS-TR-Mask"),
        ("DUTS-TE/DUTS-TE-Image", "DUTS-TE/DUTS-TE-Mask"),
        ("DUT-OMRON/DUT-OMRON-image", "DUT-OMRON/pixelwiseGT-new-PNG"),
        ("ECSSD/images", "ECSSD/ground_truth_mask"),
    ):
        scenes.copy(f"{images}/{{:04d}}.jpg", f"{masks}/{{:04d}}.png")
    shutil.copytree(scenes.root / "ECSSD/ground_truth_mask", scenes.root / "ECSSD/move_masks")


def _semantic(scenes: Scenes) -> None:
    to_city = np.vectorize(lambda value: CITY.get(int(value), 0), otypes=[np.uint8])
    for split in ("train", "val"):
        scenes.copy(f"cityscapes/leftImg8bit/{split}/ulm/ulm_{{:06d}}_leftImg8bit.png")
        scenes.copy(f"cocostuff/images/{split}2017/{{:012d}}.jpg")
        names = [f"{number:012d}" for number in range(1, NUM_SCENES + 1)]
        listed = scenes.root / f"cocostuff/curated/{split}2017/Coco164kFull_Stuff_Coarse_7.txt"
        _parent(listed).write_text("\n".join(names) + "\n")
        for number in range(1, NUM_SCENES + 1):
            city = scenes.root / f"cityscapes/gtFine/{split}/ulm/ulm_{number:06d}_gtFine_labelIds.png"
            Image.fromarray(to_city(scenes.classes(number))).save(_parent(city))
            stuff = scenes.root / f"cocostuff/annotations/{split}2017/{number:012d}.png"
            Image.fromarray(scenes.classes(number)).save(_parent(stuff))
    for number in range(1, NUM_SCENES + 1):
        pixels = np.asarray(Image.open(scenes.images[number - 1]).convert("RGB"))
        for kind, key, value in (("imgs", "img", np.dstack([pixels, pixels[..., :1]])), ("gt", "gt", None)):
            content = scenes.classes(number) % 6 if value is None else value
            savemat(_parent(scenes.root / f"potsdam/{kind}/{number}.mat"), {key: content})
    for split, numbers in (("train", range(1, NUM_SCENES + 1)), ("test", range(1, 2))):
        (scenes.root / f"potsdam/labelled_{split}.txt").write_text("\n".join(map(str, numbers)) + "\n")


def _parent(path: Path) -> Path:
    """Return a path whose folder exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


DETECTOR = {
    "ENGINE": "builtin",
    "MODEL.DEVICE": "cpu",
    "MODEL.RESNETS.DEPTH": "18",
    "MODEL.RESNETS.RES2_OUT_CHANNELS": "64",
    "MODEL.RESNETS.NORM": "BN",
    "MODEL.FPN.NORM": "",
    "MODEL.FPN.OUT_CHANNELS": "16",
    "MODEL.ANCHOR_GENERATOR.SIZES": "[[16],[32],[64],[128],[256]]",
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": "50",
    "MODEL.RPN.POST_NMS_TOPK_TEST": "20",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": "16",
    "MODEL.ROI_BOX_HEAD.FC_DIM": "32",
    "MODEL.ROI_MASK_HEAD.CONV_DIM": "16",
    "MODEL.ROI_MASK_HEAD.NUM_CONV": "1",
    "INPUT.MIN_SIZE_TRAIN": "(64,)",
    "INPUT.MIN_SIZE_TEST": "64",
    "SOLVER.REFERENCE_WORLD_SIZE": "0",
    "SOLVER.IMS_PER_BATCH": "2",
    "SOLVER.STEPS": "()",
    "SOLVER.MAX_ITER": "1",
    "SOLVER.AMP.ENABLED": "False",
    "DATALOADER.NUM_WORKERS": "0",
    "TEST.PRECISE_BN.ENABLED": "False",
    "TEST.DETECTIONS_PER_IMAGE": "5",
    "ROUNDS.SCORE_THRESHOLDS": "(0.0,)",  # a detector that finds nothing certain would end the rounds
}
"""A detector that is trained in a second."""

MASKS = {
    "FEATURES.NAME": "descriptors",
    "FEATURES.WEIGHTS": "",
    "FEATURES.MEMBERS": str([{"DESCRIPTORS": {"PATCH_SIZE": size}} for size in (6, 8, 12)]).replace(" ", ""),
    "FEATURES.IMAGE_SIZE": "96",
    "REFINE.NAME": "guided",
    "MASKS.PROMERGE.TAU": "0.6",
    "MASKS.PROMERGE.MAX_LIKENESS": "1.0",
    "MASKS.PROMERGE.MIN_BACKGROUND": "0.0",
}
"""Masks without weights."""

DEPTH = {"DEPTH.SOURCE": "files", "DEPTH.KIND": "metric", "DEPTH.FILES.SCALE": "0.001"}
"""Depth without a network."""

SALIENCY = {
    "FEATURES.NAME": "descriptors",
    "FEATURES.WEIGHTS": "",
    "FEATURES.IMAGE_SIZE": "64",
    "SALIENCY.IMAGE_SIZE": "64",
    "SALIENCY.SHORTER_SIDE": "72",
    "SALIENCY.PREDICT_SIZE": "64",
    "SALIENCY.HEAD.CHANNELS": "[8]",
    "SOLVER.MAX_ITER": "2",
    "SOLVER.IMS_PER_BATCH": "2",
    "DATALOADER.NUM_WORKERS": "0",
    "MODEL.DEVICE": "cpu",
}
"""A head that is trained in a second."""

SEMANTIC = {
    "FEATURES.NAME": "palette",
    "FEATURES.IMAGE_SIZE": "64",
    "SEMANTIC.IMAGE_SIZE": "64",
    "SEMANTIC.INIT.EPOCHS": "1",
    "SEMANTIC.INIT.BASELINE_EPOCHS": "1",
    "SEMANTIC.INIT.NUM_BATCHES": "1",
    "SEMANTIC.EM.EPOCHS": "1",
    "SEMANTIC.TEST.CRF": "False",
    "SOLVER.IMS_PER_BATCH": "2",
    "DATALOADER.NUM_WORKERS": "0",
    "MODEL.DEVICE": "cpu",
}
"""Prototypes that are trained in a second."""


def small(page: str, data: Path) -> str:
    """Return what ``OPTS`` has to be for a page to run on stand-ins."""
    if page.startswith("two_tricks"):
        settings = SALIENCY
    elif page == "primaps":
        settings = SEMANTIC
    else:
        settings = DETECTOR | MASKS
        if page == "cutler_label_efficient":
            settings = settings | {"MODEL.ROI_HEADS.NUM_CLASSES": "4", "TEST.EVAL_PERIOD": "0"}
        if page != "cuvler":  # several backends vote there
            settings = settings | {"FEATURES.MEMBERS": "[]"}
        if page.startswith("cuts3d"):
            settings = settings | DEPTH | {"DEPTH.FILES.ROOT": str(data / "depth")}
    return " ".join(f"{key}={value}" for key, value in settings.items())


def fill_zoo(folder: Path, names: set[str]) -> None:
    """Write a file for entries of the zoo: a small detector with random weights, or the backbone of one."""
    overrides = [part for pair in DETECTOR.items() for part in pair]
    folder.mkdir(exist_ok=True)
    for entry in map(find, names):
        if (folder / str(entry.file)).exists():
            continue
        is_detector = entry.kind == "detector"
        recipe = entry.recipe_file() if is_detector else "configs/cutler/mask_rcnn_R_50_FPN.yaml"
        save_checkpoint(folder / str(entry.file), build_model(load_cfg(recipe, overrides)))
        if not is_detector:
            state = torch.load(folder / str(entry.file), weights_only=True)["model"]
            backbone = {key: value for key, value in state.items() if key.startswith("backbone.bottom_up.")}
            torch.save({"model": backbone}, folder / str(entry.file))
