"""What every registered evaluator must cope with, those of plug-ins included (``--unseg-plugin``)."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import numpy as np
import pytest

from unseg_d2.config import get_cfg
from unseg_d2.evaluation.registry import EVALUATORS, KINDS, Evaluator, kinds_of
from unseg_d2.evaluation.scores import Scores, read_metrics, score
from unseg_d2.rle import encode_mask

HEIGHT, WIDTH = 60, 80
OBJECTS = {1: [(4, 6, 20, 30), (40, 10, 30, 20)], 2: [(0, 0, 80, 60)], "b": [(30, 30, 1, 1)], 10**12: []}
"""Boxes XYWH by image; ids as they occur in annotation files, and an image without objects. Each image is a video."""


def item(image_id: Any, box: tuple[int, int, int, int], **more: Any) -> dict[str, Any]:
    """A rectangle as box and mask."""
    x, y, width, height = box
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + height, x : x + width] = True
    area = width * height
    return {
        "image_id": image_id,
        "category_id": 1,
        "bbox": list(box),
        "area": area,
        "track_id": f"{image_id} {box}",  # of one frame
        "segmentation": encode_mask(mask),
    } | more


def truth(objects: dict[Any, list] = OBJECTS) -> dict[str, Any]:
    frame = {"height": HEIGHT, "width": WIDTH, "frame_id": 0}
    images = [{"id": key, "video_id": key, "file_name": f"{key}.png", **frame} for key in objects]
    annotations = [item(key, box, iscrowd=0) for key, boxes in objects.items() for box in boxes]
    return {"images": images, "annotations": [{**one, "id": number} for number, one in enumerate(annotations, 1)]}


def perfect() -> list[dict[str, Any]]:
    """Each object as a result, no two with the same score."""
    found = [item(key, box) for key, boxes in OBJECTS.items() for box in boxes]
    return [{**one, "score": 0.9 - 0.1 * number} for number, one in enumerate(found)]


def some() -> list[dict[str, Any]]:
    """Results of all qualities: exact, shifted, beside every object, and on the image without objects."""
    found = perfect()[:1] + [item(1, (44, 14, 30, 20), score=0.65)] + [item(1, (0, 50, 5, 5), score=0.95)]
    return [*found, item(2, (0, 0, 60, 60), score=0.4), item(10**12, (1, 1, 9, 9), score=0.3)]


@pytest.fixture(params=EVALUATORS.names())
def evaluator(request: pytest.FixtureRequest) -> Evaluator:
    return EVALUATORS.build(get_cfg(), request.param)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, evaluator: Evaluator) -> str:
    if request.param not in kinds_of(evaluator):
        pytest.skip(f"does not compare {request.param}")
    return request.param


def same(first: dict[str, float], second: dict[str, float]) -> None:
    assert first.keys() == second.keys()
    assert list(first.values()) == pytest.approx(list(second.values()), nan_ok=True, abs=1e-9)


class TestEveryEvaluator:
    def test_says_what_it_compares(self, evaluator):
        assert kinds_of(evaluator) and set(kinds_of(evaluator)) <= set(KINDS)
        protocol = getattr(evaluator, "protocol", "")
        assert isinstance(protocol, str) and "\n" not in protocol

    def test_metrics_are_numbers_by_name(self, evaluator, kind):
        found = evaluator(truth(), some(), kind)
        assert found and all(isinstance(name, str) and name.strip() == name and "/" not in name for name in found)
        assert all(isinstance(float(value), float) and not math.isinf(value) for value in found.values())

    def test_they_survive_a_file(self, evaluator, kind):
        scores = Scores({kind: evaluator(truth(), some(), kind)}, {}, "", 0)
        text = json.dumps(scores.to_json(), allow_nan=False)
        same(read_metrics(json.loads(text)["figures"])[kind], scores.metrics[kind])

    def test_the_names_do_not_depend_on_the_results(self, evaluator, kind):
        names = evaluator(truth(), some(), kind).keys()
        for results in ([], perfect(), some()[2:3]):
            assert evaluator(truth(), results, kind).keys() == names

    def test_no_results(self, evaluator, kind):
        assert all(math.isfinite(value) or math.isnan(value) for value in evaluator(truth(), [], kind).values())

    def test_perfect_results_are_told_from_none(self, evaluator, kind):
        """A metric that no result changes measures nothing."""
        best, other, none = (evaluator(truth(), results, kind) for results in (perfect(), some(), []))
        assert all(math.isfinite(best[name]) for name in best if math.isfinite(other[name]))
        assert any(best[name] != none[name] for name in best if math.isfinite(best[name]))

    def test_the_order_of_results_images_and_objects_is_no_matter(self, evaluator, kind):
        expected = evaluator(truth(), some(), kind)
        turned = truth()
        turned = {"images": turned["images"][::-1], "annotations": turned["annotations"][::-1]}
        same(evaluator(turned, some()[::-1], kind), expected)

    def test_equal_scores(self, evaluator, kind):
        results = [{**result, "score": 0.5} for result in some()]
        first = evaluator(truth(), results, kind)
        same(evaluator(truth(), copy.deepcopy(results), kind), first)
        without = [{key: value for key, value in result.items() if key != "score"} for result in some()]
        same(evaluator(truth(), without, kind), evaluator(truth(), [{**one, "score": 1.0} for one in without], kind))

    def test_changes_nothing(self, evaluator, kind):
        known, results = truth(), some()
        before = copy.deepcopy((known, results))
        evaluator(known, results, kind)
        assert (known, results) == before

    def test_the_second_call_is_like_the_first(self, evaluator, kind):
        first = evaluator(truth(), some(), kind)
        evaluator(truth({7: [(0, 0, 5, 5)]}), [], kind)
        same(evaluator(truth(), some(), kind), first)

    def test_no_objects_anywhere(self, evaluator, kind):
        for results in ([], [item(1, (0, 0, 9, 9), score=0.5)]):
            found = evaluator(truth({1: [], 2: []}), results, kind)
            assert not any(math.isinf(value) for value in found.values())

    def test_crowd_regions(self, evaluator, kind):
        known = truth()
        known["annotations"].append(item(1, (0, 40, 80, 20), iscrowd=1) | {"id": 99})
        assert not any(math.isinf(value) for value in evaluator(known, some(), kind).values())

    def test_through_the_one_way_to_scores(self, evaluator):
        scores = score(truth(), perfect(), {"it": evaluator})
        assert scores.metrics.keys() == set(kinds_of(evaluator)) and scores.counts["objects"] == 4
        for kind in kinds_of(evaluator):
            same(scores.metrics[kind], evaluator(truth(), perfect(), kind))


def test_the_first_members():
    assert {"best_iou", "class_agnostic", "corloc"} <= set(EVALUATORS.names())
    metrics = score(
        truth(), perfect(), {name: EVALUATORS.build(get_cfg(), name) for name in EVALUATORS.names()[:3]}
    ).metrics
    assert metrics["bbox"]["BestIoU"] == metrics["bbox"]["AR100"] == metrics["bbox"]["CorLoc"] == pytest.approx(100)


def test_corloc_by_hand():
    """Image 1: the best box misses. Image 2: IoU .75. Image b: nothing. The image without objects does not count."""
    corloc = EVALUATORS.build(get_cfg(), "corloc")
    assert corloc(truth(), some(), "bbox") == {"CorLoc": pytest.approx(100 / 3)}
    hit = [{**result, "score": 0.99} for result in some()[:1]] + some()[1:]
    assert corloc(truth(), hit, "bbox") == {"CorLoc": pytest.approx(200 / 3)}
    half = [item(2, (0, 0, 40, 60), score=0.4)]  # an IoU of exactly .5
    assert corloc(truth({2: OBJECTS[2]}), half, "bbox") == {"CorLoc": 100}
    cfg = get_cfg()
    cfg.TEST.CORLOC.STRICT = True
    assert EVALUATORS.build(cfg, "corloc")(truth({2: OBJECTS[2]}), half, "bbox") == {"CorLoc": 0}
