from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from unseg_d2.data.coco import check_coco
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_mask
from unseg_d2.viz.labels import LabelView
from unseg_d2.viz.overlay_folder import drawn_name, write_overlays
from unseg_d2.viz.palette import instance_colour


def make_set(root, **annotation) -> LabelView:
    (root / "sub").mkdir()
    mask = np.zeros((64, 96), bool)
    mask[16:48, 16:80] = True
    for name in ("a.png", "sub/a.png"):
        Image.new("RGB", (96, 64)).save(root / name)
    names = ["a.png", "sub/a.png", "missing.png"]
    images = [{"id": i, "file_name": name, "height": 64, "width": 96} for i, name in enumerate(names)]
    annotations = [
        {"id": 1, "image_id": 0, "segmentation": encode_mask(mask), **annotation},
        {"id": 2, "image_id": 0, "bbox": [0, 0, 9, 9], **annotation},
    ]
    return LabelView("labels", check_coco({"images": images, "annotations": annotations}))


def test_a_file_per_image_in_the_same_folders(tmp_path):
    problems = write_overlays(tmp_path / "out", make_set(tmp_path), tmp_path)
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert written == ["a.png.jpg", "sub/a.png.jpg"]
    assert [name for name, _ in problems] == ["missing.png"]
    drawn, plain = (np.asarray(Image.open(tmp_path / "out" / name)).astype(int) for name in written)
    assert drawn.shape == (64, 96, 3)
    assert np.abs(drawn[32, 48] - 0.45 * np.array(instance_colour(0))).max() < 12
    assert plain.max() < 8


def test_scores_are_drawn_only_where_all_have_one(tmp_path):
    labels = make_set(tmp_path, score=0.5)
    write_overlays(tmp_path / "scored", labels, tmp_path, limit=1)
    labels.dataset.annotations[0]["score"] = float("nan")
    write_overlays(tmp_path / "plain", labels, tmp_path, limit=1)
    scored, plain = ((tmp_path / folder / "a.png.jpg").read_bytes() for folder in ("scored", "plain"))
    assert scored != plain


def test_no_two_images_are_drawn_into_one_file():
    names = ["a", "a.png", "a.jpg", "a.JPG", "a.png.jpg", "a.jpg.jpg", "a.overlay.jpg", "a.mp4", "a.mp4.mp4", "b.jpeg"]
    drawn = {name: drawn_name(name, ".jpg") for name in names}
    assert len(set(drawn.values())) == len(names)
    assert all(name.lower().endswith(".jpg") for name in drawn.values())
    assert drawn["a.jpg"] == "a.jpg" and drawn["a.JPG"] == "a.JPG" and drawn["a.png"] == "a.png.jpg"
    films = ["a.mov", "a.mp4", "a.mov.mp4", "a.mp4.mp4"]
    assert [drawn_name(name, ".mp4") for name in films] == ["a.mov.mp4", "a.mp4", "a.mov.mp4.mp4", "a.mp4.mp4.mp4"]


@pytest.mark.parametrize("folder", [".", "sub", "link"])
def test_the_images_themselves_are_never_replaced(tmp_path, folder):
    labels = make_set(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "sub")
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(UnsegError, match=r"the input .*a\.png lies there and could be replaced"):
        write_overlays(tmp_path / folder, labels, tmp_path)
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_an_object_of_a_video_has_the_colour_of_its_track(tmp_path):
    labels = make_set(tmp_path, track_id=4)
    write_overlays(tmp_path / "out", labels, tmp_path, limit=1)
    drawn = np.asarray(Image.open(tmp_path / "out" / "a.png.jpg")).astype(int)
    assert np.abs(drawn[40, 60] - 0.45 * np.array(instance_colour(4))).max() < 12
