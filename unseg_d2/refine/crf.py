"""Fully connected CRF with two labels, by pydensecrf (Kraehenbuehl and Koltun, NeurIPS 2011).

The defaults are those of MaskCut, ProMerge and VoteCut.
"""

from __future__ import annotations

import importlib
from functools import partial
from types import ModuleType

import numpy as np

from unseg_d2.errors import missing_extra
from unseg_d2.refine.holes import fill_holes
from unseg_d2.refine.registry import REFINERS, Refiner, check_inputs


@REFINERS.register()
def crf(
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
        densecrf=_import_densecrf(),
        iterations=iterations,
        gaussian={"sxy": gaussian_sxy, "compat": gaussian_weight},
        bilateral={"sxy": bilateral_sxy, "srgb": bilateral_srgb, "compat": bilateral_weight},
    )


def infer(
    image: np.ndarray, mask: np.ndarray, *, densecrf: ModuleType, iterations: int, gaussian: dict, bilateral: dict
) -> np.ndarray:
    """Return the more probable label of each pixel, ``(H, W)`` bool, before its holes are filled."""
    height, width = mask.shape
    # Logits [1 - m, m] through a softmax: the mask is believed with probability 0.73 only.
    logits = np.stack([~mask, mask]).reshape(2, -1).astype(np.float64)
    unary = -np.log(np.exp(logits) / np.exp(logits).sum(0))
    model = densecrf.DenseCRF2D(width, height, 2)
    model.setUnaryEnergy(np.ascontiguousarray(unary, dtype=np.float32))
    model.addPairwiseGaussian(**gaussian)
    model.addPairwiseBilateral(rgbim=np.array(image, order="C"), **bilateral)  # refuses read-only arrays
    return np.argmax(model.inference(iterations), axis=0).reshape(height, width).astype(bool)


def _refine(image: np.ndarray, masks: np.ndarray, **settings) -> np.ndarray:
    check_inputs(image, masks)
    refined = [infer(image, mask, **settings) if mask.any() else mask for mask in masks]
    return fill_holes(np.stack(refined)) if refined else masks.copy()


def _import_densecrf() -> ModuleType:
    try:
        return importlib.import_module("pydensecrf.densecrf")
    except ImportError:
        raise missing_extra("pydensecrf2", "crf") from None
