"""Time of the guided filter with hole filling, in each mask's own window, against the same on the whole image.

    python benchmarks/refinement.py [--images 10]

Masks are rectangles of patches on photos of scikit-image. One thread; exits with status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import cv2
import numpy as np
from reference.guided_canvas import guided_canvas

from unseg_d2.refine import Refiner, build_refiner

SIDE, GRID, NUM_MASKS, BAR, MOST_OTHER = 480, 60, 3, 3.0, 1e-4
PHOTOS = ("astronaut", "cat", "coffee", "rocket")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8, help="images to average over")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    refine, rng = build_refiner("guided", device="cpu"), np.random.default_rng(0)
    rows, others = [], 0
    for index in range(args.images):
        image, masks = photo(PHOTOS[index % len(PHOTOS)]), rectangles(rng)
        ours, before = timed(refine, image, masks), timed(canvas, image, masks)
        others = max(others, int((ours[1] != before[1]).sum()))
        rows.append((ours[0], before[0]))
    ours, before = (1e3 * statistics.mean(column) for column in zip(*rows))
    passed = before / ours >= BAR and others <= MOST_OTHER * masks.size
    print(f"guided filter and holes, {NUM_MASKS} masks at {SIDE}x{SIDE}, milliseconds of processor per image")
    print(f"  on the whole image     {before:7.1f}")
    print(f"  in each mask's window  {ours:7.1f}   {before / ours:.1f} x faster (at least {BAR:.0f})")
    print(f"  pixels that differ     {others:7d}   of {masks.size}, on the worst image")
    return 0 if passed else 1


def photo(name: str) -> np.ndarray:
    """One of scikit-image's photos, in the size of the network's input."""
    from skimage import data

    return cv2.resize(getattr(data, name)(), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def rectangles(rng: np.random.Generator) -> np.ndarray:
    """Masks of a quarter to a half of each side, as a generator's are enlarged from patches; one has a hole."""
    masks = np.zeros((NUM_MASKS, GRID, GRID), bool)
    for mask in masks:
        height, width = rng.integers(GRID // 4, GRID // 2, 2)
        top, left = rng.integers(0, GRID - height), rng.integers(0, GRID - width)
        mask[top : top + height, left : left + width] = True
        mask[top + height // 2, left + width // 2] = False
    return masks.repeat(SIDE // GRID, 1).repeat(SIDE // GRID, 2)


def canvas(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    return guided_canvas(image, masks, radius=6, eps=1e-3)


def timed(refiner: Refiner, image: np.ndarray, masks: np.ndarray, repeats: int = 5) -> tuple[float, np.ndarray]:
    """Return the least processor time of a refiner, and its result."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        result = refiner(image, masks)
        times.append(time.process_time() - started)
    return min(times), result


if __name__ == "__main__":
    sys.exit(main())
