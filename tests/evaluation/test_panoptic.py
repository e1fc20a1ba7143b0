"""The evaluator `panoptic`: groups with names, stuff beside things by hand, and against the code of COCO in loops."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from unseg_d2.config import load_cfg
from unseg_d2.data.classes import OF_THE_DATA
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.panoptic import Panoptic, PanopticSettings
from unseg_d2.evaluation.registry import classes_told_apart, detector_evaluators
from unseg_d2.evaluation.scores import score
from unseg_d2.rle import encode_mask


def columns(first: int, last: int) -> np.ndarray:
    mask = np.zeros((10, 100), bool)
    mask[:, first:last] = True
    return mask


def item(first: int, last: int, category: int, **more: Any) -> dict[str, Any]:
    mask = encode_mask(columns(first, last))
    return {"image_id": 1, "bbox": [first, 0, last - first, 10], "category_id": category, "segmentation": mask, **more}


def test_the_evaluator_names_groups_where_it_is_asked_to() -> None:
    truth = {
        "images": [{"id": 1, "height": 10, "width": 100}],
        "annotations": [item(0, 40, 1), item(50, 60, 2)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    results = [item(0, 30, 7, score=0.9), item(50, 60, 9, score=0.8), item(70, 90, 7, score=0.4)]
    metrics = score(truth, results, {"panoptic": Panoptic(PanopticSettings(matching="hungarian"))}).metrics
    assert metrics["segm"] == pytest.approx({"PQ": 87.5, "SQ": 87.5, "RQ": 100}) and "bbox" not in metrics
    with pytest.raises(UnsegError, match="has the category 7, which the ground truth does not list"):
        score(truth, results, {"panoptic": Panoptic(PanopticSettings())})
    wrong = [one | {"category_id": {7: 2, 9: 1}[one["category_id"]]} for one in results]
    assert score(truth, wrong, {"panoptic": Panoptic(PanopticSettings())}).metrics["segm"]["PQ"] == 0


def test_the_classes_of_a_detector_are_those_of_the_truth_or_matched_with_them() -> None:
    words = ["TEST.EVALUATORS", "('panoptic',)", "MODEL.ROI_HEADS.NUM_CLASSES", "2", "MODEL.MASK_ON", "True"]
    for matching, expected in (("none", 2), ("majority", OF_THE_DATA)):
        cfg = load_cfg(None, [*words, "TEST.PANOPTIC.MATCHING", matching])
        assert list(detector_evaluators(cfg)) == ["panoptic"] and classes_told_apart(cfg) == expected


class Maps:
    """Maps of stuff in memory, by the id of the image."""

    def __init__(self, found: Mapping[int, np.ndarray], known: Mapping[int, np.ndarray]) -> None:
        self.maps = found, known

    def found(self, image: Mapping[str, Any]) -> np.ndarray:
        return self.maps[0][image["id"]]

    def known(self, image: Mapping[str, Any]) -> np.ndarray:
        return self.maps[1][image["id"]]


TRUTH = {
    "images": [{"id": 1, "height": 10, "width": 100}],
    "annotations": [item(0, 40, 1)],
    "categories": [{"id": 1, "name": "cat"}],
}


def stuff_by_hand() -> Maps:
    """Below a cat in columns 0 to 40: sky (class 1) to 60, grass (2) to 90, then nothing; clusters 5, 8, 9 and none."""
    found, known = np.full((10, 100), 5), np.full((10, 100), 1)
    found[:, 50:80], found[:, 80:95], found[:, 95:] = 8, 9, -1
    known[:, 60:90], known[:, 90:] = 2, -1
    return Maps({1: found}, {1: known})


def measured(maps: Maps, results: list[dict[str, Any]], truth: Mapping[str, Any] = TRUTH, **settings: Any) -> Any:
    evaluator = Panoptic(PanopticSettings(**settings)).with_stuff(maps)
    return score(truth, results, {"panoptic": evaluator}).metrics["segm"]


def test_stuff_beside_things_by_hand() -> None:
    """The cat covers 0 to 30 of 40. Below it 5 is left on 30 to 50; 8 lies on 50 to 80, 9 on 80 to 95.

    On stuff, 5 has 10 columns of sky (the truth has the cat up to 40), 8 has 10 of sky and 20 of grass, 9 has 10 of
    grass: so 5 is sky, 8 is grass, and 9 nothing. The IoU of the sky is 10 / (20 + 20 - 10), and that of the grass
    20 / 40, which is not above .5: only the cat counts.
    """
    metrics = measured(stuff_by_hand(), [item(0, 30, 1, score=0.9)])
    assert [metrics[name] for name in ("PQth", "SQth", "RQth")] == pytest.approx([75, 75, 100])
    assert [metrics[name] for name in ("PQst", "SQst", "RQst")] == [0, 0, 0]
    assert metrics["PQ"] == pytest.approx(25)  # mean over cat, sky and grass
    whole = measured(stuff_by_hand(), [item(0, 40, 1, score=0.9)])  # 5 is left on 40 to 50: 10 of 20 columns of sky
    assert whole["PQth"] == 100 and whole["PQst"] == 0


@pytest.mark.parametrize("matching", ["none", "hungarian", "majority"])
def test_maps_are_read_once(matching: Any) -> None:
    read: list[tuple[str, int]] = []

    class Counted(Maps):
        def found(self, image: Mapping[str, Any]) -> np.ndarray:
            read.append(("found", image["id"]))
            return super().found(image)

        def known(self, image: Mapping[str, Any]) -> np.ndarray:
            read.append(("known", image["id"]))
            return super().known(image)

    one = stuff_by_hand()
    maps = Counted(*({1: of_image[1], 2: of_image[1]} for of_image in one.maps))
    truth = {**TRUTH, "images": [*TRUTH["images"], {**TRUTH["images"][0], "id": 2}]}
    measured(maps, [item(0, 30, 1, score=0.9)], truth, stuff_matching=matching)
    assert sorted(read) == [("found", 1), ("found", 2), ("known", 1), ("known", 2)]


def test_clusters_may_have_the_class_of_most_of_their_pixels() -> None:
    """With the whole cat found, 5 is sky (IoU 10 / 20), 8 and 9 are grass: 50 to 90 of 60 to 90, 5 columns are void."""
    metrics = measured(stuff_by_hand(), [item(0, 40, 1, score=0.9)], stuff_matching="majority")
    assert metrics["SQst"] == pytest.approx(100 * 30 / 40 / 2) and metrics["RQst"] == pytest.approx(50)
    assert metrics["PQ"] == pytest.approx(100 * (1 + 0.75 + 0) / 3)


def test_clusters_are_classes_where_nothing_is_matched_and_small_stuff_is_no_segment() -> None:
    maps = stuff_by_hand()
    maps.maps[0][1] = np.where(maps.maps[1][1] >= 0, maps.maps[1][1], 2)
    whole = [item(0, 40, 1, score=0.9)]
    assert measured(maps, whole, stuff_matching="none")["PQst"] == 100
    assert measured(maps, whole, stuff_matching="none", min_stuff_area=250)["PQst"] == 50  # sky: 200 px are left
    only = measured(maps, whole, stuff_matching="none", stuff=(2,))  # the sky is no stuff, so that it has no label
    assert (only["PQ"], only["PQst"]) == (100, 100)


def test_without_things_or_stuff_of_a_kind_the_metric_is_undefined() -> None:
    maps = Maps({1: np.zeros((10, 100), int) - 1}, {1: np.zeros((10, 100), int) - 1})
    metrics = measured(maps, [item(0, 40, 1)])
    assert metrics["PQ"] == metrics["PQth"] == 100 and math.isnan(metrics["PQst"])


def test_stuff_and_things_of_one_number_are_two_classes() -> None:
    maps = Maps({1: np.where(columns(0, 40), -1, 1)}, {1: np.where(columns(0, 40), -1, 1)})
    metrics = measured(maps, [], stuff_matching="none")  # no thing is found: below the cat there is nothing
    assert (metrics["PQth"], metrics["PQst"], metrics["PQ"]) == (0, 100, 50)


def test_stuff_that_the_ground_truth_never_has_is_named(caplog: pytest.LogCaptureFixture) -> None:
    assert measured(stuff_by_hand(), [item(0, 40, 1)], stuff=(1, 2))["PQth"] == 100
    assert not caplog.text
    measured(stuff_by_hand(), [item(0, 40, 1)], stuff=(1, 0, 30))
    assert "TEST.PANOPTIC.STUFF names 0, 30, of which the ground truth has no pixel beside its objects" in caplog.text


def test_results_below_the_lowest_score_are_named(caplog: pytest.LogCaptureFixture) -> None:
    score(TRUTH, [item(0, 40, 1, score=0.3)], {"panoptic": Panoptic(PanopticSettings())})
    assert "None of the 1 results is a segment: the highest score is 0.30" in caplog.text


Scene = tuple[np.ndarray, dict[int, Any]]


def coco_in_loops(found: list[Scene], known: list[Scene]) -> dict[Any, float]:
    """PQ by class as COCO's own evaluation computes it: on maps of numbers, 0 is void; crowds as numbers below 0."""
    sums: dict[Any, list[float]] = {}

    def of(label: Any) -> list[float]:
        return sums.setdefault(label, [0.0, 0, 0, 0])

    for (p_map, p_class), (t_map, t_class) in zip(found, known):
        pairs: dict[tuple[int, int], int] = {}
        for t, p in zip(t_map.ravel().tolist(), p_map.ravel().tolist()):
            pairs[t, p] = pairs.get((t, p), 0) + 1
        p_area = {p: sum(n for (_, other), n in pairs.items() if other == p) for p in p_class}
        t_area = {t: sum(n for (other, _), n in pairs.items() if other == t) for t in t_class}
        hit_t, hit_p = set(), set()
        for (t, p), n in pairs.items():
            if t <= 0 or p == 0 or t_class[t] != p_class[p]:
                continue
            union = p_area[p] + t_area[t] - n - pairs.get((0, p), 0)
            if n / union > 0.5:
                of(t_class[t])[0] += n / union
                of(t_class[t])[1] += 1
                hit_t.add(t)
                hit_p.add(p)
        for t, label in t_class.items():
            of(label)[3] += t > 0 and t not in hit_t
        for p, label in p_class.items():
            ignored = pairs.get((0, p), 0) + sum(
                n for (t, other), n in pairs.items() if other == p and t < 0 and t_class[t] == label
            )
            of(label)[2] += p not in hit_p and ignored <= 0.5 * p_area[p]
    return {key: iou / (tp + (fp + fn) / 2) for key, (iou, tp, fp, fn) in sums.items() if tp + fp + fn}


def test_things_and_stuff_are_scored_as_coco_scores_them() -> None:
    """Random scenes with crowds and void, in which things lie on stuff; clusters are classes."""
    rng = np.random.default_rng(3)
    truth: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": k, "name": str(k)} for k in (1, 2)]}
    results, found_maps, known_maps, found, known = [], {}, {}, [], []
    for key in range(1, 13):
        truth["images"].append({"id": key, "height": 24, "width": 32})
        stuff = np.repeat(np.repeat(rng.choice([-1, 3, 4, 4], (3, 4)), 8, 0), 8, 1)
        guess = np.where(rng.random((24, 32)) < 0.2, rng.choice([-1, 3, 4], (24, 32)), np.roll(stuff, 2, 1))
        known_maps[key], found_maps[key] = stuff, guess
        t_map, p_map = (np.where(one >= 0, 100 + one, 0) for one in (stuff, guess))
        t_class: dict[int, Any] = {103: "stuff3", 104: "stuff4"}
        p_class = dict(t_class)
        for number in range(1, 4):
            top, left, label = rng.integers(0, 16), 10 * (number - 1), int(rng.integers(1, 3))
            mask = np.zeros((24, 32), bool)
            mask[top : top + 8, left : left + 8] = True
            crowd = int(rng.random() < 0.25)
            truth["annotations"].append(
                {"image_id": key, "category_id": label, "iscrowd": crowd, "segmentation": encode_mask(mask)}
                | {"bbox": [int(left), int(top), 8, 8]}
            )
            number = -number if crowd else number
            t_map[mask], t_class[number] = number, label
            moved = np.roll(mask, int(rng.integers(0, 4)), 0)
            guessed = int(label if rng.random() < 0.8 else 3 - label)
            results.append({"image_id": key, "category_id": guessed, "segmentation": encode_mask(moved), "score": 0.9})
            results[-1]["bbox"] = [int(left), int(top), 8, 8]
            p_map[moved], p_class[abs(number)] = abs(number), guessed
        found.append((p_map, {p: label for p, label in p_class.items() if (p_map == p).any()}))
        known.append((t_map, {t: label for t, label in t_class.items() if (t_map == t).any()}))
    expected = coco_in_loops(found, known)
    metrics = measured(Maps(found_maps, known_maps), results, truth, stuff_matching="none")
    assert set(expected) == {1, 2, "stuff3", "stuff4"} and 0 < min(expected.values())
    assert metrics["PQ"] == pytest.approx(100 * np.mean(list(expected.values())))
    assert metrics["PQth"] == pytest.approx(50 * (expected[1] + expected[2]))
    assert metrics["PQst"] == pytest.approx(50 * (expected["stuff3"] + expected["stuff4"]))
