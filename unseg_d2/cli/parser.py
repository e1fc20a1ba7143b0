"""One command of the command line: its arguments, examples and what it runs, and the parser that reads it.

A command is a module here with a :class:`Command` named ``COMMAND`` and ``main = COMMAND.main``. Nothing heavy is
imported at its top: ``--help`` and completion must answer at once, so libraries are imported when the command runs.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unseg_d2.cli.words import Grammar, WordError, sort_words

logger = logging.getLogger(__name__)

USAGE_ERROR = 2


RESUMES, BEGINS_ANEW = "the same command resumes where it stopped", "the same command begins anew"
"""What an interrupted command says of itself."""


class CommandParser(argparse.ArgumentParser):
    """Reads options in any order, with settings (``KEY VALUE``) anywhere between them.

    Attributes:
        renamed: former spelling of an option to the present one; understood, but not shown.
        unnamed: options whose value used to be given without a name.
        takes_settings: whether the command takes settings, which are stored as ``opts``.
        rewrite: changes the words before anything else, where a whole form of the command was renamed.
        examples: shown at the end of the help.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": _Formatter, **options})
        self.renamed: dict[str, str] = {}
        self.unnamed: tuple[str, ...] = ()
        self.takes_settings = False
        self.rewrite: Callable[[list[str]], list[str]] | None = None
        self.examples: tuple[str, ...] = ()

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Sort the words, then let argparse read them."""
        words = list(sys.argv[1:] if args is None else args)
        if self.rewrite is not None:
            words = self.rewrite(words)
        if self._subparsers is not None:
            self._check_before_command(words)
            return super().parse_known_args(words, namespace or argparse.Namespace())
        try:
            found = sort_words(words, self.grammar())
        except WordError as error:
            self.error(str(error))
        for former, present in found.former:
            logger.warning("%s is a former spelling, to be removed; write: %s", former, present)
        parsed, extras = super().parse_known_args(found.words, namespace or argparse.Namespace())
        if self.takes_settings:
            parsed.opts = found.settings
        return parsed, extras

    def grammar(self) -> Grammar:
        """Return what the words of the command may be."""
        options = {name: action.nargs for action in self._actions for name in action.option_strings}
        positional = any(not action.option_strings and action.dest != "opts" for action in self._actions)
        return Grammar(options, self.renamed, self.unnamed, self.takes_settings, positional)

    def format_help(self) -> str:
        """Return the help, with the examples as they are typed."""
        if not self.examples:
            return super().format_help()
        return "\n".join([super().format_help(), "examples:", *(f"  {line}" for line in self.examples), ""])

    def error(self, message: str) -> Any:
        """Exit with one line."""
        self.exit(
            USAGE_ERROR, f"error: {message.rstrip('.')}{'' if message.endswith('?') else '.'} See: {self.prog} --help\n"
        )

    def _check_before_command(self, words: Sequence[str]) -> None:
        """Name an unknown option in front of the sub-command; argparse would say that the sub-command is missing."""
        known = [name for action in self._actions for name in action.option_strings]
        for word in words:
            if not word.startswith("-"):
                return
            if word not in known:
                self.error(f"unrecognized argument {word}")


class _Formatter(argparse.HelpFormatter):
    """Adds the default to the help of every option that has one and does not mention it."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text, default = action.help, action.default
        if text is None or text is argparse.SUPPRESS or not action.option_strings or "default" in text:
            return text
        if action.nargs == 0 or default in (None, "", argparse.SUPPRESS):
            return text
        if isinstance(default, (list, tuple)):
            return f"{text} (default: {' '.join(str(item) for item in default) or 'none'})"
        return f"{text} (default: %(default)s)"


@dataclass(frozen=True)
class Command:
    """A command, or one with commands below it.

    Attributes:
        description: what it does, one sentence.
        arguments: adds its arguments to a parser.
        execute: runs it on what was parsed; ``None`` where the commands below it do.
        examples: complete command lines, which the help shows.
        notes: further sentences of the help.
        rewrite: see :class:`CommandParser`.
        resumes: whether, interrupted, the same command goes on where it stopped; by default it begins anew.
    """

    description: str | None
    arguments: Callable[[CommandParser], None]
    execute: Callable[[argparse.Namespace], None] | None = None
    examples: tuple[str, ...] = ()
    notes: str = ""
    rewrite: Callable[[list[str]], list[str]] | None = field(default=None)
    resumes: bool = False

    def parser(self, prog: str | None = None) -> CommandParser:
        """Return the parser of the command alone.

        Args:
            prog: what the command is called; by default the script's name.
        """
        parser = CommandParser(prog=prog)
        self.fill(parser)
        return parser

    def fill(self, parser: CommandParser) -> None:
        """Add the command's description, examples and arguments to a parser."""
        parser.description, parser.epilog = self.description, self.notes or None
        parser.examples, parser.rewrite = self.examples, self.rewrite
        self.arguments(parser)
        if self.execute is not None:
            parser.set_defaults(execute=self.execute, interrupted=RESUMES if self.resumes else BEGINS_ANEW)
            _add_messages(parser)

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Parse a command line and run the command.

        Args:
            arguments: the words after the command; by default those of the process.
        """
        execute(self.parser().parse_args(arguments))


def execute(args: argparse.Namespace) -> None:
    """Run what a command line asks for, with the verbosity it asks for."""
    package = logging.getLogger("unseg_d2")
    if args.loudness is not None and package.level < logging.ERROR:  # at which all processes are but the first
        package.setLevel(args.loudness)
    try:
        args.execute(args)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(args.interrupted) from None


def add_commands(parser: CommandParser, commands: Mapping[str, tuple[str, Command]], metavar: str) -> None:
    """Put commands below a command.

    Args:
        parser: of the upper command.
        commands: name to the help text in the list of commands, and the command.
        metavar: what the help calls the name of the command.
    """
    below = parser.add_subparsers(dest=metavar.lower(), required=True, metavar=metavar)
    for name, (text, command) in commands.items():
        command.fill(below.add_parser(name, help=text))


def words_of(example: str) -> list[str]:
    """Return the words of an example after ``unseg-d2``, as a shell would split it."""
    return shlex.split(example)[1:]


def _add_messages(parser: CommandParser) -> None:
    group = parser.add_argument_group("messages").add_mutually_exclusive_group()
    group.add_argument(
        "--verbose",
        action="store_const",
        const=logging.DEBUG,
        dest="loudness",
        help="say which settings were understood, and where in the code a mistake was found",
    )
    group.add_argument(
        "--quiet",
        action="store_const",
        const=logging.WARNING,
        dest="loudness",
        help="results, warnings and errors only: no progress",
    )
