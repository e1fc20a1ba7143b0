from __future__ import annotations

import numpy as np
from PIL import Image

from unseg_d2.data.coco import check_coco
from unseg_d2.rle import encode_mask
from unseg_d2.viz.labels import LabelView
from unseg_d2.viz.overlay_folder import write_overlays
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
