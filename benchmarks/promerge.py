"""Time and masks of ProMerge against a reference that handles one prompt and one mask after the other.

    python benchmarks/promerge.py [--images 4] [--channels 384 768] [--features features.npz] [--crf] [--device cuda]

With --crf the masks are refined too, in the reference by pydensecrf. On other devices than the CPU only this package
is timed, on a batch. Exits with status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from common import equal_sets, feature_sets, iou, parse_args

from unseg_d2.masks import ProMergeSettings

MIN_SPEEDUP, MIN_SPEEDUP_CRF, MIN_IOU_CRF, MAX_SECONDS_CUDA = 10.0, 4.0, 0.99, 0.05


def main() -> int:
    args = parse_args(__doc__.splitlines()[0])
    sets = feature_sets(args)
    run = compare if args.device == "cpu" else batched
    passed = [run(args, name, images) for name, images in sets.items()]
    print("PASSED" if all(passed) else "FAILED")
    return 0 if all(passed) else 1


def compare(args: argparse.Namespace, name: str, images: list) -> bool:
    import torch
    from crf import fastest, generated
    from reference.promerge_loops import promerge_loops

    from unseg_d2.masks import promerge

    rows, equal, worst = [], True, 1.0
    promerge(torch.from_numpy(images[0])[None])  # load libraries, start threads
    for seed, image in enumerate(images):
        tokens = torch.from_numpy(image)
        default, _ = fastest(3, lambda tokens=tokens: promerge(tokens[None]))
        parity, (ours,) = fastest(3, lambda tokens=tokens: promerge(tokens[None], ProMergeSettings(mode="parity")))
        loops, theirs = fastest(2, lambda tokens=tokens: promerge_loops(tokens))
        equal &= equal_sets(ours.masks.numpy(), [mask.numpy() for mask in theirs])
        crf_ours = crf_loops = float("nan")
        if args.crf:
            photo, masks = generated(seed), ours.masks.numpy()
            crf_ours, refined = fastest(2, lambda photo=photo, masks=masks: refine(photo, masks))
            crf_loops, expected = fastest(1, lambda photo=photo, masks=masks: refine_loops(photo, masks))
            worst = min([worst, *(iou(a, b) for a, b in zip(refined, expected))])
        rows.append((loops, parity, default, crf_loops, crf_ours, len(ours)))
    return report(args, f"{len(rows)} images, {name}", rows, equal, worst)


def report(args: argparse.Namespace, name: str, rows: list[tuple], equal: bool, worst: float) -> bool:
    """Print the table, and return whether all bars are met."""
    import torch

    loops, parity, default, crf_loops, crf_ours, masks = (statistics.mean(column) for column in zip(*rows))
    print(f"ProMerge, {name}, {masks:.1f} masks each, {torch.get_num_threads()} threads; mean seconds per image:")
    print(f"  reference, loop by loop   {loops:8.4f}")
    print(f"  this package, parity      {parity:8.4f}   {loops / parity:6.1f} x faster (at least {MIN_SPEEDUP:.0f})")
    print(f"  this package, default     {default:8.4f}   {loops / default:6.1f} x faster")
    print(f"  masks are {'equal' if equal else 'NOT equal'}")
    passed = equal and loops / parity >= MIN_SPEEDUP
    if args.crf:
        theirs, ours = loops + crf_loops, parity + crf_ours
        print("with a dense CRF on each mask (CRF alone):")
        print(f"  reference, pydensecrf     {theirs:8.4f} ({crf_loops:.4f})")
        print(f"  this package              {ours:8.4f} ({crf_ours:.4f})   {theirs / ours:6.1f} x faster", end="")
        print(f" (at least {MIN_SPEEDUP_CRF:.0f})")
        print(f"  lowest IoU of a refined mask with the reference's: {worst:.4f} (at least {MIN_IOU_CRF})")
        passed &= theirs / ours >= MIN_SPEEDUP_CRF and worst >= MIN_IOU_CRF
    return passed


def refine(photo, masks):
    """Return the masks of this package, all refined in one call."""
    from unseg_d2.refine import build_refiner

    if not len(masks):
        return masks
    return build_refiner("crf")(photo, masks.repeat(8, axis=1).repeat(8, axis=2))


def refine_loops(photo, masks) -> list:
    """Return the masks of the published steps, mask by mask: enlarge, CRF, fill holes."""
    import numpy as np
    from crf import MASK_CONSTANTS, reference
    from scipy.ndimage import binary_fill_holes

    refined = []
    for mask in masks:
        pixels = mask.repeat(8, axis=0).repeat(8, axis=1).astype(np.float64)
        refined.append(binary_fill_holes(reference(photo, np.stack([1 - pixels, pixels]), MASK_CONSTANTS)))
    return refined


def batched(args: argparse.Namespace, name: str, images: list) -> bool:
    """Time a batch whose features are on another device."""
    import torch
    from crf import fastest

    from unseg_d2.masks import ProMerge
    from unseg_d2.structures import PatchFeatures

    features = [PatchFeatures(torch.from_numpy(image).to(args.device), 8) for image in images]
    generator = ProMerge()
    generator(features)
    elapsed, _ = fastest(5, lambda: generator(features))  # results are on the CPU: nothing is left running
    seconds = elapsed / len(images)
    print(f"ProMerge, {name}, {len(images)} images in a batch on {args.device}: {seconds:.4f} s/image", end="")
    print(f" (at most {MAX_SECONDS_CUDA})")
    return seconds <= MAX_SECONDS_CUDA


if __name__ == "__main__":
    sys.exit(main())
