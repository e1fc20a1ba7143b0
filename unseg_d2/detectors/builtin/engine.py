"""The engine for machines without Detectron2."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode

from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.loader import build_test_loader, build_train_loader
from unseg_d2.data.sample import Sample
from unseg_d2.detectors.builtin.distributed import launch, rank_and_world_size, resolve_device
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.builtin.postprocess import to_prediction
from unseg_d2.detectors.builtin.train import train
from unseg_d2.detectors.checkpoints import load_weights
from unseg_d2.detectors.protocol import Prediction
from unseg_d2.errors import UnsegError


class BuiltinEngine:
    """Trains and runs the detector in torchvision parts; see :class:`~unseg_d2.detectors.protocol.Engine`."""

    name = "builtin"

    def launch(self, main: Callable[..., None], num_processes: int, args: Sequence[Any]) -> None:
        """Call ``main(*args)`` in each of ``num_processes`` connected processes, or here when there is one."""
        configurations = [argument for argument in args if isinstance(argument, CfgNode)]
        device = configurations[0].MODEL.DEVICE if configurations else "auto"
        launch(main, num_processes, args, device=device)

    def train(self, cfg: CfgNode, *, resume: bool) -> Path:
        """Train what ``cfg`` describes and return ``OUTPUT_DIR/model_final.pth``."""
        if not cfg.DATASETS.TRAIN:
            raise UnsegError("DATASETS.TRAIN is empty: name the data set to train on.")
        records = [record for spec in cfg.DATASETS.TRAIN for record in load_dataset(spec, cfg)]

        def make_loader(recipe: CfgNode, start_iter: int) -> Iterable[list[Sample]]:
            rank, world_size = rank_and_world_size()
            return build_train_loader(records, recipe, start_iter=start_iter, rank=rank, world_size=world_size)

        return train(cfg, make_loader, resume=resume)

    def predict(self, cfg: CfgNode, records: Sequence[dict[str, Any]], *, weights: str) -> Iterator[Prediction]:
        """Yield the predictions of the records, in their order."""
        device = resolve_device(cfg.MODEL.DEVICE)
        model = build_model(cfg).to(device).eval()
        load_weights(model, weights, trust=cfg.MODEL.TRUST_CHECKPOINT)
        amp = cfg.SOLVER.AMP.ENABLED and device.type == "cuda"
        for record, sample in zip(records, build_test_loader(records, cfg)):
            with torch.inference_mode(), torch.autocast(device.type, enabled=amp, dtype=torch.float16):
                (detections,) = model([sample])
            yield to_prediction(record, sample, detections)
