"""PriMaPs-EM against k-means on scenes with known classes, over several seeds.

    python benchmarks/semantic.py --seeds 20 21 22 --output output/semantic_seeds SEMANTIC.TEST.CRF True

Each seed has its own training and test scenes and its own order of batches; gains are paired by seed. The same command
resumes where it stopped. Scores are on the test scenes, with as many clusters as classes, matched once over the whole
set; labels are used for nothing else.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t as student_t

from unseg_d2.config import load_cfg
from unseg_d2.data.synthetic import CLASSES
from unseg_d2.evaluation.semantic import SemanticScores
from unseg_d2.evaluation.table import lay_out
from unseg_d2.files import write_json
from unseg_d2.loop.checkpoint import load_network
from unseg_d2.semantic.datasets import load_semantic_set
from unseg_d2.semantic.model import load_semantic_model
from unseg_d2.semantic.prototypes import Prototypes
from unseg_d2.semantic.score import classifiers_of, score_classifiers, write_predictions
from unseg_d2.semantic.train import train_semantic

RECIPE = "configs/semantic/synthetic.yaml"
START = "k-means, where EM starts"
BASELINE = "k-means"
METHOD = "PriMaPs-EM"

Metrics = dict[str, dict[str, np.ndarray]]
"""By row: ``miou`` and ``accuracy`` per seed ``(n,)``, ``iou`` per seed and class ``(n, K)``."""


def main() -> None:
    """Train and score every seed, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("output/semantic_seeds"))
    parser.add_argument("--recipe", default=RECIPE)
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE ...")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    rows = [one_seed(args.recipe, seed, args.output / str(seed), args.opts) for seed in args.seeds]
    metrics = {
        name: {key: np.array([getattr(row[name], key) for row in rows]) for key in ("miou", "accuracy", "iou")}
        for name in rows[0]
    }
    stored = {name: {key: found.tolist() for key, found in values.items()} for name, values in metrics.items()}
    write_json(args.output / "figures.json", {"seeds": args.seeds, "figures": stored}, indent=1)
    print(lay_out([("", table(metrics)), ("", gains(metrics)), ("", by_class(metrics))], markdown=True))


def one_seed(recipe: str, seed: int, output: Path, opts: list[str]) -> dict[str, SemanticScores]:
    """Train and score one seed; writes overlays too."""
    words = ["SEED", str(seed), "SYNTHETIC.SEED", str(100000 * seed), "OUTPUT_DIR", str(output), *opts]
    weights = train_semantic(load_cfg(recipe, words), resume=True)
    model, cfg = load_semantic_model(weights)
    data = load_semantic_set(cfg.DATASETS.TEST[0], cfg)
    start = Prototypes(model.em.momentum.directions)
    load_network(start, output / "init" / "model_final.pth")
    scores = score_classifiers(model, {START: start} | classifiers_of(model), data, cfg)
    write_predictions(model, data, cfg, output / "predictions")
    return scores


def table(metrics: Metrics) -> list[list[str]]:
    """Return mean and standard deviation over seeds."""
    rows = [["prototypes", "mIoU", "Acc", "mIoU per seed"]]
    for name, found in metrics.items():
        each = ", ".join(f"{value:.1f}" for value in found["miou"])
        rows.append([name, _spread(found["miou"]), _spread(found["accuracy"]), each])
    return rows


def gains(metrics: Metrics) -> list[list[str]]:
    """Return the gain of PriMaPs-EM over k-means per seed, with a CRF after both if there is one."""
    rows = [["PriMaPs-EM against", "", "gain", "95 % interval of the mean", "seeds with a gain", "per seed"]]
    for name in (name for name in metrics if name.startswith((START, BASELINE))):
        method = metrics[METHOD + name.removeprefix(START).removeprefix(BASELINE)]
        for key, metric in (("miou", "mIoU"), ("accuracy", "Acc")):
            gain = method[key] - metrics[name][key]
            low, high = interval(gain)
            each = ", ".join(f"{value:+.1f}" for value in gain)
            rise = f"{(gain > 0).sum()} of {len(gain)}"
            rows.append([name, metric, _spread(gain, "+"), f"{low:+.1f} to {high:+.1f}", rise, each])
    return rows


def by_class(metrics: Metrics) -> list[list[str]]:
    """Return mean and standard deviation of the IoU of each class."""
    rows = [["IoU", *CLASSES]]
    rows += [[name, *(_spread(values) for values in found["iou"].T)] for name, found in metrics.items()]
    return rows


def interval(gain: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the mean of paired differences (Student's t); the mean twice for a single seed."""
    mean = float(gain.mean())
    if len(gain) < 2:
        return mean, mean
    half = float(student_t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain)))
    return mean - half, mean + half


def _spread(values: np.ndarray, sign: str = "") -> str:
    return f"{values.mean():{sign}.1f} ± {values.std(ddof=1) if len(values) > 1 else 0:.1f}"


if __name__ == "__main__":
    main()
