"""COCO annotation files: checked on reading, forgiving where published files are known to differ."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.errors import UnsegError
from unseg_d2.rle import decode_confidence, decode_mask, encode_mask, run_totals, to_rle

__all__ = [
    "CocoDataset",
    "check_coco",
    "decode_mask",
    "encode_mask",
    "find_image_root",
    "read_coco",
    "read_json",
    "resolve_image",
    "to_records",
]

logger = logging.getLogger(__name__)


@dataclass
class CocoDataset:
    """The content of a COCO annotation file.

    Attributes:
        images: ``{id, file_name, height, width, ...}`` each.
        annotations: ``{id, image_id, bbox (XYWH, px), area, iscrowd, segmentation, ...}`` each.
        categories: ``{id, name, ...}`` each.
        info: what the file says about itself.
    """

    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    info: dict[str, Any] = field(default_factory=dict)


def read_coco(path: str | Path, *, need_annotations: bool = True) -> CocoDataset:
    """Read a COCO annotation file and check that its parts fit together.

    Files whose images have width and height swapped, as MaskCut's published ones do, are corrected: the size in the
    RLE decides.

    Args:
        path: the file.
        need_annotations: with ``False`` a bare list of images is accepted too.

    Raises:
        UnsegError: not JSON, a key is missing, ids are not unique, or a mask does not fit its image.
    """
    content = read_json(Path(path))
    try:
        return check_coco(content, need_annotations=need_annotations)
    except UnsegError as error:
        raise UnsegError(f"{path}: {error}") from None


def check_coco(content: Any, *, need_annotations: bool = True) -> CocoDataset:
    """Check the content of a COCO annotation file, as `read_coco` does for a file.

    Args:
        content: what the JSON holds.
        need_annotations: with ``False`` a bare list of images is accepted too.

    Raises:
        UnsegError: see `read_coco`.
    """
    if isinstance(content, list):
        raise UnsegError("a list of results, but a data set with 'images' and 'annotations' is needed.")
    for key in ("images", "annotations") if need_annotations else ("images",):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UnsegError(f"the list '{key}' is missing, so this is not a COCO annotation file.")
    dataset = CocoDataset(
        images=[dict(image) for image in content["images"] if _is_dict(image, "images")],
        annotations=[dict(a) for a in content.get("annotations", []) if _is_dict(a, "annotations")],
        categories=content.get("categories") or [{"id": 1, "name": "fg"}],
        info=content.get("info") or {},
    )
    _check_images(dataset.images, need_size=bool(dataset.annotations))
    _check_annotations(dataset)
    return dataset


def to_records(
    dataset: CocoDataset, image_root: str | Path, classes: Mapping[Any, int] | None = None
) -> list[dict[str, Any]]:
    """Turn a data set into Detectron2's standard dataset dicts, by default of one class.

    Args:
        dataset: what `read_coco` returned.
        image_root: folder that the file names are relative to.
        classes: id of each category to its class number; ``None`` gives all annotations class 0.

    Returns:
        Per image ``{file_name (absolute), image_id, height, width, annotations}`` and per annotation ``{bbox (XYWH,
        px), bbox_mode (1), category_id (class number), iscrowd, area}`` and, where present, ``score``,
        ``segmentation`` and ``confidence``.

    Raises:
        UnsegError: a file name points outside ``image_root``.
    """
    annotations: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in dataset.images}
    for annotation in dataset.annotations:
        annotations[annotation["image_id"]].append(_record_annotation(annotation, classes))
    records = []
    for image in dataset.images:
        path = str(resolve_image(image_root, image["file_name"]))
        record = {"file_name": path, "image_id": image["id"], "annotations": annotations[image["id"]]}
        records.append(record | {key: image[key] for key in ("height", "width") if key in image})
    return records


def resolve_image(root: str | Path, file_name: str) -> Path:
    """Return the absolute path of an image, which must be below the root.

    Raises:
        UnsegError: an absolute path or ``..`` leads out of the root.

    >>> resolve_image("/data", "train/../1.jpg").as_posix()
    '/data/1.jpg'
    """
    absolute = os.path.abspath(root)
    path = os.path.normpath(os.path.join(absolute, file_name))
    if "\0" in file_name or os.path.commonpath([absolute, path]) != absolute or path == absolute:
        raise UnsegError(f"file_name {file_name!r} points outside the image folder {root}.")
    return Path(path)


def find_image_root(dataset: CocoDataset, path: str | Path) -> Path:
    """Guess the folder of the images of an annotation file.

    Tried in this order: ``image_root`` in its ``info``, the folder of the file, ``images`` in it, and ``images`` beside
    it; the first that holds the first image is returned.

    Args:
        dataset: what `read_coco` returned.
        path: the annotation file.

    Raises:
        UnsegError: none of them has the first image.
    """
    folder = Path(path).resolve().parent
    roots = [folder, folder / "images", folder.parent / "images"]
    if dataset.info.get("image_root"):
        roots.insert(0, folder / dataset.info["image_root"])
    first = dataset.images[0]["file_name"] if dataset.images else ""
    for root in roots:
        if not first or resolve_image(root, first).is_file():
            return root
    raise UnsegError(
        f"The images of {path} were not found: {first} is in none of {', '.join(map(str, roots))}. "
        f"Name their folder with {path}::FOLDER."
    )


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        UnsegError: it does not exist, or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UnsegError(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise UnsegError(f"{path} is a folder, but a COCO annotation file is needed.") from None
    except json.JSONDecodeError as error:
        raise UnsegError(f"{path} is not JSON: {error.msg} in line {error.lineno}.") from None
    except UnicodeDecodeError:
        raise UnsegError(f"{path} is not JSON: it is not text.") from None


def _is_dict(item: Any, where: str) -> bool:
    if not isinstance(item, dict):
        raise UnsegError(f"an entry of '{where}' is {item!r}, but a dictionary is needed.")
    return True


def _check_images(images: list[dict[str, Any]], *, need_size: bool) -> None:
    for image in images:
        for key in ("id", "file_name"):
            if key not in image:
                raise UnsegError(f"an image lacks the key '{key}': {str(image)[:80]}.")
        if not isinstance(image["file_name"], str):
            raise UnsegError(f"the file_name of image {image['id']} is {image['file_name']!r}, but text is needed.")
        sides: list[Any] = [image.get(key) for key in ("height", "width")]
        if sides == [None, None] and not need_size:
            continue
        if not all(isinstance(side, (int, float)) and side >= 1 and side == int(side) for side in sides):
            raise UnsegError(f"image {image['id']} lacks a valid 'height' and 'width': {sides[0]} and {sides[1]}.")
        image["height"], image["width"] = int(sides[0]), int(sides[1])
    _check_unique(images, "image")


def _check_unique(items: list[dict[str, Any]], what: str) -> None:
    try:
        repeated = [key for key, count in Counter(item["id"] for item in items).items() if count > 1]
    except TypeError:
        raise UnsegError(f"the id of an {what} is neither a number nor text.") from None
    if repeated:
        raise UnsegError(f"the {what} id {repeated[0]} occurs more than once ({len(repeated)} ids do).")


def _check_annotations(dataset: CocoDataset) -> None:
    images = {image["id"]: image for image in dataset.images}
    for index, annotation in enumerate(dataset.annotations):
        annotation.setdefault("id", index + 1)
        if "image_id" not in annotation:
            raise UnsegError(f"annotation {annotation['id']} lacks the key 'image_id'.")
        if annotation["image_id"] not in images:
            raise UnsegError(
                f"annotation {annotation['id']} belongs to image {annotation['image_id']}, which is not listed."
            )
        if not annotation.get("segmentation") and "bbox" not in annotation:
            raise UnsegError(f"annotation {annotation['id']} has neither 'segmentation' nor 'bbox'.")
    _check_unique(dataset.annotations, "annotation")
    _exchange_swapped_sizes(dataset, images)
    for annotation in dataset.annotations:
        image = images[annotation["image_id"]]
        try:
            _complete(annotation, image["height"], image["width"])
        except UnsegError as error:
            raise UnsegError(f"annotation {annotation['id']} of {image['file_name']}: {error}") from None
    for start in range(0, len(dataset.annotations), 10_000):
        _check_run_lengths(dataset.annotations[start : start + 10_000])


def _exchange_swapped_sizes(dataset: CocoDataset, images: dict[Any, dict[str, Any]]) -> None:
    """Swap height and width of the images whose RLEs say so; of all images if no RLE contradicts it."""
    right, swapped = set(), set()
    for annotation in dataset.annotations:
        segmentation, image = annotation.get("segmentation"), images[annotation["image_id"]]
        if not isinstance(segmentation, dict) or image["height"] == image["width"]:
            continue
        if segmentation.get("size") == [image["height"], image["width"]]:
            right.add(image["id"])
        elif segmentation.get("size") == [image["width"], image["height"]]:
            swapped.add(image["id"])
    if not swapped:
        return
    for image in dataset.images if not right else [images[key] for key in swapped - right]:
        image["height"], image["width"] = image["width"], image["height"]
    logger.info("Width and height of the images are swapped in the file; the size of the masks is used instead.")


def _complete(annotation: dict[str, Any], height: int, width: int) -> None:
    """Check mask and box of an annotation and fill in what follows from them, in place."""
    segmentation: Any = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        compressed = isinstance(segmentation.get("counts"), str) and segmentation.get("size") == [height, width]
        annotation["segmentation"] = segmentation if compressed else to_rle(segmentation, height, width)
    elif segmentation:
        _check_polygons(segmentation)
    annotation["iscrowd"] = int(annotation.get("iscrowd", 0))
    annotation["category_id"] = int(annotation.get("category_id", 1))
    if "bbox" not in annotation:
        annotation["bbox"] = [float(v) for v in mask_utils.toBbox(to_rle(segmentation, height, width))]
    bbox = annotation["bbox"]
    if not (isinstance(bbox, list) and len(bbox) == 4 and all(_is_number(value) for value in bbox)):
        raise UnsegError(f"bbox is {bbox!r}, but four numbers (x, y, width, height) are needed.")
    if not _is_number(annotation.get("score", 1.0)):
        raise UnsegError(f"score is {annotation['score']!r}, but a number is needed.")
    if annotation.get("confidence"):
        decode_confidence(annotation["confidence"])
    if not _is_number(annotation.get("area")):
        area = mask_utils.area(to_rle(segmentation, height, width)) if segmentation else bbox[2] * bbox[3]
        annotation["area"] = float(area)


def _check_run_lengths(annotations: list[dict[str, Any]]) -> None:
    """Check the run lengths of many masks in one go; one by one it would take minutes for a million images."""
    masks = [annotation for annotation in annotations if isinstance(annotation.get("segmentation"), dict)]
    totals = run_totals([annotation["segmentation"]["counts"] for annotation in masks])
    for annotation, total in zip(masks, totals):
        height, width = annotation["segmentation"]["size"]
        if total != height * width:
            raise UnsegError(f"annotation {annotation['id']} is damaged: run lengths do not sum to {height}x{width}.")


def _check_polygons(polygons: Any) -> None:
    for polygon in polygons if isinstance(polygons, list) else [None]:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise UnsegError("a polygon needs at least three points (x1, y1, x2, y2, x3, y3, ...).")


def _record_annotation(annotation: dict[str, Any], classes: Mapping[Any, int] | None) -> dict[str, Any]:
    number = 0 if classes is None else classes[annotation["category_id"]]
    record = {key: annotation[key] for key in ("bbox", "iscrowd", "area")}
    record |= {"bbox_mode": 1, "category_id": number}
    if annotation.get("score") is not None:
        record["score"] = float(annotation["score"])
    return record | {key: annotation[key] for key in ("segmentation", "confidence") if annotation.get(key)}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)
