"""One linear layer on the tokens of a backend that separates objects from the background.

FOUND's and UnionSeg's published heads are such a layer: a 1x1 convolution on the keys of DINO's ViT-S/8, 384 weights
and a bias (Simeoni et al., CVPR 2023; Wu et al., ICCV 2025).

Shape legend
    C      feature channels
    h, w   rows and columns of the patch grid
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from unseg_d2.errors import UnsegError
from unseg_d2.features.ensemble import count_channels
from unseg_d2.features.registry import FeatureBackend, learnt_from
from unseg_d2.structures import PatchFeatures
from unseg_d2.weight_files import check_values, read_weight_file
from unseg_d2.zoo.registry import find
from unseg_d2.zoo.store import PREFIX, resolve


@dataclass(frozen=True)
class LinearLayer:
    """A 1x1 convolution to one channel.

    Attributes:
        weight: ``(C,)`` float32.
        bias: ``()`` float32.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, tokens: Tensor) -> Tensor:
        """Return logits ``(h, w)`` of tokens ``(C, h, w)``."""
        layer = self.weight.to(tokens).view(1, -1, 1, 1)
        return F.conv2d(tokens[None].float(), layer.float(), self.bias.to(tokens).float().view(1))[0, 0]


class WithForeground:
    """A feature backend whose images also have the foreground that a linear layer sees in their tokens.

    Args:
        backend: a single one.
        layer: of as many channels as its tokens.
        name: of the layer, for the ``info`` of label sets.
    """

    def __init__(self, backend: FeatureBackend, layer: LinearLayer, name: str) -> None:
        self.backend, self.layer = backend, layer
        self.name = f"{backend.name}, foreground of {name}"
        self.patch_size = backend.patch_size
        digest = hashlib.sha256(backend.checksum.encode())
        for tensor in (layer.weight, layer.bias):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        self.checksum = digest.hexdigest()
        self.supervision = learnt_from(backend)

    def __call__(self, images: Sequence[np.ndarray]) -> list[PatchFeatures]:
        """Describe a batch; see :class:`unseg_d2.features.FeatureBackend`."""
        return [replace(one, foreground=self.layer(one.tokens).sigmoid()) for one in self.backend(images)]


def with_foreground(backend: FeatureBackend, path: str, *, trust: bool = False) -> WithForeground:
    """Return a backend whose images also have a foreground.

    Args:
        backend: a single one.
        path: file of a linear head, or ``zoo:NAME``.
        trust: unpickle arbitrary objects, which can run arbitrary code.

    Raises:
        UnsegError: there is no such head, it is of another kind, or it fits features of another width.
    """
    if path.startswith(PREFIX):
        find(path).recipe_file("saliency")  # raises if it is something else, before anything is fetched
    layer = linear_layer(read_weight_file(Path(resolve(path)), trust=trust))
    if layer is None:
        raise UnsegError(f"{path} is no linear head; name that of FOUND or UnionSeg: zoo:found or zoo:unionseg.")
    check_values(path, {"weight": layer.weight, "bias": layer.bias})
    check_channels(layer, count_channels(backend), backend.name, path)
    return WithForeground(backend, layer, path)


def linear_layer(stored: Any) -> LinearLayer | None:
    """Return the layer in the content of a file, ``None`` where it holds something else.

    Args:
        stored: ``{"decoder": {"weight": (1, C, 1, 1), "bias": (1,)}}``, as both methods publish it, or the two tensors
            alone, as :func:`~unseg_d2.weight_files.read_weight_file` returns them from a ``.safetensors`` file.
    """
    for key in ("model", "decoder"):
        if isinstance(stored, Mapping) and isinstance(stored.get(key), Mapping):
            stored = stored[key]
    if not isinstance(stored, Mapping):
        return None
    tensors = {str(name).removeprefix("decoder."): tensor for name, tensor in stored.items()}
    weight, bias = tensors.get("weight"), tensors.get("bias")
    if tensors.keys() != {"weight", "bias"} or not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
        return None
    if weight.ndim != 4 or weight.shape[0] != 1 or weight.shape[2:] != (1, 1) or bias.shape != (1,):
        return None
    return LinearLayer(weight.flatten().float(), bias[0].float())


def check_channels(layer: LinearLayer, channels: int, features: str, path: str) -> None:
    """Raise UnsegError unless a layer fits features of so many channels."""
    if len(layer.weight) != channels:
        raise UnsegError(
            f"{path} needs features of {len(layer.weight)} channels, but {features} has {channels}; use the recipe of "
            "the head, such as configs/saliency/found.yaml, with FEATURES.VIT.ARCH dino_vits8."
        )
