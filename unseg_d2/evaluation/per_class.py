"""COCO's average precision and recall with classes: a result counts for objects of its own category only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unseg_d2.evaluation.backends import select_backend
from unseg_d2.evaluation.class_agnostic import ClassAgnosticSettings, CocoMetrics
from unseg_d2.evaluation.registry import EVALUATORS, Kind
from unseg_d2.evaluation.streams import StreamEvaluator


@dataclass(frozen=True)
class PerClassSettings(ClassAgnosticSettings):
    """Settings of :class:`PerClass`."""


@EVALUATORS.register("per_class", settings=PerClassSettings)
class PerClass(StreamEvaluator):
    """Evaluator that tells the categories of the ground truth apart.

    The metrics are those of `unseg_d2.evaluation.class_agnostic`, as means over the categories that have objects, and
    ``AP-NAME``, the AP of a category. Ground truth that lists no categories has those of its annotations and results.
    """

    with_classes = True

    def __init__(self, settings: PerClassSettings) -> None:
        self.settings, self.backend = settings, select_backend(settings.backend)
        count = f"{settings.max_detections} results per image and class count"
        self.protocol = f"COCOeval of {self.backend}; means over the classes that have objects; {count}; in percent."

    def accumulator(self, kind: Kind) -> _OfItsClasses:
        """Begin a computation of the metrics of one kind of overlap."""
        return _OfItsClasses(kind, self.settings)


class _OfItsClasses:
    """COCO's metrics with the categories that the first images list."""

    def __init__(self, kind: Kind, settings: PerClassSettings) -> None:
        self.kind, self.settings = kind, settings
        self.categories: Sequence[Mapping[str, Any]] | None = None
        self.metrics: CocoMetrics | None = None

    def update(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]]) -> None:
        """Take some images in.

        Raises:
            ValueError: they list other categories than those before.
        """
        categories = truth.get("categories") or None
        if self.metrics is None:
            self.categories = categories
            self.metrics = CocoMetrics(self.kind, self.settings, categories)
        elif categories != self.categories:
            raise ValueError("all images of a stream must list the same categories")
        self.metrics.update(truth, results)

    def compute(self) -> dict[str, float]:
        """Return the metrics of all images."""
        return (self.metrics or CocoMetrics(self.kind, self.settings, None)).compute()
