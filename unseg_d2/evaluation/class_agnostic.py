"""Class-agnostic average precision and recall, as COCO defines them, for boxes and masks.

Every annotation and every result counts as the same class, as with COCO's ``useCats = 0``; :func:`evaluate` can also
tell categories apart. The matching is done by the fastest installed one of three libraries; they agree to six digits,
and pycocotools is the reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.backends import BACKENDS, select_backend
from unseg_d2.evaluation.chunks import chunks_of
from unseg_d2.evaluation.classes import Classes
from unseg_d2.evaluation.matching import matcher
from unseg_d2.evaluation.registry import EVALUATORS, KINDS, Kind
from unseg_d2.evaluation.streams import StreamEvaluator
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
class ClassAgnostic(StreamEvaluator):
    """Evaluator of all classes as one, see :class:`CocoMetrics`.

    Attributes:
        backend: the library that does the matching.
    """

    def __init__(self, settings: ClassAgnosticSettings) -> None:
        self.settings, self.backend = settings, select_backend(settings.backend)
        count = f"{settings.max_detections} results per image count"
        self.protocol = f"COCOeval of {self.backend}; one class; {count}; figures in percent."

    def accumulator(self, kind: Kind) -> CocoMetrics:
        """Begin a computation of the metrics of one kind of overlap."""
        return CocoMetrics(kind, self.settings)


def evaluate(
    ground_truth: Mapping[str, Any],
    results: Iterable[dict[str, Any]],
    iou_types: Sequence[Kind] = KINDS,
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
    found = list(results)
    check_results(found, image_sizes(ground_truth))
    running = {kind: CocoMetrics(kind, settings, categories) for kind in iou_types}
    for chunk in chunks_of(ground_truth, found):
        for accumulator in running.values():
            accumulator.update(*chunk)
    return {kind: accumulator.compute() for kind, accumulator in running.items()}


class CocoMetrics:
    """Accumulator of the metrics of :func:`evaluate` for one kind of overlap.

    Args:
        kind: ``bbox`` or ``segm``.
        settings: see :class:`ClassAgnosticSettings`.
        categories: see :func:`evaluate`; ``None`` tells those apart that occur.

    Raises:
        UnsegError: the backend is not installed.
    """

    def __init__(
        self, kind: Kind, settings: ClassAgnosticSettings, categories: Sequence[Mapping[str, Any]] | None = ()
    ) -> None:
        self.kind, self.classes = kind, Classes(categories)
        most = settings.max_detections
        self.limits = [1, 10, 100] + [most] * (most > 100)
        count = None if self.classes.is_open else len(self.classes)
        self.matcher = matcher(select_backend(settings.backend), kind, self.limits, count)
        self.num_images = self.num_objects = self.num_results = 0

    def update(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]]) -> None:
        """Take some images in.

        Raises:
            UnsegError: a category is not listed, or masks are to be compared where there are none.
        """
        sizes = image_sizes(truth)
        # Ids may be texts or huge numbers, and some of the libraries take small ones only; 0 means no match to them.
        position = {key: number for number, key in enumerate(sizes, start=self.num_images + 1)}
        known = [_truth(item, self.kind, sizes[item["image_id"]]) for item in truth["annotations"]]
        found = _masks(results) if self.kind == "segm" else [_box(result) for result in results]
        for items, given, count in (
            (known, truth["annotations"], self.num_objects),
            (found, results, self.num_results),
        ):
            for number, (item, one, label) in enumerate(zip(items, given, self.classes.of(given)), start=count + 1):
                item["id"], item["image_id"], item["category_id"] = number, position[one["image_id"]], label
        self.matcher.add(
            [{"id": number, "height": 1, "width": 1} for number in position.values()], known, found, len(self.classes)
        )
        self.num_images += len(sizes)
        self.num_objects += len(known)
        self.num_results += len(found)

    def compute(self) -> dict[str, float]:
        """Return the metrics of all images."""
        precision, recall = self.matcher.curves(len(self.classes))
        values = {"AP": precision[..., 0, -1], "AP50": precision[0, ..., 0, -1], "AP75": precision[5, ..., 0, -1]}
        values |= {f"AP{size}": precision[..., index, -1] for index, size in enumerate("sml", start=1)}
        values |= {f"AR{limit}": recall[..., 0, index] for index, limit in enumerate(self.limits)}
        values |= {f"AR{size}": recall[..., index, -1] for index, size in enumerate("sml", start=1)}
        values["Recall50"] = recall[0, :, 0, -1]
        of_classes = self.classes.positions()
        values |= {f"AP-{name}": precision[:, :, index, 0, -1] for name, index in of_classes.items()}
        wanted = [*METRICS, *(f"AR{limit}" for limit in self.limits[3:]), *(f"AP-{name}" for name in of_classes)]
        return {name: _percent(values[name]) for name in wanted}


def _percent(values: np.ndarray) -> float:
    """Return the mean in percent; -1 marks what does not exist."""
    return 100 * float(values[values > -1].mean()) if (values > -1).any() else float("nan")


def _truth(annotation: dict[str, Any], kind: Kind, size: tuple[int | None, int | None]) -> dict[str, Any]:
    """Return what the matching needs of an annotation; its area decides on small, medium or large."""
    segmentation = annotation.get("segmentation")
    item: dict[str, Any] = {"iscrowd": int(annotation.get("iscrowd", 0))}
    rle = compress(segmentation, *size) if segmentation else None
    if kind == "segm":
        if rle is None:
            raise UnsegError("The ground truth has annotations without masks; evaluate boxes only.")
        item["segmentation"] = rle
    item["bbox"] = annotation["bbox"] if "bbox" in annotation else mask_utils.toBbox(rle).tolist()
    area = annotation.get("area")
    if area is None:
        area = mask_utils.area(rle) if rle else item["bbox"][2] * item["bbox"][3]
    item["area"] = float(area)
    return item


def _box(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the matching needs of a result whose box is compared; its area is that of the box."""
    bbox = result["bbox"] if "bbox" in result else mask_utils.toBbox(result["segmentation"]).tolist()
    return {"iscrowd": 0, "score": float(result.get("score", 1.0)), "bbox": bbox, "area": float(bbox[2] * bbox[3])}


def _masks(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what the matching needs of results whose masks are compared; the area is that of the mask."""
    masks = [result.get("segmentation") for result in results]
    if not all(isinstance(mask, dict) for mask in masks):
        raise UnsegError("There are results without an RLE mask; evaluate boxes only.")
    # pycocotools takes no more than 255 masks at once
    areas = [area for first in range(0, len(masks), 200) for area in mask_utils.area(masks[first : first + 200])]
    return [
        {"iscrowd": 0, "score": float(result.get("score", 1.0)), "segmentation": mask, "area": float(area)}
        for result, mask, area in zip(results, masks, areas)
    ]
