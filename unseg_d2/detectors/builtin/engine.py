"""The built-in engine, which needs no Detectron2."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode

from unseg_d2.config import edited
from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.records import Records
from unseg_d2.data.sample import Sample
from unseg_d2.detectors.builtin.model import GeneralizedRCNN, build_model
from unseg_d2.detectors.builtin.speed import speed_up
from unseg_d2.detectors.builtin.train import train
from unseg_d2.detectors.checkpoints import load_weights
from unseg_d2.detectors.postprocess import Detections
from unseg_d2.detectors.prediction import Prediction
from unseg_d2.detectors.predictor import Predictor
from unseg_d2.detectors.scoring import Found
from unseg_d2.detectors.training_data import loaders_of, set_aside, training_records
from unseg_d2.devices import resolve_device
from unseg_d2.evaluation.chunks import Chunk
from unseg_d2.evaluation.records import ground_truth
from unseg_d2.evaluation.registry import classes_told_apart
from unseg_d2.loop.distributed import gather, launch, rank_and_world_size
from unseg_d2.loop.machines import ONE_MACHINE, Machines
from unseg_d2.loop.precision import set_precision

IMAGES_AT_ONCE = 64
"""Images of a process whose detections are held at once in an evaluation."""


class BuiltinEngine:
    """Trains and runs the detector built from torchvision; see :class:`~unseg_d2.detectors.protocol.Engine`."""

    name = "builtin"

    def launch(
        self, main: Callable[..., None], num_processes: int, args: Sequence[Any], machines: Machines = ONE_MACHINE
    ) -> None:
        """Call ``main(*args)`` in connected processes; see `Engine.launch`."""
        configurations = [argument for argument in args if isinstance(argument, CfgNode)]
        device = configurations[0].MODEL.DEVICE if configurations else "auto"
        launch(main, num_processes, args, device=device, machines=machines)

    def train(self, cfg: CfgNode, *, resume: bool) -> Path:
        """Train the detector of a recipe and return ``OUTPUT_DIR/model_final.pth``; see `Engine.train`."""
        records, held_out = training_records(cfg), None
        if cfg.DATASETS.HELD_OUT and not cfg.DATASETS.TEST:
            records, held_out = set_aside(records, cfg.DATASETS.HELD_OUT)

        def evaluate(model: GeneralizedRCNN) -> list[Found]:
            if held_out is not None:
                return [Found("", len(held_out), _chunks(cfg, model, held_out))]
            return found_in_datasets(cfg, model)

        return train(cfg, loaders_of(records, cfg), resume=resume, evaluate=evaluate)

    def build_predictor(self, cfg: CfgNode, *, weights: str) -> Predictor:
        """Build the network and load a checkpoint into it; see `Engine.build_predictor`."""
        cfg = edited(cfg, {"MODEL.TIMM.PRETRAINED": False})  # all weights come from the checkpoint
        set_precision(cfg)
        model = build_model(cfg).to(resolve_device(cfg.MODEL.DEVICE, "MODEL.DEVICE"))
        load_weights(model, weights, trust=cfg.MODEL.TRUST_CHECKPOINT)
        model = speed_up(model, cfg)
        return Predictor(functools.partial(detect, model.eval()), cfg)

    def predict(self, cfg: CfgNode, records: Sequence[dict[str, Any]], *, weights: str) -> Iterator[Prediction]:
        """Yield the predictions of the records, in their order; see `Engine.predict`."""
        yield from self.build_predictor(cfg, weights=weights).on_records(records)


def detect(model: GeneralizedRCNN, samples: Sequence[Sample]) -> list[Detections]:
    """Return what a network in evaluation mode detects in a batch of images of one size."""
    with torch.inference_mode():
        return model(samples)


def predict(
    model: GeneralizedRCNN, cfg: CfgNode, records: Sequence[dict[str, Any]]
) -> Generator[Prediction, None, None]:
    """Yield the predictions of a network that is on its device already; its mode is restored at the end."""
    was_training = model.training
    model.eval()
    try:
        yield from Predictor(functools.partial(detect, model), cfg).on_records(records)
    finally:
        model.train(was_training)


def found_in_datasets(cfg: CfgNode, model: GeneralizedRCNN) -> list[Found]:
    """Return what a network will find in ``DATASETS.TEST``; every process handles a share of the images.

    Args:
        cfg: recipe.
        model: the network on its device.
    """
    several, found = len(cfg.DATASETS.TEST) > 1, []
    for name in cfg.DATASETS.TEST:
        records = load_dataset(name, cfg, classes_told_apart(cfg))
        prefix = f"{Path(name).stem}/" if several else ""
        found.append(Found(prefix, len(records), _chunks(cfg, model, records)))
    return found


def _chunks(cfg: CfgNode, model: GeneralizedRCNN, records: Records) -> Iterator[Chunk]:
    """Yield the ground truth with what a network finds, some images at a time; nothing but in the main process."""
    rank, world_size = rank_and_world_size()
    ids, at_once = records.category_ids(), IMAGES_AT_ONCE * world_size
    with closing(predict(model, cfg, records.images()[rank::world_size])) as predictions:
        for start in range(0, len(records), at_once):
            images = records[start : start + at_once]
            share = islice(predictions, len(images[rank::world_size]))
            results = gather([result for prediction in share for result in prediction.to_coco(ids)])
            yield ground_truth(images if rank == 0 else [], records.categories), results
