"""The console script ``unseg-d2 COMMAND ...``: the commands of ``tools/`` under one name."""

from __future__ import annotations

import importlib
import keyword
import sys
from collections.abc import Sequence
from typing import NoReturn

from unseg_d2 import __version__
from unseg_d2.cli.common import run
from unseg_d2.cli.completion import complete, is_wanted, words_before_cursor
from unseg_d2.cli.parser import Command, CommandParser, execute
from unseg_d2.errors import UnsegError, nearest

COMMANDS = {
    "generate-masks": "make pseudo-masks for images",
    "cut-masks": "cut the masks of a label set in 3D",
    "split-masks": "divide masks that hold several objects",
    "track-masks": "join the masks of the frames of videos into tracks",
    "group-masks": "put masks into groups that look alike, and name the groups",
    "explain-masks": "draw how CutS3D arrives at its masks",
    "export": "write a label set, predictions or a trained detector in the format of another tool",
    "export-masks": "write a label set as one COCO file",
    "import": "put a person's corrections into a label set",
    "score-masks": "compare a label set with ground truth",
    "prepare-data": "make the class-agnostic annotations of a public data set",
    "evaluate": "score detectors, saliency, CorLoc or semantic segmentation on benchmarks",
    "compare": "one table over systems and benchmarks, published and own",
    "parity": "how well published masks and boxes are reproduced",
    "train-net": "train or evaluate a detector",
    "train-saliency": "train a head that finds the salient object",
    "train-semantic": "learn to segment images into classes without labels",
    "self-train": "pseudo-masks, training and self-training rounds in one go",
    "demo": "run a trained detector on images and videos",
    "app": "try photos on a page in the browser",
    "config": "explain the settings, or show what a recipe changes",
    "convert-checkpoint": "turn published weights into a file that both engines read",
    "inspect": "say what a file of weights, a label set or a run is",
    "zoo": "list, fetch and check published weights",
    "visualize": "a page of overlays for a label set or a file of predictions",
}
"""Name of each command, which is also its module's name, and what it does."""


def main() -> NoReturn:
    """Run the command that the first argument names."""
    run(_main)


def _main() -> None:
    words = sys.argv[1:] or ["--help"]
    if is_wanted():
        complete(parser(words_before_cursor()))
    execute(parser(words).parse_args([_spelling(words[0]), *words[1:]]))


def parser(words: Sequence[str]) -> CommandParser:
    """Return the parser of all commands; only the requested one has its arguments, so that the others load nothing.

    Args:
        words: of the command line; the first names the command.

    Raises:
        UnsegError: the command does not exist.
    """
    top = CommandParser(prog="unseg-d2", description="Segment objects without a single label.")
    top.epilog = "unseg-d2 COMMAND --help lists the arguments of a command."
    top.add_argument("--version", action="version", version=f"unseg-d2 {__version__}")
    below = top.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    parsers = {name: below.add_parser(name, help=text) for name, text in COMMANDS.items()}
    wanted = _spelling(words[0]) if words else ""
    if wanted in COMMANDS:
        command(wanted).fill(parsers[wanted])
    elif wanted and not wanted.startswith("-") and not is_wanted():
        raise UnsegError(f"There is no command {words[0]}.{nearest(wanted, COMMANDS)} See: unseg-d2 --help")
    return top


def command(name: str) -> Command:
    """Return a command by its name; its module is imported only here."""
    module = name.replace("-", "_") + ("_" if keyword.iskeyword(name) or name in sys.stdlib_module_names else "")
    found: Command = importlib.import_module(f"unseg_d2.cli.{module}").COMMAND
    return found


def _spelling(word: str) -> str:
    """Return the name of a command that is written as its module is."""
    return word if word.startswith("-") else word.replace("_", "-")
