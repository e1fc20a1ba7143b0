"""Make pseudo-masks for images: a label set in COCO format."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from unseg_d2.cli.common import add_config_arguments
from unseg_d2.config import load_cfg
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.pseudo.label_set import summarise


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Interrupted at any point, the same command goes on where it stopped. To use several machines, start "
        "the command on each with its own --shard-index; the last one to finish writes labels.json.",
    )
    add_config_arguments(parser)
    parser.add_argument(
        "--images", required=True, help="folder of images, labels.json, labels.json::image/folder or a built-in name"
    )
    parser.add_argument("--output", required=True, type=Path, help="folder of the label set")
    parser.add_argument("--num-workers", type=int, help="processes (default: one per GPU, or one per core)")
    parser.add_argument("--shard-index", type=int, default=0, help="which share of the images, from 0")
    parser.add_argument("--num-shards", type=int, default=1, help="number of shares")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the label set, or this command's share of it, and say where it is."""
    args = parser().parse_args(arguments)
    generate_label_set(
        load_cfg(args.config_file, args.opts),
        args.images,
        args.output,
        num_workers=args.num_workers,
        shard_index=args.shard_index,
        num_shards=args.num_shards,
    )
    print(summarise(args.output))
