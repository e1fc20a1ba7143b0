"""The engine on image files: train in one and in two processes, and predict."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode
from pycocotools import mask as mask_codec

from unseg_d2.data.catalog import load_dataset
from unseg_d2.detectors.builtin import engine
from unseg_d2.detectors.builtin.engine import BuiltinEngine
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.scoring import metrics_of
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.records import ground_truth
from unseg_d2.evaluation.scores import score
from unseg_d2.loop.checkpoint import load_checkpoint

RUN = """
import sys
from unseg_d2.config import load_cfg
from unseg_d2.detectors.builtin.engine import BuiltinEngine
BuiltinEngine().train(load_cfg(sys.argv[1]), resume=True)
"""


@pytest.fixture
def labels(tmp_path: Path, make_sample: Callable) -> Path:
    """A COCO file with the images next to it."""
    images, annotations = [], []
    for number in range(1, 5):
        sample = make_sample(64, 96, instances=2, seed=number)
        cv2.imwrite(str(tmp_path / f"{number}.png"), sample.image.permute(1, 2, 0).numpy()[..., ::-1])
        images.append({"id": number, "file_name": f"{number}.png", "height": 64, "width": 96})
        for box, mask in zip(sample.boxes.tolist(), sample.masks.numpy()):
            rle = mask_codec.encode(np.asfortranarray(mask.astype(np.uint8)))
            xywh = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "bbox": xywh,
                    "area": xywh[2] * xywh[3],
                    "iscrowd": 0,
                    "segmentation": {"size": [64, 96], "counts": rle["counts"].decode()},
                }
            )
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "object"}]}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    return tmp_path / "labels.json"


def recipe(tiny_cfg: Callable, labels: Path, folder: str, **overrides: object) -> CfgNode:
    cfg = tiny_cfg(
        OUTPUT_DIR=labels.parent / folder,
        **{
            "SOLVER__MAX_ITER": 2,
            "INPUT__MIN_SIZE_TRAIN": (64,),
            "INPUT__MIN_SIZE_TEST": 48,
            "MODEL__RESNETS__NORM": "GN",
            **overrides,
        },
    )
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (f"{labels}::{labels.parent}",)
    cfg.freeze()
    return cfg


def assert_same_training(first: Path, second: Path) -> None:
    """Compare the last losses, and the networks after every step, up to rounding."""
    lines = [json.loads((folder / "metrics.json").read_text().splitlines()[0]) for folder in (first, second)]
    for name in (name for name in lines[0] if "loss" in name):
        assert lines[1][name] == pytest.approx(lines[0][name], rel=1e-5), name
    for name in ("model_0000000.pth", "model_0000002.pth"):
        one, other = (load_checkpoint(folder / name)["model"] for folder in (first, second))
        for key, tensor in one.items():
            torch.testing.assert_close(other[key], tensor, rtol=1e-4, atol=1e-5, msg=key)


def train(cfg: CfgNode) -> None:
    BuiltinEngine().train(cfg, resume=False)


def test_train_and_predict(labels: Path, tiny_cfg: Callable) -> None:
    cfg = recipe(tiny_cfg, labels, "one", TEST__EVAL_PERIOD=2)
    weights = BuiltinEngine().train(cfg, resume=False)
    figures = json.loads((weights.parent / "metrics.json").read_text().splitlines()[-1])
    assert figures["iteration"] == 1 and {"bbox/AP50", "segm/AR100"} <= figures.keys()
    records = [
        {"file_name": str(labels.parent / f"{number}.png"), "image_id": number, "height": 64, "width": 96}
        for number in (3, 1)
    ]
    predictions = list(BuiltinEngine().predict(cfg, records, weights=str(weights)))
    assert [prediction.record["image_id"] for prediction in predictions] == [3, 1]
    for prediction in predictions:
        assert len(prediction.boxes) == len(prediction.scores) == len(prediction.rles) > 0
        assert prediction.boxes.min() >= 0 and (prediction.boxes.max(axis=0) <= [96, 64, 96, 64]).all()
        assert (np.diff(prediction.scores) <= 0).all()
        assert prediction.rles[0]["size"] == [64, 96]
        json.dumps(prediction.to_coco())


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_network(labels: Path, tiny_cfg: Callable) -> None:
    more = {"SOLVER__MAX_ITER": 40, "SOLVER__CHECKPOINT_PERIOD": 1}
    folders = [labels.parent / name for name in ("whole", "killed")]
    for folder in folders:
        (labels.parent / f"{folder.name}.yaml").write_text(recipe(tiny_cfg, labels, folder.name, **more).dump())
    command = [sys.executable, "-c", RUN]
    process = subprocess.Popen([*command, labels.parent / "killed.yaml"])
    while not (folders[1] / "model_0000003.pth").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not (folders[1] / "model_final.pth").exists()
    for folder in folders:
        subprocess.run([*command, labels.parent / f"{folder.name}.yaml"], check=True)
    whole, killed = (load_checkpoint(folder / "model_final.pth")["model"] for folder in folders)
    assert all(torch.equal(tensor, killed[name]) for name, tensor in whole.items())


@pytest.mark.slow
def test_two_processes_train_the_same_network_twice(labels: Path, tiny_cfg: Callable) -> None:
    cfg = recipe(tiny_cfg, labels, "two")
    BuiltinEngine().launch(train, 2, (cfg,))
    first = load_checkpoint(labels.parent / "two" / "model_final.pth")
    BuiltinEngine().launch(train, 2, (cfg,))
    second = load_checkpoint(labels.parent / "two" / "model_final.pth")
    assert first["iteration"] == second["iteration"] == 1
    assert all(torch.equal(tensor, second["model"][name]) for name, tensor in first["model"].items())


@pytest.mark.slow
def test_two_processes_learn_what_one_does(labels: Path, tiny_cfg: Callable, unsampled: dict) -> None:
    """The same losses at every step and, since gradients are averaged, the same network."""
    one, two = (recipe(tiny_cfg, labels, name, **{**unsampled, "SOLVER__MAX_ITER": 3}) for name in ("one", "two"))
    BuiltinEngine().train(one, resume=False)
    BuiltinEngine().launch(train, 2, (two,))
    assert_same_training(Path(one.OUTPUT_DIR), Path(two.OUTPUT_DIR))


def test_weights_of_a_backbone_alone_do_not_predict(labels: Path, tiny_cfg: Callable) -> None:
    cfg = recipe(tiny_cfg, labels, "none")
    torch.save({"layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3)}, labels.parent / "resnet.pth")
    with pytest.raises(UnsegError, match="is a backbone alone, without a detector"):
        next(BuiltinEngine().predict(cfg, [], weights=str(labels.parent / "resnet.pth")))


def test_nothing_to_train_on(tiny_cfg: Callable) -> None:
    with pytest.raises(UnsegError, match=r"DATASETS\.TRAIN is empty"):
        BuiltinEngine().train(tiny_cfg(), resume=False)


@pytest.mark.parametrize("at_once", [1, 3, 64])
def test_an_evaluation_takes_some_images_at_a_time(
    labels: Path, tiny_cfg: Callable, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Whatever their number, the metrics are those of everything at once, and the network trains on afterwards."""
    monkeypatch.setattr(engine, "IMAGES_AT_ONCE", at_once)
    cfg = recipe(tiny_cfg, labels, "evaluation", MODEL__ROI_HEADS__SCORE_THRESH_TEST=0.0)
    torch.manual_seed(0)
    model = build_model(cfg).train()
    found = metrics_of(cfg, engine.found_in_datasets(cfg, model))
    assert model.training
    records = load_dataset(cfg.DATASETS.TEST[0], cfg)
    results = [result for prediction in engine.predict(model, cfg, records) for result in prediction.to_coco()]
    assert len({result["image_id"] for result in results}) == 4
    expected = score(ground_truth(records), results).metrics
    whole = {f"{kind}/{name}": value for kind, values in expected.items() for name, value in values.items()}
    assert found == pytest.approx(whole, nan_ok=True)
