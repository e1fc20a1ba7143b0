"""A detector in a folder and on the hub: what is written loads again and says what it is, and errors are one line."""

from __future__ import annotations

import builtins
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode
from huggingface_hub import ModelCard
from safetensors import safe_open
from safetensors.torch import load_file

from unseg_d2.description import Data, Description, Measured, read_description
from unseg_d2.detectors.about import portable_recipe
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.card import card_text
from unseg_d2.detectors.checkpoints import save_checkpoint
from unseg_d2.detectors.detector import Detector
from unseg_d2.errors import UnsegError

ABOUT = Description(
    task="instances",
    supervision=("none",),
    versions={"unseg_d2": "0.1.0"},
    engine="builtin",
    data=[Data(name="labels.json", images=6, masks=11, round=1)],
    measured=[Measured(data="val", iteration=4, metrics={"segm/AP": 12.34, "segm/AP50": 20.0})],
)


@pytest.fixture
def detector(tiny_cfg: Callable[..., CfgNode], tmp_path: Path) -> Detector:
    cfg = tiny_cfg(OUTPUT_DIR=tmp_path / "secret")
    torch.manual_seed(0)
    content = {**ABOUT.entries(), "recipe": portable_recipe(cfg), "iteration": 4}
    save_checkpoint(tmp_path / "run" / "model.pth", build_model(cfg), optimizer={}, **content)
    return Detector.load(tmp_path / "run" / "model.pth", "MODEL.DEVICE", "cpu", "ENGINE", "builtin")


def test_a_folder_holds_the_same_detector(detector: Detector, tmp_path: Path) -> None:
    folder = detector.save_pretrained(tmp_path / "saved", licence="apache-2.0")
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "README.md"}
    weights = torch.load(detector.weights)["model"]
    saved = load_file(folder / "model.safetensors")
    assert saved.keys() == weights.keys() and all(torch.equal(saved[name], weights[name]) for name in saved)
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        text = file.metadata()["unseg_d2"]
    assert json.loads(text)["task"] == "instances" and str(tmp_path) not in text
    about = read_description(folder / "model.safetensors")
    assert (about.supervision, about.data, about.measured) == (("none",), ABOUT.data, ABOUT.measured)
    again = Detector.from_pretrained(folder, "MODEL.DEVICE", "cpu", "ENGINE", "builtin")
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    ours, theirs = detector(image)[0], again(image)[0]
    assert np.array_equal(ours.boxes, theirs.boxes) and np.array_equal(ours.scores, theirs.scores)


def test_the_card(detector: Detector, tmp_path: Path) -> None:
    folder = detector.save_pretrained(tmp_path / "saved", licence="apache-2.0")
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "apache-2.0" and card.data.library_name == "unseg_d2"
    assert "instance-segmentation" in card.data.tags
    for words in (
        "a cascade of 3 box heads and masks on a ResNet-18, 1 class",
        "`none`: no label of any kind",
        "`labels.json`: 6 images, 11 masks, self-training round 1",
        "| val | 12.3 | 20.0 |",
        "5 iterations",
    ):
        assert words in card.text
    assert str(tmp_path) not in card.content
    (folder / "README.md").write_text("my own words")
    detector.save_pretrained(folder)
    assert (folder / "README.md").read_text() == "my own words"


def test_a_card_says_what_is_not_known() -> None:
    text = card_text(Description(), "a network", name="x")
    for words in ("Not stated: it was not recorded", "not recorded what the weights were trained on", "No figures"):
        assert words in text
    assert "Not stated by whoever saved these weights" in text


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(UnsegError, match=r"holds no model.safetensors; name a folder"):
        Detector.from_pretrained(tmp_path)


def test_a_folder_that_cannot_be_written(detector: Detector, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnsegError, match=r"cannot be written \(.*\); choose another folder") as caught:
        detector.save_pretrained(tmp_path / "file")
    assert len(str(caught.value).splitlines()) == 1 and (tmp_path / "file").read_text() == ""


def test_a_hub_that_cannot_be_written(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Path(detector.weights).read_bytes()

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("403 Forbidden: you may not write here.\nRequest ID 1")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    with pytest.raises(
        UnsegError, match=r"me/model cannot be written on the .* hub \(403 .* here\); nothing was"
    ) as caught:
        detector.push_to_hub("me/model")
    assert len(str(caught.value).splitlines()) == 1 and Path(detector.weights).read_bytes() == before


def test_push_uploads_the_folder(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded: dict[str, Any] = {}

    class Made:
        repo_id = "me/model"

    def upload(_: Any, *, folder_path: Path, **options: Any) -> str:
        uploaded.update({path.name: path.read_bytes() for path in Path(folder_path).iterdir()}, **options)
        return "https://huggingface.co/me/model/commit/1"

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda *_, **__: Made())
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload)
    assert detector.push_to_hub("me/model", licence="mit", commit_message="First").endswith("commit/1")
    assert uploaded["repo_id"] == "me/model" and uploaded["commit_message"] == "First"
    assert {"model.safetensors", "README.md"} <= uploaded.keys()
    assert re.search(rb'from_pretrained\("me/model"\)', uploaded["README.md"])


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("We have no connection")

    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", refuse)
    with pytest.raises(UnsegError, match=r"me/model cannot be loaded \(We have no connection\); name a folder"):
        Detector.from_pretrained("me/model")


def test_without_the_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("huggingface_hub"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "unseg_d2.detectors.hub", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UnsegError, match=r"pip install 'unseg-d2\[hub\]'"):
        Detector.from_pretrained(tmp_path)
