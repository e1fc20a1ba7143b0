"""The dense CRF by pydensecrf, a C++ library that has to be compiled: the reference for :mod:`unseg_d2.refine.crf`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import numpy as np

from unseg_d2.errors import missing_extra
from unseg_d2.refine.crf import CRFSettings
from unseg_d2.refine.holes import fill_holes
from unseg_d2.refine.registry import REFINERS, Refiner, check_inputs, soft


@dataclass(frozen=True)
class PydensecrfSettings(CRFSettings):
    """Settings of :func:`pydensecrf`."""


@REFINERS.register(settings=PydensecrfSettings)
def pydensecrf(settings: PydensecrfSettings | None = None) -> Refiner:
    """Return a refiner that runs mean-field inference on each mask and fills its holes.

    Args:
        settings: see :class:`PydensecrfSettings`; ``None`` takes the defaults.

    Raises:
        UnsegError: if pydensecrf is not installed.
    """
    return partial(_refine, densecrf=import_densecrf(), settings=settings or PydensecrfSettings())


def infer(image: np.ndarray, logits: np.ndarray, densecrf: ModuleType, settings: CRFSettings) -> np.ndarray:
    """Return the probability of each label after mean field.

    Args:
        image: ``(H, W, 3)`` uint8.
        logits: ``(L, H, W)``; their softmax is the unary term.
        densecrf: the module of pydensecrf.
        settings: kernels and steps.

    Returns:
        ``(L, H, W)`` float32.
    """
    labels, height, width = logits.shape
    powers = np.exp(logits.reshape(labels, -1).astype(np.float64))
    unary = -np.log(powers / powers.sum(0))
    model = densecrf.DenseCRF2D(width, height, labels)
    model.setUnaryEnergy(np.ascontiguousarray(unary, dtype=np.float32))
    model.addPairwiseGaussian(sxy=settings.gaussian_sxy, compat=settings.gaussian_weight)
    model.addPairwiseBilateral(
        sxy=settings.bilateral_sxy,
        srgb=settings.bilateral_srgb,
        rgbim=np.array(image, order="C"),  # it refuses read-only arrays
        compat=settings.bilateral_weight,
    )
    return np.asarray(model.inference(settings.iterations)).reshape(labels, height, width)


def import_densecrf() -> ModuleType:
    """Return the module of pydensecrf.

    Raises:
        UnsegError: if it is not installed.
    """
    try:
        return importlib.import_module("pydensecrf.densecrf")
    except ImportError:
        raise missing_extra("pydensecrf2", "crf") from None


def _refine(image: np.ndarray, masks: np.ndarray, *, densecrf: ModuleType, settings: CRFSettings) -> np.ndarray:
    check_inputs(image, masks)
    refined = np.zeros(masks.shape, dtype=bool)
    for out, mask in zip(refined, soft(masks)):
        if mask.any():
            out[:] = infer(image, np.stack([1 - mask, mask]), densecrf, settings).argmax(0)
    return fill_holes(refined)
