"""The public door for Detectron2 projects: ``from unseg_d2.detectron2 import add_unseg_config`` is the one call.

``__all__`` is what this package promises; docs/detectron2.md describes it. A name is imported when it is first used.
Without Detectron2 the import still succeeds: :func:`availability` says why, and using any other name raises an error
with that reason. Nothing is registered with Detectron2 before :func:`add_unseg_config` or a part of ours is used, and
then only under names of our own.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from unseg_d2.detectors.detectron2.availability import availability
from unseg_d2.errors import UnsegError

if TYPE_CHECKING:
    from unseg_d2.detectors.detectron2.config import add_unseg_config
    from unseg_d2.detectors.detectron2.datasets import register_datasets
    from unseg_d2.detectors.detectron2.evaluator import ClassAgnosticEvaluator
    from unseg_d2.detectors.detectron2.label_sets import register_label_set
    from unseg_d2.detectors.detectron2.mapper import UnsegDatasetMapper
    from unseg_d2.detectors.detectron2.trainer import UnsegTrainer
    from unseg_d2.detectron2.self_training import next_label_set
    from unseg_d2.recipes import find_recipe

__all__ = ["ClassAgnosticEvaluator", "UnsegDatasetMapper", "UnsegTrainer", "add_unseg_config", "availability"]
__all__ += ["find_recipe", "next_label_set", "register_datasets", "register_label_set"]

_MODULES = {
    "ClassAgnosticEvaluator": "detectors.detectron2.evaluator",
    "UnsegDatasetMapper": "detectors.detectron2.mapper",
    "UnsegTrainer": "detectors.detectron2.trainer",
    "add_unseg_config": "detectors.detectron2.config",
    "find_recipe": "recipes",
    "next_label_set": "detectron2.self_training",
    "register_datasets": "detectors.detectron2.datasets",
    "register_label_set": "detectors.detectron2.label_sets",
}
"""Name to the module of ``unseg_d2`` that it lies in."""


if not TYPE_CHECKING:  # a type checker that saw it would take any name for good

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        usable, reason = availability()
        if not usable:
            raise UnsegError(reason)
        return getattr(importlib.import_module(f"unseg_d2.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
