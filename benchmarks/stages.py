"""Images per second of one device's process, alone and with processes that read and finish images for it.

Run with ``python benchmarks/stages.py``. A sleep takes the place of the card, so the figures show what the processes
around it allow, as a ratio to the same work in one process. Images are JPEG files of 500 x 375 pixels, and three masks
each go through the guided filter at 480 x 480. ``--asleep`` replaces the work of readers and finishers by sleeping as
long as it takes: so many of them can be tried on few cores, and what is left is the cost of handing images over.
``--pipes`` sends pixels through the pipes between the processes in place of shared memory.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from unseg_d2.data.images import ImageFile, Reading
from unseg_d2.pseudo.geometry import NetworkInput
from unseg_d2.pseudo.looks import Look, Looking
from unseg_d2.pseudo.make_shard import one_thread
from unseg_d2.pseudo.pipeline import MaskPipeline
from unseg_d2.pseudo.pool_sizes import PoolSizes
from unseg_d2.pseudo.post_process import PostProcess
from unseg_d2.pseudo.renew import Sources
from unseg_d2.pseudo.stage_times import StageTimes
from unseg_d2.pseudo.stages import Stages
from unseg_d2.refine import RefineSettings, build_refiner
from unseg_d2.structures import PatchFeatures, Proposals

PATCH, SIDE = 8, 480
READING, FINISHING = 0.0065, 0.07
"""Seconds that reading an image and finishing its masks take on one core."""


def main() -> None:
    args = arguments()
    with tempfile.TemporaryDirectory() as folder:
        images = pictures(Path(folder), args.images, (64, 48) if args.asleep else (500, 375))
        print("| readers | finishers | images/s | device busy | ratio |\n|---:|---:|---:|---:|---:|")
        alone = 0.0
        for numbers in [(0, 0), *(tuple(map(int, pair.split(","))) for pair in args.pools)]:
            speed, busy = measure(Path(folder), images, PoolSizes(*numbers), args)
            alone = alone or speed
            print(f"| {numbers[0]} | {numbers[1]} | {speed:.1f} | {busy:.0%} | {speed / alone:.2f} |", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64, help="images per measurement")
    parser.add_argument("--repeats", type=int, default=3, help="measurements, of which the median counts")
    parser.add_argument("--batch", type=int, default=8, help="images per batch")
    parser.add_argument("--device-ms", type=float, default=10, help="milliseconds per image that the device takes")
    parser.add_argument("--asleep", action="store_true", help="readers and finishers sleep too")
    parser.add_argument("--pipes", action="store_true", help="pixels go through pipes")
    parser.add_argument("pools", nargs="*", default=["1,1", "1,2"], help="readers and finishers: 2,8")
    return parser.parse_args()


def pictures(folder: Path, count: int, size: tuple[int, int]) -> list[tuple[int, str]]:
    """Write pictures with some texture, and return their ids and names."""
    rng = np.random.default_rng(0)
    for index in range(count):
        coarse = rng.integers(0, 256, (25, 34, 3), np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(folder / f"{index:05d}.jpg")
    return [(index, f"{index:05d}.jpg") for index in range(count)]


def measure(
    folder: Path, images: list[tuple[int, str]], sizes: PoolSizes, args: argparse.Namespace
) -> tuple[float, float]:
    """Return images per second, and the share of the time that the device was busy."""
    batches = [images[start : start + args.batch] for start in range(0, len(images), args.batch)]
    pipeline = Asleep(pipeline_of(args.device_ms / 1000), args.asleep, args.pipes)
    with one_thread():
        stages = Stages(pipeline, Sources(folder), Reading(), batch_size=args.batch, sizes=sizes, plugins=())
        try:
            list(stages.lines(batches[:1] * (1 + sizes.readers + sizes.finishers)))  # until all processes have begun
            found = []
            for _ in range(args.repeats):
                times = StageTimes()
                stages.clock.begin()
                list(stages.lines(batches))
                times.add(len(images), stages.seconds())
                found.append((len(images) / times.seconds["elapsed"], times.shares()["features"]))
        finally:
            stages.close()
    speeds, busy = zip(*found)
    return statistics.median(speeds), statistics.median(busy)


class SleepingFeatures:
    """In the place of a card: sleeps, and returns tokens of no meaning."""

    name, patch_size, checksum = "asleep", PATCH, "0" * 64

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, images: Sequence[np.ndarray]) -> list[PatchFeatures]:
        """Sleep."""
        time.sleep(self.seconds * len(images))
        return [PatchFeatures(torch.zeros(1, SIDE // PATCH, SIDE // PATCH), PATCH) for _ in images]


class Ellipses:
    """Three proposals that are the same for all images."""

    def __init__(self) -> None:
        rows, columns = np.mgrid[:60, :60]
        places = [(15, 15, 10, 12), (40, 20, 14, 8), (30, 45, 18, 10)]
        self.masks = torch.from_numpy(
            np.stack([((rows - y) / h) ** 2 + ((columns - x) / w) ** 2 < 1 for y, x, h, w in places])
        )

    def __call__(self, features: Sequence[PatchFeatures]) -> list[Proposals]:
        """Return the proposals of each image."""
        return [Proposals(self.masks, torch.tensor([0.9, 0.8, 0.7])) for _ in features]


def pipeline_of(seconds: float) -> MaskPipeline:
    post_process = PostProcess(build_refiner("guided", device="cpu"), RefineSettings(min_iou=0.0), "default")
    return MaskPipeline(SleepingFeatures(seconds), Ellipses(), post_process, SIDE, "square", 0)


@dataclass(frozen=True)
class SleepingLook(Looking):
    """Sleeps for as long as reading takes, if asked to; through pipes, where shared memory has no room."""

    asleep: bool = False
    pipes: bool = False

    def __call__(self, image: np.ndarray, file: ImageFile) -> Look:
        """Return a look, black where it sleeps."""
        if not self.asleep:
            return super().__call__(image, file)
        time.sleep(READING)
        view = NetworkInput(np.zeros((SIDE, SIDE, 3), np.uint8), (375, 500), (SIDE, SIDE))
        return Look((375, 500), file, (view,), None)

    @property
    def usual_bytes(self) -> int:
        """Nothing fits where pixels go through pipes."""
        return 0 if self.pipes else super().usual_bytes


@dataclass(frozen=True)
class SleepingFinish:
    """Sleeps for as long as finishing takes."""

    def __call__(self, look: Look, cut: object) -> list:
        """Sleep."""
        time.sleep(FINISHING)
        return Found()


class Found(list):
    """No masks."""

    left_out, rejected = 0, {}


@dataclass(frozen=True)
class Asleep:
    """A pipeline whose first and third step sleep, if asked to."""

    pipeline: MaskPipeline
    asleep: bool
    pipes: bool
    refines_on_card: bool = False

    @property
    def looking(self) -> SleepingLook:
        """The first step."""
        usual = self.pipeline.looking
        return SleepingLook(usual.frames, usual.resize, usual.keeps_image, None, self.asleep, self.pipes)

    @property
    def finishing(self) -> object:
        """The third step."""
        return SleepingFinish() if self.asleep else self.pipeline.finishing

    def propose(self, looks: Sequence[Look], clock: object) -> list:
        """The second step."""
        return self.pipeline.propose(looks, clock)


if __name__ == "__main__":
    sys.exit(main())
