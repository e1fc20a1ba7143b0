"""Write a label set as one COCO file."""

from __future__ import annotations

import argparse

from unseg_d2.cli.groups import add_labels, add_output
from unseg_d2.cli.parser import Command, CommandParser


def _arguments(parser: CommandParser) -> None:
    add_labels(parser, "label set: the folder that generate-masks made", metavar="FOLDER")
    add_output(parser, "COCO file to write (default: labels.json in the folder)")
    parser.add_argument("--partial", action="store_true", help="write the finished part of an unfinished label set")
    parser.unnamed = ("--labels",)


def _execute(args: argparse.Namespace) -> None:
    """Write the file and print what it holds."""
    from unseg_d2.pseudo.label_set import export, summarise

    path = export(args.labels, args.output, partial=args.partial)
    print(summarise(args.labels, path))


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 export-masks --labels masks/ --output photos_masks.json",
        "unseg-d2 export-masks --labels masks/ --output so_far.json --partial",
    ),
)
main = COMMAND.main
