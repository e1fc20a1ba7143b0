"""The evaluator with classes: categories from the ground truth, listed or not, and where it is refused."""

from __future__ import annotations

import math

import pytest

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.per_class import PerClass, PerClassSettings
from unseg_d2.evaluation.registry import build_evaluators, classes_told_apart, detector_evaluators
from unseg_d2.evaluation.scores import score
from unseg_d2.evaluation.table import class_rows, rounds_table

IMAGES = [{"id": 1, "height": 50, "width": 50}]
CATS = {"image_id": 1, "bbox": [0, 0, 20, 20], "category_id": 17}
DOGS = {"image_id": 1, "bbox": [25, 25, 20, 20], "category_id": 18}
LISTED = [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}, {"id": 99, "name": "cow"}]
EVALUATOR = {"per_class": PerClass(PerClassSettings())}


def test_a_result_counts_for_its_own_class_only() -> None:
    truth = {"images": IMAGES, "annotations": [CATS, DOGS], "categories": LISTED}
    results = [CATS | {"score": 0.9}, DOGS | {"score": 0.8, "category_id": 17}]
    metrics = score(truth, results, EVALUATOR).metrics["bbox"]
    assert (metrics["AP-cat"], metrics["AP-dog"]) == (pytest.approx(100), 0)
    assert math.isnan(metrics["AP-cow"]) and metrics["AP"] == pytest.approx(50)  # the mean of classes with objects
    assert score(truth, results).metrics["bbox"]["AP"] == pytest.approx(100)


def test_without_a_list_the_categories_are_those_that_occur() -> None:
    truth = {"images": IMAGES, "annotations": [CATS]}
    metrics = score(truth, [CATS, DOGS], EVALUATOR).metrics["bbox"]
    assert metrics["AP-17"] == metrics["AP"] == pytest.approx(100) and math.isnan(metrics["AP-18"])


def test_classes_have_a_table_of_their_own() -> None:
    truth = {"images": IMAGES, "annotations": [CATS, DOGS], "categories": LISTED}
    metrics = score(truth, [CATS], EVALUATOR).metrics
    assert class_rows(metrics) == [["class", "box AP"], ["cat", "100.0"], ["dog", "0.0"], ["cow", "-"]]
    assert "cat" not in rounds_table([("detector", metrics)])


def test_a_class_agnostic_detector_has_no_classes_to_tell_apart() -> None:
    one = ["TEST.EVALUATORS", "('per_class',)", "MODEL.ROI_HEADS.NUM_CLASSES", "1"]
    with pytest.raises(UnsegError, match=r"per_class of TEST\.EVALUATORS tells classes apart, but the det"):
        detector_evaluators(load_cfg(None, one))
    assert list(build_evaluators(load_cfg(None, one))) == ["per_class"]  # results from elsewhere may have classes


@pytest.mark.parametrize(("evaluators", "expected"), [("class_agnostic", 1), ("per_class", 4), ("corloc", 1)])
def test_how_many_classes_are_told_apart(evaluators: str, expected: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    cfg = load_cfg(
        None, ["TEST.EVALUATORS", f"('{evaluators}',)", "MODEL.ROI_HEADS.NUM_CLASSES", "4", "MODEL.MASK_ON", "True"]
    )
    assert classes_told_apart(cfg) == expected
    detector_evaluators(cfg)
    assert ("No evaluator tells the detector's classes apart" in caplog.text) == (expected == 1)
