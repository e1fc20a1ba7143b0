"""Score a semantic segmentation learnt without labels against labels, or write what it predicts."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unseg_d2.cli.common import settings
from unseg_d2.cli.groups import add_output, add_recipe, add_weights, as_path
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import FEATURES
from unseg_d2.errors import UnsegError

if TYPE_CHECKING:
    from unseg_d2.evaluation.semantic import SemanticScores


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser, (*FEATURES, "SEMANTIC.", "REFINE.", "DATASETS.TEST", "MODEL.DEVICE"), file=False)
    parser.add_argument_group("data").add_argument(
        "--datasets", nargs="+", metavar="NAME", help="images, IMAGES::LABELS or a name (default: DATASETS.TEST)"
    )
    add_weights(parser, "checkpoint of train-semantic", required=True, type=as_path)
    add_output(parser, "folder of figures.json, table.txt and table.md (default: none)", metavar="FOLDER")
    parser.add_argument(
        "--write-masks", type=as_path, metavar="FOLDER", help="write label maps and overlays there (default: none)"
    )
    parser.add_argument("--per-class", action="store_true", help="print the IoU of each class too")
    parser.renamed["--results"] = "--output"


def _execute(args: argparse.Namespace) -> None:
    """Score, print the tables and write the requested files."""
    from unseg_d2.evaluation.table import lay_out, write_tables
    from unseg_d2.files import check_can_write, write_json
    from unseg_d2.semantic.datasets import load_semantic_set
    from unseg_d2.semantic.model import load_semantic_model
    from unseg_d2.semantic.score import classifiers_of, score_classifiers, write_predictions

    for place in filter(None, (args.output, args.write_masks)):
        check_can_write(place / "figures.json")
    model, cfg = load_semantic_model(args.weights, settings(args), trust=args.trust_checkpoint)
    specs = args.datasets or list(cfg.DATASETS.TEST)
    if not specs:
        raise UnsegError("There is nothing to score on; add --datasets IMAGES::LABELS.")
    sets = {spec: load_semantic_set(spec, cfg) for spec in specs}  # mistakes are found before any work
    folders = mask_folders(args.write_masks, list(sets)) if args.write_masks else {}
    metrics, tables = {}, []
    for spec, data in sets.items():
        if folder := folders.get(spec):
            write_predictions(model, data, cfg, folder)
        if not data.labelled and folder:
            continue
        scores = score_classifiers(model, classifiers_of(model), data, cfg)
        heading = f"{spec}: {len(data.images)} images, {len(data.classes)} classes"
        tables.append((heading, metric_rows(scores)))
        if args.per_class:
            tables.append(("", class_rows(scores, data.classes)))
        metrics[spec] = {name: _as_json(score) for name, score in scores.items()}
    if tables:
        print(lay_out(tables))
    if args.output:
        write_json(args.output / "figures.json", {"weights": str(args.weights), "figures": metrics}, indent=1)
        write_tables(args.output, tables)


def mask_folders(folder: Path, specs: Sequence[str]) -> dict[str, Path]:
    """Return where the label maps of each data set are written: of several, in a folder that is called as its images.

    Raises:
        UnsegError: two would write into the same folder.

    >>> {spec: str(place) for spec, place in mask_folders(Path("maps"), ["a/photos::b/labels", "val/"]).items()}
    {'a/photos::b/labels': 'maps/photos', 'val/': 'maps/val'}
    """
    from unseg_d2.data.spec import split_spec

    if len(specs) == 1:
        return {specs[0]: folder}
    found: dict[str, Path] = {}
    for spec in specs:
        place = folder / Path(split_spec(spec)[0]).name
        if other := next((one for one, taken in found.items() if taken == place), None):
            raise UnsegError(
                f"The label maps of {other} and {spec} would both be in {place}; write them with a command each."
            )
        found[spec] = place
    return found


def metric_rows(scores: dict[str, SemanticScores]) -> list[list[str]]:
    """Return mIoU and accuracy of each, the titles first."""
    from unseg_d2.evaluation.table import as_cell

    return [
        ["prototypes", "mIoU", "Acc"],
        *([name, as_cell(score.miou, 2), as_cell(score.accuracy, 2)] for name, score in scores.items()),
    ]


def class_rows(scores: dict[str, SemanticScores], classes: Sequence[str]) -> list[list[str]]:
    """Return the IoU of each class, the titles first."""
    from unseg_d2.evaluation.table import as_cell

    rows = [["IoU", *scores]]
    for index, name in enumerate(classes):
        rows.append([name, *(as_cell(score.iou[index]) for score in scores.values())])
    return rows


def _as_json(score: SemanticScores) -> dict[str, object]:
    iou = [None if math.isnan(value) else value for value in score.iou.tolist()]
    return {"mIoU": score.miou, "Acc": score.accuracy, "IoU": iou, "matching": score.matching.tolist()}


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 evaluate semantic --weights runs/semantic/model_final.pth --datasets photos/::labels/ --per-class",
        "unseg-d2 evaluate semantic --weights runs/semantic/model_final.pth --datasets photos/ --write-masks maps/",
    ),
    notes="Clusters are matched with classes on the whole set, see SEMANTIC.TEST. The recipe is that of the "
    "checkpoint; settings change it. Metrics are in percent.",
)
