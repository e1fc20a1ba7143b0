"""List published weights, fetch them, and check what was fetched."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from unseg_d2.errors import UnsegError
from unseg_d2.zoo.registry import entries, find
from unseg_d2.zoo.store import get, home, local_path, verify
from unseg_d2.zoo.table import markdown, terminal


def parser() -> argparse.ArgumentParser:
    """Return the argument parser."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"Weights are kept in $UNSEG_D2_ZOO (now {home()}); zoo:NAME stands for them in MODEL.WEIGHTS, "
        "FEATURES.WEIGHTS and --weights. Their licences are those of their authors.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="list | get | verify")
    listing = commands.add_parser("list", help="what there is")
    listing.add_argument("--markdown", action="store_true", help="as the tables of model_zoo/README.md")
    getting = commands.add_parser("get", help="fetch weights; a cut download goes on")
    getting.add_argument("names", nargs="+", metavar="NAME")
    checking = commands.add_parser("verify", help="compare fetched weights with their checksums")
    checking.add_argument("names", nargs="*", metavar="NAME", help="without names: everything that was fetched")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the sub-command says."""
    args = parser().parse_args(arguments)
    if args.command == "list":
        fetched = [entry.name for entry in entries().values() if entry.address and local_path(entry).is_file()]
        every = entries().values()
        print(markdown(every) if args.markdown else terminal(every, fetched), end="" if args.markdown else "\n")
    elif args.command == "get":
        for entry in [find(name) for name in args.names]:
            path = get(entry.name)
            print(f"{entry.name}  {path}\n  licence: {entry.licence['name']} {entry.licence['url'] or ''}".rstrip())
    else:
        _verify(args.names)


def _verify(names: Sequence[str]) -> None:
    chosen = [find(name) for name in names] or [
        entry for entry in entries().values() if entry.address and local_path(entry).is_file()
    ]
    if not chosen:
        print(f"Nothing was fetched into {home()} yet.")
    verdicts = {entry.name: verify(entry.name) for entry in chosen}
    for name, verdict in verdicts.items():
        print(f"{name}  {verdict.text}")
    wrong = [name for name, verdict in verdicts.items() if verdict.wrong or (names and not verdict.good)]
    if wrong:
        raise UnsegError(f"{', '.join(wrong)}: not on this machine as it should be; see above.")
