"""FOUND's and UnionSeg's published heads: one linear layer that separates objects from the background.

Both are a 1x1 convolution on the keys of DINO's ViT-S/8, 384 weights and a bias (Simeoni et al., CVPR 2023; Wu et al.,
ICCV 2025). They differ in how an image is brought to the network and in where the mask is cut.

Shape legend
    C      feature channels
    h, w   rows and columns of the patch grid
    H, W   height and width of an image in pixels
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from unseg_d2.errors import UnsegError
from unseg_d2.features import FeatureBackend
from unseg_d2.pseudo.geometry import network_input
from unseg_d2.refine import BilateralSettings, bilateral_solver
from unseg_d2.refine.holes import fill_holes
from unseg_d2.saliency.settings import LinearSettings

HALF = 0.5
"""Probability above which a patch or pixel is foreground, and least IoU of a solved mask with the one before."""


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


@dataclass(frozen=True)
class LinearMasks:
    """Masks of a linear head: what :class:`~unseg_d2.saliency.predict.SaliencyModel` takes them from.

    Attributes:
        features: frozen backend.
        layer: see :class:`LinearLayer`.
        settings: how images are brought to the network, and where masks are cut.
        solver: of the bilateral solver, where ``settings`` asks for it.
    """

    features: FeatureBackend
    layer: LinearLayer
    settings: LinearSettings
    solver: BilateralSettings

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the mask of an image.

        Args:
            image: ``(H, W, 3)`` uint8 RGB.

        Returns:
            ``(H, W)`` float32 in [0, 1]; 0 or 1 where it is cut on the patch grid or solved.
        """
        height, width = image.shape[:2]
        if self.settings.square:
            # Bilinear: the published call passes Lanczos' filter in the place of another argument.
            shown = cv2.resize(image, (self.settings.square, self.settings.square))
            size = (height, width)
        else:
            shown = network_input(image, self.features.patch_size, "pad", 0).image
            size = shown.shape[:2]
        logits = self.layer(self.features([shown])[0].tokens)
        mask = scaled(logits, size, self.settings.cut)[:height, :width]
        if self.settings.bilateral:
            mask = solved(image, mask > HALF, self.solver).astype(np.float32)
        return mask


def scaled(logits: Tensor, size: tuple[int, int], cut: str) -> np.ndarray:
    """Return the mask of logits on the patch grid, at the size of the image.

    Args:
        logits: ``(h, w)``.
        size: height and width of what the grid covers, in pixels.
        cut: ``pixels`` scales the logits bilinearly and leaves the mask soft (FOUND); ``patches`` cuts it at one half
            on the grid, and scales it bilinearly to 0 or 1 (UnionSeg).

    Returns:
        float32 of that size, in [0, 1].
    """
    if cut == "pixels":
        grown = F.interpolate(logits[None, None], size=size, mode="bilinear", align_corners=False)
        return np.asarray(grown[0, 0].sigmoid().cpu().numpy(), dtype=np.float32)
    cells = (logits.sigmoid() > HALF).cpu().numpy().astype(np.uint8)
    return np.asarray(cv2.resize(cells, (size[1], size[0])), dtype=np.float32)


def solved(image: np.ndarray, mask: np.ndarray, settings: BilateralSettings | None = None) -> np.ndarray:
    """Smooth a mask with the bilateral solver as FOUND's code does.

    What the solver finds is cut at one half, its holes are filled, and its largest region is taken for the background.
    The rest replaces the mask if the two have an IoU of more than one half, and is dropped otherwise.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        mask: ``(H, W)`` bool.
        settings: of the solver; the defaults are FOUND's too.

    Returns:
        ``(H, W)`` bool.
    """
    if not mask.any():
        return mask
    found = bilateral_solver(image, mask[None].astype(np.float32), settings) > HALF
    regions, _ = ndimage.label(fill_holes(found)[0])
    objects = regions != np.argsort(np.bincount(regions.ravel()), kind="stable")[-1]
    common, either = np.count_nonzero(objects & mask), np.count_nonzero(objects | mask)
    return objects if common > HALF * either else mask


def linear_layer(stored: Any) -> LinearLayer | None:
    """Return the layer in the content of a file, ``None`` where it holds something else.

    Args:
        stored: ``{"decoder": {"weight": (1, C, 1, 1), "bias": (1,)}}``, as both methods publish it, or the two tensors
            alone, as :func:`~unseg_d2.loop.checkpoint.read_stored` returns them from a ``.safetensors`` file.
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
