"""What depth adds to MaskCut, step by step, on scenes whose objects cannot be told apart by colour.

    python benchmarks/cuts3d.py [--data folder] [--limit 24] [--num-masks 7] [--try MASKS.CUTS3D.PAIRING=product ...]

Every row uses the same features, the same number of normalised cuts and the same refiner. --data is a folder with
``images/``, ``depth/NAME.png`` (16 bit, mm, 0 = nothing near) and ``instances.json``; if any of its images have
``one_colour``, only those are used. Without --data, the images are the project's own synthetic scenes, each of a single
colour, with exact depth. Metrics are class-agnostic, on masks, in percent; brackets are 95 % intervals of the
difference from the first row, by a paired bootstrap over images. Exits with status 1 unless CutS3D is above MaskCut in
both AR100 and AP50 over the whole intervals.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as mask_utils

from unseg_d2.config import load_cfg
from unseg_d2.data.coco import encode_mask, read_coco
from unseg_d2.data.images import ImageFile, read_image
from unseg_d2.data.synthetic import ensure_synthetic
from unseg_d2.evaluation.class_agnostic import evaluate
from unseg_d2.pseudo.pipeline import build_pipeline

LADDER = {
    "MaskCut": ["MASKS.GENERATOR", "maskcut"],
    "+ LocalCut": ["MASKS.CUTS3D.IMPORTANCE", "False"],
    "+ Spatial Importance (CutS3D)": [],
    "the paper word by word": ["MASKS.MODE", "parity"],
}
FULL = "+ Spatial Importance (CutS3D)"
DEPTH = {"SOURCE": "files", "KIND": "metric", "FILES.SCALE": "0.001", "FILES.ZERO": "far"}
THRESHOLDS = np.linspace(0.5, 0.95, 10)
Truth = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class ImageMatches:
    """How well the masks of one image match its objects.

    Attributes:
        scores: ``(n,)`` of the masks, descending.
        hits: ``(10, n)`` bool, whether a mask is matched at an IoU of .5, .55 ... .95.
        objects: number of objects.
    """

    scores: np.ndarray
    hits: np.ndarray
    objects: int


def main() -> int:
    args = parse_args()
    torch.set_num_threads(1)
    images, truth = load(args)
    number = str(args.num_masks)
    common = ["FEATURES.NAME", "descriptors", "FEATURES.DEVICE", args.device, "MASKS.GENERATOR", "cuts3d"]
    common += ["MASKS.MASKCUT.NUM_MASKS", number, "MASKS.CUTS3D.NUM_MASKS", number, "REFINE.NAME", args.refiner]
    common += [text for key, value in DEPTH.items() for text in (f"DEPTH.{key}", value)]
    rows = dict(LADDER) | {change: change.replace("=", " ").replace(",", " ").split() for change in args.changes}
    print(f"{len(truth['images'])} images, {len(truth['annotations'])} objects, {number} cuts per image")
    print("| | masks / image | recall .5 | AP | AP50 | AR100 | AP50 against MaskCut | AR100 against MaskCut |")
    print("|---|---:|---:|---:|---:|---:|---|---|")
    baseline, passed = None, False
    for name, options in rows.items():
        results = find_masks(images, truth, [*common, *options])
        figures = evaluate(truth, results, ("segm",))["segm"]
        matches = [match(image["id"], truth, results) for image in truth["images"]]
        assert np.allclose([figures["AP50"], figures["AR100"]], ap50_and_ar100(matches), atol=1e-3)
        baseline = baseline or matches
        intervals = bootstrap(baseline, matches, args.resamples)
        if name == FULL:
            passed = bool(intervals.min() > 0)
        brackets = " | ".join(f"[{low:+.1f}, {high:+.1f}]" for low, high in intervals)
        shown = " | ".join(f"{figures[key]:.1f}" for key in ("Recall50", "AP", "AP50", "AR100"))
        print(f"| {name} | {len(results) / len(matches):.2f} | {shown} | {brackets} |", flush=True)
    print("PASSED" if passed else "FAILED")
    return 0 if passed else 1


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with images, depth and instances.json")
    parser.add_argument("--limit", type=int, default=24, help="largest number of images")
    parser.add_argument(
        "--num-masks", type=int, default=7, help="normalised cuts per image, of every row; a scene has up to 7 objects"
    )
    parser.add_argument("--refiner", default="guided", help="REFINE.NAME of every row")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--resamples", type=int, default=2000, help="of the bootstrap")
    parser.add_argument("--try", dest="changes", nargs="+", default=[], metavar="KEY=VALUE", help="more rows of CutS3D")
    return parser.parse_args()


def load(args: argparse.Namespace) -> tuple[Path, Truth]:
    """Return the folder of the images, and the ground truth of those that are used."""
    if args.data:
        folder, path = args.data / "images", args.data / "instances.json"
    else:
        cfg = load_cfg(None, ["SYNTHETIC.ONE_COLOUR", "1.0", "SYNTHETIC.NUM_VAL", str(args.limit)])
        folder, path = ensure_synthetic(cfg, "val")
    content = read_coco(path)
    chosen = [image for image in content.images if image.get("one_colour")] or content.images
    chosen = chosen[: args.limit]
    ids = {image["id"] for image in chosen}
    return folder, {"images": chosen, "annotations": [a for a in content.annotations if a["image_id"] in ids]}


def find_masks(folder: Path, truth: Truth, options: list[str]) -> list[dict[str, Any]]:
    """Return the COCO results of a configuration."""
    pipeline = build_pipeline(load_cfg(None, options))
    results = []
    for image in truth["images"]:
        path = folder / image["file_name"]
        for found in pipeline([read_image(path)], [ImageFile(path, image["file_name"])])[0]:
            rle = encode_mask(found.mask)
            results.append({"image_id": image["id"], "segmentation": rle, "score": found.score})
    return results


def match(image_id: int, truth: Truth, results: list[dict[str, Any]]) -> ImageMatches:
    """Match each mask, best first, with the unmatched object of highest IoU, as COCO does."""
    objects = [a["segmentation"] for a in truth["annotations"] if a["image_id"] == image_id]
    found = sorted((r for r in results if r["image_id"] == image_id), key=lambda r: -r["score"])
    hits = np.zeros((len(THRESHOLDS), len(found)), bool)
    if found and objects:
        overlaps = mask_utils.iou([r["segmentation"] for r in found], objects, [0] * len(objects))
        for row, threshold in zip(hits, THRESHOLDS):
            free = np.ones(len(objects), bool)
            for index, overlap in enumerate(overlaps):
                best = int(np.argmax(np.where(free, overlap, -1)))
                row[index] = free[best] and overlap[best] >= threshold
                free[best] &= not row[index]
    return ImageMatches(np.array([r["score"] for r in found]), hits, len(objects))


def ap50_and_ar100(images: list[ImageMatches]) -> np.ndarray:
    """Return mask AP50 and AR100 of some images, in percent; an image may occur more than once."""
    objects = sum(image.objects for image in images)
    hits = np.concatenate([image.hits for image in images], axis=1)
    order = np.argsort(-np.concatenate([image.scores for image in images]), kind="stable")
    true = np.cumsum(hits[0][order])
    precision = np.maximum.accumulate((true / np.arange(1, len(true) + 1))[::-1])[::-1]
    reached = np.searchsorted(true / objects, np.linspace(0, 1, 101), side="left")
    ap50 = np.append(precision, 0)[reached].mean()
    return 100 * np.array([ap50, hits.sum() / (len(THRESHOLDS) * objects)])


def bootstrap(baseline: list[ImageMatches], other: list[ImageMatches], resamples: int) -> np.ndarray:
    """Return 95 % intervals of the gain in AP50 and AR100, ``(2, 2)``, resampling the same images on both sides."""
    rng = np.random.default_rng(0)
    rises = []
    for _ in range(resamples):
        chosen = rng.integers(len(baseline), size=len(baseline))
        before, after = (ap50_and_ar100([side[i] for i in chosen]) for side in (baseline, other))
        rises.append(after - before)
    return np.percentile(rises, [2.5, 97.5], axis=0).T


if __name__ == "__main__":
    sys.exit(main())
