"""The images of an annotation file, one at a time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from unseg_d2.data.coco import open_coco
from unseg_d2.rle import encode_mask


def test_images_by_their_first_mask(tmp_path: Path) -> None:
    """In the order of the annotations, not of the images; boxes without a mask do not count."""
    mask = {"bbox": [0, 0, 2, 2], "segmentation": encode_mask(np.ones((4, 6), bool))}
    found = [(7, {"bbox": [0, 0, 1, 1]}), ("b", mask), (5, mask), (7, mask), (5, mask), (9, {"bbox": [0, 0, 1, 1]})]
    content = {
        "images": [{"id": key, "file_name": f"{key}.png", "height": 4, "width": 6} for key in (5, 7, "b", 9)],
        "annotations": [{"image_id": key} | item for key, item in found],
    }
    (tmp_path / "labels.json").write_text(json.dumps(content))
    assert open_coco(tmp_path / "labels.json").by_first_mask().tolist() == [2, 0, 1]
