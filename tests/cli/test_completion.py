"""Completions, requested the way a shell does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from unseg_d2.cli import completion
from unseg_d2.masks import MASK_GENERATORS

REPOSITORY = Path(__file__).resolve().parents[2]


def offered(line: str, folder: Path) -> list[str]:
    """Return the completions of argcomplete at the end of a line."""
    pytest.importorskip("argcomplete")
    answer = folder / "answer"
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "PYTHONPATH": str(REPOSITORY),
    }
    code = "import sys; sys.argv = ['unseg-d2']; from unseg_d2.cli.main import main; main()"
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=REPOSITORY, check=True, capture_output=True)
    return [word.strip() for word in answer.read_text().split("\n")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("unseg-d2 tr", ["track-masks", "train-net", "train-saliency", "train-semantic"]),
        ("unseg-d2 train-net --tru", ["--trust-checkpoint"]),
        ("unseg-d2 evaluate s", ["saliency", "semantic"]),
        ("unseg-d2 evaluate saliency --datasets a --gen", ["--generator"]),
        ("unseg-d2 evaluate saliency --datasets a --generator to", ["tokencut"]),
        ("unseg-d2 train-net --config-file configs/cuts3d/quick", ["configs/cuts3d/quickstart.yaml"]),
        ("unseg-d2 train-net --resume SEE", ["SEED"]),
        ("unseg-d2 train-net --resume SEED 1 MODEL.TRUST", ["MODEL.TRUST_CHECKPOINT"]),
        ("unseg-d2 zoo get dino_vitb", ["dino_vitb16", "dino_vitb8"]),
        ("unseg-d2 compare --benchmark cocos", ["cocostuff27"]),
        ("unseg-d2 parity l", ["lost"]),
        ("unseg-d2 compare --baseline cutler_m", ["cutler_mask_rcnn"]),
    ],
)
def test_a_shell_is_offered(line: str, words: list[str], tmp_path: Path) -> None:
    assert sorted(offered(line, tmp_path)) == words


def test_keys_come_a_section_at_a_time() -> None:
    assert completion.keys("MASK") == ["MASKS."]
    assert "MASKS.GENERATOR" in completion.keys("MASKS.") and "MASKS.MASKCUT." in completion.keys("MASKS.")
    assert completion.keys("MASKS.MASKCUT.TA") == ["MASKS.MASKCUT.TAU"]
    assert completion.keys("photos") == completion.keys("SEED.X") == completion.keys("") == []


def test_the_generators_are_those_that_register_themselves() -> None:
    assert completion.generators() == MASK_GENERATORS.names()


def test_recipes_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.yaml").touch()
    (tmp_path / "own" / "b.json").touch()
    assert completion.recipes("ow") == ["own/"] and completion.recipes("own/") == ["own/a.yaml"]
    assert "configs/cutler/mask_rcnn_R_50_FPN.yaml" in completion.recipes("configs/cutler/")
