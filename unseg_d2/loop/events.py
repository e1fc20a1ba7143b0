"""What a training run reports: console lines, ``metrics.json`` (one JSON object per line), TensorBoard and trackers."""

from __future__ import annotations

import datetime
import json
import logging
import statistics
import sys
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from unseg_d2.loop.outlook import say_outlook
from unseg_d2.loop.trackers import Tracker

if TYPE_CHECKING:
    from typing_extensions import Self

PERIOD = 20
"""Iterations between reports."""

REPORTS = "metrics.json"
"""In the folder of a training: what it reported, a JSON object per line."""

MEGABYTE = 1024**2

logger = logging.getLogger(__name__)


class TrainingLog:
    """Collect the measurements of each iteration and report their medians every :data:`PERIOD` iterations.

    As a context manager it closes its files at the end, also after an error.

    Args:
        folder: of ``metrics.json`` and the TensorBoard file.
        start_iter: first iteration of this process.
        max_iter: iterations in all.
        batch_size: images per iteration, for the images per second; 0 leaves them out.
        tracker: that gets the same numbers; it is closed with the log.
    """

    def __init__(
        self, folder: Path, start_iter: int, max_iter: int, batch_size: int = 0, tracker: Tracker | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.metrics_file = folder / REPORTS
        self.writer = SummaryWriter(str(folder), purge_step=start_iter)
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.tracker = tracker
        self.start_iter = start_iter
        self.windows: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=PERIOD))
        self.last = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def step(self, iteration: int, losses: Mapping[str, float], lr: float, data_time: float) -> None:
        """Record an iteration, and report if one is due.

        Args:
            iteration: from 0.
            losses: by name.
            lr: learning rate.
            data_time: seconds spent waiting for the batch.
        """
        now = time.perf_counter()
        values = {"total_loss": sum(losses.values()), **losses, "time": now - self.last, "data_time": data_time}
        self.last = now
        for name, value in values.items():
            self.windows[name].append(value)
        if (iteration + 1) % PERIOD == 0 or iteration + 1 == self.max_iter:
            medians = {name: statistics.median(self.windows[name]) for name in values}
            self._report(iteration, {**medians, "lr": lr})
            if self.start_iter + PERIOD - 1 <= iteration < self.start_iter + 2 * PERIOD - 1:
                say_outlook(self.max_iter - iteration - 1, medians["time"])

    def scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """Write values to ``metrics.json``, TensorBoard and the tracker."""
        with open(self.metrics_file, "a") as file:
            file.write(json.dumps({"iteration": iteration, **values}, sort_keys=True) + "\n")
        for name, value in values.items():
            self.writer.add_scalar(name, value, iteration)
        if self.tracker is not None:
            self.tracker.log(iteration, values)

    def metrics(self, iteration: int, values: Mapping[str, float]) -> None:
        """Report the metrics of an evaluation; its time does not count towards an iteration."""
        self.scalars(iteration, values)
        logger.info(f"iter: {iteration}/{self.max_iter}  " + "  ".join(f"{k}: {v:.2f}" for k, v in values.items()))
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leave the time since the last iteration out of the next one: something else was done."""
        self.last = time.perf_counter()

    def sample(self, iteration: int, image: Tensor, boxes: Tensor, masks: Tensor) -> None:
        """Show a training sample in TensorBoard.

        Args:
            iteration: from 0.
            image: ``(3, H, W)`` uint8.
            boxes: ``(n, 4)`` xyxy in pixels.
            masks: ``(n, H, W)`` bool.
        """
        picture = image.cpu()
        if len(boxes):
            picture = draw_segmentation_masks(picture, masks.cpu(), alpha=0.5)
            picture = draw_bounding_boxes(picture, boxes.cpu())
        self.writer.add_image("training sample", picture, iteration)

    def close(self) -> None:
        """Write what is left and close the files."""
        self.writer.close()
        if self.tracker is not None:
            self.tracker.close()

    def _report(self, iteration: int, values: dict[str, Any]) -> None:
        memory = memory_megabytes()
        self.scalars(iteration, {**values, "max_memory_mb": memory})
        remaining = datetime.timedelta(seconds=int(values["time"] * (self.max_iter - iteration - 1)))
        losses = "  ".join(f"{name}: {value:.4g}" for name, value in values.items() if "loss" in name)
        speed = f"{self.batch_size / values['time']:.4g} images/s  " if self.batch_size else ""
        logger.info(
            f"iter: {iteration}/{self.max_iter}  {losses}  lr: {values['lr']:.5g}  time: {values['time']:.4g} s/it  "
            f"data_time: {values['data_time']:.3g} s/it  {speed}eta: {remaining}  max_mem: {memory:.0f} MB"
        )


def read_reports(path: Path) -> list[dict[str, float]]:
    """Return the lines of a ``metrics.json`` by ascending iteration, those of one iteration joined.

    A training that was killed and resumed wrote some iterations twice, of which the last counts, and may have left half
    a line.
    """
    found: dict[int, dict[str, float]] = {}
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            line = json.loads(text)
            found.setdefault(int(line["iteration"]), {}).update(line)
        except (ValueError, TypeError, KeyError):
            continue
    return [found[iteration] for iteration in sorted(found)]


def memory_megabytes() -> float:
    """Return the peak memory so far, in MB: of the GPU if one is in use, else of this process; 0 on Windows."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / MEGABYTE
    try:
        import resource
    except ImportError:  # Windows has another way to ask
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MEGABYTE if sys.platform == "darwin" else peak / 1024
