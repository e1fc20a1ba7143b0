"""The dense CRF as refiners: each mask against its background, or disjoint masks and the background in one.

Shape legend
    b      images of the same size
    n      masks of one image, at most m
    N      masks of all images, one image after another
    H, W   height and width in pixels
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from unseg_d2.devices import resolve_device
from unseg_d2.refine.crf import CRFRefinerSettings, CRFSettings, LabelCRFSettings, crf_masks, label_probabilities
from unseg_d2.refine.holes import fill_holes
from unseg_d2.refine.on_device import CardRefiner, owners
from unseg_d2.refine.registry import FOREGROUND, REFINERS, Refiner, check_inputs, hard, soft
from unseg_d2.transfer import to_card


@REFINERS.register(settings=CRFRefinerSettings)
def crf(settings: CRFRefinerSettings | None = None) -> Refiner:
    """Return a refiner that runs two-label mean field on all masks at once and fills their holes.

    Args:
        settings: see :class:`CRFRefinerSettings`; ``None`` takes the defaults.

    Raises:
        UnsegError: the device is not there.
    """
    settings = settings or CRFRefinerSettings()
    device, kernels = resolve_device(settings.device), settings.kernels()
    if device.type == "cpu":
        return partial(_refine, settings=kernels)
    return CardRefiner(partial(crf_together, settings=kernels), device)


@REFINERS.register(settings=LabelCRFSettings)
def crf_labels(settings: LabelCRFSettings | None = None) -> Refiner:
    """Return a refiner for disjoint masks: one mean field over all of them and the background.

    The probability of the background, before the softmax, is what the masks leave of one. Holes stay, they may be
    other objects.

    Args:
        settings: see :class:`LabelCRFSettings`; ``None`` takes the defaults.

    Raises:
        UnsegError: the device is not there.
    """
    settings = settings or LabelCRFSettings()
    device, kernels = resolve_device(settings.device), settings.kernels()
    if device.type == "cpu":
        return partial(_refine_labels, settings=kernels)
    return CardRefiner(partial(crf_labels_together, settings=kernels), device, fills_holes=False)


def _refine(image: np.ndarray, masks: np.ndarray, *, settings: CRFSettings) -> np.ndarray:
    check_inputs(image, masks)
    refined = np.zeros(masks.shape, dtype=bool)
    present = masks.any((1, 2))
    if present.any():
        with torch.inference_mode():
            probability = crf_masks(_image_tensor(image), torch.from_numpy(soft(masks[present]))[None], settings)
        refined[present] = hard(probability[0].numpy())
    return fill_holes(refined)


def _refine_labels(image: np.ndarray, masks: np.ndarray, *, settings: CRFSettings) -> np.ndarray:
    check_inputs(image, masks)
    refined = np.zeros(masks.shape, dtype=bool)
    present = np.flatnonzero(masks.any((1, 2)))
    if len(present):
        channels = torch.from_numpy(soft(masks[present]))
        channels = torch.cat([(1 - channels.sum(0, keepdim=True)).clamp_(0, 1), channels])
        with torch.inference_mode():
            probability = label_probabilities(_image_tensor(image), channels[None], settings)
        labels = probability[0].numpy().argmax(0)
        refined[present] = labels == np.arange(1, len(present) + 1)[:, None, None]
    return refined


def crf_together(images: Tensor, masks: Tensor, counts: Sequence[int], *, settings: CRFSettings) -> Tensor:
    """Run the CRF of each mask of a batch, in one lattice; see :class:`~unseg_d2.refine.on_device.Together`."""
    places = _places(counts, masks.device)
    probability = crf_masks(images, _padded(masks, places, counts), settings)
    found = probability.flatten(0, 1).index_select(0, places) > FOREGROUND
    return found & masks.flatten(1).any(1)[:, None, None]


def crf_labels_together(images: Tensor, masks: Tensor, counts: Sequence[int], *, settings: CRFSettings) -> Tensor:
    """Run one CRF over the masks of each image, in one lattice; see :class:`~unseg_d2.refine.on_device.Together`.

    An image with fewer masks than another, or with empty ones, has labels whose probability is 0 throughout.
    """
    places, most = _places(counts, masks.device), max(counts)
    channels = _padded(masks, places, counts)
    background = (1 - channels.sum(1, keepdim=True)).clamp_(0, 1)
    absent = ~channels.flatten(2).any(2)
    logits = torch.cat([background, channels.masked_fill(absent[:, :, None, None], -torch.inf)], 1)
    labels = label_probabilities(images, logits, settings).argmax(1)
    return labels.index_select(0, owners(counts, masks.device)) == (places % most + 1)[:, None, None]


def _places(counts: Sequence[int], device: torch.device) -> Tensor:
    """Return the place of each mask among m masks of every image, ``(N,)`` int64: an image's own are the last."""
    most = max(counts)
    places = [image * most + most - count + k for image, count in enumerate(counts) for k in range(count)]
    return to_card(torch.tensor(places), device)


def _padded(masks: Tensor, places: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the masks ``(N, H, W)`` of each image as ``(b, m, H, W)`` float32, those that it lacks being 0."""
    padded = torch.zeros((len(counts) * max(counts), *masks.shape[1:]), device=masks.device)
    return padded.index_copy_(0, places, masks.float()).unflatten(0, (len(counts), -1))


def _image_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
