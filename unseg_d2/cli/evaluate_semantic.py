"""Score a semantic segmentation, learnt without labels, against labels; or write what it predicts."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from unseg_d2.cli.common import Names, add_config_arguments
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.semantic import SemanticScores
from unseg_d2.files import atomic_write, write_json
from unseg_d2.semantic.datasets import load_semantic_set
from unseg_d2.training.semantic_model import load_semantic_model
from unseg_d2.training.semantic_scores import classifiers_of, score_classifiers, write_predictions


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    parser = argparse.ArgumentParser(
        prog="evaluate --task semantic",
        description=__doc__,
        epilog="Clusters are matched with classes on the whole set, see SEMANTIC.TEST. The recipe is that of the "
        "checkpoint; KEY VALUE pairs differ from it. Figures are in percent.",
    )
    parser.add_argument("--task", choices=("semantic",), required=True)
    parser.add_argument("--weights", required=True, type=Path, help="checkpoint of train-semantic")
    parser.add_argument(
        "--datasets",
        nargs="+",
        action=Names,
        metavar="NAME",
        help="images, IMAGES::LABELS or a name (default: DATASETS.TEST)",
    )
    parser.add_argument("--results", type=Path, help="write figures.json and table.md to this folder")
    parser.add_argument("--write-masks", type=Path, metavar="FOLDER", help="write label maps and overlays")
    parser.add_argument("--per-class", action="store_true", help="print the IoU of each class too")
    add_config_arguments(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Score, print the tables and write what was asked for."""
    args = parser().parse_args(arguments)
    if args.config_file:
        raise UnsegError("The checkpoint knows its recipe; leave --config-file out and append what differs.")
    model, cfg = load_semantic_model(args.weights, args.opts)
    specs = args.datasets or list(cfg.DATASETS.TEST)
    if not specs:
        raise UnsegError("There is nothing to score on; add --datasets IMAGES::LABELS.")
    figures, tables = {}, []
    for spec in specs:
        data = load_semantic_set(spec, cfg)
        folder = args.write_masks / Path(spec).name if args.write_masks and len(specs) > 1 else args.write_masks
        if folder:
            write_predictions(model, data, cfg, folder)
        if not data.labelled and folder:
            continue
        scores = score_classifiers(model, classifiers_of(model), data, cfg)
        tables.append(f"{spec}: {len(data.images)} images, {len(data.classes)} classes\n\n{table(scores)}")
        if args.per_class:
            tables.append(class_table(scores, data.classes))
        figures[spec] = {name: _as_json(score) for name, score in scores.items()}
    text = "\n\n".join(tables)
    print(text)
    if args.results:
        write_json(args.results / "figures.json", {"weights": str(args.weights), "figures": figures}, indent=1)
        with atomic_write(args.results / "table.md") as file:
            file.write(f"{text}\n".encode())


def table(scores: dict[str, SemanticScores]) -> str:
    """Lay out mIoU and accuracy as a Markdown table."""
    rows = [f"| {name} | {score.miou:.2f} | {score.accuracy:.2f} |" for name, score in scores.items()]
    return "\n".join(["| prototypes | mIoU | Acc |", "|---|---|---|", *rows])


def class_table(scores: dict[str, SemanticScores], classes: Sequence[str]) -> str:
    """Lay out the IoU of each class as a Markdown table."""
    lines = [f"| IoU | {' | '.join(scores)} |", "|---" * (len(scores) + 1) + "|"]
    for index, name in enumerate(classes):
        values = [score.iou[index] for score in scores.values()]
        lines.append(f"| {name} | " + " | ".join("-" if math.isnan(v) else f"{v:.1f}" for v in values) + " |")
    return "\n".join(lines)


def _as_json(score: SemanticScores) -> dict[str, object]:
    iou = [None if math.isnan(value) else value for value in score.iou.tolist()]
    return {"mIoU": score.miou, "Acc": score.accuracy, "IoU": iou, "matching": score.matching.tolist()}
