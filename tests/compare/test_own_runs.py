"""Own figures, as the commands write them: read back, named, with their protocol; other files are refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unseg_d2.compare.own_runs import About, own_results
from unseg_d2.compare.result import MEASURED
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.scores import Scores
from unseg_d2.training.benchmarks import Benchmark, save_benchmarks
from unseg_d2.training.score_masks import masks_json
from unseg_d2.training.state import RunState, Step

COUNTS = dict.fromkeys(
    ("images", "images_without_objects", "objects", "crowds", "without_mask", "results", "ignored_images"), 1
)
SCORES = Scores({"bbox": {"AP": 12.0, "APs": math.nan}, "segm": {"AP": 10.0}}, COUNTS, "pycocotools", 1)


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def test_benchmarks_of_a_detector(tmp_path: Path) -> None:
    items = [Benchmark("cls_agnostic_coco", "zero-shot", "", SCORES), Benchmark("a/b/c.json", "not stated", "", SCORES)]
    save_benchmarks(items, tmp_path / "run/benchmarks/figures.json", name="model_final", max_detections=100)
    found = own_results(tmp_path / "run", About(supervision=("depth",)))
    assert [(r.name, r.benchmark, r.kind, r.setting, dict(r.figures)) for r in found] == [
        ("model_final", "coco_val2017", "bbox", "zero-shot", {"AP": 12.0}),
        ("model_final", "coco_val2017", "segm", "zero-shot", {"AP": 10.0}),
        ("model_final", "a/b/c.json", "bbox", "not stated", {"AP": 12.0}),
        ("model_final", "a/b/c.json", "segm", "not stated", {"AP": 10.0}),
    ]
    assert {(r.protocol, r.supervision, r.certainty) for r in found} == {("coco", ("depth",), MEASURED)}
    named = own_results(tmp_path / "run/benchmarks/figures.json", About("ours", "in-domain"))
    assert {(r.name, r.setting) for r in named} == {("ours", "zero-shot"), ("ours", "in-domain")}


def test_more_results_per_image_are_another_protocol(tmp_path: Path) -> None:
    save_benchmarks([Benchmark("kitti", "zero-shot", "", SCORES)], tmp_path / "figures.json", max_detections=300)
    found = own_results(tmp_path, About())
    assert {(r.protocol, r.benchmark, r.name) for r in found} == {("coco-300", "kitti", tmp_path.name)}


def test_classes_told_apart_are_another_protocol(tmp_path: Path) -> None:
    scores = replace(SCORES, with_classes=True)
    save_benchmarks([Benchmark("kitti", "zero-shot", "", scores)], tmp_path / "figures.json", with_classes=True)
    assert {r.protocol for r in own_results(tmp_path, About())} == {"coco-classes-100"}
    path = write(tmp_path / "scores.json", {"gt": "kitti"} | masks_json(scores))
    assert {r.protocol for r in own_results(path, About())} == {"coco-classes-100"}


def test_corloc_of_an_evaluator_meets_the_published_one(tmp_path: Path) -> None:
    scores = Scores({"bbox": {"CorLoc": 61.0, "F1": 30.0}}, COUNTS, "", 1)
    save_benchmarks([Benchmark("voc07_trainval", "zero-shot", "", scores)], tmp_path / "figures.json")
    found = {r.protocol: dict(r.figures) for r in own_results(tmp_path, About())}
    assert found == {"corloc": {"CorLoc": 61.0}, "coco": {"F1": 30.0}}


def test_scores_of_masks(tmp_path: Path) -> None:
    path = write(tmp_path / "scores.json", {"masks": "m/", "gt": "coco_val2017"} | masks_json(SCORES))
    assert {(r.name, r.benchmark, r.protocol) for r in own_results(path, About())} == {
        ("scores", "coco_val2017", "coco")
    }


def test_saliency_and_corloc(tmp_path: Path) -> None:
    path = write(tmp_path / "figures.json", {"ecssd": {"ours": {"Acc": 90.0, "IoU": 80.0}}})
    (saliency,) = own_results(path, About())
    assert (saliency.protocol, saliency.kind, saliency.setting, saliency.figures["IoU"]) == ("saliency", "", "", 80.0)
    path = write(tmp_path / "figures.json", {"voc07_trainval": {"ours": {"CorLoc": 61.0}}})
    (corloc,) = own_results(path, About("theirs"))
    assert (corloc.protocol, corloc.kind, corloc.benchmark) == ("corloc", "bbox", "voc07_trainval")
    assert corloc.name == "theirs (ours)"


def test_semantic_segmentation(tmp_path: Path) -> None:
    score = {"mIoU": 16.4, "Acc": 46.5, "IoU": [1.0, None], "matching": [0, 1]}
    path = write(tmp_path / "figures.json", {"weights": "m.pth", "figures": {"cocostuff27_val": {"linear": score}}})
    (found,) = own_results(path, About("ours"))
    assert (found.protocol, found.name, dict(found.figures)) == (
        "semantic",
        "ours (linear)",
        {"mIoU": 16.4, "Acc": 46.5},
    )
    assert found.benchmark == "cocostuff27"


def test_rounds_of_self_training(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    figures = {"segm": {"AP": 9.0}}
    settings = {"ground_truth": "coco_val2017", "images": "imagenet_train", "recipes": {}, "checksums": {}}
    state = RunState(folder, settings)
    for number, step, file in (
        (0, "score_masks", "figures_masks.json"),
        (0, "train", "x.pth"),
        (1, "evaluate", "f.json"),
    ):
        state.finish(Step(number, step, f"round{number}/{file}"))
        write(folder / f"round{number}" / file, figures)
    found = own_results(folder, About())
    assert [(r.name, r.benchmark, r.setting, r.kind) for r in found] == [
        ("photos, pseudo-masks", "coco_val2017", "zero-shot", "segm"),
        ("photos, round 1", "coco_val2017", "zero-shot", "segm"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}', "holds no figures that `evaluate`"),
        ('{"benchmarks": [{}], "max_detections": 100}', "holds no figures"),
        ("{}", "holds no figures"),
        ("[1]", "is a list; results of a system go into --labels"),
        ("AP 12", "is not JSON"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "figures.json"
    path.write_text(content)
    with pytest.raises(UnsegError, match=message):
        own_results(path, About())


def test_folders_without_figures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsegError, match=r"holds neither figures\.json"):
        own_results(tmp_path, About())
    settings = {"ground_truth": "", "images": "photos", "recipes": {}, "checksums": {}}
    RunState(tmp_path, settings)
    write(tmp_path / "rounds.json", {"settings": settings, "steps": []})
    with pytest.raises(UnsegError, match="has no figures yet"):
        own_results(tmp_path, About())
    with pytest.raises(UnsegError, match="cannot be read: No such file"):
        own_results(tmp_path / "nothing", About())
