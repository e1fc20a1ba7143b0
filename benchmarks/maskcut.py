"""Time, memory and masks of MaskCut against the same algorithm on SciPy's dense generalised eigensolver.

    python benchmarks/maskcut.py [--images 4] [--threads 1] [--features features.npz] [--crf]

Both get the same patch features; the time to compute features is not included. Exits with status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from unseg_d2.masks import MaskCutSettings

GRID, CHANNELS, NUM_MASKS = 60, 384, 3
MIN_SPEEDUP, MIN_SPEEDUP_CRF, MAX_PEAK_MIB, MIN_IOU = 15.0, 12.0, 700.0, 0.99
ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    args = parse_args()
    if args.threads:  # before NumPy and PyTorch load their thread pools
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = str(args.threads)
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
    if args.peak_of:
        return measure_peak(args.peak_of, args.images)
    return compare(args)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4, help="images to average over")
    parser.add_argument("--threads", type=int, default=0, help="threads of both sides; 0 leaves the libraries' default")
    parser.add_argument("--features", help="npz with 'features' (n, C, h, w) to use instead of synthetic ones")
    parser.add_argument("--crf", action="store_true", help="refine the masks too (needs the extra 'crf')")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)  # the second process: features to measure memory with
    return parser.parse_args()


def compare(args: argparse.Namespace) -> int:
    import torch
    from reference.maskcut_dense import maskcut_dense

    from unseg_d2.masks import maskcut

    images = load(args)
    maskcut(torch.from_numpy(images[0])[None])  # load libraries, start threads
    rows, crf_rows, worst, sign_matters = [], [], 1.0, 0
    for seed, tokens in enumerate(images):
        batch = torch.from_numpy(tokens)[None]
        default = min(
            timed(lambda batch=batch: maskcut(batch, MaskCutSettings(num_masks=NUM_MASKS)))[0] for _ in range(3)
        )
        parity, (ours,) = min(
            (
                timed(lambda batch=batch: maskcut(batch, MaskCutSettings(num_masks=NUM_MASKS, mode="parity")))
                for _ in range(3)
            ),
            key=lambda result: result[0],
        )
        dense, (theirs, ambiguous) = timed(lambda tokens=tokens: maskcut_dense(tokens, num_masks=NUM_MASKS))
        rows.append((dense, parity, default))
        worst = min(worst, lowest_iou(ours.masks.numpy(), [mask for mask in theirs if mask.any()]))
        sign_matters += ambiguous
        if args.crf:
            crf_rows.append(refined(seed, ours.masks.numpy()))
    dense, parity, default = (statistics.mean(column) for column in zip(*rows))
    peak = peak_in_new_process(images)
    print(f"MaskCut, {len(images)} images, {images.shape[1]} channels on {images.shape[2]}x{images.shape[3]} patches,")
    print(f"{NUM_MASKS} iterations, {torch.get_num_threads()} threads; mean seconds per image:")
    print(f"  dense reference        {dense:8.3f}")
    print(f"  this package, parity   {parity:8.3f}   {dense / parity:6.1f} x faster (at least {MIN_SPEEDUP:.0f})")
    print(f"  this package, default  {default:8.3f}   {dense / default:6.1f} x faster")
    print(f"lowest IoU of a mask with the reference's: {worst:.4f} (at least {MIN_IOU}); on {sign_matters} images the")
    print("  result depends on the sign of an eigenvector: both sides choose the sign that makes its peak positive")
    print(f"peak memory of a process that only runs MaskCut: {peak:.0f} MiB (at most {MAX_PEAK_MIB:.0f})")
    passed = not args.crf or with_crf(dense, parity, crf_rows)
    passed &= dense / parity >= MIN_SPEEDUP and peak <= MAX_PEAK_MIB and worst >= MIN_IOU
    print("PASSED" if passed else "FAILED")
    return 0 if passed else 1


def refined(seed: int, masks):
    """Return seconds of the CRF with pydensecrf (mask by mask) and this package (all at once), and the lowest IoU."""
    from crf import generated
    from promerge import refine, refine_loops

    photo = generated(seed)
    refine(photo, masks)  # load libraries
    reference, expected = timed(lambda: refine_loops(photo, masks))
    ours, found = min((timed(lambda: refine(photo, masks)) for _ in range(2)), key=lambda result: result[0])
    return reference, ours, lowest_iou(found, expected)


def with_crf(dense: float, parity: float, rows: list[tuple[float, float, float]]) -> bool:
    """Print the times with the CRF, and return whether its bars are met."""
    reference, ours, _ = (statistics.mean(column) for column in zip(*rows))
    ratio, worst = (dense + reference) / (parity + ours), min(row[2] for row in rows)
    print("with a dense CRF on each mask (CRF alone):")
    print(f"  dense reference, pydensecrf {dense + reference:8.3f} ({reference:.3f})")
    print(f"  this package, parity        {parity + ours:8.3f} ({ours:.3f})", end="")
    print(f"   {ratio:6.1f} x faster (at least {MIN_SPEEDUP_CRF:.0f})")
    print(f"  lowest IoU of a refined mask with the reference's: {worst:.4f} (at least {MIN_IOU})")
    return ratio >= MIN_SPEEDUP_CRF and worst >= MIN_IOU


def load(args: argparse.Namespace):
    """Return ``(n, C, h, w)`` float32 features: from a file, or smooth random objects on a smooth background."""
    import numpy as np

    if args.features:
        return np.load(args.features)["features"][: args.images].astype(np.float32)
    return np.stack([synthetic(seed) for seed in range(args.images)])


def synthetic(seed: int):
    """Return tokens ``(C, h, w)``: blobs, each with a prototype feature, on a background of several smooth regions."""
    import cv2
    import numpy as np
    from scipy.special import expit

    rng = np.random.default_rng(seed)

    def smooth(count: int, cells: int) -> np.ndarray:
        coarse = rng.standard_normal((count, cells, cells)).astype(np.float32)
        return np.stack([cv2.resize(plane, (GRID, GRID), interpolation=cv2.INTER_CUBIC) for plane in coarse])

    prototypes = rng.standard_normal((9, CHANNELS)).astype(np.float32)
    regions = np.exp(2 * smooth(5, 6))
    y, x = np.mgrid[:GRID, :GRID]
    blobs = []
    for _ in range(4):
        centre, radius = rng.uniform(10, GRID - 10, 2), rng.uniform(5, 14, 2)
        distance = ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2
        blobs.append(60 * expit(8 * (1 - distance)))
    mixture = np.concatenate([regions, np.stack(blobs)])
    tokens = np.einsum("khw,kc->chw", mixture / mixture.sum(0), prototypes)
    tokens += 0.3 * smooth(CHANNELS, 12) + 0.2 * rng.standard_normal(tokens.shape)
    return np.ascontiguousarray(tokens, dtype=np.float32)


def timed(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def lowest_iou(ours, theirs) -> float:
    """Return the lowest IoU of masks paired in order; 0 if their numbers differ."""
    if len(ours) != len(theirs):
        return 0.0
    return min(((a & b).sum() / (a | b).sum() for a, b in zip(ours, theirs)), default=1.0)


def peak_in_new_process(images) -> float:
    """Return the peak resident memory, MiB, of a process that only runs MaskCut in both modes on stored features."""
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features"
        with path.open("wb") as file:
            for tokens in images:
                np.save(file, tokens)
        command = [sys.executable, *sys.argv, "--peak-of", str(path)]
        return float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def measure_peak(path: str, num_images: int) -> int:
    """Print the peak resident memory of this process, MiB, after MaskCut in both modes on each image of a file."""
    import numpy as np
    import torch

    from unseg_d2.masks import maskcut

    with open(path, "rb") as file:
        for _ in range(num_images):
            tokens = torch.from_numpy(np.load(file))[None]
            for mode in ("default", "parity"):
                maskcut(tokens, MaskCutSettings(num_masks=NUM_MASKS, mode=mode))
    print(peak_rss_mib())
    return 0


def peak_rss_mib() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # unlike ru_maxrss, not inherited from the process that started this one
        kibibytes = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(kibibytes) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**20


if __name__ == "__main__":
    sys.exit(main())
