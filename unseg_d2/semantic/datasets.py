"""Images with class labels: Cityscapes-27, COCO-Stuff-27, Potsdam-3, synthetic scenes and any folder.

Layouts below ``$DETECTRON2_DATASETS`` (or ``datasets/``), those of the data sets themselves and of IIC:

    cityscapes/   leftImg8bit/<split>/<city>/*_leftImg8bit.png      gtFine/<split>/<city>/*_gtFine_labelIds.png
    cocostuff/    images/<split>2017/<id>.jpg                       annotations/<split>2017/<id>.png
                  curated/<split>2017/Coco164kFull_Stuff_Coarse_7.txt  (the ids)
    potsdam/      imgs/<id>.mat (field img)                         gt/<id>.mat (field gt)
                  labelled_train.txt, labelled_test.txt             (the ids)

Shape legend
    H, W   height and width of an image in pixels
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from fvcore.common.config import CfgNode
from scipy.io import loadmat

from unseg_d2.data.builtin import datasets_root
from unseg_d2.data.catalog import SYNTHETIC
from unseg_d2.data.images import ImageProblem, list_images, read_image
from unseg_d2.data.pictures.reading import DEFAULT_READING, Reading
from unseg_d2.data.pictures.stored import read_stored
from unseg_d2.data.settings import InputSettings
from unseg_d2.data.spec import split_spec
from unseg_d2.data.synthetic import CLASSES, ensure_synthetic
from unseg_d2.errors import UnsegError, nearest
from unseg_d2.losses.class_focal import IGNORE
from unseg_d2.semantic.class_maps import (
    CITYSCAPES_NAMES,
    COCOSTUFF_IDS,
    POTSDAM_NAMES,
    cityscapes_map,
    cocostuff_map,
    plain_map,
    potsdam_map,
)
from unseg_d2.storage.access import is_folder, is_there
from unseg_d2.storage.addresses import to_path

SOURCES = {
    "cityscapes": "https://www.cityscapes-dataset.com (leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip)",
    "cocostuff": "https://github.com/nightrome/cocostuff (images and pixel maps of 2017) and "
    "https://www.robots.ox.ac.uk/~xuji/datasets/COCOStuff164kCurated.tar.gz (the lists)",
    "potsdam": "https://www.robots.ox.ac.uk/~xuji/datasets/Potsdam.tar.gz",
}
"""Where each data set comes from; the two archives are those of IIC (Ji et al., ICCV 2019)."""


@dataclass(frozen=True)
class SemanticImage:
    """An image, and its labels where there are some.

    Attributes:
        name: unique in the set, without an ending; may hold forward slashes.
        image: its file.
        labels: file of its labels.
    """

    name: str
    image: Path
    labels: Path | None = None


@dataclass(frozen=True)
class SemanticSet:
    """A set of images.

    Attributes:
        images: sorted by name, or in the order of the set's list.
        classes: names of the classes of the labels.
        class_map: ``(256,)`` uint8, class of each number in a label file; 255 is none.
        reading: how the images become RGB.
    """

    images: list[SemanticImage]
    classes: tuple[str, ...]
    class_map: np.ndarray
    reading: Reading = DEFAULT_READING

    @property
    def labelled(self) -> bool:
        """Whether every image has labels."""
        return all(image.labels is not None for image in self.images)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return an image ``(H, W, 3)`` uint8 RGB and its classes ``(H, W)`` uint8, 255 where there is none.

        Raises:
            UnsegError: a file is missing or damaged, or the labels do not have the size of the image.
        """
        item = self.images[index]
        image = _read_image(item.image, self.reading)
        if item.labels is None:
            return image, None
        labels = _read_labels(item.labels)
        if labels.shape != image.shape[:2]:
            raise UnsegError(
                f"The labels {item.labels} have {_size(labels)}, but their image {item.image} has {_size(image)}."
            )
        return image, self.class_map[labels]


def load_semantic_set(spec: str, cfg: CfgNode) -> SemanticSet:
    """Return a set of images.

    Args:
        spec: a name of :data:`BUILTIN`, ``synthetic_train`` or ``synthetic_val``; a folder of images; or
            ``images::labels``, a folder of images and one of ``.png`` files with the same names, whose numbers are
            classes.
        cfg: its ``SYNTHETIC`` block describes the synthetic scenes, its ``SEMANTIC`` block the classes of a folder.

    Raises:
        UnsegError: no such set, or it is not where it should be; the message says where to get it.
    """
    return replace(_load(spec, cfg), reading=InputSettings.from_config(cfg).reading)


def _load(spec: str, cfg: CfgNode) -> SemanticSet:
    if spec in BUILTIN:
        return BUILTIN[spec]()
    if spec in SYNTHETIC:
        return _synthetic(spec, cfg)
    images, labels = split_spec(spec)
    if is_folder(images):
        return _folder(to_path(images), Path(labels) if labels else None, cfg)
    known = [*BUILTIN, *SYNTHETIC]
    hint = nearest(spec, known) or f" Built-in names are {', '.join(known)}."
    raise UnsegError(f"'{spec}' is neither a data set with classes nor a folder of images.{hint}")


def _cityscapes(split: str) -> SemanticSet:
    images = _there("cityscapes", f"leftImg8bit/{split}")
    labels = _there("cityscapes", f"gtFine/{split}")
    ending = "_leftImg8bit.png"
    items = []
    for path in sorted(images.glob(f"*/*{ending}")):
        stem = path.name.removesuffix(ending)
        city = path.parent.name
        items.append(SemanticImage(f"{city}/{stem}", path, labels / city / f"{stem}_gtFine_labelIds.png"))
    return _checked(items, images, CITYSCAPES_NAMES, cityscapes_map())


def _cocostuff(split: str) -> SemanticSet:
    ids = _read_list(_there("cocostuff", f"curated/{split}2017/Coco164kFull_Stuff_Coarse_7.txt"))
    images, labels = (_there("cocostuff", f"{kind}/{split}2017") for kind in ("images", "annotations"))
    items = [SemanticImage(name, images / f"{name}.jpg", labels / f"{name}.png") for name in ids]
    return _checked(items, images, tuple(COCOSTUFF_IDS), cocostuff_map())


def _potsdam(split: str) -> SemanticSet:
    ids = _read_list(_there("potsdam", f"labelled_{split}.txt"))
    images, labels = _there("potsdam", "imgs"), _there("potsdam", "gt")
    items = [SemanticImage(name, images / f"{name}.mat", labels / f"{name}.mat") for name in ids]
    return _checked(items, images, POTSDAM_NAMES, potsdam_map())


BUILTIN: dict[str, Callable[[], SemanticSet]] = {
    "cityscapes27_train": lambda: _cityscapes("train"),
    "cityscapes27_val": lambda: _cityscapes("val"),
    "cocostuff27_train": lambda: _cocostuff("train"),
    "cocostuff27_val": lambda: _cocostuff("val"),
    "potsdam3_train": lambda: _potsdam("train"),
    "potsdam3_val": lambda: _potsdam("test"),
}
"""Data sets of the paper, which have to be there."""


def _synthetic(spec: str, cfg: CfgNode) -> SemanticSet:
    images, _ = ensure_synthetic(cfg, SYNTHETIC[spec])
    labels = images.parent / "semantic"
    if not labels.is_dir():
        raise UnsegError(f"{images.parent} was made before scenes had classes; delete it, it is made again.")
    items = [SemanticImage(image.path.stem, image.path, labels / image.path.name) for image in list_images(images)]
    return SemanticSet(items, CLASSES, plain_map(len(CLASSES)))


def _folder(images: Path, labels: Path | None, cfg: CfgNode) -> SemanticSet:
    if labels is not None and not labels.is_dir():
        raise UnsegError(f"There is no folder {labels}, which should hold the labels of {images}.")
    count = cfg.SEMANTIC.NUM_LABELS or cfg.SEMANTIC.NUM_CLASSES
    if count > IGNORE:
        raise UnsegError(f"Label maps have 8 bits, so that there are at most {IGNORE} classes, not {count}.")
    items = []
    for image in list_images(images):
        name = Path(image.file_name).with_suffix("").as_posix()
        items.append(SemanticImage(name, image.path, None if labels is None else labels / f"{name}.png"))
    names = [item.name for item in items]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UnsegError(f"{images} has two images named {twice}, with different endings; rename one.")
    return _checked(items, images, tuple(f"class {index}" for index in range(count)), plain_map(count))


def _checked(items: list[SemanticImage], where: Path, classes: tuple[str, ...], class_map: np.ndarray) -> SemanticSet:
    """Raise unless there are images and none of the files is missing: a gap would silently change the scores."""
    if not items:
        raise UnsegError(f"There is no image in {where}.")
    missing = [path for item in items for path in (item.image, item.labels) if path and not is_there(path)]
    if missing:
        raise UnsegError(f"{len(missing)} files of {len(items)} images are missing, the first is {missing[0]}.")
    return SemanticSet(items, classes, class_map)


def _there(name: str, relative: str) -> Path:
    path = datasets_root() / name / relative
    if not path.exists():
        raise UnsegError(
            f"The data set {name} needs {path}, which is not there; get it from {SOURCES[name]}, or set the "
            "environment variable DETECTRON2_DATASETS to the folder of your data sets."
        )
    return path


def _read_list(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split()


def _read_image(path: Path, reading: Reading) -> np.ndarray:
    if path.suffix != ".mat":
        try:
            return read_image(path, reading)
        except UnsegError as error:
            raise UnsegError(f"{path} cannot be used: {error}.") from None
    image = _read_mat(path, "img")  # red, green, blue, infrared
    if image.ndim != 3 or image.shape[2] < 3 or image.dtype != np.uint8:
        raise UnsegError(f"'img' in {path} is {image.dtype} {image.shape}, but (H, W, 4) uint8 is expected.")
    return np.ascontiguousarray(image[..., :3])


def _read_labels(path: Path) -> np.ndarray:
    """Return the numbers in a label file, ``(H, W)`` uint8."""
    if path.suffix == ".mat":
        labels = _read_mat(path, "gt")
    else:
        try:
            labels = read_stored(path)
        except ImageProblem as error:
            raise UnsegError(f"{path} cannot be read as labels: {error}.") from None
    if labels.ndim != 2:
        raise UnsegError(f"{path} is a colour picture, but labels are one number per pixel.")
    return np.where((labels >= 0) & (labels < 256), labels, IGNORE).astype(np.uint8)


def _read_mat(path: Path, field: str) -> np.ndarray:
    try:
        content = loadmat(os.fspath(path))
    except Exception as error:  # the parser raises nearly anything on damaged files
        raise UnsegError(f"{path} cannot be read as a .mat file: {error}.") from None
    if field not in content:
        raise UnsegError(f"{path} has no field '{field}'.")
    return content[field]


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]} pixels"
