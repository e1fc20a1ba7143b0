"""Put a person's corrections into a label set."""

from __future__ import annotations

import argparse

from unseg_d2.cli.groups import add_labels, add_output, as_path
from unseg_d2.cli.parser import Command, CommandParser


def _arguments(parser: CommandParser) -> None:
    parser.add_argument_group("corrections").add_argument(
        "corrections",
        type=as_path,
        metavar="FILE",
        help="export of Label Studio, CVAT or FiftyOne (samples.json), COCO file, or decisions saved from a gallery",
    )
    add_labels(parser, "label set that was corrected (COCO file or folder)")
    add_output(parser, "COCO file to write; it may be the label set itself", required=True)
    parser.add_argument(
        "--all-done", action="store_true", help="every image that comes back is done: all its objects have masks"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="what comes back also replaces masks that a person drew before"
    )


def _execute(args: argparse.Namespace) -> None:
    """Write the label set and print what the corrections did."""
    from unseg_d2.exchange.import_ import import_corrections

    report = import_corrections(
        args.corrections, labels=args.labels, output=args.output, all_done=args.all_done, overwrite=args.overwrite
    )
    print("\n".join(report.lines()))
    print(args.output)


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 import project-1.json --labels masks/ --output corrected.json",
        "unseg-d2 import decisions.json --labels masks/ --output corrected.json",
    ),
)
main = COMMAND.main
