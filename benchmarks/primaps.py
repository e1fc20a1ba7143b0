"""Time and masks of PriMaPs against a reference that computes one proposal after the other.

    python benchmarks/primaps.py [--images 4] [--channels 384 768] [--features features.npz] [--crf] [--device cuda]

With --crf the label maps are refined too, in the reference by pydensecrf. On other devices than the CPU only this
package is timed, on a batch. Exits with status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from common import feature_sets, parse_args

MIN_SPEEDUP, MIN_SPEEDUP_CRF, MIN_EQUAL, MIN_EQUAL_CRF = 5.0, 4.0, 0.995, 0.99
SIDE = 480


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
    from reference.primaps_loops import primaps_loops

    from unseg_d2.masks import PriMaPsSettings, primaps_labels

    settings = PriMaPsSettings(mode="parity")
    rows, agreement, agreement_crf = [], 1.0, 1.0
    primaps_labels(torch.from_numpy(images[0])[None], settings)  # load libraries, start threads
    for seed, image in enumerate(images):
        tokens = torch.from_numpy(image)
        parity, (ours,) = fastest(3, lambda tokens=tokens: primaps_labels(tokens[None], settings))
        loops, theirs = fastest(2, lambda tokens=tokens: primaps_loops(tokens))
        agreement = min(agreement, float((ours.labels == theirs.numpy()).mean()))
        crf_ours = crf_loops = float("nan")
        if args.crf:
            photo = generated(seed)
            crf_ours, refined = fastest(5, lambda photo=photo, ours=ours: refine(photo, ours.channels))
            crf_loops, expected = fastest(3, lambda photo=photo, ours=ours: refine_loops(photo, ours.channels))
            agreement_crf = min(agreement_crf, float((refined == expected).mean()))
        rows.append((loops, parity, crf_loops, crf_ours, len(ours.scores)))
    return report(args, f"{len(rows)} images, {name}", rows, agreement, agreement_crf)


def report(args: argparse.Namespace, name: str, rows: list[tuple], agreement: float, agreement_crf: float) -> bool:
    """Print the table, and return whether all bars are met."""
    import torch

    loops, parity, crf_loops, crf_ours, masks = (statistics.mean(column) for column in zip(*rows))
    print(f"PriMaPs, {name}, {masks:.1f} proposals each, {torch.get_num_threads()} threads; mean seconds per image:")
    print(f"  reference, loop by loop   {loops:8.4f}")
    print(f"  this package              {parity:8.4f}   {loops / parity:6.1f} x faster (at least {MIN_SPEEDUP:.0f})")
    print(f"  lowest share of patches with the reference's label: {agreement:.4f} (at least {MIN_EQUAL})")
    passed = agreement >= MIN_EQUAL and loops / parity >= MIN_SPEEDUP
    if args.crf:
        theirs, ours = loops + crf_loops, parity + crf_ours
        print("with a dense CRF of all labels (CRF alone):")
        print(f"  reference, pydensecrf     {theirs:8.4f} ({crf_loops:.4f})")
        print(f"  this package              {ours:8.4f} ({crf_ours:.4f})   {theirs / ours:6.1f} x faster", end="")
        print(f" (at least {MIN_SPEEDUP_CRF:.0f})")
        print(f"  lowest share of pixels with the reference's label: {agreement_crf:.4f} (at least {MIN_EQUAL_CRF})")
        passed &= theirs / ours >= MIN_SPEEDUP_CRF and agreement_crf >= MIN_EQUAL_CRF
    return passed


def enlarge(channels):
    """Return channels ``(1, K + 1, H, W)`` at the size of the image, as published."""
    import torch

    pixels = torch.from_numpy(channels)[None]
    return torch.nn.functional.interpolate(pixels, size=(SIDE, SIDE), mode="bilinear", align_corners=False)


def refine(photo, channels):
    """Return the label map ``(H, W)`` of this package."""
    import numpy as np
    import torch

    from unseg_d2.refine import label_probabilities

    picture = torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1)))[None]
    return label_probabilities(picture, enlarge(channels))[0].numpy().argmax(0)


def refine_loops(photo, channels):
    """Return the label map ``(H, W)`` of the published steps: enlarge, then CRF."""
    from crf import LABEL_CONSTANTS, reference

    return reference(photo, enlarge(channels)[0].numpy(), LABEL_CONSTANTS)


def batched(args: argparse.Namespace, name: str, images: list) -> bool:
    """Time a batch whose features are on another device; there is no bar."""
    import torch
    from crf import fastest

    from unseg_d2.masks import PriMaPs
    from unseg_d2.structures import PatchFeatures

    features = [PatchFeatures(torch.from_numpy(image).to(args.device), 8) for image in images]
    generator = PriMaPs()
    generator(features)
    elapsed, _ = fastest(5, lambda: generator(features))  # results are on the CPU: nothing is left running
    print(f"PriMaPs, {name}, {len(images)} images in a batch on {args.device}: {elapsed / len(images):.4f} s/image")
    return True


if __name__ == "__main__":
    sys.exit(main())
