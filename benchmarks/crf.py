"""Time and agreement of this package's dense CRF with pydensecrf's, in one run.

    python benchmarks/crf.py [--images 3] [--threads 2] [--image photo.jpg] [--device cuda] [--no-numba]

This package refines all masks of an image at once, pydensecrf one by one; both build their lattices. Exits with status
1 if a bar is missed. On another device than the CPU, pydensecrf stays on the CPU and all images form one batch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

SIDE, NUM_MASKS, NUM_LABELS = 480, 3, 9
MIN_SPEEDUP, MIN_IOU, MIN_AGREEMENT = 3.0, 0.99, 0.99
MASK_CONSTANTS = {"gaussian": {"sxy": 3, "compat": 7}, "bilateral": {"sxy": 50, "srgb": 5, "compat": 10}}
LABEL_CONSTANTS = {"gaussian": {"sxy": 1, "compat": 3}, "bilateral": {"sxy": 67, "srgb": 3, "compat": 4}}
ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    args = parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before the libraries are loaded
        os.environ[name] = str(args.threads)
    sys.path.insert(0, str(ROOT))
    import torch

    torch.set_num_threads(args.threads)
    try:
        import pydensecrf.densecrf  # noqa: F401
    except ImportError:
        print("This benchmark compares with pydensecrf: pip install pydensecrf2")
        return 2
    with torch.inference_mode():
        return compare(args)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=3, help="generated images to average over")
    parser.add_argument("--image", nargs="*", default=[], help="photos to use instead")
    parser.add_argument("--threads", type=int, default=2, help="threads of both sides (pydensecrf uses one)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side, of which the fastest counts")
    parser.add_argument("--device", default="cpu", help="device of our side")
    parser.add_argument("--no-numba", action="store_true", help="our side without compiled loops")
    return parser.parse_args()


def compare(args: argparse.Namespace) -> int:
    import numpy as np
    import torch

    from unseg_d2.refine import compiled, crf_masks, label_probabilities

    if args.no_numba:
        compiled.has_numba = lambda: False
    images = [photo(path) for path in args.image] or [generated(seed) for seed in range(args.images)]
    scenes = [(image, *regions(seed)) for seed, image in enumerate(images)]
    rows, worst, agreement = [], 1.0, 1.0
    for image, masks, labels in scenes:
        picture = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].to(args.device)

        def ours(function, channels, picture=picture):
            return function(picture, torch.from_numpy(channels)[None].to(args.device))[0].cpu().numpy()

        ours(crf_masks, masks[:1])  # start threads
        time_masks, found = fastest(args.repeats, lambda masks=masks, ours=ours: ours(crf_masks, masks) > 0.5)
        time_labels, label_map = fastest(
            args.repeats, lambda labels=labels, ours=ours: ours(label_probabilities, labels).argmax(0)
        )
        pairs = [np.stack([1 - mask, mask]) for mask in masks]
        reference_masks, expected = fastest(
            args.repeats, lambda i=image, p=pairs: [reference(i, pair, MASK_CONSTANTS) for pair in p]
        )
        reference_labels, expected_map = fastest(
            args.repeats, lambda i=image, c=labels: reference(i, c, LABEL_CONSTANTS)
        )
        worst = min(worst, *((a & (b == 1)).sum() / (a | (b == 1)).sum() for a, b in zip(found, expected)))
        agreement = min(agreement, (label_map == expected_map).mean())
        rows.append((reference_masks, time_masks, reference_labels, time_labels))
    passed = report(args, rows, worst, agreement)
    if args.device != "cpu":
        print(f"  batch of {len(scenes)} images, {NUM_MASKS} masks each: {batched(args, scenes):.4f} s/image")
    print("PASSED" if passed else "FAILED")
    return 0 if passed else 1


def report(args: argparse.Namespace, rows: list[tuple], worst: float, agreement: float) -> bool:
    masks, ours_masks, labels, ours_labels = (statistics.mean(column) for column in zip(*rows))
    print(f"{len(rows)} images of {SIDE} x {SIDE} px, {args.threads} threads, {args.device}; mean seconds per image:")
    print(f"  {NUM_MASKS} masks   pydensecrf {masks:7.3f}   this package {ours_masks:7.3f}   ", end="")
    print(
        f"{masks / ours_masks:5.1f} x faster (at least {MIN_SPEEDUP:.0f}), lowest IoU {worst:.4f} (at least {MIN_IOU})"
    )
    print(f"  {NUM_LABELS} labels  pydensecrf {labels:7.3f}   this package {ours_labels:7.3f}   ", end="")
    print(
        f"{labels / ours_labels:5.1f} x faster, lowest share of equal pixels {agreement:.4f} (at least {MIN_AGREEMENT})"
    )
    return masks / ours_masks >= MIN_SPEEDUP and worst >= MIN_IOU and agreement >= MIN_AGREEMENT


def batched(args: argparse.Namespace, scenes: list[tuple]) -> float:
    """Return the seconds per image if the masks of all images are refined in one call."""
    import numpy as np
    import torch

    from unseg_d2.refine import crf_masks

    images = torch.from_numpy(np.stack([image.transpose(2, 0, 1) for image, *_ in scenes])).to(args.device)
    masks = torch.from_numpy(np.stack([masks for _, masks, _ in scenes])).to(args.device)
    seconds, _ = fastest(args.repeats, lambda: crf_masks(images, masks).cpu())
    return seconds / len(scenes)


def reference(image, logits, constants: dict):
    """Label map of pydensecrf; unary logits ``(L, H, W)``."""
    import numpy as np
    from pydensecrf import densecrf
    from scipy.special import log_softmax

    labels, height, width = logits.shape
    model = densecrf.DenseCRF2D(width, height, labels)
    model.setUnaryEnergy(np.ascontiguousarray(-log_softmax(logits, axis=0).reshape(labels, -1), dtype=np.float32))
    model.addPairwiseGaussian(**constants["gaussian"])
    model.addPairwiseBilateral(rgbim=image, **constants["bilateral"])
    return np.argmax(model.inference(10), axis=0).reshape(height, width)


def photo(path: str):
    import numpy as np
    from PIL import Image

    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)).copy()


def generated(seed: int):
    """A photo-like image: objects of their own colour and texture, shading, 1/f texture and sensor noise."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(seed)
    _, labels = regions(seed)
    colours = rng.uniform(20, 235, (len(labels), 3))
    image = colours[cv2.resize(labels.argmax(0).astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)]
    for cells, amplitude in ((3, 18), (12, 10), (48, 6), (160, 4)):
        coarse = rng.standard_normal((cells, cells, 3)).astype(np.float32)
        image = image + amplitude * cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    image = cv2.GaussianBlur(image, (0, 0), 1.0) + rng.normal(0, 2, image.shape)
    # The visible objects are offset by a few pixels from the masks, which consist of patches of 8 px.
    return np.roll(image, (3, -3), (0, 1)).clip(0, 255).astype(np.uint8)


def regions(seed: int):
    """Masks ``(3, H, W)`` and label channels ``(9, H, W)``, float32, of blobs on a grid of 8 px patches."""
    import numpy as np

    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SIDE // 8, : SIDE // 8]
    labels = np.zeros(y.shape, dtype=int)
    for label in range(1, NUM_LABELS):
        centre, radius = rng.uniform(6, SIDE // 8 - 6, 2), rng.uniform(5, 14, 2)
        labels[((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2 < 1] = label
    channels = (labels == np.arange(NUM_LABELS)[:, None, None]).astype(np.float32)
    channels = channels.repeat(8, 1).repeat(8, 2)
    largest = np.argsort(-channels[1:].sum((1, 2)))[:NUM_MASKS] + 1
    return channels[largest], channels


def fastest(repeats: int, function):
    """Seconds of the fastest run, and the result."""
    seconds = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds, result


if __name__ == "__main__":
    sys.exit(main())
