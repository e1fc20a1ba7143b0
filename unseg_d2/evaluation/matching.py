"""The libraries that match results with ground truth, fed with some images at a time."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from unseg_d2.evaluation.matches import NUM_AREAS, RECALLS, ImageMatches, Matches
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
            Precision: IoU thresholds x recalls x classes x sizes (all, small, medium, large) x 1, of the last limit;
            recall: IoU thresholds x classes x sizes x limits, of sizes other than all for the last limit alone. Both
            are -1 where there is no object.
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
        self.limits = list(limits)
        self.stream = library.StreamingEval(_categories(num_classes), kind, params=settings)

    def add(self, images: Items, truth: Items, found: Items, num_classes: int) -> None:
        """Match some images."""
        self.stream.update(images, truth, found)

    def curves(self, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
        """Return precision and recall.

        All sizes and limits at once would take 100 bytes of each result for each of them, on as many cores.
        """
        evaluation = self.stream.finalize()
        del self.stream
        settings = evaluation.params
        areas, labels, last = settings.area_rng, settings.area_rng_lbl, len(self.limits) - 1
        shape = (NUM_THRESHOLDS, num_classes, NUM_AREAS)
        precision = np.full((NUM_THRESHOLDS, len(RECALLS), num_classes, NUM_AREAS, 1), -1.0)
        recall = np.full((*shape, len(self.limits)), np.nan)
        for area, limit in [*((area, last) for area in range(NUM_AREAS)), *((0, limit) for limit in range(last))]:
            settings.area_rng, settings.area_rng_lbl = [areas[area]], [labels[area]]
            settings.max_dets = [self.limits[limit]]
            evaluation.params = settings
            with contextlib.redirect_stdout(io.StringIO()):
                evaluation.accumulate()
            recall[..., area, limit] = np.asarray(evaluation.eval["recall"], dtype=float)[..., 0, 0]
            if limit == last:
                precision[..., area, 0] = np.asarray(evaluation.eval["precision"], dtype=float)[..., 0, 0]
        return precision, recall


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
    """Read ``evalImgs`` of pycocotools and hotcoco."""
    areas = {tuple(float(bound) for bound in bounds): place for place, bounds in enumerate(evaluation.params.areaRng)}
    for one in evaluation.evalImgs:
        if one is not None:
            # pycocotools has the id of an object for a match, 0 for none
            matched = one["dtMatched"] if "dtMatched" in one else np.not_equal(one["dtMatches"], 0)
            area = areas[tuple(float(bound) for bound in one["aRng"])]
            objects = sum(not ignored for ignored in one["gtIgnore"])
            scores, place = np.array(one["dtScores"], dtype=float), (one["image_id"], one["category_id"], area)
            yield ImageMatches(*place, scores, _flags(matched), _flags(one["dtIgnore"]), objects)


def _of_faster_coco_eval(evaluation: Any) -> Iterator[ImageMatches]:
    """Read what faster_coco_eval pickles of each image: matches, matches of objects, scores, and what is ignored."""
    images, labels = evaluation.params.imgIds, evaluation.params.catIds
    places = ((int(image), int(label), area) for label in labels for area in range(NUM_AREAS) for image in images)
    for place, one in zip(places, evaluation._evalImgs_cpp, strict=True):
        matches, _, scores, gt_ignored, dt_ignored, _ = one.__getstate__()
        matched, ignored = _flags([np.not_equal(matches, 0)]), _flags([dt_ignored])
        shape, objects = (NUM_THRESHOLDS, len(scores)), len(gt_ignored) - sum(gt_ignored)
        yield ImageMatches(*place, np.array(scores), matched.reshape(shape), ignored.reshape(shape), objects)


def _flags(rows: Any) -> np.ndarray:
    """Return rows of truth values as an array of bool."""
    flags = np.frombuffer(b"".join([bytes(row) for row in rows]), np.uint8) != 0
    return flags.reshape(len(rows), -1)
