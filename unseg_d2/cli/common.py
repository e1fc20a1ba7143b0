"""What all commands share: the recipe they load, and mistakes as one line instead of a traceback."""

from __future__ import annotations

import argparse
import errno
import functools
import io
import logging
import os
import shlex
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from unseg_d2.cli.parser import RESUMES
from unseg_d2.cli.reads import unread
from unseg_d2.errors import CheckpointMismatch, UnsegError
from unseg_d2.loop.machines import under_torchrun

if TYPE_CHECKING:
    from fvcore.common.config import CfgNode

logger = logging.getLogger(__name__)

_FILES = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE),
}
USER_ERROR, UNEXPECTED_ERROR, INTERRUPTED = 2, 1, 130
"""Exit statuses besides 0; 2 is argparse's too."""


def run(main: Callable[[], Any]) -> NoReturn:
    """Run a command and exit.

    A mistake that the user can fix becomes one line ``error: ...`` with exit status 2. Anything unexpected is a
    traceback, followed by one line that says so, with status 1.

    Args:
        main: the command; it reads ``sys.argv``.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    _log_to_stderr()
    _let_one_process_speak()
    threading.excepthook = _of_a_thread
    warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated")  # raised by libraries, at import
    status = 0
    try:
        main()
        sys.stdout.flush()
    except UnsegError as error:
        if logging.getLogger("unseg_d2").isEnabledFor(logging.DEBUG):  # --verbose
            traceback.print_exc()
        lines = error.lines if isinstance(error, CheckpointMismatch) else str(error)
        status = _fail(lines, USER_ERROR)
    except KeyboardInterrupt as interrupt:
        status = _fail(f"interrupted; {interrupt.args[0] if interrupt.args else RESUMES}.", INTERRUPTED)
    except BrokenPipeError:  # the reader, such as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        known = _of_the_disk(error) or _of_the_device(error)
        status = _fail(known, USER_ERROR) if known else _unexpected(error)
    except Exception as error:  # the last line must not be a traceback
        known = _of_the_device(error)
        status = _fail(known, USER_ERROR) if known else _unexpected(error)
    sys.exit(status)


def settings(args: argparse.Namespace, flags: Mapping[str, Any] | None = None) -> list[str]:
    """Return all that a command line changes about a recipe, as alternating keys and values.

    Args:
        args: of a command with the arguments of a recipe.
        flags: key to the value of an option; ``None`` and ``False``, an option that was not given, change nothing.
    """
    given = {
        "PLUGINS": tuple(args.plugins) or None,
        "MODEL.TRUST_CHECKPOINT": getattr(args, "trust_checkpoint", False),
        "TEST.EVALUATORS": tuple(getattr(args, "evaluators", None) or ()) or None,
        **(flags or {}),
    }
    changes = {key: value for key, value in given.items() if value is not None and value is not False}
    for sentence in unread(args.opts, args.reads):
        _warn(sentence)
    return [*args.opts, *(word for pair in changes.items() for word in (pair[0], repr(pair[1])))]


@functools.cache
def _warn(sentence: str) -> None:
    """Log a warning once, however often a command asks for its settings."""
    logger.warning("%s", sentence)


def recipe(
    args: argparse.Namespace, flags: Mapping[str, Any] | None = None, *, config_file: str | Path | None = None
) -> CfgNode:
    """Return the configuration that a command line asks for; every command loads its own here.

    Args:
        args: of a command with the arguments of a recipe.
        flags: see :func:`settings`.
        config_file: recipe to use if the command line names none.

    Raises:
        UnsegError: see :func:`unseg_d2.config.load_cfg`.
    """
    from unseg_d2.config import load_cfg

    path, changes = args.config_file or config_file, settings(args, flags)
    pairs = ", ".join(f"{key} = {value}" for key, value in zip(changes[::2], changes[1::2]))
    logger.debug("Recipe: %s, with %s.", path or "all defaults", pairs or "no change")
    return load_cfg(path, changes)


def recipe_of_weights(args: argparse.Namespace, flags: Mapping[str, Any] | None = None) -> CfgNode:
    """Return the configuration of the detector that ``--weights`` names: ``--config-file``, else the checkpoint's own.

    Args:
        args: of a command with the arguments of a recipe and ``--weights``; without weights the recipe names them.
        flags: see :func:`settings`.

    Raises:
        UnsegError: see :func:`~unseg_d2.detectors.recipe.detector_recipe`.
    """
    if not args.weights:
        return recipe(args, flags)
    from unseg_d2.detectors.recipe import detector_recipe

    return detector_recipe(args.weights, args.config_file, *settings(args, flags))[0]


def look_at(folder: str | Path, page: str, *options: str) -> str:
    """Return the line that says how to look at a label set: the command that writes a page into its folder.

    >>> look_at("my masks", "gallery.html")
    "look at them: unseg-d2 visualize --labels 'my masks' --output 'my masks/gallery.html'"
    """
    words = ["unseg-d2", "visualize", "--labels", str(folder), "--output", str(Path(folder, page)), *options]
    return f"look at them: {shlex.join(words)}"


def resumes(args: argparse.Namespace) -> None:
    """Say that ``--resume`` is what a training does anyway, where it was given."""
    if args.resume:
        logger.info("--resume is no longer needed: a training resumes by itself; --restart begins anew.")


def begun_anew(args: argparse.Namespace, cfg: CfgNode) -> None:
    """Set a training in ``OUTPUT_DIR`` aside where ``--restart`` was given; otherwise it resumes."""
    from unseg_d2.loop.restart import set_aside

    resumes(args)
    if args.restart:
        set_aside(Path(cfg.OUTPUT_DIR))


def _let_one_process_speak() -> None:
    """Under torchrun all processes run the same command and would all print the same; only errors may differ."""
    if under_torchrun() and os.environ["RANK"] != "0":
        logging.getLogger("unseg_d2").setLevel(logging.ERROR)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _of_the_disk(error: OSError) -> str | None:
    """Say what is wrong with a file that can be named; ``None`` for errors of the network, of processes and so on."""
    name = error.filename
    name = os.fsdecode(name) if isinstance(name, bytes) else name  # TensorBoard's are bytes
    where = f" {name}" if name else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{where and f' while writing{where}'}; free some space and run the same command again."
    if error.errno in _FILES and where:
        reason = os.strerror(error.errno or 0)
        return f"{name!s} cannot be used: {reason}; check the path and its permissions."
    return None


def _of_the_device(error: Exception) -> str | None:
    """Say what is wrong with a device or the memory; ``None`` for any other error."""
    if "torch" not in sys.modules and not isinstance(error, MemoryError):
        return None
    from unseg_d2.devices import device_failure

    return device_failure(error)


def _of_a_thread(args: threading.ExceptHookArgs) -> None:
    """Say what ended a background thread; one that keeps its error, as TensorBoard's, raises it where it is used."""
    error = args.exc_value
    if error is not None and getattr(args.thread, "exception", None) is error:
        logger.debug("A background thread ended.", exc_info=error)
        return
    known = (_of_the_disk(error) if isinstance(error, OSError) else None) or (
        _of_the_device(error) if isinstance(error, Exception) else None
    )
    if known:
        logger.warning("A part that works in the background ended: %s", _one_line(known))
    else:
        threading.__excepthook__(args)


def _fail(message: str | Sequence[str], status: int) -> int:
    from unseg_d2.progress import close_bars

    close_bars()
    lines = [message] if isinstance(message, str) else message
    print("error: " + "\n".join(map(_one_line, lines)), file=sys.stderr)
    return status


def _one_line(message: str) -> str:
    """Return a message without line breaks, which names of files may have."""
    return message.replace("\r", "\\r").replace("\n", "\\n")


def _unexpected(error: Exception) -> int:
    traceback.print_exc()
    what = (str(error).strip().splitlines() or ["no message"])[-1]
    return _fail(
        f"unexpected {type(error).__name__} ({what}); please report it with the lines above.", UNEXPECTED_ERROR
    )


class _BesideBars(logging.StreamHandler):
    """Writes messages on lines of their own, above the progress bars that are shown."""

    def emit(self, record: logging.LogRecord) -> None:
        """See the base class."""
        if "unseg_d2.progress" not in sys.modules:  # no bar has been shown, and tqdm need not be imported for this
            super().emit(record)
            return
        from tqdm import tqdm

        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)


def _log_to_stderr() -> None:
    """Print the project's own messages of level INFO and above."""
    logger = logging.getLogger("unseg_d2")
    if logger.handlers:
        return
    handler = _BesideBars()
    handler.setFormatter(logging.Formatter("[%(asctime)s] %(message)s", datefmt="%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
