"""Make the class-agnostic annotation file of a public data set from its owners' files."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from pathlib import Path

from unseg_d2.data.builtin import datasets_root
from unseg_d2.data.prepare.sources import SOURCES
from unseg_d2.data.prepare.voc import DIFFICULT
from unseg_d2.errors import UnsegError

OPTIONS = {
    "image_list": {"type": Path, "help": "text file with one image of train2014 a line"},
    "split": {"default": "val2017", "choices": ("val2017", "train2017"), "help": "split of COCO"},
    "source": {"help": "name of the owners' file, where it is not the usual one"},
    "difficult": {"default": "count", "choices": tuple(DIFFICULT), "help": "what to do with difficult objects"},
}


def parser() -> argparse.ArgumentParser:
    """Return the argument parser, with a command per data set."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Says where to download what, how large it is and under which licence; --info only says so.",
    )
    commands = parser.add_subparsers(dest="name", required=True, metavar="DATASET")
    for name, source in SOURCES.items():
        command = commands.add_parser(name, help=source.title, description=f"{__doc__} Here: {source.title}.")
        command.add_argument("--root", type=Path, help="folder of the data sets (default: $DETECTRON2_DATASETS)")
        command.add_argument("--info", action="store_true", help="say where the data comes from and stop")
        for option in inspect.signature(source.prepare).parameters:
            if option in OPTIONS:
                command.add_argument(f"--{option.replace('_', '-')}", **OPTIONS[option])
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Say where the data comes from, convert it and say what was written."""
    args = parser().parse_args(arguments)
    source = SOURCES[args.name]
    root = args.root or datasets_root()
    print("\n".join(source.lines(root)))
    if args.info:
        return
    given = {key: value for key, value in vars(args).items() if key in OPTIONS and value is not None}
    if "image_list" in inspect.signature(source.prepare).parameters and args.image_list is None:
        raise UnsegError("--image-list FILE is needed: the list of images, whose address is above.")
    print("\n".join(source.prepare(root, **given).lines()))
