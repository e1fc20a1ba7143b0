"""The console script ``unseg-d2 COMMAND ...``: the commands of ``tools/`` under one name."""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

from unseg_d2 import __version__
from unseg_d2.cli.common import run
from unseg_d2.errors import UnsegError, nearest

COMMANDS = {
    "generate-masks": "make pseudo-masks for images",
    "cut-masks": "cut the masks of a label set in 3D",
    "explain-masks": "pictures of how CutS3D comes to its masks",
    "export-masks": "write a label set as one COCO file",
    "score-masks": "compare a set of masks with ground truth",
    "prepare-data": "make the class-agnostic annotations of a public data set",
    "evaluate": "score a detector or masks on benchmarks, beside the published figures",
    "train-net": "train or evaluate a detector",
    "train-saliency": "train a head that finds the salient object",
    "train-semantic": "learn to segment images into classes without labels",
    "self-train": "pseudo-masks, training and self-training rounds in one go",
    "demo": "run a trained detector on images and videos",
    "convert-checkpoint": "turn published weights into a file that both engines read",
    "zoo": "list, fetch and check published weights",
    "visualize": "a page of overlays for a label set or a file of predictions",
}
"""Name of each command, which is also that of its module here, and what it does."""


def main() -> NoReturn:
    """Run the command that the first argument names."""
    run(_main)


def _main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if command in ("-h", "--help"):
        print(usage())
        return
    if command == "--version":
        print(f"unseg-d2 {__version__}")
        return
    name = command.replace("_", "-")
    if name not in COMMANDS:
        raise UnsegError(f"There is no command {command}.{nearest(name, COMMANDS)} See: unseg-d2 --help")
    sys.argv = [f"unseg-d2 {name}", *sys.argv[2:]]
    importlib.import_module(f"unseg_d2.cli.{name.replace('-', '_')}").main()


def usage() -> str:
    """List the commands."""
    lines = ["usage: unseg-d2 COMMAND [arguments]", "", "Segment objects without a single label.", "", "commands:"]
    lines += [f"  {name:<18} {text}" for name, text in COMMANDS.items()]
    return "\n".join([*lines, "", "unseg-d2 COMMAND --help lists the arguments of a command."])
