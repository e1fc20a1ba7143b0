"""Make the annotation file of a public data set, class-agnostic or a share of it, from its owners' files."""

from __future__ import annotations

import argparse
import functools
import inspect
from pathlib import Path
from typing import Any

from unseg_d2.cli.groups import as_path
from unseg_d2.cli.parser import Command, CommandParser, add_commands
from unseg_d2.data.builtin import datasets_root
from unseg_d2.data.prepare.sources import SOURCES, Source
from unseg_d2.data.prepare.voc import DIFFICULT, SUBSETS
from unseg_d2.errors import UnsegError

OPTIONS: dict[str, dict[str, Any]] = {
    "image_list": {
        "type": Path,
        "metavar": "FILE",
        "help": "text file with one image of train2014 per line (no default)",
    },
    "split": {"default": "val2017", "choices": ("val2017", "train2017"), "help": "split of COCO"},
    "source": {"metavar": "FILE", "help": "name of the owners' file (default: the usual one)"},
    "percent": {"type": int, "metavar": "P", "help": "share of the images, 1 to 99 (no default)"},
    "split_seed": {"type": int, "default": 0, "metavar": "N", "help": "other splits by the same rule (default: 0)"},
    "split_list": {
        "type": Path,
        "metavar": "FILE",
        "help": "images of the split, one id or file name per line, or JSON (default: drawn by rule)",
    },
    "difficult": {"default": "count", "choices": tuple(DIFFICULT), "help": "what to do with difficult objects"},
    "subset": {
        "default": "trainvaltest",
        "choices": tuple(SUBSETS),
        "help": "images of VOC: trainvaltest (CutLER's benchmark) | trainval (CorLoc)",
    },
    "year": {"type": int, "default": 2007, "choices": (2007, 2012), "help": "year of VOC"},
}
NEEDED = {
    "image_list": "--image-list FILE is needed: the list of images, whose address is above.",
    "percent": "--percent P is needed: the share of the images, from 1 to 99.",
}
"""Options without a default, and what to say where they are missing."""


def _arguments(parser: CommandParser) -> None:
    commands = {}
    for name, source in SOURCES.items():
        about = f"{__doc__} Here: {source.title}."
        commands[name] = source.title, Command(about, functools.partial(_source_arguments, source), _execute)
    add_commands(parser, commands, "NAME")


def _source_arguments(source: Source, parser: CommandParser) -> None:
    parser.add_argument(
        "--root", type=as_path, metavar="FOLDER", help="folder of the data sets (default: $DETECTRON2_DATASETS)"
    )
    parser.add_argument("--info", action="store_true", help="only print where the data comes from")
    for option in inspect.signature(source.prepare).parameters:
        if option in OPTIONS:
            parser.add_argument(f"--{option.replace('_', '-')}", **OPTIONS[option])


def _execute(args: argparse.Namespace) -> None:
    """Print where the data comes from, convert it and print what was written."""
    source = SOURCES[args.name]
    root = args.root or datasets_root()
    print("\n".join(source.lines(root)))
    if args.info:
        return
    given = {key: value for key, value in vars(args).items() if key in OPTIONS and value is not None}
    for option, message in NEEDED.items():
        if option in inspect.signature(source.prepare).parameters and option not in given:
            raise UnsegError(message)
    print("\n".join(source.prepare(root, **given).lines()))


COMMAND = Command(
    __doc__,
    _arguments,
    examples=(
        "unseg-d2 prepare-data coco --info",
        "unseg-d2 prepare-data voc --root data/ --difficult drop",
        "unseg-d2 prepare-data coco_semi --percent 10",
    ),
    notes="Prints what to download from where, its size and its licence; with --info, nothing else.",
)
main = COMMAND.main
