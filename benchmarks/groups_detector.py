"""A detector whose classes are groups of masks: what the groups cost it, and what training adds to its labels.

    python benchmarks/groups_detector.py [--seeds 0 1 2] [--scenes 60] [--iterations 120] [--surfaces by_class]

Each seed has its own rendered scenes to train on, and others for the metrics. Masks are exact or a generator's; those
of the training scenes are put into four groups by their colours, and the held-out scenes' own into the same groups
(--prototypes). Label makers are scored as they are, masks with their groups. Detectors have the network and the
schedule of the quickstart, and learn the masks without classes, with their groups, or with the true classes, which is
the ceiling. They run in turn, with one thread (set OMP_NUM_THREADS=1). Trainings that have ended are kept in --output,
by what they were made from, and the same command resumes after them.

Metrics are those of masks, in percent: AP and AP50 without classes; AP50 with classes and PQ, for which groups are
matched with classes first (all but the ceiling); PQ counts detections with a score of --least-score or more, and all
masks of label makers. Printed are the mean over the seeds and the 95 % interval of Student's t; differences are paired
by seed.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
from pathlib import Path

import torch
from common import quickstart_training
from fvcore.common.config import CfgNode
from offline_detector import interval

from unseg_d2.config import load_cfg
from unseg_d2.content import files_content
from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.classes import OF_THE_DATA
from unseg_d2.data.coco import read_coco
from unseg_d2.data.spec import join_spec
from unseg_d2.data.synthetic import Split, ensure_synthetic
from unseg_d2.detectors.protocol import select_engine
from unseg_d2.groups.group_masks import group_label_set
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.training.prediction import predict_to_file
from unseg_d2.training.score_masks import score_masks

EXACT, AGNOSTIC, GROUPS, CLASSES = "exact", "no classes", "groups", "true classes"
MAKERS: dict[str, list[str]] = {
    EXACT: [],
    "MaskCut": ["MASKS.GENERATOR", "maskcut", "MASKS.MASKCUT.NUM_MASKS", "10"],
    "ProMerge": ["MASKS.GENERATOR", "promerge"],
    "CutS3D, exact depth": ["MASKS.GENERATOR", "cuts3d", "MASKS.CUTS3D.NUM_MASKS", "10", "DEPTH.SOURCE", "synthetic"],
}
ARMS: dict[str, tuple[str, str]] = {
    f"{maker} masks, {learnt}": (maker, learnt)
    for maker, learnt in ((EXACT, AGNOSTIC), (EXACT, GROUPS), (EXACT, CLASSES), ("MaskCut", GROUPS))
}
"""The trainings: whose masks, and what classes they have."""
DIFFERENCES = (
    (f"detector of {EXACT} masks, {GROUPS}", f"detector of {EXACT} masks, {AGNOSTIC}"),
    (f"detector of {EXACT} masks, {GROUPS}", f"detector of {EXACT} masks, {CLASSES}"),
    (f"detector of MaskCut masks, {GROUPS}", f"MaskCut masks, {GROUPS}"),
)
METRICS = ("AP50", "AP", "AP50 (majority)", "AP50 (Hungarian)", "PQ")
BY_COLOUR = ["FEATURES.NAME", "palette", "FEATURES.IMAGE_SIZE", "240", "GROUPS.NUMBER", "4"]

Row = dict[str, float]


def main() -> None:
    args = arguments()
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(1)
    rows: dict[str, list[Row]] = {}
    for seed in args.seeds:
        for arm in args.arms:
            rows.setdefault(f"detector of {arm}", []).append(trained(args, arm, seed))
            print(f"seed {seed}, detector of {arm}: {rows[f'detector of {arm}'][-1]}", flush=True)
        for maker in args.makers:
            labels, truth = grouped(args, maker, "val", seed), scenes(args, "val", seed)[1]
            rows.setdefault(f"{maker} masks, {GROUPS}", []).append(metrics(labels, truth, GROUPS, 0.0))
            print(f"seed {seed}, {maker} masks: {rows[f'{maker} masks, {GROUPS}'][-1]}", flush=True)
    print("| | " + " | ".join(METRICS) + " |\n|---|" + "---:|" * len(METRICS))
    makers = {name: found for name, found in rows.items() if not name.startswith("detector")}
    for name, found in (makers | rows).items():
        print_row(name, found)
    for one, other in DIFFERENCES:
        pairs = zip(rows.get(one, ()), rows.get(other, ()))
        gains = [{metric: a[metric] - b[metric] for metric in METRICS if metric in a and metric in b} for a, b in pairs]
        if gains:
            print_row(f"{one} − {other}", gains)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--scenes", type=int, default=60, help="to train on, and two thirds as many for the metrics")
    parser.add_argument("--iterations", type=int, default=120)
    parser.add_argument("--surfaces", choices=["any", "by_class"], default="by_class")
    parser.add_argument("--makers", nargs="*", choices=MAKERS, default=list(MAKERS), help="label makers of the table")
    parser.add_argument("--arms", nargs="*", choices=ARMS, default=list(ARMS), help="trainings of the table")
    parser.add_argument("--least-score", type=float, default=0.3, help="of a detection that is a segment, for PQ")
    parser.add_argument("--output", type=Path, default=Path("output/bench-groups-detector"))
    return parser.parse_args()


def recipe(args: argparse.Namespace, seed: int, *options: str) -> CfgNode:
    """Return the recipe of the quickstart with the scenes and the schedule of a seed."""
    values = quickstart_training(seed, args.iterations) | {
        "SYNTHETIC.ROOT": args.output / "scenes",
        "SYNTHETIC.SURFACES": args.surfaces,
        "SYNTHETIC.NUM_TRAIN": args.scenes,
        "SYNTHETIC.NUM_VAL": max(1, 2 * args.scenes // 3),
        "SYNTHETIC.SEED": 100_000 * seed,
        "GROUPS.RANDOM_SEED": seed,
    }
    return load_cfg("quickstart.yaml", [str(part) for pair in values.items() for part in pair] + list(options))


def scenes(args: argparse.Namespace, split: Split, seed: int) -> tuple[Path, Path]:
    """Return the folder of the images of a seed, and their exact masks with the true classes."""
    return ensure_synthetic(recipe(args, seed), split)


def masks_of(args: argparse.Namespace, maker: str, split: Split, seed: int) -> Path:
    """Return the masks of a label maker on the images of a seed."""
    images, path = scenes(args, split, seed)
    if maker == EXACT:
        return path
    spec, folder = join_spec(path, images), args.output / images.parent.name / maker
    return generate_label_set(recipe(args, seed, *MAKERS[maker]), spec, folder, num_workers=0)


def grouped(args: argparse.Namespace, maker: str, split: Split, seed: int) -> Path:
    """Return the masks of a label maker with groups: those found on the training scenes, also for the held-out ones."""
    images, train = (scenes(args, of, seed)[0] for of in (split, "train"))
    name = args.output / train.parent.name / f"{maker} groups"
    cfg, masks = recipe(args, seed, *BY_COLOUR), masks_of(args, maker, split, seed)
    if split == "train":
        return group_label_set(cfg, masks, name, images=images).labels
    grouped(args, maker, "train", seed)
    held_out = name.with_name(f"{name.name} of {images.parent.name}")
    return group_label_set(cfg, masks, held_out, images=images, prototypes=name).labels


def trained(args: argparse.Namespace, arm: str, seed: int) -> Row:
    """Return the metrics of a training; a finished one is kept."""
    maker, learnt = ARMS[arm]
    images, truth = scenes(args, "train", seed)[0], scenes(args, "val", seed)[1]
    labels = (grouped if learnt == GROUPS else masks_of)(args, maker, "train", seed)
    number = 1 if learnt == AGNOSTIC else len(read_coco(labels).categories)
    options = ["MODEL.ROI_HEADS.NUM_CLASSES", str(number), "DATASETS.TRAIN", f"('{join_spec(labels, images)}',)"]
    cfg = recipe(args, seed, *options)
    made_from = hashlib.sha256(f"{cfg.dump()} {files_content([labels])}".encode()).hexdigest()[:12]
    folder = args.output / "trainings" / f"{arm}-{seed}-{made_from}"
    engine, weights = select_engine("builtin"), folder / "model_final.pth"
    if not weights.is_file():
        engine.train(recipe(args, seed, *options, "OUTPUT_DIR", str(folder)), resume=True)
    records = load_dataset(join_spec(truth, scenes(args, "val", seed)[0]), cfg, OF_THE_DATA)
    results = predict_to_file(engine, cfg, records, weights=str(weights), output=folder / "predictions")
    return metrics(results, truth, learnt, args.least_score)


def metrics(results: Path, truth: Path, learnt: str, least_score: float) -> Row:
    """Return the metrics of results, those with classes only where there are any."""

    def segm(evaluator: str, *options: object) -> dict[str, float]:
        return score_masks(results, truth, None, "TEST.EVALUATORS", [evaluator], *options).metrics["segm"]

    row = {metric: segm("class_agnostic")[metric] for metric in METRICS[:2]}
    matching = {GROUPS: "hungarian", CLASSES: "none"}.get(learnt)
    if matching is None:
        return row
    if learnt == GROUPS:
        for metric, rule in zip(METRICS[2:4], ("majority", "hungarian")):
            row[metric] = segm("matched_classes", "TEST.MATCHED_CLASSES.MATCHING", rule)["MatchedAP50"]
    else:
        row |= dict.fromkeys(METRICS[2:4], segm("per_class")["AP50"])
    options = ("TEST.PANOPTIC.MATCHING", matching, "TEST.PANOPTIC.LEAST_SCORE", least_score)
    return row | {"PQ": segm("panoptic", *options)["PQ"]}


def print_row(name: str, found: list[Row]) -> None:
    """Print the mean of each metric over the seeds, and its interval."""
    cells = [interval([row[metric] for row in found]) if metric in found[0] else "–" for metric in METRICS]
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
