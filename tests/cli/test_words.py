"""How the words of a command line are parsed; every case is written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from unseg_d2.cli.words import TOP_LEVEL_KEYS, Grammar, WordError, is_key, sort_words
from unseg_d2.config import get_cfg

GRAMMAR = Grammar(
    {"--output": None, "--datasets": "+", "--resume": 0, "--num-workers": None, "--limit": None, "-h": 0},
    renamed={"--results": "--output"},
    settings=True,
)
UNNAMED = Grammar({"--weights": None, "--output": None, "--partial": 0}, unnamed=("--weights", "--output"))


@pytest.mark.parametrize(
    ("line", "words", "settings"),
    [
        (["SEED", "1", "--output", "x"], ["--output", "x"], ["SEED", "1"]),
        (["--output", "x", "SEED=1", "--resume"], ["--output", "x", "--resume"], ["SEED", "1"]),
        (["--datasets", "a", "b", "SEED", "-1", "--resume"], ["--datasets", "a", "b", "--resume"], ["SEED", "-1"]),
        (["--datasets", "a", "--", "SEED", "1"], ["--datasets", "a"], ["SEED", "1"]),
        (["SOLVER.STEPS", "[1, 2]", "--resume"], ["--resume"], ["SOLVER.STEPS", "[1, 2]"]),
        (["DATASETS.TRAIN=('a b',)"], [], ["DATASETS.TRAIN", "('a b',)"]),
        (["MODEL.WEIGHTS", "", "A.B="], [], ["MODEL.WEIGHTS", "", "A.B", ""]),
        (["A.B", "--5", "A.C", "-x.pth"], [], ["A.B", "--5", "A.C", "-x.pth"]),
        (["A.B=c=d"], [], ["A.B", "c=d"]),
        (["--output", "RUN.1", "--limit", "-1"], ["--output", "RUN.1", "--limit=-1"], []),
        (["--output=RUN.1", "--limit=-1"], ["--output=RUN.1", "--limit=-1"], []),
        (["--output", "SEED", "SEED", "2"], ["--output", "SEED"], ["SEED", "2"]),
        (["--output", "--resume"], ["--output", "--resume"], []),  # argparse says what is missing
    ],
)
def test_settings_are_taken_out_wherever_they_stand(line: list[str], words: list[str], settings: list[str]) -> None:
    found = sort_words(line, GRAMMAR)
    assert (found.words, found.settings, found.former) == (words, settings, [])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--worker", "2", "--output", "x"], "unrecognized argument --worker. Did you mean '--num-workers'?"),
        (["--output", "--worker", "2"], "unrecognized argument --worker. Did you mean '--num-workers'?"),
        (["--outptu", "x"], "unrecognized argument --outptu. Did you mean '--output'?"),
        (["--output", "x", "--quick=1"], "unrecognized argument --quick."),
        (["photos/", "--output", "x"], "unrecognized argument photos/."),
        (["output", "x"], "unrecognized argument output. Did you mean '--output'?"),
        (["seed", "1"], "unrecognized argument seed. Did you mean 'SEED'?"),
        (["masks.tau=1"], "unrecognized argument masks.tau=1. Did you mean 'MASKS.TAU'?"),
        (["--datasets", "a", "SEED", "1", "b"], "unrecognized argument b."),
        (["SEED"], "SEED needs a value: SEED VALUE, or SEED=VALUE."),
        (["MASKS.TAU", "--output", "x"], "MASKS.TAU needs a value: MASKS.TAU VALUE, or MASKS.TAU=VALUE."),
        (["SEED", "--"], "SEED needs a value: SEED VALUE, or SEED=VALUE."),
    ],
)
def test_a_word_that_belongs_nowhere_is_named(line: list[str], message: str) -> None:
    with pytest.raises(WordError) as error:
        sort_words(line, GRAMMAR)
    assert str(error.value) == message


def test_a_command_without_settings_says_so() -> None:
    with pytest.raises(WordError, match=r"argument SEED\. This command takes no settings"):
        sort_words(["SEED", "1"], Grammar({}))


def test_former_spellings_get_their_current_names() -> None:
    found = sort_words(["--results=x", "--results", "y"], GRAMMAR)
    assert found.words == ["--output=x", "--output", "y"]
    assert found.former == [("--results", "--output")] * 2


def test_values_that_once_had_no_name_get_one_in_their_order() -> None:
    found = sort_words(["--partial", "a.pth", "b.pth"], UNNAMED)
    assert found.words == ["--partial", "--weights", "a.pth", "--output", "b.pth"]
    assert found.former == [("a.pth", "--weights a.pth"), ("b.pth", "--output b.pth")]
    with pytest.raises(WordError, match="argument c"):
        sort_words(["a.pth", "b.pth", "c"], UNNAMED)


def test_every_key_of_the_configuration_looks_like_one() -> None:
    def keys(node: dict, prefix: str = "") -> list[str]:
        found = []
        for name, value in node.items():
            found += keys(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]
        return found

    every = keys(get_cfg())
    assert all(is_key(key) for key in every)
    assert {key for key in every if "." not in key} <= set(TOP_LEVEL_KEYS)


def test_a_file_that_exists_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old cameras and Windows write names that look like keys; a file does not hide a key where no name is due."""
    grammar = Grammar({"--input": "+", "--output": None}, settings=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "TEST.JPG").touch()
    for words in (["--input", "TEST.JPG"], ["--input", "good.jpg", "TEST.JPG"], ["--input=TEST.JPG"]):
        found = sort_words([*words, "MODEL.DEVICE", "cpu", "--output", "x"], grammar)
        assert found.words == [*words, "--output", "x"] and found.settings == ["MODEL.DEVICE", "cpu"]
    assert sort_words(["--output", "TEST.JPG", "TEST.JPG", "1"], grammar).settings == ["TEST.JPG", "1"]
    with pytest.raises(WordError, match=r"TEST\.PNG needs a value"):
        sort_words(["--input", "good.jpg", "TEST.PNG"], grammar)
