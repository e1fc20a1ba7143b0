"""The cost of copy-paste: time per training iteration with and without it, with equally many loader workers.

    python benchmarks/copy_paste.py [--rounds 4] [--iterations 8] [--config-file F] [KEY VALUE ...]

The built-in engine trains the recipe (by default Cascade Mask R-CNN R50-FPN on two synthetic scenes of 240 x 320 px per
iteration) with the real loader, alternately with and without copy-paste (rate 1, the most confident objects,
alpha-blended). The first iterations of every turn, while loaders start, are not counted. A step with copy-paste also
trains on more instances, so the cost of loading alone is printed too. Exits with status 1 if the bar is missed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.config import load_cfg
from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.loader import build_train_loader
from unseg_d2.detectors.builtin.train import train
from unseg_d2.rle import encode_confidence

RECIPE = Path(__file__).resolve().parents[1] / "configs" / "base_cascade_mask_rcnn_R_50_FPN.yaml"
SETTINGS = {
    "MODEL.RESNETS.NORM": "BN",
    "MODEL.FPN.NORM": "BN",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": "64",
    "INPUT.MIN_SIZE_TRAIN": "(240,)",
    "SOLVER.IMS_PER_BATCH": "2",
    "SYNTHETIC.NUM_TRAIN": "16",
    "DATALOADER.NUM_WORKERS": "1",
    "DATALOADER.COPY_PASTE_RATE": "1.0",
    "DATALOADER.COPY_PASTE_SELECTION": "confident",
    "DATALOADER.COPY_PASTE_BLEND": "confidence",
}
WARM_UP = 2  # iterations of a turn that do not count
BAR = 1.05  # a step with copy-paste takes at most this many times as long


class EnoughError(BaseException):
    """Ends a turn; no engine catches it, so no checkpoint is written."""


class Stopwatch:
    """Passes batches on and measures the time between requests: an iteration, loading included."""

    def __init__(self, batches: Iterable[Any], iterations: int) -> None:
        self.batches, self.iterations = batches, iterations
        self.times: list[float] = []

    def __iter__(self) -> Iterator[Any]:
        marks = [time.perf_counter()]
        for batch in self.batches:
            yield batch
            marks.append(time.perf_counter())
            if len(marks) > WARM_UP + self.iterations:
                break
        self.times = [after - before for before, after in pairwise(marks[WARM_UP:])]
        raise EnoughError


def turn(cfg: CfgNode, records: list[dict[str, Any]], iterations: int) -> list[float]:
    """Train for some iterations and return the seconds that each took."""
    stopwatch = Stopwatch(build_train_loader(records, cfg), iterations)
    try:
        train(cfg, lambda recipe, start_iter: stopwatch, resume=False)
    except EnoughError:
        return stopwatch.times
    raise RuntimeError("the training ended too early; SOLVER.MAX_ITER is too small")


def loading_seconds(cfg: CfgNode, records: list[dict[str, Any]], batches: int = 40) -> float:
    """Return the CPU seconds that a loader process spends on a batch."""
    loader = iter(build_train_loader(records, cfg))
    next(loader)
    start = time.process_time()
    for _ in range(batches):
        next(loader)
    return (time.process_time() - start) / batches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4, help="turns of each kind")
    parser.add_argument("--iterations", type=int, default=8, help="iterations per turn that count")
    parser.add_argument("--config-file", type=Path, default=RECIPE)
    parser.add_argument("opts", nargs="*", help="KEY VALUE pairs that change the recipe")
    args = parser.parse_args()
    times: dict[bool, list[float]] = {True: [], False: []}
    loading: dict[bool, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = [text for pair in SETTINGS.items() for text in pair]
        settings += ["OUTPUT_DIR", folder, "SYNTHETIC.ROOT", folder, *args.opts]
        records = load_dataset("synthetic_train", load_cfg(args.config_file, settings))
        for record in records:
            for annotation in record["annotations"]:
                annotation["confidence"] = encode_confidence([[0.5, 0.75], [0.9, 1.0]])
        for paste in times:
            one = [*settings, "DATALOADER.NUM_WORKERS", "0", "DATALOADER.COPY_PASTE", str(paste)]
            loading[paste] = loading_seconds(load_cfg(args.config_file, one), records)
        for _ in range(args.rounds):
            for paste in times:
                cfg = load_cfg(args.config_file, [*settings, "DATALOADER.COPY_PASTE", str(paste)])
                times[paste] += turn(cfg, records, args.iterations)
                name, taken = "with" if paste else "without", times[paste]
                print(f"{name:>8}: median {statistics.median(taken):.3f} s after {len(taken)} iterations", flush=True)
    with_it, without = (statistics.median(times[paste]) for paste in (True, False))
    print(f"seconds per iteration, {cfg.DATALOADER.NUM_WORKERS} loader processes, median of {len(times[True])}:")
    print(f"  loading alone, in one process: without copy-paste {loading[False]:.3f}, with it {loading[True]:.3f}")
    print(f"  without copy-paste {without:.3f}, with it {with_it:.3f}: {with_it / without:.3f} (at most {BAR})")
    if with_it / without > BAR:
        raise SystemExit("FAILED")
    print("PASSED")


if __name__ == "__main__":
    main()
