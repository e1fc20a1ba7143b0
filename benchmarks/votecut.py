"""Time and masks of VoteCut's stage B, which starts from eigenvectors, against a reference of plain loops.

    python benchmarks/votecut.py [--images 4] [--threads 1] [--crf] [--device cuda]

There are six members on grids of the paper's sizes, with synthetic features. With --crf each mask is also refined on a
crop of its image, in the reference by pydensecrf. On other devices than the CPU only this package is timed, on whole
images and starting from features. Exits with status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from functools import partial
from pathlib import Path

from unseg_d2.masks import VoteCutSettings

GRIDS, FINEST, CHANNELS, IMAGE_SIDE = (30, 34, 34, 30, 60, 60), 60, 64, 480
MIN_SPEEDUP, MIN_SPEEDUP_CRF, MIN_IOU, MIN_IOU_CRF = 5.0, 4.0, 1.0, 0.99
ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    args = parse_args()
    if args.threads:  # before NumPy and PyTorch load their thread pools
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = str(args.threads)
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
    return compare(args) if args.device == "cpu" else whole_images(args)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4, help="images to average over")
    parser.add_argument("--threads", type=int, default=0, help="threads of both sides; 0 leaves the libraries' default")
    parser.add_argument("--crf", action="store_true", help="refine the masks on crops too (needs the extra 'crf')")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda to print the time of whole images there")
    return parser.parse_args()


def compare(args: argparse.Namespace) -> int:
    import numpy as np
    import torch
    from reference.votecut_loops import refine_on_crops, votecut_loops

    from unseg_d2.masks import cut_vectors, votecut
    from unseg_d2.pseudo.crop_refine import refine_crops
    from unseg_d2.refine import build_refiner

    refiner = build_refiner("crf") if args.crf else None
    rows, worst, worst_crf = [], 1.0, 1.0
    for seed in range(args.images):
        image, members = synthetic(seed)
        vectors = [cut_vectors(torch.from_numpy(tokens)[None])[0] for tokens in members]
        for mode in ("default", "parity"):
            votecut(vectors, VoteCutSettings(mode=mode))  # load libraries, start threads
        default, _ = best_of(3, votecut, vectors)
        parity, ours = best_of(3, partial(votecut, settings=VoteCutSettings(mode="parity")), vectors)
        loops, (theirs, votes) = best_of(3, votecut_loops, vectors)
        ours_masks = ours.masks.numpy()
        worst = min(worst, lowest_iou(ours_masks, theirs))
        crf_ours = crf_loops = float("nan")
        if args.crf:
            large = [np.stack(masks).repeat(8, axis=1).repeat(8, axis=2) for masks in (ours_masks, theirs)]
            crf_ours, (refined, _) = best_of(2, refine_crops, image, large[0], refiner)
            crf_loops, expected = best_of(2, refine_on_crops, image, large[1])
            worst_crf = min(worst_crf, lowest_iou(refined, expected))
        rows.append((loops, parity, default, crf_loops, crf_ours, len(theirs), sum(votes)))
    return report(args, rows, worst, worst_crf)


def report(args: argparse.Namespace, rows: list[tuple], worst: float, worst_crf: float) -> int:
    """Print the table and return 0 if all bars are met, else 1."""
    loops, parity, default, crf_loops, crf_ours, masks, votes = (statistics.mean(column) for column in zip(*rows))
    print(f"VoteCut stage B, {args.images} images, {len(GRIDS)} members on grids of {GRIDS} patches,")
    print(f"{masks:.1f} masks of {votes:.1f} votes per image; mean seconds per image:")
    print(f"  reference, loop by loop   {loops:8.4f}")
    print(f"  this package, parity      {parity:8.4f}   {loops / parity:6.1f} x faster (at least {MIN_SPEEDUP:.0f})")
    print(f"  this package, default     {default:8.4f}   {loops / default:6.1f} x faster")
    print(f"lowest IoU of a mask with the reference's: {worst:.4f} (at least {MIN_IOU})")
    passed = loops / parity >= MIN_SPEEDUP and worst >= MIN_IOU
    if args.crf:
        theirs, ours = loops + crf_loops, parity + crf_ours
        print("with a dense CRF on the crop of each mask (CRF alone):")
        print(f"  reference, pydensecrf     {theirs:8.4f} ({crf_loops:.4f})")
        print(f"  this package              {ours:8.4f} ({crf_ours:.4f})   {theirs / ours:6.1f} x faster", end="")
        print(f" (at least {MIN_SPEEDUP_CRF:.0f})")
        print(f"lowest IoU of a refined mask with the reference's: {worst_crf:.4f} (at least {MIN_IOU_CRF})")
        passed &= theirs / ours >= MIN_SPEEDUP_CRF and worst_crf >= MIN_IOU_CRF
    print("PASSED" if passed else "FAILED")
    return 0 if passed else 1


def whole_images(args: argparse.Namespace) -> int:
    """Print the time per image of a batch on another device, starting from features."""
    import torch

    from unseg_d2.masks import VoteCut
    from unseg_d2.structures import PatchFeatures

    images = []
    for seed in range(args.images):
        tokens = [torch.from_numpy(member).to(args.device) for member in synthetic(seed)[1]]
        members = tuple(PatchFeatures(token, IMAGE_SIDE // token.shape[1]) for token in tokens)
        images.append(PatchFeatures(members[0].tokens, members[0].patch_size, members=members))
    generator = VoteCut()
    generator(images)
    elapsed, _ = best_of(3, generator, images)  # results are on the CPU: nothing is left running
    print(f"VoteCut, {args.images} images in a batch on {args.device}: {elapsed / args.images:.4f} s/image")
    return 0


def synthetic(seed: int):
    """Return an image ``(480, 480, 3)`` of smooth objects, and its tokens ``(C, h, w)`` for each member."""
    import cv2
    import numpy as np
    from scipy.special import expit

    rng = np.random.default_rng(seed)

    def smooth(count: int, cells: int, side: int) -> np.ndarray:
        coarse = rng.standard_normal((count, cells, cells)).astype(np.float32)
        return np.stack([cv2.resize(plane, (side, side), interpolation=cv2.INTER_CUBIC) for plane in coarse])

    y, x = np.mgrid[:FINEST, :FINEST]
    parts = list(np.exp(2 * smooth(5, 6, FINEST)))
    for _ in range(4):
        centre, radius = rng.uniform(10, FINEST - 10, 2), rng.uniform(5, 14, 2)
        distance = ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2
        parts.append(60 * expit(8 * (1 - distance)))
    mixture = np.stack(parts)
    mixture = (mixture / mixture.sum(0)).astype(np.float32)
    members = []
    for side in GRIDS:
        seen = np.stack([cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA) for plane in mixture])
        tokens = np.einsum("khw,kc->chw", seen, rng.standard_normal((len(seen), CHANNELS)))
        tokens += 0.3 * smooth(CHANNELS, 10, side) + 0.2 * rng.standard_normal(tokens.shape)
        members.append(np.ascontiguousarray(tokens, dtype=np.float32))
    large = np.stack([cv2.resize(plane, (IMAGE_SIDE, IMAGE_SIDE), interpolation=cv2.INTER_CUBIC) for plane in mixture])
    colours = np.einsum("khw,kc->hwc", large, rng.uniform(30, 225, (len(large), 3)))
    colours += 4 * rng.standard_normal(colours.shape)
    return np.clip(colours, 0, 255).astype(np.uint8), members


def best_of(repeats: int, function, *arguments):
    """Return the least time of some calls, and the last result."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function(*arguments)
        times.append(time.perf_counter() - start)
    return min(times), result


def lowest_iou(ours, theirs) -> float:
    """Return the lowest IoU of masks paired in order; 0 if their numbers differ."""
    if len(ours) != len(theirs):
        return 0.0
    return min(((a & b).sum() / (a | b).sum() for a, b in zip(ours, theirs)), default=1.0)


if __name__ == "__main__":
    sys.exit(main())
