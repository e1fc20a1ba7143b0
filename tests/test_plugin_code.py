"""The code of plug-ins: what belongs to it, and that no run is resumed with other code without a word."""

from __future__ import annotations

import hashlib
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from unseg_d2 import plugins, settings
from unseg_d2.config import load_cfg
from unseg_d2.config.load import as_values
from unseg_d2.data.images import ImageFile
from unseg_d2.depth import GridDepth
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.registry import EVALUATORS
from unseg_d2.loop.recipes import about_run, check_recipe, warn_of_other_features
from unseg_d2.masks import MASK_GENERATORS
from unseg_d2.plugin_code import code_of
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.registry import code_of_parts, registers_only
from unseg_d2.training.prediction import made_from
from unseg_d2.training.state import RunState
from unseg_d2.training.train import train

GENERATOR = """
import numpy, json
from toy_shapes import square
from unseg_d2.masks.batches import to_proposals
from unseg_d2.masks.registry import MASK_GENERATORS

@MASK_GENERATORS.register("toy")
class Toy:
    def __call__(self, features):
        return [to_proposals([(square(one.grid), 1.0)], one.grid) for one in features]
"""
SHAPES = """
import numpy
import toy_size

def square(grid):
    mask = numpy.zeros(grid, bool)
    mask[: toy_size.SIDE, : toy_size.SIDE] = True
    return mask
"""
EVALUATOR = """
from unseg_d2.evaluation.registry import EVALUATORS

@EVALUATORS.register("toy_count")
class Count:
    def __call__(self, truth, results, kind):
        return {"Count": len(results)}
"""
DEPTH = """
import torch
from unseg_d2.structures import DepthMap

class Toy:
    name, kind, predicts = "toy", "relative", True

    def __init__(self, calls):
        self.calls = calls

    def __call__(self, images, files):
        self.calls.append(len(images))
        return [DepthMap(torch.arange(64.0).reshape(8, 8), "relative") for _ in images]
"""
FILES = {
    "toy_depth": DEPTH,
    "toy_generator": GENERATOR,
    "toy_shapes": SHAPES,
    "toy_size": "SIDE = 3\n",
    "toy_metric": EVALUATOR,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with plug-ins, modules that they import, and one that nobody imports."""
    for name, text in {**FILES, "toy_other": ""}.items():
        (tmp_path / f"{name}.py").write_text(text)
    plugins.load_plugins()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(settings, "SECTIONS", known := dict(settings.SECTIONS))
    monkeypatch.setattr("unseg_d2.config.load.SECTIONS", known)
    for registry in (MASK_GENERATORS, EVALUATORS):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    yield tmp_path
    for name in [*FILES, "toy_other", "toy_package", "toy_package.part", "toy_package.inner"]:
        sys.modules.pop(name, None)
    plugins._load_named.cache_clear()


def change(path: Path) -> None:
    path.write_text(path.read_text() + "# changed\n")


def toy_cfg(*opts: str):
    names = [
        "FEATURES.NAME",
        "descriptors",
        "FEATURES.IMAGE_SIZE",
        "32",
        "REFINE.NAME",
        "none",
        "MASKS.GENERATOR",
        "toy",
    ]
    return load_cfg(None, [*names, *opts], plugins=["toy_generator.py"])


def test_a_file_and_what_it_imports_from_its_folder(folder):
    plugins.load_plugins(["toy_generator.py", "toy_metric"])
    before = code_of(["toy_generator.py", "toy_metric", "json", "unseg_d2.masks.lost"])
    assert before.keys() == {"toy_generator", "toy_metric", "json"}
    alone = f"toy_metric.py {len(EVALUATOR)}\n{EVALUATOR}"
    assert before["toy_metric"] == hashlib.sha256(alone.encode()).hexdigest()
    assert code_of(["toy_generator"])["toy_generator"] == before["toy_generator"]
    change(folder / "toy_other.py")
    assert code_of(["toy_generator", "toy_metric"]) == {name: before[name] for name in ("toy_generator", "toy_metric")}
    for name in ("toy_generator", "toy_shapes", "toy_size"):
        last = code_of(["toy_generator"])
        change(folder / f"{name}.py")
        assert code_of(["toy_generator"]) != last, name


def test_a_package_with_relative_imports(folder):
    (folder / "toy_package").mkdir()
    (folder / "toy_package" / "__init__.py").write_text("")
    (folder / "toy_package" / "part.py").write_text("from .inner import VALUE\nimport toy_other\n")
    (folder / "toy_package" / "inner.py").write_text("VALUE = 1\n")
    plugins.load_plugins(["toy_package.part"])
    before = code_of(["toy_package.part"])
    change(folder / "toy_other.py")  # not of the package
    assert code_of(["toy_package.part"]) == before
    change(folder / "toy_package" / "inner.py")
    assert code_of(["toy_package.part"]) != before


def test_what_a_run_depends_on(folder):
    cfg = toy_cfg()
    assert code_of_parts(cfg)["plugins"].keys() == {"toy_generator"}
    assert code_of_parts(load_cfg()) == {}
    both = load_cfg(None, ["TEST.EVALUATORS", "['toy_count']"], plugins=["toy_generator.py", "toy_metric.py"])
    assert code_of_parts(both)["plugins"].keys() == {"toy_generator", "toy_metric"}
    assert code_of_parts(both, without=("TEST.",))["plugins"].keys() == {"toy_generator"}
    assert registers_only("toy_metric.py", ("TEST.",)) and not registers_only("toy_generator.py", ("TEST.",))
    imported = load_cfg(None, ["MASKS.GENERATOR", "toy"])  # as a module of an entry point: no PLUGINS name it
    assert not imported.PLUGINS and code_of_parts(imported) == code_of_parts(cfg)
    assert not registers_only("json", ("TEST.",))  # registers nothing: whatever it does may have an effect


def test_a_label_set_is_not_resumed_with_other_code(folder):
    (folder / "photos").mkdir()
    Image.fromarray(np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)).save(folder / "photos" / "0.png")
    cfg = toy_cfg()
    labels = generate_label_set(cfg, "photos", folder / "masks", num_workers=0)
    assert generate_label_set(cfg, "photos", folder / "masks", num_workers=0) == labels
    change(folder / "toy_size.py")
    message = (
        r"masks holds a label set that was made with other settings: the code of the plug-in toy_generator has changed"
    )
    with pytest.raises(UnsegError, match=message):
        generate_label_set(cfg, "photos", folder / "masks", num_workers=0)


def test_a_small_network_is_not_resumed_with_other_code(folder):
    cfg = toy_cfg()
    checkpoint = about_run(cfg, {})
    check_recipe(checkpoint, folder / "model.pth", about_run(cfg, {}))
    change(folder / "toy_generator.py")
    with pytest.raises(UnsegError, match="was trained with other settings: the code of the plug-in toy_generator has"):
        check_recipe(checkpoint, folder / "model.pth", about_run(cfg, {}))
    check_recipe({"recipe": cfg.dump()}, folder / "model.pth", about_run(cfg, {}))  # of an earlier version


def test_a_small_network_that_meets_other_code_says_so(folder, caplog):
    cfg = toy_cfg()
    checkpoint = about_run(cfg, {})
    with caplog.at_level(logging.WARNING, logger="unseg_d2"):
        warn_of_other_features(checkpoint, "descriptors", "", "model.pth", cfg)
        assert not caplog.records
        change(folder / "toy_generator.py")
        warn_of_other_features(checkpoint, "descriptors", "", "model.pth", cfg)
    message = "Since model.pth was trained, plug-ins differ: the code of the plug-in toy_generator has changed."
    assert [record.getMessage() for record in caplog.records] == [message]


def test_depth_that_is_kept_is_of_the_same_code(folder):
    plugins.load_plugins(["toy_depth.py"])
    calls = []

    def look() -> None:
        source = sys.modules["toy_depth"].Toy(calls)
        GridDepth(source, folder / "kept")([np.zeros((8, 8, 3), np.uint8)], [ImageFile(Path("a.png"), "a.png")], (4, 4))

    look()
    look()
    assert len(calls) == 1
    change(folder / "toy_depth.py")
    look()
    assert len(calls) == 2


def test_self_training_is_not_resumed_with_other_code(folder):
    recipe = as_values(toy_cfg())

    def begin() -> RunState:
        about = {"recipes": {"first": recipe, "rounds": recipe}, "checksums": {}}
        return RunState(folder / "run", {**about, **code_of_parts(toy_cfg())})

    (folder / "run").mkdir()
    begin()
    begin()
    change(folder / "toy_shapes.py")
    with pytest.raises(UnsegError, match="the code of the plug-in toy_generator has changed"):
        begin()


class Engine:
    name = "none"

    def launch(self, *args: object) -> None:
        """Train nothing."""


def test_predictions_depend_on_code_but_not_on_that_of_metrics(folder):
    def origin(*opts: str, imported: tuple[str, ...] = ("toy_generator.py",)) -> dict:
        return made_from(Engine(), load_cfg(None, list(opts), plugins=imported), [], "")

    first = origin()
    metric = ("toy_generator.py", "toy_metric.py")
    assert origin("TEST.EVALUATORS", "['toy_count']", imported=metric) == first
    assert origin("TEST.CLASS_AGNOSTIC.MAX_DETECTIONS", "300") == first
    change(folder / "toy_generator.py")
    assert origin() != first


def test_a_resumed_training_names_the_plugin_that_changed(folder, caplog):
    cfg = toy_cfg("OUTPUT_DIR", str(folder / "run"), "MODEL.ROI_HEADS.NUM_CLASSES", "1")
    train(Engine(), cfg)
    (folder / "run" / "last_checkpoint").write_text("model.pth")
    with caplog.at_level(logging.INFO, logger="unseg_d2"):
        train(Engine(), cfg, resume=True)
        assert "Resuming with" not in caplog.text
        change(folder / "toy_generator.py")
        train(Engine(), cfg, resume=True)
    assert "Resuming with another recipe than before: the code of the plug-in toy_generator has changed." in caplog.text
    assert yaml.safe_load((folder / "run" / "config.yaml").read_text())["PLUGINS"]
