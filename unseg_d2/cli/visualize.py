"""Show a label set or a file of predictions as a web page that opens from disk, and as overlay images."""

from __future__ import annotations

import argparse

from unseg_d2.cli.groups import add_images, add_labels, add_output, as_path
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.viz.formats import ONE_FILE_LIMIT


def _arguments(parser: CommandParser) -> None:
    add_labels(parser, "label set (COCO file or folder), or COCO results together with --gt")
    add_images(parser, text="folder of the images (default: searched for near --labels and --gt)", type=as_path)
    parser.add_argument_group("ground truth").add_argument(
        "--gt",
        type=as_path,
        metavar="FILE",
        help="ground truth, or any other label set, to show beside the labels (default: none)",
    )
    add_output(
        parser,
        f"page.html for one file, or a folder (pictures of more than {ONE_FILE_LIMIT} images lie beside the page)",
        required=True,
    )
    parser.add_argument("--overlays", action="store_true", help="also write each image with its masks, full size")
    parser.add_argument(
        "--limit", type=int, default=5000, metavar="N", help="most images, evenly spaced over the set; 0: all"
    )


def _execute(args: argparse.Namespace) -> None:
    """Write the page, and the overlays if asked for, and print where they are."""
    from unseg_d2.apps.visualize import visualize

    summary = visualize(
        args.labels, args.output, images=args.images, ground_truth=args.gt, overlays=args.overlays, limit=args.limit
    )
    if summary.problems:
        name, problem = summary.problems[0]
        print(f"{len(summary.problems)} of {summary.images} images cannot be shown; the first is {name} ({problem}).")
    print(f"gallery   {summary.page} ({summary.images} images, {summary.size / 1e6:.1f} MB)")
    if summary.overlays:
        print(f"overlays  {summary.overlays}")


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 visualize --labels masks/ --output masks/gallery.html",
        "unseg-d2 visualize --labels results.json --gt instances.json --images photos/ --output page/ --overlays",
    ),
    notes="Images of the two files are matched by file name. The page needs no server and no network.",
)
main = COMMAND.main
