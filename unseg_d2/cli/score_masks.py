"""Compare a label set with ground truth: class-agnostic AP and AR for boxes and masks, or other metrics."""

from __future__ import annotations

import argparse

from unseg_d2.cli.common import recipe
from unseg_d2.cli.groups import add_evaluators, add_labels, add_output, add_recipe, as_path
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import SCORES
from unseg_d2.evaluation.backends import BACKENDS


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser, SCORES)
    add_labels(parser, "label set (COCO file or folder) or COCO results; a missing score counts as 1")
    group = parser.add_argument_group("ground truth")
    group.add_argument(
        "--gt", required=True, type=as_path, metavar="FILE", help="COCO file with ground truth of any classes"
    )
    group.add_argument(
        "--stuff-gt",
        type=as_path,
        metavar="FOLDER",
        help="label maps with the stuff of the ground truth (default: the pictures of a panoptic file)",
    )
    scoring = parser.add_argument_group("scoring")
    add_evaluators(scoring)
    scoring.add_argument(
        "--backend",
        metavar="NAME",
        help=f"auto (the fastest installed) or {', '.join(BACKENDS)} (default: TEST.CLASS_AGNOSTIC.BACKEND)",
    )
    scoring.add_argument(
        "--stuff",
        type=as_path,
        metavar="FOLDER",
        help="label maps (PNG) that the evaluator panoptic compares as stuff beside the masks (default: none)",
    )
    add_output(parser, "JSON file to write the metrics to (default: none)", metavar="FILE")
    parser.renamed["--masks"] = "--labels"


def _execute(args: argparse.Namespace) -> None:
    """Score, print the table and write the file."""
    from unseg_d2.files import check_apart, check_can_read, check_can_write, write_json
    from unseg_d2.pseudo.label_set import labels_file
    from unseg_d2.training.score_masks import learnt_of, masks_json, masks_table, score_masks

    cfg = recipe(args, {"TEST.CLASS_AGNOSTIC.BACKEND": args.backend})
    folders = [folder for folder in (args.stuff, args.stuff_gt) if folder and folder.exists()]  # else they are named so
    check_can_read(args.labels, args.gt, *folders)
    if args.output:
        check_apart(args.output, labels_file(args.labels), args.gt)
        check_can_write(args.output)
    scores = score_masks(args.labels, args.gt, cfg, stuff=args.stuff, stuff_truth=args.stuff_gt)
    learnt = learnt_of(args.labels)
    print(masks_table(scores, learnt))
    if args.output:
        content = {"masks": str(args.labels), "gt": str(args.gt)} | masks_json(scores, learnt)
        if args.stuff:
            content["stuff"] = str(args.stuff)
        write_json(args.output, content, indent=1)


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 score-masks --labels masks/ --gt instances.json",
        "unseg-d2 score-masks --labels results.json --gt instances.json --output figures.json",
        "unseg-d2 score-masks --labels masks/ --stuff maps/ --gt panoptic.json --evaluator panoptic",
    ),
    notes="Images of the two files are matched by file name. All metrics are in percent; R@.5 is the share of objects "
    "that some mask matches with an IoU of .5 or more.",
)
main = COMMAND.main
