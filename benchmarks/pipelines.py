"""Whole label pipelines without the network, in milliseconds of processor per image and step, now and before.

    python benchmarks/pipelines.py [--images 4] [--channels 768]

From a JPEG file of 500 x 375 pixels to run lengths, with features of made objects on 60 x 60 patches in place of a
network's. "Before" is the same with the graph's products by PyTorch, in place of compiled loops (extra `numba`), and
the guided filter and holes on the whole image for each mask. One thread; exits with status 1 if a bar is missed or too
many pixels differ.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from common import GRID, synthetic_tokens
from refinement import PHOTOS, canvas, photo

from unseg_d2 import compiled
from unseg_d2.config import load_cfg
from unseg_d2.data.images import ImageFile, read_image
from unseg_d2.masks import build_generator
from unseg_d2.pseudo.looks import Looking
from unseg_d2.pseudo.post_process import PostProcess
from unseg_d2.pseudo.pseudo_masks import PseudoMasks
from unseg_d2.refine import Refiner, RefineSettings, build_refiner
from unseg_d2.rle import encode_mask
from unseg_d2.structures import DepthMap, PatchFeatures

GENERATORS = ("MaskCut", "ProMerge", "CutS3D")
STEPS = ("read, resize", "cut", "refine, resize", "run lengths")
PATCH, SIDE, BAR, MOST_OTHER = 8, 480, 1.8, 1e-4


def main() -> int:
    args = arguments()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print("| pipeline | " + " | ".join(STEPS) + " | together | before | ratio | pixels that differ |")
    print("|---|" + "---:|" * (len(STEPS) + 4))
    passed = True
    with tempfile.TemporaryDirectory() as folder:
        files = pictures(Path(folder), args.images)
        features = [described(seed, args.channels) for seed in range(args.images)]
        for name in GENERATORS:
            ours, masks = measured(name, files, features, build_refiner("guided"))
            with pytorch_products():
                before, others = measured(name, files, features, canvas)
            share = other_pixels(masks, others)
            ratio = sum(before) / sum(ours)
            passed &= ratio >= BAR and share <= MOST_OTHER
            cells = [f"{1000 * seconds:.1f}" for seconds in (*ours, sum(ours), sum(before))]
            print(f"| {name} | " + " | ".join(cells) + f" | {ratio:.2f} (bar {BAR}) | {share:.1e} |", flush=True)
    return 0 if passed else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4, help="images to average over")
    parser.add_argument("--channels", type=int, default=768, help="of the features")
    return parser.parse_args()


def pictures(folder: Path, count: int) -> list[ImageFile]:
    """Write photos as JPEG files."""
    for index in range(count):
        pixels = cv2.resize(photo(PHOTOS[index % len(PHOTOS)]), (500, 375), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{index}.jpg"), pixels[:, :, ::-1])
    return [ImageFile(folder / f"{index}.jpg", f"{index}.jpg") for index in range(count)]


def described(seed: int, channels: int) -> PatchFeatures:
    """Features of an image with objects, and depth that falls from the top to the bottom, with a step."""
    depth = torch.linspace(9, 1, GRID)[:, None].repeat(1, GRID)
    depth[GRID // 3 : 2 * GRID // 3, GRID // 4 : GRID // 2] -= 0.5
    tokens = torch.from_numpy(synthetic_tokens(seed, channels))
    return PatchFeatures(tokens, PATCH, depth=DepthMap(depth, "metric"))


def measured(
    name: str, files: Sequence[ImageFile], features: Sequence[PatchFeatures], refiner: Refiner
) -> tuple[list[float], list[PseudoMasks]]:
    """Return seconds of processor per image and step, the least of three, and the masks."""
    generator = build_generator(load_cfg(None, ["MASKS.GENERATOR", name, "FEATURES.DEVICE", "cpu"]))
    looking = Looking(((PATCH, SIDE),), "square", keeps_image=False)
    finish = PostProcess(refiner, RefineSettings(min_iou=0.0), "default")
    seconds, found = np.zeros(len(STEPS)), []
    for file, about in zip(files, features):
        reading, look = least(lambda file=file: looking(read_image(file.path), file))
        cutting, (proposals,) = least(partial(generator, [about]))
        refining, masks = least(partial(finish, None, look.views[0], proposals))
        writing, _ = least(partial(encoded, masks))
        seconds += (reading, cutting, refining, writing)
        found.append(masks)
    return list(seconds / len(files)), found


def encoded(masks: PseudoMasks) -> list[dict]:
    return [encode_mask(mask.mask) for mask in masks]


def least(work: Callable[[], object], repeats: int = 3) -> tuple[float, object]:
    """Return the least processor time of some work, after one run that is not counted, and its result."""
    result, times = work(), []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times), result


@contextmanager
def pytorch_products():
    """Do without the compiled loops."""
    usual, compiled.has_numba = compiled.has_numba, lambda: False
    try:
        yield
    finally:
        compiled.has_numba = usual


def other_pixels(first: Sequence[PseudoMasks], second: Sequence[PseudoMasks]) -> float:
    """Return the share of pixels in which masks differ; 1 where their numbers differ."""
    if [len(image) for image in first] != [len(image) for image in second]:
        return 1.0
    pairs = [(one.mask, two.mask) for a, b in zip(first, second) for one, two in zip(a, b)]
    return float(np.mean([(one != two).mean() for one, two in pairs])) if pairs else 0.0


if __name__ == "__main__":
    sys.exit(main())
