from __future__ import annotations

import base64
import hashlib
import json
import os

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.viz.page import script_hash, script_json, write_text

EVIL = "</script><script>alert(1)</script><!--<script>&'\"\u2028é"


def test_json_comes_back_and_never_ends_its_element():
    text = script_json({EVIL: [EVIL, 1.5, None]})
    assert json.loads(text) == {EVIL: [EVIL, 1.5, None]}
    assert not set("<>&'") & set(text)


def test_json_refuses_what_a_browser_cannot_read():
    with pytest.raises(ValueError, match="JSON compliant"):
        script_json(float("nan"))


def test_hash_is_that_of_the_policy_grammar():
    digest = base64.b64encode(hashlib.sha256("let é;".encode()).digest()).decode()
    assert script_hash("let é;") == f"sha256-{digest}"


def test_write_makes_folders_and_replaces(tmp_path):
    write_text(tmp_path / "a" / "b.html", ["one"])
    write_text(tmp_path / "a" / "b.html", ["t", "wo"])
    assert (tmp_path / "a" / "b.html").read_text() == "two"
    assert os.listdir(tmp_path / "a") == ["b.html"]


def test_a_failure_half_way_leaves_the_old_file_and_nothing_else(tmp_path):
    def parts():
        yield "new"
        raise OSError(28, "No space left on device")

    (tmp_path / "b.html").write_text("old")
    with pytest.raises(UnsegError, match="disk is full"):
        write_text(tmp_path / "b.html", parts())
    assert (tmp_path / "b.html").read_text() == "old"
    assert os.listdir(tmp_path) == ["b.html"]
