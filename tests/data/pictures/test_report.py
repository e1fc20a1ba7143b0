"""What was done to pictures is counted, and said once."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseg_d2.data.images import Reading, read_image
from unseg_d2.data.pictures import report
from unseg_d2.data.pictures.report import Treatments


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_said", set())


def test_a_log_names_the_first_picture_of_each_kind_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = np.linspace(100, 4095, 200).reshape(10, 20).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(values).save(tmp_path / "a.png")
    Image.fromarray(values // 2).save(tmp_path / "b.png", exif=exif)
    Image.new("RGB", (20, 10)).save(tmp_path / "c.png")
    with caplog.at_level(logging.INFO, logger="unseg_d2"):
        for name in ("c.png", "a.png", "b.png", "a.png", "b.png"):
            read_image(tmp_path / name)
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith(f"{tmp_path / 'a.png'}, and all like it: of uint16: each is stretched to 8 bit")
    turned = "turned as EXIF says; INPUT.EXIF ignore leaves them as they are stored."
    assert second == f"{tmp_path / 'b.png'}, and all like it: {turned}"


def test_pictures_of_8_bit_are_not_mentioned() -> None:
    assert Treatments([{}, {}]).lines() == []


def test_counts_and_ranges() -> None:
    deep = {"type": "uint16", "from": [3, 900], "window": False}
    lines = Treatments(
        [deep, deep | {"from": [1, 80]}, {"bands": 5}, {"turned": True}, {"unturned": True, "lying": True}]
    ).lines()
    assert lines[0].startswith(
        "2 pictures of uint16: each is stretched to 8 bit from the values that it uses (1 to 900 over all)"
    )
    assert [line.split()[:3] for line in lines[1:]] == [
        ["1", "picture", "turned"],
        ["1", "picture", "not"],
        ["1", "picture", "of"],
    ]
    assert "annotations have the size of the stored picture" in lines[2]


def test_a_window_is_named(tmp_path: Path) -> None:
    (line,) = Treatments([{"type": "float32", "from": [-25, 0], "window": True}]).lines()
    assert line == "1 picture of float32: stretched to 8 bit from INPUT.WINDOW (-25 to 0)."
    assert Reading(window=(-25, 0)).changes() == {"WINDOW": [-25, 0]}
