"""Images per second when making a label set with two worker processes, compared with one (one thread each).

Run with ``python benchmarks/generation.py``; exits with 1 if two workers are less than 1.9 times as fast as one.
The time to start processes and load libraries is not counted, because it does not grow with the number of images.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.config import load_cfg
from unseg_d2.data.synthetic import ensure_synthetic
from unseg_d2.jobs.workers import run_jobs
from unseg_d2.pseudo.inputs import Inputs, list_inputs
from unseg_d2.pseudo.make_shard import ShardJob, ShardMaker
from unseg_d2.pseudo.pipeline import MaskPipeline, build_pipeline
from unseg_d2.pseudo.shards import ShardFolder

BAR = 1.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=32, help="images per measurement")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each kind, taken in turn")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cfg = settings(Path(folder), args.images)
        images, _ = ensure_synthetic(cfg, "val")
        inputs = list_inputs(images, cfg)
        speeds: dict[int, list[float]] = {1: [], 2: []}
        for repeat in range(args.repeats):
            for workers in speeds:
                speeds[workers].append(throughput(cfg, inputs, workers, Path(folder) / f"{workers}_{repeat}"))
    one, two = (statistics.median(values) for values in speeds.values())
    passed = two / one >= BAR
    print(f"1 worker   {one:6.2f} images/s  {', '.join(f'{value:.2f}' for value in speeds[1])}")
    print(f"2 workers  {two:6.2f} images/s  {', '.join(f'{value:.2f}' for value in speeds[2])}")
    print(f"ratio      {two / one:6.2f}  (bar {BAR}) {'ok' if passed else 'FAILED'}")
    sys.exit(0 if passed else 1)


def settings(folder: Path, images: int) -> CfgNode:
    """Return the recipe: MaskCut on descriptors at the paper's resolution, on synthetic scenes."""
    opts = ["FEATURES.NAME", "descriptors", "FEATURES.DEVICE", "cpu", "SYNTHETIC.ROOT", str(folder)]
    return load_cfg(None, [*opts, "SYNTHETIC.NUM_VAL", str(images)])


def throughput(cfg: CfgNode, inputs: Inputs, workers: int, folder: Path) -> float:
    """Return the images per second, counted from when all workers are ready."""
    shards = ShardFolder(folder / "labels")
    shards.open({"num_images": len(inputs), "shard_size": 1})
    jobs = [ShardJob(index, [pair]) for index, pair in enumerate(zip(inputs.ids, inputs.file_names))]
    build = functools.partial(build_together, folder=folder / "ready", count=workers)
    start = 0.0
    for _ in run_jobs(ShardMaker(cfg, inputs.root, shards, build), jobs, workers):
        start = start or time.perf_counter()
    return len(inputs) / (time.perf_counter() - start)


def build_together(cfg: CfgNode, folder: Path, count: int) -> MaskPipeline:
    """Build the pipeline, use it once, and wait until every worker has done so."""
    pipeline = build_pipeline(cfg)
    pipeline([np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)])
    folder.mkdir(exist_ok=True)
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < count:
        time.sleep(0.005)
    return pipeline


if __name__ == "__main__":
    main()
