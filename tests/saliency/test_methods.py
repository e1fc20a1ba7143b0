"""Masks out of files, on scenes whose masks are known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from unseg_d2.data.coco import encode_mask
from unseg_d2.errors import UnsegError
from unseg_d2.saliency.datasets import load_saliency
from unseg_d2.saliency.methods import stored_method
from unseg_d2.saliency.score import Protocol


def test_label_sets_count_by_their_best_mask(scenes, tmp_path):
    masks = {name: np.asarray(Image.open(scenes / name / "0.png")) > 0 for name in ("found", "all")}
    content = {
        "images": [{"id": 7, "file_name": "0.png", "height": 40, "width": 60}],
        "categories": [{"id": 1, "name": "fg"}],
        "annotations": [
            annotation(1, masks["found"], 0.4),
            annotation(2, masks["all"], 0.9),
        ],
    }
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    image = load_saliency(str(scenes))
    method = stored_method(path)
    (found,) = method([np.zeros((40, 60, 3), np.uint8)], image[:1], Protocol.square(0))
    assert (found == masks["all"]).all()
    with pytest.raises(UnsegError, match="does not know the image 1"):
        method([np.zeros((40, 60, 3), np.uint8)], image[1:2], Protocol.square(0))


def annotation(number, mask, score):
    rows, columns = (index.tolist() for index in np.nonzero(mask))
    box = [min(columns), min(rows), max(columns) - min(columns) + 1, max(rows) - min(rows) + 1]
    area = int(mask.sum())
    return {"id": number, "image_id": 7, "category_id": 1, "bbox": box, "area": area, "iscrowd": 0, "score": score} | {
        "segmentation": encode_mask(mask)
    }


def test_a_mask_is_that_of_one_image(scenes, tmp_path):
    pixels, (first, *_) = [np.zeros((40, 60, 3), np.uint8)], load_saliency(str(scenes))
    other = replace(first, path=tmp_path / "other" / first.path.name)
    method = stored_method(scenes / "found")
    once, again = (method(pixels, [first], Protocol.square(0))[0] for _ in range(2))
    assert (once == again).all() and once.any()
    with pytest.raises(UnsegError, match=r"found/0\.png would be the mask of both .*images/0\.png and .*other/0\.png"):
        method(pixels, [other], Protocol.square(0))
    images = [{"id": k, "file_name": f"0.{end}", "height": 40, "width": 60} for k, end in enumerate(("jpg", "png"))]
    (tmp_path / "labels.json").write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    with pytest.raises(UnsegError, match=r"^0\.jpg and 0\.png are both called 0, so that .* two masks for that name"):
        stored_method(tmp_path / "labels.json")


def test_folders_without_a_fitting_mask(scenes, tmp_path):
    with pytest.raises(UnsegError, match="neither a label set nor a folder"):
        stored_method(tmp_path / "none")
    image, pixels = load_saliency(str(scenes))[:1], [np.zeros((40, 60, 3), np.uint8)]
    method = stored_method(tmp_path)
    with pytest.raises(UnsegError, match=r"There is no mask .*0\.png"):
        method(pixels, image, Protocol.square(0))
    Image.fromarray(np.zeros((3, 5), np.uint8)).save(tmp_path / "0.png")
    with pytest.raises(UnsegError, match=r"mask of 0 in .* has 5x3 px, but the image has 60x40"):
        method(pixels, image, Protocol.square(0))
