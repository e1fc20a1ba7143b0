"""One stage against rounds in the same processor time: three seeds, scenes with truth (docs/one_stage.md).

    OMP_NUM_THREADS=1 python benchmarks/experiments/compare_one_stage.py [--seeds 0 1 2] [--times 1]
        [--recipe quickstart_instant.yaml --scenes 48] [--no-control]

The run of the recipe is timed: masks, a training, a round. Then the experiment is trained for as many processor
seconds, or for ``--times`` as many, on the same scenes. So is its network on labels that stay as they are,
those of UniAP on the descriptors, without QuerySD. The number of steps follows from a few that are timed before, which
do not count. Scenes are rendered, and everything is imported, beforehand. Metrics are those on scenes that were not
used for training, class-agnostic, on masks, in percent: the mean over the seeds and the 95 % interval of Student's t;
then come differences, paired by seed. The labels that both begin with come first. Runs that have ended are kept in
``--output``; one that was interrupted is begun anew, since its time is not known.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import itertools
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode
from one_stage.settings import REGIONS, OneStageSettings
from one_stage.targets import groups
from one_stage.train import load, predict, train
from one_stage.views import whole_view

from unseg_d2 import MaskGenerator, self_train
from unseg_d2.config import load_cfg
from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.images import read_image
from unseg_d2.detectors.protocol import select_engine
from unseg_d2.evaluation.scores import Scores
from unseg_d2.files import write_json
from unseg_d2.masks.uniap import uniap
from unseg_d2.pixels import resize
from unseg_d2.rle import encode_mask
from unseg_d2.training.evaluate import evaluate_detector, score_records

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from offline_detector import interval

METRICS = ("AP50", "AP", "AR100")
TRAIN, VAL = "synthetic_train", "synthetic_val"
ROUNDS, CONTROL = "rounds", "labels fixed"
FIXED_LABELS = OneStageSettings(own_share=0.0, query_weight=0.0)
"""The same network and masks, without what makes it one stage: regions are those of the descriptors, and no QuerySD."""
Row = dict[str, float]
Found = tuple[np.ndarray, np.ndarray]
"""Masks ``(m, H, W)`` bool and scores ``(m,)``."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--times", type=float, nargs="+", default=[1.0], help="of the rounds' processor time")
    parser.add_argument("--no-control", action="store_true", help="leave out the labels that stay as they are")
    parser.add_argument("--recipe", default="quickstart.yaml", help="of the rounds")
    parser.add_argument("--scenes", type=int, default=200, help="for training")
    parser.add_argument("--held-out", type=int, default=48, help="scenes for the metrics")
    parser.add_argument("--output", type=Path, default=Path("output/bench-one-stage"))
    args = parser.parse_args()
    cfg = load_cfg(args.recipe, options(args, 0))
    paths = [Path(record["file_name"]) for record in load_dataset(TRAIN, cfg)]
    load_dataset(VAL, cfg)  # renders the scenes
    arms = {name_of(times): (times, OneStageSettings()) for times in args.times}
    if not args.no_control:
        arms[CONTROL] = (1.0, FIXED_LABELS)
    print("| labels | " + " | ".join(METRICS) + " |\n|---|" + "---:|" * len(METRICS))
    for name, find in (("MaskCut", maskcut(cfg)), ("UniAP's instances", regions(FIXED_LABELS))):
        row = score(cfg, find)
        print(f"| {name} | " + " | ".join(f"{row[metric]:.1f}" for metric in METRICS) + " |", flush=True)
    rows: dict[str, list[Row]] = {name: [] for name in (ROUNDS, *arms)}
    for seed in args.seeds:
        rows[ROUNDS].append(rounds(args, seed))
        for name, (times, settings) in arms.items():
            seconds = times * rows[ROUNDS][-1]["seconds"]
            rows[name].append(one_stage(args, seed, settings, paths, seconds))
        print(f"seed {seed}: " + "; ".join(f"{name} {found[-1]}" for name, found in rows.items()), flush=True)
    print_table(rows)


def name_of(times: float) -> str:
    """Return the name of a row: one stage, in so many times the time of the rounds."""
    return "one stage" if times == 1 else f"one stage, {times:g} × the time"


def print_table(rows: dict[str, list[Row]]) -> None:
    """Print means with intervals, and the differences between runs, paired by seed."""
    columns = (*METRICS, "seconds")
    print("| run | " + " | ".join([*METRICS, "processor s"]) + " |\n|---|" + "---:|" * len(columns))
    for name, found in rows.items():
        print(f"| {name} | " + " | ".join(interval([row[column] for row in found]) for column in columns) + " |")
    for first, second in itertools.combinations(rows, 2):
        pairs = list(zip(rows[second], rows[first]))
        cells = [interval([ours[column] - theirs[column] for ours, theirs in pairs]) for column in columns]
        print(f"| {second} − {first} | " + " | ".join(cells) + " |")


def options(args: argparse.Namespace, seed: int) -> list[str]:
    """Return what the recipe is run with: the built-in engine in this process, on the CPU."""
    values = {
        "SEED": seed,
        "ENGINE": "builtin",
        "MODEL.DEVICE": "cpu",
        "FEATURES.DEVICE": "cpu",
        "DATALOADER.NUM_WORKERS": 0,
        "SYNTHETIC.ROOT": args.output.resolve() / "scenes",
        "SYNTHETIC.NUM_TRAIN": args.scenes,
        "SYNTHETIC.NUM_VAL": args.held_out,
    }
    return [str(part) for pair in values.items() for part in pair]


def used() -> float:
    """Return the processor seconds of this process and of those that it has started."""
    return sum(os.times()[:4])


def kept(folder: Path, made_from: Any, make: Callable[[Path], Row]) -> Row:
    """Return the row of a run that has ended with the same settings, or make it."""
    fingerprint = hashlib.sha256(json.dumps(made_from, sort_keys=True, default=str).encode()).hexdigest()[:8]
    place = folder.with_name(f"{folder.name}-{fingerprint}")
    record = place.with_suffix(".json")
    if record.is_file():
        row: Row = json.loads(record.read_text())
        return row
    shutil.rmtree(place, ignore_errors=True)
    row = make(place)
    write_json(record, row)
    return row


def rounds(args: argparse.Namespace, seed: int) -> Row:
    """Return metrics and processor time of masks, a training and a round of the recipe."""
    opts = options(args, seed)

    def make(folder: Path) -> Row:
        started = used()
        result = self_train(args.recipe, *opts, output=folder, images=TRAIN, rounds=1)
        seconds = used() - started
        cfg, engine = load_cfg(args.recipe, opts), select_engine("builtin")
        weights = str(result.weights)
        scores = evaluate_detector(engine, cfg, weights=weights, dataset=VAL, output=folder / "scored")
        return metrics_of(scores) | {"seconds": seconds}

    return kept(args.output / f"rounds-{seed}", [args.recipe, *opts], make)


def one_stage(
    args: argparse.Namespace, seed: int, settings: OneStageSettings, paths: list[Path], seconds: float
) -> Row:
    """Return metrics and processor time of the experiment, trained for about so many seconds."""

    def make(folder: Path) -> Row:
        steps = steps_in(seconds, paths, settings)
        started = used()
        weights = train(paths, settings, folder, steps=steps, seed=seed)
        spent = used() - started
        network = load(weights, settings)
        row = score(load_cfg(args.recipe, options(args, seed)), lambda pixels: predict(network, pixels, settings))
        return row | {"seconds": spent, "steps": steps}

    made_from = [options(args, seed), dataclasses.asdict(settings), round(seconds, 3)]
    return kept(args.output / f"one-stage-{seed}", made_from, make)


def steps_in(seconds: float, paths: list[Path], settings: OneStageSettings) -> int:
    """Return how many steps take so many processor seconds, from two short trainings."""
    times, lengths = [], (3, 13)
    for steps in lengths:
        with tempfile.TemporaryDirectory() as folder:
            started = used()
            train(paths, settings, Path(folder), steps=steps, seed=0)
            times.append(used() - started)
    each = (times[1] - times[0]) / (lengths[1] - lengths[0])
    return max(1, int((seconds - max(0.0, times[0] - lengths[0] * each)) / each))


def score(cfg: CfgNode, find: Callable[[np.ndarray], Found]) -> Row:
    """Return the metrics of what is found in the images that were not used for training."""
    records = load_dataset(VAL, cfg)

    def results() -> Iterator[dict[str, Any]]:
        for record in records:
            masks, scores = find(read_image(record["file_name"]))
            for mask, value in zip(masks, scores):
                segmentation = encode_mask(mask)
                yield {"image_id": record["image_id"], "score": float(value), "segmentation": segmentation}

    return metrics_of(score_records(records, list(results()), cfg, VAL))


def metrics_of(scores: Scores) -> Row:
    """Return the metrics of masks that the table has."""
    return {metric: scores.metrics["segm"][metric] for metric in METRICS}


def maskcut(cfg: CfgNode) -> Callable[[np.ndarray], Found]:
    """Return what finds the masks that the rounds begin with."""
    generator = MaskGenerator.from_recipe(cfg)

    def find(pixels: np.ndarray) -> Found:
        found = generator(pixels)
        return np.array([one.mask for one in found]), np.array([one.score for one in found])

    return find


def regions(settings: OneStageSettings) -> Callable[[np.ndarray], Found]:
    """Return what finds the instances that the teacher's first step gives, at the size of the image."""

    def find(pixels: np.ndarray) -> Found:
        _, descriptors = whole_view(pixels, settings)
        (found,) = uniap(descriptors[None], REGIONS)
        chosen, count = groups(found.masks, settings.most_instances, 0)
        masks = found.masks[chosen[:count]].numpy()
        height, width = pixels.shape[:2]
        large = [resize(mask.astype(np.uint8) * 255, (height, width)) >= 128 for mask in masks]
        return np.array(large), found.scores[chosen[:count]].numpy()

    return find


if __name__ == "__main__":
    main()
