"""The libraries that match results with ground truth, fed with some images at a time."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from unseg_d2.evaluation.matches import NUM_AREAS, ImageMatches, Matches
from unseg_d2.evaluation.registry import Kind

NUM_THRESHOLDS = 10
Items = list[dict[str, Any]]


class Matcher(Protocol):
    """Matches images as they come, and keeps little of each."""

    def add(self, images: Items, truth: Items, found: Items, num_classes: int) -> None:
        """Match some images.

        Args:
            images: with ``id``, numbers that grow from call to call.
            truth: their annotations, with ``id`` from 1 on and ``category_id`` from 1 to the number of classes.
            found: their results, likewise.
            num_classes: so far.
        """
        ...

    def curves(self, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
        """Return precision and recall of all images; it is called once.

        Returns:
            IoU thresholds x recalls x classes x sizes (all, small, medium, large) x limits; recall without the second.
        """
        ...


def matcher(backend: str, kind: Kind, limits: Sequence[int], num_classes: int | None) -> Matcher:
    """Return what matches with a library.

    Args:
        backend: one of `unseg_d2.evaluation.backends.BACKENDS`.
        kind: whether to compare boxes or masks.
        limits: results per image that count, ascending.
        num_classes: ``None`` where further classes may turn up.
    """
    if backend == "hotcoco" and num_classes is not None:
        return _Streaming(kind, limits, num_classes)
    return _PerImage(backend, kind, limits)


class _Streaming:
    """hotcoco, which takes images as they come by itself, for classes that are known before."""

    def __init__(self, kind: Kind, limits: Sequence[int], num_classes: int) -> None:
        library = importlib.import_module("hotcoco")
        settings = library.Params(kind)
        settings.max_dets = list(limits)
        self.stream = library.StreamingEval(_categories(num_classes), kind, params=settings)

    def add(self, images: Items, truth: Items, found: Items, num_classes: int) -> None:
        """Match some images."""
        self.stream.update(images, truth, found)

    def curves(self, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
        """Return precision and recall."""
        evaluation = self.stream.finalize()
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.accumulate()
        return tuple(np.asarray(evaluation.eval[name], dtype=float) for name in ("precision", "recall"))  # type: ignore[return-value]


class _PerImage:
    """Any library; what it says of each image is kept in `Matches`, where it is accumulated."""

    def __init__(self, backend: str, kind: Kind, limits: Sequence[int]) -> None:
        self.backend, self.kind, self.limits = backend, kind, list(limits)
        self.matches = Matches(limits, NUM_THRESHOLDS)

    def add(self, images: Items, truth: Items, found: Items, num_classes: int) -> None:
        """Match some images."""
        content = {"images": images, "categories": _categories(num_classes)}
        with contextlib.redirect_stdout(io.StringIO()):  # all three print a progress report
            evaluation = self._evaluation(content | {"annotations": truth}, content | {"annotations": found})
            evaluation.params.maxDets = self.limits
            evaluation.evaluate()
        read = _of_faster_coco_eval if self.backend == "faster_coco_eval" else _of_dictionaries
        self.matches.add(read(evaluation))

    def curves(self, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
        """Return precision and recall."""
        return self.matches.curves(num_classes)

    def _evaluation(self, truth: dict[str, Any], found: dict[str, Any]) -> Any:
        if self.backend == "hotcoco":
            library = importlib.import_module("hotcoco")
            return library.COCOeval(library.COCO(truth), library.COCO(found), self.kind)
        if self.backend == "faster_coco_eval":
            library = importlib.import_module("faster_coco_eval")
            datasets = (_dataset(library.COCO, content) for content in (truth, found))
            return library.COCOeval_faster(*datasets, self.kind, separate_eval=True)
        dataset = importlib.import_module("pycocotools.coco").COCO
        evaluation = importlib.import_module("pycocotools.cocoeval").COCOeval
        return evaluation(_dataset(dataset, truth), _dataset(dataset, found), self.kind)


def _dataset(kind: Any, content: dict[str, Any]) -> Any:
    """Fill a data set without ``loadRes``, which fails when there are no results."""
    dataset = kind()
    dataset.dataset = content
    dataset.createIndex()
    return dataset


def _categories(count: int) -> Items:
    return [{"id": number, "name": str(number)} for number in range(1, count + 1)]


def _of_dictionaries(evaluation: Any) -> Iterator[ImageMatches]:
    """Read ``evalImgs`` of pycocotools and hotcoco; a match is the id of an object, 0 for none."""
    areas = {tuple(float(bound) for bound in bounds): place for place, bounds in enumerate(evaluation.params.areaRng)}
    for one in evaluation.evalImgs:
        if one is not None:
            scores = np.array(one["dtScores"], dtype=float)
            matched, ignored = (
                np.array(one[name]).reshape(NUM_THRESHOLDS, len(scores)) != 0 for name in ("dtMatches", "dtIgnore")
            )
            area = areas[tuple(float(bound) for bound in one["aRng"])]
            objects = int(np.sum(np.array(one["gtIgnore"]) == 0))
            yield ImageMatches(one["image_id"], one["category_id"], area, scores, matched, ignored, objects)


def _of_faster_coco_eval(evaluation: Any) -> Iterator[ImageMatches]:
    """Read what faster_coco_eval pickles of each image: matches, matches of objects, scores, and what is ignored."""
    images, labels = evaluation.params.imgIds, evaluation.params.catIds
    places = ((image, label, area) for label in labels for area in range(NUM_AREAS) for image in images)
    for place, one in zip(places, evaluation._evalImgs_cpp, strict=True):
        matches, _, found, gt_ignored, dt_ignored, _ = one.__getstate__()
        scores = np.array(found, dtype=float)
        matched, ignored = (
            np.array(flags).reshape(NUM_THRESHOLDS, len(scores)) != 0 for flags in (matches, dt_ignored)
        )
        objects = len(gt_ignored) - sum(gt_ignored)
        yield ImageMatches(int(place[0]), int(place[1]), place[2], scores, matched, ignored, objects)
