"""PriMaPs-EM against k-means on scenes with known classes, over several seeds.

    python benchmarks/semantic.py --seeds 0 1 2 --output output/semantic_seeds

Each seed has scenes of its own, to train and to test on, and an order of its own. Goes on where it stopped. Scores are
on the test scenes, with as many clusters as classes, matched once over the whole set; no label is used before that.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
import torch

from unseg_d2.config import load_cfg
from unseg_d2.evaluation.semantic import SemanticScores
from unseg_d2.files import write_json
from unseg_d2.semantic.datasets import load_semantic_set
from unseg_d2.semantic.prototypes import Prototypes
from unseg_d2.training.semantic import train_semantic
from unseg_d2.training.semantic_model import load_semantic_model
from unseg_d2.training.semantic_scores import classifiers_of, score_classifiers, write_predictions
from unseg_d2.training.steps import load_network

RECIPE = "configs/semantic/synthetic.yaml"
START = "k-means, 2 epochs (where EM starts)"
BASELINE = "k-means"


def main() -> None:
    """Train and score every seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("output/semantic_seeds"))
    parser.add_argument("--recipe", default=RECIPE)
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE ...")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    rows = [one_seed(args.recipe, seed, args.output / str(seed), args.opts) for seed in args.seeds]
    figures = {name: [[row[name].miou, row[name].accuracy] for row in rows] for name in rows[0]}
    write_json(args.output / "figures.json", {"seeds": args.seeds, "figures": figures}, indent=1)
    print("\n".join(table(figures)))


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


def table(figures: dict[str, list[list[float]]]) -> list[str]:
    """Mean and standard deviation over seeds, and what each row gains on the baseline, seed by seed."""
    baseline = np.array(figures[BASELINE])
    lines = ["| prototypes | mIoU | Acc | mIoU per seed | more than k-means |", "|---|---|---|---|---|"]
    for name, values in figures.items():
        found = np.array(values)
        spread = found.std(0, ddof=1) if len(found) > 1 else np.zeros(2)
        cells = [f"{mean:.1f} ± {std:.1f}" for mean, std in zip(found.mean(0), spread)]
        cells.append(", ".join(f"{value:.1f}" for value in found[:, 0]))
        cells.append(", ".join(f"{value:+.1f}" for value in found[:, 0] - baseline[:, 0]))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
