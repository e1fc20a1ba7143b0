"""The detector from Python: the same results as the engines on files for every kind of image, and clear errors."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode
from PIL import Image

from unseg_d2.config import load_cfg
from unseg_d2.data.catalog import load_dataset
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.checkpoints import save_checkpoint
from unseg_d2.detectors.detector import Detector
from unseg_d2.detectors.prediction import Prediction
from unseg_d2.detectors.protocol import detectron2_availability, select_engine
from unseg_d2.detectors.recipe import detector_recipe
from unseg_d2.errors import UnsegError
from unseg_d2.zoo.registry import entries

SIZES = [(64, 96), (64, 96), (64, 96), (96, 64), (50, 50)]
ENGINES = [
    "builtin",
    pytest.param(
        "detectron2",
        marks=[
            pytest.mark.detectron2,
            pytest.mark.skipif(not detectron2_availability()[0], reason=detectron2_availability()[1]),
        ],
    ),
]


@pytest.fixture
def cfg(tiny_cfg) -> CfgNode:
    """A tiny cascade that sees images at twice their size, two at a time."""
    cfg = tiny_cfg(INPUT__MIN_SIZE_TEST=112, TEST__IMS_PER_BATCH=2, TEST__DETECTIONS_PER_IMAGE=6)
    cfg.freeze()
    return cfg


@pytest.fixture
def weights(cfg: CfgNode, tmp_path: Path) -> Path:
    """A checkpoint of it, with its recipe beside it, as training writes them."""
    save_checkpoint(tmp_path / "run" / "model_final.pth", build_model(cfg))
    (tmp_path / "run" / "config.yaml").write_text(cfg.dump())
    return tmp_path / "run" / "model_final.pth"


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    paths = [tmp_path / "photos" / f"{number}.png" for number in range(len(SIZES))]
    for path, size in zip(paths, SIZES):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return paths


def assert_equal(found: list[Prediction], expected: list[Prediction]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert len(one) > 0
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.scores, other.scores)
        assert one.rles == other.rles and one.size == other.size


@pytest.mark.parametrize("engine", ENGINES)
def test_arrays_give_exactly_what_files_give(engine: str, cfg: CfgNode, weights: Path, photos: list[Path]) -> None:
    records = load_dataset(str(photos[0].parent), cfg)
    assert [record["file_name"] for record in records] == list(map(str, photos))
    expected = list(select_engine(engine).predict(cfg, records, weights=str(weights)))
    detector = Detector.load(weights, "ENGINE", engine)
    assert_equal(detector([np.asarray(Image.open(path)) for path in photos]), expected)
    assert_equal(detector(photos), expected)
    assert_equal(list(detector.stream(Image.open(path) for path in photos)), expected)  # built once, used again


@pytest.mark.parametrize("engine", ENGINES)
def test_a_lower_precision_changes_rounding_only(engine: str, cfg: CfgNode, weights: Path, photos: list[Path]) -> None:
    whole, half = (
        Detector.load(weights, "ENGINE", engine, "TEST.PRECISION", precision, recipe=cfg)(photos[:1])[0]
        for precision in ("float32", "bfloat16")
    )
    assert half.scores.dtype == half.boxes.dtype == np.float32
    assert not np.array_equal(half.scores, whole.scores)  # the setting is not passed over
    best = min(len(whole), len(half), 3)
    np.testing.assert_allclose(half.scores[:best], whole.scores[:best], atol=0.02)


@pytest.mark.detectron2
@pytest.mark.skipif(not detectron2_availability()[0], reason=detectron2_availability()[1])
@pytest.mark.parametrize("key", ["MODEL.CHANNELS_LAST", "MODEL.COMPILE"])
def test_what_only_the_built_in_network_does_is_refused_elsewhere(key: str, cfg: CfgNode, weights: Path) -> None:
    with pytest.raises(UnsegError, match=f"{key} has no effect with Detectron2's engine; leave it out"):
        Detector.load(weights, "ENGINE", "detectron2", key, "True", recipe=cfg)


def test_predictions_know_their_image(weights: Path, photos: list[Path]) -> None:
    found = Detector.load(weights)(photos)
    assert [prediction.size for prediction in found] == SIZES
    assert [prediction.record["image_id"] for prediction in found] == [0, 1, 2, 3, 4]
    assert [prediction.record["file_name"] for prediction in found] == list(map(str, photos))
    assert found[3].masks.shape == (len(found[3]), 96, 64)
    assert found[3].draw(photos[3]).shape == (96, 64, 3)


def test_a_single_image(weights: Path, photos: list[Path]) -> None:
    detector = Detector.load(weights)
    (expected,) = detector([photos[3]])
    for image in (photos[3], str(photos[3]), Image.open(photos[3]), np.asarray(Image.open(photos[3]))):
        assert_equal(detector(image), [expected])
    assert detector([]) == []


def test_neighbours_of_one_size_go_together(weights: Path, photos: list[Path]) -> None:
    detector = Detector.load(weights)
    network, batches = detector.predictor.network, []

    def watched(samples):
        batches.append([sample.image_id for sample in samples])
        return network(samples)

    object.__setattr__(detector.predictor, "network", watched)
    detector(photos)
    assert batches == [[0, 1], [2], [3], [4]]


def test_score_threshold(weights: Path, photos: list[Path]) -> None:
    detector = Detector.load(weights)
    everything = detector(photos[0])[0]
    threshold = float(np.median(everything.scores))
    (found,) = detector(photos[0], score_threshold=threshold)
    assert_equal([found], [everything.above(threshold)])
    assert 0 < len(found) < len(everything)
    with pytest.raises(UnsegError, match="score_threshold is 35, but scores lie between 0 and 1"):
        detector(photos, score_threshold=35)


def test_the_recipe_beside_the_checkpoint(cfg: CfgNode, weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="unseg_d2"):
        found, origin = detector_recipe(weights)
    assert found == load_cfg(weights.parent / "config.yaml") and origin in caplog.text
    assert found.MODEL.FPN.OUT_CHANNELS == cfg.MODEL.FPN.OUT_CHANNELS == 32
    assert origin == f"{weights.parent / 'config.yaml'}, found beside the checkpoint"


def test_a_recipe_that_is_named_goes_first(weights: Path) -> None:
    found, origin = detector_recipe(weights, "configs/quickstart.yaml", "SEED", 3)
    assert found == load_cfg("configs/quickstart.yaml", ["SEED", "3"]) and "configs/quickstart.yaml" in origin
    assert detector_recipe(weights, found, {"SEED": 4})[0].SEED == 4


def test_the_recipe_of_the_zoo(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unseg_d2.detectors.recipe.resolve", lambda name: str(weights))
    found, origin = detector_recipe("zoo:cutler_cascade_final", None, "MODEL.DEVICE", "cpu")
    assert found == load_cfg(f"configs/{entries()['cutler_cascade_final'].recipe}", ["MODEL.DEVICE", "cpu"])
    assert origin.endswith("the recipe of the zoo entry")


def test_without_any_recipe_it_is_the_base(weights: Path) -> None:
    (weights.parent / "config.yaml").unlink()
    found, origin = detector_recipe(weights)
    assert found == load_cfg("configs/base_cascade_mask_rcnn_R_50_FPN.yaml") and "because none was named" in origin


def test_a_checkpoint_that_does_not_fit_names_the_recipe(weights: Path) -> None:
    (weights.parent / "config.yaml").unlink()
    with pytest.raises(UnsegError, match=r"Expected: .*\(recipe: base_cascade_mask_rcnn") as error:
        Detector.load(weights, "MODEL.DEVICE", "cpu", "ENGINE", "builtin")
    assert len(str(error.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("about", "command"), [({"feature_channels": 5}, "train-saliency"), ({"semantic": {}}, "train-semantic")]
)
def test_a_checkpoint_of_another_task(about: dict, command: str, weights: Path) -> None:
    torch.save({"model": {"head.weight": torch.zeros(1)}, "recipe": "SEED: 1", **about}, weights)
    with pytest.raises(
        UnsegError, match=f"model_final.pth is a .* of {command}\\.\nExpected: a detector\\.\nTo use it"
    ):
        Detector.load(weights, "ENGINE", "builtin")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere.pth", "There is no checkpoint nowhere.pth"),
        ("zoo:cutler", "The model zoo has no 'cutler'"),
        ("zoo:dino_resnet50", "zoo:dino_resnet50 is not a detector"),
        ("zoo:cuts3d", "cuts3d is published without an address of the file: fetch it with a browser"),
    ],
)
def test_no_checkpoint(name: str, sentence: str) -> None:
    with pytest.raises(UnsegError, match=sentence):
        Detector.load(name)


def test_a_recipe_beside_it_of_another_project(weights: Path) -> None:
    (weights.parent / "config.yaml").write_text("VIS_PERIOD: 0\nNO_SUCH_KEY: 1\n")
    with pytest.raises(UnsegError, match=r"Unknown key .* Recipe used: .*config.yaml.*; name another one"):
        Detector.load(weights)


def test_what_is_no_image(weights: Path) -> None:
    with pytest.raises(UnsegError, match="leave out the alpha channel"):
        Detector.load(weights)([np.zeros((64, 64, 4), np.uint8)])


def test_pickled_objects_need_trust(weights: Path) -> None:
    content = torch.load(weights)
    torch.save({**content, "callback": print}, weights)
    with pytest.raises(UnsegError, match="pickled objects, which could run code"):
        Detector.load(weights)
    assert Detector.load(weights, trust_checkpoint=True).cfg.MODEL.TRUST_CHECKPOINT
