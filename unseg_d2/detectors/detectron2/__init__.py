"""The Detectron2 extension: importing it registers the RoI heads and the built-in data sets.

If Detectron2 cannot be used, the import still succeeds: :func:`availability` says why, and using any other name of the
package raises an error with that reason.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from unseg_d2.detectors.detectron2.availability import availability
from unseg_d2.errors import UnsegError

if TYPE_CHECKING:
    from unseg_d2.detectors.detectron2.config import add_unseg_config
    from unseg_d2.detectors.detectron2.datasets import register_datasets
    from unseg_d2.detectors.detectron2.engine import Detectron2Engine
    from unseg_d2.detectors.detectron2.evaluator import ClassAgnosticEvaluator

__all__ = ["ClassAgnosticEvaluator", "Detectron2Engine", "add_unseg_config", "availability", "register_datasets"]

_MODULES = {
    "ClassAgnosticEvaluator": "evaluator",
    "Detectron2Engine": "engine",
    "add_unseg_config": "config",
    "register_datasets": "datasets",
}

if availability()[0]:
    importlib.import_module(f"{__name__}.roi_heads")
    importlib.import_module(f"{__name__}.datasets").register_datasets()


def __getattr__(name: str) -> Any:
    """Import a public name on first use, or explain why it is not available."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    usable, reason = availability()
    if not usable:
        raise UnsegError(reason)
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
