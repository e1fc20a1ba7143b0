"""Networks of timm as backbones: their maps, their files, and the same detector with either engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from fvcore.common.config import CfgNode

from unseg_d2.config import edited
from unseg_d2.data.catalog import load_dataset
from unseg_d2.detectors import timm_backbone
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.checkpoints import load_weights, save_checkpoint
from unseg_d2.detectors.postprocess import to_prediction
from unseg_d2.detectors.protocol import detectron2_availability, select_engine
from unseg_d2.detectors.timm_backbone import TimmFeatures
from unseg_d2.errors import UnsegError

needs_detectron2 = [
    pytest.mark.detectron2,
    pytest.mark.skipif(not detectron2_availability()[0], reason=detectron2_availability()[1]),
]
RESNET, SWIN, VIT = "resnet18", "swin_tiny_patch4_window7_224", "vit_tiny_patch16_224"
TIMM = {"MODEL__BACKBONE__NAME": "build_timm_fpn_backbone"}


@pytest.fixture
def timm_cfg(tiny_cfg: Callable[..., CfgNode]) -> Callable[..., CfgNode]:
    def make(name: str, **overrides: Any) -> CfgNode:
        return tiny_cfg(**TIMM, MODEL__TIMM__BASE_NAME=name, **overrides)

    return make


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        (RESNET, [64, 128, 256, 512]),
        (SWIN, [96, 192, 384, 768]),
        (VIT, [48, 96, 192, 192]),
        ("vit_small_patch8_224", [192, 384, 384, 384]),
    ],
)
def test_maps_of_every_stride_at_any_size(name: str, channels: list[int]) -> None:
    network = TimmFeatures(name)
    maps = network(torch.randn(1, 3, 64, 96))
    assert network.channels == channels
    assert {key: tuple(part.shape[1:]) for key, part in maps.items()} == {
        f"res{level}": (width, 64 >> level, 96 >> level) for level, width in zip((2, 3, 4, 5), channels)
    }
    sum(part.sum() for part in maps.values()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())  # or several processes would wait


def test_maps_are_those_of_timm() -> None:
    network = TimmFeatures(RESNET).eval()
    reference = timm.create_model(RESNET, features_only=True, out_indices=(1, 2, 3, 4)).eval()
    reference.load_state_dict(network.model.state_dict(), strict=False)
    images = torch.randn(1, 3, 64, 64)
    for own, other in zip(network(images).values(), reference(images), strict=True):
        torch.testing.assert_close(own, other)


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("resnet1018", {}, r"BASE_NAME is resnet1018, which timm does not have"),
        ("vit_small_patch14_dinov2", {}, r"maps of stride 14, 14, 14, but a pyramid needs 4, 8, 16 and 32"),
        (VIT, {"MODEL__TIMM__NORM": "FrozenBN"}, "the network has no BatchNorm"),
        (RESNET, {"INPUT__FORMAT": "BGR"}, "networks of timm take RGB"),
        (RESNET, {"MODEL__BACKBONE__FREEZE_AT": 2}, "FREEZE_AT is 2, but build_timm_fpn_backbone freezes nothing"),
    ],
)
def test_what_does_not_go_is_refused(
    name: str, overrides: dict[str, Any], message: str, timm_cfg: Callable[..., CfgNode]
) -> None:
    with pytest.raises(UnsegError, match=message):
        build_model(timm_cfg(name, **overrides))


def test_frozen_batch_norm(timm_cfg: Callable[..., CfgNode]) -> None:
    network = build_model(timm_cfg(RESNET, MODEL__TIMM__NORM="FrozenBN")).backbone.bottom_up
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    assert "model.bn1.running_mean" in network.state_dict()


def test_weights_that_cannot_be_downloaded(timm_cfg: Callable[..., CfgNode], monkeypatch: pytest.MonkeyPatch) -> None:
    original = timm.create_model

    def offline(name: str, pretrained: bool = False, **options: Any) -> torch.nn.Module:
        if pretrained:
            raise OSError("no network")
        return original(name, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UnsegError, match=r"weights of resnet18 cannot be downloaded \(OSError\); without a network"):
        build_model(timm_cfg(RESNET, MODEL__TIMM__PRETRAINED=True))
    build_model(timm_cfg(RESNET, MODEL__TIMM__PRETRAINED=True, MODEL__WEIGHTS="detector.pth"))  # which has them all


def test_pixel_statistics_must_be_those_of_the_weights(
    timm_cfg: Callable[..., CfgNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    create = timm_backbone._create
    monkeypatch.setattr(timm_backbone, "_create", lambda name, pretrained: create(name, False))
    build_model(timm_cfg(RESNET, MODEL__TIMM__PRETRAINED=True))  # ImageNet's, as the base recipe has them
    with pytest.raises(UnsegError, match=r"PIXEL_MEAN is .* were trained with \[127\.5, 127\.5, 127\.5\]; set it"):
        build_model(timm_cfg(VIT, MODEL__TIMM__PRETRAINED=True))


@pytest.mark.parametrize(
    "wrap", [lambda state: state, lambda state: {"teacher": {f"backbone.{k}": v for k, v in state.items()}}]
)
@pytest.mark.parametrize("name", [RESNET, VIT])
def test_a_file_of_the_network_alone(
    name: str, wrap: Callable[..., Any], timm_cfg: Callable[..., CfgNode], tmp_path: Path
) -> None:
    bare = timm.create_model(name, num_classes=7)
    torch.save(wrap(bare.state_dict()), tmp_path / "backbone.pth")
    model = build_model(timm_cfg(name))
    head = model.roi_heads.mask_head.predictor.weight.clone()
    load_weights(model, tmp_path / "backbone.pth", to_start=True)
    own, given = model.backbone.bottom_up.model.state_dict(), bare.state_dict()
    assert all(torch.equal(tensor, given[key]) for key, tensor in own.items())
    assert torch.equal(model.roi_heads.mask_head.predictor.weight, head)
    with pytest.raises(UnsegError, match="alone, without a detector"):
        load_weights(model, tmp_path / "backbone.pth")


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs_detectron2) for name in (RESNET, SWIN, VIT)])
@pytest.mark.parametrize("heads", ["CascadeROIHeads", "StandardROIHeads"])
def test_both_engines_are_the_same_network(
    name: str, heads: str, timm_cfg: Callable[..., CfgNode], make_sample: Callable, tmp_path: Path
) -> None:
    from detectron2.modeling import build_model as build_detectron2
    from detectron2.utils.events import EventStorage

    from unseg_d2.detectors.detectron2.config import to_detectron2
    from unseg_d2.detectors.detectron2.engine import to_detections
    from unseg_d2.detectors.detectron2.inputs import to_input

    everything = {"MODEL__RPN__BATCH_SIZE_PER_IMAGE": 100_000, "MODEL__ROI_HEADS__BATCH_SIZE_PER_IMAGE": 100_000}
    cfg = timm_cfg(name, MODEL__ROI_HEADS__NAME=heads, **everything)
    own, other = build_model(cfg), build_detectron2(to_detectron2(cfg))
    with torch.no_grad():  # scores and boxes that differ
        for key, tensor in own.state_dict().items():
            if any(part in key for part in ("cls_score.weight", "cls_logits.weight", "bbox_pred.weight")):
                tensor *= 20
    save_checkpoint(tmp_path / "own.pth", own)
    load_weights(other, tmp_path / "own.pth")
    save_checkpoint(tmp_path / "other.pth", other)
    load_weights(own, tmp_path / "other.pth")
    sample = make_sample(64, 96, instances=3)
    data = to_input(sample, channel_order="RGB")
    losses = []
    for network, batch in ((own, [sample]), (other, [data])):
        torch.manual_seed(0)
        with EventStorage():
            losses.append(network.train()(batch))
    assert losses[0].keys() == losses[1].keys()
    for key, loss in losses[0].items():
        assert loss.item() == pytest.approx(losses[1][key].item(), rel=1e-4, abs=1e-6), key
    with torch.no_grad():
        found = to_prediction({"image_id": 1}, sample, own.eval()([sample])[0])
        output = other.eval().inference([data], do_postprocess=False)[0]
        expected = to_prediction({"image_id": 1}, sample, to_detections(output))
    assert len(found) == len(expected) > 5
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-2)


@pytest.mark.parametrize("engine", ["builtin", pytest.param("detectron2", marks=needs_detectron2)])
@pytest.mark.parametrize("name", [RESNET, VIT])
def test_trains_and_predicts(
    engine: str, name: str, timm_cfg: Callable[..., CfgNode], labels: Path, tmp_path: Path
) -> None:
    data = {"DATASETS__TRAIN": (str(labels),), "INPUT__MIN_SIZE_TRAIN": (72,), "INPUT__MIN_SIZE_TEST": 72}
    cfg = timm_cfg(name, OUTPUT_DIR=tmp_path / "run", SOLVER__MAX_ITER=2, MODEL__TIMM__PRETRAINED=False, **data)
    cfg.freeze()
    weights = select_engine(engine).train(cfg, resume=False)
    start = edited(cfg, {"MODEL.WEIGHTS": str(weights), "OUTPUT_DIR": str(tmp_path / "next"), "SOLVER.MAX_ITER": 1})
    assert select_engine(engine).train(start, resume=False).is_file()
    cfg = edited(cfg, {"MODEL.TIMM.PRETRAINED": True})  # nothing is downloaded to predict
    records = load_dataset(str(labels), cfg)[:2]
    assert len(list(select_engine(engine).predict(cfg, records, weights=str(weights)))) == 2


@pytest.mark.detectron2
@pytest.mark.skipif(not detectron2_availability()[0], reason=detectron2_availability()[1])
def test_another_project_may_have_a_function_of_the_same_name(timm_cfg: Callable[..., CfgNode]) -> None:
    from detectron2.modeling import BACKBONE_REGISTRY

    from unseg_d2.detectors.detectron2.config import to_detectron2

    assert "build_timm_fpn_backbone" not in BACKBONE_REGISTRY
    assert to_detectron2(timm_cfg(RESNET)).MODEL.BACKBONE.NAME == "build_unseg_timm_fpn_backbone"
