"""Fully connected CRF (Kraehenbuehl and Koltun, NeurIPS 2011): mean field on permutohedral lattices.

Two Gaussian kernels connect all pixels, one of positions (smoothness) and one of positions and colours (appearance),
each normalised symmetrically. Both are filtered on permutohedral lattices, as in the paper's own code, one of each for
all masks and all steps; a smoothness kernel too narrow for a lattice is a separable filter. Images are not cropped to
their masks: the appearance kernel reaches across all of the image.

Two labels sum to one and the kernels are linear, so a mask needs one channel: with m = 2q - 1, q the probability of
the mask, a mean-field step is m <- tanh((u + sum_k w_k F_k(m)) / 2). L labels need L - 1 channels: with p the unary
probabilities and F(q) the message, F(1) that of all labels together, q_l is p_l exp F(q_l) over the sum of all, and the
last one's exponential is exp F(1) over the product of the others.

Shape legend
    b      images of the same size
    n      masks
    L      labels
    H, W   height and width in pixels
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from torch import Tensor

from unseg_d2.refine.compiled import label_shares
from unseg_d2.refine.gaussian import GaussianKernel
from unseg_d2.refine.on_device import DeviceSettings
from unseg_d2.refine.permutohedral import build_lattice
from unseg_d2.settings import Settings, other_default, setting
from unseg_d2.transfer import to_card, to_host

MAX_CHANNELS = 32  # masks filtered at a time, which bounds memory
MAX_WEIGHT = 40.0  # of both kernels together, so that exp of a message stays finite
MIN_LATTICE_SXY = 2.0  # px; a lattice finer than this has about as many vertices as there are pixels


@dataclass(frozen=True)
class CRFSettings(Settings):
    """The kernels and the steps of the CRF; the defaults are those of MaskCut, ProMerge and VoteCut."""

    iterations: int = setting(10, "number of mean-field steps", low=0)
    gaussian_sxy: float = setting(3.0, "standard deviation of the smoothness kernel in position", unit="px", low=1e-3)
    gaussian_weight: float = setting(7.0, "Potts weight of the smoothness kernel", low=0)
    bilateral_sxy: float = setting(50.0, "standard deviation of the appearance kernel in position", unit="px", low=1e-3)
    bilateral_srgb: float = setting(
        5.0, "standard deviation of the appearance kernel in colour", unit="grey levels", low=1e-3
    )
    bilateral_weight: float = setting(10.0, "Potts weight of the appearance kernel", low=0)


@dataclass(frozen=True)
class CRFRefinerSettings(DeviceSettings, CRFSettings):
    """Settings of :func:`crf`: those of the CRF, and where it runs."""

    def kernels(self) -> CRFSettings:
        """Return what the CRF itself needs."""
        return CRFSettings(**{field.name: getattr(self, field.name) for field in fields(CRFSettings)})


def _check_exponents(settings: CRFSettings) -> None:
    if settings.gaussian_weight + settings.bilateral_weight > MAX_WEIGHT:
        raise ValueError(f"gaussian_weight and bilateral_weight must be at most {MAX_WEIGHT:g} together")


@dataclass(frozen=True)
class LabelCRFSettings(CRFRefinerSettings):
    """Settings of :func:`crf_labels`, one CRF over all masks and the background, with PriMaPs' constants."""

    gaussian_sxy: float = other_default(CRFSettings, "gaussian_sxy", 1.0)
    gaussian_weight: float = other_default(CRFSettings, "gaussian_weight", 3.0)
    bilateral_sxy: float = other_default(CRFSettings, "bilateral_sxy", 67.0)
    bilateral_srgb: float = other_default(CRFSettings, "bilateral_srgb", 3.0)
    bilateral_weight: float = other_default(CRFSettings, "bilateral_weight", 4.0)

    def check(self) -> None:
        """Raise ValueError where an exponential of the mean field would not be finite."""
        _check_exponents(self)


MASKCUT = CRFSettings()
PRIMAPS = LabelCRFSettings().kernels()


def crf_masks(images: Tensor, masks: Tensor, settings: CRFSettings = MASKCUT) -> Tensor:
    """Return the probability of each mask after two-label mean field, each mask on its own against its background.

    Args:
        images: ``(b, 3, H, W)`` uint8, on the device of the masks or on the host, which saves a wait for the card; on
            CUDA the images of a batch share one lattice.
        masks: ``(b, n, H, W)`` float32 in [0, 1]. The unary logits are [1 - m, m] (as MaskCut has it), so a mask is
            given a probability of 0.73 only.
        settings: kernels and steps.

    Returns:
        ``(b, n, H, W)`` float32 in [0, 1]; the mask is where it is above 0.5.
    """
    pairwise = _pairwise(images, masks.device, settings)
    probability = torch.empty(masks.shape, dtype=torch.float32, device=masks.device)
    for part, out in zip(masks.split(MAX_CHANNELS, 1), probability.split(MAX_CHANNELS, 1)):
        unary = _channels_last(2 * part.float() - 1)
        mean = torch.tanh(unary / 2)
        for _ in range(settings.iterations):
            mean = pairwise(mean).add_(unary).mul_(0.5).tanh_()
        out.copy_(mean.add_(1).mul_(0.5).movedim(-1, 1))
    return probability


def label_probabilities(images: Tensor, logits: Tensor, settings: CRFSettings = PRIMAPS) -> Tensor:
    """Return the probability of each of L exclusive labels after mean field.

    Args:
        images: as in :func:`crf_masks`.
        logits: ``(b, L, H, W)`` float32; their softmax is the unary term. Adding a constant changes nothing, so
            logits, log-probabilities and (as in PriMaPs) soft one-hot channels can all be passed unchanged.
        settings: kernels and steps.

    Returns:
        ``(b, L, H, W)`` float32, sums of one over L, which lies innermost; the label map is its argmax.
    """
    _check_exponents(settings)
    if logits.shape[1] == 1:
        return torch.ones_like(logits, dtype=torch.float32)
    pairwise = _pairwise(images, logits.device, settings)
    prior = torch.softmax(logits.float(), 1)
    prior, last = _channels_last(prior[:, :-1]), _channels_last(prior[:, -1:])
    last *= pairwise(torch.ones_like(last)).exp_()
    probability = prior.clone()
    for _ in range(settings.iterations):
        exponentials = pairwise(probability).exp_()
        shares = label_shares(exponentials.flatten(0, 2), prior.flatten(0, 2), last.flatten())
        probability = shares.view_as(prior)
    found = probability.new_empty((*probability.shape[:-1], logits.shape[1]))
    found[..., :-1] = probability
    found[..., -1] = 1 - probability.sum(-1)
    return found.movedim(-1, 1)


def _pairwise(images: Tensor, device: torch.device, settings: CRFSettings) -> Callable[[Tensor], Tensor]:
    """The weighted sum of both kernels of images ``(b, 3, H, W)``, on values ``(b, H, W, c)``, which it overwrites."""
    b, _, height, width = images.shape
    colours = to_host(images.amin((0, 2, 3)), images.amax((0, 2, 3)))
    bounds = [
        torch.cat([corner / settings.bilateral_sxy, colour / settings.bilateral_srgb])
        for corner, colour in zip(_corners(height, width), colours)
    ]
    images = to_card(images, device) if images.device.type == "cpu" else images
    positions = _positions(b, height, width, device)
    features = torch.cat([positions / settings.bilateral_sxy, images.float() / settings.bilateral_srgb], 1)
    appearance = build_lattice(features.flatten(2), (bounds[0], bounds[1])).normalised(settings.bilateral_weight)
    smoothness = _smoothness(b, height, width, settings.gaussian_sxy, settings.gaussian_weight, device)

    def apply(values: Tensor) -> Tensor:
        return appearance.filter(values.flatten(0, 2)).view_as(values).add_(smoothness(values))

    return apply


@lru_cache(maxsize=2)  # the same for all images of a size
def _smoothness(
    b: int, height: int, width: int, sxy: float, weight: float, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """The smoothness kernel on values ``(b, H, W, c)``."""
    if sxy < MIN_LATTICE_SXY:
        return GaussianKernel.build(height, width, sxy, weight, device).filter_
    low, high = (corner / sxy for corner in _corners(height, width))
    lattice = build_lattice((_positions(b, height, width, device) / sxy).flatten(2), (low, high)).normalised(weight)
    return lambda values: lattice.filter(values.flatten(0, 2)).view_as(values)


def _corners(height: int, width: int) -> tuple[Tensor, Tensor]:
    """x and y of the first and of the last pixel, each ``(2,)``."""
    return torch.zeros(2), torch.tensor([width - 1.0, height - 1.0])


def _positions(b: int, height: int, width: int, device: torch.device) -> Tensor:
    """x and y of each pixel, ``(b, 2, H, W)`` float32."""
    sides = (torch.arange(side, dtype=torch.float32, device=device) for side in (height, width))
    y, x = torch.meshgrid(*sides, indexing="ij")
    return torch.stack([x, y]).expand(b, -1, -1, -1)


def _channels_last(planes: Tensor) -> Tensor:
    return planes.movedim(1, -1).contiguous()
