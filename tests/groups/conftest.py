"""A label set of squares in a few colours, whose groups are known."""

from __future__ import annotations

from pathlib import Path

import pytest
from group_files import write_squares


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """Twelve images: 12 red, 8 green and 4 blue squares."""
    pairs = [("red", "red")] * 4 + [("red", "green")] * 4 + [("green", "blue")] * 4
    return write_squares(tmp_path / "set", pairs)
