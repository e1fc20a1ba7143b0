"""Recall at each level of detail, on generated scenes of parts, objects and groups: UniAP against other generators.

    python benchmarks/levels.py [--scenes 40] [--picture docs/levels.jpg] [KEY VALUE ...]

All generators get the same descriptors and no refiner; CutS3D gets the exact depth too, in which each object is flat,
and VoteCut an ensemble of the descriptors of three sizes. Average recall is that of COCO with 1000 masks per image, in
percent, by level of the ground truth; below each figure is the difference of the first row from this one, with a 95 %
interval of a paired bootstrap over scenes. --picture draws the first scene with the masks of several granularities.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from unseg_d2.config import load_cfg
from unseg_d2.data.coco import read_coco
from unseg_d2.data.images import ImageFile, read_image
from unseg_d2.data.synthetic.nested import LEVELS, write_nested
from unseg_d2.evaluation.levels import THRESHOLDS, recalled
from unseg_d2.evaluation.overlaps import overlaps
from unseg_d2.pseudo.pipeline import build_pipeline

SCENES = {"size": (240, 320), "num_kinds": (2, 4), "copies": (1, 4)}
DEPTH = ("DEPTH.SOURCE", "synthetic")
COSINES = ("MASKS.GREEDYMERGE.TAUS", "(0.995, 0.99, 0.98, 0.97, 0.95)")  # those of descriptors are all high
SIZES = ("FEATURES.MEMBERS", repr([{"DESCRIPTORS": {"PATCH_SIZE": size}} for size in (8, 12, 16)]))
ROWS = {
    "uniap": ["MASKS.GENERATOR", "uniap", "MASKS.UNIAP.MASKS", "both"],
    "uniap, regions only": ["MASKS.GENERATOR", "uniap"],
    "maskcut": ["MASKS.GENERATOR", "maskcut"],
    "maskcut, N = 10": ["MASKS.GENERATOR", "maskcut", "MASKS.MASKCUT.NUM_MASKS", "10"],
    "cuts3d, exact depth": ["MASKS.GENERATOR", "cuts3d", *DEPTH],
    "cuts3d, exact depth, N = 10": ["MASKS.GENERATOR", "cuts3d", "MASKS.CUTS3D.NUM_MASKS", "10", *DEPTH],
    "promerge": ["MASKS.GENERATOR", "promerge"],
    "votecut": ["MASKS.GENERATOR", "votecut", *SIZES],
    "greedymerge in promerge": ["MASKS.GENERATOR", "greedymerge", "MASKS.GREEDYMERGE.DIVIDE", "promerge", *COSINES],
    "greedymerge in maskcut, N = 10": [
        *("MASKS.GENERATOR", "greedymerge", "MASKS.GREEDYMERGE.DIVIDE", "maskcut", "MASKS.MASKCUT.NUM_MASKS", "10"),
        *COSINES,
    ],
}
"""What is compared, with its settings; those that fit descriptors are taken by themselves."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resamples", type=int, default=2000, help="of the bootstrap")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--picture", type=Path, help="file to draw the first scene to")
    parser.add_argument("options", nargs="*", help="KEY VALUE pairs for all rows")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images, labels = write_nested(Path(folder) / "scenes", args.scenes, seed=args.seed, **SCENES)
        truth = read_coco(labels)
        files = [ImageFile(images / image["file_name"], image["file_name"]) for image in truth.images]
        compare(args, truth, files)


def compare(args: argparse.Namespace, truth, files: list[ImageFile]) -> None:
    """Print the rows of the table."""
    pixels = [read_image(file.path) for file in files]
    print(f"| generator | masks / image | s | {' | '.join(LEVELS)} | all |")
    print("|---|" + "---:|" * (len(LEVELS) + 3))
    first = None
    for name in args.rows:
        found, seconds = masks_of(pixels, files, [*ROWS[name], *args.options])
        counts = np.stack([counted(truth, found, level) for level in (*range(len(LEVELS)), None)])
        cells = [f"{100 * value:.1f}" for value in average_recall(counts)]
        print(f"| {name} | {sum(map(len, found)) / len(found):.1f} | {seconds:.3f} | {' | '.join(cells)} |", flush=True)
        if first is None:
            first = counts
            if args.picture:
                draw(args.picture, pixels[0], found[0])
        else:
            low, high = intervals(first, counts, args.resamples)
            change = average_recall(first) - average_recall(counts)
            cells = [f"{100 * d:+.1f} [{100 * a:+.1f}, {100 * b:+.1f}]" for d, a, b in zip(change, low, high)]
            print(f"| first − {name} | | | {' | '.join(cells)} |", flush=True)


def masks_of(pixels: list[np.ndarray], files: list[ImageFile], options: list[str]) -> tuple[list, float]:
    """Return the masks of each picture, and the processor seconds per picture with its descriptors."""
    cfg = load_cfg(None, ["FEATURES.NAME", "descriptors", "REFINE.NAME", "none", "MASKS.MAX_PROPOSALS", "0", *options])
    pipeline = build_pipeline(cfg)
    started = time.process_time()
    found = [pipeline([image], [file])[0] for image, file in zip(pixels, files)]
    return found, (time.process_time() - started) / len(pixels)


def counted(truth, found: list, level: int | None) -> np.ndarray:
    """Return for each scene the objects of a level found at each IoU, and their number, ``(scenes, T + 1)``."""
    results = [item for image, masks in zip(truth.images, found) for item in masks.to_coco(image["id"])]
    results.sort(key=lambda item: -item["score"])
    wanted = [item for item in truth.annotations if level is None or item["level"] == level]
    rows = []
    for image in overlaps({"images": truth.images, "annotations": wanted}, results, "segm"):
        rows.append([*recalled(image.ious[:1000]).sum(1), len(image.objects)])
    return np.array(rows, dtype=float)


def average_recall(counts: np.ndarray) -> np.ndarray:
    """Return the average recall of each level, from ``(levels, scenes, T + 1)`` counts."""
    total = counts.sum(1)
    return total[:, : len(THRESHOLDS)].mean(1) / total[:, -1]


def intervals(first: np.ndarray, other: np.ndarray, resamples: int) -> np.ndarray:
    """Return the 95 % interval of the difference of each level, ``(2, levels)``."""
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(resamples):
        chosen = rng.integers(0, first.shape[1], first.shape[1])
        differences.append(average_recall(first[:, chosen]) - average_recall(other[:, chosen]))
    return np.percentile(differences, (2.5, 97.5), axis=0)


def draw(path: Path, image: np.ndarray, masks: list) -> None:
    """Draw a scene, and beside it its masks at three granularities: those that are not coarser, in none that is not."""
    import cv2

    from unseg_d2.viz.overlay import draw_instances

    panels = [image]
    by_node = {one.place.node: one.place.granularity for one in masks}
    for most in (0.15, 0.4, 1.0):
        shown = [
            one.mask
            for one in masks
            if one.place.granularity <= most and (one.place.parent is None or by_node[one.place.parent] > most)
        ]
        stack = np.stack(shown) if shown else np.zeros((0, *image.shape[:2]), bool)
        panels.append(draw_instances(image, stack))
    cv2.imwrite(str(path), np.concatenate(panels, axis=1)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main()
