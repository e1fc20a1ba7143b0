"""What masks have learnt from, in the tables and files that score them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unseg_d2.cli.evaluate_detection import main as evaluate_detection
from unseg_d2.cli.score_masks import main as score_masks
from unseg_d2.compare.own_runs import About, own_results
from unseg_d2.supervision import to_info

WORDS = "ImageNet labels in the backbone"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with ground truth, and a label set of the same square that remembers what it was made with."""
    image = {"id": 1, "file_name": "a.png", "height": 8, "width": 8}
    square = {"image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 4, 4], "area": 16, "id": 1}
    square["segmentation"] = [[0, 0, 4, 0, 4, 4, 0, 4]]
    content = {"images": [image], "annotations": [square], "categories": [{"id": 1, "name": "fg"}]}
    (tmp_path / "gt.json").write_text(json.dumps(content))
    for name, words in (("labels", ["imagenet-labels"]), ("plain", ["none"]), ("half", ["depth", "not stated"])):
        (tmp_path / f"{name}.json").write_text(json.dumps({"info": {"supervision": to_info(words)}, **content}))
    return tmp_path


def test_score_masks_says_and_records_it(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = files / "figures.json"
    score_masks(["--labels", str(files / "labels.json"), "--gt", str(files / "gt.json"), "--output", str(output)])
    assert WORDS in capsys.readouterr().out
    assert WORDS in json.loads(output.read_text())["supervision"]["imagenet-labels"]
    assert {result.supervision for result in own_results(output, About())} == {("imagenet-labels",)}
    assert {result.supervision for result in own_results(output, About(supervision=("depth",)))} == {("depth",)}
    score_masks(["--labels", str(files / "plain.json"), "--gt", str(files / "gt.json")])
    assert WORDS not in capsys.readouterr().out


def test_what_is_half_known_stays_not_stated(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = files / "figures.json"
    score_masks(["--labels", str(files / "half.json"), "--gt", str(files / "gt.json"), "--output", str(output)])
    assert "supervision not stated" in capsys.readouterr().out
    assert {result.supervision for result in own_results(output, About())} == {()}


def test_evaluate_has_it_in_the_row_and_below_the_table(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--labels", str(files / "labels.json"), "--output", str(files / "out")]
    evaluate_detection(["--datasets", str(files / "gt.json"), *options])
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if line.rstrip().endswith("measured"))
    assert "imagenet-labels" in row and WORDS in printed
    assert WORDS in (files / "out" / "table.md").read_text()
    assert list(json.loads((files / "out" / "figures.json").read_text())["supervision"]) == ["imagenet-labels"]
