"""An engine without a network, whose detections are the ground truth of every image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode

from unseg_d2.data.coco import encode_mask
from unseg_d2.detectors.prediction import Prediction


def write_weights(path: Path, text: str) -> Path:
    """Write a checkpoint that stands for a training."""
    torch.save({"model": {text: torch.zeros(1)}}, path)
    return path


@dataclass
class FakePredictor:
    """What an engine that is asked for it predicts."""

    engine: FakeEngine
    cfg: CfgNode
    weights: str

    def on_records(self, records: Sequence[dict[str, Any]]) -> Iterator[Prediction]:
        return self.engine.predict(self.cfg, records, weights=self.weights)


class FakeEngine:
    """Records its calls; fails like a killed process when the countdown of images reaches zero."""

    name = "fake"

    def __init__(self, fail_after: int | None = None) -> None:
        self.trained: list[dict[str, Any]] = []
        self.predicted: list[str] = []
        self.fail_after = fail_after

    def launch(self, main: Callable[..., None], num_processes: int, args: Sequence[Any], machines: Any = None) -> None:
        main(*args)

    def train(self, cfg: CfgNode, *, resume: bool) -> Path:
        self.trained.append({"weights": cfg.MODEL.WEIGHTS, "labels": cfg.DATASETS.TRAIN[0], "resume": resume})
        output = Path(cfg.OUTPUT_DIR) / "model_final.pth"
        return write_weights(output, f"trained on {cfg.DATASETS.TRAIN[0]}")

    def build_predictor(self, cfg: CfgNode, *, weights: str) -> FakePredictor:
        return FakePredictor(self, cfg, weights)

    def predict(self, cfg: CfgNode, records: Sequence[dict[str, Any]], *, weights: str) -> Iterator[Prediction]:
        for record in records:
            if self.fail_after is not None and len(self.predicted) >= self.fail_after:
                raise KeyboardInterrupt
            self.predicted.append(record["file_name"])
            height, width = record["height"], record["width"]
            mask = np.zeros((height, width), bool)
            mask[height // 4 : height // 2, width // 4 : width // 2] = True
            box = np.array([[width // 4, height // 4, width // 2, height // 2]], np.float32)
            yield Prediction(record, (height, width), box, np.array([0.9], np.float32), [encode_mask(mask)])
