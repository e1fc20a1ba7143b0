"""List published weights, fetch them, and check what was fetched."""

from __future__ import annotations

import argparse
import re

from unseg_d2.cli import completion
from unseg_d2.cli.parser import Command, CommandParser, add_commands
from unseg_d2.errors import UnsegError
from unseg_d2.zoo.registry import entries, find
from unseg_d2.zoo.store import get, home, local_path, verify
from unseg_d2.zoo.table import markdown, terminal


def _arguments(parser: CommandParser) -> None:
    add_commands(
        parser,
        {
            "list": ("list published weights", Command("List published weights.", _list_arguments, _list)),
            "get": (
                "fetch weights; an interrupted download resumes",
                Command("Fetch weights; an interrupted download resumes.", _get_arguments, _get),
            ),
            "verify": (
                "compare fetched weights with their checksums",
                Command("Compare fetched weights with their checksums.", _verify_arguments, _verify),
            ),
        },
        "ACTION",
    )


def _list_arguments(parser: CommandParser) -> None:
    parser.add_argument("--markdown", action="store_true", help="as the tables of model_zoo/README.md")


def _get_arguments(parser: CommandParser) -> None:
    _complete(parser.add_argument("names", nargs="+", metavar="NAME", help="as `unseg-d2 zoo list` shows them"))
    parser.add_argument(
        "--sha256",
        metavar="HEX",
        help="demand this content (default: what is published, or the first download)",
    )


def _verify_arguments(parser: CommandParser) -> None:
    _complete(parser.add_argument("names", nargs="*", metavar="NAME", help="default: everything that was fetched"))


def _complete(action: argparse.Action) -> None:
    completion.completed_by(action, lambda prefix, **_: [name for name in entries() if name.startswith(prefix)])


def _list(args: argparse.Namespace) -> None:
    """Print the table."""
    fetched = [entry.name for entry in entries().values() if entry.file and local_path(entry).is_file()]
    every = entries().values()
    print(markdown(every) if args.markdown else terminal(every, fetched), end="" if args.markdown else "\n")


def _get(args: argparse.Namespace) -> None:
    """Fetch, and print the licence."""
    if args.sha256 and len(args.names) > 1:
        raise UnsegError("--sha256 is of one file: name one NAME.")
    if args.sha256 and not re.fullmatch("[0-9a-fA-F]{64}", args.sha256):
        raise UnsegError(f"--sha256 is {args.sha256!r}, but must be 64 digits from 0 to 9 and a to f.")
    pinned = args.sha256.lower() if args.sha256 else None
    for entry in [find(name) for name in args.names]:
        path = get(entry.name, sha256=pinned)
        print(f"{entry.name}  {path}\n  licence: {entry.licence['name']} {entry.licence['url'] or ''}".rstrip())


def _verify(args: argparse.Namespace) -> None:
    """Compare checksums, and fail where one is wrong."""
    names = args.names
    chosen = [find(name) for name in names] or [
        entry for entry in entries().values() if entry.file and local_path(entry).is_file()
    ]
    if not chosen:
        print(f"Nothing was fetched into {home()} yet.")
    verdicts = {entry.name: verify(entry.name) for entry in chosen}
    for name, verdict in verdicts.items():
        print(f"{name}  {verdict.text}")
    wrong = [name for name, verdict in verdicts.items() if verdict.wrong or (names and not verdict.good)]
    if wrong:
        raise UnsegError(f"{', '.join(wrong)}: missing or damaged on this machine; see above, and fetch it again.")


COMMAND = Command(
    __doc__,
    _arguments,
    examples=("unseg-d2 zoo list", "unseg-d2 zoo get cutler_cascade_final"),
    notes=f"Weights are kept in $UNSEG_D2_ZOO (now {home()}); zoo:NAME stands for them in --weights, MODEL.WEIGHTS "
    "and FEATURES.WEIGHTS. Their licences are those of their authors.",
)
main = COMMAND.main
