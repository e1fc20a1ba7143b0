from __future__ import annotations

import argparse
import errno
import subprocess
import sys
from collections.abc import Callable

import pytest

from unseg_d2.cli.common import Names, add_config_arguments, run
from unseg_d2.errors import UnsegError


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UnsegError("There is no folder x."), 2, "error: There is no folder x.\n"),
        (OSError(errno.ENOSPC, "full", "/out/a"), 2, "error: the disk is full while writing /out/a; free some space"),
        (KeyboardInterrupt(), 130, "error: interrupted; the same command goes on"),
    ],
)
def test_mistakes_are_one_line(
    error: BaseException, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        run(raising(error))
    printed = capsys.readouterr().err
    assert exit.value.code == status and printed.startswith(message) and printed.count("\n") == 1


@pytest.mark.parametrize("error", [TypeError("no such thing"), OSError(errno.EIO, "broken disk"), ValueError()])
def test_the_unexpected_ends_with_a_line_that_says_so(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        run(raising(error))
    printed = capsys.readouterr().err.splitlines()
    assert exit.value.code == 1 and printed[0].startswith("Traceback")
    assert printed[-1].startswith(f"error: unexpected {type(error).__name__}") and "please report" in printed[-1]


def test_success_exits_with_zero() -> None:
    with pytest.raises(SystemExit) as exit:
        run(lambda: None)
    assert exit.value.code == 0


def test_names_end_where_overrides_begin(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_config_arguments(parser)
    parser.add_argument("--datasets", nargs="+", action=Names)
    parser.add_argument("--name")
    args = parser.parse_args(["--datasets", "kitti", "a.json", "MODEL.WEIGHTS", "w.pth", "SEED", "1"])
    assert args.datasets == ["kitti", "a.json"] and args.opts == ["MODEL.WEIGHTS", "w.pth", "SEED", "1"]
    args = parser.parse_args(["--datasets", "kitti", "--name", "x", "SEED", "1"])
    assert args.datasets == ["kitti"] and args.opts == ["SEED", "1"]
    assert parser.parse_args(["--datasets", "kitti"]).opts == []
    with pytest.raises(SystemExit):
        parser.parse_args(["--datasets", "SEED", "1"])
    assert "expected at least one name before SEED" in capsys.readouterr().err


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_config_arguments(parser)
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args(arguments)


@pytest.mark.parametrize("flag", ["--config-file", "--config"])
def test_recipe_and_overrides(flag: str) -> None:
    args = parse(flag, "a.yaml", "--resume", "SEED", "-1", "MODEL.WEIGHTS", "")
    assert (args.config_file, args.resume, args.opts) == ("a.yaml", True, ["SEED", "-1", "MODEL.WEIGHTS", ""])
    assert parse().opts == [] and parse().config_file is None


def test_options_after_the_overrides_are_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("SEED", "1", "--resume")
    assert "--resume must come before the KEY VALUE pairs" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error() -> None:
    code = "from unseg_d2.cli.common import run\nrun(lambda: [print('line') for _ in range(100000)])"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"line\n"
    process.stdout.close()
    assert (process.wait(), process.stderr.read()) == (0, b"")
