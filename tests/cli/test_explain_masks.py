from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from unseg_d2.cli.explain_masks import main
from unseg_d2.errors import UnsegError

SETTINGS = ["FEATURES.NAME", "descriptors", "FEATURES.IMAGE_SIZE", "160", "MASKS.GENERATOR", "cuts3d"]
DEPTH = ["DEPTH.SOURCE", "files", "DEPTH.KIND", "metric", "DEPTH.FILES.SCALE", "0.001"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images of a box before a wall, one of them without depth."""
    image = np.full((60, 80, 3), (180, 120, 60), np.uint8)
    image[20:50, 20:50] = (20, 40, 200)
    depth = np.full((60, 80), 5000, np.uint16)
    depth[20:50, 20:50] = 2000
    for name in ("images", "depth"):
        (tmp_path / name).mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), image)
    cv2.imwrite(str(tmp_path / "depth" / "a.png"), depth)
    return tmp_path


def arguments(folder: Path, *options: str) -> list[str]:
    return ["--images", str(folder / "images"), "--output", str(folder / "out"), *options]


def test_a_picture_per_image_and_a_line_for_each_that_has_no_depth(folder, capsys):
    main(arguments(folder, *SETTINGS, *DEPTH))
    assert [path.name for path in (folder / "out").iterdir()] == ["a.png.png"]
    picture = cv2.imread(str(folder / "out" / "a.png.png"))
    assert picture.shape[0] > 2 * 240  # the image and at least one cut
    said = capsys.readouterr().out
    assert "b.png is left out" in said
    assert "pictures  " in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([*SETTINGS], r"needs depth: set DEPTH\.SOURCE"),
        ([*SETTINGS[:-1], "maskcut", *DEPTH], "add MASKS.GENERATOR cuts3d"),
        (["--limit", "-1", *SETTINGS, *DEPTH], "--limit is -1"),
    ],
)
def test_what_is_missing_is_named(folder, options, message):
    with pytest.raises(UnsegError, match=message):
        main(arguments(folder, *options))
