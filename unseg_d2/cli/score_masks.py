"""Compare a label set with ground truth: class-agnostic AP and AR for boxes and masks."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from unseg_d2.cli.groups import add_labels, add_output
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.evaluation.backends import BACKENDS

if TYPE_CHECKING:
    from unseg_d2.training.score_masks import MaskScores

COLUMNS = {name: name for name in ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100")} | {
    "Recall50": "R@.5"
}
ROWS = {"bbox": "box", "segm": "mask"}


def _arguments(parser: CommandParser) -> None:
    add_labels(parser, "label set (COCO file or folder) or COCO results; a missing score counts as 1")
    group = parser.add_argument_group("ground truth")
    group.add_argument(
        "--gt", required=True, type=Path, metavar="FILE", help="COCO file with ground truth, of whatever classes"
    )
    group.add_argument(
        "--backend", default="auto", metavar="NAME", help=f"auto (the fastest installed) or {', '.join(BACKENDS)}"
    )
    add_output(parser, "JSON file to write the figures to (default: none)", metavar="FILE")
    parser.renamed["--masks"] = "--labels"


def _execute(args: argparse.Namespace) -> None:
    """Score, print the table and write the file."""
    from unseg_d2.files import write_json
    from unseg_d2.training.score_masks import score_masks

    scores = score_masks(args.labels, args.gt, backend=args.backend)
    print(table(scores))
    if args.output:
        content = {"masks": str(args.labels), "gt": str(args.gt)} | asdict(scores)
        write_json(args.output, _without_nan(content), indent=1)


def table(scores: MaskScores) -> str:
    """Lay out the counts, and the figures with a row for boxes and one for masks."""
    from unseg_d2.training.table import as_cell, as_text

    lines = [
        f"masks    {scores.num_masks} on {scores.num_images} images",
        f"objects  {scores.num_objects} on {scores.num_truth_images} images, and {scores.num_crowds} crowd regions",
    ]
    if scores.num_ignored_images:
        lines.append(f"ignored  {scores.num_ignored_images} images without ground truth")
    rows = [
        [label, *(as_cell(scores.figures[kind][name], 2) for name in COLUMNS)]
        for kind, label in ROWS.items()
        if kind in scores.figures
    ]
    return "\n".join([*lines, f"backend  {scores.backend}", "", as_text([["", *COLUMNS.values()], *rows])])


def _without_nan(value: object) -> object:
    """Replace NaN, which JSON does not have, by null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 score-masks --labels masks/ --gt instances.json",
        "unseg-d2 score-masks --labels results.json --gt instances.json --output figures.json",
    ),
    notes="Images of the two files are matched by file name. All figures are in percent; R@.5 is the share of objects "
    "that some mask overlaps with an IoU of .5 or more.",
)
main = COMMAND.main
