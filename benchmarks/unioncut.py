"""Time and memory of UnionCut's foreground union, with Numba and with SciPy, per image on one core.

    python benchmarks/unioncut.py [--images 4] [--no-scipy]

Features are the synthetic ones of the other benchmarks (384 channels on 60x60 patches), averaged to 28x28 patches: 784
minimum cuts per image. Times are processor time; memory is what each way needs beyond libraries and features, in a
process of its own. Exits with status 1 if a union takes longer than its bar, or if both
ways do not give the same one. It runs on the CPU, wherever the features are.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MOST_SECONDS = 0.5
CHANNELS = 384


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4, help="images to average over")
    parser.add_argument("--no-scipy", action="store_true", help="time the compiled loops alone")
    args = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

    import numpy as np
    import torch
    from common import synthetic_tokens
    from peak_memory import in_own_process

    from unseg_d2 import compiled
    from unseg_d2.masks.priors import seed_cuts
    from unseg_d2.masks.priors.unioncut import coarse, foreground_union, grid_graph

    torch.set_num_threads(1)
    images = [torch.from_numpy(synthetic_tokens(seed, CHANNELS)) for seed in range(args.images)]
    if not compiled.has_numba():
        print("Numba is not installed: only SciPy is timed, for which there is no bar.")
    else:
        foreground_union(images[0])  # compile
    rows = []
    for image in images:
        started = time.process_time()
        union = foreground_union(image)
        rows.append([time.process_time() - started, float(union.mean()), float("nan"), True])
        if not args.no_scipy and compiled.has_numba():
            graph = grid_graph(coarse(image, 28))
            started = time.process_time()
            slow = seed_cuts.foregrounds_by_scipy(graph)
            rows[-1][2:] = [time.process_time() - started, bool((slow == seed_cuts.seed_foregrounds(graph)).all())]
    seconds, share, slow, equal = (np.array([row[k] for row in rows]) for k in range(4))
    print(
        f"{len(images)} images, {CHANNELS} channels, 784 cuts each; the union covers {100 * share.mean():.0f} % of them"
    )
    print(f"seconds per image: {seconds.mean():.2f} (slowest {seconds.max():.2f}, bar {MOST_SECONDS})")
    print(f"cuts by SciPy: {slow.mean():.2f} s per image; the same foregrounds: {bool(equal.all())}")
    ways = [True] * compiled.has_numba() + [False] * (not args.no_scipy)
    peaks = [f"{in_own_process(peak, images[0], one):.0f} MB {'with Numba' if one else 'by SciPy'}" for one in ways]
    print(f"peak memory of one image: {', '.join(peaks)}")
    passed = equal.all() and (seconds.max() <= MOST_SECONDS or not compiled.has_numba())
    print("PASSED" if passed else "FAILED")
    return 0 if passed else 1


def peak(tokens, numba: bool) -> float:
    """Return the growth of the memory of this process, MB, by the cuts of one image and what they are made from."""
    import torch
    from peak_memory import PeakMemory

    from unseg_d2.masks.priors import seed_cuts
    from unseg_d2.masks.priors.unioncut import coarse, grid_graph

    torch.set_num_threads(1)
    cut = seed_cuts.seed_foregrounds if numba else seed_cuts.foregrounds_by_scipy
    cut(grid_graph(coarse(tokens[:, :6, :6], 6)))  # load libraries
    with PeakMemory() as memory:
        cut(grid_graph(coarse(tokens, 28)))
    return memory.megabytes


if __name__ == "__main__":
    sys.exit(main())
