"""The dense CRF by pydensecrf, a C++ library that has to be compiled: the reference for :mod:`unseg_d2.refine.crf`."""

from __future__ import annotations

import importlib
from functools import partial
from types import ModuleType

import numpy as np

from unseg_d2.errors import missing_extra
from unseg_d2.refine.holes import fill_holes
from unseg_d2.refine.registry import REFINERS, Refiner, check_inputs, soft


@REFINERS.register()
def pydensecrf(
    *,
    iterations: int = 10,
    gaussian_sxy: float = 3.0,
    gaussian_weight: float = 7.0,
    bilateral_sxy: float = 50.0,
    bilateral_srgb: float = 5.0,
    bilateral_weight: float = 10.0,
) -> Refiner:
    """Return a refiner that runs mean-field inference on each mask and fills its holes.

    Args:
        iterations: mean-field steps.
        gaussian_sxy: sigma of the smoothness kernel in pixels.
        gaussian_weight: Potts weight of the smoothness kernel.
        bilateral_sxy: sigma of the appearance kernel in pixels.
        bilateral_srgb: sigma of the appearance kernel in grey levels.
        bilateral_weight: Potts weight of the appearance kernel.

    Raises:
        UnsegError: if pydensecrf is not installed.
    """
    return partial(
        _refine,
        densecrf=import_densecrf(),
        iterations=iterations,
        gaussian={"sxy": gaussian_sxy, "compat": gaussian_weight},
        bilateral={"sxy": bilateral_sxy, "srgb": bilateral_srgb, "compat": bilateral_weight},
    )


def infer(
    image: np.ndarray, logits: np.ndarray, *, densecrf: ModuleType, iterations: int, gaussian: dict, bilateral: dict
) -> np.ndarray:
    """Return the probability of each label after mean field.

    Args:
        image: ``(H, W, 3)`` uint8.
        logits: ``(L, H, W)``; their softmax is the unary term.
        densecrf: the module of pydensecrf.
        iterations: mean-field steps.
        gaussian: ``sxy`` and ``compat`` of the smoothness kernel.
        bilateral: ``sxy``, ``srgb`` and ``compat`` of the appearance kernel.

    Returns:
        ``(L, H, W)`` float32.
    """
    labels, height, width = logits.shape
    powers = np.exp(logits.reshape(labels, -1).astype(np.float64))
    unary = -np.log(powers / powers.sum(0))
    model = densecrf.DenseCRF2D(width, height, labels)
    model.setUnaryEnergy(np.ascontiguousarray(unary, dtype=np.float32))
    model.addPairwiseGaussian(**gaussian)
    model.addPairwiseBilateral(rgbim=np.array(image, order="C"), **bilateral)  # refuses read-only arrays
    return np.asarray(model.inference(iterations)).reshape(labels, height, width)


def import_densecrf() -> ModuleType:
    """Return the module of pydensecrf.

    Raises:
        UnsegError: if it is not installed.
    """
    try:
        return importlib.import_module("pydensecrf.densecrf")
    except ImportError:
        raise missing_extra("pydensecrf2", "crf") from None


def _refine(image: np.ndarray, masks: np.ndarray, **settings) -> np.ndarray:
    check_inputs(image, masks)
    refined = np.zeros(masks.shape, dtype=bool)
    for out, mask in zip(refined, soft(masks)):
        if mask.any():
            out[:] = infer(image, np.stack([1 - mask, mask]), **settings).argmax(0)
    return fill_holes(refined)
