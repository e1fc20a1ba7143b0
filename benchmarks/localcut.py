"""Time of LocalCut with all thresholds of the spatial confidence, per mask, against plain loops.

    python benchmarks/localcut.py [--masks 6]

Both get the same masks on a 60x60 grid and the same point clouds; times are processor time of one thread. Exits with
status 1 if LocalCut is slower than its bar or the masks differ. It runs on the CPU, wherever the features are.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from reference.localcut_loops import localcut_loops  # noqa: E402

from unseg_d2.masks.cuts3d.localcut import LocalCutSettings, cut_mask  # noqa: E402
from unseg_d2.masks.cuts3d.point_cloud import point_cloud  # noqa: E402
from unseg_d2.masks.cuts3d.spatial_confidence import threshold_range  # noqa: E402

GRID = 60
MOST_MILLISECONDS, MIN_IOU = 60.0, 0.99
# Points are jittered to avoid ties, so that both sides choose the same 10 nearest neighbours.
JITTER = 1e-4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--masks", type=int, default=6, help="masks to average over, from small to the whole grid")
    args = parser.parse_args()
    settings = LocalCutSettings()
    thresholds = threshold_range(settings.tau_knn, settings.t_min, settings.num_thresholds)
    cut_mask(*scene(0.1), settings)  # load libraries
    rows, worst = [], 1.0
    for share in np.linspace(0.1, 1, args.masks):
        mask, points, vector = scene(share)
        source = np.unravel_index(np.where(mask, vector, -np.inf).argmax(), mask.shape)
        ours, (cut, confidence) = timed(lambda m=mask, p=points, v=vector: cut_mask(m, p, v, settings))
        smooth = points * [1, 1, 0]  # one plane: sink and source are connected at every threshold
        flow, _ = timed(lambda m=mask, p=smooth, v=vector: cut_mask(m, p, v, replace(settings, point_set="v1")))
        theirs, (expected, sure) = timed(
            lambda m=mask, p=points, s=source: localcut_loops(m, p, s, thresholds, settings.k), repeats=1
        )
        worst = min(worst, (cut & expected).sum() / (cut | expected).sum(), 1 - np.abs(confidence - sure).max())
        rows.append((int(mask.sum()), 1000 * theirs, 1000 * ours, 1000 * flow))
    print(f"LocalCut at {len(thresholds)} thresholds, masks on {GRID}x{GRID} patches, milliseconds per mask:")
    print("| patches of the mask | plain loops | this package | ratio | for comparison: six minimum cuts (v1) |")
    print("|---:|---:|---:|---:|---:|")
    for patches, theirs, ours, flow in rows:
        print(f"| {patches} | {theirs:.0f} | {ours:.1f} | {theirs / ours:.0f} x | {flow:.1f} |")
    slowest = max(ours for _, _, ours, _ in rows)
    print(f"slowest mask {slowest:.1f} ms (at most {MOST_MILLISECONDS:.0f});")
    print(f"lowest agreement of masks and confidence with the loops {worst:.4f} (at least {MIN_IOU})")
    passed = slowest <= MOST_MILLISECONDS and worst >= MIN_IOU
    print("PASSED" if passed else "FAILED")
    return 0 if passed else 1


def scene(share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a mask over a share of the grid, points of wavy surfaces with steps between them, and an eigenvector."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:GRID, :GRID] / GRID
    height = max(1, round(share * GRID))
    mask = np.zeros((GRID, GRID), bool)
    mask[(GRID - height) // 2 :][:height] = True
    distance = 0.1 * y + 0.03 * np.sin(9 * x) + 0.25 * (x > 0.4) + 0.04 * (x > 0.7)
    points = point_cloud(distance) + JITTER * rng.standard_normal((GRID, GRID, 3))
    return mask, points, np.where(mask, np.exp(-((x - 0.8) ** 2 + (y - 0.5) ** 2)), -1)


def timed(function: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Return the least processor time of a call, and its result."""
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        result = function()
        seconds.append(time.process_time() - started)
    return min(seconds), result


if __name__ == "__main__":
    sys.exit(main())
