"""Compare a set of masks with ground truth: class-agnostic AP and AR for boxes and masks."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from unseg_d2.evaluation.backends import BACKENDS
from unseg_d2.files import write_json
from unseg_d2.training.score_masks import MaskScores, score_masks
from unseg_d2.training.table import as_cell, as_text

COLUMNS = {name: name for name in ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100")} | {
    "Recall50": "R@.5"
}
ROWS = {"bbox": "box", "segm": "mask"}


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Images of the two files are matched by file name. All figures are in percent; R@.5 is the share of "
        "objects that some mask overlaps with an IoU of .5 or more.",
    )
    parser.add_argument(
        "--masks",
        required=True,
        type=Path,
        help="label set (COCO file or folder) or COCO results; no score counts as 1",
    )
    parser.add_argument("--gt", required=True, type=Path, help="COCO file with ground truth; its classes do not matter")
    parser.add_argument("--backend", default="auto", help=f"auto (the fastest installed) or {', '.join(BACKENDS)}")
    parser.add_argument("--output", type=Path, help="write the figures to this JSON file too")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Score, print the table and write the file."""
    args = parser().parse_args(arguments)
    scores = score_masks(args.masks, args.gt, backend=args.backend)
    print(table(scores))
    if args.output:
        write_json(args.output, _without_nan({"masks": str(args.masks), "gt": str(args.gt)} | asdict(scores)), indent=1)


def table(scores: MaskScores) -> str:
    """Lay out the counts, and the figures with a row for boxes and one for masks."""
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
