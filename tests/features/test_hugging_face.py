"""Weights under transformers' names are those under timm's."""

from __future__ import annotations

import re

import pytest
import timm
import torch
from torch import Tensor

from unseg_d2.errors import UnsegError
from unseg_d2.features.hugging_face import from_hugging_face, is_hugging_face
from unseg_d2.features.weights import create_vit, load_vit

BLOCKS = 2  # of the networks here; the published ones have 12
ARCHES = ("dino_vits16", "dinov2_vits14", "dinov3_vits16")

# One block and the rest of each layout as its files have them, written down here and not taken from the code.
FILES = {
    "dino_vits16": {
        "encoder.layer.{}.layernorm_before": "norm1",
        "encoder.layer.{}.attention.attention.query": "q",
        "encoder.layer.{}.attention.attention.key": "k",
        "encoder.layer.{}.attention.attention.value": "v",
        "encoder.layer.{}.attention.output.dense": "attn.proj",
        "encoder.layer.{}.layernorm_after": "norm2",
        "encoder.layer.{}.intermediate.dense": "mlp.fc1",
        "encoder.layer.{}.output.dense": "mlp.fc2",
    },
    "dinov2_vits14": {
        "encoder.layer.{}.norm1": "norm1",
        "encoder.layer.{}.attention.attention.query": "q",
        "encoder.layer.{}.attention.attention.key": "k",
        "encoder.layer.{}.attention.attention.value": "v",
        "encoder.layer.{}.attention.output.dense": "attn.proj",
        "encoder.layer.{}.layer_scale1.lambda1": "ls1.gamma",
        "encoder.layer.{}.norm2": "norm2",
        "encoder.layer.{}.mlp.fc1": "mlp.fc1",
        "encoder.layer.{}.mlp.fc2": "mlp.fc2",
        "encoder.layer.{}.layer_scale2.lambda1": "ls2.gamma",
    },
    "dinov3_vits16": {
        "layer.{}.norm1": "norm1",
        "layer.{}.attention.q_proj": "q",
        "layer.{}.attention.k_proj": "k",
        "layer.{}.attention.v_proj": "v",
        "layer.{}.attention.o_proj": "attn.proj",
        "layer.{}.layer_scale1.lambda1": "gamma_1",
        "layer.{}.norm2": "norm2",
        "layer.{}.mlp.up_proj": "mlp.fc1",
        "layer.{}.mlp.down_proj": "mlp.fc2",
        "layer.{}.layer_scale2.lambda1": "gamma_2",
    },
}


def hugging_face(arch: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Timm's weights as a file of transformers has them, with what is in it besides."""
    dim = state["norm.weight"].numel()
    projection = "" if arch.startswith("dinov3") else ".projection"
    norm = "norm" if arch.startswith("dinov3") else "layernorm"
    file = {
        "embeddings.cls_token": state["cls_token"],
        f"embeddings.patch_embeddings{projection}.weight": state["patch_embed.proj.weight"],
        f"embeddings.patch_embeddings{projection}.bias": state["patch_embed.proj.bias"],
        f"{norm}.weight": state["norm.weight"],
        f"{norm}.bias": state["norm.bias"],
    }
    if "pos_embed" in state:
        file["embeddings.position_embeddings"] = state["pos_embed"]
    if "reg_token" in state:
        file["embeddings.register_tokens"] = state["reg_token"]
    file |= {"pooler.dense.weight": torch.ones(2, 2)} if arch.startswith("dino_") else {}
    file |= {} if arch.startswith("dino_") else {"embeddings.mask_token": torch.ones(1, dim)}
    for number in range(BLOCKS):
        block = f"blocks.{number}."
        for pattern, own in FILES[arch].items():
            name = pattern.format(number)
            if own in "qkv":
                rows = slice("qkv".index(own) * dim, ("qkv".index(own) + 1) * dim)
                file[f"{name}.weight"] = state[f"{block}attn.qkv.weight"][rows]
                if f"{block}attn.qkv.bias" in state:
                    file[f"{name}.bias"] = state[f"{block}attn.qkv.bias"][rows]
                elif f"{block}attn.{own}_bias" in state:
                    file[f"{name}.bias"] = state[f"{block}attn.{own}_bias"]
            elif block + own in state:
                file[name] = state[block + own]
            else:
                file |= {f"{name}.{kind}": state[f"{block}{own}.{kind}"] for kind in ("weight", "bias")}
    return file


@pytest.fixture(autouse=True, scope="module")
def small_networks():
    create = timm.create_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm, "create_model", lambda *args, **more: create(*args, depth=BLOCKS, **more))
        yield


@pytest.fixture(scope="module", params=ARCHES)
def network(request):
    torch.manual_seed(0)
    model = create_vit(request.param)
    with torch.no_grad():
        for parameter in model.parameters():  # none stays 0 or 1, which would hide an exchange
            parameter.normal_(std=0.05)
    return request.param, model.state_dict()


@pytest.mark.parametrize("prefix", ["", "vit.", "dinov2.", "model.", "module.", "_orig_mod.", "module._orig_mod.vit."])
def test_a_file_holds_the_weights_of_timm(network, tmp_path, prefix):
    arch, state = network
    file = {prefix + key: value for key, value in hugging_face(arch, state).items()}
    if prefix:
        file |= {"classifier.weight": torch.ones(10, 384), "step": torch.ones(1)}
    torch.save(file, tmp_path / "model.pth")
    loaded = load_vit(arch, str(tmp_path / "model.pth")).state_dict()
    assert loaded.keys() == state.keys()
    assert all(value.equal(state[key]) for key, value in loaded.items())


def test_of_teacher_and_student_it_is_the_teacher(network, tmp_path):
    arch, state = network
    file = hugging_face(arch, state)
    both = {f"student.vit.{key}": -value for key, value in file.items()}
    torch.save(both | {f"teacher.vit.{key}": value for key, value in file.items()}, tmp_path / "model.pth")
    loaded = load_vit(arch, str(tmp_path / "model.pth")).state_dict()
    assert all(value.equal(state[key]) for key, value in loaded.items())


@pytest.mark.parametrize(
    "lost, named",
    [
        ("layer.1.norm1.bias", "1 missing: blocks.1.norm1.bias"),
        ("layer.1.attention.k_proj.weight", "1 missing: blocks.1.attn.qkv.weight; 2 unexpected"),
    ],
)
def test_what_a_file_lacks_is_named(tmp_path, lost, named):
    file = hugging_face("dinov3_vits16", create_vit("dinov3_vits16").state_dict())
    del file[lost]
    torch.save(file, tmp_path / "model.pth")
    with pytest.raises(UnsegError, match=re.escape(named)):
        load_vit("dinov3_vits16", str(tmp_path / "model.pth"))


def test_a_layer_that_the_network_lacks_is_named(tmp_path):
    """Larger networks have a gate in their MLP, which ours do not."""
    file = hugging_face("dinov3_vits16", create_vit("dinov3_vits16").state_dict())
    file["layer.0.mlp.gate_proj.weight"] = torch.ones(2, 2)
    torch.save(file, tmp_path / "model.pth")
    with pytest.raises(UnsegError, match=r"1 unexpected: layer\.0\.mlp\.gate_proj\.weight"):
        load_vit("dinov3_vits16", str(tmp_path / "model.pth"))


def test_timm_s_names_are_not_hugging_face_s():
    assert not is_hugging_face({"cls_token": torch.ones(1), "norm.weight": torch.ones(1)})


def reference(arch):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 384, "num_attention_heads": 6, "num_hidden_layers": BLOCKS}
    if arch == "dino_vits16":
        return transformers.ViTModel(transformers.ViTConfig(**sizes, intermediate_size=1536, layer_norm_eps=1e-6))
    if arch == "dinov2_vits14":
        return transformers.Dinov2Model(transformers.Dinov2Config(**sizes, image_size=518, patch_size=14))
    if not hasattr(transformers, "DINOv3ViTModel"):
        pytest.skip("this version of transformers has no DINOv3")
    config = transformers.DINOv3ViTConfig(**sizes, intermediate_size=1536, patch_size=16, num_register_tokens=4)
    return transformers.DINOv3ViTModel(config)


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("stored", [True, False], ids=["file", "memory"])
def test_outputs_are_those_of_transformers(arch, stored, tmp_path):
    """Also with the names that a model has in memory, which are others than those of its file."""
    torch.manual_seed(0)
    theirs = reference(arch).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.05)
    path = tmp_path / "model.safetensors"
    if stored:
        theirs.save_pretrained(tmp_path)
    else:
        path = tmp_path / "model.pth"
        torch.save(theirs.state_dict(), path)
    ours = load_vit(arch, str(path))
    image = torch.randn(1, 3, 518, 518) if arch == "dinov2_vits14" else torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = theirs(image).last_hidden_state
        found = ours.forward_features(image)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


def test_the_state_is_not_changed():
    file = {"vit.embeddings.cls_token": torch.ones(1, 1, 4), "vit.layernorm.weight": torch.ones(4)}
    assert from_hugging_face(file).keys() == {"cls_token", "norm.weight"}
    assert file.keys() == {"vit.embeddings.cls_token", "vit.layernorm.weight"}
