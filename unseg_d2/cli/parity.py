"""Say how well published outputs are reproduced: ProMerge's masks, LOST's boxes, UnionCut's foreground."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from unseg_d2.cli.common import recipe, settings
from unseg_d2.cli.groups import add_labels, add_output, add_processes, add_recipe, add_weights, as_path
from unseg_d2.cli.parser import Command, CommandParser, add_commands
from unseg_d2.cli.reads import MASKS
from unseg_d2.errors import UnsegError

if TYPE_CHECKING:
    from unseg_d2.parity.outputs import Outputs
    from unseg_d2.parity.report import Report

PROMERGE_RECIPE, LOST_RECIPE = "configs/masks/promerge_parity.yaml", "configs/masks/lost.yaml"


def _arguments(parser: CommandParser) -> None:
    add_commands(parser, OUTPUTS, "OUTPUT")


def _promerge_arguments(parser: CommandParser) -> None:
    _add_reference(parser, "JSON file of the repository facebookresearch/ProMerge, promerge/annotations_out/")
    _add_masks(parser, "folder of the images of COCO val2017", f"default: {PROMERGE_RECIPE}")


def _lost_arguments(parser: CommandParser) -> None:
    _add_reference(parser, "pickle of the repository valeoai/LOST, data/LOST_predictions/; it is not run")
    _add_masks(parser, "folder of the images of VOC 2007", f"default: {LOST_RECIPE}")
    parser.add_argument_group("ground truth").add_argument(
        "--gt", metavar="DATASET", help="boxes to compute CorLoc with: a COCO file or a built-in name (default: none)"
    )


def _unioncut_arguments(parser: CommandParser) -> None:
    _add_reference(parser, "folder UnionCut/demo or UnionSeg/demo of the repository YFaris/UnionCut")
    add_recipe(parser, (*MASKS, "SALIENCY.", "MODEL.DEVICE"))
    parser.add_argument_group("images").add_argument(
        "--images", type=as_path, metavar="FOLDER", help="images for --weights (default: those of the published folder)"
    )
    _add_own(parser)
    add_weights(parser, "saliency head that finds our foreground, such as zoo:unionseg (default: --labels)")


def _add_reference(parser: CommandParser, text: str) -> None:
    group = parser.add_argument_group("published")
    group.add_argument("--reference", type=as_path, required=True, metavar="PATH", help=text)
    group.add_argument("--worst", type=int, default=5, metavar="N", help="number of images to name that differ most")


def _add_masks(parser: CommandParser, images: str, recipes: str) -> None:
    """Add the arguments of methods whose masks are made here."""
    add_recipe(parser, (*MASKS, "SALIENCY.", "MODEL.DEVICE"))
    parser.add_argument_group("images").add_argument(
        "--images", type=as_path, metavar="FOLDER", help=f"{images}: make our masks for them ({recipes})"
    )
    _add_own(parser)
    add_weights(parser, "", weights=False)
    add_processes(parser, workers="processes that make masks (default: one per GPU, or one per core)")


def _add_own(parser: CommandParser) -> None:
    add_labels(parser, "masks of ours: a label set or COCO results", required=False)
    add_output(parser, "folder of report.json, and of the masks that are made (default: none)", metavar="FOLDER")


def _promerge(args: argparse.Namespace) -> None:
    """Compare masks with ProMerge's."""
    from unseg_d2.parity.match import match
    from unseg_d2.parity.published_files import read_promerge
    from unseg_d2.parity.report import Report, describe

    published = read_promerge(args.reference)
    report = Report(describe(published, args.reference), "masks", worst=args.worst)
    ours = _ours(args, published, PROMERGE_RECIPE)
    if ours is not None:
        report.matches = match(published, ours)
        report.missing = len(published.found) - len(report.matches)
    _finish(report, args)


def _lost(args: argparse.Namespace) -> None:
    """Compare boxes with LOST's, and both with the ground truth."""
    from unseg_d2.parity.match import match
    from unseg_d2.parity.outputs import as_boxes
    from unseg_d2.parity.published_files import read_lost
    from unseg_d2.parity.report import Report, describe

    published = read_lost(args.reference)
    report = Report(describe(published, args.reference), "boxes", worst=args.worst)
    found = {"published": published}
    ours = _ours(args, published, LOST_RECIPE)
    if ours is not None:
        found["ours"] = as_boxes(ours)
        report.matches = match(published, found["ours"])
        report.missing = len(published.found) - len(report.matches)
    if args.gt:
        _add_corloc(report, args.gt, found)
    _finish(report, args)


def _add_corloc(report: Report, dataset: str, found: dict[str, Outputs]) -> None:
    """Add CorLoc of the published and of our boxes, and what the paper reports."""
    from unseg_d2.config import get_cfg
    from unseg_d2.data.catalog import find_annotations
    from unseg_d2.parity.match import corloc
    from unseg_d2.parity.outputs import truth_boxes
    from unseg_d2.published.figures import published_figure

    truth = truth_boxes(find_annotations(dataset, get_cfg()))
    paper, row = published_figure("lost", "voc07_trainval", "CorLoc", kind="bbox")
    for name, outputs in found.items():
        value, images = corloc(outputs, truth)
        report.figures[f"CorLoc {name}"] = value
        stated = f"; {row.benchmark.images} of VOC07 trainval: {paper} ({row.citation})" if name == "published" else ""
        report.facts.append((f"CorLoc {name}", f"{value:.1f} on {images} images with objects{stated}"))


def _unioncut(args: argparse.Namespace) -> None:
    """Compare foregrounds with UnionCut's."""
    from unseg_d2.parity.foreground import match_foregrounds
    from unseg_d2.parity.outputs import read_labels
    from unseg_d2.parity.published_files import read_unioncut
    from unseg_d2.parity.report import Report
    from unseg_d2.parity.run import foregrounds

    if args.labels and args.weights:
        raise UnsegError("--labels and --weights both name our foreground; leave one of them out.")
    published = read_unioncut(args.reference)
    report = Report([("published", f"{args.reference}: foregrounds of {len(published)} images")], "foregrounds")
    report.worst = args.worst
    for name, mask in published.items():
        report.facts.append((name, f"{mask.shape[0]}x{mask.shape[1]} patches, {100 * mask.mean():.1f} % foreground"))
    if args.labels:
        ours = foregrounds(read_labels(args.labels, published))
    elif args.weights:
        ours = _salient(args, list(published))
    else:
        _refuse_unused(args)
        ours = None
    if ours is not None:
        report.matches = match_foregrounds(published, ours)
        report.missing = len(published) - len(report.matches)
        if not report.matches:
            raise UnsegError(f"{args.labels or args.images} has none of the images {', '.join(published)}.")
    _finish(report, args)


def _salient(args: argparse.Namespace, names: list[str]) -> dict[str, Any]:
    """Return the foreground that a saliency head finds in each image."""
    from unseg_d2.parity.run import find_images
    from unseg_d2.saliency.head import SaliencyHead

    head = SaliencyHead.load(args.weights, *settings(args), recipe=args.config_file)
    paths = find_images(args.images or args.reference, names)
    return dict(zip(paths, head(list(paths.values()))))


def _ours(args: argparse.Namespace, published: Outputs, default: str) -> Outputs | None:
    """Return our masks on the images of a published file, ``None`` where none were asked for."""
    if args.labels and args.images:
        raise UnsegError("--labels names masks that are there, --images makes them; leave one of them out.")
    if args.labels:
        from unseg_d2.parity.outputs import read_labels

        return read_labels(args.labels, published.found)
    if not args.images:
        _refuse_unused(args)
        return None
    if args.output is None:
        raise UnsegError("The masks of --images need a folder: add --output FOLDER.")
    from unseg_d2.parity.run import generate

    cfg = recipe(args, config_file=default)
    return generate(cfg, args.images, published.found, args.output, args.num_workers)


def _refuse_unused(args: argparse.Namespace) -> None:
    """Refuse a recipe where no mask is made."""
    if args.config_file or args.opts:
        raise UnsegError("The recipe has no effect, because no mask is made: add --images FOLDER.")


def _finish(report: Report, args: argparse.Namespace) -> None:
    """Print the report and write it."""
    from unseg_d2.files import write_json

    print(report.as_text())
    if args.output:
        write_json(args.output / "report.json", report.to_json(), indent=1)
        print(f"\nwritten to {args.output / 'report.json'}")


OUTPUTS = {
    "promerge": (
        "322 masks of 159 COCO images",
        Command(
            "Compare masks with those that ProMerge's repository publishes.",
            _promerge_arguments,
            _promerge,
            examples=(
                "unseg-d2 parity promerge --reference promerge.json --images coco/val2017 --output parity/promerge "
                "FEATURES.WEIGHTS dino_vitbase8_pretrain.pth",
                "unseg-d2 parity promerge --reference promerge.json --labels masks/",
            ),
        ),
    ),
    "lost": (
        "one box for each of 5,011 VOC images",
        Command(
            "Compare boxes with those that LOST's repository publishes.",
            _lost_arguments,
            _lost,
            examples=(
                "unseg-d2 parity lost --reference LOST_VOC07.pkl --gt voc07_trainval",
                "unseg-d2 parity lost --reference LOST_VOC07.pkl --images VOC2007/JPEGImages --output parity/lost "
                "--gt voc07_trainval FEATURES.WEIGHTS dino_deitsmall16_pretrain.pth",
            ),
        ),
    ),
    "unioncut": (
        "the foreground of three VOC images",
        Command(
            "Compare foregrounds with those that UnionCut's repository publishes.",
            _unioncut_arguments,
            _unioncut,
            examples=(
                "unseg-d2 parity unioncut --reference UnionCut/UnionSeg/demo --weights zoo:unionseg",
                "unseg-d2 parity unioncut --reference UnionCut/UnionCut/demo --labels masks/",
            ),
            notes="Both foregrounds are compared on the published patch grid.",
        ),
    ),
}
"""Each published output with its help text and its command."""

COMMAND = Command(
    __doc__,
    _arguments,
    examples=(
        "unseg-d2 parity lost --reference LOST_VOC07.pkl --gt voc07_trainval",
        "unseg-d2 parity promerge --reference promerge.json --labels masks/",
    ),
    notes="unseg-d2 parity OUTPUT --help lists the arguments of one. Without --images or --labels, the published file "
    "alone is described.",
)
main = COMMAND.main
