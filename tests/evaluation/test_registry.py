"""Evaluators by name: what is refused, and with which words; how their metrics are put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.class_agnostic import ClassAgnostic
from unseg_d2.evaluation.registry import EVALUATORS, build_evaluators, detector_evaluators
from unseg_d2.evaluation.scores import score
from unseg_d2.settings import SECTIONS, Settings, setting

TRUTH = {
    "images": [{"id": 1, "height": 9, "width": 9}],
    "annotations": [{"image_id": 1, "bbox": [0, 0, 3, 3]}],
}


@dataclass(frozen=True)
class ShapesSettings(Settings):
    holes: int = setting(2, "how many", low=0)


class Shapes:
    kinds = ("segm",)

    def __init__(self, settings: ShapesSettings) -> None:
        self.settings = settings

    def __call__(self, truth: Any, results: Any, kind: str) -> dict[str, float]:
        return {"Holes": float(self.settings.holes)}


@pytest.fixture(autouse=True)
def shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluator of masks with a setting, for one test."""
    monkeypatch.setattr("unseg_d2.settings.SECTIONS", known := dict(SECTIONS))
    monkeypatch.setattr("unseg_d2.config.load.SECTIONS", known)
    monkeypatch.setattr(EVALUATORS, "_entries", dict(EVALUATORS._entries))
    EVALUATORS.register("shapes", settings=ShapesSettings)(Shapes)


def test_made_by_name_with_their_settings():
    cfg = load_cfg(None, ["TEST.EVALUATORS", "['Shapes', 'class_agnostic']", "TEST.SHAPES.HOLES", "5"])
    made = build_evaluators(cfg)
    assert list(made) == ["shapes", "class_agnostic"] and made["shapes"].settings == ShapesSettings(5)
    assert isinstance(build_evaluators(load_cfg())["class_agnostic"], ClassAgnostic)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["TEST.EVALUATORS", "['corlok']"],
            r"TEST\.EVALUATORS is 'corlok', but must be one of .*Did you mean 'corloc'",
        ),
        (["TEST.EVALUATORS", "[]"], "must name at least one evaluator"),
        (
            ["TEST.SHAPES.HOLES", "3"],
            r"TEST\.SHAPES\.HOLES is 3, which has no effect: TEST\.EVALUATORS does not name shapes",
        ),
        (["TEST.CORLOC.STRICT", "True"], r"TEST\.CORLOC\.STRICT is True, which has no effect"),
        (["TEST.EVALUATORS", "['shapes']", "TEST.SHAPES.HOLES", "-1"], "must be a whole number of at least 0"),
        (
            ["TEST.EVALUATORS", "['shapes']", "TEST.NO_SEGM", "True"],
            "shapes .*compares masks, but TEST.NO_SEGM is True",
        ),
    ],
)
def test_recipes_that_are_refused(options, message):
    with pytest.raises(UnsegError, match=message):
        load_cfg(None, options)


def test_a_detector_without_masks_is_refused_before_it_is_trained():
    cfg = load_cfg(None, ["TEST.EVALUATORS", "['class_agnostic', 'shapes']"])
    with pytest.raises(UnsegError, match=r"shapes of TEST\.EVALUATORS compares masks, but MODEL\.MASK_ON is False"):
        detector_evaluators(cfg)
    assert list(detector_evaluators(load_cfg(None, ["MODEL.MASK_ON", "True", "TEST.EVALUATORS", "['shapes']"])))


@pytest.mark.parametrize(("predicted", "said"), [("100", True), ("1000", False), ("-1", False)])
def test_metrics_that_are_named_after_more_results_than_there_are(predicted, said, caplog):
    cfg = load_cfg(None, ["TEST.EVALUATORS", "['levels']", "TEST.DETECTIONS_PER_IMAGE", predicted])
    with caplog.at_level("WARNING"):
        detector_evaluators(cfg)
    assert ("levels counts 1000 results per image" in caplog.text and "predicts 100;" in caplog.text) == said


def test_an_evaluator_of_masks_without_masks():
    shapes = {"shapes": Shapes(ShapesSettings())}
    with pytest.raises(UnsegError, match=r"shapes .* but the ground truth has annotations without masks; provide"):
        score(TRUTH, [], shapes)
    with pytest.raises(UnsegError, match="but there are results without masks"):
        score({**TRUTH, "annotations": []}, [{"image_id": 1, "bbox": [0, 0, 1, 1]}], shapes)
    with pytest.raises(UnsegError, match="but only boxes are to be compared"):
        score({**TRUTH, "annotations": []}, [], shapes, with_masks=False)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({"AP": 1.0}, "The evaluator odd and one before it both return a metric named AP"),
        ({"Size": "large"}, "The evaluator odd returns Size = 'large', which is no number"),
        ({"Size": float("inf")}, "The evaluator odd returns Size = inf, which is no number"),
        (None, "The evaluator odd returns None instead of a dictionary"),
    ],
)
def test_metrics_that_are_refused(returned, message):
    evaluators = {**build_evaluators(load_cfg()), "odd": lambda truth, results, kind: returned}
    with pytest.raises(UnsegError, match=message):
        score(TRUTH, [], evaluators)
