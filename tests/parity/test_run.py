"""The images of a published file in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from unseg_d2.errors import UnsegError
from unseg_d2.parity.run import find_images


def test_a_published_name_means_one_image(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "b.png", "sub/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    assert find_images(tmp_path, ["c", "a", "d"]) == {"c": tmp_path / "sub/c.jpg", "a": tmp_path / "a.jpg"}
    with pytest.raises(UnsegError, match=r"b\.jpg and .*b\.png are both called b, so that either could be the pub"):
        find_images(tmp_path, ["a", "b"])
