"""Training on key masks alone: what masks beside them are worth as regions that do not count as background.

    python benchmarks/key_masks.py [--seeds 0 1 2] [--clips 10] [--iterations 120] [--count]

Each seed has its own rendered clips with exact masks, of which `track-masks` chooses the key masks, and others for the
metrics. All arms have the network and the schedule of the quickstart, with DropLoss: on all masks of all frames; on the
frames that have key masks and on these alone; and on the same with the other masks as crowd regions (TRACKS.OTHERS
crowd, MODEL.ROI_HEADS.DROPLOSS_CROWD_IOU). They run in turn, with one thread (set OMP_NUM_THREADS=1). Trainings that
have ended are kept in --output, and the same command resumes after them. Metrics are class-agnostic, on masks, in
percent: the mean over the seeds and the 95 % interval of Student's t; the last row is the difference of the last two
arms, paired by seed.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import torch
from common import quickstart_training
from fvcore.common.config import CfgNode
from offline_detector import METRICS, interval
from pycocotools import mask as mask_utils

from unseg_d2.config import load_cfg
from unseg_d2.data.coco import read_coco
from unseg_d2.data.synthetic.film_dataset import ensure_film
from unseg_d2.detectors.protocol import select_engine
from unseg_d2.files import write_json
from unseg_d2.tracks.label_set import track_label_set
from unseg_d2.training.evaluate import evaluate_detector

CROWDS = "key masks, the others as crowds"
ARMS: dict[str, tuple[str, str, list[str]]] = {
    "all masks": ("left_out", "labels.json", []),
    "key masks": ("left_out", "keys.json", []),
    CROWDS: ("crowd", "keys.json", ["MODEL.ROI_HEADS.DROPLOSS_CROWD_IOU", "0.5"]),
}
"""The arms: TRACKS.OTHERS, the file that is trained on, and options."""

FILM = ["SYNTHETIC.SIZE", "(120, 160)", "SYNTHETIC.FILM.NUM_FRAMES", "16"]
HELD_OUT = 10_000  # added to the seed of the clips for the metrics
EVERY = 4  # which frames of those are used


def main() -> None:
    """Count what DropLoss misses, train every arm with every seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--clips", type=int, default=10, help="to train on, and as many for the metrics")
    parser.add_argument("--iterations", type=int, default=120)
    parser.add_argument("--count", action="store_true", help="only count the objects that DropLoss does not spare")
    parser.add_argument("--output", type=Path, default=Path("output/bench-key-masks"))
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(1)
    total, missed = objects_that_droploss_misses(args)
    print(f"{total} objects without a key mask in frames with one; DropLoss alone does not spare {missed}", flush=True)
    if args.count:
        return
    rows: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for seed in args.seeds:
        for arm in ARMS:
            rows[arm].append(run(args, arm, seed))
            print(f"seed {seed}, {arm}: {rows[arm][-1]}", flush=True)
    print("| trained on | images | masks | " + " | ".join(METRICS) + " |\n|---|" + "---:|" * (len(METRICS) + 2))
    for arm, found in rows.items():
        counts = [f"{np.mean([one[key] for one in found]):.0f}" for key in ("images", "masks")]
        cells = [interval([one[metric] for one in found]) for metric in METRICS]
        print(f"| {arm} | " + " | ".join([*counts, *cells]) + " |")
    pairs = list(zip(rows[CROWDS], rows["key masks"]))
    cells = [interval([one[metric] - two[metric] for one, two in pairs]) for metric in METRICS]
    print("| difference of the last two | | | " + " | ".join(cells) + " |")


def run(args: argparse.Namespace, arm: str, seed: int) -> dict[str, float]:
    """Return the metrics of a training; those of a finished one are read."""
    folder = args.output / f"{arm.replace(' ', '-').replace(',', '')}-{args.clips}-{args.iterations}-{seed}"
    if (folder / "row.json").is_file():
        found: dict[str, float] = json.loads((folder / "row.json").read_text())
        return found
    shutil.rmtree(folder, ignore_errors=True)
    others, file, options = ARMS[arm]
    images, _ = ensure_film(film(args, seed))
    tracks = tracked(args, seed, others)
    engine = select_engine("builtin")
    cfg = recipe(args, f"{tracks / file}::{images}", seed, folder, options)
    weights = engine.train(cfg, resume=False)
    scored = evaluate_detector(
        engine, cfg, weights=str(weights), dataset=held_out(args, seed), output=folder / "scores"
    )
    labels = read_coco(tracks / file)
    counts = len(labels.images), sum(not item["iscrowd"] for item in labels.annotations)
    row = {metric: scored.metrics["segm"][metric] for metric in METRICS} | dict(zip(("images", "masks"), counts))
    write_json(folder / "row.json", row)
    return row


def objects_that_droploss_misses(args: argparse.Namespace) -> tuple[int, int]:
    """Return how many objects have no key mask in a frame that has one, and how many of them DropLoss does not spare.

    The boxes of the latter overlap that of a key mask by more than the quickstart's threshold.
    """
    threshold = load_cfg("quickstart.yaml").MODEL.ROI_HEADS.DROPLOSS_IOU_THRESH
    total = missed = 0
    for seed in args.seeds:
        boxes: dict[bool, dict[int, list[list[float]]]] = {True: {}, False: {}}
        for item in read_coco(tracked(args, seed, "crowd") / "keys.json").annotations:
            boxes[bool(item["iscrowd"])].setdefault(item["image_id"], []).append(item["bbox"])
        for image, others in boxes[True].items():
            overlaps = mask_utils.iou(np.array(others), np.array(boxes[False][image]), [0] * len(boxes[False][image]))
            total += len(others)
            missed += int((overlaps.max(axis=1) > threshold).sum())
    return total, missed


def tracked(args: argparse.Namespace, seed: int, others: str) -> Path:
    """Return the folder with the tracks of the clips of a seed."""
    images, path = ensure_film(film(args, seed))
    folder: Path = args.output / f"tracks-{others}-{args.clips}-{seed}"
    by_overlap = ["TRACKS.APPEARANCE", "0", "TRACKS.MIN_SIMILARITY", "0.1", "TRACKS.OTHERS", others]
    track_label_set(load_cfg(None, by_overlap), path, folder, image_root=images)
    return folder


def film(args: argparse.Namespace, seed: int) -> CfgNode:
    """Return the settings of the clips of a seed."""
    return load_cfg(None, [*FILM, "SYNTHETIC.FILM.NUM_CLIPS", str(args.clips), "SYNTHETIC.SEED", str(1000 * seed)])


def held_out(args: argparse.Namespace, seed: int) -> str:
    """Return the ground truth to score with: some frames of other clips."""
    images, path = ensure_film(film(args, seed + HELD_OUT))
    content = read_coco(path)
    used = content.images[::EVERY]
    ids = {image["id"] for image in used}
    target = args.output / f"held-out-{args.clips}-{seed}.json"
    annotations = [item for item in content.annotations if item["image_id"] in ids]
    write_json(target, {"images": used, "annotations": annotations, "categories": content.categories})
    return f"{target}::{images}"


def recipe(args: argparse.Namespace, labels: str, seed: int, folder: Path, options: list[str]) -> CfgNode:
    """Return the recipe of a training: the quickstart's, its schedule in proportion to the iterations."""
    values = quickstart_training(seed, args.iterations) | {
        "DATASETS.TRAIN": (labels,),
        "OUTPUT_DIR": folder,
        "SOLVER.CHECKPOINT_PERIOD": args.iterations,
    }
    return load_cfg("quickstart.yaml", [str(part) for pair in values.items() for part in pair] + options)


if __name__ == "__main__":
    main()
