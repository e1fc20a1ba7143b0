"""What is said of the keys: all of them, with meaning and range, and what a recipe changes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from unseg_d2.cli import config as command
from unseg_d2.cli.words import TOP_LEVEL_KEYS
from unseg_d2.config import describe, get_cfg
from unseg_d2.config.load import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.settings import all_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a known width: processes of pytest-xdist have one of 80."""
    monkeypatch.setenv("COLUMNS", "102")


def test_every_key_is_listed_with_meaning_and_range():
    listed = re.findall(r"^([A-Z][\w.]*) = .+\n    (.+)", describe.terminal(), re.M)
    assert [key for key, _ in listed] == [key for key, _ in all_settings()]
    assert all(text.strip() for _, text in listed)


def test_the_page_of_the_documentation_is_up_to_date(capsys):
    command.main(["--markdown"])
    assert (ROOT / "docs" / "config.md").read_text(encoding="utf-8") == capsys.readouterr().out


def test_a_section_a_key_and_a_name_that_is_not_there(capsys):
    command.main(["masks.maskcut.tau", "REFINE.GUIDED"])
    shown = capsys.readouterr().out
    assert re.findall(r"^(\S+) = ", shown, re.M) == [
        "MASKS.MASKCUT.TAU",
        *(f"REFINE.GUIDED.{key}" for key in ("DEVICE", "RADIUS", "EPS")),
    ]
    assert "tau^ncut: cosine above which two patches are connected; a number in [0, 1)" in shown
    with pytest.raises(UnsegError, match=r"no section or key MASKS.MASCUT\. Did you mean 'MASKS.MASKCUT'"):
        command.main(["MASKS.MASCUT"])


def test_a_key_that_names_a_part_lists_the_parts():
    assert "one of activation, cuts3d, greedymerge, lost, maskcut" in describe.terminal(["MASKS.GENERATOR"]).replace(
        "\n   ", ""
    )


def test_what_a_recipe_changes_and_where(tmp_path, capsys):
    (tmp_path / "base.yaml").write_text("SEED: 3\nMASKS:\n  MASKCUT: {TAU: 0.3}\n")
    (tmp_path / "mine.yaml").write_text("_BASE_: base.yaml\n\nSEED: 4\nENGINE: auto\n")
    command.main(["--diff", str(tmp_path / "mine.yaml")])
    shown = capsys.readouterr().out.replace("\n    ", " ")
    assert re.findall(r"^(\S+) = (\S+) \S+?(\w+\.yaml), line (\d)", shown, re.M) == [
        ("SEED", "4", "mine.yaml", "3"),
        ("MASKS.MASKCUT.TAU", "0.3", "base.yaml", "3"),
    ]
    command.main(["--diff", str(tmp_path / "mine.yaml"), "SOLVER"])
    assert "changes nothing here" in capsys.readouterr().out


def test_the_differences_are_all_there_are():
    recipe = ROOT / "configs" / "cuts3d" / "cascade_mask_rcnn_R_50_FPN.yaml"
    shown = set(re.findall(r"^([A-Z][\w.]*) = ", describe.differences(recipe), re.M))
    cfg, defaults = load_cfg(recipe), get_cfg()
    for key, _ in all_settings():
        node, default = cfg, defaults
        for part in key.split("."):
            node, default = node[part], default[part]
        assert (key in shown) == (node != default)


def test_the_command_line_knows_the_keys_without_a_section():
    assert set(TOP_LEVEL_KEYS) == {key for key, _ in all_settings() if "." not in key}


def test_plugins_are_explained_too(tmp_path, monkeypatch, capsys):
    (tmp_path / "explained_plugin.py").write_text(
        "from dataclasses import dataclass\n"
        "from unseg_d2.settings import Settings, section, setting\n"
        "@section('EXPLAINED')\n"
        "@dataclass(frozen=True)\n"
        "class ExplainedSettings(Settings):\n"
        "    '''Of a test.'''\n"
        "    depth: int = setting(2, 'levels', low=1)\n"
    )
    from unseg_d2 import settings

    known = dict(settings.SECTIONS)
    for module in ("settings", "config.load", "config.describe"):
        monkeypatch.setattr(f"unseg_d2.{module}.SECTIONS", known)
    command.main(["EXPLAINED", "--import", str(tmp_path / "explained_plugin.py")])
    assert capsys.readouterr().out == (
        "# EXPLAINED: Of a test.\n\nEXPLAINED.DEPTH = 2\n    levels; a whole number of at least 1\n"
    )
