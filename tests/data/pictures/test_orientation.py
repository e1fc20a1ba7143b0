"""Before a training it is said how many pictures are turned."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from unseg_d2.data.pictures import report
from unseg_d2.data.pictures.orientation import say_orientations
from unseg_d2.data.pictures.reading import Reading


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(report, "_said", set())
    caplog.set_level(logging.INFO)


def photo(path: Path, orientation: int, suffix: str = ".jpg") -> dict[str, Any]:
    """A photo of 40 x 24 as it is stored, and its record without a size."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = path / f"{len(list(path.iterdir())):03d}{suffix}"
    Image.new("RGB", (40, 24), "red").save(file, exif=exif)
    return {"file_name": str(file)}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_every_orientation_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str) -> None:
    records = [photo(tmp_path, orientation, suffix) for orientation in range(1, 9)]
    say_orientations(records, Reading())
    assert caplog.messages == ["7 pictures turned as EXIF says; INPUT.EXIF ignore leaves them as they are stored."]
    caplog.clear()
    say_orientations(records, Reading(exif="ignore"))
    assert caplog.messages == ["7 pictures not turned as EXIF says, because INPUT.EXIF is ignore."]


def test_annotations_of_stored_pictures_are_told_apart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stored, shown = {"height": 24, "width": 40}, {"height": 40, "width": 24}
    records = [photo(tmp_path, 6) | stored, photo(tmp_path, 6) | shown, photo(tmp_path, 3) | stored]
    records += [photo(tmp_path, 8) | stored, photo(tmp_path, 1) | stored]
    say_orientations(records, Reading())
    assert [message[:40] for message in caplog.messages] == [
        "2 pictures turned as EXIF says; INPUT.EX",
        "2 pictures not turned as EXIF says, beca",
        "Where some annotations are of pictures a",
    ]


def test_nothing_is_said_of_upright_missing_and_damaged_pictures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "damaged.jpg").write_bytes(b"\xff\xd8\xff no picture")
    records = [
        photo(tmp_path, 1),
        {"file_name": str(tmp_path / "damaged.jpg")},
        {"file_name": str(tmp_path / "no.jpg")},
    ]
    say_orientations(records, Reading())
    say_orientations([], Reading())
    assert caplog.messages == []


def test_a_share_of_many_pictures_is_called_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    turned, upright = photo(tmp_path, 6), photo(tmp_path, 1)
    say_orientations([upright, turned] * 600 + [turned] * 800, Reading(), most=1000)
    (message,) = caplog.messages
    assert message.startswith("Of 1,000 of the 2,000 pictures, which were looked at: ")
    assert int(message.split(": ")[1].split()[0]) == pytest.approx(700, abs=301)  # every second one, so of one parity


def test_what_was_counted_is_not_said_again_at_the_first_picture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    say_orientations([photo(tmp_path, 6)], Reading())
    report.say_once(tmp_path / "a.jpg", {"turned": True})
    assert len(caplog.messages) == 1
    say_orientations([photo(tmp_path, 6) | {"height": 24, "width": 40}], Reading())
    report.say_once(tmp_path / "b.jpg", {"unturned": True, "lying": True})  # as a training reads it
    assert not any("INPUT.EXIF is ignore" in message for message in caplog.messages) and len(caplog.messages) == 2
    report.say_once(tmp_path / "a.jpg", {"pages": 3})
    assert len(caplog.messages) == 3
