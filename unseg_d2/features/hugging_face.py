"""Vision transformers under the key names of Hugging Face's transformers: ViT (DINO), DINOv2 and DINOv3.

Files of its version 4 and models in the memory of its version 5 have different names, and both are read. What stands
before ``embeddings.`` is whatever a wrapper added, such as ``vit.``, ``dinov2.`` or ``module.``.

Shape legend
    C      channels of the transformer
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

_FIRST = "embeddings.cls_token"
_BLOCK = re.compile(r"^(?:encoder\.|model\.)?layers?\.(\d+)\.(.+)\.(\w+)$")
_QKV = re.compile(r"^attention\.(?:attention\.(query|key|value)|([qkv])_proj)$")
_BACKBONE = re.compile(r"(encoder|model|layers?|embeddings|layernorm|norm)\.(?!mask_token$)")
_TOP = {
    "embeddings.cls_token": "cls_token",
    "embeddings.register_tokens": "reg_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "embeddings.patch_embeddings": "patch_embed.proj",
    "layernorm": "norm",
    "norm": "norm",
}
_IN_BLOCK = {
    "layernorm_before": "norm1",
    "norm1": "norm1",
    "attention.output.dense": "attn.proj",
    "attention.o_proj": "attn.proj",
    "layer_scale1": "ls1",
    "layernorm_after": "norm2",
    "norm2": "norm2",
    "intermediate.dense": "mlp.fc1",
    "mlp.up_proj": "mlp.fc1",
    "mlp.fc1": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "mlp.down_proj": "mlp.fc2",
    "mlp.fc2": "mlp.fc2",
    "layer_scale2": "ls2",
}


def is_hugging_face(state: dict[str, Tensor]) -> bool:
    """Return whether a state dict has the key names of transformers' vision transformers."""
    return any(key.endswith(_FIRST) for key in state)


def from_hugging_face(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Map key names of transformers to timm's, with query, key and value of a block as one layer.

    Heads, poolers, the mask token and the frequencies of the rotary embedding are left out; a name that means nothing
    here stays as it is, so that whoever loads the weights sees it.

    Args:
        state: of a ``ViTModel``, ``Dinov2Model`` or ``DINOv3ViTModel``, or of a model around one. Of a teacher and a
            student it is the teacher.

    Returns:
        Name to tensor. DINOv3 has ``attn.qkv.weight (3C, C)`` and the biases ``attn.q_bias`` and ``attn.v_bias (C,)``,
        where the file has them, and no bias of the key; the others ``attn.qkv.weight`` and ``attn.qkv.bias (3C,)``.
    """
    prefixes = sorted(key.removesuffix(_FIRST) for key in state if key.endswith(_FIRST))
    prefix = next((p for p in prefixes if "teacher" in p), prefixes[0])
    inside = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    dinov3 = "embeddings.position_embeddings" not in inside
    renamed: dict[str, Tensor] = {}
    parts: dict[tuple[str, str], dict[str, Tensor]] = {}  # (block, weight or bias) -> q, k, v
    for key, value in inside.items():
        block = _BLOCK.match(key)
        if block and (attention := _QKV.match(block[2])):
            part = (attention[1] or attention[2])[0]
            parts.setdefault((f"blocks.{block[1]}.attn.", block[3]), {})[part] = value
        elif block and block[2] in _IN_BLOCK:
            renamed[_scale(f"blocks.{block[1]}.{_IN_BLOCK[block[2]]}", block[3], dinov3)] = value
        elif _BACKBONE.match(key):
            renamed[_top(key)] = value
    for (stem, kind), of_layer in parts.items():
        renamed |= _joined(stem, kind, of_layer, dinov3)
    return renamed


def _top(key: str) -> str:
    if key in _TOP:
        return _TOP[key]
    stem, _, kind = key.rpartition(".")
    return f"{_TOP[stem]}.{kind}" if stem in _TOP else key


def _scale(stem: str, kind: str, dinov3: bool) -> str:
    """Name a parameter of a block; those of the layer scale are timm's ``gamma``, in DINOv3 without a layer."""
    if kind != "lambda1":
        return f"{stem}.{kind}"
    return stem.replace("ls", "gamma_") if dinov3 else f"{stem}.gamma"


def _joined(stem: str, kind: str, parts: dict[str, Tensor], dinov3: bool) -> dict[str, Tensor]:
    if dinov3 and kind == "bias":
        return {f"{stem}{part}_bias": value for part, value in parts.items()}
    if len(parts) < 3:  # the loader says what is missing
        return {f"{stem}{part}.{kind}": value for part, value in parts.items()}
    return {f"{stem}qkv.{kind}": torch.cat([parts[part] for part in "qkv"])}
