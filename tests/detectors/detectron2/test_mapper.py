"""The mapper gives Detectron2's loaders what the loader of this project gives, copy-paste included."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
from detectron2.config import CfgNode, get_cfg
from detectron2.data import build_detection_test_loader, build_detection_train_loader
from detectron2.data.datasets import register_coco_instances

from unseg_d2.data.loader import build_train_loader
from unseg_d2.detectors.detectron2.inputs import TestInputs, TrainingInputs
from unseg_d2.detectors.detectron2.records import dataset_records
from unseg_d2.detectron2 import UnsegDatasetMapper, add_unseg_config
from unseg_d2.errors import UnsegError

pytestmark = pytest.mark.detectron2
CUTS3D = Path(__file__).resolve().parents[3] / "configs" / "cuts3d" / "cascade_mask_rcnn_R_50_FPN.yaml"
OPTIONS = {
    "INPUT.MIN_SIZE_TRAIN": (72, 96, 120),
    "INPUT.MIN_SIZE_TEST": 96,
    "SOLVER.IMS_PER_BATCH": 4,
    "DATALOADER.NUM_WORKERS": 0,
    "MODEL.DEVICE": "cpu",
    "SEED": 3,
}


@pytest.fixture
def make_cfg(register: Callable[..., str]) -> Callable[..., CfgNode]:
    """Return ``make(**overrides)``: CutS3D's recipe as a Detectron2 project reads it."""

    def make(**overrides: Any) -> CfgNode:
        cfg = get_cfg()
        add_unseg_config(cfg)
        cfg.merge_from_file(str(CUTS3D))
        values = {"DATASETS.TRAIN": (register(),), **OPTIONS}
        values |= {key.replace("__", "."): value for key, value in overrides.items()}
        cfg.merge_from_list([item for pair in values.items() for item in pair])
        return cfg

    return make


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Compare two inputs of a network bit by bit."""
    assert one.keys() == other.keys() and one["file_name"] == other["file_name"]
    assert torch.equal(one["image"], other["image"])
    assert one["unseg_d2"] == other["unseg_d2"]
    first, second = one["instances"], other["instances"]
    assert first.get_fields().keys() == second.get_fields().keys()
    assert torch.equal(first.gt_boxes.tensor, second.gt_boxes.tensor)
    assert torch.equal(first.gt_boxes.scores, second.gt_boxes.scores)
    assert torch.equal(first.gt_masks.tensor, second.gt_masks.tensor)
    if first.has("gt_confidence"):
        assert torch.equal(first.gt_confidence.confidence, second.gt_confidence.confidence)


@pytest.mark.parametrize("paste", [True, False])
def test_the_same_draws_give_the_same_input_as_the_loader(make_cfg: Callable[..., CfgNode], paste: bool) -> None:
    cfg = make_cfg(DATALOADER__COPY_PASTE=paste)
    records = dataset_records("certain")
    batches = list(islice(TrainingInputs(build_train_loader(records, cfg), cfg), 3))
    mapper, by_file = UnsegDatasetMapper(cfg, True), {record["file_name"]: record for record in records}
    for number, batch in enumerate(batches):
        for place, data in enumerate(batch):
            assert_same(mapper.draw(by_file[data["file_name"]], np.random.default_rng([3, number, place])), data)
    pasted = [len(data["instances"]) > len(by_file[data["file_name"]]["annotations"]) for b in batches for data in b]
    assert any(pasted) == paste


@pytest.mark.parametrize("workers", [0, 2])
def test_detectron2s_loader_pastes_in_its_own_processes(make_cfg: Callable[..., CfgNode], workers: int) -> None:
    cfg = make_cfg(DATALOADER__NUM_WORKERS=workers)
    loader = build_detection_train_loader(cfg, mapper=UnsegDatasetMapper(cfg, True))
    counts = {record["file_name"]: len(record["annotations"]) for record in dataset_records("certain")}
    seen = [data for batch in islice(loader, 3) for data in batch]
    assert len(seen) == 12
    for data in seen:
        assert data["unseg_d2"] == {"copy_paste": True}
        assert len(data["instances"]) == len(data["instances"].gt_boxes.scores)
    assert sum(data["instances"].has("gt_confidence") for data in seen) > 6
    assert sum(len(data["instances"]) - counts[data["file_name"]] for data in seen) > 6


def test_granularity_is_that_of_the_recipe(make_cfg: Callable[..., CfgNode]) -> None:
    """Other projects may hold records that our loaders have not seen; text in the field is none of ours."""
    cfg = make_cfg(DATALOADER__COPY_PASTE=False, DATASETS__GRANULARITY=(0.3, 1.0))
    mapper, record = UnsegDatasetMapper(cfg, True), copy.deepcopy(dataset_records("certain")[0])
    some = [copy.deepcopy(record["annotations"][0]) for _ in range(4)]
    for item, coarse in zip(some, (0.2, 0.3, "fine", None)):
        item |= {"granularity": coarse}
    assert len(mapper(record | {"annotations": some})["instances"]) == 3


def test_a_seed_of_numpy_decides(make_cfg: Callable[..., CfgNode]) -> None:
    mapper, record = UnsegDatasetMapper(make_cfg(), True), dataset_records("certain")[0]
    inputs = []
    for seed in (0, 0, 1):
        np.random.seed(seed)
        inputs.append(mapper(record))
    assert_same(inputs[0], inputs[1])
    assert inputs[0]["image"].shape != inputs[2]["image"].shape or (inputs[0]["image"] != inputs[2]["image"]).any()


def test_test_images_are_those_of_our_loader(make_cfg: Callable[..., CfgNode]) -> None:
    cfg = make_cfg()
    loader = build_detection_test_loader(cfg, "certain", mapper=UnsegDatasetMapper(cfg, False))
    for (one,), (other,) in zip(loader, TestInputs(dataset_records("certain"), cfg), strict=True):
        assert one.keys() == other.keys() and torch.equal(one["image"], other["image"])
        assert (one["image_id"], one["height"], one["width"]) == (other["image_id"], other["height"], other["width"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({}, "no mask has a spatial confidence"),
        (
            {
                "MODEL__ROI_MASK_HEAD__CONFIDENCE": "none",
                "DATALOADER__COPY_PASTE_SELECTION": "random",
                "DATALOADER__COPY_PASTE_BLEND": "hard",
                "MODEL__ROI_HEADS__USE_SOFT_TARGETS": True,
            },
            "USE_SOFT_TARGETS True, but no mask has a score",
        ),
    ],
)
def test_a_registration_that_drops_what_the_recipe_needs(
    make_cfg: Callable[..., CfgNode],
    register: Callable[..., str],
    labels: Path,
    certain_labels: Path,
    overrides: dict[str, Any],
    message: str,
) -> None:
    cfg = make_cfg(**overrides)
    register_coco_instances("stock", {}, str(certain_labels), str(labels.parent / "images"))
    cfg.DATASETS.TRAIN = ("stock",)
    with pytest.raises(UnsegError, match=f"{message}.* If the file of stock has it, register .* register_label_set"):
        UnsegDatasetMapper(cfg, True)
    cfg.DATASETS.TRAIN = (register("plain", labels),)
    with pytest.raises(UnsegError, match=message) as caught:
        UnsegDatasetMapper(cfg, True)
    assert "register_coco" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"DATALOADER__COPY_PASTE_SOURCE": "batch"}, "COPY_PASTE_SOURCE batch needs whole batches"),
        ({"DATALOADER__COPY_PASTE_DEVICE": "model"}, "COPY_PASTE_DEVICE model needs whole batches"),
        ({"DATALOADER__VISUALIZE_COPY_PASTE": True}, "VISUALIZE_COPY_PASTE has no effect with a mapper"),
        ({"INPUT__CROP__ENABLED": True}, "INPUT.CROP do not work: enabled must be False"),
        ({"MODEL__KEYPOINT_ON": True}, "MODEL.KEYPOINT_ON True has no effect"),
    ],
)
def test_keys_without_effect_are_refused(
    make_cfg: Callable[..., CfgNode], overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsegError, match=message):
        UnsegDatasetMapper(make_cfg(**overrides), True)


def test_a_configuration_without_our_keys() -> None:
    with pytest.raises(UnsegError, match=r"call add_unseg_config\(cfg\) before"):
        UnsegDatasetMapper(get_cfg(), True)


def test_explicit_arguments_for_a_lazy_config(make_cfg: Callable[..., CfgNode]) -> None:
    arguments = UnsegDatasetMapper.from_config(make_cfg(), True)
    assert UnsegDatasetMapper(**arguments)(dataset_records("certain")[0])["unseg_d2"] == {"copy_paste": True}
    with pytest.raises(UnsegError, match="needs images to paste from"):
        UnsegDatasetMapper(**{**arguments, "sources": None})
