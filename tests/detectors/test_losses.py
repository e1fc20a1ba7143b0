"""Losses from a file outside the package: the ones of docs/extending.md in both engines, in one process and several."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml

from unseg_d2 import plugins, settings
from unseg_d2.config import load_cfg
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.checkpoints import load_weights
from unseg_d2.detectors.protocol import detectron2_availability, select_engine
from unseg_d2.errors import UnsegError
from unseg_d2.losses import CLASSIFICATION_LOSSES, MASK_LOSSES
from unseg_d2.training.train import train

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = re.search(r"^```python\n# my_losses.py\n(.*?)^```$", (ROOT / "docs" / "extending.md").read_text(), re.M | re.S)
ENGINES = ["builtin", pytest.param("detectron2", marks=pytest.mark.detectron2)]
OURS = {"LOSSES__MASK": "dice", "LOSSES__DICE__SMOOTH": 2, "LOSSES__CLASSIFICATION": "focal"}


@pytest.fixture
def my_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module of the page, imported; what it registers is gone after the test."""
    (tmp_path / "my_losses.py").write_text(PLUGIN[1])
    plugins.load_plugins()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings, "SECTIONS", known := dict(settings.SECTIONS))
    monkeypatch.setattr("unseg_d2.config.load.SECTIONS", known)
    for registry in (CLASSIFICATION_LOSSES, MASK_LOSSES):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    plugins.load_plugins(["my_losses.py"])
    yield sys.modules["my_losses"]
    sys.modules.pop("my_losses", None)
    plugins._load_named.cache_clear()


def needs(engine: str) -> None:
    if engine == "detectron2" and not detectron2_availability()[0]:
        pytest.skip(detectron2_availability()[1])


def detectron2_losses(cfg, samples, folder: Path) -> tuple[dict[str, torch.Tensor], torch.nn.Module]:
    from detectron2.modeling import build_model as build_detectron2
    from detectron2.utils.events import EventStorage

    import unseg_d2.detectors.detectron2.roi_heads  # noqa: F401  registers the heads
    from unseg_d2.detectors.detectron2.config import to_detectron2
    from unseg_d2.detectors.detectron2.inputs import to_input

    model = build_detectron2(to_detectron2(cfg)).train()
    torch.save({"model": model.state_dict()}, folder / "random.pth")
    torch.manual_seed(0)
    with EventStorage():
        return model([to_input(sample, channel_order="RGB") for sample in samples]), model


@pytest.mark.detectron2
@pytest.mark.parametrize("heads", ["CascadeROIHeads", "CustomStandardROIHeads"])
@pytest.mark.parametrize(
    "uncertain",
    [
        {},
        {"MODEL__ROI_HEADS__USE_DROPLOSS": True, "MODEL__ROI_HEADS__DROPLOSS_IOU_THRESH": 0.01},
        {"MODEL__ROI_MASK_HEAD__CONFIDENCE": "spatial"},
    ],
    ids=["plain", "droploss", "confidence"],
)
def test_both_engines_compute_the_same(heads, uncertain, my_losses, tiny_cfg, make_sample, tmp_path):
    needs("detectron2")
    everything = {"MODEL__RPN__BATCH_SIZE_PER_IMAGE": 100_000, "MODEL__ROI_HEADS__BATCH_SIZE_PER_IMAGE": 100_000}
    cfg = tiny_cfg(**OURS, **everything, **uncertain, MODEL__ROI_HEADS__NAME=heads)
    samples = [make_sample(120, 96, instances=4, seed=1), make_sample(100, 128, seed=2)]
    for sample in samples:
        sample.confidence = torch.randint(128, 256, sample.masks.shape, dtype=torch.uint8)
    expected, reference = detectron2_losses(cfg, samples, tmp_path)
    model = build_model(cfg).train()
    load_weights(model, tmp_path / "random.pth")
    torch.manual_seed(0)
    losses = model(samples)
    assert losses.keys() == expected.keys()
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(expected[name].item(), rel=1e-4), name
    first = "loss_cls_stage0" if heads == "CascadeROIHeads" else "loss_cls"
    # Undecided between two classes: (1/2)^2 log 2, where the cross entropy would be log 2. DropLoss takes a part of it.
    assert "DROPLOSS" in str(uncertain) or losses[first].item() == pytest.approx(0.693 / 4, rel=0.2)
    assert isinstance(model.roi_heads.mask_loss, my_losses.Dice) and model.roi_heads.mask_loss.smooth == 2
    assert isinstance(reference.roi_heads.mask_head.mask_loss, my_losses.Dice)


@pytest.mark.parametrize("engine", ENGINES)
def test_python_trains_with_them(engine, my_losses, tiny_cfg, labels, tmp_path):
    needs(engine)
    cfg = tiny_cfg(**OURS, OUTPUT_DIR=tmp_path / "run", DATASETS__TRAIN=(str(labels),), SOLVER__MAX_ITER=2)
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.PLUGINS = (64,), ["my_losses.py"]
    final = train(select_engine(engine), cfg)
    assert torch.load(final, weights_only=True)["iteration"] == 1
    again = load_cfg(tmp_path / "run" / "config.yaml")
    assert MASK_LOSSES.build(again).smooth == 2 and CLASSIFICATION_LOSSES.build(again).gamma == 2


@pytest.mark.parametrize(
    ("options", "first", "second"),
    [
        ({"MODEL__ROI_HEADS__USE_SOFT_TARGETS": True}, "LOSSES.CLASSIFICATION", "MODEL.ROI_HEADS.USE_SOFT_TARGETS"),
        (
            {"MODEL__ROI_HEADS__USE_DROPLOSS": True, "LOSSES__CLASSIFICATION": "plain"},
            "LOSSES.CLASSIFICATION",
            "MODEL.ROI_HEADS.USE_DROPLOSS",
        ),
        (
            {"MODEL__ROI_MASK_HEAD__CONFIDENCE": "scalar", "LOSSES__MASK": "plain"},
            "LOSSES.MASK",
            "MODEL.ROI_MASK_HEAD.CONFIDENCE",
        ),
        (
            {
                "MODEL__ROI_HEADS__USE_SOFT_TARGETS": True,
                "LOSSES__CLASSIFICATION": "cross_entropy",
                "LOSSES__MASK": "plain",
            },
            "LOSSES.MASK",
            "MODEL.ROI_HEADS.USE_SOFT_TARGETS",
        ),
    ],
)
def test_what_a_loss_cannot_use_is_refused(options, first, second, my_losses, tiny_cfg):
    class Plain:
        takes_weights = False

    CLASSIFICATION_LOSSES.register("plain")(Plain)
    MASK_LOSSES.register("plain")(Plain)
    with pytest.raises(
        UnsegError, match=rf"of {first} cannot use the .* that {second} passes to it; set {second} to (False|none) "
    ):
        tiny_cfg(**{**OURS, **options})


@pytest.mark.parametrize("engine", ENGINES)
def test_a_loss_that_a_function_returns_is_asked_when_the_network_is_built(engine, my_losses, tiny_cfg):
    needs(engine)

    @CLASSIFICATION_LOSSES.register()
    def hidden():
        return my_losses.Focal(my_losses.FocalSettings())

    cfg = tiny_cfg(LOSSES__CLASSIFICATION="hidden", MODEL__ROI_HEADS__USE_SOFT_TARGETS=True)
    with pytest.raises(UnsegError, match=r"The loss Focal of LOSSES.CLASSIFICATION cannot use the scores"):
        if engine == "builtin":
            build_model(cfg)
        else:
            detectron2_losses(cfg, [], Path())


def test_a_name_of_both_kinds_has_one_section(my_losses):
    assert CLASSIFICATION_LOSSES.register("dice", settings=my_losses.DiceSettings)(my_losses.Dice)  # shared
    with pytest.raises(UnsegError, match=r"wants the section LOSSES.DICE, which belongs to my_losses.DiceSettings"):
        CLASSIFICATION_LOSSES.register("dice", settings=my_losses.FocalSettings)(my_losses.Dice)
    with pytest.raises(UnsegError, match=r"The section LOSSES.MASK would hide the key of that name"):
        MASK_LOSSES.register("mask", settings=my_losses.FocalSettings)(my_losses.Dice)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_every_process_finds_them(engine: str, labels: Path, tiny_cfg: Callable, tmp_path: Path) -> None:
    """Two processes are started, two resume under torchrun in another folder, and one evaluates there."""
    needs(engine)
    (tmp_path / "my_losses.py").write_text(PLUGIN[1])
    (tmp_path / "elsewhere").mkdir()
    cfg = tiny_cfg(ENGINE=engine, INPUT__MIN_SIZE_TRAIN=(64,), INPUT__MIN_SIZE_TEST=64, SOLVER__MAX_ITER=2)
    (tmp_path / "recipe.yaml").write_text(cfg.dump())
    tool, run = str(ROOT / "tools" / "train_net.py"), tmp_path / "run"
    chosen = ["LOSSES.MASK=dice", "LOSSES.DICE.SMOOTH=2", "LOSSES.CLASSIFICATION=focal"]
    new = ["--config-file", "recipe.yaml", "--labels", str(labels), "--output", str(run), "--import", "my_losses.py"]
    start([tool, *new, "--num-gpus", "2", *chosen], tmp_path)
    recipe = yaml.safe_load((run / "config.yaml").read_text())
    assert recipe["PLUGINS"] == [str(tmp_path / "my_losses.py")] and recipe["LOSSES"]["DICE"] == {"SMOOTH": 2.0}
    logged = json.loads((run / "metrics.json").read_text().splitlines()[-1])
    assert 0.1 < logged["loss_cls_stage0"] < 0.35  # about log 2 / 4 at first, where the cross entropy is log 2

    known = [tool, "--config-file", str(run / "config.yaml")]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    start([*torchrun, *known, "--resume", "SOLVER.MAX_ITER=3"], tmp_path / "elsewhere")
    assert torch.load(run / "model_final.pth", weights_only=True)["iteration"] == 2
    weights = ["--eval-only", "--weights", str(run / "model_final.pth"), "--gt", str(labels)]
    assert "labels" in start([*known, *weights], tmp_path / "elsewhere")


def start(words: list[str], folder: Path) -> str:
    """Run a command in a folder and return what it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
