"""A detector of several classes with either engine: from class-agnostic weights to the AP of each class."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode

from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.classes import read_classes
from unseg_d2.data.loader import build_train_loader
from unseg_d2.detectors.protocol import Engine, detectron2_availability, select_engine
from unseg_d2.detectors.training_data import training_records
from unseg_d2.errors import UnsegError
from unseg_d2.training.evaluate import evaluate_detector
from unseg_d2.training.train import train

CATEGORIES = [{"id": 8, "name": "dog"}, {"id": 3, "name": "cat"}]
SEVERAL = {"MODEL__ROI_HEADS__NUM_CLASSES": 2, "TEST__EVALUATORS": ("per_class",)}


@pytest.fixture(params=["builtin", pytest.param("detectron2", marks=pytest.mark.detectron2)])
def engine(request: pytest.FixtureRequest) -> Engine:
    usable, reason = detectron2_availability()
    if request.param == "detectron2" and not usable:
        pytest.skip(reason)
    return select_engine(request.param)


@pytest.fixture
def named(labels: Path, tmp_path: Path) -> Path:
    """The rectangles, in turn cats and dogs."""
    content = json.loads(labels.read_text()) | {"categories": CATEGORIES}
    for number, annotation in enumerate(content["annotations"]):
        annotation["category_id"] = CATEGORIES[number % 2]["id"]
    content["info"] = {"image_root": str(labels.parent / "images")}
    (tmp_path / "named.json").write_text(json.dumps(content))
    return tmp_path / "named.json"


@pytest.fixture
def make_cfg(tiny_cfg: Callable[..., CfgNode], named: Path, tmp_path: Path) -> Callable[..., CfgNode]:
    def make(folder: str, **overrides: object) -> CfgNode:
        options = {"DATASETS__TRAIN": (str(named),), "INPUT__MIN_SIZE_TRAIN": (72,), "INPUT__MIN_SIZE_TEST": 72}
        cfg = tiny_cfg(OUTPUT_DIR=tmp_path / folder, SOLVER__MAX_ITER=2, **{**options, **overrides})
        cfg.freeze()
        return cfg

    return make


def test_from_no_class_to_the_ap_of_each(
    engine: Engine, make_cfg: Callable[..., CfgNode], named: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    weights = train(engine, make_cfg("one"))
    options = {"MODEL__WEIGHTS": str(weights), "DATASETS__TEST": (str(named),), "TEST__EVAL_PERIOD": 1}
    cfg = make_cfg("several", **SEVERAL, **options)
    weights = train(engine, cfg)
    assert "roi_heads.box_predictor.2.cls_score (2 outputs in the file, 3 here)" in caplog.text
    lines = [json.loads(line) for line in (weights.parent / "metrics.json").read_text().splitlines()]
    assert any("segm/AP-cat" in line and "bbox/AP-dog" in line for line in lines)
    scores = evaluate_detector(engine, cfg, weights=str(weights), dataset=str(named), output=tmp_path / "evaluation")
    results = json.loads((tmp_path / "evaluation/predictions.json").read_text())
    assert {result["category_id"] for result in results} == {3, 8}
    for values in scores.metrics.values():
        assert values["AP"] == pytest.approx((values["AP-cat"] + values["AP-dog"]) / 2)
    other = json.loads(named.read_text()) | {"categories": [{"id": 8, "name": "cow"}, {"id": 3, "name": "cat"}]}
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(UnsegError, match=r"Class 1 is 'dog' in the training of .*, but 'cow' in .*other\.json"):
        evaluate_detector(
            engine, cfg, weights=str(weights), dataset=str(tmp_path / "other.json"), output=tmp_path / "other"
        )


@pytest.mark.detectron2
@pytest.mark.skipif(not detectron2_availability()[0], reason=detectron2_availability()[1])
def test_both_engines_find_the_same_classes(make_cfg: Callable[..., CfgNode], named: Path) -> None:
    cfg = make_cfg("several", **SEVERAL)
    weights = str(train(select_engine("builtin"), cfg))
    records = load_dataset(str(named), cfg, 2)[:2]
    pairs = zip(*(select_engine(name).predict(cfg, records, weights=weights) for name in ("builtin", "detectron2")))
    for one, other in pairs:
        assert set(one.classes.tolist()) == {0, 1}
        np.testing.assert_array_equal(one.classes, other.classes)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
        numbers = [result["category_id"] for result in one.to_coco([3, 8])]
        assert numbers == np.array([3, 8])[one.classes].tolist()
        assert [result["category_id"] for result in one.to_coco()] == (one.classes + 1).tolist()


def test_a_class_agnostic_recipe_takes_all_classes_as_one(make_cfg: Callable[..., CfgNode], named: Path) -> None:
    records = load_dataset(str(named), make_cfg("several", **SEVERAL), 2)
    assert {a["category_id"] for record in records for a in record["annotations"]} == {0, 1}
    for classes, cfg in (({0}, make_cfg("one")), ({0, 1}, make_cfg("several", **SEVERAL))):
        batches = iter(build_train_loader(records, cfg))
        samples = [sample for _ in range(3) for sample in next(batches)]
        assert set(torch.cat([sample.class_numbers() for sample in samples]).tolist()) == classes


def test_data_sets_of_other_classes_are_not_mixed(make_cfg: Callable[..., CfgNode], named: Path) -> None:
    swapped = json.loads(named.read_text())
    swapped["categories"] = [{"id": 8, "name": "cat"}, {"id": 3, "name": "dog"}]
    other = named.with_name("swapped.json")
    other.write_text(json.dumps(swapped))
    cfg = make_cfg("mixed", **SEVERAL, DATASETS__TRAIN=(str(named), str(other)))
    with pytest.raises(UnsegError, match=r"Class 0 is 'cat' in .*named\.json, but 'dog' in .*swapped\.json"):
        training_records(cfg)


def test_groups_are_matched_with_the_classes_of_another_data_set(
    engine: Engine, make_cfg: Callable[..., CfgNode], named: Path, tmp_path: Path
) -> None:
    """A detector of two groups beside a ground truth of three classes; its results have the numbers of the groups."""
    cfg = make_cfg("groups", **SEVERAL | {"TEST__EVALUATORS": ("class_agnostic", "matched_classes")})
    weights = train(engine, cfg)
    assert [category["name"] for category in read_classes(weights)] == ["cat", "dog"]
    more = json.loads(named.read_text())
    more["categories"] = [{"id": key, "name": name} for key, name in ((11, "cow"), (12, "owl"), (13, "fox"))]
    for annotation in more["annotations"]:
        annotation["category_id"] = 11 if annotation["category_id"] == 3 else 12
    (tmp_path / "more.json").write_text(json.dumps(more))
    places = {"dataset": str(tmp_path / "more.json"), "output": tmp_path / "evaluation"}
    metrics = evaluate_detector(engine, cfg, weights=str(weights), **places).metrics["bbox"]
    results = json.loads((tmp_path / "evaluation/predictions.json").read_text())
    assert {result["category_id"] for result in results} == {1, 2}
    assert {"AP-cow", "AP-owl", "AP-fox", "MatchedAP", "AP"} <= metrics.keys()
    assert np.isnan(metrics["AP-fox"]) and 0 <= metrics["MatchedAP"] <= 100
    options = {"TEST__EVALUATORS": ("matched_classes",), "TEST__EVAL_PERIOD": 1, "DATASETS__TEST": (places["dataset"],)}
    during = make_cfg("during", **SEVERAL | options)
    lines = [json.loads(line) for line in (train(engine, during).parent / "metrics.json").read_text().splitlines()]
    assert any("bbox/MatchedAP" in line for line in lines)
