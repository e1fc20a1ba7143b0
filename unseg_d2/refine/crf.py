"""Fully connected CRF (Kraehenbuehl and Koltun, NeurIPS 2011): mean field, filtered on permutohedral lattices.

Two Gaussian kernels connect all pixels, one of positions (smoothness) and one of positions and colours (appearance),
each normalised symmetrically. An image has one lattice for all its masks and all steps.

Two labels sum to one and the kernels are linear, so a mask needs one channel: with m = 2q - 1, q the probability of
the mask, a mean-field step is m <- tanh((u + sum_k w_k F_k(m)) / 2).

Shape legend
    b      images of the same size
    n      masks
    L      labels
    H, W   height and width in pixels
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from unseg_d2.refine.holes import fill_holes
from unseg_d2.refine.permutohedral import KernelSum, Lattice, build_lattice
from unseg_d2.refine.registry import REFINERS, Refiner, check_inputs, hard, soft


@REFINERS.register()
def crf(
    *,
    iterations: int = 10,
    gaussian_sxy: float = 3.0,
    gaussian_weight: float = 7.0,
    bilateral_sxy: float = 50.0,
    bilateral_srgb: float = 5.0,
    bilateral_weight: float = 10.0,
    device: str = "cpu",
) -> Refiner:
    """Return a refiner that runs two-label mean field on all masks at once and fills their holes.

    The defaults are those of MaskCut, ProMerge and VoteCut.

    Args:
        iterations: mean-field steps.
        gaussian_sxy: sigma of the smoothness kernel in pixels.
        gaussian_weight: Potts weight of the smoothness kernel.
        bilateral_sxy: sigma of the appearance kernel in pixels.
        bilateral_srgb: sigma of the appearance kernel in grey levels.
        bilateral_weight: Potts weight of the appearance kernel.
        device: ``cpu``, ``cuda``, ``cuda:1`` ...

    Raises:
        ValueError: if a setting is out of range.
    """
    settings = _checked(iterations, gaussian_sxy, gaussian_weight, bilateral_sxy, bilateral_srgb, bilateral_weight)
    return partial(_refine, device=torch.device(device), inference=partial(crf_masks, **settings))


@REFINERS.register()
def crf_labels(
    *,
    iterations: int = 10,
    gaussian_sxy: float = 1.0,
    gaussian_weight: float = 3.0,
    bilateral_sxy: float = 67.0,
    bilateral_srgb: float = 3.0,
    bilateral_weight: float = 4.0,
    device: str = "cpu",
) -> Refiner:
    """Return a refiner for disjoint masks: one mean field over all of them and the background.

    The defaults are those of PriMaPs. The probability of the background, before the softmax, is what the masks leave
    of one. Holes stay, they may be other objects.

    Args:
        iterations: mean-field steps.
        gaussian_sxy: sigma of the smoothness kernel in pixels.
        gaussian_weight: Potts weight of the smoothness kernel.
        bilateral_sxy: sigma of the appearance kernel in pixels.
        bilateral_srgb: sigma of the appearance kernel in grey levels.
        bilateral_weight: Potts weight of the appearance kernel.
        device: ``cpu``, ``cuda``, ``cuda:1`` ...

    Raises:
        ValueError: if a setting is out of range.
    """
    settings = _checked(iterations, gaussian_sxy, gaussian_weight, bilateral_sxy, bilateral_srgb, bilateral_weight)
    return partial(_refine_labels, device=torch.device(device), inference=partial(label_probabilities, **settings))


def crf_masks(
    images: Tensor,
    masks: Tensor,
    *,
    iterations: int = 10,
    gaussian_sxy: float = 3.0,
    gaussian_weight: float = 7.0,
    bilateral_sxy: float = 50.0,
    bilateral_srgb: float = 5.0,
    bilateral_weight: float = 10.0,
) -> Tensor:
    """Return the probability of each mask after two-label mean field, each mask on its own against its background.

    Args:
        images: ``(b, 3, H, W)`` uint8; on CUDA the images of a batch share one lattice.
        masks: ``(b, n, H, W)`` float32 in [0, 1]. The unary logits are [1 - m, m] (as MaskCut has it), so a mask is
            believed with probability 0.73 only.
        iterations: mean-field steps.
        gaussian_sxy: sigma of the smoothness kernel in pixels.
        gaussian_weight: Potts weight of the smoothness kernel.
        bilateral_sxy: sigma of the appearance kernel in pixels.
        bilateral_srgb: sigma of the appearance kernel in grey levels.
        bilateral_weight: Potts weight of the appearance kernel.

    Returns:
        ``(b, n, H, W)`` float32 in [0, 1]; the mask is where it is above 0.5.
    """
    kernels = _kernels(images, gaussian_sxy, gaussian_weight, bilateral_sxy, bilateral_srgb, bilateral_weight)
    unary = _to_rows(2 * masks.float() - 1)
    mean = torch.tanh(unary / 2)
    for _ in range(iterations):
        mean = kernels.filter(mean).add_(unary).mul_(0.5).tanh_()
    return _to_planes(mean, masks.shape).add_(1).mul_(0.5)


def label_probabilities(
    images: Tensor,
    logits: Tensor,
    *,
    iterations: int = 10,
    gaussian_sxy: float = 1.0,
    gaussian_weight: float = 3.0,
    bilateral_sxy: float = 67.0,
    bilateral_srgb: float = 3.0,
    bilateral_weight: float = 4.0,
) -> Tensor:
    """Return the probability of each of L exclusive labels after mean field; the defaults are those of PriMaPs.

    Args:
        images: ``(b, 3, H, W)`` uint8.
        logits: ``(b, L, H, W)`` float32; their softmax is the unary term. Adding a constant changes nothing, so
            logits, log-probabilities and (as PriMaPs has it) soft one-hot channels are all given as they are.
        iterations: mean-field steps.
        gaussian_sxy: sigma of the smoothness kernel in pixels.
        gaussian_weight: Potts weight of the smoothness kernel.
        bilateral_sxy: sigma of the appearance kernel in pixels.
        bilateral_srgb: sigma of the appearance kernel in grey levels.
        bilateral_weight: Potts weight of the appearance kernel.

    Returns:
        ``(b, L, H, W)`` float32, sums of one over L; the label map is its argmax.
    """
    kernels = _kernels(images, gaussian_sxy, gaussian_weight, bilateral_sxy, bilateral_srgb, bilateral_weight)
    unary = _to_rows(logits.float())
    probability = unary.softmax(1)
    for _ in range(iterations):
        probability = kernels.filter(probability).add_(unary).softmax(1)
    return _to_planes(probability, logits.shape)


def _refine(image: np.ndarray, masks: np.ndarray, *, device: torch.device, inference: Callable) -> np.ndarray:
    check_inputs(image, masks)
    refined = np.zeros(masks.shape, dtype=bool)
    present = masks.any((1, 2))
    if present.any():
        with torch.inference_mode():
            probability = inference(
                _image_tensor(image, device), torch.from_numpy(soft(masks[present])).to(device)[None]
            )
        refined[present] = hard(probability[0].cpu().numpy())
    return fill_holes(refined)


def _refine_labels(image: np.ndarray, masks: np.ndarray, *, device: torch.device, inference: Callable) -> np.ndarray:
    check_inputs(image, masks)
    refined = np.zeros(masks.shape, dtype=bool)
    present = np.flatnonzero(masks.any((1, 2)))
    if len(present):
        channels = torch.from_numpy(soft(masks[present])).to(device)
        channels = torch.cat([(1 - channels.sum(0, keepdim=True)).clamp_(0, 1), channels])
        with torch.inference_mode():
            labels = inference(_image_tensor(image, device), channels[None])[0].argmax(0).cpu().numpy()
        refined[present] = labels == np.arange(1, len(present) + 1)[:, None, None]
    return refined


def _kernels(
    images: Tensor,
    gaussian_sxy: float,
    gaussian_weight: float,
    bilateral_sxy: float,
    bilateral_srgb: float,
    bilateral_weight: float,
) -> KernelSum:
    """The two pairwise terms of a batch of images ``(b, 3, H, W)``."""
    b, _, height, width = images.shape
    positions = _positions(height, width, images.device).expand(b, -1, -1)
    features = torch.cat([positions / bilateral_sxy, images.flatten(2).float() / bilateral_srgb], 1)
    smoothness = _smoothness(b, height, width, gaussian_sxy, images.device)
    return KernelSum.of([(build_lattice(features), bilateral_weight), (smoothness, gaussian_weight)])


@lru_cache(maxsize=2)
def _smoothness(b: int, height: int, width: int, sxy: float, device: torch.device) -> Lattice:
    """The lattice of positions, the same for all images of a size: 25 MB at 480 x 480."""
    return build_lattice((_positions(height, width, device) / sxy).expand(b, -1, -1))


def _positions(height: int, width: int, device: torch.device) -> Tensor:
    """x and y of each pixel, ``(2, H W)`` float32."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([x, y]).flatten(1).float()


def _to_rows(planes: Tensor) -> Tensor:
    """``(b, c, H, W)`` to ``(b H W, c)``."""
    return planes.movedim(1, -1).reshape(-1, planes.shape[1]).contiguous()


def _to_planes(rows: Tensor, shape: torch.Size) -> Tensor:
    """``(b H W, c)`` to ``(b, c, H, W)``."""
    b, c, height, width = shape
    return rows.view(b, height, width, c).movedim(-1, 1).contiguous()


def _image_tensor(image: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).to(device)[None]


def _checked(
    iterations: int,
    gaussian_sxy: float,
    gaussian_weight: float,
    bilateral_sxy: float,
    bilateral_srgb: float,
    bilateral_weight: float,
) -> dict[str, float]:
    settings = dict(locals())
    for name, value in settings.items():
        least = 0 if name == "iterations" or name.endswith("weight") else 1e-3
        if not least <= value < float("inf"):
            raise ValueError(f"{name} must be at least {least}, got {value}")
    return settings
