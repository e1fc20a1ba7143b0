"""What all commands share: the recipe's arguments, and mistakes as one line instead of a traceback."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from unseg_d2.config import get_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.loop.machines import under_torchrun

USER_ERROR, UNEXPECTED_ERROR, INTERRUPTED = 2, 1, 130
"""Exit statuses besides 0; 2 is argparse's too."""


def run(main: Callable[[], Any]) -> NoReturn:
    """Run a command and exit.

    A mistake that the user can put right is one line ``error: ...`` with exit status 2. Anything else unexpected is a
    traceback, then one line that says so, with status 1.

    Args:
        main: the command; it reads ``sys.argv``.
    """
    _log_to_stderr()
    _let_one_process_speak()
    warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated")  # raised by libraries, at import
    status = 0
    try:
        main()
        sys.stdout.flush()
    except UnsegError as error:
        status = _fail(str(error), USER_ERROR)
    except KeyboardInterrupt:
        status = _fail("interrupted; the same command goes on where it stopped.", INTERRUPTED)
    except BrokenPipeError:  # the reader, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            status = _unexpected(error)
        else:
            where = f" while writing {error.filename}" if error.filename else ""
            status = _fail(f"the disk is full{where}; free some space and run the same command again.", USER_ERROR)
    except Exception as error:  # the last line must not be a traceback
        status = _unexpected(error)
    sys.exit(status)


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--config-file`` (or ``--config``) and trailing ``KEY VALUE`` pairs, as ``config_file`` and ``opts``.

    Args:
        parser: of the command; its other options have to come before the pairs.
    """
    parser.add_argument(
        "--config-file", "--config", metavar="FILE", help="recipe (YAML); without it every key has its default"
    )
    parser.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        action=_Overrides,
        default=[],
        metavar="KEY VALUE",
        help="settings that differ from the recipe, at the end of the command: MASKS.MASKCUT.TAU 0.2",
    )


def positive(text: str) -> int:
    """Argument type of counts."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {text}")
    return int(text)


class Names(argparse.Action):
    """Takes a list of names but leaves the KEY VALUE pairs at the end, which argparse would take for names."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Split the words where the first one names a key."""
        sections = get_cfg()
        words = [str(value) for value in values]
        end = next((i for i, word in enumerate(words) if word.partition(".")[0] in sections), len(words))
        if not end:
            parser.error(f"argument {option}: expected at least one name before {words[0]}")
        setattr(namespace, self.dest, values[:end])
        namespace.opts = [*namespace.opts, *words[end:]]


class _Overrides(argparse.Action):
    """Takes the pairs, and says where an option belongs that comes after them."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        words: Sequence[str] = [word for word in values if word != "--"]
        late = next((word for word in words[::2] if word.startswith("-")), None)
        if late:
            parser.error(f"{late} must come before the KEY VALUE pairs at the end")
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), *words])


def _let_one_process_speak() -> None:
    """Under torchrun all processes run the same command; what they have to say is the same too, but for errors."""
    if under_torchrun() and os.environ["RANK"] != "0":
        logging.getLogger("unseg_d2").setLevel(logging.ERROR)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, status: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status


def _unexpected(error: Exception) -> int:
    traceback.print_exc()
    what = (str(error).strip().splitlines() or ["no message"])[-1]
    return _fail(
        f"unexpected {type(error).__name__} ({what}); please report it with the lines above.", UNEXPECTED_ERROR
    )


def _log_to_stderr() -> None:
    """Print the project's own messages of level INFO and above."""
    logger = logging.getLogger("unseg_d2")
    if logger.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("[%(asctime)s] %(message)s", datefmt="%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
