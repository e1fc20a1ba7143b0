from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from unseg_d2.config import load_cfg
from unseg_d2.evaluation.class_agnostic import ClassAgnosticSettings, evaluate
from unseg_d2.evaluation.levels import Levels, LevelsSettings, recalled
from unseg_d2.evaluation.registry import build_evaluators
from unseg_d2.rle import encode_mask

SIZE = 40


def disc(rng: np.random.Generator, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    y, x = rng.uniform(5, SIZE - 5, 2)
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


def scene(seed: int, images: int = 4) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Objects of three levels by size, and results that are some of them, moved by up to two pixels, with scores."""
    rng = np.random.default_rng(seed)
    truth: dict[str, Any] = {"images": [], "annotations": []}
    results = []
    for image in range(1, images + 1):
        truth["images"].append({"id": image, "height": SIZE, "width": SIZE})
        for level in (0, 0, 0, 1, 1, 2):
            mask = disc(rng, 4 + 4 * level)
            about = {"image_id": image, "iscrowd": 0, "area": int(mask.sum()), "level": level}
            truth["annotations"].append(about | {"segmentation": encode_mask(mask)})
            for _ in range(int(rng.integers(0, 3))):
                moved = np.roll(mask, tuple(rng.integers(-2, 3, 2)), (0, 1))
                score = float(rng.integers(1, 5)) / 5
                results.append({"image_id": image, "segmentation": encode_mask(moved), "score": score})
    return truth, results


@pytest.mark.parametrize("kind", ["segm", "bbox"])
@pytest.mark.parametrize("seed", range(3))
def test_each_level_is_cocos_recall_of_its_objects_alone(seed, kind):
    """The reference is pycocotools with the annotations of one level."""
    truth, results = scene(seed)
    found = Levels()(truth, results, kind)
    settings = ClassAgnosticSettings(max_detections=1000, backend="pycocotools")
    expected = evaluate(truth, results, [kind], settings)[kind]
    assert found["AR1000"] == pytest.approx(expected["AR1000"])
    for level in range(3):
        own = {**truth, "annotations": [item for item in truth["annotations"] if item["level"] == level]}
        reference = evaluate(own, results, [kind], settings)[kind]
        assert found[f"AR1000-level{level}"] == pytest.approx(reference["AR1000"])
        assert found[f"Recall50-level{level}"] == pytest.approx(reference["Recall50"])


def test_only_the_best_results_count():
    truth, results = scene(1, images=2)
    few = Levels(LevelsSettings(max_detections=2))(truth, results, "segm")
    ordered = sorted(results, key=lambda result: -result["score"])
    best = [one for image in (1, 2) for one in [r for r in ordered if r["image_id"] == image][:2]]
    assert few["AR2"] == Levels()(truth, best, "segm")["AR1000"]
    assert few["AR2"] < Levels()(truth, results, "segm")["AR1000"]


def test_without_levels_or_objects():
    truth, results = scene(0)
    plain = {**truth, "annotations": [{k: v for k, v in a.items() if k != "level"} for a in truth["annotations"]]}
    assert list(Levels()(plain, results, "segm")) == ["AR1000"]
    empty = Levels()({**truth, "annotations": []}, results, "segm")
    assert math.isnan(empty["AR1000"]) and len(empty) == 1
    assert Levels()(truth, [], "segm")["AR1000-level1"] == 0


def test_a_result_chooses_the_best_free_object():
    """The second result takes what the first leaves: the object of IoU .61, which is found at .5, .55 and .6 only."""
    found = recalled(np.array([[0.91, 0.61], [0.8, 0.61]]))
    assert found.sum(0).tolist() == [9, 3]
    assert recalled(np.zeros((0, 2))).shape == (10, 2)


def test_a_recipe_names_it():
    (evaluator,) = build_evaluators(load_cfg(None, ["TEST.EVALUATORS", "['levels']"])).values()
    assert "1000 results per image" in evaluator.protocol
