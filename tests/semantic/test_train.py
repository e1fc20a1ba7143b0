"""PriMaPs-EM from a recipe to figures: killed and resumed, from other starts, and with wrong input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import reduce
from operator import getitem
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unseg_d2.cli.evaluate import main as evaluate
from unseg_d2.config import get_cfg, load_cfg
from unseg_d2.data.settings import InputSettings
from unseg_d2.depth import GridDepth
from unseg_d2.errors import UnsegError
from unseg_d2.semantic.datasets import load_semantic_set
from unseg_d2.semantic.model import load_semantic_model
from unseg_d2.semantic.score import write_predictions
from unseg_d2.semantic.train import MAY_CHANGE, _proposal_settings, train_semantic

RECIPE = "configs/semantic/synthetic.yaml"
ROOT = Path(__file__).resolve().parents[2]


def options(output: Path, scenes: Path, **keys: object) -> list[str]:
    settings = {
        "OUTPUT_DIR": output,
        "SYNTHETIC.ROOT": scenes,
        "SYNTHETIC.SIZE": (64, 80),
        "SYNTHETIC.NUM_TRAIN": 6,
        "SYNTHETIC.NUM_VAL": 3,
        "SEMANTIC.IMAGE_SIZE": 64,
        "FEATURES.IMAGE_SIZE": 64,
        "FEATURES.DESCRIPTORS.PATCH_SIZE": 8,
        "REFINE.NAME": "none",
        "SOLVER.IMS_PER_BATCH": 3,
        "SOLVER.CHECKPOINT_PERIOD": 7,
        "SEMANTIC.INIT.BASELINE_EPOCHS": 0,
        "SEMANTIC.EM.EPOCHS": 20,
        "MODEL.DEVICE": "cpu",
        **{key.replace("__", "."): value for key, value in keys.items()},
    }
    return [str(word) for pair in settings.items() for word in pair]


def recipe(output: Path, scenes: Path, **keys: object):
    return load_cfg(ROOT / RECIPE, options(output, scenes, **keys))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture(scope="module")
def trained(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained")
    return train_semantic(recipe(output, scenes, SEMANTIC__PROBE=True, SEMANTIC__INIT__BASELINE_EPOCHS=3))


def content(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def same(one: object, other: object) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_state(tmp_path: Path, scenes: Path) -> None:
    """Kill -9 in the middle of EM, then the same command with --resume; views are drawn anew in each step."""
    words = options(tmp_path / "killed", scenes, SEMANTIC__VIEWS__NUMBER=0, SEMANTIC__EM__EPOCHS=60)
    command = [sys.executable, "tools/train_semantic.py", "--config-file", RECIPE]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, *words], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.time() + 120
    while not (tmp_path / "killed/model_0000027.pth").is_file() and time.time() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed/model_final.pth").is_file()
    subprocess.run([*command, "--resume", *words], cwd=ROOT, env=environment, check=True, capture_output=True)
    words = options(tmp_path / "whole", scenes, SEMANTIC__VIEWS__NUMBER=0, SEMANTIC__EM__EPOCHS=60)
    subprocess.run([*command, *words], cwd=ROOT, env=environment, check=True, capture_output=True)
    states = [content(tmp_path / folder / "model_final.pth") for folder in ("killed", "whole")]
    for state in states:
        state.pop("recipe")  # names the folder
    assert same(*states)
    assert states[0]["iteration"] == 119 and states[0]["model"]["updates"] == 12


def test_the_checkpoint_knows_its_recipe_and_the_figures_are_written(trained: Path, tmp_path: Path, capsys) -> None:
    words = ["semantic", "--weights", str(trained), "--output", str(tmp_path), "--per-class"]
    evaluate([*words, "--write-masks", str(tmp_path / "maps")])
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("k-means  ", "PriMaPs-EM  ", "linear probe  ", "cylinder  "))
    assert (tmp_path / "table.txt").read_text() == printed
    assert "| PriMaPs-EM |" in (tmp_path / "table.md").read_text()
    figures = json.loads((tmp_path / "figures.json").read_text())["figures"]["synthetic_val"]
    assert figures["linear probe"]["mIoU"] > 0 and figures["PriMaPs-EM"]["Acc"] > 20
    assert len(figures["k-means"]["matching"]) == 6 and figures["linear probe"]["matching"] == list(range(6))
    maps = sorted((tmp_path / "maps/labels").glob("*.png"))
    assert len(maps) == len(list((tmp_path / "maps/overlays").glob("*.jpg"))) == 3
    assert np.asarray(Image.open(maps[0])).shape == (64, 64)


def test_whole_images_with_a_crf(trained: Path, tmp_path: Path, capsys) -> None:
    words = ["SEMANTIC.TEST.WHOLE", "True", "SEMANTIC.TEST.CRF", "True", "SEMANTIC.TEST.FLIP", "False"]
    evaluate(["semantic", "--weights", str(trained), "--write-masks", str(tmp_path), *words])
    assert "PriMaPs-EM + CRF  " in capsys.readouterr().out
    assert np.asarray(Image.open(next((tmp_path / "labels").glob("*.png")))).shape == (64, 80)
    with pytest.raises(UnsegError, match=r"REFINE\.CRF_LABELS\.GAUSSIAN_WEIGHT .* must be a number of at least 0"):
        evaluate(["semantic", "--weights", str(trained), *words, "REFINE.CRF_LABELS.GAUSSIAN_WEIGHT", "-1.0"])


def test_a_folder_without_labels_is_predicted(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (90, 70), "red").save(tmp_path / "photos/a.jpg")
    words = ["semantic", "--weights", str(trained), "--datasets", str(tmp_path / "photos")]
    evaluate([*words, "--write-masks", str(tmp_path / "maps"), "SEMANTIC.TEST.WHOLE", "True"])
    assert np.asarray(Image.open(tmp_path / "maps/labels/a.png")).shape == (70, 90)
    with pytest.raises(UnsegError, match="no labels to score against; name them as IMAGES::LABELS"):
        evaluate(words)


@pytest.mark.parametrize("flip", [False, True])
def test_images_of_one_size_are_described_together(trained: Path, tmp_path: Path, flip: bool) -> None:
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for name, width in {"a": 80, "b": 80, "c": 80, "d": 96, "e": 80}.items():
        pixels = rng.integers(0, 256, (8, width // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{name}.png")
    maps, sizes = {}, []
    for batch in (1, 2):
        words = ["SEMANTIC.TEST.WHOLE", "True", "SEMANTIC.TEST.FLIP", str(flip), "FEATURES.BATCH_SIZE", str(batch)]
        model, cfg = load_semantic_model(trained, words)

        def counted(images: list[np.ndarray], batch: int = batch, backend: Any = model.backend) -> Any:
            sizes.append((batch, len(images)))
            return backend(images)

        counted.patch_size = model.backend.patch_size  # type: ignore[attr-defined]
        data = load_semantic_set(str(tmp_path / "photos"), cfg)
        write_predictions(replace(model, backend=counted), data, cfg, tmp_path / str(batch))
        maps[batch] = [np.asarray(Image.open(tmp_path / str(batch) / "labels" / f"{name}.png")) for name in "abcde"]
    assert [count for batch, count in sizes if batch == 2] == [views * (1 + flip) for views in (2, 1, 1, 1)]
    assert all(np.array_equal(one, two) for one, two in zip(maps[1], maps[2], strict=True))


def test_the_best_checkpoint_is_chosen_with_labels_only_where_asked_to(tmp_path: Path, scenes: Path) -> None:
    best = train_semantic(recipe(tmp_path, scenes, SEMANTIC__SELECT="best_miou", SEMANTIC__EM__EPOCHS=3))
    assert best.name == "model_best.pth" and content(best)["miou"] > 0
    assert load_semantic_model(best)[0].em.momentum.directions.shape == (6, 64)
    figures = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert max(line["mIoU"] for line in figures if "mIoU" in line) == pytest.approx(content(best)["miou"])


def boost(path: Path, channels: int, clusters: int = 4, width: int = 5) -> Path:
    torch.manual_seed(0)
    state = {"net.cluster1.0.weight": torch.randn(width, channels, 1, 1), "net.cluster1.0.bias": torch.randn(width)}
    torch.save({"state_dict": state | {"cluster_probe.clusters": torch.randn(clusters, width)}}, path)
    return path


def test_a_trained_head_is_boosted(tmp_path: Path, scenes: Path) -> None:
    keys = {"SEMANTIC__INIT__WEIGHTS": boost(tmp_path / "stego.ckpt", 64), "SEMANTIC__EM__EPOCHS": 2}
    final = train_semantic(recipe(tmp_path / "run", scenes, **keys))
    model, _ = load_semantic_model(final)
    assert model.em.running.directions.shape == (4, 5)
    assert model.features([np.zeros((64, 64, 3), np.uint8)] * 2, flip=True).shape == (2, 5, 8, 8)
    assert not (tmp_path / "run/init").exists()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"SEMANTIC__NUM_CLASSES": 70}, r"SEMANTIC.NUM_CLASSES does not fit the features: 70 prototypes are more than"),
        (
            {"SEMANTIC__IMAGE_SIZE": 60},
            r"SEMANTIC.IMAGE_SIZE is 60, but must be a multiple of the patch of 8 px, such as 64",
        ),
        ({"SEMANTIC__SELECT": "best"}, r"SEMANTIC.SELECT .* must be one of 'last', 'best_miou'"),
        ({"SEMANTIC__SELECT": "best_miou", "DATASETS__TEST": ()}, r"best_miou needs a DATASETS.TEST with labels"),
        ({"DATASETS__TRAIN": ()}, r"Name one data set in DATASETS.TRAIN"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, scenes: Path, keys: dict, message: str) -> None:
    with pytest.raises(UnsegError, match=message):
        train_semantic(recipe(tmp_path, scenes, **keys))


def test_a_folder_has_to_come_with_a_number_of_classes(tmp_path: Path, scenes: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.effect_noise((80, 70), 60).convert("RGB").save(tmp_path / "photos/a.png")
    keys = {"DATASETS__TRAIN": (str(tmp_path / "photos"),), "DATASETS__TEST": ()}
    with pytest.raises(UnsegError, match=r"append SEMANTIC.NUM_CLASSES and a number"):
        train_semantic(recipe(tmp_path / "run", scenes, **keys))
    with pytest.raises(UnsegError, match=r"SEMANTIC.PROBE learns from labels"):
        train_semantic(recipe(tmp_path / "run", scenes, SEMANTIC__PROBE=True, **keys))


def test_checkpoints_of_another_width(trained: Path, tmp_path: Path, scenes: Path) -> None:
    narrow = boost(tmp_path / "stego.ckpt", channels=384)
    with pytest.raises(UnsegError, match=r"trained on features of 384 channels, but FEATURES gives 64"):
        train_semantic(recipe(tmp_path / "run", scenes, SEMANTIC__INIT__WEIGHTS=narrow))
    fitting = boost(tmp_path / "other.ckpt", channels=64)
    with pytest.raises(UnsegError, match=r"has 4 clusters, but SEMANTIC.NUM_CLASSES is 9"):
        train_semantic(recipe(tmp_path / "run", scenes, SEMANTIC__INIT__WEIGHTS=fitting, SEMANTIC__NUM_CLASSES=9))
    changed = content(trained)
    changed["semantic"]["width"] = 32
    torch.save(changed, tmp_path / "changed.pth")
    with pytest.raises(UnsegError, match=r"trained on features of 32 channels, but FEATURES gives 64"):
        load_semantic_model(tmp_path / "changed.pth")
    torch.save({"model": {"weight": torch.ones(1)}}, tmp_path / "foreign.pth")
    with pytest.raises(UnsegError, match="Expected: a semantic segmentation of train-semantic"):
        load_semantic_model(tmp_path / "foreign.pth")


def test_proposals_know_resizing_and_depth_where_they_matter() -> None:
    """Neither is named where it has no effect, so that proposals of earlier versions are found again."""
    features = SimpleNamespace(name="palette", checksum="ab")

    def settings(*opts: str, depth: object = None) -> dict[str, Any]:
        cfg = load_cfg(None, ["DATASETS.TRAIN", "('photos',)", *opts])
        pipeline = SimpleNamespace(features=features, depth=depth)
        run = SimpleNamespace(pipeline=pipeline, data=SimpleNamespace(reading=InputSettings.from_config(cfg).reading))
        return _proposal_settings(cfg, run)

    plain = settings()
    depth = GridDepth(SimpleNamespace(name="hub/x", kind="metric"))
    assert settings("FEATURES.RESIZE", "pad") == {**plain, "resize": "pad"}
    assert settings("INPUT.EXIF", "ignore") != plain
    assert settings(depth=depth) == {**plain, "depth": {"name": "hub/x", "kind": "metric"}}


@pytest.mark.parametrize("name", MAY_CHANGE)
def test_keys_that_may_change_exist(name: str) -> None:
    reduce(getitem, name.removesuffix(".").split("."), get_cfg())
