"""Segment objects without a single label: pseudo-masks, a class-agnostic detector, self-training, evaluation.

``__all__`` is what this package promises; docs/api.md describes it. A name is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unseg_d2.api import generate_masks, group_masks, self_train
    from unseg_d2.apps.visualize import visualize
    from unseg_d2.config.recipe import load_recipe
    from unseg_d2.deploy.export import export_detector
    from unseg_d2.deploy.onnx_detector import OnnxDetector
    from unseg_d2.detectors.detector import Detector
    from unseg_d2.detectors.prediction import Prediction
    from unseg_d2.errors import UnsegError
    from unseg_d2.exchange.export import export_labels
    from unseg_d2.exchange.import_ import import_corrections
    from unseg_d2.pseudo.label_set import read_label_set
    from unseg_d2.pseudo.mask_generator import MaskGenerator
    from unseg_d2.saliency.head import SaliencyHead
    from unseg_d2.structures import PseudoMask
    from unseg_d2.training.score_masks import score_masks

__version__ = "0.1.0"
__all__ = ["Detector", "MaskGenerator", "Prediction", "PseudoMask", "UnsegError", "export_labels", "generate_masks"]
__all__ += ["group_masks"]
__all__ += ["import_corrections", "load_recipe", "read_label_set", "SaliencyHead", "score_masks", "self_train"]
__all__ += ["OnnxDetector", "export_detector", "visualize"]
_HOMES = {
    "Detector": "detectors.detector",
    "MaskGenerator": "pseudo.mask_generator",
    "OnnxDetector": "deploy.onnx_detector",
    "Prediction": "detectors.prediction",
    "PseudoMask": "structures",
    "SaliencyHead": "saliency.head",
    "UnsegError": "errors",
    "export_detector": "deploy.export",
    "export_labels": "exchange.export",
    "import_corrections": "exchange.import_",
    "generate_masks": "api",
    "group_masks": "api",
    "load_recipe": "config.recipe",
    "read_label_set": "pseudo.label_set",
    "score_masks": "training.score_masks",
    "self_train": "api",
    "visualize": "apps.visualize",
}


if not TYPE_CHECKING:  # a type checker that saw it would take any name for good

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
