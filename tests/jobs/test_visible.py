from __future__ import annotations

import threading
from pathlib import Path

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.jobs import visible
from unseg_d2.jobs.visible import wait_until_visible


def test_a_file_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    threading.Timer(0.3, (tmp_path / "late").touch).start()
    wait_until_visible(tmp_path / "late")
    assert (tmp_path / "late").is_file()


def test_a_file_of_another_folder_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visible, "SECONDS", 0.0)
    with pytest.raises(UnsegError, match=r"was made, but is not there: every machine must see the folder"):
        wait_until_visible(tmp_path / "never")
