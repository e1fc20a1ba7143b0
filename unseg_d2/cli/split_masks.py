"""Divide the masks of a label set: objects that are merged in one mask become masks of their own."""

from __future__ import annotations

import argparse

from unseg_d2.cli.common import recipe
from unseg_d2.cli.groups import add_images, add_labels, add_output, add_processes, add_recipe, as_path, where
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.cli.reads import SPLITS, SPREAD


def _arguments(parser: CommandParser) -> None:
    add_recipe(parser, (*SPLITS, *SPREAD))
    add_labels(parser, "label set (COCO file or folder) from any source")
    add_images(
        parser,
        text="folder of the images (default: where the label set says they are)",
        type=as_path,
    )
    parser.add_argument(
        "--edges",
        type=as_path,
        metavar="FOLDER",
        help="edge maps named like the images: .npy or .npz in [0, 1], or grey .png (required unless MASKS.SPLIT.EDGES "
        "is depth or canny)",
    )
    parser.add_argument(
        "--fields",
        type=as_path,
        metavar="FOLDER",
        help="fields named like the images: .npz with centre (2, H, W) and boundary (H, W), or .npy (3, H, W) "
        "(required with MASKS.SPLIT.METHOD centre_field)",
    )
    add_output(parser, "folder of the new label set", required=True, metavar="FOLDER")
    add_processes(parser, workers="processes (default: one per GPU, or one per core)", engine="split them")


def _execute(args: argparse.Namespace) -> None:
    """Divide the masks and print how many there were and are."""
    cfg = recipe(args)
    from unseg_d2.pseudo.label_set import read_label_set, summarise
    from unseg_d2.pseudo.split_labels import split_label_set

    maps = {"edges": args.edges, "fields": args.fields}
    split_label_set(cfg, args.labels, args.output, **maps, image_root=args.images, **where(args))
    print(summarise(args.output))
    before, after = (
        sum("segmentation" in found and not found.get("iscrowd") for found in read_label_set(labels).annotations)
        for labels in (args.labels, args.output)
    )
    print(f"{before} masks before, {after} after.")
    if before == after and cfg.MASKS.SPLIT.METHOD == "bgp":
        least = f"MASKS.SPLIT.STRENGTH (now {cfg.MASKS.SPLIT.STRENGTH:g})"
        print(f"A mask is divided only where edges of at least {least} separate two parts of it that are large enough.")


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 split-masks --labels masks/ --edges edges/ --output split/",
        "unseg-d2 split-masks --labels masks/ --output split/ MASKS.SPLIT.EDGES depth DEPTH.SOURCE hub",
        "unseg-d2 split-masks --labels masks/ --output split/ MASKS.SPLIT.EDGES canny",
        "unseg-d2 split-masks --labels masks/ --fields fields/ --output split/ MASKS.SPLIT.METHOD centre_field",
    ),
    notes="MASKS.SPLIT says how masks are divided and where edges come from. An image without edges or fields is left "
    "out and listed in failures.jsonl.",
    resumes=True,
)
main = COMMAND.main
