"""What is exported: a label set or predictions, with regions of which nobody knows what is in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.data.annotations.parse import quoted
from unseg_d2.data.coco import CocoDataset, check_coco
from unseg_d2.data.results import read_result_list
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.label_set import read_label_set
from unseg_d2.pseudo.shards import ShardFolder
from unseg_d2.rle import to_rle

Annotation = dict[str, Any]


def read_source(labels: Path, data: Path | None) -> CocoDataset:
    """Read a label set, or predictions together with the data set that they are for.

    Args:
        labels: COCO file, folder of a label set, or COCO results.
        data: COCO file or label set with the images of the results.

    Raises:
        UnsegError: a file is missing or damaged, results have no ``data``, a label set has, or is not finished.
    """
    results = read_result_list(labels)
    if results is not None:
        if data is None:
            raise UnsegError(f"{labels} holds results without file names; name the data set (--gt) that they are for.")
        return dataset_of(results, read_label_set(data), labels)
    if data is not None:
        raise UnsegError(f"{labels} is a label set, which names its images itself; leave --gt {data} out.")
    if labels.is_dir() and not (labels / "labels.json").is_file():
        shards = ShardFolder(labels)
        shards.load()
        if shards.num_missing():
            raise UnsegError(
                f"{labels} is not finished: run the command that made it again, or write what is there with "
                "export-masks --partial and export that."
            )
    return read_label_set(labels)


def dataset_of(results: Sequence[dict[str, Any]], data: CocoDataset, path: Path) -> CocoDataset:
    """Return COCO results as a data set with the images and classes of the one that they are for.

    Args:
        results: with an ``image_id`` of ``data`` each.
        data: the data set.
        path: of the results, for messages.

    Raises:
        UnsegError: a result is of another image.
    """
    annotations = [{**result, "id": number} for number, result in enumerate(results, 1)]
    try:
        made = check_coco({"images": data.images, "annotations": annotations, "categories": data.categories})
    except UnsegError as error:
        raise UnsegError(f"{path}: {error}") from None
    return replace(made, info={key: data.info[key] for key in ("image_root",) if key in data.info})


def ignore_below(dataset: CocoDataset, score: float) -> tuple[CocoDataset, int]:
    """Make crowd regions of the masks whose score is below a limit; those without a score stay as they are.

    Returns:
        The data set, and the number of masks that became regions.
    """
    uncertain = [
        annotation.get("score", score) < score and not annotation["iscrowd"] for annotation in dataset.annotations
    ]
    annotations = [item | {"iscrowd": 1} if low else item for item, low in zip(dataset.annotations, uncertain)]
    return replace(dataset, annotations=annotations), sum(uncertain)


def ignore_unlabelled(dataset: CocoDataset) -> tuple[CocoDataset, int]:
    """Add to every image that is not done a crowd region of all that no mask covers.

    Returns:
        The data set, and the number of regions.

    Raises:
        UnsegError: the size of an image is not known.
    """
    keys = [annotation["id"] for annotation in dataset.annotations]
    free = max((key for key in keys if isinstance(key, int)), default=0) + 1
    regions: list[Annotation] = []
    for image, items in by_image(dataset):
        if image.get("done"):
            continue
        height, width = size_of(image)
        masks = [rle(annotation, image) for annotation in items]
        covered = np.zeros((height, width), np.uint8, order="F")
        if masks:
            covered = mask_utils.decode(mask_utils.merge(masks))
        region = mask_utils.encode(np.asfortranarray(1 - covered))
        if area := int(mask_utils.area(region)):
            regions.append(
                {
                    "id": free + len(regions),
                    "image_id": image["id"],
                    "category_id": dataset.categories[0]["id"],
                    "iscrowd": 1,
                    "area": area,
                    "bbox": [float(value) for value in mask_utils.toBbox(region)],
                    "segmentation": {"size": [height, width], "counts": region["counts"].decode("ascii")},
                }
            )
    return replace(dataset, annotations=[*dataset.annotations, *regions]), len(regions)


def by_image(dataset: CocoDataset) -> Iterator[tuple[dict[str, Any], list[Annotation]]]:
    """Yield every image with its annotations."""
    grouped: dict[Any, list[Annotation]] = {}
    for annotation in dataset.annotations:
        grouped.setdefault(annotation["image_id"], []).append(annotation)
    for image in dataset.images:
        yield image, grouped.get(image["id"], [])


def rle(annotation: Annotation, image: dict[str, Any]) -> dict[str, Any]:
    """Return the mask of an annotation as run lengths; a box without a mask is its own."""
    left, top, width, height = annotation["bbox"]
    corners = [left, top, left + width, top, left + width, top + height, left, top + height]
    return to_rle(annotation.get("segmentation") or [corners], *size_of(image))


def size_of(image: dict[str, Any]) -> tuple[int, int]:
    """Return height and width of an image in px.

    Raises:
        UnsegError: they are not known.
    """
    if image.get("height") is None or image.get("width") is None:
        raise UnsegError(f"The size of the image {quoted(image['file_name'])} is not known, which the format states.")
    return image["height"], image["width"]


def objects(annotations: Sequence[Annotation]) -> tuple[list[Annotation], list[Annotation]]:
    """Split annotations into objects and regions to ignore (``iscrowd`` 1)."""
    return [a for a in annotations if not a["iscrowd"]], [a for a in annotations if a["iscrowd"]]
