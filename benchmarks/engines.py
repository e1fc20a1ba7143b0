"""Time per training iteration: the built-in engine against Detectron2's, at equal settings, in one run.

    python benchmarks/engines.py [--rounds 5] [--iterations 6] [KEY VALUE ...]

Both engines train the same recipe (Cascade Mask R-CNN R50-FPN, two images of 160 x 213 px, 64 RoIs of 1000 proposals
each) on the same samples in memory. They take turns, so that whatever else the machine does slows both down; the
first iteration of every turn is not counted. Printed are the median of each and their ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import torch
from fvcore.common.config import CfgNode

from unseg_d2.config import load_cfg
from unseg_d2.data.sample import Sample
from unseg_d2.detectors.builtin.train import train as train_builtin
from unseg_d2.detectors.protocol import detectron2_availability

RECIPE = Path(__file__).resolve().parents[1] / "configs" / "base_cascade_mask_rcnn_R_50_FPN.yaml"
SETTINGS = {
    "MODEL.RESNETS.NORM": "BN",
    "MODEL.FPN.NORM": "BN",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": "64",
    "MODEL.ROI_HEADS.USE_DROPLOSS": "True",
    "MODEL.ROI_HEADS.DROPLOSS_IOU_THRESH": "0.01",
    "SOLVER.IMS_PER_BATCH": "2",
}
HEIGHT, WIDTH, INSTANCES = 160, 213, 5
BAR = 1.10  # the built-in engine takes at most this many times as long


class EnoughError(BaseException):
    """Ends a turn; no engine catches it, so no checkpoint is written."""


class Stopwatch:
    """Batches in memory; the time from one being asked for to the next is that of an iteration."""

    def __init__(self, iterations: int, batch_size: int) -> None:
        self.iterations = iterations
        self.batch = [make_sample(seed) for seed in range(batch_size)]
        self.times: list[float] = []

    def __iter__(self) -> Iterator[list[Sample]]:
        marks = []
        for _ in range(self.iterations + 2):
            _synchronise()
            marks.append(time.perf_counter())
            yield self.batch
        self.times = [after - before for before, after in pairwise(marks[1:])]
        raise EnoughError


def make_sample(seed: int) -> Sample:
    """An image of noise with rectangles."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(256, (3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
    corners = torch.rand(INSTANCES, 2, generator=generator) * torch.tensor([WIDTH / 2, HEIGHT / 2])
    sides = 20 + torch.rand(INSTANCES, 2, generator=generator) * 60
    boxes = torch.cat([corners, corners + sides], dim=1).round()
    masks = torch.zeros(INSTANCES, HEIGHT, WIDTH, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist()):
        mask[y0:y1, x0:x1] = True
    return Sample(image, boxes, masks, torch.ones(INSTANCES), None, f"{seed}.png", seed, HEIGHT, WIDTH)


def turn(train: Callable[..., object], cfg: CfgNode, iterations: int) -> list[float]:
    """Train for some iterations and return the seconds that each but the first took."""
    stopwatch = Stopwatch(iterations, cfg.SOLVER.IMS_PER_BATCH)
    try:
        train(cfg, lambda recipe, start_iter: stopwatch, resume=False)
    except EnoughError:
        return stopwatch.times
    raise RuntimeError("the training ended before its time; SOLVER.MAX_ITER is too small")


def measure(rounds: int, iterations: int, opts: list[str]) -> dict[str, float]:
    """Return the medians in seconds and their ratio."""
    from unseg_d2.detectors.detectron2.trainer import train as train_detectron2

    engines = {"builtin": train_builtin, "detectron2": train_detectron2}
    times: dict[str, list[float]] = {name: [] for name in engines}
    with tempfile.TemporaryDirectory() as folder:
        settings = [text for pair in SETTINGS.items() for text in pair]
        cfg = load_cfg(RECIPE, [*settings, "OUTPUT_DIR", folder, *opts])
        for _ in range(rounds):
            for name, train in engines.items():
                times[name] += turn(train, cfg, iterations)
                print(f"{name:>10}: median {statistics.median(times[name]):.3f} s after {len(times[name])} iterations")
    medians = {name: statistics.median(values) for name, values in times.items()}
    return medians | {"ratio": medians["builtin"] / medians["detectron2"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each engine")
    parser.add_argument("--iterations", type=int, default=6, help="iterations per turn that count")
    parser.add_argument("opts", nargs="*", help="KEY VALUE pairs that change the recipe")
    args = parser.parse_args()
    usable, reason = detectron2_availability()
    if not usable:
        print(f"skipped: {reason}")
        return
    result = measure(args.rounds, args.iterations, args.opts)
    verdict = "passed" if result["ratio"] <= BAR else "FAILED"
    print(f"built-in / Detectron2 = {result['ratio']:.3f} (at most {BAR}): {verdict}")
    print(json.dumps({name: round(value, 4) for name, value in result.items()}))
    if verdict == "FAILED":
        raise SystemExit(1)


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
