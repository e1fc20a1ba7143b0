"""Shared by the benchmarks of ProMerge and PriMaPs: features, threads and the comparison of masks."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

GRID = 60
ROOT = Path(__file__).resolve().parents[1]


def parse_args(description: str) -> argparse.Namespace:
    """Parse the options; call it before NumPy and PyTorch load their thread pools."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--images", type=int, default=4, help="images to average over")
    parser.add_argument("--channels", type=int, nargs="*", default=[384, 768], help="widths of synthetic features")
    parser.add_argument("--threads", type=int, default=1, help="threads of both sides; 0 lets the libraries choose")
    parser.add_argument("--features", help="npz with 'features' (n, C, h, w) to use instead of synthetic ones")
    parser.add_argument("--crf", action="store_true", help="refine the masks too (needs the extra 'crf')")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda to print the time of a batch there")
    args = parser.parse_args()
    if args.threads:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = str(args.threads)
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
    return args


def feature_sets(args: argparse.Namespace) -> dict[str, list]:
    """Return name -> ``(C, h, w)`` float32 features of each image."""
    import numpy as np

    if args.features:
        stored = np.load(args.features)["features"][: args.images].astype(np.float32)
        return {f"{stored.shape[1]} channels of {Path(args.features).name}": list(stored)}
    return {
        f"{channels} channels": [synthetic_tokens(seed, channels) for seed in range(args.images)]
        for channels in args.channels
    }


def synthetic_tokens(seed: int, channels: int):
    """Return tokens ``(C, h, w)`` of the image of ``crf.generated(seed)``: a direction per object, and noise."""
    import cv2
    import numpy as np
    from crf import regions

    rng = np.random.default_rng(seed)
    prototypes = rng.standard_normal((9, channels)).astype(np.float32)
    objects = regions(seed)[1][:, ::8, ::8]  # on patches of 8 px

    def smooth(count: int, cells: int) -> np.ndarray:
        coarse = rng.standard_normal((count, cells, cells)).astype(np.float32)
        return np.stack([cv2.resize(plane, (GRID, GRID), interpolation=cv2.INTER_CUBIC) for plane in coarse])

    tokens = np.einsum("khw,kc->chw", objects, prototypes)
    tokens += 0.4 * smooth(channels, 8) + 0.4 * rng.standard_normal(tokens.shape)
    return np.ascontiguousarray(tokens, dtype=np.float32)


def processor_seconds(repeats: int, function):
    """Seconds of processor time of the quickest run, which other work on the machine hardly changes; and the result."""
    seconds = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        seconds = min(seconds, time.process_time() - start)
    return seconds, result


def quickstart_training(seed: int, iterations: int) -> dict:
    """Return options of the quickstart's training on the CPU, its schedule in proportion to the iterations."""
    return {
        "SEED": seed,
        "ENGINE": "builtin",
        "MODEL.DEVICE": "cpu",
        "DATALOADER.NUM_WORKERS": 0,
        "SOLVER.MAX_ITER": iterations,
        "SOLVER.STEPS": (round(0.8 * iterations),),
        "SOLVER.WARMUP_ITERS": round(0.2 * iterations),
    }


def equal_sets(ours, theirs) -> bool:
    """Return whether two lists of ``(h, w)`` bool masks hold the same masks in any order."""
    import numpy as np

    first, second = (sorted(np.packbits(np.asarray(mask)).tobytes() for mask in masks) for masks in (ours, theirs))
    return first == second


def iou(first, second) -> float:
    """Return the IoU of two bool masks; 1 if both are empty."""
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 1.0
