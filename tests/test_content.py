"""Whether files hold what they held when a result was made from them."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from unseg_d2 import content
from unseg_d2.content import LEDGER, Comparison, Content, Ledger, content_of


def test_the_content_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert content_of(tmp_path / "a") == Content(3, hashlib.sha256(b"abc").hexdigest())
    assert content_of(tmp_path / "none") is None and content_of(tmp_path) is None


def test_what_counts_as_a_change(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    seen, compared = content_of(path), Comparison(tmp_path / "result", time.time())
    assert not compared.has_changed(path, seen)
    os.utime(path, (0, 0))
    assert not compared.has_changed(path, seen)
    path.write_bytes(b"abd")
    os.utime(path, (0, 0))
    assert compared.has_changed(path, seen)  # neither size nor date tell
    path.write_bytes(b"abcd")
    assert compared.has_changed(path, seen)
    assert compared.has_changed(path, None)  # it was not there
    path.unlink()
    assert not compared.has_changed(path, seen)


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images that were not touched in the last seconds, a result made now, and a margin of nothing."""
    monkeypatch.setattr(content, "MARGIN", 0.0)
    for name in ("photos", "others"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "a").write_bytes(name[:5].encode())
    time.sleep(0.05)
    return tmp_path


def test_untouched_files_are_not_read(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = old / "photos" / "inner" / "a"
    seen = content_of(path)
    compared = Comparison(old / "result", time.time())
    with monkeypatch.context() as patch:
        patch.setattr(content, "content_of", lambda _: pytest.fail("the file was read"))
        assert not compared.has_changed(path, seen)


def test_folders_that_changed_their_names_are_seen(old: Path) -> None:
    """The files within keep all their times."""
    path = old / "photos" / "inner" / "a"
    seen, made = content_of(path), time.time()
    time.sleep(0.05)
    (old / "photos").rename(old / "before")
    (old / "others").rename(old / "photos")
    assert Comparison(old / "result", made).has_changed(path, seen)


@pytest.mark.parametrize(
    "damage",
    [{"content": None}, {"content": [7]}, {"content": "x"}, {"content": ["7", "0"]}, {"by": 5}, {"by": None}],
)
def test_a_result_whose_line_is_damaged_is_made_again(damage: dict, tmp_path: Path) -> None:
    source, result = tmp_path / "0.jpg", tmp_path / "0.png"
    source.write_text("picture")
    with Ledger(tmp_path, "by").making(result, source):
        result.write_text("mask")
    assert Ledger(tmp_path, "by").is_current(result, source)
    line = json.loads((tmp_path / LEDGER).read_text())
    for changed in ({**line, **damage}, {key: value for key, value in line.items() if key not in damage}):
        (tmp_path / LEDGER).write_text(json.dumps(changed) + "\n")
        assert not Ledger(tmp_path, "by").is_current(result, source)
