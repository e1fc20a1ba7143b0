"""docs/compare.md shows what the commands print, to the letter."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from unseg_d2.cli.compare import main
from unseg_d2.cli.parser import words_of

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "compare.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```bash\n(unseg-d2 compare [^`]*?)```\n\n```text\n(.*?)^```$", PAGE, re.M | re.S)
WALK = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.mark.parametrize(("command", "printed"), SHOWN)
def test_a_table_on_the_page_is_what_the_command_prints(
    command: str, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(words_of(command.replace("\\\n", ""))[1:])
    assert capsys.readouterr().out == printed


def test_the_markdown_table_too(capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = re.findall(r"^(unseg-d2 compare .* --format markdown)$", PAGE, re.M)
    main(words_of(command)[1:])
    assert capsys.readouterr().out in PAGE


def test_python_on_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = WALK
    exec(code, {})
    assert capsys.readouterr().out.startswith("9.7 zero-shot ('none',)")


def test_the_page_shows_tables() -> None:
    assert len(SHOWN) == 2
