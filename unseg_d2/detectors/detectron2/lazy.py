"""Parts that a LazyConfig can name besides the heads: data, evaluation and an optimiser with gradient clipping.

A LazyConfig describes network, optimiser and schedule in Python; how images are read, resized and pasted stays in a
recipe (YAML), so that it is specified in one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import detectron2
import torch
from detectron2.config import CfgNode as Detectron2CfgNode
from detectron2.config import LazyConfig
from detectron2.solver.build import maybe_add_gradient_clipping
from detectron2.utils import comm

from unseg_d2.config import edited, load_cfg
from unseg_d2.data.loader import build_train_loader
from unseg_d2.detectors.detectron2.evaluator import ClassAgnosticEvaluator
from unseg_d2.detectors.detectron2.inputs import TestInputs, TrainingInputs
from unseg_d2.detectors.detectron2.records import check_annotated, dataset_records, hint_at_registration
from unseg_d2.detectors.training_data import training_records


def common_config(name: str) -> Any:
    """Return a LazyConfig that Detectron2 ships, such as ``common/train.py``.

    Its own ``model_zoo.get_config`` needs ``pkg_resources``, which recent versions of setuptools lack.
    """
    return LazyConfig.load(str(Path(detectron2.__file__).parent / "model_zoo" / "configs" / name))


def train_inputs(
    recipe: str, datasets: Sequence[str], batch_size: int, opts: Sequence[str] = (), evaluated: str = ""
) -> TrainingInputs:
    """Return the endless training batches of this process.

    Args:
        recipe: YAML file; its ``INPUT`` and ``DATALOADER`` blocks say what happens to an image.
        datasets: registered or built-in names, COCO JSON files or folders, see `dataset_records`.
        batch_size: images per batch over all processes.
        opts: changes to the recipe, ``KEY, VALUE, ...``.
        evaluated: data set of the evaluation, which Detectron2's script reads after the training; it is looked up now.

    Raises:
        UnsegError: a data set is not there, or the one of the evaluation has no annotations.
    """
    cfg = load_cfg(recipe, [*opts, "SOLVER.IMS_PER_BATCH", str(batch_size)])
    if evaluated:
        check_annotated(evaluated, cfg)
    records = training_records(edited(cfg, {"DATASETS.TRAIN": tuple(datasets)}), dataset_records)
    rank, world_size = comm.get_rank(), comm.get_world_size()
    with hint_at_registration(datasets):
        return TrainingInputs(build_train_loader(records, cfg, rank=rank, world_size=world_size), cfg)


def test_inputs(recipe: str, dataset: str, opts: Sequence[str] = ()) -> TestInputs:
    """Return this process's share of the images of a data set; for the arguments see `train_inputs`."""
    cfg = load_cfg(recipe, list(opts))
    return TestInputs(dataset_records(dataset, cfg)[comm.get_rank() :: comm.get_world_size()], cfg)


def evaluator(recipe: str, dataset: str, opts: Sequence[str] = ()) -> ClassAgnosticEvaluator:
    """Return what computes the metrics of ``TEST.EVALUATORS`` on a data set; for the arguments see `train_inputs`."""
    cfg = load_cfg(recipe, list(opts))
    return ClassAgnosticEvaluator(dataset, cfg)


def clipped_sgd(params: Iterable[Any], clip_norm: float, **options: Any) -> torch.optim.Optimizer:
    """Return SGD with gradients clipped per parameter, which Detectron2 offers for YAML configurations only.

    Args:
        params: parameters or groups of them.
        clip_norm: largest L2 norm of one parameter's gradient.
        **options: of ``torch.optim.SGD``.
    """
    clip = {"ENABLED": True, "CLIP_TYPE": "norm", "CLIP_VALUE": clip_norm, "NORM_TYPE": 2.0}
    cfg = Detectron2CfgNode({"SOLVER": {"CLIP_GRADIENTS": clip}})
    return maybe_add_gradient_clipping(cfg, torch.optim.SGD(params, **options))
