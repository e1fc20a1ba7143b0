"""Checkpoints: complete, safe, and with Detectron2's names."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.checkpoints import detectron2_names, load_weights, save_checkpoint
from unseg_d2.errors import UnsegError
from unseg_d2.loop.checkpoint import last_checkpoint


@pytest.fixture
def model(tiny_cfg: Callable) -> nn.Module:
    return build_model(tiny_cfg())


def randomised(model: nn.Module) -> nn.Module:
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 1.0)
    return model


def test_round_trip(model: nn.Module, tiny_cfg: Callable, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model_0000004.pth", randomised(model), iteration=4)
    assert last_checkpoint(tmp_path) == tmp_path / "model_0000004.pth"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["last_checkpoint", "model_0000004.pth"]
    other = build_model(tiny_cfg())
    assert load_weights(other, tmp_path / "model_0000004.pth")["iteration"] == 4
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_names_on_disk(model: nn.Module) -> None:
    """Names that appear in the published CutLER checkpoints."""
    names = set(detectron2_names(model.state_dict()).values())
    assert len(names) == len(model.state_dict())
    assert {
        "backbone.bottom_up.stem.conv1.weight",
        "backbone.bottom_up.stem.conv1.norm.running_var",
        "backbone.bottom_up.res3.0.shortcut.weight",
        "backbone.bottom_up.res3.0.shortcut.norm.bias",
        "backbone.bottom_up.res5.1.conv2.norm.weight",
        "backbone.fpn_lateral2.weight",
        "backbone.fpn_output5.bias",
        "proposal_generator.rpn_head.conv.weight",
        "proposal_generator.rpn_head.objectness_logits.bias",
        "proposal_generator.rpn_head.anchor_deltas.weight",
        "roi_heads.box_head.0.fc1.weight",
        "roi_heads.box_head.2.fc2.bias",
        "roi_heads.box_predictor.1.cls_score.weight",
        "roi_heads.box_predictor.2.bbox_pred.bias",
        "roi_heads.mask_head.mask_fcn1.weight",
        "roi_heads.mask_head.deconv.weight",
        "roi_heads.mask_head.predictor.bias",
    } <= names


def test_names_of_norms_and_of_a_single_stage(tiny_cfg: Callable) -> None:
    cfg = tiny_cfg(
        MODEL__FPN__NORM="GN", MODEL__ROI_MASK_HEAD__NORM="GN", MODEL__ROI_HEADS__NAME="CustomStandardROIHeads"
    )
    names = set(detectron2_names(build_model(cfg).state_dict()).values())
    assert {"backbone.fpn_lateral3.norm.weight", "roi_heads.mask_head.mask_fcn2.norm.bias"} <= names
    assert {"roi_heads.box_head.fc1.weight", "roi_heads.box_predictor.cls_score.bias"} <= names


@pytest.mark.detectron2
@pytest.mark.parametrize("heads", ["CascadeROIHeads", "StandardROIHeads"])
@pytest.mark.parametrize(("depth", "norm"), [(18, "FrozenBN"), (50, "GN"), (101, "BN")])
def test_names_equal_detectron2s(heads: str, depth: int, norm: str, tiny_cfg: Callable) -> None:
    modeling = pytest.importorskip("detectron2.modeling")
    from unseg_d2.detectors.detectron2.config import to_detectron2

    cfg = tiny_cfg(
        MODEL__RESNETS__DEPTH=depth,
        MODEL__RESNETS__NORM=norm,
        MODEL__RESNETS__RES2_OUT_CHANNELS=64 if depth < 50 else 256,
        MODEL__FPN__NORM="GN" if norm == "GN" else "''",
        MODEL__ROI_HEADS__NAME=heads,
    )
    expected = modeling.build_model(to_detectron2(cfg)).state_dict()
    state = build_model(cfg).state_dict()
    ours = {foreign: state[name].shape for name, foreign in detectron2_names(state).items()}
    assert ours == {name: tensor.shape for name, tensor in expected.items()}


def test_nothing_matches(model: nn.Module, tmp_path: Path) -> None:
    torch.save({"model": {"encoder.weight": torch.zeros(3)}}, tmp_path / "other.pth")
    with pytest.raises(
        UnsegError,
        match=r"begin with encoder.weight\.\nExpected: a cascade of 3 .*; the file holds 0 of its \d+ tensors\.\n",
    ):
        load_weights(model, tmp_path / "other.pth")


def test_part_matches(model: nn.Module, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model.pth", model)
    content = torch.load(tmp_path / "model.pth")
    del content["model"]["backbone.fpn_output3.weight"]
    content["model"]["roi_heads.box_predictor.0.cls_score.weight"] = torch.zeros(81, 64)
    torch.save(content, tmp_path / "model.pth")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UnsegError) as error:
        load_weights(model, tmp_path / "model.pth")
    assert "1 missing in the file (backbone.fpn_output3.weight)" in str(error.value)
    assert "1 of another shape (roi_heads.box_predictor.0.cls_score.weight (81, 64) instead of (2, 64))" in str(
        error.value
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(("heads", "layers"), [("CascadeROIHeads", 4), ("StandardROIHeads", 3)])
def test_a_training_for_other_classes_starts_from_all_but_their_layers(
    heads: str, layers: int, tiny_cfg: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    options = {"MODEL__ROI_HEADS__NAME": heads, "MODEL__ROI_BOX_HEAD__CLS_AGNOSTIC_BBOX_REG": heads[0] == "C"}
    save_checkpoint(tmp_path / "model.pth", randomised(build_model(tiny_cfg(**options))))
    model = build_model(tiny_cfg(MODEL__ROI_HEADS__NUM_CLASSES=5, **options))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UnsegError, match="of another shape"):
        load_weights(model, tmp_path / "model.pth")
    load_weights(model, tmp_path / "model.pth", to_start=True)
    names, given = detectron2_names(before), torch.load(tmp_path / "model.pth")["model"]
    after = model.state_dict()
    kept = {name for name, tensor in after.items() if tensor.shape != given[names[name]].shape}
    assert all(
        torch.equal(tensor, before[name] if name in kept else given[names[name]]) for name, tensor in after.items()
    )
    assert len({name.rpartition(".")[0] for name in kept}) == layers
    (line,) = [message for message in caplog.messages if "Loaded" in message]
    assert line.count(" outputs in the file, ") == layers and "cls_score (2 outputs in the file, 6 here)" in line
    assert "mask_head.predictor (1 outputs in the file, 5 here)" in line


def test_a_deeper_network_does_not_pass_for_a_shallower_one(tiny_cfg: Callable, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model.pth", build_model(tiny_cfg(MODEL__RESNETS__DEPTH=34)))
    with pytest.raises(UnsegError, match="left over"):
        load_weights(build_model(tiny_cfg()), tmp_path / "model.pth")


def torchvision_file(path: Path, prefix: str = "") -> dict[str, torch.Tensor]:
    resnet = randomised(torchvision.models.resnet18())
    state = {prefix + name: tensor for name, tensor in resnet.state_dict().items()}
    torch.save(state, path)
    return resnet.state_dict()


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "_orig_mod.", "module._orig_mod."])
def test_torchvision_backbone(prefix: str, model: nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    resnet = torchvision_file(tmp_path / "resnet.pth", prefix)
    head = model.roi_heads.box_predictor[0].cls_score.weight.clone()
    load_weights(model, tmp_path / "resnet.pth", to_start=True)
    assert torch.equal(model.backbone.bottom_up.stem.conv1.weight, resnet["conv1.weight"])
    assert torch.equal(model.backbone.bottom_up.stem.norm.running_var, resnet["bn1.running_var"])
    assert torch.equal(model.backbone.bottom_up.res4[0].downsample[1].bias, resnet["layer3.0.downsample.1.bias"])
    assert torch.equal(model.roi_heads.box_predictor[0].cls_score.weight, head)
    assert "pyramid and heads keep their initial values" in caplog.text
    with pytest.raises(UnsegError, match="alone, without a detector"):
        load_weights(model, tmp_path / "resnet.pth")


def test_detectron2_backbone_pickle_needs_trust(model: nn.Module, tmp_path: Path) -> None:
    names = detectron2_names(model.state_dict())
    backbone = {
        foreign.removeprefix("backbone.bottom_up."): np.random.rand(*model.state_dict()[name].shape).astype("float32")
        for name, foreign in names.items()
        if foreign.startswith("backbone.bottom_up.") and "num_batches" not in foreign
    }
    content = {"model": {**backbone, "stem.fc.bias": np.zeros(10)}, "__author__": "test", "matching_heuristics": True}
    (tmp_path / "resnet.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(UnsegError, match="--trust-checkpoint"):
        load_weights(model, tmp_path / "resnet.pkl", to_start=True)
    load_weights(model, tmp_path / "resnet.pkl", to_start=True, trust=True)
    np.testing.assert_array_equal(
        model.backbone.bottom_up.res2[0].conv1.weight.detach(), backbone["res2.0.conv1.weight"]
    )
