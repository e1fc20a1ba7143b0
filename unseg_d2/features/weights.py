"""Weights of vision transformers: the network of an architecture name, loaded from files of any known layout.

Files have timm's key names, those of the original DINO, DINOv2, DINOv3 and DiffNCuts code, or those of Hugging Face's
transformers, bare or wrapped in a training checkpoint. Nothing is guessed: every parameter of the network must be
found, with its shape.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unseg_d2.errors import CheckpointMismatch, UnsegError, nearest
from unseg_d2.features.hugging_face import from_hugging_face, is_hugging_face
from unseg_d2.weight_files import bare_name, check_values, network_of, read_weight_file, refuse_address, unwrapped
from unseg_d2.weight_kinds import kind_of
from unseg_d2.zoo.store import resolve

logger = logging.getLogger(__name__)

# CutLER's S/8 is DINO's 300-epoch network (dino_deitsmall8_300ep_pretrain.pth), which is not on the hub:
# set FEATURES.WEIGHTS to that file to compare with it.
ARCHITECTURES = {
    "dino_vits8": "vit_small_patch8_224.dino",
    "dino_vits16": "vit_small_patch16_224.dino",
    "dino_vitb8": "vit_base_patch8_224.dino",
    "dino_vitb16": "vit_base_patch16_224.dino",
    "dinov2_vits14": "vit_small_patch14_dinov2.lvd142m",
    "dinov2_vitb14": "vit_base_patch14_dinov2.lvd142m",
    "dinov2_vitl14": "vit_large_patch14_dinov2.lvd142m",
    "dinov3_vits16": "vit_small_patch16_dinov3.lvd1689m",
    "dinov3_vitb16": "vit_base_patch16_dinov3.lvd1689m",
    "dinov3_vitl16": "vit_large_patch16_dinov3.lvd1689m",
}
"""``FEATURES.VIT.ARCH`` to the name of timm's model and weights."""

# Used in pretraining only, or recomputed (the frequencies of DINOv3's rotary embedding).
_UNUSED = re.compile(r"^(head\.|mask_token$|rope_embed\.|local_cls_norm\.)|\.attn\.qkv\.bias_mask$")


def load_vit(arch: str, weights: str, *, trust: bool = False) -> nn.Module:
    """Return a pretrained vision transformer in evaluation mode, in float32 on the CPU.

    Args:
        arch: a key of :data:`ARCHITECTURES`.
        weights: ``.pth``, ``.pt`` or ``.safetensors`` file, or ``zoo:NAME``; empty takes timm's weights from the hub.
        trust: see :func:`read_tensors`.

    Raises:
        UnsegError: for an unknown architecture, an unreadable file, an unreachable hub, or when file and network
            differ in any parameter.
    """
    if arch not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise UnsegError(f"FEATURES.VIT.ARCH is '{arch}', but must be one of {known}.{nearest(arch, ARCHITECTURES)}")
    if not weights:
        return _from_hub(arch)
    state = rename_keys(read_tensors(weights, trust=trust))
    qkv_bias = any(key.endswith(("attn.qkv.bias", "attn.q_bias")) for key in state)
    model = create_vit(arch, qkv_bias=qkv_bias, image_size=_image_size(state))
    _load_all(model, state, arch, weights)
    return model.eval()


def create_vit(
    arch: str, *, pretrained: bool = False, qkv_bias: bool = True, image_size: int | None = None
) -> nn.Module:
    """Return timm's network for a key of :data:`ARCHITECTURES`, by default with random weights.

    Args:
        arch: a key of :data:`ARCHITECTURES`.
        pretrained: fetch the weights from the hub.
        qkv_bias: whether the attention has a bias; only DINOv3 exists both ways (its published bias is zero).
        image_size: that the network was pretrained with, px, on which the number of its position embeddings depends;
            ``None`` is that of the published weights. Images may have any size.
    """
    import timm  # takes seconds, and descriptors do not need it

    name = ARCHITECTURES[arch]
    if "dinov3" in arch and qkv_bias and not pretrained:
        name = name.replace("_dinov3.", "_dinov3_qkvb.")
    size: dict[str, Any] = {"img_size": image_size} if image_size else {}
    return timm.create_model(name, pretrained=pretrained, num_classes=0, dynamic_img_size=True, **size).eval()


def _from_hub(arch: str) -> nn.Module:
    try:
        return create_vit(arch, pretrained=True)
    except Exception as error:  # whatever the hub's client and the network raise: there is no common base class
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
        raise UnsegError(
            f"The weights of '{arch}' ({ARCHITECTURES[arch]}) could not be fetched from the hub ({reason[:200]}); "
            "set FEATURES.WEIGHTS to a local .pth or .safetensors file, or FEATURES.NAME to descriptors."
        ) from error


def read_tensors(path: str, *, trust: bool = False) -> dict[str, Tensor]:
    """Read the tensors of a ``.pth``, ``.pt`` or ``.safetensors`` file, by default without running code from it.

    Args:
        path: the file, or ``zoo:NAME``.
        trust: unpickle arbitrary objects, which can run arbitrary code.

    Returns:
        Flat name to tensor; wrapping dictionaries such as ``{"teacher": ..., "optimizer": ...}`` are entered.

    Raises:
        UnsegError: if the file is missing or damaged, or contains other objects than tensors and needs ``trust``.
    """
    path = resolve(path)
    refuse_address(path)
    if Path(path).is_dir():
        path = str(_file_of_folder(Path(path)))
    if not Path(path).is_file():
        raise UnsegError(
            f"FEATURES.WEIGHTS names '{path}', but there is no such file; correct the path, or leave it empty."
        )
    content = read_weight_file(path, trust=trust)
    if not isinstance(content, dict):
        raise UnsegError(
            f"'{path}' contains a {type(content).__name__} where a state dict was expected; save that alone."
        )
    return network_of(content)


def rename_keys(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Map the key names of DINO, DINOv2, DINOv3, DiffNCuts and Hugging Face to timm's; timm's own pass unchanged.

    Prefixes of wrappers (``module.``, ``_orig_mod.``, ``teacher.``, ``backbone.``, ``net.`` ...) are stripped,
    pretraining leftovers (heads, mask token) left out.
    """
    state = {bare_name(key): value for key, value in state.items()}
    if is_hugging_face(state):
        return from_hugging_face(state)
    state = dict(unwrapped(state, lambda names: "patch_embed.proj.weight" in names))
    dinov3 = "storage_tokens" in state
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        if _UNUSED.search(key):
            continue
        key = re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", key)  # DINOv2 trains in chunks of blocks
        if not dinov3:
            renamed[key] = value
        elif key.endswith("attn.qkv.bias"):  # the key's part is masked to zero, and timm has none
            stem = key.removesuffix("qkv.bias")
            renamed[f"{stem}q_bias"], _, renamed[f"{stem}v_bias"] = value.chunk(3)
        else:
            key = "reg_token" if key == "storage_tokens" else key
            renamed[re.sub(r"\.ls([12])\.gamma$", r".gamma_\1", key)] = value
    return renamed


def _load_all(model: nn.Module, state: dict[str, Tensor], arch: str, path: str) -> None:
    """Copy ``state`` into ``model``, or raise :class:`UnsegError` that lists what does not match."""
    wanted = model.state_dict()
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    problems = {
        "missing": [key for key in wanted if key not in state],
        "unexpected": [key for key in state if key not in wanted],
        "of another shape": shapes,
    }
    if any(problems.values()):
        found, expected = kind_of(state), kind_of(wanted)
        listed = "; ".join(
            f"{len(keys)} {what}: {min(keys)}{' and others' if len(keys) > 1 else ''}"
            for what, keys in problems.items()
            if keys
        )
        remedy = (
            "Set FEATURES.VIT.ARCH to the architecture of the file."
            if found.part == "vit"
            else (f"Name the weights of a vision transformer; with this file, {found.use}.")
        )
        raise CheckpointMismatch(
            f"FEATURES.WEIGHTS, {path}, is {found.text}",
            f"{expected.text}, FEATURES.VIT.ARCH '{arch}'; {listed}",
            remedy,
        )
    check_values(path, state)
    model.load_state_dict(state)


def _image_size(state: dict[str, Tensor]) -> int | None:
    """Return the side of the square images of a network's pretraining, px; ``None`` where its weights do not say it.

    The published networks differ from those that somebody pretrains on other sizes in nothing else.
    """
    positions, kernel = state.get("pos_embed"), state.get("patch_embed.proj.weight")
    if positions is None or kernel is None or positions.ndim != 3:
        return None
    for tokens in (1, 0):  # with and without a position of the [CLS] token
        side = math.isqrt(positions.shape[1] - tokens)
        if side * side == positions.shape[1] - tokens:
            return int(side * kernel.shape[-1])
    return None


def _file_of_folder(folder: Path) -> Path:
    """Return the file of weights in a folder as Hugging Face's libraries write it."""
    known = [folder / name for name in ("model.safetensors", "pytorch_model.bin") if (folder / name).is_file()]
    if not known:
        raise UnsegError(
            f"FEATURES.WEIGHTS names the folder '{folder}', which holds no model.safetensors; name a file of weights."
        )
    return known[0]


def weights_checksum(model: nn.Module) -> str:
    """Return the sha256 over names, types, shapes and values of all weights, whatever file they came from."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
