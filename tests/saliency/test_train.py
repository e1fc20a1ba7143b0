"""Training of the saliency head: the batches, a killed run, a second round, and what is said where it cannot start."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unseg_d2.cli.train_saliency import main
from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.saliency import crop_and_enlarge
from unseg_d2.saliency.load import load_saliency_model
from unseg_d2.saliency.train import (
    BatchMaker,
    learning_rate,
    train_saliency,
    training_images,
    write_masks,
)

RECIPE = Path(__file__).parents[2] / "configs" / "saliency" / "descriptors.yaml"
NUM_IMAGES = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of a disc on a plain ground, and their masks."""
    root = tmp_path_factory.mktemp("discs")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :64]
    for part in ("images", "masks"):
        (root / part).mkdir()
    for k in range(NUM_IMAGES):
        inside = np.hypot(y - rng.uniform(16, 32), x - rng.uniform(20, 44)) < rng.uniform(8, 13)
        image = np.where(inside[..., None], rng.integers(130, 255, 3), rng.integers(0, 120, 3))
        noise = rng.normal(0, 6, image.shape)
        Image.fromarray(np.clip(image + noise, 0, 255).astype(np.uint8)).save(root / "images" / f"{k}.png")
        Image.fromarray(inside.astype(np.uint8) * 255).save(root / "masks" / f"{k}.png")
    return root


def options(folder, output, *more, steps=3):
    words = {
        "DATASETS.TRAIN": f"('{folder}',)",
        "OUTPUT_DIR": str(output),
        "SOLVER.MAX_ITER": str(steps),
        "SOLVER.CHECKPOINT_PERIOD": "1",
        "SOLVER.IMS_PER_BATCH": "2",
        "SALIENCY.IMAGE_SIZE": "32",
        "SALIENCY.SHORTER_SIDE": "40",
        "SALIENCY.HEAD.CHANNELS": "[4]",
        "MODEL.DEVICE": "cpu",
    }
    return [word for item in words.items() for word in item] + list(more)


def recipe(*args, **kwargs):
    return load_cfg(RECIPE, options(*args, **kwargs))


def test_a_batch_is_a_function_of_its_number(folder, tmp_path):
    cfg = recipe(folder, tmp_path, "SALIENCY.MULTI_SCALE.ENABLED", "True")
    first, again = (BatchMaker(cfg, training_images(cfg), 8, seed=3) for _ in range(2))
    for _ in (first(0), first(5)):
        pass
    assert np.array_equal(first(1).views, again(1).views) and np.array_equal(first(1).crops, again(1).crops)
    assert not np.array_equal(first(1).views, first(2).views)
    batch = first(1)
    views = torch.from_numpy(batch.views).permute(0, 3, 1, 2).float()
    expected = crop_and_enlarge(views, batch.corners, 0.5).permute(0, 2, 3, 1)
    np.testing.assert_array_equal(batch.crops, expected.numpy())
    assert (batch.corners % 8 == 0).all() and batch.targets is None


def test_a_killed_and_resumed_training_ends_in_the_same_state(folder, tmp_path):
    """The process is killed by the operating system, wherever it happens to be after its second checkpoint."""
    tricks = ["SALIENCY.MULTI_SCALE.ENABLED", "True"]
    whole = torch.load(train_saliency(recipe(folder, tmp_path / "whole", *tricks, steps=6)), weights_only=True)
    words = ["--config-file", str(RECIPE), *options(folder, tmp_path / "killed", *tricks, steps=6)]
    code = f"from unseg_d2.cli.train_saliency import main; main({words!r})"
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=RECIPE.parents[2])
    try:
        deadline = time.monotonic() + 240
        while not (tmp_path / "killed" / "model_0000001.pth").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    resumed = recipe(folder, tmp_path / "killed", *tricks, steps=6)
    killed = torch.load(train_saliency(resumed, resume=True), weights_only=True)
    assert whole["iteration"] == killed["iteration"] == 5
    for name, tensor in whole["model"].items():
        assert torch.equal(tensor, killed["model"][name]), name
    for key, state in whole["optimizer"]["state"].items():
        assert torch.equal(state["exp_avg_sq"], killed["optimizer"]["state"][key]["exp_avg_sq"])


def test_a_second_round_learns_the_masks_of_the_first(folder, tmp_path, capsys):
    first = [*options(folder, tmp_path / "first", steps=2), "SALIENCY.GUIDED.ENABLED", "True"]
    main(["--config-file", str(RECIPE), "--write-masks", str(tmp_path / "masks"), *first])
    assert "model_final.pth" in capsys.readouterr().out
    assert len(list((tmp_path / "masks").glob("*.png"))) == NUM_IMAGES
    targets = str(folder / "masks")  # clear ones, which can be learnt in a few steps
    more = ["SALIENCY.TARGETS", targets, "SOLVER.BASE_LR", "0.02", "SALIENCY.JITTER_PROBABILITY", "0.0"]
    cfg = recipe(folder, tmp_path / "second", *more, steps=60)
    model, _ = load_saliency_model(train_saliency(cfg))
    images = training_images(cfg)
    write_masks(model, images, tmp_path / "again")
    for image in images:
        found, truth = (
            np.asarray(Image.open(path)) > 127 for path in (tmp_path / "again" / f"{image.name}.png", image.mask)
        )
        assert (found & truth).sum() / (found | truth).sum() > 0.7


def test_masks_of_other_weights_or_images_are_made_again(folder, tmp_path, caplog):
    """What is kept is found by the content of weights and image, not by the name of the mask."""
    caplog.set_level("INFO")
    images = training_images(recipe(folder, tmp_path / "unused", steps=1))[:2]
    weights, masks = tmp_path / "model.pth", tmp_path / "masks"
    weights.write_bytes(b"a")

    def write(value):
        write_masks(lambda batch: [np.full(batch[0].shape[:2], value)], images, masks, weights)
        return [np.asarray(Image.open(masks / f"{image.name}.png")).max() for image in images]

    assert write(0.2) == [51, 51] and write(1.0) == [51, 51]
    weights.write_bytes(b"b")
    assert write(1.0) == [255, 255] and "2 masks in" in caplog.text and "are made again" in caplog.text
    (masks / "made_from.jsonl").unlink()
    with pytest.raises(UnsegError, match="2 masks that this command did not make"):
        write(0.2)


def test_images_of_one_name_share_no_mask(folder, tmp_path):
    """Two data sets may have images of one name; what is written for them, or learnt, would be one file."""
    shutil.copytree(folder / "images", tmp_path / "more")
    images = training_images(recipe(folder, tmp_path / "run", steps=1))
    twice = [*images, replace(images[0], path=tmp_path / "more" / images[0].path.name)]
    with pytest.raises(UnsegError, match=rf"are both called {images[0].name}, so that they would share a mask in"):
        write_masks(lambda batch: batch, twice, tmp_path / "masks")
    assert not (tmp_path / "masks").exists()
    both = f"('{folder / 'images'}', '{tmp_path / 'more'}')"
    cfg = recipe(folder, tmp_path / "run", "SALIENCY.TARGETS", str(folder / "masks"), "DATASETS.TRAIN", both, steps=1)
    with pytest.raises(UnsegError, match="they would share a mask in"):
        training_images(cfg)


def test_masks_of_other_settings_or_features_are_made_again(folder, tmp_path):
    images = training_images(recipe(folder, tmp_path / "unused", steps=1))[:1]
    weights = train_saliency(recipe(folder, tmp_path / "run", steps=1))
    times = []
    for options in ((), (), ("SALIENCY.INVERT", "none"), ("FEATURES.NAME", "palette"), ()):
        write_masks(load_saliency_model(weights, options)[0], images, tmp_path / "masks", weights)
        times.append((tmp_path / "masks" / f"{images[0].name}.png").stat().st_mtime_ns)
    assert times[0] == times[1] and len(set(times)) == 4


@pytest.mark.parametrize("kind", ["images", "targets"])
def test_a_training_is_not_resumed_with_other_pictures_of_the_same_names(folder, tmp_path, kind):
    shutil.copytree(folder, tmp_path / "data")
    spec, targets = tmp_path / "data" / "images", tmp_path / "data" / "masks"
    first, more = (
        recipe(tmp_path / "data", tmp_path / "run", "SALIENCY.TARGETS", str(targets), steps=n) for n in (1, 2)
    )
    train_saliency(first)
    before = sorted((spec if kind == "images" else targets).iterdir())
    whole = before[0].read_bytes()
    before[0].write_bytes(before[1].read_bytes())
    with pytest.raises(
        UnsegError, match=rf"with other settings: made_from\.{kind} was '\w+', now '\w+'\. Choose another"
    ):
        train_saliency(more, resume=True)
    before[0].write_bytes(whole)
    train_saliency(more, resume=True)


def test_a_checkpoint_of_another_width_is_refused(folder, tmp_path):
    weights = train_saliency(recipe(folder, tmp_path, steps=1))
    with pytest.raises(UnsegError, match="of another shape"):
        load_saliency_model(weights, ["SALIENCY.HEAD.WIDTH", "32"])
    with pytest.raises(UnsegError, match=r"other settings: SALIENCY\.HEAD\.CHANNELS was .*, now \[6\]\."):
        train_saliency(recipe(folder, tmp_path, "SALIENCY.HEAD.CHANNELS", "[6]"), resume=True)
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(UnsegError, match=r"is a file of 1 tensors .*\nExpected: a saliency head of train-saliency"):
        load_saliency_model(tmp_path / "other.pth")


def test_features_of_the_same_width_but_another_name_are_named(folder, tmp_path, caplog):
    weights = train_saliency(recipe(folder, tmp_path, steps=1))
    load_saliency_model(weights)
    assert "trained on features of" not in caplog.text
    load_saliency_model(weights, ["FEATURES.NAME", "palette"])
    assert "model_final.pth was trained on features of descriptors, and sees those of palette." in caplog.text


def test_the_learning_rate_falls_at_the_end():
    cfg = load_cfg(None, ["SOLVER.MAX_ITER", "10", "SOLVER.BASE_LR", "0.5", "SALIENCY.DECAY", "0.4"])
    assert [learning_rate(cfg, t) for t in (0, 6, 8, 9)] == pytest.approx([0.5, 0.5, 0.25, 0.125])
    assert learning_rate(load_cfg(None, ["SOLVER.BASE_LR", "0.5"]), 39999) == 0.5


def test_settings_that_cannot_work_are_named(folder, tmp_path):
    with pytest.raises(UnsegError, match=r"IMAGE_SIZE is 36, but must be a multiple of the patch of 8 px"):
        train_saliency(recipe(folder, tmp_path, "SALIENCY.IMAGE_SIZE", "36"))
    with pytest.raises(UnsegError, match="nothing to train on"):
        training_images(load_cfg(None, []))
    with pytest.raises(UnsegError, match="there is no such folder"):
        training_images(recipe(folder, tmp_path, "SALIENCY.TARGETS", str(tmp_path / "none")))


def test_empty_targets_are_left_out(folder, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    for k in range(NUM_IMAGES):
        Image.fromarray(np.full((48, 64), 255 if k == 2 else 0, np.uint8)).save(masks / f"{k}.png")
    cfg = recipe(folder, tmp_path, "SALIENCY.TARGETS", str(masks))
    assert [image.name for image in training_images(cfg)] == ["2"]
    (masks / "2.png").unlink()
    with pytest.raises(UnsegError, match=r"1 of 6 images have no mask in .*such as 2\.png"):
        training_images(cfg)
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(masks / "2.png")
    with pytest.raises(UnsegError, match="are empty"):
        training_images(cfg)
