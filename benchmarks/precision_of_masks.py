"""What 16 bits in the network do to masks, and to the time of an image, on this processor.

    OMP_NUM_THREADS=1 python benchmarks/precision_of_masks.py --data PHOTOS [--recipe offline/tokencut.yaml ...]
        [--images 16] [--weights FILE]

Each recipe makes masks of the same photos (every n-th of the folder, by name) in float32, bfloat16 and float16, with
one thread. Printed are processor seconds for an image, all of the pipeline included, and for the masks of float32: the
mean IoU with the nearest mask of the other precision, the share with an IoU of .95 or more, and below .5.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from unseg_d2.config import load_cfg  # noqa: E402
from unseg_d2.pseudo.pipeline import build_pipeline  # noqa: E402
from unseg_d2.recipes import find_recipe  # noqa: E402

PRECISIONS = ("float32", "bfloat16", "float16")


def masks_of(
    recipe: str, precision: str, photos: list[np.ndarray], weights: str
) -> tuple[list[list[np.ndarray]], float]:
    """Return the masks of each photo, and processor seconds for a photo."""
    options = ["FEATURES.PRECISION", precision, "FEATURES.DEVICE", "cpu", "FEATURES.BATCH_SIZE", "1"]
    options += ["FEATURES.WEIGHTS", weights] if weights else []
    pipeline = build_pipeline(load_cfg(find_recipe(f"configs/{recipe}"), options))
    pipeline(photos[:1])  # oneDNN makes its code at first use
    start = time.process_time()
    masks = [[found.mask.astype(bool) for found in pipeline([photo])[0]] for photo in photos]
    return masks, (time.process_time() - start) / len(photos)


def nearest(masks: list[np.ndarray], others: list[np.ndarray]) -> list[float]:
    """Return for each mask its IoU with the nearest of the others, 0 where there are none."""
    return [
        max((float((mask & other).sum() / (mask | other).sum()) for other in others), default=0.0) for mask in masks
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, type=Path, help="folder of photos")
    parser.add_argument("--recipe", nargs="+", default=["offline/tokencut.yaml", "offline/promerge.yaml"])
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--weights", default="", help="of the network, where the recipe's are not at hand")
    args = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted(path for path in args.data.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    files = files[:: max(len(files) // args.images, 1)][: args.images]
    photos = [np.array(Image.open(path).convert("RGB")) for path in files]
    print("| recipe | precision | s / image | masks | mean IoU | >= .95 | < .5 |\n|---|---|---:|---:|---:|---:|---:|")
    for recipe in args.recipe:
        first: list[list[np.ndarray]] = []
        for precision in PRECISIONS:
            masks, seconds = masks_of(recipe, precision, photos, args.weights)
            first = first or masks
            ious = np.array([iou for pair in zip(first, masks, strict=True) for iou in nearest(*pair)])
            shares = f"{ious.mean():.3f} | {(ious >= 0.95).mean():.1%} | {(ious < 0.5).mean():.1%}"
            print(f"| {recipe} | {precision} | {seconds:.2f} | {sum(map(len, masks))} | {shares} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
