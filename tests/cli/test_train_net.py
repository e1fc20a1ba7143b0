from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from unseg_d2.cli import train_net
from unseg_d2.config import load_cfg
from unseg_d2.detectors.protocol import select_engine
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.scores import Scores
from unseg_d2.training import evaluate

RECIPE = str(Path(__file__).resolve().parents[2] / "configs" / "cutler" / "mask_rcnn_R_50_FPN.yaml")
SEVERAL_CLASSES = ["MODEL.ROI_HEADS.NUM_CLASSES", "80", "TEST.EVALUATORS", "('per_class',)"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gt", "coco_val2017"], "make it with: unseg-d2 prepare-data coco"),
        (["MODEL.DEVICE", "cpu"], "imagenet_train_fixsize480_tau0.15_N3.json, which is not there; unseg-d2 generate-m"),
        (["--num-gpus", "3"], "cannot be divided among 3"),
        (["--gt", "one.json", *SEVERAL_CLASSES], "has 1 category, but MODEL.ROI_HEADS.NUM_CLASSES is 80"),
        (["--num-machines", "2"], "2 machines need --dist-url"),
        (["--eval-only"], "add --weights"),
        (
            ["--eval-only", "--weights", "a.pth", "DATASETS.TEST", "()"],
            "--eval-only has no effect without ground truth",
        ),
        (["--evaluator", "corloc", "DATASETS.TEST", "()"], "--evaluator has no effect without ground truth"),
    ],
)
def test_mistakes_are_found_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    one = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "object"}]}
    (tmp_path / "one.json").write_text(json.dumps(one))
    torch.save({"model": {"weight": torch.zeros(1)}}, tmp_path / "a.pth")
    monkeypatch.chdir(tmp_path)
    given = ["--config-file", RECIPE, *arguments, "ENGINE", "builtin", "--output", str(tmp_path)]
    if arguments[0] == "--num-gpus":
        given += ["SOLVER.REFERENCE_WORLD_SIZE", "0"]
    with pytest.raises(UnsegError) as error:
        train_net.main(given)
    assert message in str(error.value)


def test_no_process_is_not_a_number_of_processes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train_net.main(["--config-file", RECIPE, "--num-gpus", "0"])
    assert "--num-gpus: must be 1 or more, not 0" in capsys.readouterr().err


def test_figures_are_written_as_json_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric that there is not, such as AP of large objects without any, is null."""
    scores = Scores({"bbox": {"AP": 12.5, "APl": float("nan")}}, {}, "pycocotools", 1)
    monkeypatch.setattr(evaluate, "evaluate_detector", lambda *_, **__: scores)
    cfg = load_cfg(None, ["OUTPUT_DIR", str(tmp_path), "DATASETS.TEST", "('photos',)"])
    weights = str(tmp_path / "model.pth")
    torch.save({"model": {"weight": torch.zeros(1)}}, weights)
    train_net._evaluate(select_engine("builtin"), cfg, weights, 1)
    written = (tmp_path / "evaluation" / "0_model" / "figures.json").read_text()
    assert "NaN" not in written
    assert json.loads(written) == {"dataset": "photos", "weights": weights, "bbox": {"AP": 12.5, "APl": None}}
