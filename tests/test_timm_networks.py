"""Networks of timm: names of weights from other codes, and what timm's tags say of them."""

from __future__ import annotations

import re

import pytest
import timm
import torch
from torch import Tensor

from unseg_d2.errors import UnsegError
from unseg_d2.timm_networks import make_network, network_names, supervision_of_tag


def shuffled(name: str) -> dict[str, Tensor]:
    """A whole network's weights, each different from all others."""
    torch.manual_seed(1)
    state = timm.create_model(name, num_classes=7).state_dict()
    return {key: torch.randn_like(value) if value.is_floating_point() else value for key, value in state.items()}


def assert_found(given: dict[str, Tensor], name: str) -> None:
    """The names of a file become those of the network, with the values of timm's whole network."""
    network, whole = make_network(name, "KEY").model, shuffled(name)
    found = network_names(given, network)
    assert set(found) == set(network.state_dict())
    assert all(torch.equal(tensor, whole[key]) for key, tensor in found.items())


def efficientnet_pytorch(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename timm's EfficientNet as EfficientNet-PyTorch does: each layer is named by hand, blocks counted through."""
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    others = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"}
    others |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}
    frame = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    depths = [1, 2, 2, 3, 3, 4, 1]  # of B0, to which Lite0 is equal
    renamed = {}
    for key, value in state.items():
        block = re.match(r"blocks\.(\d+)\.(\d+)\.(\w+)\.(\w+)$", key)
        if block is None:
            layer, _, rest = key.partition(".")
            renamed[f"{frame[layer]}.{rest}"] = value
        else:
            number = sum(depths[: int(block[1])]) + int(block[2])
            layer = (others if int(block[1]) else first)[block[3]]
            renamed[f"_blocks.{number}.{layer}.{block[4]}"] = value
    return renamed


def test_efficientnet_pytorch():
    given = efficientnet_pytorch(shuffled("tf_efficientnet_lite0"))
    assert len(given) == 296
    assert_found(given, "tf_efficientnet_lite0")


@pytest.mark.parametrize(
    ("prefix", "beside"),
    [
        ("", "fc.weight"),
        ("backbone.", "head.mlp.0.weight"),  # DINO's teacher
        ("module.encoder_q.", "module.queue"),  # MoCo v2
        ("module.base_encoder.", "module.momentum_encoder.conv1.weight"),  # MoCo v3
        ("module.backbone.", "module.head.weight"),
    ],
)
def test_wrapped_networks(prefix: str, beside: str):
    given = {prefix + key: value for key, value in shuffled("resnet18").items()}
    assert_found(given | {beside: torch.zeros(3)}, "resnet18")


def test_convnext_of_its_authors():
    renamed = {}
    for key, value in shuffled("convnext_atto").items():
        if key.startswith("head"):
            continue
        key = re.sub(r"^stem\.(\d)", r"downsample_layers.0.\1", key)
        key = re.sub(r"^stages\.(\d)\.downsample\.(\d)", r"downsample_layers.\1.\2", key)
        key = re.sub(r"^stages\.(\d)\.blocks\.(\d)", r"stages.\1.\2", key)
        key = key.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        renamed[key] = value
    assert_found(renamed | {"norm.weight": torch.ones(3), "norm.bias": torch.ones(3)}, "convnext_atto")


def test_weights_of_another_network_stay_foreign():
    found = network_names(shuffled("resnet18"), make_network("tf_efficientnet_lite0", "KEY").model)
    assert "layer1.0.conv1.weight" in found  # for the message that says so


@pytest.mark.parametrize("name", ["resnet1818", "tf_efficientnet_lite9"])
def test_unknown_networks(name: str):
    with pytest.raises(UnsegError, match=f"KEY is {name}, which timm does not have.*Did you mean"):
        make_network(name, "KEY")


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("a1_in1k", ("imagenet-labels",)),
        ("fb_in22k_ft_in1k", ("imagenet-labels",)),
        ("clip_laion2b_ft_in12k_in1k", ("imagenet-labels", "text-image")),
        ("openai", ("text-image",)),
        ("dino", ("none",)),
        ("lvd142m", ("none",)),
        ("dinov3_lvd1689m", ("none",)),
        ("mae", ("none",)),
        ("jft300m", ()),
        ("", ()),
    ],
)
def test_tags(tag: str, words: tuple[str, ...]):
    assert supervision_of_tag(tag) == words
