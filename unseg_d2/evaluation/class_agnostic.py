"""Class-agnostic average precision and recall, as COCO defines them, for boxes and masks.

Every annotation and every result counts as the same class, as with COCO's ``useCats = 0``. The matching is done by the
fastest installed one of three libraries; they agree to six digits, and pycocotools is the reference.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.backends import select_backend
from unseg_d2.rle import compress

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl", "Recall50")
"""Names of the metrics, all in percent; ``Recall50`` is the recall at IoU 0.5 with all results that count."""

_CATEGORY = {"id": 1, "name": "object"}


def evaluate(
    ground_truth: dict[str, Any],
    results: Iterable[dict[str, Any]],
    iou_types: Sequence[str] = ("bbox", "segm"),
    backend: str = "auto",
    max_detections: int = 100,
) -> dict[str, dict[str, float]]:
    """Compare results with ground truth, all of one class.

    Args:
        ground_truth: COCO dictionary with ``images`` and ``annotations``. Crowd regions neither count as missed nor
            make the results on them false.
        results: ``{image_id, bbox (XYWH, px), segmentation (RLE), score}`` each; a missing score is 1, a missing box
            follows from the mask. Annotations of a label set are such results.
        iou_types: ``bbox``, ``segm`` or both.
        backend: see `select_backend`.
        max_detections: results per image that count, best first; 100 or more. AP and the recalls by size and at IoU
            0.5 use that many; AR1, AR10 and AR100 the number in their names.

    Returns:
        Per kind of overlap the metrics of `METRICS` in percent, and with 300 results ``AR300``; NaN where no object of
        that size exists.

    Raises:
        UnsegError: a result is of an unknown image, or masks are to be compared where there are none.
    """
    if max_detections < 100:
        raise UnsegError(f"max_detections is {max_detections}, but AR100 needs at least 100.")
    backend = select_backend(backend)
    results = list(results)
    sizes = {image["id"]: (image.get("height"), image.get("width")) for image in ground_truth["images"]}
    _check(results, sizes)
    metrics = {}
    for iou_type in iou_types:
        truth = [_truth(annotation, iou_type, sizes) for annotation in ground_truth["annotations"]]
        found = [_result(result, iou_type) for result in results]
        images = _Images(list(sizes), _numbered(truth), _numbered(found))
        metrics[iou_type] = _metrics(images, iou_type, backend, max_detections)
    return metrics


class _Images:
    """Ground truth and results of a set of images, brought into the form that all libraries take."""

    def __init__(self, ids: list[Any], truth: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
        # Ids may be texts or huge numbers; some of the libraries take small ones only.
        position = {key: index + 1 for index, key in enumerate(ids)}
        for item in truth + found:
            item["image_id"] = position[item["image_id"]]
        images = [{"id": index, "height": 1, "width": 1} for index in position.values()]
        self.truth = {"images": images, "annotations": truth, "categories": [_CATEGORY]}
        self.found = {"images": images, "annotations": found, "categories": [_CATEGORY]}


def _metrics(images: _Images, iou_type: str, backend: str, max_detections: int) -> dict[str, float]:
    """Match with a library and compute the metrics from its precision and recall."""
    limits = [1, 10, 100] + [max_detections] * (max_detections > 100)
    with contextlib.redirect_stdout(io.StringIO()):  # all three print a progress report
        evaluation = _evaluation(images, iou_type, backend)
        evaluation.params.maxDets = limits
        evaluation.evaluate()
        evaluation.accumulate()
    # IoU thresholds x recalls x sizes (all, small, medium, large) x limits, of the one class
    precision = np.asarray(evaluation.eval["precision"], dtype=float)[:, :, 0]
    recall = np.asarray(evaluation.eval["recall"], dtype=float)[:, 0]
    values = {"AP": precision[..., 0, -1], "AP50": precision[0, :, 0, -1], "AP75": precision[5, :, 0, -1]}
    values |= {f"AP{size}": precision[..., index, -1] for index, size in enumerate("sml", start=1)}
    values |= {f"AR{limit}": recall[:, 0, index] for index, limit in enumerate(limits)}
    values |= {f"AR{size}": recall[:, index, -1] for index, size in enumerate("sml", start=1)}
    values["Recall50"] = recall[0, 0, -1:]
    names = [*METRICS, *(f"AR{limit}" for limit in limits[3:])]
    return {name: _percent(values[name]) for name in names}


def _percent(values: np.ndarray) -> float:
    """Return the mean in percent; -1 marks what does not exist."""
    return 100 * float(values[values > -1].mean()) if (values > -1).any() else float("nan")


def _evaluation(images: _Images, iou_type: str, backend: str) -> Any:
    if backend == "hotcoco":
        library = importlib.import_module("hotcoco")
        return library.COCOeval(library.COCO(images.truth), library.COCO(images.found), iou_type)
    if backend == "faster_coco_eval":
        library = importlib.import_module("faster_coco_eval")
        dataset, evaluation = library.COCO, library.COCOeval_faster
    else:
        dataset = importlib.import_module("pycocotools.coco").COCO
        evaluation = importlib.import_module("pycocotools.cocoeval").COCOeval
    return evaluation(_dataset(dataset, images.truth), _dataset(dataset, images.found), iou_type)


def _dataset(kind: Any, content: dict[str, Any]) -> Any:
    """Fill a data set without ``loadRes``, which fails when there are no results."""
    dataset = kind()
    dataset.dataset = content
    dataset.createIndex()
    return dataset


def _check(results: list[dict[str, Any]], sizes: dict[Any, tuple[int, int]]) -> None:
    """Refuse what the libraries would silently count as a result without overlap."""
    for result in results:
        if result["image_id"] not in sizes:
            raise UnsegError(f"There is a result of image {result['image_id']}, which the ground truth does not have.")
        segmentation, size = result.get("segmentation"), sizes[result["image_id"]]
        if isinstance(segmentation, dict) and None not in size and tuple(segmentation["size"]) != size:
            raise UnsegError(
                f"A mask of image {result['image_id']} has the size {'x'.join(map(str, segmentation['size']))}, "
                f"but the ground truth has {size[0]}x{size[1]}."
            )


def _truth(annotation: dict[str, Any], iou_type: str, sizes: dict[Any, tuple[int, int]]) -> dict[str, Any]:
    """Return what the matching needs of an annotation; its area decides on small, medium or large."""
    segmentation = annotation.get("segmentation")
    item = {"image_id": annotation["image_id"], "category_id": 1, "iscrowd": int(annotation.get("iscrowd", 0))}
    rle = compress(segmentation, *sizes[annotation["image_id"]]) if segmentation else None
    if iou_type == "segm":
        if rle is None:
            raise UnsegError("The ground truth has annotations without masks; evaluate boxes only.")
        item["segmentation"] = rle
    item["bbox"] = annotation["bbox"] if "bbox" in annotation else mask_utils.toBbox(rle).tolist()
    area = annotation.get("area")
    if area is None:
        area = mask_utils.area(rle) if rle else item["bbox"][2] * item["bbox"][3]
    return item | {"area": float(area)}


def _result(result: dict[str, Any], iou_type: str) -> dict[str, Any]:
    """Return what the matching needs of a result; its area is that of what is compared, box or mask."""
    item = {"image_id": result["image_id"], "category_id": 1, "iscrowd": 0, "score": float(result.get("score", 1.0))}
    segmentation = result.get("segmentation")
    if iou_type == "segm":
        if not isinstance(segmentation, dict):
            raise UnsegError("There are results without an RLE mask; evaluate boxes only.")
        return item | {"segmentation": segmentation, "area": float(mask_utils.area(segmentation)), "bbox": [0, 0, 1, 1]}
    bbox = result["bbox"] if "bbox" in result else mask_utils.toBbox(segmentation).tolist()
    return item | {"bbox": bbox, "area": float(bbox[2] * bbox[3])}


def _numbered(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give ids from 1 on: the libraries take a match with id 0 for no match."""
    return [item | {"id": index + 1} for index, item in enumerate(items)]
