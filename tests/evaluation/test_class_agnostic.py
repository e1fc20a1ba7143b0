from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.backends import BACKENDS, select_backend
from unseg_d2.evaluation.class_agnostic import METRICS, evaluate
from unseg_d2.evaluation.class_agnostic import ClassAgnosticSettings as Settings

HEIGHT, WIDTH = 200, 240


def rectangle(left: int, top: int, width: int, height: int) -> dict[str, Any]:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[top : top + height, left : left + width] = 1
    rle = mask_utils.encode(mask)
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def annotation(image: int, *bbox: int, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "bbox": list(bbox), "segmentation": rectangle(*bbox), "area": bbox[2] * bbox[3], **more}


def images(count: int) -> list[dict[str, Any]]:
    return [{"id": index + 1, "height": HEIGHT, "width": WIDTH} for index in range(count)]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param)
    return request.param


def test_figures_computed_by_hand(backend: str) -> None:
    """Two objects: one found exactly, with a false result before it; of the other 60 % (IoU 0.6), and last.

    Thresholds 0.5, 0.55, 0.6: ranks false, true, true, so precision 1/2, 2/3 at recall 1/2, 1: interpolated 2/3.
    The seven higher ones: false, true, false: precision 1/2 up to recall 1/2, that is at 51 of 101 points.
    """
    truth = [annotation(1, 10, 10, 50, 40), annotation(2, 10, 10, 100, 100, category_id=5)]
    results = [
        annotation(1, 120, 120, 50, 40, score=0.9),
        annotation(1, 10, 10, 50, 40, score=0.8),
        annotation(2, 10, 10, 100, 60, score=0.7),
    ]
    high = 0.5 * 51 / 101
    expected = {
        "AP": (3 * 2 / 3 + 7 * high) / 10,
        "AP50": 2 / 3,
        "AP75": high,
        "AR1": 0.3 / 2,  # the best result of image 1 is the false one
        "AR10": (3 * 1 + 7 * 0.5) / 10,
        "AR100": (3 * 1 + 7 * 0.5) / 10,
        "ARm": 1.0,
        "ARl": 0.3,
        "Recall50": 1.0,
    }
    figures = evaluate({"images": images(2), "annotations": truth}, results, settings=Settings(backend=backend))
    for iou_type in ("bbox", "segm"):
        assert list(figures[iou_type]) == list(METRICS)
        assert {key: figures[iou_type][key] for key in expected} == pytest.approx(
            {k: 100 * v for k, v in expected.items()}
        )
        assert math.isnan(figures[iou_type]["APs"])


def scenes(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Random rectangles and shifted copies of them, with crowds, equal scores, empty images and two classes."""
    rng = np.random.default_rng(seed)
    truth, results = [], []
    for image in range(1, 9):
        for _ in range(rng.integers(0, 6)):
            box = np.r_[rng.integers(0, 100, 2), rng.integers(8, 100, 2)]
            crowd = int(rng.random() < 0.15)
            truth.append(annotation(image, *map(int, box), iscrowd=crowd, category_id=int(rng.integers(1, 3))))
            for _ in range(rng.integers(0, 3)):
                moved = np.clip(box + rng.integers(-8, 9, 4), [0, 0, 1, 1], None)
                results.append(annotation(image, *map(int, moved), score=round(float(rng.random()), 1)))
    return {"images": images(9), "annotations": truth}, results


def test_is_detectron2s_recipe_for_pycocotools() -> None:
    """The oracle goes the ordinary way: ``loadRes``, masks without their boxes, categories ignored."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, results = scenes(0)
    oracle = COCO()
    oracle.dataset = {
        "info": {},
        "images": truth["images"],
        "annotations": [item | {"id": index + 1} for index, item in enumerate(truth["annotations"])],
        "categories": [{"id": 1}, {"id": 2}],
    }
    oracle.createIndex()
    figures = evaluate(truth, results, settings=Settings(backend="pycocotools"))
    for iou_type, left_out in (("bbox", "segmentation"), ("segm", "bbox")):
        given = [{k: v for k, v in result.items() if k != left_out} | {"category_id": 1} for result in results]
        expected = COCOeval(oracle, oracle.loadRes(given), iou_type)
        expected.params.useCats = 0
        expected.evaluate()
        expected.accumulate()
        expected.summarize()
        stats = [100 * value if value >= 0 else math.nan for value in expected.stats]
        assert [figures[iou_type][name] for name in METRICS[:12]] == pytest.approx(stats, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("seed", range(5))
def test_backends_agree_to_six_digits(backend: str, seed: int) -> None:
    truth, results = scenes(seed)
    expected = evaluate(truth, results, settings=Settings(backend="pycocotools"))
    figures = evaluate(truth, results, settings=Settings(backend=backend))
    for iou_type in ("bbox", "segm"):
        assert figures[iou_type] == pytest.approx(expected[iou_type], abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("max_detections", [300, 1000])
def test_more_results_per_image(backend: str, max_detections: int) -> None:
    """120 false results before 2 true ones: found only where more than 100 count; the oracle is pycocotools."""
    truth = {"images": images(1), "annotations": [annotation(1, 0, 0, 20, 20), annotation(1, 50, 0, 40, 40)]}
    false = [annotation(1, 100 + index, 100, 30, 30, score=0.9) for index in range(60)] * 2
    found = [*false, annotation(1, 0, 0, 20, 20, score=0.5), annotation(1, 50, 0, 40, 40, score=0.4)]
    usual = evaluate(truth, found, settings=Settings(backend=backend))["segm"]
    assert usual["AP"] == usual["AR100"] == usual["Recall50"] == 0
    figures = evaluate(truth, found, settings=Settings(max_detections, backend))
    expected = evaluate(truth, found, settings=Settings(max_detections, "pycocotools"))
    for iou_type in ("bbox", "segm"):
        assert figures[iou_type] == pytest.approx(expected[iou_type], abs=1e-6, nan_ok=True)
        assert figures[iou_type][f"AR{max_detections}"] == figures[iou_type]["Recall50"] == 100
        assert figures[iou_type]["AR100"] == 0
        assert figures[iou_type]["AP"] == pytest.approx(100 * 2 / 122)  # precision 1/121 rises to 2/122
    with pytest.raises(ValueError, match="max_detections must be a whole number of at least 100, got 10"):
        evaluate(truth, found, settings=Settings(10, backend))


def test_300_results_change_nothing_where_images_have_fewer(backend: str) -> None:
    truth, results = scenes(3)
    usual = evaluate(truth, results, settings=Settings(backend=backend))
    more = evaluate(truth, results, settings=Settings(300, backend))
    for iou_type in ("bbox", "segm"):
        assert more[iou_type] == pytest.approx(usual[iou_type] | {"AR300": usual[iou_type]["AR100"]}, nan_ok=True)


def test_no_results_no_objects_and_neither(backend: str) -> None:
    truth, results = scenes(0)
    nothing = {"images": truth["images"], "annotations": []}
    assert evaluate(truth, [], settings=Settings(backend=backend))["segm"]["AP"] == 0
    for given in ([], results):
        figures = evaluate(nothing, given, settings=Settings(backend=backend))
        assert all(math.isnan(value) for kind in figures.values() for value in kind.values())


def test_results_on_crowds_are_not_false(backend: str) -> None:
    truth = {
        "images": images(1),
        "annotations": [annotation(1, 0, 0, 50, 50), annotation(1, 100, 0, 90, 90, iscrowd=1)],
    }
    found = [annotation(1, 110, 10, 20, 20, score=0.9), annotation(1, 0, 0, 50, 50, score=0.5)]
    assert evaluate(truth, found, settings=Settings(backend=backend))["segm"]["AP"] == pytest.approx(100)


def test_label_sets_count_as_results_without_scores_and_boxes(backend: str) -> None:
    truth = {
        "images": [{"id": "text", "height": HEIGHT, "width": WIDTH}],
        "annotations": [annotation("text", 0, 0, 9, 9)],
    }
    found = [{"image_id": "text", "segmentation": rectangle(0, 0, 9, 9)}]
    figures = evaluate(truth, found, settings=Settings(backend=backend))
    assert figures["bbox"]["AP"] == pytest.approx(100) and figures["segm"]["AP"] == pytest.approx(100)


def test_polygons_and_uncompressed_masks_are_ground_truth_too(backend: str) -> None:
    column = {"size": [HEIGHT, WIDTH], "counts": [0, 20 * HEIGHT, (WIDTH - 20) * HEIGHT]}
    polygon = [[100, 10, 130, 10, 130, 40, 100, 40]]
    truth = [{"image_id": 1, "segmentation": segmentation} for segmentation in (column, polygon)]
    found = [annotation(1, 0, 0, 20, HEIGHT), annotation(1, 100, 10, 30, 30)]
    figures = evaluate({"images": images(1), "annotations": truth}, found, settings=Settings(backend=backend))
    assert figures["bbox"]["AP"] == pytest.approx(100) and figures["segm"]["AP"] == pytest.approx(100)


def test_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, results = scenes(0)
    with pytest.raises(UnsegError, match="result of image 77"):
        evaluate(truth, [annotation(77, 0, 0, 9, 9)])
    with pytest.raises(
        UnsegError,
        match="image 1 has the size 10x10, but the ground truth has 200x240: were both made of the same picture",
    ):
        evaluate(truth, [{"image_id": 1, "segmentation": {"size": [10, 10], "counts": "T3"}}])
    with pytest.raises(
        UnsegError, match=r"size 240x200, but .* 200x240: one is of the picture as it is stored, the other"
    ):
        evaluate(truth, [*results, {"image_id": 1, "segmentation": {"size": [240, 200], "counts": "T3"}}])
    with pytest.raises(UnsegError, match="without an RLE mask"):
        evaluate(truth, [{"image_id": 1, "bbox": [0, 0, 9, 9]}])
    boxes = {"images": truth["images"], "annotations": [{"image_id": 1, "bbox": [0, 0, 9, 9]}]}
    with pytest.raises(UnsegError, match="annotations without masks"):
        evaluate(boxes, results)
    assert list(evaluate(boxes, results, iou_types=("bbox",))) == ["bbox"]
    with pytest.raises(UnsegError, match="Did you mean 'hotcoco'"):
        select_backend("hotcocoa")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name != "pycocotools" else object())
    assert select_backend() == "pycocotools"
    with pytest.raises(UnsegError, match="pip install"):
        select_backend("hotcoco")


def test_classes_told_apart_are_those_of_pycocotools(backend: str) -> None:
    """The mean over classes that have objects, and the AP of each; ids are neither dense nor in order."""
    (truth, results), rng = scenes(5), np.random.default_rng(5)
    for item in [*truth["annotations"], *results]:
        item["category_id"] = int(rng.choice([90, 3], p=[0.8, 0.2]))
    categories = [{"id": 90, "name": "cat"}, {"id": 3, "name": "dog"}, {"id": 4, "name": "absent"}]
    reference = COCO()
    numbered = [item | {"id": number} for number, item in enumerate(truth["annotations"], start=1)]
    reference.dataset = {**truth, "annotations": numbered, "categories": categories}
    reference.createIndex()
    found = evaluate(truth, results, ("bbox",), Settings(backend=backend), categories)["bbox"]
    boxes = [{key: value for key, value in item.items() if key != "segmentation"} for item in results]
    expected = COCOeval(reference, reference.loadRes(boxes), "bbox")
    expected.evaluate()
    expected.accumulate()
    expected.summarize()
    names = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
    stats = [100 * value if value >= 0 else math.nan for value in expected.stats]
    assert [found[name] for name in names] == pytest.approx(stats, abs=1e-4, nan_ok=True)
    order = {category: place for place, category in enumerate(sorted([90, 3, 4]))}
    for category in categories[:2]:
        precision = expected.eval["precision"][:, :, order[category["id"]], 0, -1]
        assert found[f"AP-{category['name']}"] == pytest.approx(100 * precision.mean(), abs=1e-4)
    assert math.isnan(found["AP-absent"])
    assert found["AP"] < evaluate(truth, results, ("bbox",))["bbox"]["AP"]  # as one class more are right


def test_a_category_that_is_not_listed_is_refused() -> None:
    truth = {"images": images(1), "annotations": [annotation(1, 10, 10, 50, 40, category_id=1)]}
    results = [annotation(1, 10, 10, 50, 40, score=0.9, category_id=2)]
    with pytest.raises(UnsegError, match="image 1 has the category 2, which the ground truth does not list"):
        evaluate(truth, results, categories=[{"id": 1, "name": "cat"}])
