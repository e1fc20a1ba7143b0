"""A label set with hostile names, on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from unseg_d2.rle import encode_mask

NAMES = ["a.jpg", "sub/b é.png", "c,'d' & <e>.jpg"]
CLASSES = ["cat, \"big\" <b>&'x'", "Größe: 数"]


def blob(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A mask with several parts, some with holes."""
    noise = cv2.GaussianBlur(rng.random((height, width)).astype(np.float32), (0, 0), 3)
    return noise > np.quantile(noise, 0.7)


def annotation(key: int, image: int, mask: np.ndarray, **more: Any) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    box = [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
    item = {"id": key, "image_id": image, "category_id": 1, "iscrowd": 0, "bbox": box, "area": int(mask.sum())}
    return item | {"segmentation": encode_mask(mask)} | more


@pytest.fixture
def label_set(tmp_path: Path) -> Path:
    """Three images with three masks each, scores 0.3, 0.5 and 0.7, classes in turn; the second image is done."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number, name in enumerate(NAMES, 1):
        height, width = 40 + 4 * number, 60
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for place in range(3):
            about = {"score": 0.3 + 0.2 * place, "category_id": 1 + place % 2}
            annotations.append(annotation(len(annotations) + 1, number, blob(rng, height, width), **about))
    images[1]["done"] = True
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
    content = {"info": {"image_root": "photos"}, "images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    return tmp_path / "labels.json"
