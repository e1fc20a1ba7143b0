"""(image, masks) to masks that follow the edges of the image."""

from __future__ import annotations

from unseg_d2.refine import bilateral, crf_refiners, guided, pydensecrf  # noqa: F401 (register themselves)
from unseg_d2.refine.bilateral import BilateralSettings, bilateral_solver
from unseg_d2.refine.crf import CRFSettings, LabelCRFSettings, crf_masks, label_probabilities
from unseg_d2.refine.guided import guided_filter
from unseg_d2.refine.holes import fill_holes
from unseg_d2.refine.on_device import CardRefiner
from unseg_d2.refine.registry import REFINERS, Refiner, RefineSettings, build_refiner, refiner_from_config

__all__ = [
    "BilateralSettings",
    "CRFSettings",
    "CardRefiner",
    "LabelCRFSettings",
    "RefineSettings",
    "REFINERS",
    "Refiner",
    "build_refiner",
    "bilateral_solver",
    "crf_masks",
    "fill_holes",
    "guided_filter",
    "label_probabilities",
    "refiner_from_config",
]
