"""`unseg-d2 compare` as a user calls it: own figures beside published ones, files that cannot be used."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from unseg_d2.cli.compare import FORMATS, main
from unseg_d2.compare import layout
from unseg_d2.errors import UnsegError

SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ground truth of one object, results that find it and results that do not, and a broken file."""
    monkeypatch.chdir(tmp_path)
    image = {"id": 7, "file_name": "7.jpg", "height": 40, "width": 40}
    item = {"id": 1, "image_id": 7, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0}
    truth: dict[str, Any] = {"images": [image], "annotations": [{**item, "segmentation": SQUARE}]}
    truth["categories"] = [{"id": 1, "name": "thing"}]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    right = {"image_id": 7, "category_id": 1, "bbox": [10, 10, 20, 20], "score": 0.9}
    (tmp_path / "right.json").write_text(json.dumps([right]))
    (tmp_path / "wrong.json").write_text(json.dumps([{**right, "bbox": [0, 0, 5, 5]}]))
    (tmp_path / "broken.json").write_text('[{"image')
    return tmp_path


def test_files_are_scored_and_the_broken_one_is_an_error(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnsegError, match=r"broken\.json is not JSON"):
        main("--labels good=right.json wrong.json broken.json --gt truth.json --no-published --baseline wrong".split())
    lines = capsys.readouterr().out.splitlines()
    good, wrong = (line.split() for line in lines if line.lstrip().startswith(("1 ", "2 ")))
    assert good[:6] == ["1", ">", "good", "100.0", "(+100.0)", "100.0"] and wrong[:4] == ["2", ">", "wrong", "0.0"]
    assert "source 1: right.json" in lines


def test_each_file_can_have_a_ground_truth_of_its_own(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "other.json").write_text((files / "truth.json").read_text())
    words = "--labels mine=right.json mine=wrong.json --gt truth.json other.json --no-published --metric box/AP"
    main([*words.split(), "--format", "csv"])
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert (row["system"], row["truth.json box AP"], row["other.json box AP"]) == ("mine", "100.0", "0.0")


def test_own_figures_join_the_published_ones_of_their_protocol(files: Path) -> None:
    figures = {"name": "mine", "max_detections": 100}
    bench = {"dataset": "cls_agnostic_coco", "setting": "zero-shot", "protocol": "", "counts": {}}
    figures["benchmarks"] = [{**bench, "figures": {"segm": {"AP": 10.1}}}]  # type: ignore[assignment]
    (files / "figures.json").write_text(json.dumps(figures))
    words = "--runs figures.json --metric mask/AP --own-supervision depth --supervision none depth --output t.csv"
    main(words.split())
    rows = list(csv.DictReader((files / "t.csv").read_text().splitlines()))
    zero_shot = [row for row in rows if row["setting"] == "zero-shot" and row["protocol"] == "coco"]
    place = next(index for index, row in enumerate(zero_shot) if row["system"] == "mine")
    ranked = [(row["system"], float(row["COCO val2017 mask AP"])) for row in zero_shot if row["rank"]]
    assert ranked == sorted(ranked, key=lambda pair: -pair[1]) and 0 < place < len(ranked) - 1
    assert zero_shot[place]["certainty"] == "measured" and zero_shot[place]["source"] == "figures.json"
    assert {row["supervision"] for row in rows} == {"none", "depth"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--gt truth.json", "--gt is for files of results"),
        ("--max-detections 300", "--max-detections is for files of results"),
        ("--setting zero-shot", "--setting describes own figures"),
        ("--labels right.json", "add --gt"),
        ("--labels right.json --gt truth.json truth.json", "There are 2 --gt for 1 --labels"),
        ("--no-published", "There is nothing to compare"),
        ("--benchmark coco2017", "There is no benchmark 'coco2017'"),
        ("--sort mask/AR", "has no metric mask/AR to sort by"),
        ("--output table.xls", "its form is not clear"),
        ("--supervision sam-masks --systems unmore --benchmark coco_star", "No system has such a figure"),
        ("--labels right.json --gt nowhere.json", "There is no file nowhere.json"),
    ],
)
def test_what_has_no_effect_is_an_error(files: Path, words: str, message: str) -> None:
    with pytest.raises(UnsegError, match=message):
        main(words.split())


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_is_printed(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--benchmark", "voc07", "--systems", "cutler", "--format", form])
    assert "36.9" in capsys.readouterr().out


def test_forms_stand_once() -> None:
    assert tuple(layout.FORMATS) == FORMATS and set(layout.SUFFIXES.values()) == set(FORMATS)
