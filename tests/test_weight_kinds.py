"""What a file of weights is, told of networks built by other libraries and of names written out by hand."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import Tensor

from unseg_d2.weight_files import network_of, unwrapped
from unseg_d2.weight_kinds import kind_of, kind_of_file


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


RESNET = {name: tensor.detach() for name, tensor in torchvision.models.resnet50().state_dict().items()}
VIT = timm.create_model("vit_small_patch8_224.dino", num_classes=0).state_dict()


@pytest.mark.parametrize(
    "prefix", ["", "module.", "module.backbone.", "_model.", "teacher_embedding_model.wrapped_model._model."]
)
def test_prefixes_are_passed_over(prefix: str) -> None:
    assert kind_of(prefixed(RESNET, prefix)).text == "a ResNet-50 alone, without a detector"
    assert kind_of(prefixed(VIT, prefix)).text == "a vision transformer of 12 blocks, 384 channels, patches of 8 px"


@pytest.mark.parametrize(
    "content",
    [
        VIT,
        {"model": VIT},
        {"state_dict": {"model": VIT}},
        {"student": prefixed(RESNET, "module.backbone."), "teacher": prefixed(VIT, "backbone."), "epoch": 3},
        {"teacher": {"state_dict": prefixed(VIT, "_orig_mod.module.backbone.")}},
        {name: tensor.numpy() for name, tensor in VIT.items()},
    ],
)
def test_wrappers_are_entered(content: dict) -> None:
    found = unwrapped(network_of(content), lambda names: "patch_embed.proj.weight" in names)
    assert found.keys() == VIT.keys() and all(torch.equal(found[name], VIT[name]) for name in VIT)
    assert kind_of_file(content).part == "vit"


@pytest.mark.parametrize(
    ("names", "part", "text"),
    [
        (
            ["embeddings.cls_token", "encoder.layer.0.a.weight", "encoder.layer.1.a.weight"],
            "vit",
            "of 2 blocks in Hugging",
        ),
        (["weight", "bias"], "linear", "a linear saliency head"),
        (["net.cluster1.0.weight", "cluster_probe.clusters"], "stego", "a STEGO or HP checkpoint"),
        (["a.b", "c.d"], "other", "a file of 2 tensors whose names begin with a.b, c.d"),
        (["backbone.bottom_up.model.a"], "resnet", "a network of timm alone, without"),
        ([], "nothing", "a file without weights"),
    ],
)
def test_other_files(names: list[str], part: str, text: str) -> None:
    found = kind_of({name: torch.zeros(1) for name in names})
    assert found.part == part and text in found.text


def test_detectors() -> None:
    stages = {f"roi_heads.box_predictor.{stage}.cls_score.weight": torch.zeros(81, 4) for stage in range(3)}
    assert kind_of(stages).text == "a cascade of 3 box heads without masks on a backbone, 80 classes"
    single = {"roi_heads.box_predictor.cls_score.weight": torch.zeros(2, 4), "roi_heads.mask_head.x": torch.zeros(1)}
    assert kind_of(single).text == "a detector with one box head and masks on a backbone, 1 class"


def test_checkpoints_of_the_small_networks() -> None:
    weights = {"a": torch.zeros(1)}
    assert kind_of_file({"model": weights, "task": "semantic"}).part == "semantic"
    assert kind_of_file({"model": weights, "feature_channels": 3}).part == "saliency"  # of an earlier version
    assert kind_of_file([weights]).part == "nothing"
