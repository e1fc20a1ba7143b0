"""Explain the settings of recipes: keys, defaults, meaning and range, or what a recipe changes."""

from __future__ import annotations

import argparse
import shutil

from unseg_d2.cli import completion
from unseg_d2.cli.groups import add_plugins
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.errors import UnsegError

MARGIN = 4  # columns left free at the right of a terminal


def _arguments(parser: CommandParser) -> None:
    names = parser.add_argument(
        "names", nargs="*", metavar="SECTION|KEY", help="what to explain: MASKS.MASKCUT, SOLVER.MAX_ITER (default: all)"
    )
    completion.completed_by(names, completion.keys)
    group = parser.add_argument_group("recipe")
    diff = group.add_argument(
        "--diff",
        metavar="RECIPE",
        help="show what this recipe changes, and on which line (default: explain the settings)",
    )
    completion.completed_by(diff, completion.recipes)
    add_plugins(group)
    parser.add_argument("--markdown", action="store_true", help="write all of it as the page docs/config.md")


def _execute(args: argparse.Namespace) -> None:
    """Print the explanation."""
    from unseg_d2.config import describe
    from unseg_d2.plugins import load_plugins

    load_plugins(args.plugins)
    width = max(40, shutil.get_terminal_size((100, 24)).columns - MARGIN)
    if args.markdown and (args.diff or args.names):
        raise UnsegError("--markdown writes the whole page; leave out --diff and the names.")
    if args.markdown:
        print(describe.markdown(), end="")
    elif args.diff:
        print(describe.differences(args.diff, args.names, width))
    else:
        print(describe.terminal(args.names, width))


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=("unseg-d2 config MASKS.MASKCUT", "unseg-d2 config --diff configs/cutler/mask_rcnn_R_50_FPN.yaml SOLVER"),
)
main = COMMAND.main
