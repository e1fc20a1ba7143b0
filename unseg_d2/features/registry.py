"""The protocol of feature backends, and how one is built from a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.registry import Registry
from unseg_d2.settings import Settings, section, setting
from unseg_d2.structures import PatchFeatures


@runtime_checkable
class FeatureBackend(Protocol):
    """Turns images into patch tokens.

    Attributes:
        name: what goes into the ``info`` of a label set, e.g. ``"vit/dino_vitb8/key"``.
        patch_size: side of a patch in pixels of the image that the tokens describe.
        checksum: sha256 (hex) of everything besides the settings that determines the tokens, such as the weights.

    An attribute ``supervision``, words of `unseg_d2.supervision`, says what the weights have learnt from besides
    unlabelled images; label sets record it. Without it, or where it is empty, they say that it is not stated.
    """

    name: str
    patch_size: int
    checksum: str

    def __call__(self, images: Sequence[np.ndarray]) -> list[PatchFeatures]:
        """Describe a batch of images.

        Args:
            images: ``(H, W, 3)`` RGB each, already resized, all of one size; uint8, or float32 in [0, 255] where an
                image is padded with a colour that uint8 cannot represent.

        Returns:
            One :class:`PatchFeatures` per image, in order.
        """
        ...


FEATURE_BACKENDS: Registry[FeatureBackend] = Registry("FEATURES.NAME", "FEATURES")
"""Classes that are made from their settings or by ``from_config(cfg)``; ``FEATURES.NAME`` is the name, in any case."""

OF_NETWORKS = ("FEATURES.WEIGHTS", "FEATURES.PRECISION")
"""Keys without effect on a backend that has no network."""

Precision = Literal["auto", "float32", "float16", "bfloat16"]
Resize = Literal["square", "nearest_multiple", "pad"]


@section("FEATURES")
@dataclass(frozen=True)
class FeatureSettings(Settings):
    """Which features, of images of what size."""

    name: str = setting(
        "vit",
        "feature backend: vit (timm, pretrained) | cnn (any network of timm with maps) | descriptors, palette (no "
        "weights; for trying things out)",
    )
    image_size: int = setting(
        480, "side of the square that every image is resized to (fixed_size in MaskCut)", unit="px", low=1
    )
    resize: Resize = setting(
        "square",
        "how images are resized: square (MaskCut) | nearest_multiple (TokenCut saliency) | pad (LOST, TokenCut)",
        choices=get_args(Resize),
    )
    weights: str = setting(
        "", "local .pth or .safetensors file of the network, or zoo:NAME; empty downloads timm's weights"
    )
    batch_size: int = setting(
        1, "images per forward pass of the backbone and of the generator; 0 is 8 on a card, else 1", low=0
    )
    device: str = setting("auto", "where the backend runs: auto, cpu, cuda, cuda:1 and so on")
    precision: Precision = setting(
        "float32",
        "precision of the network's forward pass; auto is float16 on a card, else float32",
        choices=get_args(Precision),
        harmless=("auto",),
    )
    members: Sequence[Any] = setting(
        [], "ensemble (VoteCut): a list of sections like this one, each with the keys that differ"
    )


def learnt_from(backend: FeatureBackend) -> tuple[str, ...]:
    """Return what the weights of a backend have learnt from; empty where it does not say so."""
    return tuple(getattr(backend, "supervision", ()))


def build_backend(cfg: CfgNode) -> FeatureBackend:
    """Return the single feature backend that ``cfg.FEATURES`` describes, whatever its ``MEMBERS``.

    Raises:
        UnsegError: if ``FEATURES.NAME`` is not registered, or the backend cannot be made (e.g. missing weights).
    """
    return FEATURE_BACKENDS.build(cfg)
