from __future__ import annotations

import argparse
import errno
import io
import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from unseg_d2.cli import common
from unseg_d2.cli.common import _BesideBars, recipe, run, settings
from unseg_d2.cli.groups import add_recipe, add_weights, as_path, not_negative
from unseg_d2.cli.parser import Command, CommandParser
from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_messages_have_lines_of_their_own_beside_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    handler = _BesideBars()
    with progress_bar(total=3, desc="images") as bar:
        bar.update(1)
        handler.emit(logging.makeLogRecord({"msg": "Loaded 3 tensors"}))
    shown = [line.rpartition("\r")[2] for line in sys.stderr.getvalue().split("\n")]
    assert "Loaded 3 tensors" in shown and any(line.startswith("images:  33%") for line in shown)


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UnsegError("There is no folder x."), 2, "error: There is no folder x.\n"),
        (UnsegError("a\nb.png is damaged."), 2, "error: a\\nb.png is damaged.\n"),
        (OSError(errno.ENOSPC, "full", "/out/a"), 2, "error: the disk is full while writing /out/a; free some space"),
        (KeyboardInterrupt(), 130, "error: interrupted; the same command resumes"),
    ],
)
def test_mistakes_are_one_line(
    error: BaseException, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        run(raising(error))
    printed = capsys.readouterr().err
    assert exit.value.code == status and printed.startswith(message) and printed.count("\n") == 1


def test_a_bar_that_an_error_leaves_open_ends_before_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    bar = iter(progress_bar([1, 2, 3], desc="images"))  # as a generator of which a traceback still knows

    def main() -> None:
        next(bar)
        raise UnsegError("The disk is full.")

    with pytest.raises(SystemExit):
        run(main)
    bar.close()
    printed = capsys.readouterr().err
    assert "images: " in printed and printed.splitlines()[-1] == "error: The disk is full."


@pytest.mark.parametrize("error", [TypeError("no such thing"), OSError(errno.EIO, "broken disk"), ValueError()])
def test_the_unexpected_ends_with_a_line_that_says_so(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        run(raising(error))
    printed = capsys.readouterr().err.splitlines()
    assert exit.value.code == 1 and printed[0].startswith("Traceback")
    assert printed[-1].startswith(f"error: unexpected {type(error).__name__}") and "please report" in printed[-1]


class Writer(threading.Thread):
    """Fails to write; like TensorBoard's it can keep its error for those who wait for it."""

    def __init__(self, *, keeps: bool) -> None:
        super().__init__()
        self.keeps = keeps
        self.exception: Exception | None = None

    def run(self) -> None:
        error = FileNotFoundError(errno.ENOENT, "gone", b"/out/events")
        self.exception = error if self.keeps else None
        raise error


@pytest.mark.parametrize("keeps", [True, False])
def test_a_failure_in_the_background_is_said_once_and_without_a_traceback(
    keeps: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(common.logger, "warning", lambda message, *values: logged.append(message % values))

    def main() -> None:
        writer = Writer(keeps=keeps)
        writer.start()
        writer.join()
        if writer.exception is not None:
            raise writer.exception

    with pytest.raises(SystemExit) as exit:
        run(main)
    printed = capsys.readouterr().err
    why = "/out/events cannot be used: No such file or directory; check the path and its permissions."
    assert exit.value.code == (2 if keeps else 0) and "Traceback" not in printed
    assert (f"error: {why}" in printed) == keeps
    assert logged == ([] if keeps else [f"A part that works in the background ended: {why}"])


def test_success_exits_with_zero() -> None:
    with pytest.raises(SystemExit) as exit:
        run(lambda: None)
    assert exit.value.code == 0


def parsed(*words: str) -> argparse.Namespace:
    def arguments(parser: CommandParser) -> None:
        add_recipe(parser)
        add_weights(parser, "checkpoint")

    return Command("A command.", arguments, print).parser().parse_args(words)


def test_a_recipe_is_what_file_settings_and_options_say(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("SEED: 3\nSOLVER: {MAX_ITER: 7}\n")
    args = parsed("SEED", "-1", "--config-file", str(tmp_path / "a.yaml"), "--trust-checkpoint", "--weights", "2024/a")
    cfg = recipe(args, {"MODEL.WEIGHTS": args.weights, "OUTPUT_DIR": None, "TEST.NO_SEGM": False})
    assert (cfg.SEED, cfg.SOLVER.MAX_ITER, cfg.MODEL.TRUST_CHECKPOINT, cfg.MODEL.WEIGHTS) == (-1, 7, True, "2024/a")
    assert (cfg.OUTPUT_DIR, cfg.TEST.NO_SEGM) == (load_cfg().OUTPUT_DIR, False)
    assert recipe(parsed()) == load_cfg()
    assert recipe(parsed(), config_file=tmp_path / "a.yaml").SEED == 3


def test_an_option_outdoes_a_key() -> None:
    args = parsed("MODEL.WEIGHTS", "a.pth", "--weights", "b.pth")
    assert settings(args, {"MODEL.WEIGHTS": args.weights}) == ["MODEL.WEIGHTS", "a.pth", "MODEL.WEIGHTS", "'b.pth'"]
    assert recipe(args, {"MODEL.WEIGHTS": args.weights}).MODEL.WEIGHTS == "b.pth"


def test_only_an_option_that_was_not_given_changes_nothing() -> None:
    given = {"SEED": 0, "SOLVER.BASE_LR": 0.0, "MODEL.WEIGHTS": "", "TEST.NO_SEGM": False, "OUTPUT_DIR": None}
    assert settings(parsed(), given) == ["SEED", "0", "SOLVER.BASE_LR", "0.0", "MODEL.WEIGHTS", "''"]
    assert recipe(parsed("SEED", "7"), {"SEED": 0}).SEED == 0


def test_verbose_shows_where_a_mistake_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        logging.getLogger("unseg_d2").setLevel(logging.DEBUG)
        raise UnsegError("There is no folder x.")

    with pytest.raises(SystemExit):
        run(main)
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback") and printed.endswith("\nerror: There is no folder x.\n")


def test_how_loud_a_command_is_follows_its_options() -> None:
    level, seen = logging.getLogger("unseg_d2"), []

    def note(args: argparse.Namespace) -> None:
        seen.append((level.level, progress_bar([]).disable))

    main = Command("A command.", lambda parser: None, note).main
    level.setLevel(logging.INFO)
    for words in ([], ["--verbose"], ["--quiet"]):
        main(words)
    assert seen == [(logging.INFO, False), (logging.DEBUG, False), (logging.WARNING, True)]


def test_a_closed_pipe_is_no_error() -> None:
    code = "from unseg_d2.cli.common import run\nrun(lambda: [print('line') for _ in range(100000)])"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"line\n"
    process.stdout.close()
    assert (process.wait(), process.stderr.read()) == (0, b"")


def interrupted(_: object) -> None:
    """What Ctrl+C does to Python, also where a shell has made it ignore the signal."""
    raise KeyboardInterrupt


@pytest.mark.parametrize(("name", "ending"), [("train-net", "resumes where it stopped"), ("visualize", "begins anew")])
def test_an_interrupted_command_says_what_is_true_of_it(
    name: str, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from unseg_d2.cli.main import command
    from unseg_d2.cli.parser import execute

    args = command(name).parser().parse_args({"visualize": ["--labels", "a", "--output", "b"]}.get(name, []))
    args.execute = interrupted
    with pytest.raises(SystemExit) as stopped:
        run(lambda: execute(args))
    assert stopped.value.code == 130
    assert capsys.readouterr().err == f"error: interrupted; the same command {ending}.\n"


def test_a_path_is_not_empty_and_begins_in_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert as_path("~/runs") == tmp_path / "runs" and as_path("runs/~x") == Path("runs/~x")
    (tmp_path / "~").mkdir()
    assert as_path("~") == Path("~")  # which is there
    with pytest.raises(argparse.ArgumentTypeError, match="is empty"):
        as_path("")
    for text in ("-1", "1.5", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="from 0 on"):
            not_negative(text)
