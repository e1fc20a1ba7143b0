"""Images that a data set lists and that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from unseg_d2.data import presence
from unseg_d2.data.presence import check_images
from unseg_d2.errors import UnsegError


@pytest.mark.parametrize("few", [0, 1000])
def test_missing_images_are_counted_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(presence, "FEW", few)
    (tmp_path / "a").mkdir()
    names = [f"a/{index}.png" for index in range(4)] + ["b/0.png"]
    records = [{"file_name": str(tmp_path / name)} for name in names]
    for name in names[:4]:
        (tmp_path / name).touch()
    with pytest.raises(UnsegError, match=r"1 of the 5 images of gt\.json is not there, such as .*/b/0\.png; put them"):
        check_images(records, "gt.json")
    (tmp_path / "a" / "2.png").unlink()
    with pytest.raises(UnsegError, match=r"2 of the 5 images of gt\.json are not there, such as .*/a/2\.png"):
        check_images(records, "gt.json")
    check_images(records[:2], "gt.json")
