"""Masks are scored image by image as they are all at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unseg_d2.config import load_cfg
from unseg_d2.data.results import ResultsIndex
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation import chunks
from unseg_d2.evaluation.scores import Scores, score
from unseg_d2.rle import encode_mask
from unseg_d2.training.evaluate import score_records
from unseg_d2.training.score_masks import score_masks

HEIGHT, WIDTH = 40, 60
KEYS = [9, 2, "a", 5, 11, 4]


def mask(rng: np.random.Generator, key: Any, **more: Any) -> dict[str, Any]:
    top, left = (int(value) for value in rng.integers(0, 20, 2))
    height, width = (int(value) for value in rng.integers(5, 20, 2))
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    pixels[top : top + height, left : left + width] = True
    return {"image_id": key, "bbox": [left, top, width, height], "segmentation": encode_mask(pixels), **more}


@pytest.fixture()
def truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Ground truth of six images, of which the last has no object; two images come at a time."""
    monkeypatch.setattr(chunks.chunks_of_images, "__kwdefaults__", {"most_images": 2, "most_results": 7})
    rng = np.random.default_rng(0)
    images = [{"id": key, "file_name": f"{key}.png", "height": HEIGHT, "width": WIDTH} for key in KEYS]
    objects = [mask(rng, KEYS[rng.integers(5)], id=n, category_id=1, iscrowd=int(n == 3)) for n in range(1, 30)]
    content = {"images": images, "annotations": objects}
    (tmp_path / "truth.json").write_text(json.dumps(content))
    return content


def found_in(truth: dict[str, Any]) -> list[dict[str, Any]]:
    """Some of the objects, and masks beside them, in no order of images."""
    rng = np.random.default_rng(1)
    near = [{**item, "score": round(float(rng.random()), 2)} for item in truth["annotations"][::2]]
    found = near + [mask(rng, KEYS[rng.integers(6)], score=round(float(rng.random()), 2)) for _ in range(20)]
    plain = [{key: item[key] for key in ("image_id", "bbox", "segmentation", "score")} for item in found]
    return [plain[place] for place in rng.permutation(len(plain))]


def same(found: Scores, expected: Scores) -> None:
    assert found.counts == expected.counts and found.result_images == expected.result_images
    for kind in ("bbox", "segm"):
        assert found.metrics[kind] == pytest.approx(expected.metrics[kind], nan_ok=True)


def test_results(truth: dict[str, Any], tmp_path: Path) -> None:
    """Ids may be text; one image has results under both."""
    found = found_in(truth)
    as_text = [item | {"image_id": str(item["image_id"])} if number % 2 else item for number, item in enumerate(found)]
    (tmp_path / "results.json").write_text(json.dumps(as_text))
    scores = score_masks(tmp_path / "results.json", tmp_path / "truth.json")
    same(scores, score(truth, found))
    records = [
        {"image_id": image["id"], "height": HEIGHT, "width": WIDTH, "annotations": [
            {key: value for key, value in item.items() if key != "image_id"}
            for item in truth["annotations"] if item["image_id"] == image["id"]
        ]}
        for image in truth["images"]
    ]  # fmt: skip
    (tmp_path / "results.json").write_text(json.dumps(found))
    for results in (found, ResultsIndex(tmp_path / "results.json")):
        same(score_records(records, results, load_cfg(), "the set"), score(truth, found))


def test_results_of_an_image_without_ground_truth_are_refused(truth: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps([*found_in(truth), {"image_id": 77, "bbox": [0, 0, 1, 1]}]))
    with pytest.raises(UnsegError, match="a result of image 77, which the ground truth does not have"):
        score_masks(tmp_path / "results.json", tmp_path / "truth.json")
    objects = [{"bbox": [0, 0, 1, 1], "category_id": 0}]
    records = [{"image_id": key, "height": HEIGHT, "width": WIDTH, "annotations": objects} for key in KEYS]
    with pytest.raises(UnsegError, match="a result of image 77, which the set does not have"):
        score_records(records, ResultsIndex(tmp_path / "results.json"), load_cfg(), "the set")


def test_a_label_set(truth: dict[str, Any], tmp_path: Path) -> None:
    """In other folders and with other ids; one of its images has no ground truth, one with ground truth is missing."""
    found = found_in(truth)
    keys = {key: 100 - number for number, key in enumerate(KEYS[:5])}
    images = [
        {"id": new, "file_name": f"masks/{key}.png", "height": HEIGHT, "width": WIDTH} for key, new in keys.items()
    ]
    images.insert(0, {"id": 1, "file_name": "masks/other.png", "height": HEIGHT, "width": WIDTH})
    kept = [item for item in found if item["image_id"] in keys]
    masks = [item | {"image_id": keys[item["image_id"]], "id": number} for number, item in enumerate(kept, 1)]
    masks.insert(3, mask(np.random.default_rng(2), 1, id=99))
    (tmp_path / "labels.json").write_text(json.dumps({"images": images, "annotations": masks}))
    scores = score_masks(tmp_path / "labels.json", tmp_path / "truth.json")
    same(scores, score(truth, kept, result_images=5, ignored_images=1))


def test_boxes_alone_take_no_comparison_of_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ground truth with boxes alone is known before any mask of a result is compared."""
    objects = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}]
    images = [{"id": 1, "file_name": "1.png", "height": 20, "width": 20}]
    content = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "object"}]}
    mask = encode_mask(np.ones((20, 20), bool))
    results = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "segmentation": mask, "score": 0.5}]
    for name, value in (("truth.json", content), ("found.json", results)):
        (tmp_path / name).write_text(json.dumps(value))

    def compare(*_: Any) -> None:
        raise AssertionError("masks are compared")

    monkeypatch.setattr("unseg_d2.evaluation.scores.with_masks", compare)
    record = images[0] | {"image_id": 1, "annotations": objects}
    for scores in (
        score_masks(tmp_path / "found.json", tmp_path / "truth.json"),
        score_records([record], results, load_cfg(None, []), "the set"),
    ):
        assert scores.metrics["bbox"]["AP"] == pytest.approx(100)
        assert scores.notes == ("Masks are not compared: the ground truth has annotations without masks.",)


def test_classes_of_a_label_set_are_those_of_the_same_name(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "1.png", "height": HEIGHT, "width": WIDTH}]
    objects = [mask(np.random.default_rng(n), 1, id=n, category_id=n, score=0.5) for n in (1, 2)]
    names = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    turned = [item | {"category_id": 3 - item["category_id"]} for item in objects]
    other = [{"id": 2, "name": "cat"}, {"id": 1, "name": "dog"}]
    texts = [{key: str(item[key]) if key == "category_id" else item[key] for key in item} for item in objects]
    for name, content in (
        ("truth.json", {"images": images, "annotations": objects, "categories": names}),
        ("turned.json", {"images": images, "annotations": turned, "categories": other}),
        ("owl.json", {"images": images, "annotations": objects, "categories": [names[0], {"id": 2, "name": "owl"}]}),
        ("results.json", texts),
    ):
        (tmp_path / name).write_text(json.dumps(content))
    for name in ("turned.json", "results.json"):
        scores = score_masks(tmp_path / name, tmp_path / "truth.json", None, "TEST.EVALUATORS", ["per_class"])
        assert scores.metrics["segm"]["AP"] == pytest.approx(100)
    assert score_masks(tmp_path / "owl.json", tmp_path / "truth.json").metrics["segm"]["AP"] == pytest.approx(100)


def test_masks_of_a_class_that_the_ground_truth_lacks_count_for_nothing_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as those in no group, of the class `other`."""
    images = [{"id": 1, "file_name": "1.png", "height": 30, "width": 30}]
    squares = [np.zeros((30, 30), bool) for _ in range(3)]
    for place, square in enumerate(squares):
        square[10 * place : 10 * place + 8, :8] = True
    found = [
        {"id": n, "image_id": 1, "category_id": n, "bbox": [0, 10 * n - 10, 8, 8], "area": 64, "iscrowd": 0}
        | {"segmentation": encode_mask(square)}
        for n, square in enumerate(squares, 1)
    ]
    named = [{"id": n, "name": name} for n, name in enumerate(("cat", "dog", "other"), 1)]
    truth = {"images": images, "annotations": found[:2], "categories": named[:2]}
    for name, content in (("truth.json", truth), ("found.json", truth | {"annotations": found, "categories": named})):
        (tmp_path / name).write_text(json.dumps(content))
    paths = tmp_path / "found.json", tmp_path / "truth.json"
    assert score_masks(*paths).metrics["segm"]["AP50"] == pytest.approx(100)  # a third mask of the same score
    assert not caplog.text
    for evaluators, metric in ((["per_class"], "AP"), (["class_agnostic", "panoptic"], "PQ")):
        scores = score_masks(*paths, None, "TEST.EVALUATORS", evaluators)
        assert scores.metrics["segm"][metric] == pytest.approx(100) and scores.counts["results"] == 3
        said = f'has no class that is called "other"; such masks count for nothing with {evaluators[-1]}.'
        assert caplog.text.count(said) == 1
    results = [item | {"score": 1.0} for item in found]  # results have ids alone: one that is not listed is a mistake
    (tmp_path / "results.json").write_text(json.dumps(results))
    for evaluator in ("per_class", "panoptic"):
        with pytest.raises(UnsegError, match="has the category 3, which the ground truth does not list"):
            score_masks(tmp_path / "results.json", paths[1], None, "TEST.EVALUATORS", [evaluator])
