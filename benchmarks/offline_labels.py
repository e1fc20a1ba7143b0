"""Which masks a detector without a download should learn from, and whether it becomes better than they are.

    python benchmarks/offline_labels.py --data FOLDER [--masks RECIPE ...] [--iterations 160] [--size 192]

The images of a set, sorted by name, are dealt out in turn. Of the first, third, fifth ... each recipe of --masks makes
a label set, and the detector of ``configs/offline/detector.yaml`` is trained on it, from the backbone of the package
index and with the same iterations for all. The second, fourth ... are for the metrics: of the detectors, and of the
masks that the recipes make of these images themselves. One thread (set OMP_NUM_THREADS=1); label sets, masks and
trainings that have ended are kept in --output, and the same command resumes.

Metrics are class-agnostic, on masks, in percent: AP50, AP, AR100, objects found at IoU .5 by any mask and by the
best-scored mask of the image, and CorLoc (of the box of that mask). Of detectors: the mean over the seeds and the 95 %
interval of Student's t; so are differences, of a detector from its masks and of the last recipe's detector from each
other, paired by seed. Seeds differ in their training and not in their images: the lines below the table compare the
best-scored masks image by image, with the seeds taken together and 95 % intervals of a bootstrap over images.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edge import comparison, per_image, shares
from generators import Truth, load
from offline_detector import folder_of, interval, recipe, run
from offline_features import content_of, measure

from unseg_d2.config import load_cfg
from unseg_d2.evaluation.class_agnostic import evaluate
from unseg_d2.evaluation.overlaps import xywh
from unseg_d2.files import write_json
from unseg_d2.pseudo.generate import generate_label_set

Results = list[dict[str, Any]]
COLUMNS = ("masks / image", "AP50", "AP", "AR100", "found at .5", "found by the best mask", "CorLoc")


@dataclass(frozen=True)
class Measured:
    """Metrics of results on the reported half.

    Attributes:
        values: a number for each of :data:`COLUMNS`.
        table: sums of each image over its best-scored mask, as ``edge.per_image`` returns them.
    """

    values: dict[str, float]
    table: np.ndarray


def main() -> None:
    args = options().parse_args()
    args.output /= args.set
    folder, halves = prepare(args)
    contents = [content_of(image, halves[1]) for image in halves[1]["images"]]
    rows = {name: (name, list[str]()) for name in args.masks}
    found, seconds = measure(rows, halves[1]["images"], folder, args.output / "masks", None)
    makers = {name: measured(contents, results) for name, results in found.items()}
    print(f"| {args.set} | " + " | ".join(COLUMNS) + " | processor s |\n|---|" + "---:|" * (len(COLUMNS) + 1))
    for name, one in makers.items():
        print(line(f"masks of `{name}`", [one]) + f" {seconds[name] / len(contents):.2f} / image |", flush=True)
    detectors: dict[str, list[Measured]] = {name: [] for name in args.masks}
    times: dict[str, list[float]] = {name: [] for name in args.masks}
    for seed in args.seeds:
        for name in args.masks:
            results, spent = trained(args, name, folder, seed)
            detectors[name].append(measured(contents, results))
            times[name].append(spent)
            print(line(f"seed {seed}: `{name}`", detectors[name][-1:]) + f" {spent:.0f} |", flush=True)
    if not args.seeds:
        return
    print()
    for name, several in detectors.items():
        print(line(f"detector trained on them, `{name}`", several) + f" {np.mean(times[name]):.0f} / training |")
    print_differences(makers, detectors)


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the set")
    parser.add_argument("--set", default="ecssd_dev", help="ecssd_dev or coco_dev")
    parser.add_argument("--masks", nargs="+", default=["offline/promerge.yaml", "offline/activation.yaml"])
    parser.add_argument("--iterations", type=int, default=160)
    parser.add_argument("--size", type=int, default=192, help="shorter side of the detector's images")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], help="none: the masks alone, no training")
    parser.add_argument("--every", type=int, default=1, help="take every n-th image of both halves only")
    parser.add_argument("--output", type=Path, default=Path("output/bench-offline-labels"))
    return parser


def prepare(args: argparse.Namespace) -> tuple[Path, list[Truth]]:
    """Write the ground truth of both halves as COCO files, and return it with the folder of the images."""
    folder, _, truth, _ = load(args.set, args.data, None)
    listed = sorted(truth["images"], key=lambda image: image["file_name"])
    halves = []
    for name, start in (("train", 0), ("val", 1)):
        images = listed[start::2][:: args.every]
        known = {image["id"] for image in images}
        annotations = [item for item in truth["annotations"] if item["image_id"] in known]
        whole = [
            {"id": number, "bbox": xywh(item), **item, "category_id": 1} for number, item in enumerate(annotations, 1)
        ]
        halves.append({"images": images, "annotations": whole})
        write_json(args.output / f"{name}.json", halves[-1] | {"categories": [{"id": 1, "name": "object"}]})
    return folder, halves


def trained(args: argparse.Namespace, name: str, folder: Path, seed: int) -> tuple[Results, float]:
    """Return what a detector of the masks of a recipe finds in the reported half, and the time of its training."""
    arm = "-".join(Path(name).with_suffix("").parts)
    cfg = load_cfg(name, ["FEATURES.DEVICE", "cpu"])
    labels = generate_label_set(
        cfg, f"{args.output}/train.json::{folder}", args.output / f"labels-{arm}", num_workers=0
    )
    training = recipe(args.size, args.iterations, f"{labels}::{folder}", seed, [])
    row = run(args, training, arm, seed, f"{args.output}/val.json::{folder}")
    predictions = folder_of(args, arm, seed) / "evaluation" / "predictions.json"
    return json.loads(predictions.read_text()), row["seconds"]


def measured(contents: list[dict[str, Any]], results: Results) -> Measured:
    """Return the metrics of results, and what they come from in each image."""
    whole = {key: [item for content in contents for item in content[key]] for key in ("images", "annotations")}
    scores = evaluate(whole, results, ("segm",))["segm"]
    alone = per_image(contents, best_of_each(results))
    found, best = shares(per_image(contents, results).sum(0)), shares(alone.sum(0))
    values = (len(results) / len(contents), scores["AP50"], scores["AP"], scores["AR100"])
    return Measured(dict(zip(COLUMNS, (*values, found["found"], best["found"], best["corloc"]))), alone)


def best_of_each(results: Results) -> Results:
    """Return the result of the highest score of each image.

    >>> best_of_each([{"image_id": 1, "score": 0.2}, {"image_id": 1, "score": 0.9}, {"image_id": 2, "score": 0.1}])
    [{'image_id': 1, 'score': 0.9}, {'image_id': 2, 'score': 0.1}]
    """
    best: dict[Any, dict[str, Any]] = {}
    for result in results:
        known = best.get(result["image_id"])
        if known is None or result["score"] > known["score"]:
            best[result["image_id"]] = result
    return list(best.values())


def line(name: str, several: list[Measured]) -> str:
    """Return a row of the table, without its time."""
    return f"| {name} | " + " | ".join(interval([one.values[column] for one in several]) for column in COLUMNS) + " |"


def print_differences(makers: dict[str, Measured], detectors: dict[str, list[Measured]]) -> None:
    """Print each detector less its masks, and the last detector less each of the others."""
    *others, last = detectors
    pairs = [
        (f"detector − its masks, `{name}`", found, [makers[name]] * len(found)) for name, found in detectors.items()
    ]
    pairs += [(f"detectors, `{last}` − `{name}`", detectors[last], detectors[name]) for name in others]
    for title, ours, theirs in pairs:
        cells = [
            interval([one.values[column] - two.values[column] for one, two in zip(ours, theirs)]) for column in COLUMNS
        ]
        print(f"| {title} | " + " | ".join(cells) + " | – |")
    for title, ours, theirs in pairs:
        sums = [np.sum([one.table for one in side], axis=0) for side in (ours, theirs)]
        print(f"\n{title}, the best mask of each image: {comparison(*sums)}")


if __name__ == "__main__":
    main()
