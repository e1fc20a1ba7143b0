"""Measure on a few images and iterations what the steps of a run take on this machine."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.config import edited
from unseg_d2.detectors.protocol import Engine
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.mask_generator import MaskGenerator
from unseg_d2.training.train import train

PROBED_IMAGES = 4
ITERATIONS = 10
PREDICTED_IMAGES = 8

Clock = Callable[[], float]


def time_masks(cfg: CfgNode, images: Sequence[Path], *, clock: Clock = time.monotonic) -> float:
    """Return the seconds that one process takes for the masks of an image.

    Args:
        cfg: recipe.
        images: some of those that masks will be made of; the first is not counted, since libraries warm up on it.
        clock: seconds.

    Raises:
        UnsegError: none of them can be used.
    """
    generator, times = MaskGenerator.from_recipe(cfg), []
    for image in images:
        started = clock()
        try:
            generator(image)
        except UnsegError:  # it will be one of the recorded failures
            continue
        times.append(clock() - started)
    if not times:
        raise UnsegError(f"None of the {len(images)} images that were tried can be used; the first is {images[0]}.")
    counted = times[1:] or times
    return sum(counted) / len(counted)


def time_training(
    engine: Engine, cfg: CfgNode, folder: Path, *, num_processes: int = 1, clock: Clock = time.monotonic
) -> tuple[float, float, Path]:
    """Train for a few iterations.

    Args:
        engine: that trains.
        cfg: recipe, with its data set.
        folder: for the training; it is emptied before.
        num_processes: that train.
        clock: seconds.

    Returns:
        Seconds of the start and the end of a training, those of an iteration, and the checkpoint.
    """
    shutil.rmtree(folder, ignore_errors=True)
    short = {
        "OUTPUT_DIR": str(folder),
        "SOLVER.MAX_ITER": ITERATIONS,
        "SOLVER.STEPS": (),
        "SOLVER.WARMUP_ITERS": ITERATIONS,
        "SOLVER.CHECKPOINT_PERIOD": 2 * ITERATIONS,
        "TEST.EVAL_PERIOD": 0,
        "TEST.BEST": "",
        "TRACKER": "",
        "DATASETS.HELD_OUT": 0.0,
    }
    started = clock()
    checkpoint = train(engine, edited(cfg, short), num_processes=num_processes, following=-1)
    whole = clock() - started
    iteration = float(json.loads((folder / "metrics.json").read_text().splitlines()[-1])["time"])
    return max(0.0, whole - ITERATIONS * iteration), iteration, checkpoint


def time_prediction(
    engine: Engine, cfg: CfgNode, records: Sequence[dict[str, Any]], weights: Path, *, clock: Clock = time.monotonic
) -> float:
    """Return the seconds that the detector takes for an image, without its start.

    Args:
        engine: that predicts.
        cfg: recipe.
        records: the images; a few of them are predicted.
        weights: checkpoint.
        clock: seconds.
    """
    some = list(itertools.islice(records, PREDICTED_IMAGES))
    times = [clock()]
    for prediction in engine.predict(cfg, some, weights=str(weights)):
        prediction.to_coco(1)
        times.append(clock())
    return (times[-1] - times[1]) / (len(times) - 2) if len(times) > 2 else times[-1] - times[0]
