from __future__ import annotations

import argparse
import re

import pytest
import safetensors.torch
import torch

from unseg_d2.config import get_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.features import build_features, weights
from unseg_d2.features.weights import ARCHITECTURES, create_vit, load_vit, read_tensors, rename_keys, weights_checksum


@pytest.fixture(scope="module")
def dino():
    """A random DINO S/16 and its weights; timm's names are DINO's own."""
    torch.manual_seed(0)
    model = create_vit("dino_vits16")
    return model, model.state_dict()


@pytest.fixture(scope="module")
def dinov3():
    torch.manual_seed(0)
    model = create_vit("dinov3_vits16", qkv_bias=True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.05)
    return model, model.state_dict()


def below(prefix: str, state: dict) -> dict:
    return {prefix + key: value for key, value in state.items()}


def dinov3_original(state: dict) -> dict:
    """Timm's DINOv3 weights under the names of the original code."""
    original = {"mask_token": torch.zeros(1, 384), "rope_embed.periods": torch.ones(16)}
    for key, value in state.items():
        if key.endswith("q_bias"):
            stem = key.removesuffix("q_bias")
            key_part = torch.full_like(value, 7.0)  # masked by bias_mask there, so its value must not matter
            original[f"{stem}qkv.bias"] = torch.cat([value, key_part, state[f"{stem}v_bias"]])
            original[f"{stem}qkv.bias_mask"] = torch.zeros(3 * len(value))
        elif not key.endswith("v_bias"):
            key = key.replace("reg_token", "storage_tokens")
            original[re.sub(r"gamma_([12])", r"ls\1.gamma", key)] = value
    return original


HEADS = {"head.mlp.0.weight": torch.zeros(2, 2), "head.last_layer.weight_g": torch.zeros(2)}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": below("module.", s)},
        lambda s: below("_orig_mod.", s),  # torch.compile
        lambda s: {"model": below("module._orig_mod.", s)},
        lambda s: {key.replace("blocks.3.", "blocks.3._orig_mod."): v for key, v in s.items()},
        lambda s: {"teacher": below("backbone.", s) | HEADS, "student": {}, "epoch": 3},  # DINO, full checkpoint
        lambda s: {"student": below("module.backbone.", s) | below("module.", HEADS), "args": argparse.Namespace(a=1)},
        lambda s: {"model": below("module.net.", s) | {"module.head2d_proj.0.weight": torch.ones(1)}},  # DiffNCuts
        lambda s: {"model": below("teacher.backbone.", s) | below("student.backbone.", {k: -v for k, v in s.items()})},
    ],
    ids=[
        "plain",
        "module",
        "compiled",
        "compiled_module",
        "compiled_block",
        "dino_full",
        "dino_student",
        "diffncuts",
        "dinov2_training",
    ],
)
def test_wrapped_files_load(dino, tmp_path, wrap):
    model, state = dino
    torch.save(wrap(state), tmp_path / "weights.pth")
    loaded = load_vit("dino_vits16", str(tmp_path / "weights.pth"))
    assert loaded.state_dict().keys() == state.keys()
    assert all(value.equal(state[key]) for key, value in loaded.state_dict().items())
    assert weights_checksum(loaded) == weights_checksum(model)


def test_safetensors(dino, tmp_path):
    model, state = dino
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors")
    assert weights_checksum(load_vit("dino_vits16", str(tmp_path / "weights.safetensors"))) == weights_checksum(model)


def test_dinov3_original_names(dinov3, tmp_path):
    _, state = dinov3
    torch.save(dinov3_original(state), tmp_path / "weights.pth")
    loaded = load_vit("dinov3_vits16", str(tmp_path / "weights.pth")).state_dict()
    assert loaded.keys() == state.keys()
    assert all(value.equal(state[key]) for key, value in loaded.items())


def test_dinov3_without_bias(tmp_path):
    """The hub's files: no bias at all."""
    state = create_vit("dinov3_vits16", qkv_bias=False).state_dict()
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    assert load_vit("dinov3_vits16", str(tmp_path / "w.safetensors")).state_dict().keys() == state.keys()


def test_dinov2_original_names():
    state = {
        "mask_token": torch.zeros(1),
        "pos_embed": torch.ones(1),
        "blocks.2.11.ls1.gamma": torch.ones(2),  # third chunk, eleventh block
        "blocks.0.3.attn.qkv.bias": torch.ones(3),
    }
    assert rename_keys(state).keys() == {"pos_embed", "blocks.11.ls1.gamma", "blocks.3.attn.qkv.bias"}


def test_every_difference_is_listed(dino, tmp_path):
    state = dict(dino[1])
    del state["blocks.3.norm1.bias"]
    state["extra.weight"] = torch.ones(1)
    state["norm.bias"] = torch.zeros(5)
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(UnsegError) as caught:
        load_vit("dino_vits16", str(tmp_path / "weights.pth"))
    message = str(caught.value)
    assert len(message.splitlines()) == 3
    assert "1 missing: blocks.3.norm1.bias" in message
    assert "1 unexpected: extra.weight" in message
    assert "1 of another shape: norm.bias (5,) instead of (384,)" in message


def test_weights_of_another_architecture(dino, tmp_path):
    torch.save(dino[1], tmp_path / "weights.pth")
    with pytest.raises(
        UnsegError,
        match=r"is a vision transformer of 12 blocks, 384 channels, patches of 16 px\.\n"
        r"Expected: .* patches of 8 px, FEATURES.VIT.ARCH 'dino_vits8'; 2 of another shape: patch_embed.*\n"
        r"Set FEATURES.VIT.ARCH",
    ):
        load_vit("dino_vits8", str(tmp_path / "weights.pth"))


def test_nothing_matches(tmp_path):
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    with pytest.raises(
        UnsegError, match=r"150 missing: blocks.0.attn.proj.bias and others; 1 unexpected: conv1.weight"
    ):
        load_vit("dino_vits16", str(tmp_path / "resnet.pth"))


class Payload:
    """Stands for anything that unpickling would execute."""


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda path: path.write_bytes(b""), "cannot be read as weights|damaged"),
        (lambda path: path.write_bytes(b"not a checkpoint at all"), "cannot be read as weights|damaged"),
        (lambda path: torch.save({"model": Payload()}, path), "could run code"),
        (lambda path: torch.save([1, 2], path), "contains a list"),
    ],
    ids=["empty", "text", "object", "list"],
)
def test_unreadable_file(tmp_path, write, message):
    path = tmp_path / "weights.pth"
    write(path)
    with pytest.raises(UnsegError, match=message):
        read_tensors(str(path))


def test_a_trusted_file_may_hold_other_objects(dino, tmp_path):
    torch.save({"model": dino[1], "settings": Payload()}, tmp_path / "weights.pth")
    with pytest.raises(UnsegError, match=r"add --trust-checkpoint .*trust_checkpoint=True"):
        load_vit("dino_vits16", str(tmp_path / "weights.pth"))
    loaded = load_vit("dino_vits16", str(tmp_path / "weights.pth"), trust=True)
    assert weights_checksum(loaded) == weights_checksum(dino[0])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_file(dino, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    save = torch.save if suffix == ".pth" else safetensors.torch.save_file
    save({"norm.bias": dino[1]["norm.bias"]}, path)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(UnsegError, match=r"cannot be read as weights|damaged"):
        read_tensors(str(path))


def test_missing_file():
    with pytest.raises(UnsegError, match="no such file"):
        read_tensors("/nowhere/weights.pth")


def test_a_folder(tmp_path):
    with pytest.raises(UnsegError, match=r"names the folder '.*', which holds no model.safetensors; name a file"):
        read_tensors(str(tmp_path))
    safetensors.torch.save_file(
        {"norm.weight": torch.ones(2)}, tmp_path / "model.safetensors"
    )  # as Hugging Face's libraries write it
    assert read_tensors(str(tmp_path)).keys() == {"norm.weight"}


def test_unreachable_hub(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise ConnectionError("Name or service not known\nand a second line")

    monkeypatch.setattr(weights, "create_vit", refuse)
    cfg = get_cfg()
    cfg.FEATURES.NAME = "vit"
    with pytest.raises(UnsegError, match=r"dino_vitb8.*Name or service not known.*set FEATURES.WEIGHTS") as caught:
        build_features(cfg)
    assert "\n" not in str(caught.value)


def test_unknown_architecture():
    with pytest.raises(UnsegError, match="Did you mean 'dino_vitb8'"):
        load_vit("dino_vit_b8", "")


def test_every_architecture_is_known_to_timm():
    import timm

    assert set(ARCHITECTURES.values()) <= set(timm.list_models(pretrained=True))


def test_checksum_follows_the_weights(dino):
    model, _ = dino
    before = weights_checksum(model)
    with torch.no_grad():
        model.norm.bias[0] += 1
    after = weights_checksum(model)
    with torch.no_grad():
        model.norm.bias[0] -= 1
    assert after != before == weights_checksum(model)


@pytest.mark.parametrize(
    "wrap", ["_model.", "wrapped_model._model.", "_orig_mod.module.", "module._orig_mod.backbone."]
)
def test_backbones_that_users_pretrained(dino, tmp_path, wrap):
    """What lightly-train exports, and training checkpoints of compiled and distributed networks."""
    torch.save(
        {"epoch": 3, "state_dict": {"model": {wrap + key: value for key, value in dino[1].items()}}},
        tmp_path / "own.pt",
    )
    loaded = load_vit("dino_vits16", str(tmp_path / "own.pt")).state_dict()
    assert all(value.equal(dino[1][key]) for key, value in loaded.items())


def test_pretrained_on_images_of_another_size(tmp_path):
    """DINOv2's published networks have seen 518 pixels; others keep the positions that they have learnt."""
    own = create_vit("dinov2_vits14", image_size=224)
    torch.save(own.state_dict(), tmp_path / "own.pt")
    loaded = load_vit("dinov2_vits14", str(tmp_path / "own.pt"))
    assert loaded.pos_embed.shape == (1, 257, 384) and loaded.pos_embed.equal(own.pos_embed)
    image = torch.rand(1, 3, 42, 56)
    assert loaded.forward_features(image).equal(own.forward_features(image))
