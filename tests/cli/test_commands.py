"""Rules that hold for every command: one word per thing, help that is complete and quick, examples that parse."""

from __future__ import annotations

import argparse
import logging
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from unseg_d2.cli import main
from unseg_d2.cli.evaluate import TASKS
from unseg_d2.cli.parity import OUTPUTS
from unseg_d2.cli.parser import CommandParser, words_of
from unseg_d2.cli.reads import unread
from unseg_d2.errors import UnsegError

REPOSITORY = Path(__file__).resolve().parents[2]
FORMER = {"--masks", "--results", "--predictions", "--train-dataset", "--test-dataset", "--task", "--config"}


def below(name: str, parser: CommandParser) -> Iterator[tuple[str, CommandParser]]:
    """A command and those below it that can be run, by name."""
    chooser = next((action for action in parser._actions if isinstance(action, argparse._SubParsersAction)), None)
    if chooser is None:
        yield name, parser
        return
    for task, parser in chooser.choices.items():
        yield from below(f"{name} {task}", parser)


PARSERS = dict(item for name in main.COMMANDS for item in below(name, main.command(name).parser(f"unseg-d2 {name}")))
OPTIONS = [
    pytest.param(action, id=f"{name} {action.option_strings[-1]}")
    for name, parser in PARSERS.items()
    for action in parser._actions
    if action.option_strings
]


def words_table() -> dict[str, str]:
    """Option to meaning: the table of docs/commands.md."""
    text = (REPOSITORY / "docs/commands.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `(--[a-z-]+)` \| (.+?) \|", text, flags=re.MULTILINE))


def test_a_thing_has_one_word() -> None:
    """Every option of more than one command is in the table, and everything in the table is an option."""
    used: dict[str, set[str]] = {}
    for name, parser in PARSERS.items():
        for action in parser._actions:
            for option in action.option_strings:
                used.setdefault(option, set()).add(name.split()[0])
    table = words_table()
    shared = {option for option, names in used.items() if len(names) > 1} - {"-h", "--help"}
    assert shared <= table.keys() <= used.keys()
    assert not FORMER & used.keys()


@pytest.mark.parametrize("name", PARSERS)
def test_the_same_word_takes_the_same_kind_of_value(name: str) -> None:
    every = {action.dest for action in PARSERS[name]._actions}
    for action in PARSERS[name]._actions:
        for option in action.option_strings:
            if option in ("--weights", "--labels", "--output", "--images", "--gt", "--input"):
                assert action.nargs in (None, "+") and action.dest == option[2:]
    if "weights" in every:
        assert "trust_checkpoint" in every, "a checkpoint is read that cannot be trusted"
    assert {"loudness", "execute"} <= every | PARSERS[name]._defaults.keys()


@pytest.mark.parametrize("action", OPTIONS)
def test_help_says_what_an_option_is_by_default(action: argparse.Action) -> None:
    assert action.help, "no help"
    if action.nargs == 0 or action.required:
        return
    parser = CommandParser()
    parser._add_action(action)
    printed = " ".join(parser.format_help().split())
    assert "default" in printed or "required" in printed or action.dest in ("images", "labels"), printed


@pytest.mark.parametrize("name", main.COMMANDS)
def test_examples_of_the_help_parse(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = main.command(name)
    commands = [command, *(task for _, task in {"evaluate": TASKS, "parity": OUTPUTS}.get(name, {}).values())]
    for one in commands:
        assert len(one.examples) >= 2
        assert one.examples[0] in one.parser().format_help()
        for example in one.examples:
            assert example.startswith(f"unseg-d2 {name}")
            args = main.parser(words_of(example)).parse_args(words_of(example))
            assert callable(args.execute)
            recipe = getattr(args, "config_file", None)
            assert recipe is None or (REPOSITORY / recipe).is_file()
    command.parser(f"unseg-d2 {name}").print_help()
    assert all(example in capsys.readouterr().out for example in command.examples[:1])


def test_help_comes_without_the_heavy_libraries() -> None:
    """Make the parser of every command in a new process; importing `torch` alone takes seconds."""
    code = (
        "import sys\nfrom unseg_d2.cli import main\n"
        "for name in main.COMMANDS: main.command(name).parser().format_help()\n"
        "print(sorted({'torch', 'torchvision', 'scipy', 'timm', 'detectron2', 'fvcore'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout == "[]\n"


def test_help_of_each_command_alone_does_not_import_torch() -> None:
    """As a user asks for it: all command names are listed, but only one module is imported."""
    code = (
        "import sys\nfrom unseg_d2.cli import main\n"
        "sys.argv = ['unseg-d2', 'train-net', '--help']\n"
        "try: main.main()\nexcept SystemExit: pass\n"
        "print([name for name in sys.modules if name == 'torch' or name == 'unseg_d2.cli.demo'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.startswith("usage: unseg-d2 train-net") and done.stdout.endswith("\n[]\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train-net --resme", "unrecognized argument --resme. Did you mean '--resume'? See: unseg-d2 train-net --help"),
        ("evaluate salency --datasets x", "invalid choice: 'salency'"),
        ("evaluate saliency --dataset x", "unrecognized argument --dataset. Did you mean '--datasets'?"),
        ("evaluate saliency --datasets SEED 1", "argument --datasets: expected at least one argument"),
        ("zoo list SEED 1", "unrecognized argument"),
        ("self-train --output x", "one of the arguments --images --labels is required"),
        ("generate-masks --images a --output b SEED", "SEED needs a value"),
        ("zoo --list", "unrecognized argument --list"),
        ("generate-masks --images a --output b --engine spark", "--engine: must be local or ray, not spark"),
        ("self-train --images a --output b --engine builtin", "what runs the detector is the key ENGINE builtin"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main.parser(line.split()).parse_args(line.split())
    printed = capsys.readouterr().err
    assert exit.value.code == 2 and printed.startswith("error: ") and message in printed and printed.count("\n") == 1


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("score-masks --masks a --gt b", "score-masks --labels a --gt b"),
        ("export-masks a --partial", "export-masks --labels a --partial"),
        ("convert-checkpoint a.pth b.pth", "convert-checkpoint --weights a.pth --output b.pth"),
        ("cut-masks --masks a --output b", "cut-masks --labels a --output b"),
        ("train-net --config a.yaml --train-dataset a", "train-net --config-file a.yaml --labels a"),
        ("train-net --test-dataset=a", "train-net --gt=a"),
        ("evaluate --datasets a --predictions b", "evaluate detection --datasets a --labels b"),
        ("evaluate --datasets a --task corloc --masks b", "evaluate corloc --datasets a --labels b"),
        ("evaluate --task=semantic --weights a --results b", "evaluate semantic --weights a --output b"),
    ],
)
def test_former_spellings_are_understood_and_reported(
    former: str, present: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("unseg_d2"), "propagate", True)
    old, new = (main.parser(line.split()).parse_args(line.split()) for line in (former, present))
    old.execute = new.execute = None
    assert old == new
    assert {record.getMessage().partition("; write: ")[1] for record in caplog.records} == {"; write: "}


def written_down() -> Iterator[tuple[str, str]]:
    """File and line of every command in documents and recipes, continuation lines joined."""
    pattern = re.compile(r"^[ #$]*(unseg-d2 +[a-z].*|(?:torchrun .* )?(?:python )?tools/(\w+)\.py .*)$", re.MULTILINE)
    for path in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("*/README.md")]:
        text = re.sub(r"\\\n\s*", "", path.read_text(encoding="utf-8"))
        yield from ((path.name, match[1]) for match in pattern.finditer(text))
    for path in REPOSITORY.glob("configs/**/*.yaml"):
        yield from ((path.name, match[1]) for match in pattern.finditer(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(("file", "line"), written_down())
def test_commands_in_documents_parse_in_current_spelling(
    file: str, line: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("unseg_d2"), "propagate", True)
    words = shlex.split(line, comments=True)
    start = next(index for index, word in enumerate(words) if word == "unseg-d2" or word.startswith("tools/"))
    script = Path(words[start]).stem
    words = words[start + 1 :] if script == "unseg-d2" else [script.replace("_", "-"), *words[start + 1 :]]
    args = main.parser(words).parse_args(words)
    assert callable(args.execute)
    assert not caplog.records
    assert not list(unread(getattr(args, "opts", []), getattr(args, "reads", ())))


@pytest.mark.parametrize("name", [name for name, parser in PARSERS.items() if parser.takes_settings])
def test_every_command_with_settings_says_what_it_reads(name: str) -> None:
    assert PARSERS[name].get_default("reads")


def test_a_mistyped_command_names_the_nearest() -> None:
    with pytest.raises(UnsegError, match=r"There is no command trian-net\. Did you mean 'train-net'"):
        main.parser(["trian-net"])


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unseg_d2", "config", "SEED"], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr
    assert "SEED" in done.stdout
