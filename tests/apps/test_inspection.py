"""What files and folders are, in the terminal and for machines."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest
import torch
import yaml

from unseg_d2.apps.inspection import as_text, inspect
from unseg_d2.cli.main import main
from unseg_d2.description import Data, Description, Measured
from unseg_d2.errors import UnsegError

ABOUT = Description(
    task="instances",
    recipe="SEED: 3\nSOLVER:\n  MAX_ITER: 7\n",
    versions={"unseg_d2": "0.1.0", "torch": "2.15.0"},
    engine="builtin",
    supervision=("none",),
    data=[Data(name="labels.json", images=6, masks=11, round=1)],
    iteration=4,
    measured=[Measured(data="val", iteration=4, metrics={"segm/AP": 12.34})],
)
WEIGHTS = {"roi_heads.box_predictor.cls_score.weight": torch.zeros(2, 4)}
LABELS = {
    "info": {"features": {"name": "descriptors"}, "supervision": {"none": "..."}, "rounds": [{}]},
    "images": [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 4}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2], "area": 4, "iscrowd": 0}],
    "categories": [{"id": 1, "name": "fg"}],
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a training."""
    torch.save({"model": WEIGHTS, "optimizer": {}, **ABOUT.entries()}, tmp_path / "model_final.pth")
    (tmp_path / "last_checkpoint").write_text("model_final.pth")
    return tmp_path


def test_a_checkpoint(run: Path) -> None:
    found = inspect(run / "model_final.pth")
    assert found["is"] == "a detector with one box head without masks on a backbone, 1 class"
    assert found["sha256"] == hashlib.sha256((run / "model_final.pth").read_bytes()).hexdigest()
    assert (found["tensors"], found["parameters"], found["types"]) == (1, 8, ["float32"])
    assert (found["round"], found["iteration"], found["entries"]) == (1, 4, ["model", "optimizer"])
    json.dumps(found)
    text = as_text(found)
    for words in (
        "unseg_d2 0.1.0, torch 2.15.0, engine builtin",
        "labels.json: 6 images, 11 masks",
        "to iteration 4, self-training round 1",
        "none: no label of any kind",
        "val: segm/AP 12.3",
        "2 keys differ from the defaults",
        "unseg-d2 demo --weights",
    ):
        assert words in text
    assert max(map(len, text.replace(str(run), "").splitlines())) < 150


def test_a_folder_is_told_by_its_main_file(run: Path) -> None:
    found = inspect(run)
    assert found["is"] == "a training" and found["within"] == inspect(run / "model_final.pth")
    assert "a detector with one box head" in as_text(found)


def test_files_of_others(tmp_path: Path) -> None:
    torch.save({"teacher": {"backbone.layer1.0.conv1.weight": torch.zeros(1)}, "epoch": 3}, tmp_path / "dino.pth")
    found = inspect(tmp_path / "dino.pth")
    assert found["is"].endswith("alone, without a detector") and "not stated" in as_text(found)
    (tmp_path / "model.pkl").write_bytes(b"x")
    with pytest.raises(UnsegError, match="--trust-checkpoint"):
        inspect(tmp_path / "model.pkl")
    with pytest.raises(UnsegError, match="no file or folder"):
        inspect(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnsegError, match="no folder of a training, a label set or a model"):
        inspect(tmp_path / "empty")


def test_annotations(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(json.dumps(LABELS))
    found = inspect(tmp_path)["within"]
    assert (found["is"], found["features"], found["round"]) == ("a label set of unseg_d2", "descriptors", 1)
    assert found["counts"] == {"images": 1, "annotations": 1} and found["supervision"].keys() == {"none"}
    (tmp_path / "truth.json").write_text(json.dumps({key: LABELS[key] for key in LABELS if key != "info"}))
    assert inspect(tmp_path / "truth.json")["is"] == "a COCO file"
    (tmp_path / "results.json").write_text("[]")
    assert inspect(tmp_path / "results.json")["is"] == "COCO results"


@pytest.mark.parametrize("form", ["--json", "--recipe"])
def test_the_command(run: Path, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["unseg-d2", "inspect", str(run / "model_final.pth"), form])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 0
    printed = capsys.readouterr().out
    if form == "--json":
        assert json.loads(printed) == inspect(run / "model_final.pth")
    else:
        assert yaml.safe_load(printed) == {"SEED": 3, "SOLVER": {"MAX_ITER": 7}}
