"""A data set on disk that a tiny network can be trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseg_d2.rle import encode_mask

HEIGHT, WIDTH = 72, 96


@pytest.fixture(scope="session")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the labels of six images of bright rectangles on dark noise."""
    folder = tmp_path_factory.mktemp("rectangles")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(1, 7):
        pixels = rng.integers(0, 60, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        for _ in range(rng.integers(1, 4)):
            left, top, side = (int(rng.integers(*limits)) for limits in ((0, 60), (0, 40), (16, 32)))
            mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
            mask[top : top + side, left : left + side] = True
            pixels[mask] = rng.integers(100, 255, 3)
            box = [left, top, min(side, WIDTH - left), min(side, HEIGHT - top)]
            annotation = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0, "bbox": box}
            annotations.append(annotation | {"area": int(mask.sum()), "segmentation": encode_mask(mask)})
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": HEIGHT, "width": WIDTH})
    categories = [{"id": 1, "name": "object"}]
    path = folder / "labels.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path
