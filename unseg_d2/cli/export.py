"""Write a label set, predictions or a trained detector in the format of another tool."""

from __future__ import annotations

import argparse

from unseg_d2.cli.common import settings
from unseg_d2.cli.groups import add_images, add_labels, add_output, add_recipe, add_weights, as_path
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import DETECTOR
from unseg_d2.data.label_studio import LOCAL_FILES
from unseg_d2.deploy.formats import DETECTOR_FORMATS
from unseg_d2.errors import UnsegError
from unseg_d2.exchange.formats import FORMATS

OF_LABELS = ("labels", "images", "gt", "images_as", "polygons", "image_prefix", "ignore_below", "ignore_unlabelled")
OF_DETECTORS = ("weights", "config_file", "plugins", "opts", "half", "trust_checkpoint")


def _arguments(parser: CommandParser) -> None:
    add_labels(
        parser,
        "label set (COCO file or folder), or COCO results together with --gt (default: none, for a detector)",
        required=False,
    )
    add_images(parser, text="folder of the images (default: searched for near --labels)", type=as_path)
    parser.add_argument_group("ground truth").add_argument(
        "--gt",
        type=as_path,
        metavar="FILE",
        help="data set that results are for, which names their images (default: none)",
    )
    add_weights(parser, "trained detector to write, or zoo:NAME (default: none, for a label set)")
    add_recipe(parser, DETECTOR)
    add_output(parser, "folder to write; a file for a detector, and for coco if wanted", required=True)
    group = parser.add_argument_group("format")
    group.add_argument(
        "--format", choices=(*FORMATS, *DETECTOR_FORMATS), default="coco", help="what to write: see below"
    )
    group.add_argument(
        "--half", action="store_true", help="weights in half precision, half as large a file (onnx, torch-export)"
    )
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
    is_detector = args.format in DETECTOR_FORMATS
    _refuse(args, OF_LABELS if is_detector else OF_DETECTORS, "a detector" if is_detector else "a label set")
    if is_detector:
        _write_detector(args)
    else:
        _write_labels(args)


def _refuse(args: argparse.Namespace, others: tuple[str, ...], what: str) -> None:
    """Raise `UnsegError` for an option that has no effect on the format."""
    for name in others:
        if getattr(args, name) not in (None, False, []):
            word = {"plugins": "--import", "opts": f"The setting {' '.join(args.opts[:2])}"}.get(
                name, f"--{name.replace('_', '-')}"
            )
            detectors = " or ".join(DETECTOR_FORMATS)
            other = "a label set format" if what == "a detector" else f"--format {detectors}"
            raise UnsegError(
                f"{word} has no effect on --format {args.format}, which writes {what}: leave it out, or use {other}."
            )


def _write_labels(args: argparse.Namespace) -> None:
    if args.labels is None:
        raise UnsegError(f"--format {args.format} writes a label set: name it with --labels.")
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


def _write_detector(args: argparse.Namespace) -> None:
    if args.weights is None:
        raise UnsegError(f"--format {args.format} writes a detector: name its checkpoint with --weights.")
    from unseg_d2.deploy.export import export_detector

    written = export_detector(
        args.weights,
        args.output,
        *settings(args),
        format=args.format,
        half=args.half,
        recipe=args.config_file,
        trust_checkpoint=args.trust_checkpoint,
    )
    about, size = written.about, written.path.stat().st_size / 1e6
    classes = f"{len(about.classes)} class{'' if len(about.classes) == 1 else 'es'}"
    print(f"{about.task}, {classes}, {about.precision}, {size:.1f} MB: {written.path}")


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 export --labels masks/ --format label-studio --output tasks/",
        "unseg-d2 export --labels masks/ --format yolo --output yolo/ --images-as copy",
        "unseg-d2 export --labels results.json --gt instances.json --format cvat --polygons --output cvat/",
        "unseg-d2 export --weights runs/photos/model_final.pth --format onnx --output model.onnx",
    ),
    notes="Formats of --labels: "
    + "; ".join(f"{name}, {kind.text}" for name, kind in FORMATS.items())
    + ". Formats of --weights: "
    + "; ".join(f"{name}, {text}" for name, text in DETECTOR_FORMATS.items())
    + ". The recipe of a detector is found as `unseg-d2 demo` finds it.",
)
main = COMMAND.main
