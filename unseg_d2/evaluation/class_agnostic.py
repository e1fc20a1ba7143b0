"""Class-agnostic average precision and recall, as COCO defines them, for boxes and masks.

Every annotation and every result counts as the same class, as with COCO's ``useCats = 0``; :func:`evaluate` can also
tell categories apart. The matching is done by the fastest installed one of three libraries; they agree to six digits,
and pycocotools is the reference.
"""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.backends import BACKENDS, select_backend
from unseg_d2.evaluation.registry import EVALUATORS, KINDS, Kind
from unseg_d2.evaluation.tally import check_results, image_sizes
from unseg_d2.rle import compress
from unseg_d2.settings import Settings, setting

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl", "Recall50")
"""Names of the metrics, all in percent; ``Recall50`` is the recall at IoU 0.5 with all results that count."""


@dataclass(frozen=True)
class ClassAgnosticSettings(Settings):
    """Settings of :func:`evaluate`."""

    max_detections: int = setting(
        100, "results per image that count, best first; AR1, AR10 and AR100 take the number in their names", low=100
    )
    backend: str = setting(
        "auto", "library that does the matching; auto takes the fastest that is installed", choices=("auto", *BACKENDS)
    )


@EVALUATORS.register("class_agnostic", settings=ClassAgnosticSettings)
class ClassAgnostic:
    """Evaluator that calls :func:`evaluate` with fixed settings.

    Attributes:
        backend: the library that does the matching.
    """

    def __init__(self, settings: ClassAgnosticSettings) -> None:
        self.settings, self.backend = settings, select_backend(settings.backend)
        count = f"{settings.max_detections} results per image count"
        self.protocol = f"COCOeval of {self.backend}; one class; {count}; figures in percent."

    def __call__(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]], kind: Kind) -> dict[str, float]:
        """Return the metrics of one kind of overlap."""
        return evaluate(truth, results, (kind,), self.settings)[kind]


def evaluate(
    ground_truth: Mapping[str, Any],
    results: Iterable[dict[str, Any]],
    iou_types: Sequence[str] = KINDS,
    settings: ClassAgnosticSettings = ClassAgnosticSettings(),
    categories: Sequence[Mapping[str, Any]] = (),
) -> dict[str, dict[str, float]]:
    """Compare results with ground truth.

    Args:
        ground_truth: COCO dictionary with ``images`` and ``annotations``. Crowd regions neither count as missed nor
            make the results on them false.
        results: ``{image_id, bbox (XYWH, px), segmentation (RLE), score}`` each; a missing score is 1, a missing box
            follows from the mask. Annotations of a label set are such results.
        iou_types: ``bbox``, ``segm`` or both.
        settings: see :class:`ClassAgnosticSettings`. AP and the recalls by size and at IoU 0.5 use ``max_detections``.
        categories: COCO categories (``id``, ``name``) that are told apart by the ``category_id`` of annotations and
            results; without any, all are of one class.

    Returns:
        Per kind of overlap the metrics of `METRICS` in percent, and with 300 results ``AR300``; NaN where no object of
        that size exists. With categories they are means over those that have objects, and ``AP-NAME`` is the AP of one.

    Raises:
        UnsegError: a result is of an unknown image or category, masks are to be compared where there are none, or the
            backend is not installed.
    """
    backend = select_backend(settings.backend)
    results = list(results)
    sizes = image_sizes(ground_truth)
    check_results(results, sizes)
    classes = _Classes(categories)
    truth_classes, found_classes = classes.of(ground_truth["annotations"]), classes.of(results)
    metrics = {}
    for iou_type in iou_types:
        truth = [_truth(annotation, iou_type, sizes) for annotation in ground_truth["annotations"]]
        found = [_result(result, iou_type) for result in results]
        images = _Images(list(sizes), _numbered(truth, truth_classes), _numbered(found, found_classes), len(classes))
        metrics[iou_type] = _metrics(images, iou_type, backend, settings.max_detections, classes.names)
    return metrics


class _Classes:
    """Numbers from 1 on for the categories that are told apart; some of the libraries take small ids only."""

    def __init__(self, categories: Sequence[Mapping[str, Any]]) -> None:
        self.numbers = {category["id"]: number for number, category in enumerate(categories, start=1)}
        self.names = [str(category.get("name", category["id"])) for category in categories]

    def __len__(self) -> int:
        return max(len(self.numbers), 1)

    def of(self, items: Sequence[Mapping[str, Any]]) -> list[int]:
        """Return the number of each annotation or result."""
        if not self.numbers:
            return [1] * len(items)
        ids = [item.get("category_id", 1) for item in items]
        for key, item in zip(ids, items):
            if key not in self.numbers:
                raise UnsegError(
                    f"An annotation or result of image {item['image_id']} has the category {key}, which the ground "
                    "truth does not list."
                )
        return [self.numbers[key] for key in ids]


class _Images:
    """Ground truth and results of a set of images, brought into the form that all libraries take."""

    def __init__(
        self, ids: list[Any], truth: list[dict[str, Any]], found: list[dict[str, Any]], num_classes: int
    ) -> None:
        # Ids may be texts or huge numbers; some of the libraries take small ones only.
        position = {key: index + 1 for index, key in enumerate(ids)}
        for item in truth + found:
            item["image_id"] = position[item["image_id"]]
        images = [{"id": index, "height": 1, "width": 1} for index in position.values()]
        categories = [{"id": number, "name": str(number)} for number in range(1, num_classes + 1)]
        self.truth = {"images": images, "annotations": truth, "categories": categories}
        self.found = {"images": images, "annotations": found, "categories": categories}


def _metrics(
    images: _Images, iou_type: str, backend: str, max_detections: int, names: Sequence[str]
) -> dict[str, float]:
    """Match with a library and compute the metrics from its precision and recall."""
    limits = [1, 10, 100] + [max_detections] * (max_detections > 100)
    with contextlib.redirect_stdout(io.StringIO()):  # all three print a progress report
        evaluation = _evaluation(images, iou_type, backend)
        evaluation.params.maxDets = limits
        evaluation.evaluate()
        evaluation.accumulate()
    # IoU thresholds x recalls x classes x sizes (all, small, medium, large) x limits; recall without the second
    precision = np.asarray(evaluation.eval["precision"], dtype=float)
    recall = np.asarray(evaluation.eval["recall"], dtype=float)
    values = {"AP": precision[..., 0, -1], "AP50": precision[0, ..., 0, -1], "AP75": precision[5, ..., 0, -1]}
    values |= {f"AP{size}": precision[..., index, -1] for index, size in enumerate("sml", start=1)}
    values |= {f"AR{limit}": recall[..., 0, index] for index, limit in enumerate(limits)}
    values |= {f"AR{size}": recall[..., index, -1] for index, size in enumerate("sml", start=1)}
    values["Recall50"] = recall[0, :, 0, -1]
    values |= {f"AP-{name}": precision[:, :, index, 0, -1] for index, name in enumerate(names)}
    wanted = [*METRICS, *(f"AR{limit}" for limit in limits[3:]), *(f"AP-{name}" for name in names)]
    return {name: _percent(values[name]) for name in wanted}


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


def _truth(annotation: dict[str, Any], iou_type: str, sizes: dict[Any, Any]) -> dict[str, Any]:
    """Return what the matching needs of an annotation; its area decides on small, medium or large."""
    segmentation = annotation.get("segmentation")
    item = {"image_id": annotation["image_id"], "iscrowd": int(annotation.get("iscrowd", 0))}
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
    item = {"image_id": result["image_id"], "iscrowd": 0, "score": float(result.get("score", 1.0))}
    segmentation = result.get("segmentation")
    if iou_type == "segm":
        if not isinstance(segmentation, dict):
            raise UnsegError("There are results without an RLE mask; evaluate boxes only.")
        return item | {"segmentation": segmentation, "area": float(mask_utils.area(segmentation)), "bbox": [0, 0, 1, 1]}
    bbox = result["bbox"] if "bbox" in result else mask_utils.toBbox(segmentation).tolist()
    return item | {"bbox": bbox, "area": float(bbox[2] * bbox[3])}


def _numbered(items: list[dict[str, Any]], classes: list[int]) -> list[dict[str, Any]]:
    """Give classes, and ids from 1 on: the libraries take a match with id 0 for no match."""
    numbers = enumerate(zip(items, classes), start=1)
    return [item | {"id": number, "category_id": category} for number, (item, category) in numbers]
