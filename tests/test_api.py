"""The functions for whole folders are those of the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import unseg_d2
from unseg_d2.training.plan import Plan

RECIPE = "configs/quickstart.yaml"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        photo = np.full((96, 128, 3), (40, 140, 60), np.uint8)
        photo[24:72, 32 + 24 * number : 80 + 24 * number] = (200, 30, 40)
        Image.fromarray(photo).save(folder / f"{number}.png")
    return folder


def test_masks_of_a_folder_are_those_of_the_generator(photos: Path, tmp_path: Path) -> None:
    overrides = {"FEATURES.IMAGE_SIZE": 240}
    path = unseg_d2.generate_masks(RECIPE, overrides, images=photos, output=tmp_path / "masks")
    labels = unseg_d2.read_label_set(path)
    assert [image["file_name"] for image in labels.images] == ["0.png", "1.png"]
    masks = unseg_d2.MaskGenerator.from_recipe(RECIPE, overrides)(photos / "1.png")
    written = [item for item in labels.annotations if item["image_id"] == 2]
    assert [item | {"id": 0} for item in written] == [item | {"id": 0} for item in masks.to_coco(2)]
    assert path == unseg_d2.generate_masks(RECIPE, overrides, images=photos, output=tmp_path / "masks")  # resumes


def test_masks_can_be_scored(photos: Path, tmp_path: Path) -> None:
    path = unseg_d2.generate_masks(RECIPE, "FEATURES.IMAGE_SIZE", 240, images=str(photos), output=str(tmp_path / "m"))
    assert unseg_d2.score_masks(path, path).metrics["segm"]["AP"] == pytest.approx(100)


def test_another_recipe_in_the_same_folder(photos: Path, tmp_path: Path) -> None:
    unseg_d2.generate_masks(RECIPE, "FEATURES.IMAGE_SIZE", 240, images=photos, output=tmp_path / "masks")
    with pytest.raises(unseg_d2.UnsegError, match="IMAGE_SIZE"):
        unseg_d2.generate_masks(RECIPE, "FEATURES.IMAGE_SIZE", 280, images=photos, output=tmp_path / "masks")


def test_self_training_is_given_what_the_command_gives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plans: list[Plan] = []
    monkeypatch.setattr("unseg_d2.training.rounds.self_train", lambda plan, restart: plans.append(plan))
    given: dict[str, Any] = {"images": tmp_path / "photos", "output": tmp_path / "run", "rounds": 2}
    unseg_d2.self_train(RECIPE, {"SOLVER": {"MAX_ITER": 3}}, ground_truth="gt.json", num_processes=2, **given)
    (plan,) = plans
    assert plan == Plan(
        config_file=RECIPE,
        opts=("SOLVER.MAX_ITER", 3),
        output=tmp_path / "run",
        rounds=2,
        images=str(tmp_path / "photos"),
        ground_truth="gt.json",
        num_processes=2,
        num_workers=0,
    )
    assert plan.recipe(0).SOLVER.MAX_ITER == plan.recipe(1).SOLVER.MAX_ITER == 3


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "either images=... or"),
        ({"images": "a", "labels": "b"}, "either images=... or"),
        ({"images": "a", "rounds": -1}, "rounds is -1"),
    ],
)
def test_refusals(given: dict, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(unseg_d2.UnsegError, match=sentence):
        unseg_d2.self_train(RECIPE, output=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()
