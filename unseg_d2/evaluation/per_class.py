"""COCO's average precision and recall with classes: a result counts for objects of its own category only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unseg_d2.evaluation.backends import select_backend
from unseg_d2.evaluation.class_agnostic import ClassAgnosticSettings, evaluate
from unseg_d2.evaluation.registry import EVALUATORS, Kind


@dataclass(frozen=True)
class PerClassSettings(ClassAgnosticSettings):
    """Settings of :class:`PerClass`."""


@EVALUATORS.register("per_class", settings=PerClassSettings)
class PerClass:
    """Evaluator that tells the categories of the ground truth apart.

    The metrics are those of `unseg_d2.evaluation.class_agnostic`, as means over the categories that have objects, and
    ``AP-NAME``, the AP of a category. Ground truth that lists no categories has those of its annotations and results.
    """

    with_classes = True

    def __init__(self, settings: PerClassSettings) -> None:
        self.settings, self.backend = settings, select_backend(settings.backend)
        count = f"{settings.max_detections} results per image and class count"
        self.protocol = f"COCOeval of {self.backend}; means over the classes that have objects; {count}; in percent."

    def __call__(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]], kind: Kind) -> dict[str, float]:
        """Return the metrics of one kind of overlap."""
        items = [*truth["annotations"], *results]
        present = sorted({item.get("category_id", 1) for item in items}, key=str) or [1]
        categories = truth.get("categories") or [{"id": key, "name": str(key)} for key in present]
        return evaluate(truth, results, (kind,), self.settings, categories)[kind]
