"""Images of squares in a few colours, with their masks, whose groups are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unseg_d2.rle import encode_mask

HEIGHT, WIDTH = 48, 96
COLOURS = {"red": (220, 30, 40), "green": (30, 170, 60), "blue": (40, 70, 220)}
SMALL = ["FEATURES.NAME", "palette", "FEATURES.IMAGE_SIZE", "64"]


def square(left: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[12:36, left : left + 24] = True
    return mask


def write_squares(folder: Path, colours: list[tuple[str, str]]) -> Path:
    """Write images with two squares each, their masks, and in ``colours.json`` the colour of each mask by its id."""
    (folder / "images").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, pair in enumerate(colours, 1):
        pixels = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
        images.append({"id": number, "file_name": f"{number:03d}.png", "height": HEIGHT, "width": WIDTH})
        for place, name in enumerate(pair):
            mask = square(12 + 48 * place)
            shade = 1 - 0.02 * ((number + place) % 3)
            pixels[mask] = np.array(COLOURS[name]) * shade
            about = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0, "score": 0.5}
            annotations.append(about | {"bbox": [12 + 48 * place, 12, 24, 24], "area": 576})
            annotations[-1]["segmentation"] = encode_mask(mask)
        Image.fromarray(pixels).save(folder / "images" / images[-1]["file_name"])
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "fg"}]}
    (folder / "labels.json").write_text(json.dumps(content))
    (folder / "colours.json").write_text(json.dumps([name for pair in colours for name in pair]))
    return folder / "labels.json"
