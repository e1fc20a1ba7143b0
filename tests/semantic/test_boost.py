"""Heads and clusters out of checkpoints in the forms of STEGO and HP."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from unseg_d2.errors import UnsegError
from unseg_d2.semantic.boost import read_boost

CHANNELS, WIDTH, CLUSTERS = 12, 5, 4


def head(prefix: str = "", *, hidden: bool = True) -> dict[str, Tensor]:
    torch.manual_seed(0)
    tensors = {"cluster1.0.weight": torch.randn(WIDTH, CHANNELS, 1, 1), "cluster1.0.bias": torch.randn(WIDTH)}
    if hidden:
        tensors |= {
            "cluster2.0.weight": torch.randn(CHANNELS, CHANNELS, 1, 1),
            "cluster2.0.bias": torch.randn(CHANNELS),
            "cluster2.2.weight": torch.randn(WIDTH, CHANNELS, 1, 1),
            "cluster2.2.bias": torch.randn(WIDTH),
        }
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def stego(path: Path, **more: object) -> Path:
    state = head("net.") | {
        "net.model.blocks.0.norm1.weight": torch.ones(CHANNELS),
        "cluster_probe.clusters": 3 * torch.eye(CLUSTERS, WIDTH),
        "linear_probe.weight": torch.ones(CLUSTERS, WIDTH, 1, 1),
    }
    torch.save({"state_dict": state, "epoch": 3, **more}, path)
    return path


def test_stego(tmp_path: Path) -> None:
    network, clusters = read_boost(stego(tmp_path / "stego.ckpt"))
    torch.testing.assert_close(clusters, torch.eye(CLUSTERS, WIDTH))
    features, tensors = torch.randn(CHANNELS), {name: tensor.squeeze() for name, tensor in head().items()}
    hidden = (tensors["cluster2.0.weight"] @ features + tensors["cluster2.0.bias"]).clamp(min=0)
    expected = tensors["cluster1.0.weight"] @ features + tensors["cluster1.0.bias"]
    expected = expected + tensors["cluster2.2.weight"] @ hidden + tensors["cluster2.2.bias"]
    torch.testing.assert_close(network(features.view(1, -1, 1, 1)).flatten(), expected)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_hp_and_a_head_without_hidden_layer(tmp_path: Path) -> None:
    content = {
        "net_model_state_dict": head(hidden=False),
        "cluster_model_state_dict": {"clusters": torch.eye(CLUSTERS, WIDTH)},
        "best": 1.0,
    }
    torch.save(content, tmp_path / "hp.pth")
    network, clusters = read_boost(tmp_path / "hp.pth")
    assert network.cluster2 is None and clusters.shape == (CLUSTERS, WIDTH)


class Settings:
    """Stands for the pickled settings in published checkpoints."""


def test_pickled_settings_need_trust(tmp_path: Path) -> None:
    path = stego(tmp_path / "stego.ckpt", hyper_parameters=Settings())
    with pytest.raises(UnsegError, match=r"could run code.* or MODEL\.TRUST_CHECKPOINT True"):
        read_boost(path)
    assert len(read_boost(path, trust=True)[1]) == CLUSTERS


def test_what_is_no_such_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    with pytest.raises(UnsegError, match="There is no checkpoint"):
        read_boost(path)
    torch.save({"model": {"conv.weight": torch.ones(1)}}, path)
    with pytest.raises(UnsegError, match="holds no clusters"):
        read_boost(path)
    torch.save({"cluster_probe.clusters": torch.eye(3)}, path)
    with pytest.raises(UnsegError, match="holds no head"):
        read_boost(path)
    torch.save(head("net.") | {"cluster_probe.clusters": torch.eye(3)}, path)
    with pytest.raises(UnsegError, match=r"clusters in .* are \(3, 3\), but its head makes codes of 5"):
        read_boost(path)
    path.write_bytes(b"damaged")
    with pytest.raises(UnsegError, match=r"cannot be read|could run code"):
        read_boost(path)
