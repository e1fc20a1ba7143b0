"""A detector that starts from the backbone of the package index, against the same one from random weights.

    python benchmarks/offline_detector.py --data FOLDER [--iterations 60] [--size 128] [--seeds 0 1 2]

The images of coco_dev, sorted by name, are dealt out in turn: of the first, third, fifth ... the recipe
``configs/offline/promerge.yaml`` makes a label set, which every training takes; the second, fourth ... are for the
metrics, with COCO's masks. Both arms have the network of ``configs/offline/detector.yaml``. The one from random weights
has a tenth more iterations, so that it never has less processor time, which the table states; its normalisation layers
learn too. They run in turn, with one thread (set OMP_NUM_THREADS=1). Trainings that have ended are kept in --output,
and the same command resumes after them. Metrics are class-agnostic, on masks, in percent: the mean over the seeds and
the 95 % interval of Student's t; the last row is the difference, paired by seed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

import numpy as np
from fvcore.common.config import CfgNode
from scipy import stats

from unseg_d2.config import load_cfg
from unseg_d2.data.coco import read_coco
from unseg_d2.detectors.protocol import select_engine
from unseg_d2.files import write_json
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.training.evaluate import evaluate_detector

ARMS: dict[str, tuple[float, list[str]]] = {
    "backbone of the index": (1.0, []),
    "random weights": (1.1, ["MODEL.WEIGHTS", "", "MODEL.TIMM.NORM", ""]),
}
"""The arms: share of --iterations, and options."""

METRICS = ("AP50", "AP", "AR100")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds coco_dev")
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--size", type=int, default=128, help="shorter side of the images")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("output/bench-offline-detector"))
    args = parser.parse_args()
    labels, truth = prepare(args.data / "coco_dev", args.output)
    rows: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for seed in args.seeds:
        for arm, (share, options) in ARMS.items():
            iterations = round(share * args.iterations)
            rows[arm].append(run(args, recipe(args.size, iterations, labels, seed, options), arm, seed, truth))
            print(f"seed {seed}, {arm}: {rows[arm][-1]}", flush=True)
    write_json(args.output / "rows.json", rows)
    print("| start | " + " | ".join(METRICS) + " | processor s / training |\n|---|" + "---:|" * (len(METRICS) + 1))
    for arm, found in rows.items():
        cells = [interval([one[metric] for one in found]) for metric in METRICS]
        seconds = np.mean([one["seconds"] for one in found])
        print(f"| {arm} | " + " | ".join(cells) + f" | {seconds:.0f} |")
    first, second = rows.values()
    cells = [interval([one[metric] - two[metric] for one, two in zip(first, second)]) for metric in METRICS]
    print("| difference | " + " | ".join(cells) + " | – |")


def prepare(folder: Path, output: Path) -> tuple[str, str]:
    """Return the label set to train on, and the ground truth to score with, each of one half of the images."""
    content = read_coco(folder / "instances.json")
    images = sorted(content.images, key=lambda image: image["file_name"])
    halves = []
    for name, half in (("train", images[0::2]), ("val", images[1::2])):
        ids = {image["id"] for image in half}
        annotations = [item for item in content.annotations if item["image_id"] in ids]
        path = output / f"{name}.json"
        write_json(path, {"images": half, "annotations": annotations, "categories": content.categories})
        halves.append(f"{path}::{folder / 'images'}")
    cfg = load_cfg("offline/promerge.yaml", ["FEATURES.DEVICE", "cpu"])
    labels = generate_label_set(cfg, halves[0], output / "labels", num_workers=0)
    return f"{labels}::{folder / 'images'}", halves[1]


def recipe(size: int, iterations: int, labels: str, seed: int, options: list[str]) -> CfgNode:
    """Return the recipe of a training, its schedule in proportion to the iterations."""
    most, steps = round(1.75 * size), (round(0.8 * iterations),)
    values = {
        "DATASETS.TRAIN": (labels,),
        "SEED": seed,
        "ENGINE": "builtin",
        "MODEL.DEVICE": "cpu",
        "DATALOADER.NUM_WORKERS": 0,
        "SOLVER.MAX_ITER": iterations,
        "SOLVER.STEPS": steps,
        "SOLVER.WARMUP_ITERS": round(0.2 * iterations),
        "SOLVER.CHECKPOINT_PERIOD": iterations,
        **{"INPUT.MIN_SIZE_TRAIN": (size,), "INPUT.MAX_SIZE_TRAIN": most},
        **{"INPUT.MIN_SIZE_TEST": size, "INPUT.MAX_SIZE_TEST": most},
    }
    return load_cfg("offline/detector.yaml", [str(part) for pair in values.items() for part in pair] + options)


def folder_of(args: argparse.Namespace, arm: str, seed: int) -> Path:
    """Return the folder of a training, and of what its detector predicts."""
    return args.output / f"{arm.replace(' ', '-')}-{args.iterations}-{args.size}-{seed}"


def run(args: argparse.Namespace, cfg: CfgNode, arm: str, seed: int, truth: str) -> dict[str, float]:
    """Return metrics and processor time of a training; those of a finished one are read."""
    folder = folder_of(args, arm, seed)
    if (folder / "row.json").is_file():
        return json.loads((folder / "row.json").read_text())
    shutil.rmtree(folder, ignore_errors=True)  # of a training that did not end: its time is not known
    cfg = cfg.clone()
    cfg.defrost()
    cfg.OUTPUT_DIR = str(folder)
    cfg.freeze()
    engine = select_engine("builtin")
    started = time.process_time()
    weights = engine.train(cfg, resume=False)
    seconds = time.process_time() - started
    scores = evaluate_detector(engine, cfg, weights=str(weights), dataset=truth, output=folder / "evaluation")
    row = {metric: scores.metrics["segm"][metric] for metric in METRICS} | {"seconds": seconds}
    write_json(folder / "row.json", row)
    return row


def interval(values: list[float]) -> str:
    """Return the mean and the half width of its 95 % interval.

    >>> interval([1.0, 2.0, 3.0])
    '2.0 ± 2.5'
    """
    if len(values) < 2:
        return f"{np.mean(values):.1f}"
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{np.mean(values):.1f} ± {half:.1f}"


if __name__ == "__main__":
    main()
