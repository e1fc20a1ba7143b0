"""Evaluators that take ground truth and results some images at a time, and those that want everything at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from unseg_d2.evaluation.chunks import chunks_of
from unseg_d2.evaluation.registry import Evaluator, Kind


class Accumulator(Protocol):
    """One computation of metrics over a stream of images, of boxes or of masks."""

    def update(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]], /) -> None:
        """Take some images in; no image comes twice.

        Args:
            truth: COCO dictionary of these images and of all their annotations, see
                :class:`~unseg_d2.evaluation.registry.Evaluator`. Its ``categories`` are the same every time.
            results: of these images. Neither argument is changed.
        """
        ...

    def compute(self) -> dict[str, float]:
        """Return metrics by name over all images so far; it is called once, at the end."""
        ...


class StreamEvaluator(ABC):
    """Base of evaluators whose memory does not grow with masks and boxes: what they keep is small.

    A subclass defines :meth:`accumulator`; calling it with everything at once is then defined as well.
    """

    @abstractmethod
    def accumulator(self, kind: Kind) -> Accumulator:
        """Begin a computation, independent of any other.

        Args:
            kind: whether to compare boxes or masks.
        """

    def __call__(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]], kind: Kind) -> dict[str, float]:
        """Return metrics by name, see :class:`~unseg_d2.evaluation.registry.Evaluator`."""
        running = self.accumulator(kind)
        for chunk in chunks_of(truth, results):
            running.update(*chunk)
        return running.compute()


class Collected:
    """Accumulator of an evaluator that is called once, with everything: all of it is kept in memory.

    Args:
        evaluator: what is called.
        kind: with what.
    """

    def __init__(self, evaluator: Evaluator, kind: Kind) -> None:
        self.evaluator, self.kind = evaluator, kind
        self.about: Mapping[str, Any] = {}
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []

    def update(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]]) -> None:
        """Keep some images."""
        self.about = truth
        self.images.extend(truth["images"])
        self.annotations.extend(truth["annotations"])
        self.results.extend(results)

    def compute(self) -> dict[str, float]:
        """Call the evaluator."""
        truth = {**self.about, "images": self.images, "annotations": self.annotations}
        return self.evaluator(truth, self.results, self.kind)


def accumulator_of(evaluator: Evaluator, kind: Kind) -> Accumulator:
    """Return what takes a stream of images for an evaluator of either form."""
    begin = getattr(evaluator, "accumulator", None)
    return Collected(evaluator, kind) if begin is None else cast(Accumulator, begin(kind))


@dataclass(frozen=True)
class WithoutCategories(StreamEvaluator):
    """An evaluator for which the results of some categories do not exist; all else is as it is.

    Attributes:
        evaluator: computes the metrics.
        left_out: ids of the categories.
    """

    evaluator: Evaluator
    left_out: frozenset[Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.evaluator, name)

    def accumulator(self, kind: Kind) -> Accumulator:
        """Begin a computation."""
        return _Without(accumulator_of(self.evaluator, kind), self.left_out)


@dataclass(frozen=True)
class _Without:
    running: Accumulator
    left_out: frozenset[Any]

    def update(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]]) -> None:
        self.running.update(truth, [item for item in results if item.get("category_id") not in self.left_out])

    def compute(self) -> dict[str, float]:
        return self.running.compute()
