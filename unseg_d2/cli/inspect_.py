"""Say what a file or folder is: weights of any kind, a label set, a run."""

from __future__ import annotations

import argparse
import json

from unseg_d2.cli.groups import add_weights
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.errors import UnsegError


def _arguments(parser: CommandParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="FILE", help="file or folder, or zoo:NAME")
    form = parser.add_argument_group("form of the answer").add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print everything that is known, for machines")
    form.add_argument(
        "--recipe", action="store_true", help="print the recipe of a checkpoint, as a file for --config-file"
    )
    add_weights(parser, "", weights=False)


def _execute(args: argparse.Namespace) -> None:
    """Print what each is."""
    from unseg_d2.apps.inspection import as_text, inspect

    found = [inspect(path, trust=args.trust_checkpoint) for path in args.paths]
    if args.json:
        print(json.dumps(found if len(found) > 1 else found[0], indent=1, ensure_ascii=False))
    elif args.recipe:
        for one in found:
            one = one.get("within", one)
            if "recipe" not in one:
                raise UnsegError(f"{one['path']} is {one['is']} without a recipe; look for config.yaml beside it.")
            print(one["recipe"], end="")
    else:
        print("\n\n".join(as_text(one) for one in found))


COMMAND = Command(
    __doc__,
    _arguments,
    _execute,
    examples=(
        "unseg-d2 inspect runs/photos/model_final.pth",
        "unseg-d2 inspect runs/photos/model_final.pth --recipe",
        "unseg-d2 inspect masks/labels.json dino_vitbase8_pretrain.pth --json",
    ),
    notes="No code in a file runs; a .pkl file needs --trust-checkpoint.",
)
main = COMMAND.main
