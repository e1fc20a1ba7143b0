"""Groups matched with classes: against all permutations, and metrics by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from unseg_d2.config import load_cfg
from unseg_d2.data.classes import OF_THE_DATA
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.matched_classes import MatchedClasses, MatchedClassesSettings, count_pairs, match_groups
from unseg_d2.evaluation.registry import build_evaluators, classes_told_apart, detector_evaluators
from unseg_d2.evaluation.scores import score

IMAGES = [{"id": number, "height": 100, "width": 100} for number in (1, 2)]
LISTED = [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}]


def box(image: int, left: int, category: int, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "bbox": [left, 10, 20, 20], "category_id": category, **more}


TRUTH = {
    "images": IMAGES,
    "annotations": [box(1, 0, 17), box(1, 30, 18), box(2, 0, 17), box(2, 60, 17, iscrowd=1)],
    "categories": LISTED,
}
RESULTS = [
    box(1, 0, 5, score=0.9),  # on a cat
    box(2, 0, 5, score=0.8),  # on a cat
    box(1, 30, 6, score=0.7),  # on the dog
    box(1, 30, 5, score=0.3),  # on the dog, in the group of cats
    box(2, 30, 7, score=0.9),  # on nothing
    box(2, 60, 7, score=0.9),  # on the crowd
]


@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (2, 4)])
def test_one_to_one_is_the_best_of_all_permutations(shape: tuple[int, int]) -> None:
    for seed in range(5):
        counts = np.random.default_rng(seed).integers(0, 9, shape)
        wide = counts if shape[0] >= shape[1] else counts.T
        best = max(
            sum(wide[row, column] for column, row in enumerate(rows))
            for rows in itertools.permutations(range(len(wide)), wide.shape[1])
        )
        assigned = match_groups(counts, "hungarian")
        chosen = assigned[assigned >= 0]
        assert len(set(chosen.tolist())) == len(chosen)
        assert sum(counts[group, k] for group, k in enumerate(assigned) if k >= 0) == best


def test_pairs_are_counted_by_hand() -> None:
    def counted(**settings: Any) -> list[list[int]]:
        rule = MatchedClassesSettings(**settings)
        return count_pairs(TRUTH, RESULTS, [5, 6, 7], [17, 18], "bbox", rule).tolist()

    assert counted() == [[2, 0], [0, 1], [0, 0]]
    assert counted(counted="results") == [[2, 1], [0, 1], [0, 0]]
    assert counted(counted="results", min_score=0.5) == counted()
    moved = [item | {"bbox": [item["bbox"][0] + 5, 10, 20, 20]} for item in RESULTS]  # IoU 15 / 25
    for least, number in ((0.59, 3), (0.61, 0)):
        rule = MatchedClassesSettings(min_iou=least)
        assert count_pairs(TRUTH, moved, [5, 6, 7], [17, 18], "bbox", rule).sum() == number


def test_what_a_detector_states_with_low_scores_outvotes_nothing() -> None:
    """It states every group on every object; of equal scores, the larger overlap counts."""
    sure = [box(1, 0, 5, score=0.9), box(1, 30, 6, score=0.9), box(2, 0, 5, score=0.9)]
    noise = [box(image, left, 6, score=0.1) for image, left in ((1, 0), (2, 0), (2, 0))]
    noise += [box(1, 30, 5, score=0.1)] * 4
    for results in (sure + noise, noise + sure):
        metrics = score(TRUTH, results, {"matched": MatchedClasses(MatchedClassesSettings())}).metrics["bbox"]
        assert metrics["MatchedAP50"] == pytest.approx(100) and metrics["Purity"] == 100
        every = MatchedClasses(MatchedClassesSettings(counted="results"))
        assert score(TRUTH, results, {"matched": every}).metrics["bbox"]["MatchedAP50"] < 60
    equal = [box(1, 2, 6, score=0.9), *sure]
    assert count_pairs(TRUTH, equal, [5, 6], [17, 18], "bbox", MatchedClassesSettings()).tolist() == [[2, 0], [0, 1]]


def test_metrics_are_those_of_the_matched_classes() -> None:
    """Both cats and the dog are found; the false dog of group 5 counts as a cat, below both, so that AP stays 100."""
    metrics = score(TRUTH, RESULTS, {"matched": MatchedClasses(MatchedClassesSettings())}).metrics["bbox"]
    assert [metrics[name] for name in ("AP-cat", "AP-dog", "MatchedAP")] == pytest.approx([100, 100, 100])
    assert metrics["MatchedAR100"] == pytest.approx(100) and metrics["MatchedGroups"] == 2
    assert metrics["Purity"] == 100
    every = MatchedClasses(MatchedClassesSettings(counted="results"))
    assert score(TRUTH, RESULTS, {"matched": every}).metrics["bbox"]["Purity"] == 75  # 2 + 1 of 4 results on objects


def test_a_group_without_a_class_counts_for_nothing_and_a_class_without_a_group_is_missed() -> None:
    split = [item | {"category_id": 8} if item is RESULTS[1] else item for item in RESULTS]  # a second group of cats
    one = score(TRUTH, split, {"matched": MatchedClasses(MatchedClassesSettings())}).metrics["bbox"]
    assert one["MatchedGroups"] == 2 and one["AP-cat"] == pytest.approx(50, abs=1)  # one of two cats, precision 1
    settings = MatchedClassesSettings(matching="majority")
    many = score(TRUTH, split, {"matched": MatchedClasses(settings)}).metrics["bbox"]
    assert many["MatchedGroups"] == 3 and many["AP-cat"] == pytest.approx(100)
    none = score(TRUTH, [], {"matched": MatchedClasses(settings)}).metrics["bbox"]
    assert none["MatchedAP"] == 0 and none["MatchedGroups"] == 0 and math.isnan(none["Purity"])


def test_it_stands_beside_class_agnostic_metrics() -> None:
    words = ["TEST.EVALUATORS", "('class_agnostic', 'matched_classes')", "TEST.MATCHED_CLASSES.MIN_SCORE", "0.6"]
    metrics = score(TRUTH, RESULTS, build_evaluators(load_cfg(None, words))).metrics["bbox"]
    assert metrics["Purity"] == 100 and metrics["AP"] < 100 == pytest.approx(metrics["MatchedAP"])


def test_the_classes_of_a_detector_are_groups_or_those_of_the_data_set() -> None:
    words = ["MODEL.ROI_HEADS.NUM_CLASSES", "4", "TEST.EVALUATORS"]
    cfg = load_cfg(None, [*words, "('matched_classes',)"])
    assert list(detector_evaluators(cfg)) == ["matched_classes"] and classes_told_apart(cfg) == OF_THE_DATA
    with pytest.raises(UnsegError, match=r"per_class and matched_classes of TEST\.EVALUATORS .*; leave one of the two"):
        detector_evaluators(load_cfg(None, [*words, "('per_class', 'matched_classes')"]))
