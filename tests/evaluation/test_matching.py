"""Matching some images at a time against the same library, run by hand over everything at once."""

from __future__ import annotations

import contextlib
import importlib
import io
import math
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from unseg_d2.evaluation.backends import BACKENDS
from unseg_d2.evaluation.chunks import chunks_of
from unseg_d2.evaluation.class_agnostic import ClassAgnosticSettings, CocoMetrics
from unseg_d2.evaluation.matches import precision_at_recalls
from unseg_d2.evaluation.per_class import PerClass, PerClassSettings

HEIGHT, WIDTH = 150, 200


def rectangle(box: np.ndarray) -> dict[str, Any]:
    x, y, width, height = (int(value) for value in box)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[y : y + height, x : x + width] = 1
    rle = mask_utils.encode(mask)
    return {"bbox": [x, y, width, height], "segmentation": {**rle, "counts": rle["counts"].decode()}}


def scenes(seed: int, classes: tuple[int, ...]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Up to 120 results an image, scores with one digit: ties in images and across them; crowds; empty images."""
    rng = np.random.default_rng(seed)
    truth, results = [], []
    for image in range(1, 15):
        for _ in range(rng.integers(0, 5) if image % 4 else 0):
            box = np.r_[rng.integers(0, 80, 2), np.exp(rng.uniform(1, 4.7, 2))]
            category = int(rng.choice(classes[:-1]))  # the last has no object
            crowd = int(rng.random() < 0.2)
            truth.append(
                {"image_id": image, "iscrowd": crowd, "category_id": category, "id": len(truth) + 1, **rectangle(box)}
            )
            truth[-1]["area"] = float(mask_utils.area(truth[-1]["segmentation"])) * float(rng.choice([1, 1, 0.2]))
            for _ in range(int(rng.choice([0, 2, 3, 40]))):
                moved = np.clip(box * rng.normal(1, 0.1, 4), [0, 0, 1, 1], None)
                label = int(rng.choice([category, classes[-1]], p=[0.8, 0.2]))
                score = round(float(rng.random()), 1)
                results.append({"image_id": image, "category_id": label, "score": score, **rectangle(moved)})
        if image == 8:
            results += [
                {"image_id": image, "category_id": classes[0], "score": 0.5, **rectangle(rng.integers(1, 60, 4))}
                for _ in range(30)
            ]
    categories = [{"id": key, "name": str(key)} for key in classes]
    images = [{"id": key, "height": HEIGHT, "width": WIDTH} for key in range(1, 17)]
    return {"images": images, "annotations": truth, "categories": categories}, results


def at_once(
    backend: str, kind: str, truth: dict[str, Any], results: list[dict[str, Any]], limits: list[int]
) -> dict[str, float]:
    """The library's own ``loadRes``, ``evaluate`` and ``accumulate``, and what COCO's ``summarize`` makes of it."""
    library = importlib.import_module("pycocotools.coco" if backend == "pycocotools" else backend)
    left_out = "segmentation" if kind == "bbox" else "bbox"
    found = [{key: value for key, value in result.items() if key != left_out} for result in results]
    with contextlib.redirect_stdout(io.StringIO()):
        known = library.COCO(truth) if backend == "hotcoco" else library.COCO()
        if backend != "hotcoco":
            known.dataset = {"info": {}, **truth}
            known.createIndex()
        loaded = known.load_res(found) if backend == "hotcoco" else known.loadRes(found)
        if backend == "pycocotools":
            library = importlib.import_module("pycocotools.cocoeval")
        evaluation = getattr(library, "COCOeval_faster" if "faster" in backend else "COCOeval")(known, loaded, kind)
        evaluation.params.maxDets = limits
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = np.array(evaluation.eval["precision"]), np.array(evaluation.eval["recall"])
    names = {"AP": precision[..., 0, -1], "AP50": precision[0, ..., 0, -1], "AP75": precision[5, ..., 0, -1]}
    for index, size in enumerate("sml", start=1):
        names |= {f"AP{size}": precision[..., index, -1], f"AR{size}": recall[..., index, -1]}
    names |= {f"AR{limit}": recall[..., 0, index] for index, limit in enumerate(limits)}
    return {key: 100 * values[values > -1].mean() if (values > -1).any() else math.nan for key, values in names.items()}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("most", [100, 300])
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_some_images_at_a_time_is_all_at_once(backend: str, kind: Any, apart: bool, most: int, seed: int) -> None:
    pytest.importorskip(backend)
    truth, results = scenes(seed, (3, 17, 90))
    limits = [1, 10, 100] + [most] * (most > 100)
    one = {"categories": [{"id": 1, "name": "1"}]}
    one["annotations"], merged = ([item | {"category_id": 1} for item in of] for of in (truth["annotations"], results))
    expected = at_once(backend, kind, truth if apart else truth | one, results if apart else merged, limits)
    assert len(results) > 100 and 0 < expected["AP"] < 90
    for categories in [truth["categories"], None] if apart else [()]:  # given, or those that occur
        for images in (1, 5):
            metrics = CocoMetrics(kind, ClassAgnosticSettings(most, backend), categories)
            for chunk in chunks_of(truth, results, most_images=images):
                metrics.update(*chunk)
            found = metrics.compute()
            assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_precision_at_recalls_by_hand() -> None:
    """Right, false, one that does not count, right, of 4 objects: precision 1 up to 1/4, 2/3 up to 1/2, then 0."""
    hits, misses = np.array([1, 0, 0, 1], bool), np.array([0, 1, 0, 0], bool)
    expected = [1.0] * 26 + [2 / 3] * 25 + [0.0] * 50
    assert precision_at_recalls(hits, misses, 4).tolist() == pytest.approx(expected, abs=1e-12)
    assert precision_at_recalls(hits[:0], misses[:0], 4).tolist() == [0.0] * 101


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_scores_count_in_the_order_of_the_images(backend: str) -> None:
    """The object is found in the second image; the false result of the first, as sure, comes before it: 1/2."""
    pytest.importorskip(backend)
    images = [{"id": key, "height": HEIGHT, "width": WIDTH} for key in (9, 4)]  # the order is that of the list
    box = rectangle(np.array([5, 5, 50, 50]))
    for place, expected in ((9, 100.0), (4, 50.0)):
        truth = {"images": images, "annotations": [{"image_id": place, **box}]}
        results = [{"image_id": key, "score": 0.5, **box} for key in (4, 9)]
        metrics = CocoMetrics("segm", ClassAgnosticSettings(backend=backend))
        for chunk in chunks_of(truth, results, most_images=1):
            metrics.update(*chunk)
        assert metrics.compute()["AP"] == pytest.approx(expected)


def test_categories_are_the_same_in_all_chunks() -> None:
    truth, results = scenes(0, (1, 2))
    running = PerClass(PerClassSettings()).accumulator("bbox")
    running.update(truth, results)
    with pytest.raises(ValueError, match="must list the same categories"):
        running.update({**truth, "categories": []}, [])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("categories", [(), [{"id": 1, "name": "one"}], None])
def test_nothing_at_all(backend: str, categories: Any) -> None:
    pytest.importorskip(backend)
    metrics = CocoMetrics("bbox", ClassAgnosticSettings(backend=backend), categories)
    metrics.update({"images": [], "annotations": []}, [])
    metrics.update({"images": [{"id": "a"}], "annotations": []}, [])
    assert all(math.isnan(value) for value in metrics.compute().values())
