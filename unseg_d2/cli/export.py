"""Write a label set or predictions in the format of another tool."""

from __future__ import annotations

import argparse

from unseg_d2.cli.groups import add_images, add_labels, add_output, as_path
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.data.label_studio import LOCAL_FILES
from unseg_d2.exchange.formats import FORMATS


def _arguments(parser: CommandParser) -> None:
    add_labels(parser, "label set (COCO file or folder), or COCO results together with --gt")
    add_images(parser, text="folder of the images (default: searched for near --labels)", type=as_path)
    parser.add_argument_group("ground truth").add_argument(
        "--gt",
        type=as_path,
        metavar="FILE",
        help="data set that results are for, which names their images (default: none)",
    )
    add_output(parser, "folder to write; for coco also a file", required=True)
    group = parser.add_argument_group("format")
    group.add_argument("--format", choices=tuple(FORMATS), default="coco", help="what to write: see below")
    group.add_argument(
        "--images-as",
        choices=("reference", "link", "copy"),
        help="leave the images where they are, link or copy them (default: what the format needs)",
    )
    group.add_argument("--polygons", action="store_true", help="polygons instead of run lengths (coco, cvat)")
    group.add_argument(
        "--image-prefix",
        metavar="TEXT",
        help=f"what comes before a file name in Label Studio's addresses (default: {LOCAL_FILES})",
    )
    group.add_argument(
        "--ignore-below",
        type=float,
        metavar="SCORE",
        help="masks of a lower score are regions to ignore, not objects (coco, fiftyone, voc, png; default: none)",
    )
    group.add_argument(
        "--ignore-unlabelled",
        action="store_true",
        help="what no mask covers is a region to ignore, in images that are not done (coco, fiftyone, voc, png)",
    )


def _execute(args: argparse.Namespace) -> None:
    """Write the files and print what they hold."""
    from unseg_d2.exchange.export import export_labels

    written = export_labels(
        args.labels,
        args.output,
        format=args.format,
        images=args.images,
        ground_truth=args.gt,
        images_as=args.images_as,
        polygons=args.polygons,
        image_prefix=args.image_prefix,
        ignore_below=args.ignore_below,
        ignore_unlabelled=args.ignore_unlabelled,
    )
    print(f"{written.masks:,} masks of {written.images:,} images: {written.path}")
    if written.left_out:
        print(f"{written.left_out}.")


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 export --labels masks/ --format label-studio --output tasks/",
        "unseg-d2 export --labels masks/ --format yolo --output yolo/ --images-as copy",
        "unseg-d2 export --labels results.json --gt instances.json --format cvat --polygons --output cvat/",
    ),
    notes="Formats: " + "; ".join(f"{name}, {kind.text}" for name, kind in FORMATS.items()) + ".",
)
main = COMMAND.main
